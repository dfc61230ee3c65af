# SPDX-License-Identifier: Apache-2.0
"""What a safetensors checkpoint holds, by struct and json alone: the truth for tests of llavamed-inspect.

checkpoint.py SOURCE <DOCUMENT: SOURCE is a safetensors file or a directory of them, DOCUMENT what
llavamed-inspect --json printed of the same tensors in any form. Prints what differs; exit status 1 when anything does.
"""
import glob
import json
import os
import struct
import sys


def read_file(path):
    """(name, dtype, shape, bytes) of each tensor in the order of their offsets."""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    rows = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return [(name, row["dtype"], row["shape"], data[start + row["data_offsets"][0]:start + row["data_offsets"][1]])
            for name, row in rows]


def read_checkpoint(source):
    """{file name: read_file()}"""
    paths = sorted(glob.glob(source + "/*.safetensors")) if os.path.isdir(source) else [source]
    return {os.path.basename(path): read_file(path) for path in paths}


def main():
    document = json.load(sys.stdin)
    files = read_checkpoint(sys.argv[1])
    wanted = {name: (dtype, shape, len(data))
              for rows in files.values() for name, dtype, shape, data in rows}
    got = {row["name"]: (row["dtype"], row["shape"], row["bytes"]) for row in document["tensors"]}
    dtypes = {}
    for dtype, shape, n_bytes in wanted.values():
        sums = dtypes.setdefault(dtype, [0, 0, 0])
        n_elems = 1
        for n in shape:
            n_elems *= n
        for i, n in enumerate((1, n_elems, n_bytes)):
            sums[i] += n
    embeddings = wanted.get("model.embed_tokens.weight", (None, [None, None], 0))[1]
    parameters = sum(n_bytes // {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}[dtype]
                     for name, (dtype, _, n_bytes) in wanted.items()
                     if dtype[0] in "FB" and dtype != "BOOL" and not name.endswith("inv_freq"))
    checks = {
        "tensors": (got, wanted),
        "number of tensors": (len(document["tensors"]), len(wanted)),
        "dtypes": ({row["dtype"]: [row["tensors"], row["elements"], row["bytes"]] for row in document["dtypes"]},
                   dtypes),
        "bytes": (document["bytes"], sum(row[2] for row in wanted.values())),
        "parameters": (document["parameters"], parameters),
        "vocabulary": (document["vocabulary"], embeddings[0]),
        "hidden_size": (document["hidden_size"], embeddings[1]),
    }
    if document["format"] == "safetensors" and document["layout"] in ("directory", "file"):
        names = [row[0] for rows in files.values() for row in rows]
        shard_of = {row[0]: name for name, rows in files.items() for row in rows}
        checks["order"] = ([row["name"] for row in document["tensors"]], names)
        checks["shard of each"] = ({row["name"]: row["shard"] for row in document["tensors"]}, shard_of)
        folder = sys.argv[1] if os.path.isdir(sys.argv[1]) else os.path.dirname(sys.argv[1])
        checks["shards"] = (
            [(row["name"], row["bytes"], row["tensors"]) for row in document["shards"]],
            [(name, os.path.getsize(os.path.join(folder, name)), len(rows)) for name, rows in files.items()])
    bad = [name for name, (a, b) in checks.items() if a != b]
    for name in bad:
        print(f"{name}: got {checks[name][0]}, want {checks[name][1]}")
    return 1 if bad or not wanted else 0


sys.exit(main())
