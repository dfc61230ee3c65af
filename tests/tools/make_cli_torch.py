#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/cli/expected-torch.sha256: what --format torch must write for the pairs of tests/data/cli.

    make_cli_torch.py [--keep DIR]
    make_cli_torch.py --again DIR

Run it with torch 1.13 and transformers 4.28.1 (tests/interop/requirements-reference.txt), after make_cli_data.py: torch
adds base and delta, transformers' shard_checkpoint() cuts, torch.save writes; the index is json.dumps as in
save_pretrained. One line "DIGEST  CASE/FILE" each; --keep also leaves the files in DIR. Then --again, with torch 2.13, saves the same dicts
under the same names and makes expected-torch-2.13.sha256.
"""
import argparse
import hashlib
import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import load_file

import make_cli_data

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "cli"
CASES = {
    "delta": {},
    "drop": {"inv_freq": "drop"},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
    "float32": {"dtype": torch.float32},
}
LIMITS = {"sharded": "3KB", "first-empty": 300}  # embed_tokens alone is above the latter


def load_delta():
    """In the order of the modules, which is that of the shards."""
    delta = {}
    for path in sorted((DATA / "delta").glob("*.bin")):
        delta.update(torch.load(path))
    return delta


def save(tensors, folder, limit="10GB"):
    from transformers.modeling_utils import shard_checkpoint

    folder.mkdir(parents=True)
    shards, index = shard_checkpoint(tensors, max_shard_size=limit)
    for name, shard in shards.items():
        torch.save(shard, folder / name)
    if index is not None:
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / "pytorch_model.bin.index.json").write_text(text, encoding="utf-8")


def write_sums(keep, name):
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(keep).as_posix()}\n"
             for path in sorted(keep.rglob("*")) if path.is_file()]
    (DATA / name).write_text("".join(lines))


def save_again(kept):
    assert torch.__version__.startswith("2.13")
    with tempfile.TemporaryDirectory() as scratch:
        again = pathlib.Path(scratch) / "again"
        shutil.copytree(kept, again)
        for path in again.rglob("*.bin"):
            torch.save(dict(torch.load(path, weights_only=True)), path)
        write_sums(again, "expected-torch-2.13.sha256")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--again", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.again is not None:
        save_again(arguments.again)
        return
    import transformers
    assert torch.__version__.startswith("1.13") and transformers.__version__ == "4.28.1"
    base, delta = load_file(DATA / "base" / "model.safetensors"), load_delta()
    with tempfile.TemporaryDirectory() as scratch:
        keep = arguments.keep or pathlib.Path(scratch)
        for case, options in CASES.items():
            save(make_cli_data.merged(base, delta, **options), keep / case)
        for case, limit in LIMITS.items():
            save(make_cli_data.merged(base, delta), keep / case, limit)
        write_sums(keep, "expected-torch.sha256")


if __name__ == "__main__":
    main()
