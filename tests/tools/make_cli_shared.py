#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/cli_shared: a base, and deltas of the same values whose tensors lie in memory in all kinds of ways.

    make_cli_shared.py

Any torch since 1.13. delta-plain.bin has each tensor by itself; views-*.bin hold the same values as views; the others
hold elements that are in two tensors, or twice in one.
"""
import pathlib
import shutil

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent / "data" / "cli_shared"
Q, K = (f"model.layers.0.self_attn.{part}_proj.weight" for part in "qk")
EMBED, NORM, HEAD, BIAS = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
                           "model.mm_projector.bias")


def values(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-512, 512, shape, generator=generator).half() / 64


def model(seed):
    shapes = {EMBED: (6, 4), Q: (4, 4), K: (4, 4), NORM: (4,), HEAD: (6, 4)}
    return {name: values(seed + i, shape) for i, (name, shape) in enumerate(shapes.items())}


def packed(delta):
    block = torch.cat([delta[Q].reshape(-1), delta[K].reshape(-1)])
    return {**delta, Q: block[:16].view(4, 4), K: block[16:].view(4, 4)}


def columns(delta):
    block = torch.cat([delta[Q], delta[K]], dim=1)
    return {**delta, Q: block[:, :4], K: block[:, 4:]}


def partial(delta):
    block = values(8, (28,))
    return {**delta, Q: block[:16].view(4, 4), K: block[12:].view(4, 4)}


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    base, delta = model(1), {**model(1000), BIAS: values(7, (4,))}
    constant = delta[NORM][:1].expand(4)
    files = {
        "base": base,
        "base-tied": {**base, HEAD: base[EMBED]},
        "base-tied-plain": {**base, HEAD: base[EMBED].clone()},
        "delta-plain": delta,
        "views-packed": packed(delta),
        "views-columns": columns(delta),
        "views-transposed": {**delta, Q: delta[Q].t().contiguous().t()},
        "expanded": {**delta, NORM: constant},
        "expanded-plain": {**delta, NORM: constant.contiguous()},
        "tied": {**delta, HEAD: delta[EMBED]},
        "tied-plain": {**delta, HEAD: delta[EMBED].clone()},
        "partial": partial(delta),
        "itself": {**delta, Q: values(9, (10,)).as_strided((4, 4), (2, 1))},
        "projector": {**delta, BIAS: delta[Q][1]},
    }
    for name, tensors in files.items():
        torch.save(tensors, ROOT / f"{name}.bin")


if __name__ == "__main__":
    main()
