# SPDX-License-Identifier: Apache-2.0
"""What llavamed-inspect --diff tells of two safetensors files, by Python's floats and integers, to the last bit.

diff.py SOURCE OTHER <DOCUMENT: prints what differs from the document of --diff --json; exit status 1 when anything does.
"""
import json
import math
import struct
import sys

import stats

SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: (row["dtype"], row["shape"], data[start + row["data_offsets"][0]:start + row["data_offsets"][1]])
            for name, row in header.items()}


def words(data, size):
    return [int.from_bytes(data[i:i + size], "little") for i in range(0, len(data), size)]


def up_to(ulps):
    """The end of the bucket of a distance; None: the last one."""
    end = 2
    while ulps > end:
        end *= 2
    return ulps if ulps < 2 else end if end <= 65536 else None


def compare(a, b):
    (dtype, _, a_data), (other_dtype, _, b_data) = a, b
    both_floats = dtype in SIZES and other_dtype in SIZES
    if dtype != other_dtype and not both_floats:
        return None
    n = 1
    for size in a[1]:
        n *= size
    if not both_floats:
        size = len(a_data) // n if n else 1
        different = [i for i in range(n) if a_data[i * size:i * size + size] != b_data[i * size:i * size + size]]
        return {"different": len(different), "first": different[0] if different else None}
    found = {"different": 0, "first": None, "nan": 0, "infinite": 0, "finite": 0}
    same_dtype, buckets, squares, most = dtype == other_dtype, {}, [], 0.0
    pairs = zip(stats.values_of(dtype, a_data), stats.values_of(other_dtype, b_data),
                words(a_data, SIZES[dtype]), words(b_data, SIZES[other_dtype]))
    sign = 1 << (8 * SIZES[dtype] - 1)
    for i, (x, y, x_bits, y_bits) in enumerate(pairs):
        finite = math.isfinite(x) and math.isfinite(y)
        found["finite"] += finite
        squares.append(None)
        if x_bits == y_bits if same_dtype else x == y or (math.isnan(x) and math.isnan(y)):
            continue
        found["first"] = i if found["first"] is None else found["first"]
        found["different"] += 1
        if math.isnan(x) or math.isnan(y):
            found["nan"] += 1
            continue
        if same_dtype:
            place = [-(bits - sign) if bits >= sign else bits for bits in (x_bits, y_bits)]
            end = up_to(abs(place[0] - place[1]))
            buckets[end] = buckets.get(end, 0) + 1
        if not finite:
            found["infinite"] += 1
            continue
        most = max(most, abs(x - y))
        squares[-1] = abs(x - y) * abs(x - y)
    rms = math.sqrt(stats.ordered_sum(squares) / found["finite"]) if found["finite"] else 0.0
    found.update(max=most if math.isfinite(most) else None, rms=rms if math.isfinite(rms) else None)
    if same_dtype:
        found["ulps"] = [{"up_to": end, "elements": buckets[end]}
                         for end in sorted(buckets, key=lambda end: math.inf if end is None else end)]
    return found


def expected(source, other):
    for name in sorted(source.keys() | other.keys(), key=str.encode):
        a, b = source.get(name), other.get(name)
        row = {"name": name, "source_dtype": a and a[0], "other_dtype": b and b[0], "elements": None}
        if a is None or b is None:
            row["kind"] = "only-other" if a is None else "only-source"
        elif a[1] != b[1]:
            row["kind"] = "shape"
        else:
            row["elements"] = compare(a, b)
            row["kind"] = "dtype" if a[0] != b[0] else "bits" if row["elements"]["different"] else "equal"
        yield row


def main():
    document = json.load(sys.stdin)
    want = list(expected(read(sys.argv[1]), read(sys.argv[2])))
    bad = 0 if len(want) == len(document["tensors"]) > 0 else 1
    for got_row, want_row in zip(document["tensors"], want):
        if got_row != want_row:
            bad += 1
            print(f"got {got_row}, want {want_row}")
    counts = {kind: sum(row["kind"] == kind for row in want) for kind in document["counts"]}
    differ = counts["equal"] != len(want)
    if counts != document["counts"] or document["status"] != differ or \
            document["code"] != ("TENSORS_DIFFER" if differ else "ok"):
        bad += 1
        print(f"got {document['counts']}, {document['code']}, want {counts}")
    return 1 if bad else 0


sys.exit(main())
