#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns a synthetic safetensors checkpoint into torch shards, as the released delta and its base have them.

    python3 synth_to_bin.py CHECKPOINT OUT [--max-shard-size 10GB]

Writes pytorch_model-0000N-of-0000M.bin with the real torch (1.13 and later), one shard at a time, each a plain dict, in
the order of the modules, cut as transformers 4.28 cuts them, and pytorch_model.bin.index.json in its manner (sorted keys,
one newline at the end); copies the small files. Needs torch and nothing else. Holds one shard in memory.
"""
import argparse
import json
import mmap
import pathlib
import re
import shutil
import struct
import sys

import torch

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
UNITS = {"GB": 10**9, "MB": 10**6, "KB": 10**3, "": 1}
IN_LAYER = ["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
            "self_attn.rotary_emb.inv_freq", "mlp.gate_proj.weight", "mlp.down_proj.weight", "mlp.up_proj.weight",
            "input_layernorm.weight", "post_attention_layernorm.weight"]
AROUND = {"model.embed_tokens.weight": 0, "model.norm.weight": 2, "model.mm_projector.weight": 3, "model.mm_projector.bias": 4,
          "lm_head.weight": 5}


def module_order(name):
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
    return (1, int(match[1]), IN_LAYER.index(match[2])) if match else (AROUND[name], 0, 0)


def size_of(text):
    match = re.fullmatch(r"(\d+)(GB|MB|KB|)", text)
    if not match or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"not a size: {text}")
    return int(match[1]) * UNITS[match[2]]


def read_headers(folder):
    """name -> (file, dtype, shape, offset in the file, bytes), in the order of the modules."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensors[name] = (path, DTYPES[entry["dtype"]], entry["shape"], 8 + header_bytes + begin, end - begin)
    return dict(sorted(tensors.items(), key=lambda item: module_order(item[0])))


def split(tensors, limit):
    """Lists of names: a new shard when the next tensor would exceed the limit."""
    shards, n_bytes = [[]], 0
    for name, (_, _, _, _, size) in tensors.items():
        if shards[-1] and n_bytes + size > limit:
            shards.append([])
            n_bytes = 0
        shards[-1].append(name)
        n_bytes += size
    return shards


def load(path, dtype, shape, offset, n_bytes):
    """A tensor with a storage of its own, read from the file."""
    tensor = torch.empty(shape, dtype=dtype)
    page = offset % mmap.ALLOCATIONGRANULARITY
    with path.open("rb") as file, mmap.mmap(file.fileno(), n_bytes + page, prot=mmap.PROT_READ,
                                            flags=mmap.MAP_PRIVATE, offset=offset - page) as mapped:
        view = memoryview(mapped)[page:]
        # numpy has no bfloat16, so the bytes go through an integer view of the same width.
        raw = tensor.view(torch.int16 if tensor.element_size() == 2 else torch.int32).numpy().reshape(-1)
        memoryview(raw).cast("B")[:] = view
        view.release()
    return tensor


def convert(source, out, limit):
    tensors = read_headers(source)
    if not tensors:
        sys.exit(f"synth_to_bin.py: {source}: no safetensors files")
    out.mkdir(parents=True, exist_ok=True)
    shards = split(tensors, limit)
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin" if len(shards) > 1 else "pytorch_model.bin"
        torch.save({name: load(*tensors[name]) for name in names}, out / file)
        weight_map.update(dict.fromkeys(names, file))
        print(f"{out / file}: {len(names)} tensors, {(out / file).stat().st_size} bytes", flush=True)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(entry[4] for entry in tensors.values())}, "weight_map": weight_map}
        (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copy(path, out / path.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--max-shard-size", type=size_of, default=10 * 10**9)
    arguments = parser.parse_args()
    convert(arguments.checkpoint, arguments.out, arguments.max_shard_size)


main()
