#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/plan/torch_splits.txt: shards as shard_checkpoint() of transformers 4.28.1 cuts them.

    make_torch_plan_data.py

Needs that transformers, as the environment of tests/interop/requirements-reference.txt has it. Lines:
LIMIT SIZE:SHARD...; shards without a tensor are seen by their number being left out.
"""
import os
import random

import torch
import transformers
from transformers.modeling_utils import shard_checkpoint

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "plan")
CHOSEN = [  # around the limit, the first tensor above it, empty tensors before and behind
    (8, [8]), (8, [9]), (8, [7]), (8, [0]), (8, [0, 9]), (8, [9, 0]), (8, [9, 9]), (8, [8, 8]), (8, [8, 9]), (8, [9, 8]),
    (8, [4, 4]), (8, [4, 5]), (8, [4, 4, 0]), (8, [4, 4, 1]), (8, [0, 0, 8, 0, 9, 0]), (8, [9, 1, 7, 1]), (8, [1, 9, 1]),
    (8, [9, 9, 9]), (1, [1, 1, 1]), (1, [2]), (1, [0, 2, 0]), (0, [0, 0]), (0, [1, 0]), (8, [8, 0, 8, 0]),
]


def split(limit, sizes):
    tensors = {f"t{i:02d}": torch.empty(size, dtype=torch.uint8) for i, size in enumerate(sizes)}
    shards, _ = shard_checkpoint(tensors, max_shard_size=limit)
    number = {name: i for i, shard in enumerate(shards.values()) for name in shard}
    return f"{limit} " + " ".join(f"{sizes[i]}:{number[name]}" for i, name in enumerate(tensors)) + "\n"


def main():
    assert transformers.__version__ == "4.28.1"
    rng = random.Random(428)
    lines = [split(limit, sizes) for limit, sizes in CHOSEN]
    while len(lines) < 200:
        limit = rng.choice([1, 8, 30, 100])
        around = [0, 1, limit // 2, limit - 1, limit, limit + 1, 2 * limit, rng.randint(0, 2 * limit)]
        lines.append(split(limit, [rng.choice(around) for _ in range(rng.randint(1, 12))]))
    with open(os.path.join(DATA, "torch_splits.txt"), "w", encoding="ascii") as out:
        out.writelines(lines)


if __name__ == "__main__":
    main()
