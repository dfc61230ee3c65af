# SPDX-License-Identifier: Apache-2.0
"""Deltas that were made as deltas are, by subtraction, merged as users merge them: the content test is on.

A base, a target near it and delta = target - base, as LLaVA's make_delta.py does it with torch, in float16 or float32. In
every form that base and delta come in (safetensors, torch files of all kinds, Meta's shards, the base copied to float32,
the hub cache) the right base must be accepted without a word about its contents, and OUT be what torch adds up, nearly all of it the target. A wrong
base of the same names and shapes must be refused in each of these forms with exit status 4 and no OUT, and be merged
with a warning where --allow-unknown-base says so.

Usage: subtracted.py --program PATH --older PYTHON [--seed N] [--cases N]
PYTHON runs an older torch (1.13). Ends with "N passed, N failed".
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile

import torch

import checkpoints
import forms
import oracle

DIM, HEADS, LAYERS, ROWS, MULTIPLE_OF = 256, 4, 2, 1000, 32
FFN = (2 * 4 * DIM // 3 + MULTIPLE_OF - 1) // MULTIPLE_OF * MULTIPLE_OF
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# What Meta calls a tensor and how its shards split it: rows, columns or not at all.
META = {
    "model.embed_tokens.weight": ("tok_embeddings.weight", 1), "model.norm.weight": ("norm.weight", None),
    "lm_head.weight": ("output.weight", 0), "self_attn.q_proj.weight": ("attention.wq.weight", 0),
    "self_attn.k_proj.weight": ("attention.wk.weight", 0), "self_attn.v_proj.weight": ("attention.wv.weight", 0),
    "self_attn.o_proj.weight": ("attention.wo.weight", 1), "mlp.gate_proj.weight": ("feed_forward.w1.weight", 0),
    "mlp.down_proj.weight": ("feed_forward.w2.weight", 1), "mlp.up_proj.weight": ("feed_forward.w3.weight", 0),
    "input_layernorm.weight": ("attention_norm.weight", None),
    "post_attention_layernorm.weight": ("ffn_norm.weight", None),
}


def shapes():
    yield "model.embed_tokens.weight", (ROWS, DIM)
    for i in range(LAYERS):
        for part in "qkvo":
            yield f"model.layers.{i}.self_attn.{part}_proj.weight", (DIM, DIM)
        yield f"model.layers.{i}.mlp.gate_proj.weight", (FFN, DIM)
        yield f"model.layers.{i}.mlp.down_proj.weight", (DIM, FFN)
        yield f"model.layers.{i}.mlp.up_proj.weight", (FFN, DIM)
        yield f"model.layers.{i}.input_layernorm.weight", (DIM,)
        yield f"model.layers.{i}.post_attention_layernorm.weight", (DIM,)
    yield "model.norm.weight", (DIM,)
    yield "lm_head.weight", (ROWS, DIM)


def make_base():
    return collections.OrderedDict((name, (torch.randn(shape) * (0.02 if len(shape) == 2 else 0.1) +
                                           (1 if len(shape) == 1 else 0)).half()) for name, shape in shapes())


def make_target(rng, base, dtype):
    """A fine-tune: every weight moved a little, a grown vocabulary, a projector."""
    size, more = rng.choice([2e-4, 5e-4, 1e-3]), rng.choice([0, 3, 4])
    target = collections.OrderedDict(
        (name, (tensor.float() + torch.randn(tensor.shape) * size).to(dtype)) for name, tensor in base.items())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        target[name] = torch.cat([target[name], (torch.randn(more, DIM) * 0.02).to(dtype)])
    target["model.mm_projector.weight"] = (torch.randn(DIM, 64) * 0.02).to(dtype)
    target["model.mm_projector.bias"] = (torch.randn(DIM) * 0.02).to(dtype)
    return target


def subtract(target, base):
    """As make_delta.py of LLaVA: in place, in the target's dtype, in the rows that the base has."""
    delta = collections.OrderedDict((name, tensor.clone()) for name, tensor in target.items())
    for name, tensor in base.items():
        delta[name].data[:tensor.shape[0]] -= tensor
    return delta


# ---- Wrong bases -------------------------------------------------------------------------------------------------------

def unpermuted(tensor):
    """Rows of a Hugging Face q or k in the order of Meta's release."""
    return tensor.view(HEADS, 2, DIM // HEADS // 2, DIM).transpose(1, 2).reshape(DIM, DIM)


def without_permutation(base):
    return collections.OrderedDict(
        (name, unpermuted(t) if ".q_proj." in name or ".k_proj." in name else t) for name, t in base.items())


def with_layers_exchanged(base):
    swapped = {"0": "1", "1": "0"}
    return collections.OrderedDict(
        (name, base[".".join([*name.split(".")[:2], swapped[name.split(".")[2]], *name.split(".")[3:]])]
         if name.startswith("model.layers.") else tensor) for name, tensor in base.items())


# ---- Forms -------------------------------------------------------------------------------------------------------------

def write_meta(folder, base, n_shards):
    """Meta's release, from the semantics that the converter of transformers documents by code."""
    os.makedirs(folder)
    for shard in range(n_shards):
        tensors = {}
        for name, tensor in base.items():
            parts = name.split(".")
            layer = parts[2] if name.startswith("model.layers.") else None
            own, axis = META[".".join(parts[3:]) if layer else name]
            if ".q_proj." in name or ".k_proj." in name:
                tensor = unpermuted(tensor)
            tensor = tensor if axis is None else tensor.chunk(n_shards, dim=axis)[shard]
            tensors[f"layers.{layer}.{own}" if layer else own] = tensor.clone(memory_format=torch.contiguous_format)
        torch.save(tensors, f"{folder}/consolidated.{shard:02d}.pth")
    with open(f"{folder}/params.json", "w", encoding="ascii") as file:
        json.dump({"dim": DIM, "multiple_of": MULTIPLE_OF, "n_heads": HEADS, "n_layers": LAYERS, "norm_eps": 1e-06,
                   "vocab_size": -1}, file)


def write_side(rng, tensors, form, path, older):
    """Writes one side below `path`; returns the SOURCE to give and the environment that it needs."""
    if form.startswith("meta"):
        write_meta(path, tensors, int(form[4:]))
    elif form == "float32":
        wide = collections.OrderedDict((name, tensor.float()) for name, tensor in tensors.items())
        checkpoints.save(path, wide, rng.choice(["safetensors", "bin"]), rng.choice([1, 3]))
    elif form == "torch":
        kind = forms.random_form(rng)
        os.makedirs(path)
        forms.write(rng, tensors, kind, f"{path}/pytorch_model.bin", older)
        return (f"{path}/pytorch_model.bin" if rng.random() < 0.5 else path), {}
    elif form == "hub":
        repository = f"{path}/models--org--model"
        os.makedirs(f"{repository}/refs")
        with open(f"{repository}/refs/main", "w", encoding="ascii") as file:
            file.write(COMMIT)
        checkpoints.save(f"{repository}/snapshots/{COMMIT}", tensors, "safetensors", 2)
        return "org/model", {"HF_HUB_CACHE": path}
    else:
        checkpoints.save(path, tensors, form, rng.choice([1, 3]))
    return path, {}


BASE_FORMS = ["safetensors", "bin", "torch", "torch", "float32", "meta1", "meta2", "meta4", "hub"]
DELTA_FORMS = ["safetensors", "bin", "torch"]


class Case:
    def __init__(self, program, older, seed, directory):
        self.program, self.older, self.directory = program, older, directory
        self.rng = random.Random(seed)
        torch.manual_seed(seed)
        self.n_merges = 0
        self.base = make_base()
        self.target = make_target(self.rng, self.base, self.rng.choice([torch.float16, torch.float16, torch.float32]))
        self.delta = subtract(self.target, self.base)

    def merge(self, base, base_form, delta, delta_form, arguments=()):
        self.n_merges += 1
        place = f"{self.directory}/{self.n_merges}"
        base_spec, env = write_side(self.rng, base, base_form, f"{place}-base", self.older)
        delta_spec, _ = write_side(self.rng, delta, delta_form, f"{place}-delta", self.older)
        out = f"{place}-out"
        options = ["--threads", str(self.rng.choice([1, 2, 5])), "--max-memory", self.rng.choice(["32MiB", "256MiB"])]
        result = subprocess.run([self.program, "--base", base_spec, "--delta", delta_spec, "--out", out, *options,
                                 *arguments],
                                env={**os.environ, **env}, capture_output=True, text=True, timeout=300, check=False)
        return result, out

    def right(self, base_form, delta_form):
        result, out = self.merge(self.base, base_form, self.delta, delta_form)
        if result.returncode != 0:
            return f"exit status {result.returncode}: {result.stderr}"
        if "contents" in result.stderr or " fit" in result.stderr or "--allow-unknown-base" in result.stderr:
            return f"a word about the right base: {result.stderr}"
        got, want = checkpoints.load(out), oracle.merge(self.base, self.delta)
        if sorted(got) != sorted(want):
            return f"names differ: {sorted(set(got) ^ set(want))}"
        for name, tensor in want.items():
            wrong = checkpoints.difference(got[name], tensor)
            if wrong:
                return f"{name} {wrong}"
        same = sum(int((got[name] == self.target[name]).sum()) for name in got)
        total = sum(tensor.numel() for tensor in got.values())
        return None if same >= 0.96 * total else f"only {same} of {total} elements are the target's"

    def wrong(self, base, base_form, delta, delta_form):
        result, out = self.merge(base, base_form, delta, delta_form)
        if result.returncode != 4 or os.path.exists(out) or os.path.exists(out + ".partial"):
            return f"exit status {result.returncode}, want 4 and no OUT: {result.stderr}"
        if "hint: " not in result.stderr:
            return f"no hint: {result.stderr}"
        result, out = self.merge(base, base_form, delta, delta_form, ["--allow-unknown-base"])
        if result.returncode != 0 or "warning: " not in result.stderr or not os.path.exists(out):
            return f"exit status {result.returncode} with --allow-unknown-base: {result.stderr}"
        return None


def run_case(program, older, seed):
    """(name, what is wrong or None) of each merge."""
    with tempfile.TemporaryDirectory() as directory:
        case = Case(program, older, seed, directory)
        base_form, delta_form = BASE_FORMS[seed % len(BASE_FORMS)], case.rng.choice(DELTA_FORMS)
        yield f"right base, {base_form} and {delta_form}", case.right(base_form, delta_form)
        wrongs = [("unrelated base", make_base(), case.delta),
                  ("no rotary permutation", without_permutation(case.base), case.delta),
                  ("exchanged layers", with_layers_exchanged(case.base), case.delta),
                  ("the model as its delta", case.base, case.target)]
        for name, base, delta in wrongs:
            yield f"{name}, {base_form} and {delta_form}", case.wrong(base, base_form, delta, delta_form)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--older", required=True, help="a Python with an older torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=3 * len(BASE_FORMS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    n_passed = n_failed = 0
    for seed in range(options.seed, options.seed + options.cases):
        for name, wrong in run_case(os.path.abspath(options.program), options.older, seed):
            n_passed += wrong is None
            n_failed += wrong is not None
            if wrong is not None:
                print(f"case {seed}, {name}: {wrong}", flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
