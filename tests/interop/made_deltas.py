#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deltas that llavamed-make-delta makes, against torch: target - base, bit for bit, and base + delta == target counted.

Tensors are of random bits (subnormals, infinities and NaN among them), of weights near each other, and of values of all
magnitudes, in float16, bfloat16 and float32, base and target in the same dtype or not. torch's NaN have payloads that
depend on the machine: they are compared as NaN, and where the target is one, it comes back only if it is the canonical
NaN and the base is none. Then llavamed-apply adds the delta, and as many elements have other bits as was said.

Usage: made_deltas.py --program PATH-OF-LLAVAMED-APPLY [--seed N] [--cases N]
Ends with "N passed, N failed".
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = [torch.float16, torch.bfloat16, torch.float32]
BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
CANONICAL = {torch.float16: 0x7E00, torch.bfloat16: 0x7FC0, torch.float32: 0x7FC00000}


def random_bits(n, dtype):
    limit = 1 << (8 * torch.empty(0, dtype=dtype).element_size() - 1)
    return torch.randint(-limit, limit, (n,), dtype=torch.int64).to(BITS[dtype]).view(dtype)


def make_pair(rng, n, base_dtype, target_dtype):
    kind = rng.randrange(4)
    if kind == 0:
        return random_bits(n, base_dtype), random_bits(n, target_dtype)
    base = (torch.randn(n) * 0.02).to(base_dtype)
    if kind == 1:
        return base, (base.float() + torch.randn(n) * rng.choice([1e-4, 1e-3, 1e-2])).to(target_dtype)
    if kind == 2:
        scale = torch.exp(torch.randn(n) * 12)
        return (torch.randn(n) * scale).to(base_dtype), (torch.randn(n) * scale.flip(0)).to(target_dtype)
    few = torch.tensor([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 6e-8, -6e-8, 65504.0])
    return (few[torch.randint(0, len(few), (n,))].to(base_dtype),
            few[torch.randint(0, len(few), (n,))].to(target_dtype))


def same(a, b):
    """Where the bits are, or both are NaN."""
    return (a.view(BITS[a.dtype]) == b.view(BITS[b.dtype])) | (a.isnan() & b.isnan())


def comes_back(base, delta, target):
    again = base + delta
    bits = BITS[target.dtype]
    canonical = torch.tensor(CANONICAL[target.dtype], dtype=torch.int64).to(bits)
    return torch.where(again.isnan(), target.view(bits) == canonical, again.view(bits) == target.view(bits))


def run(program, *options):
    result = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{os.path.basename(program)}: {result.stderr.strip()} {result.stdout[-2000:]}")
    return result.stdout


def one(options, rng, folder):
    wanted = rng.choice([None, None] + DTYPES)
    base, target = {}, {}
    for i in range(6):
        n = rng.choice([1, 31, 1000, 4099, 70001])
        base_dtype = rng.choice(DTYPES)
        target_dtype = base_dtype if rng.random() < 0.6 else rng.choice(DTYPES)
        name = f"model.layers.{i}.mlp.up_proj.weight"
        base[name], target[name] = make_pair(rng, n, base_dtype, target_dtype)
    for name, tensors in ("base", base), ("target", target):
        os.makedirs(f"{folder}/{name}")
        save_file(tensors, f"{folder}/{name}/model.safetensors", {"format": "pt"})
    dtype = [] if wanted is None else ["--dtype", str(wanted).removeprefix("torch.")]
    cpu = rng.choice([[], ["--cpu", "ref"]])
    made = json.loads(run(os.path.join(os.path.dirname(options.program), "llavamed-make-delta"), "--base", f"{folder}/base",
                          "--target", f"{folder}/target", "--out", f"{folder}/delta", "--json", *dtype, *cpu))
    delta = load_file(f"{folder}/delta/model.safetensors")
    said = {tensor["name"]: tensor["lossy"] for tensor in made["lossy"]["tensors"]}
    run(options.program, "--base", f"{folder}/base", "--delta", f"{folder}/delta", "--out", f"{folder}/out", "-q",
        "--allow-unknown-base")
    out = load_file(f"{folder}/out/model.safetensors")
    for name, tensor in target.items():
        tensor = tensor.to(wanted or tensor.dtype)
        start = base[name].to(tensor.dtype)
        if tensor.dtype != target[name].dtype:  # torch's conversion of a NaN keeps some of its payload
            tensor = torch.where(tensor.isnan(), torch.tensor(CANONICAL[tensor.dtype]).to(BITS[tensor.dtype])
                                 .view(tensor.dtype), tensor)
        want = tensor - start
        if not bool(same(delta[name], want).all()):
            raise RuntimeError(f"{name}: the delta is not torch's difference")
        lossy = int((~comes_back(start, want, tensor)).sum())
        bits = BITS[tensor.dtype]
        differs = int((out[name].view(bits) != tensor.view(bits)).sum())
        if not lossy == said.get(name, 0) == differs:
            raise RuntimeError(f"{name}: lossy by torch {lossy}, as was said {said.get(name, 0)}, found {differs}")
    if wanted is None:
        exact(options, folder, base, target)
    return sum(said.values())


def exact(options, folder, base, target):
    """An exact delta: torch's own integers say what it should hold, and every bit comes back."""
    run(os.path.join(os.path.dirname(options.program), "llavamed-make-delta"), "--base", f"{folder}/base",
        "--target", f"{folder}/target", "--out", f"{folder}/exact", "--exact", "-q")
    run(options.program, "--base", f"{folder}/base", "--delta", f"{folder}/exact", "--out", f"{folder}/again", "-q")
    delta, again = load_file(f"{folder}/exact/model.safetensors"), load_file(f"{folder}/again/model.safetensors")
    for name, tensor in target.items():
        bits = BITS[tensor.dtype]
        start = base[name].to(tensor.dtype)
        if start.dtype != base[name].dtype:
            start = torch.where(start.isnan(), torch.tensor(CANONICAL[start.dtype]).to(bits).view(start.dtype), start)
        kind = torch.uint16 if tensor.dtype == torch.bfloat16 else bits
        if delta[name].dtype != kind or not torch.equal(start.view(bits) + delta[name].view(bits), tensor.view(bits)):
            raise RuntimeError(f"{name}: not the difference of bits")
        if again[name].dtype != tensor.dtype or not torch.equal(again[name].view(bits), tensor.view(bits)):
            raise RuntimeError(f"{name}: the target does not come back")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=60)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    passed = failed = lossy = 0
    for case in range(options.cases):
        with tempfile.TemporaryDirectory() as folder:
            try:
                lossy += one(options, rng, folder)
                # Cards and manifests do not depend on what is random here.
                for name in ("delta", "exact") if case < 4 else ():
                    if os.path.isdir(f"{folder}/{name}"):
                        run(sys.executable, os.path.join(HERE, "check_documents.py"), f"{folder}/{name}")
                passed += 1
            except RuntimeError as error:
                failed += 1
                print(f"FAILED case {case}: {error}")
    print(f"torch {torch.__version__}, {lossy} elements that did not come back")
    failed += lossy == 0
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
