# SPDX-License-Identifier: Apache-2.0
"""The cases of bounds.py in which it is not one input's content that is short and could cost much, but how many files
there are of it, what names they have, and what lists and parts say of them."""

import hashlib
import json
import os
import struct
import subprocess
import tempfile
import time
import zlib

from bounds_pickles import DATA, write

PLAN = ".llavamed-parts-plan.json"
RECORD = ".llavamed-parts-record-%d-of-%d.json"
OLD_SECONDS = 1000

program = None  # set by bounds.py


def apply(*arguments):
    return [program, "--base", os.path.abspath(os.path.join(DATA, "base")), *arguments]


# ---- Names of one file ----


def links(directory, n):
    """n shards that are links to one file, which is all header."""
    names = ["f%d.safetensors" % i for i in range(n)]
    pairs = b",".join(b'"k%d":"v"' % i for i in range(40000))
    text = b'{"__metadata__":{' + pairs + b"}}"
    write(directory, "x.bin", struct.pack("<Q", len(text)) + text)
    for name in names:
        os.symlink("x.bin", os.path.join(directory, name))
    rows = {"t%d" % i: name for i, name in enumerate(names)}
    write(directory, "model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": rows}).encode())
