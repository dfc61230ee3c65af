# SPDX-License-Identifier: Apache-2.0
"""One pair of checkpoints in every form that torch.save can give them: OUT must be the same, byte for byte.

The pair is merged once from plain zip files with contiguous tensors, which random_models.py holds against torch. Then
base, delta or both are written again as legacy files, with strided views, as parameters, nested in training states and
so on, by today's torch and by an older one, and merged again with other options that must not matter.

Usage: forms.py --program PATH --older PYTHON [--seed N] [--cases N]
PYTHON runs an older torch (1.13). Ends with "N passed, N failed".
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile

import torch

import models

RESAVE = """
import sys, torch
value = torch.load(sys.argv[1], map_location="cpu")
torch.save(value, sys.argv[2], _use_new_zipfile_serialization=sys.argv[3] == "zip")
"""


def strided(rng, tensors):
    """The same tensors as views with strides, of storages of their own or shared."""
    out = collections.OrderedDict()
    for name, tensor in tensors.items():
        kind = rng.choice(["permuted", "steps", "block", "offset", "plain"])
        if kind == "permuted" and tensor.dim() >= 2:
            order = list(range(tensor.dim()))
            rng.shuffle(order)
            back = [order.index(i) for i in range(tensor.dim())]
            tensor = tensor.permute(order).contiguous().permute(back)
        elif kind == "steps" and tensor.dim() >= 1:
            step = rng.randint(2, 5)
            wide = torch.ones((*tensor.shape[:-1], tensor.shape[-1] * step + 1)).to(tensor.dtype)
            wide[..., 1::step] = tensor
            tensor = wide[..., 1::step]
        elif kind == "block" and tensor.dim() == 2:
            block = torch.ones((tensor.shape[0] + 3, tensor.shape[1] + rng.choice([1, 7, 5000]))).to(tensor.dtype)
            block[2:2 + tensor.shape[0], 1:1 + tensor.shape[1]] = tensor
            tensor = block[2:2 + tensor.shape[0], 1:1 + tensor.shape[1]]
        elif kind == "offset":
            longer = torch.ones(tensor.numel() + 11).to(tensor.dtype)
            longer[5:5 + tensor.numel()] = tensor.reshape(-1)
            tensor = longer[5:5 + tensor.numel()].view(tensor.shape)
        out[name] = tensor
    return out


def expanded(tensors):
    """Tensors whose rows are all alike, kept once: such is what a merge of constant tensors leaves."""
    out = collections.OrderedDict(tensors)
    for name, tensor in tensors.items():
        if tensor.dim() == 2 and tensor.numel() and bool((tensor == tensor[:1]).all()):
            out[name] = tensor[:1].clone().expand(tensor.shape)
    return out


def parameters(rng, tensors):
    out = collections.OrderedDict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and rng.random() < 0.7:
            tensor = torch.nn.Parameter(tensor, requires_grad=rng.random() < 0.5)
            if rng.random() < 0.5:
                tensor.tensor_model_parallel, tensor.rank, tensor.scale, tensor.group = True, 3, 0.5, None
        out[name] = tensor
    return out


def with_metadata(tensors):
    out = collections.OrderedDict(tensors)
    out._metadata = collections.OrderedDict([("", {"version": 1}), ("model", {"version": 2})])
    return out


def nested(rng, tensors):
    """What trainers write around a state dict."""
    weights = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(weights.parameters())
    weights(torch.ones(3)).sum().backward()
    optimizer.step()
    beside = {"epoch": 3, "step": 2**40, "loss": 0.5, "best": None, "args": {"lr": [1e-3, (1, 2)], 3: "three"},
              "optimizer": optimizer.state_dict(), "note": "x" * 300, "amp": True}
    names = rng.sample(list(beside), rng.randint(0, len(beside)))
    entries = [(name, beside[name]) for name in names]
    entries.insert(rng.randint(0, len(entries)), (rng.choice(["state_dict", "model"]), tensors))
    return dict(entries)


def make_form(rng, tensors, form):
    if "strided" in form:
        tensors = strided(rng, tensors)
    if "expanded" in form:
        tensors = expanded(tensors)
    if "parameters" in form:
        tensors = parameters(rng, tensors)
    if "metadata" in form:
        tensors = with_metadata(tensors)
    return nested(rng, tensors) if "nested" in form else tensors


def write(rng, tensors, form, path, older):
    value = make_form(rng, tensors, form)
    zip_form = "legacy" not in form
    if "older" not in form:
        torch.save(value, path, _use_new_zipfile_serialization=zip_form)
        return
    torch.save(value, path + ".new")
    subprocess.run([older, "-c", RESAVE, path + ".new", path, "zip" if zip_form else "legacy"], check=True,
                   stderr=subprocess.DEVNULL)


def merge(program, base, delta, out, arguments):
    """Runs the program; returns what OUT's weights are, or raises."""
    # The numbers are arbitrary bits, which the test of the contents rightly takes for no delta.
    result = subprocess.run([program, "-q", "--allow-unknown-base", "--base", base, "--delta", delta, "--out", out,
                             *arguments],
                            capture_output=True, timeout=300, check=False)
    if result.returncode != 0:
        raise ValueError(f"exit status {result.returncode}: {result.stderr.decode('utf-8', 'replace')}")
    weights = {}
    for name in sorted(os.listdir(out)):
        if name.endswith((".safetensors", ".index.json")):
            with open(os.path.join(out, name), "rb") as file:
                weights[name] = file.read()
    shutil.rmtree(out)
    return weights


def random_form(rng):
    words = ("strided", "expanded", "parameters", "metadata", "nested", "legacy")
    form = [word for word in words if rng.random() < 0.4]
    # Attributes of parameters are older than torch 2.0 only in memory: torch 1.13 reads no file that has them.
    if "parameters" not in form and rng.random() < 0.25:
        form.append("older")
    return form


def run_case(program, older, seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    base, delta = models.Maker(seed).llama_pair()
    constant = next(name for name in base if name.endswith("q_proj.weight"))
    base[constant] = base[constant][:1].expand(base[constant].shape).contiguous()
    if seed % 8 == 0:
        # More than a tile and more than the bounce buffer of strided reads, in both directions.
        for tensors in base, delta:
            dtype = tensors[constant].dtype
            tensors["model.large.weight"] = torch.randn(2600, 1300).to(dtype)
            tensors["model.wide.weight"] = torch.randn(3, 5, 90000).to(dtype)
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        paths = {side: f"{directory}/{side}.bin" for side in ("base", "delta")}
        for side, tensors in (("base", base), ("delta", delta)):
            torch.save(dict(tensors), paths[side])
        want = merge(program, paths["base"], paths["delta"], f"{directory}/out", [])
        for attempt in range(3):
            forms = {"base": random_form(rng), "delta": random_form(rng)}
            given = {side: f"{directory}/{side}-{attempt}.pt" for side in forms}
            arguments = ["--threads", str(rng.choice([1, 2, 5])), "--max-memory", rng.choice(["32MiB", "256MiB"])]
            try:
                write(rng, base, forms["base"], given["base"], older)
                write(rng, delta, forms["delta"], given["delta"], older)
                if merge(program, given["base"], given["delta"], f"{directory}/out", arguments) != want:
                    raise ValueError("OUT differs from that of plain files")
            except (ValueError, subprocess.SubprocessError) as error:
                wrong.append(f"case {seed}.{attempt}, {forms}: {error}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--older", required=True, help="a Python with an older torch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=60)
    options = parser.parse_args()
    n_failed = 0
    for seed in range(options.seed, options.seed + options.cases):
        wrong = run_case(os.path.abspath(options.program), options.older, seed)
        n_failed += len(wrong)
        for line in wrong[:3]:
            print(line, flush=True)
    print(f"{3 * options.cases - n_failed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and options.cases > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
