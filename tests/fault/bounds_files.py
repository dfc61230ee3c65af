# SPDX-License-Identifier: Apache-2.0
"""The cases of bounds.py in which it is not one input's content that is short and could cost much, but how many files
there are of it, what names they have, and what lists and parts say of them."""

import hashlib
import json
import os
import shutil
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


# ---- What parts left, forged ----


def finish(directory):
    return [program, "--finish", "--out", os.path.join(directory, "out"), "-n"]


def forge(directory, change):
    """The plan and the only record of a merge in one part, after change(plan, record)."""
    with tempfile.TemporaryDirectory() as place:
        out = os.path.join(place, "out")
        subprocess.run(apply("--delta", os.path.join(DATA, "delta-safetensors"), "--out", out, "--part", "1/1",
                             "--no-finish", "-q"), check=True)
        with open(os.path.join(out + ".partial", PLAN), encoding="utf-8") as file:
            plan = json.load(file)
        with open(os.path.join(out + ".partial", RECORD % (1, 1)), encoding="utf-8") as file:
            record = json.load(file)
    change(plan, record)
    text = (json.dumps(plan) + "\n").encode()
    parts = os.path.join(directory, "out.partial")
    os.mkdir(parts)
    write(parts, PLAN, text)
    record["plan"] = hashlib.sha256(text).hexdigest()
    del record["crc32"]
    n_parts = plan["parts"]
    for part in range(1, n_parts + 1):
        if part == 2:
            record = record | {"shards": [], "tensors": [], "inputs": [], "documents": []}
        line = json.dumps(record | {"part": part}).encode()[:-1]
        write(parts, RECORD % (part, n_parts), b'%s,"crc32":"%08x"}\n' % (line, zlib.crc32(line)))


def many_inputs(directory, n):
    """Of each of n files of both inputs it is asked what its hash is."""
    def change(plan, record):
        plan["options"][4] = "full"
        for side in plan["inputs"]:
            side["files"] = [["f%d" % i, "0", "", "", ""] for i in range(n)]
        record["inputs"] = [[role, str(i), "%064x" % i] for role in ("base", "delta") for i in range(n)]
    forge(directory, change)


def too_many_inputs(directory, n):
    def change(plan, _record):
        plan["inputs"][1]["files"] = [["", "0", "", "", ""]] * n
    forge(directory, change)


def one_input_again(directory, n):
    def change(_plan, record):
        record["inputs"] = [["delta", "0", "%064x" % 0]] * n
    forge(directory, change)


def many_parts(directory, n):
    """n parts, the first of which has a shard of 16 n tensors, the others nothing."""
    def change(plan, record):
        names = ["t%07d" % i for i in range(16 * n)]
        plan["tensors"] = [[name, "add", "F16", "1", ""] for name in names]
        plan["parts"] = n
        plan["options"][3] = str(1 << 40)
        header = {"__metadata__": {"format": "pt"}}
        header |= {name: {"dtype": "F16", "shape": [1], "data_offsets": [2 * i, 2 * i + 2]} for i, name in enumerate(names)}
        n_bytes = len(json.dumps(header, separators=(",", ":")))
        record["shards"] = [["model.safetensors", str(8 + (n_bytes + 7) // 8 * 8 + 32 * n), "0", "%064x" % 0]]
        record["tensors"] = [["%08x" % 0, "0 0 0 0 0 0 0", ""]] * (16 * n)
    forge(directory, change)


# ---- --sums ----


def sums(directory):
    return apply("--delta", directory, "--out", os.path.join(os.path.dirname(directory), "out"), "-n", "--sums",
                 os.path.join(directory, "list"))


def sums_and_files(directory, n, line):
    """n lines, n // 16 files, some of them links to others."""
    shutil.copytree(os.path.join(DATA, "delta"), directory, dirs_exist_ok=True)
    os.remove(os.path.join(directory, "SHA256SUMS"))
    for i in range(n // 32):
        write(directory, "tokenizer_%d.json" % i, b"{}")
        os.symlink("tokenizer.model", os.path.join(directory, "tokenizer_link_%d.json" % i))
    write(directory, "list", b"".join(b"%064x  %s\n" % (i, line(i)) for i in range(n)))


def sums_of_one_file(directory, n):
    sums_and_files(directory, n, lambda i: b"tokenizer.model")


def sums_of_names(directory, n):
    sums_and_files(directory, n, lambda i: b"elsewhere/tokenizer_%d.json" % (i % 64) if i else b"tokenizer_0.json")


# ---- Claims of others ----


def run_whole(directory):
    return apply("--delta", os.path.join(DATA, "delta"), "--out", os.path.join(directory, "out"), "-q")


def old_claims(directory, n):
    """Of n parts on another host, none of which has shown life for long; and one that no part can have left."""
    parts = os.path.join(directory, "out.partial")
    os.mkdir(parts)
    for part, n_parts in [(i + 1, max(n, 2)) for i in range(n)] + [(1, 5000), (3, 2), (0, 3)]:
        name = ".llavamed-claim-%d-of-%d.json" % (part, n_parts)
        claim = {"format": "llavamed-claim", "version": 1, "host": "elsewhere", "boot_id": "", "pid_namespace": "",
                 "time_namespace": "", "pid": part + 1, "start_time": 1, "nonce": "%032x" % part}
        write(parts, name, json.dumps(claim).encode() if part <= n_parts <= 4096 and part > 0 else b"?")
        os.utime(os.path.join(parts, name), (time.time() - OLD_SECONDS,) * 2)
