#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes an archive of a few megabytes whose pytorch_model.bin takes long to read: behind a pickle, which has the
tensors of the file MODEL, comes a record of MIB MiB of one byte that no descriptor ends.

Usage: make_endless.py MODEL.safetensors OUT.zip BYTE MIB
"""
import json
import struct
import sys
import zlib

import torch_bytes as tb

BLOCK = 1 << 20


def pickle_of_model(path):
    with open(path, "rb") as file:
        rows = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    items = []
    for key, (name, row) in enumerate(sorted((k, v) for k, v in rows.items() if k != "__metadata__")):
        sizes = row["shape"]
        strides, n_elems = [], 1
        for size in reversed(sizes):
            strides.insert(0, n_elems)
            n_elems *= size
        items.append((name, tb.tensor(tb.persid(str(key), numel=n_elems), sizes=sizes, strides=strides)))
    return tb.pickle_of(*items)


def deflated(front, byte, n_blocks):
    """A block that refers to none before it can be written again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(front) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(byte * BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    return data + block * n_blocks + packer.flush()


def main():
    model, path, byte, n_blocks = sys.argv[1], sys.argv[2], sys.argv[3].encode(), int(sys.argv[4])
    front = tb.Entry("a/data.pkl", pickle_of_model(model)).local(0)
    front += tb.Entry("a/x", b"", flags=0x0808, descriptor=b"").local(len(front))
    data = deflated(front, byte, n_blocks)
    name = b"pytorch_model.bin"
    fields = (8, 0, 0, 0, len(data), len(front) + n_blocks * BLOCK, len(name), 0)
    with open(path, "wb") as out:
        out.write(struct.pack("<I5H3I2H", 0x04034B50, 20, 0, *fields) + name + data)
        at = out.tell()
        out.write(struct.pack("<I6H3I5H2I", 0x02014B50, 20, 20, 0, *fields, 0, 0, 0, 0, 0) + name)
        out.write(struct.pack("<I4H2IH", 0x06054B50, 0, 0, 1, 1, out.tell() - at, at, 0))


if __name__ == "__main__":
    main()
