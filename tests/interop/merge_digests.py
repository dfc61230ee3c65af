# SPDX-License-Identifier: Apache-2.0
"""Digests of what llavamed-apply --digests writes, against torch's bytes of what the libraries read, hashed by hashlib.

Each case is a random pair, saved by the real libraries in a random form and merged to safetensors and to torch files
with random options. The tensors of OUT as safetensors and torch load them give the digests, by the definition in
docs/digests.md; those in the manifest and in --json must be these, llavamed-inspect --digests must print these, and
llavamed-verify must have held every tensor against them. Both outputs must have one digest of the model, unless NaNs
or what a format cannot hold are in the way: neither is here.

Usage: merge_digests.py --program PATH [--seed N] [--cases N]
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
import zipfile

import torch

import checkpoints
import models

DTYPES = {torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
          torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32",
          torch.float64: "F64"}


def digests_of(tensors):
    """({name: digest}, digest of the model)"""
    rows = {}
    for name, tensor in tensors.items():
        line = f"{DTYPES[tensor.dtype]} [{','.join(str(n) for n in tensor.shape)}]\n".encode()
        data = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        rows[name] = hashlib.sha256(line + data).hexdigest()
    model = hashlib.sha256()
    for name in sorted(rows, key=str.encode):
        model.update(f"{rows[name]}  ".encode() + name.encode() + b"\0")
    return rows, model.hexdigest()


def run(arguments):
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
    assert result.returncode == 0, f"{arguments}: {result.returncode}: {result.stderr.decode(errors='replace')[-2000:]}"
    return result.stdout.decode()


def source(maker, directory, tensors, overlapping):
    """A SOURCE with these tensors, and whether it is read from front to back."""
    rng = maker.random
    kind = rng.choice(["safetensors", "bin"])
    packed = rng.random() < 0.3
    if kind == "bin" and not packed and rng.random() < 0.5:
        tensors = maker.tangled(tensors, overlapping)
    checkpoints.save(directory, tensors, kind, rng.choice([1, 1, 2, 5]))
    if not packed:
        return directory
    path = directory + ".zip"
    # Two compressed archives cannot be merged.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if overlapping else zipfile.ZIP_DEFLATED) as out:
        for name in sorted(os.listdir(directory)):
            out.write(os.path.join(directory, name), f"model/{name}")
    return path


def compare(program, out, printed):
    with open(os.path.join(out, "llavamed-manifest.json"), encoding="ascii") as file:
        manifest = json.load(file)
    rows, model = digests_of(checkpoints.load(out))
    assert {row["name"]: row["sha256"] for row in manifest["tensors"]} == rows, "manifest"
    assert manifest["result"]["model_sha256"] == model, "manifest: the model"
    assert {row["name"]: row["sha256"] for row in printed["result"]["digests"]} == rows, "--json"
    assert printed["result"]["model_sha256"] == model, "--json: the model"
    folder = os.path.dirname(program)
    listed = json.loads(run([f"{folder}/llavamed-inspect", out, "--digests", "--json", "-q"]))
    assert {row["name"]: row["sha256"] for row in listed["tensors"]} == rows, "llavamed-inspect"
    assert listed["model_sha256"] == model, "llavamed-inspect: the model"
    verified = json.loads(run([f"{folder}/llavamed-verify", out, "--json", "-q"]))
    assert verified["intact"] and verified["digests_checked"] == verified["tensors_checked"] == len(rows), verified
    return model


def run_case(program, seed, scratch):
    maker = models.Maker(seed)
    rng = maker.random
    base, delta = maker.foreign_pair(False) if seed % 3 == 0 else maker.llama_pair()
    base = source(maker, f"{scratch}/base", base, True)
    delta = source(maker, f"{scratch}/delta", delta, False)
    options = ["--allow-unknown-base", "--dtype", rng.choice(["delta", "delta", "float16", "bfloat16", "float32"])]
    options += ["--inv-freq", "drop"] if rng.random() < 0.2 else []
    found = set()
    for name in ("safetensors", "torch"):
        out = f"{scratch}/{name}"
        own = ["--format", name, "--max-memory", rng.choice(["320KiB", "1MiB", "256MiB"]), "-j",
               str(rng.choice([1, 2, 4])), "--max-shard-size", rng.choice(["2KB", "20KB", "5GB"])]
        own += ["--torch-profile", "2.13"] if name == "torch" and rng.random() < 0.3 else []
        printed = run([program, "--base", base, "--delta", delta, "--out", out, "--digests", "--json", "-q",
                       *options, *own])
        found.add(compare(program, out, json.loads(printed)))
    assert len(found) == 1, f"the digest of the model depends on the format: {found}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n_failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.cases):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                run_case(os.path.abspath(arguments.program), seed, scratch)
            except Exception:
                n_failed += 1
                print(f"FAILED case {seed}:")
                traceback.print_exc(limit=1, file=sys.stdout)
    print(f"{arguments.cases - n_failed} passed, {n_failed} failed")
    return 1 if n_failed or arguments.cases < 1 else 0


if __name__ == "__main__":
    sys.exit(main())
