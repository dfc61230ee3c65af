#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/forms: the forms in which torch.save can leave one and the same weights.

    python3 tests/tools/make_form_data.py

expected.txt lists what torch.load says: FILE NAME DTYPE SHAPE HEX, shape as "2x3" ("-" for a scalar), bytes row-major
("-" for none). Needs torch 2; legacy files differ from run to run, since they hold memory addresses.
"""

import collections
import os
import shutil
import struct

import torch
from torch_bytes import integer, legacy, legacy_keys, legacy_persid, pickle_of, tensor, text

ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "forms")
NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64", torch.int64: "I64",
         torch.bool: "BOOL"}


def views():
    x = (torch.arange(120, dtype=torch.float32) * 0.37 - 3).half()
    y = torch.arange(24, dtype=torch.float32)
    return {
        "whole": x,
        "turned": x.view(10, 12).t(),
        "turned_part": x.view(10, 12)[2:7, 3:9].t(),
        "permuted": x.view(4, 5, 6).permute(2, 0, 1),
        "swapped": x.view(2, 3, 4, 5).transpose(1, 2),
        "steps": x[3::7],
        "both_steps": x.view(10, 12)[::3, 1::5],
        "column": x.view(10, 12)[:, 4],
        "columns": x.view(10, 12)[:, 4:9],
        "expanded": x[5:8].expand(4, 3),
        "repeated": x[5:8].view(3, 1).expand(3, 4),
        "windows": x.unfold(0, 6, 2)[:9],
        "one": x[77],
        "none": x.view(10, 12).t()[:, :0],
        "bf16": y.to(torch.bfloat16).view(4, 6).t(),
        "double": y.double().view(2, 3, 4).permute(1, 2, 0),
        "long": y.long().view(6, 4)[:, 1:3],
        "flags": (y > 11).view(4, 6).t(),
    }


def module():
    torch.manual_seed(1)
    made = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.BatchNorm1d(4))
    made.optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    made(torch.ones(2, 3)).square().sum().backward()
    made.optimizer.step()
    return made


def training(made):
    """As many training scripts save it: weights among states, counters and settings."""
    return {
        "epoch": 3,
        "loss": 0.25,
        "best": None,
        "amp": True,
        "args": {"lr": 1e-3, "layers": [1, 2, (3, 4.5)], "name": "run", 7: "seven"},
        "model": made.state_dict(),
        "optimizer": made.optimizer.state_dict(),
    }


def lightning(made):
    return {
        "epoch": 1,
        "global_step": 2**40,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": made.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1, "done": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "best_k_models": {}}},
        "optimizer_states": [made.optimizer.state_dict()],
        "lr_schedulers": [],
    }


def parameters(made):
    kept = collections.OrderedDict(made.state_dict(keep_vars=True))
    marked = torch.nn.Parameter(torch.arange(4.0))
    marked.tensor_model_parallel, marked.partition_dim, marked.scale, marked.note = True, 0, 0.5, "x"
    kept["marked"] = marked
    return kept


def legacy_views():
    """Before torch 0.4 a part of a storage could be a storage of its own, saved as a view of the whole."""
    part = b"(" + text("9") + integer(1) + integer(5) + b"t"
    data = struct.pack("<q", 8) + struct.pack("<8e", *range(8))
    whole = dict(numel=8)
    items = [
        ("part_end", tensor(legacy_persid(view=part, **whole), offset=3, sizes=(2,))),
        ("part", tensor(legacy_persid(view=part, **whole), sizes=(5,))),
        ("part_turned", tensor(legacy_persid(view=part, **whole), offset=1, sizes=(2, 2), strides=(1, 2))),
        ("whole", tensor(legacy_persid(**whole), sizes=(8,))),
    ]
    return legacy(pickle_of(*items), keys=legacy_keys("7"), data=data)


def state_of(loaded):
    for name in "state_dict", "model":
        if isinstance(loaded.get(name), dict):
            return loaded[name]
    return loaded


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    os.makedirs(ROOT)
    made = module()
    forms = {"views": views(), "training": training(made), "lightning": lightning(made), "parameters": parameters(made)}
    for name, value in forms.items():
        torch.save(value, f"{ROOT}/{name}.pt")
        torch.save(value, f"{ROOT}/{name}_legacy.pt", _use_new_zipfile_serialization=False)
    with open(f"{ROOT}/legacy_views.pt", "wb") as file:
        file.write(legacy_views())
    rows = []
    for file_name in sorted(os.listdir(ROOT)):
        tensors = state_of(torch.load(f"{ROOT}/{file_name}", weights_only=True))
        for name, t in tensors.items():
            data = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex()
            shape = "x".join(str(n) for n in t.shape)
            rows.append(f"{file_name} {name} {NAMES[t.dtype]} {shape or '-'} {data or '-'}\n")
    with open(f"{ROOT}/expected.txt", "w", newline="\n") as file:
        file.writelines(rows)

    # A few bytes that would become gigabytes, and many that would become too much together.
    one = torch.zeros(1, dtype=torch.float16)
    torch.save({"fine": torch.ones(2), "bomb": one.expand(2**33, 2)}, f"{ROOT}/bomb.pt")
    torch.save({f"t{i}": one.expand(2**18) for i in range(3)}, f"{ROOT}/bomb_together.pt")


main()
