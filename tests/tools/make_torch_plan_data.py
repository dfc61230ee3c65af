#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/plan/torch_splits.txt: shards as shard_checkpoint() of transformers 4.28.1 cuts them.

    make_torch_plan_data.py

Needs that transformers, as the environment of tests/interop/requirements-reference.txt has it. Lines:
LIMIT TOTAL SIZE:SHARD..., where TOTAL is what json writes for total_size ("-" without an index), and SIZE the number of
elements, each of a byte or, behind "b", a bool. Shards without a tensor are seen by their number being left out.
"""
import json
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


CHOSEN_BOOLS = [  # an eighth of a byte too many, a float that is an integer, an empty bool, a total that is rounded
    (8, ["b64"]), (8, ["b65"]), (8, ["b64", "b0"]), (8, ["b64", "b1"]), (8, [7, "b8", "b1"]), (8, [7, "b8", 0, 1]),
    (8, ["b1", 8]), (8, [8, "b0", 1]), (8, ["b0", 9, 1]), (1, ["b1"] * 9), (1, ["b1"] * 8), (0, ["b0", "b0"]),
    (0, ["b1", "b0"]), (2**53, [2**53, "b1"]), (2**53, [2**53, "b0", 1]), (2**53 + 1, [2**53 + 1, "b0"]),
    (2**50, [2**50, "b1"]), (2**50, [2**50 - 1, "b7", "b1", "b1"]), (2**54, [2**54 + 3, "b0"]),
    (2**60, ["b3", 2**60 - 1, 2**60]), (10**16, [10**16, "b1"]), (10**15, [10**15, "b1", "b2"]),
    (10**16, [10**16 - 8, "b1", 10**16]), (2**60, ["b9007199254740993", 2**60]), (10**17, [10**17, "b8", 7]),
]


def tensor_of(size):
    dtype, n = (torch.bool, size[1:]) if isinstance(size, str) else (torch.uint8, size)
    return torch.empty(int(n), dtype=dtype, device="meta")


def split(limit, sizes):
    tensors = {f"t{i:02d}": tensor_of(size) for i, size in enumerate(sizes)}
    shards, index = shard_checkpoint(tensors, max_shard_size=limit)
    number = {name: i for i, shard in enumerate(shards.values()) for name in shard}
    total = "-" if index is None else json.dumps(index["metadata"]["total_size"])
    return f"{limit} {total} " + " ".join(f"{sizes[i]}:{number[name]}" for i, name in enumerate(tensors)) + "\n"


def with_bools(rng, limit):
    """Sizes in elements, about half of them of bools, around the same places in bytes."""
    sizes = []
    for _ in range(rng.randint(1, 12)):
        around = rng.choice([0, 8, 4 * limit, 8 * limit - 8, 8 * limit, rng.randint(0, 16 * limit)])
        eighths = max(0, around + rng.randint(-9, 9))
        sizes.append(f"b{eighths}" if rng.random() < 0.5 else eighths // 8)
    return sizes


def main():
    assert transformers.__version__ == "4.28.1"
    rng = random.Random(428)
    lines = [split(limit, sizes) for limit, sizes in CHOSEN]
    while len(lines) < 200:
        limit = rng.choice([1, 8, 30, 100])
        around = [0, 1, limit // 2, limit - 1, limit, limit + 1, 2 * limit, rng.randint(0, 2 * limit)]
        lines.append(split(limit, [rng.choice(around) for _ in range(rng.randint(1, 12))]))
    lines += [split(limit, sizes) for limit, sizes in CHOSEN_BOOLS]
    while len(lines) < 500:
        limit = rng.choice([1, 8, 30, 100, 10**10, 2**50 + 5, 2**52 - 1, 2**53 + 1, 10**16, 2**57 + 4])
        lines.append(split(limit, with_bools(rng, limit)))
    with open(os.path.join(DATA, "torch_splits.txt"), "w", encoding="ascii") as out:
        out.writelines(lines)


if __name__ == "__main__":
    main()
