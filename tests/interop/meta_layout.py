# SPDX-License-Identifier: Apache-2.0
"""Merging onto Meta's original layout equals converting it with transformers first and merging then.

Random models of 1, 2, 4 and 8 model-parallel shards and up to 64 heads are written as Meta's shards, converted by
transformers 4.28.1 (convert_llama_weights_to_hf.py, the converter of 2023, on torch 1.13) and merged from both forms:
the shards of both outputs must be the same bytes, and every tensor what torch adds up.

Usage: meta_layout.py --program PATH [--seed N] [--cases N]
Ends with "N passed, N failed".
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback

import torch
import transformers
from transformers.models.llama import convert_llama_weights_to_hf as converter

import checkpoints

SIZES = {1: "7B", 2: "13B", 4: "30B", 8: "65B"}
MULTIPLE_OF = 256


def shapes_of(params, shards, vocab):
    dim = params["dim"]
    ffn = (2 * 4 * dim // 3 + MULTIPLE_OF - 1) // MULTIPLE_OF * MULTIPLE_OF
    assert ffn == converter.compute_intermediate_size(dim)
    shapes = {"tok_embeddings.weight": (vocab, dim // shards)}
    for layer in range(params["n_layers"]):
        prefix = f"layers.{layer}."
        for name in ("wq", "wk", "wv"):
            shapes[f"{prefix}attention.{name}.weight"] = (dim // shards, dim)
        shapes[f"{prefix}attention.wo.weight"] = (dim, dim // shards)
        shapes[f"{prefix}feed_forward.w1.weight"] = (ffn // shards, dim)
        shapes[f"{prefix}feed_forward.w2.weight"] = (dim, ffn // shards)
        shapes[f"{prefix}feed_forward.w3.weight"] = (ffn // shards, dim)
        shapes[f"{prefix}attention_norm.weight"] = (dim,)
        shapes[f"{prefix}ffn_norm.weight"] = (dim,)
        shapes[f"{prefix}attention.inner_attention.rope.freqs"] = (dim // params["n_heads"] // 2,)
    shapes["norm.weight"] = (dim,)
    shapes["output.weight"] = (vocab // shards, dim)
    return shapes


def write_meta(rng, folder, params, shards, vocab):
    """The release: shards, params.json, checklist.chk; the tensors of a layer are views of one storage, or are not."""
    os.makedirs(folder)
    shapes = shapes_of(params, shards, vocab)
    common = {name: torch.rand(shape).half() for name, shape in shapes.items() if len(shape) == 1}
    views = rng.random() < 0.6
    files = []
    for shard in range(shards):
        tensors = {}
        group = []
        for name, shape in shapes.items():
            tensors[name] = common[name].clone() if len(shape) == 1 else (torch.randn(shape) * 0.02).half()
            group.append(name)
            if views and (name.endswith("rope.freqs") or name == "output.weight"):
                storage = torch.cat([tensors[n].reshape(-1) for n in group])
                at = 0
                for n in group:
                    tensors[n] = storage[at:at + tensors[n].numel()].view(tensors[n].shape)
                    at += tensors[n].numel()
                group = []
        if rng.random() < 0.3:
            names = list(tensors)
            rng.shuffle(names)
            tensors = {name: tensors[name] for name in names}
        files.append(f"consolidated.{shard:02d}.pth")
        torch.save(tensors, f"{folder}/{files[-1]}")
    with open(f"{folder}/params.json", "w", encoding="ascii") as file:
        json.dump(params, file)
    if rng.random() < 0.7:
        with open(f"{folder}/checklist.chk", "wb") as file:
            file.write(subprocess.run(["md5sum", *files, "params.json"], cwd=folder, stdout=subprocess.PIPE,
                                      check=True).stdout)


def convert(meta, hf, shards, vocab):
    converter.LlamaConfig = functools.partial(transformers.LlamaConfig, vocab_size=vocab)
    with contextlib.redirect_stdout(io.StringIO()):
        converter.write_model(hf, meta, SIZES[shards])


def make_delta(rng, base, hidden):
    delta = {}
    for name, tensor in base.items():
        if name.endswith("inv_freq"):
            delta[name] = torch.zeros_like(tensor)
        else:
            delta[name] = (torch.randn(tensor.shape) * 1e-3).half()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        delta[name] = torch.cat([delta[name], torch.randn(rng.choice([0, 3]), hidden).half()])
    delta["model.mm_projector.weight"] = torch.randn(hidden, 8).half()
    delta["model.mm_projector.bias"] = torch.randn(hidden).half()
    return delta


def digests(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        if ".safetensors" in name:
            with open(f"{folder}/{name}", "rb") as file:
                out[name] = hashlib.sha256(file.read()).hexdigest()
    return out


def compare(out, base, delta):
    got = checkpoints.load(out)
    if sorted(got) != sorted(delta):
        return f"names differ: {sorted(set(got) ^ set(delta))}"
    for name, tensor in delta.items():
        want = tensor.clone()
        if name.endswith("inv_freq"):
            want = base[name].half().float() + want
        elif name in base:
            rows, columns = base[name].shape if base[name].dim() == 2 else (len(base[name]), None)
            want[:rows] += base[name].half()
        wrong = checkpoints.difference(got[name], want)
        if wrong:
            return f"{name} {wrong}"
    return None


def run_case(program, seed):
    """What went wrong, or None."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    shards = [1, 2, 4, 8][seed % 4]
    heads = rng.choice([h for h in (4, 8, 12, 16, 40, 52, 64) if h % shards == 0])
    dim = heads * rng.choice([2, 4, 6, 8] if heads > 16 else [2, 4, 10, 16, 32])
    params = {"dim": dim, "multiple_of": MULTIPLE_OF, "n_heads": heads, "n_layers": rng.choice([1, 2, 3]),
              "norm_eps": 1e-05 if shards == 8 else 1e-06, "vocab_size": -1}
    vocab = rng.choice([8, 64, 1000])
    about = f"case {seed} ({shards} shards, {heads} heads, dim {dim})"
    with tempfile.TemporaryDirectory() as directory:
        parent, hf = f"{directory}/release", f"{directory}/hf"
        folder = f"{parent}/{SIZES[shards]}"
        write_meta(rng, folder, params, shards, vocab)
        convert(folder, hf, shards, vocab)
        base = checkpoints.load(hf)
        delta = make_delta(rng, base, dim)
        checkpoints.save(f"{directory}/delta", delta, rng.choice(["safetensors", "bin"]), rng.choice([1, 2]))
        common = ["--delta", f"{directory}/delta", "-q", "--max-shard-size", str(rng.choice([10**9, 200_000]))]
        for form in (rng.choice([parent, folder]), hf):
            out = f"{directory}/out-{'hf' if form == hf else 'meta'}"
            memory = rng.choice([["--max-memory", "32MiB", "--threads", "64"], ["--threads", "3"], []])
            result = subprocess.run([program, "--base", form, "--out", out, *common, *memory], capture_output=True,
                                    stdin=subprocess.DEVNULL, timeout=300, check=False)
            if result.returncode != 0:
                return f"{about}: exit status {result.returncode}: {result.stderr.decode()[-2000:]}"
        if digests(f"{directory}/out-meta") != digests(f"{directory}/out-hf"):
            return f"{about}: merging onto the converted base gives other files"
        wrong = compare(f"{directory}/out-meta", base, delta)
        return wrong and f"{about}: {wrong}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=40)
    options = parser.parse_args()
    assert transformers.__version__ == "4.28.1" and torch.__version__.startswith("1.13"), "not the stack of 2023"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    program = os.path.abspath(options.program)
    n_passed = n_failed = 0
    for seed in range(options.seed, options.seed + options.cases):
        try:
            wrong = run_case(program, seed)
        except Exception:
            wrong = f"case {seed}: {traceback.format_exc()}"
        n_passed += wrong is None
        n_failed += wrong is not None
        if wrong is not None:
            print(wrong, flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
