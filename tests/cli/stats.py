# SPDX-License-Identifier: Apache-2.0
"""The statistics of llavamed-inspect --stats, by Python's floats, for a safetensors file: to the last bit, in the order
of sums that docs/llavamed-inspect.md promises, and against exact sums.

stats.py FILE <DOCUMENT: prints what differs from the document of --stats --json; exit status 1 when anything does.
"""
import json
import math
import struct
import sys

LEAST_NORMAL = {"F16": 2.0 ** -14, "BF16": 2.0 ** -126, "F32": 2.0 ** -126, "F64": 2.0 ** -1022}


def values_of(dtype, data):
    if dtype == "BF16":
        words = struct.unpack(f"<{len(data) // 2}H", data)
        return struct.unpack(f"<{len(words)}f", struct.pack(f"<{len(words)}I", *(word << 16 for word in words)))
    letter, size = {"F16": ("e", 2), "F32": ("f", 4), "F64": ("d", 8)}[dtype]
    return struct.unpack(f"<{len(data) // size}{letter}", data)


def ordered_sum(values):
    """Blocks of 4096, eight sums in each, blocks added after Neumaier; None stands for what is not finite."""
    total = lost = 0.0
    for at in range(0, max(len(values), 1), 4096):
        lanes = [0.0] * 8
        for i, value in enumerate(values[at:at + 4096]):
            if value is not None:
                lanes[i % 8] += value
        block = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
        new = total + block
        lost += (total - new) + block if abs(total) >= abs(block) else (block - new) + total
        total = new
    return total + lost


def stats(dtype, data):
    values = values_of(dtype, data)
    finite = [value for value in values if math.isfinite(value)]
    kept = [value if math.isfinite(value) else None for value in values]
    found = {"zeros": sum(value == 0 for value in values),
             "subnormals": sum(0 < abs(value) < LEAST_NORMAL[dtype] for value in values),
             "nan": sum(map(math.isnan, values)), "infinite": sum(map(math.isinf, values)),
             "min": None, "max": None, "mean": None, "rms": None}
    if finite:
        squares = [None if value is None else value * value for value in kept]
        found["min"], found["max"] = min(finite), max(finite)
        found["mean"] = ordered_sum(kept) / len(finite)
        found["rms"] = math.sqrt(ordered_sum(squares) / len(finite))
        found = {key: None if isinstance(value, float) and not math.isfinite(value) else value
                 for key, value in found.items()}
    if finite and max(map(abs, finite)) < 1e100:
        exact = math.fsum(finite) / len(finite)
        assert abs(found["mean"] - exact) <= 1e-13 * math.fsum(map(abs, finite)) / len(finite)
        exact = math.sqrt(math.fsum(value * value for value in finite) / len(finite))
        assert abs(found["rms"] - exact) <= 1e-13 * exact
    return found


def main():
    document = {row["name"]: row for row in json.load(sys.stdin)["tensors"]}
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    bad = 0
    for name, row in header.items():
        begin, end = row["data_offsets"]
        want = stats(row["dtype"], data[start + begin:start + end]) if row["dtype"] in LEAST_NORMAL else None
        if document[name]["stats"] != want:
            bad += 1
            print(f"{name}: got {document[name]['stats']}, want {want}")
    return 1 if bad or not header else 0


if __name__ == "__main__":
    sys.exit(main())
