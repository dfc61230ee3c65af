#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/cli_forms from tests/data/cli: the same base and delta in other forms that torch.save can give them.

    python3 tests/tools/make_cli_forms.py

Needs torch 2. Legacy files differ from run to run, since they hold memory addresses.
"""

import pathlib
import shutil

import torch

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
ROOT = DATA / "cli_forms"


def load(folder):
    tensors = {}
    for path in sorted(folder.glob("*.bin")):
        tensors.update(torch.load(path, weights_only=True))
    return tensors


def transposed(tensors):
    return {name: t.t().contiguous().t() if t.dim() == 2 else t for name, t in tensors.items()}


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    base, delta = load(DATA / "cli" / "base-bin"), load(DATA / "cli" / "delta")
    parameters = {name: torch.nn.Parameter(t) for name, t in base.items()}
    parameters["model.norm.weight"].tensor_model_parallel = True
    training = {"epoch": 3, "loss": 0.5, "args": {"lr": 1e-3, "names": ["a", None]}, "state_dict": base}
    for side, tensors in ("base", base), ("delta", delta):
        torch.save(tensors, ROOT / f"{side}-legacy.bin", _use_new_zipfile_serialization=False)
        torch.save(transposed(tensors), ROOT / f"{side}-transposed.bin")
    torch.save(transposed(delta), ROOT / "delta-transposed-legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(parameters, ROOT / "base-parameters.bin")
    torch.save(training, ROOT / "base-nested.bin")
    torch.save({"model": delta, "step": 7}, ROOT / "delta-nested-legacy.bin", _use_new_zipfile_serialization=False)


main()
