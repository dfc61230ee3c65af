#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/journal/small.journal and the seeds in tests/fuzz/corpus/journal, as src/merge/journal.h lays a
journal out. A seed is a byte of modes (see fuzz_journal.c) and what stands behind the header, or a whole journal.
"""
import hashlib
import os
import struct
import zlib

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
DATA = os.path.join(TESTS, "data", "journal")
CORPUS = os.path.join(TESTS, "fuzz", "corpus", "journal")

LABELS = ["tool", "options", "base", "delta", "plan"]
BASE, DELTA = 0, 1
MEND, WHOLE = 1, 2  # modes of a seed


def with_crc(text, start=0):
    return text + struct.pack("<I", zlib.crc32(text, start))


def header(changed=None):
    """Each part's hash is that of its label, or of another text for the one that changed."""
    text = b"LMJOURN3" + struct.pack("<I", len(LABELS))
    for label in LABELS:
        source = label + "!" if label == changed else label
        text += label.encode().ljust(8, b"\0") + hashlib.sha256(source.encode()).hexdigest().encode()
    return with_crc(text)


HEADER = header()
HEADER_CRC32 = zlib.crc32(HEADER[:-4])


def entry(tensor, first, n, crc32=0, counts=(0, 0, 0, 0, 0, 0, 0), notes=(), target_crc32=0):
    text = struct.pack("<QQQIII7Q", tensor, first, n, crc32, target_crc32, len(notes), *counts)
    for note in notes:
        text += struct.pack("<IIQQQ", *note)
    return with_crc(text, HEADER_CRC32)


SMALL = [
    entry(1, 0, 1000, 0x01020304, (1, 2, 3, 4, 5, 6, 7), [(BASE, 0xDEADBEEF, 7, 4096, 2000), (DELTA, 0xFEEDFACE, 9, 0, 2000)],
          0x0A0B0C0D),
    entry(0, 512, 512, 0xFFFFFFFF),
    entry(1, 1000, 24, 0, (24, 0, 24, 0, 24, 48, 24), [(DELTA, 1, 2**64 - 1, 2**64 - 2, 1)]),
]

SEEDS = {
    "small": (MEND, b"".join(SMALL)),
    "same-twice": (MEND, entry(2, 0, 64, 1) + entry(2, 64, 64, 2) + entry(2, 0, 64, 3)),
    "overlaps": (MEND, entry(2, 0, 100) + entry(2, 200, 100) + entry(2, 50, 200) + entry(2, 0, 10) + entry(3, 5, 1)),
    "nested": (MEND, entry(2, 10, 10) + entry(2, 0, 1000) + entry(2, 500, 1) + entry(2, 999, 2)),
    "last-element": (MEND, entry(3, 2**64 - 2, 1) + entry(3, 0, 2**64 - 1) + entry(3, 2**64 - 3, 2)),
    "beyond-64-bits": (MEND, entry(3, 0, 1) + entry(3, 2**64 - 1, 2)),
    "outside": (MEND, entry(0, 0, 1024) + entry(0, 1024, 1) + entry(1, 0, 2)),
    "many-notes": (MEND, entry(2, 0, 64, 5, notes=[(i % 2, i, i, 100 * i, 100) for i in range(64)])),
    "crc": (0, b"".join(SMALL[:2]) + SMALL[2][:-1] + b"\0"),
    "torn": (0, b"".join(SMALL)[:-20]),
    "zeros": (0, SMALL[0] + bytes(200)),
    "whole": (WHOLE, HEADER + b"".join(SMALL)),
    "other-delta": (WHOLE, header("delta") + SMALL[0]),
}


def main():
    os.makedirs(DATA, exist_ok=True)
    os.makedirs(CORPUS, exist_ok=True)
    with open(os.path.join(DATA, "small.journal"), "wb") as file:
        file.write(HEADER + b"".join(SMALL))
    for name, (mode, text) in SEEDS.items():
        with open(os.path.join(CORPUS, name), "wb") as file:
            file.write(bytes([mode]) + text)


if __name__ == "__main__":
    main()
