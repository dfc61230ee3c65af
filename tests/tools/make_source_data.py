#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/source and tests/data/plan: checkpoints and tables written by the real libraries.

    python3 tests/tools/make_source_data.py tests/data

Needs torch 2, safetensors and huggingface_hub; run with ATEN_CPU_CAPABILITY=default. Every byte is the
same on every run but those of legacy.pt, which holds memory addresses. `expected.txt` lists every tensor
of every set as the libraries hold it: SET NAME DTYPE SHAPE HEX, the shape as "2x3" ("-" for a scalar),
the bytes little-endian and row-major ("-" for none).
"""
import json
import os
import random
import shutil
import sys
import zipfile

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from huggingface_hub.serialization import split_state_dict_into_shards_factory
from safetensors.torch import save_file

DTYPE_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
               torch.int64: "I64", torch.bool: "BOOL", torch.uint8: "U8"}
expected = []


def expect(name_of_set, tensors):
    for name, tensor in tensors.items():
        shape = "x".join(str(n) for n in tensor.shape) or "-"
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex()
        expected.append(f"{name_of_set} {name} {DTYPE_NAMES[tensor.dtype]} {shape} {data or '-'}")


def model(seed):
    generator = torch.Generator().manual_seed(seed)

    def random_tensor(*shape, dtype=torch.float16):
        return torch.randn(*shape, generator=generator).to(dtype)

    return {
        "model.embed_tokens.weight": random_tensor(5, 4),
        "model.layers.0.self_attn.q_proj.weight": random_tensor(4, 4),
        "model.layers.0.self_attn.rotary_emb.inv_freq": 1.0 / 10000 ** (torch.arange(0, 4, 2).float() / 4),
        "model.layers.0.mlp.gate_proj.weight": random_tensor(3, 4, dtype=torch.bfloat16),
        "model.norm.weight": random_tensor(4, dtype=torch.float64),
        "counts": torch.arange(3, dtype=torch.int64),
        "flags": torch.tensor([True, False, True]),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 4, dtype=torch.float16),
        "lm_head.weight": random_tensor(5, 4),
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_small_files(folder):
    write_json(f"{folder}/config.json", {"model_type": "llama"})
    write_json(f"{folder}/tokenizer_config.json", {"legacy": True})
    for name, text in (("README.md", "text\n"), (".gitattributes", "x\n"), ("modeling.py", "pass\n"),
                       ("training_args.bin", "x\n"), ("optimizer.pt", "x\n"), ("rng_state_0.pth", "x\n"),
                       ("scheduler.pt", "x\n")):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    os.mkdir(f"{folder}/runs")
    with open(f"{folder}/runs/log.txt", "w", encoding="utf-8") as file:
        file.write("x\n")


def write_sharded(folder, tensors, pattern, save):
    split = split_torch_state_dict_into_shards(tensors, filename_pattern=pattern, max_shard_size=100)
    for name, keys in split.filename_to_tensors.items():
        save({key: tensors[key] for key in keys}, f"{folder}/{name}")
    index_name = pattern.format(suffix="") + ".index.json"
    write_json(f"{folder}/{index_name}", {"metadata": {"total_size": 1}, "weight_map": split.tensor_to_filename})


def save_safetensors(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})


def make_directories(root):
    for name, pattern, save in (("safetensors-sharded", "model{suffix}.safetensors", save_safetensors),
                                ("torch-sharded", "pytorch_model{suffix}.bin", torch.save)):
        folder = f"{root}/{name}"
        os.mkdir(folder)
        tensors = model(1)
        write_sharded(folder, tensors, pattern, save)
        write_small_files(folder)
        expect(name, tensors)


def make_files(root):
    torch.save(model(2), f"{root}/single.bin")
    expect("single.bin", model(2))
    save_safetensors(model(2), f"{root}/single.safetensors")
    expect("single.safetensors", model(2))

    weight = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    tied = {"model.embed_tokens.weight": weight, "lm_head.weight": weight}
    torch.save(tied, f"{root}/tied.bin")
    expect("tied.bin", tied)

    storage = torch.arange(24, dtype=torch.float32)
    views = {"middle": storage[4:10].view(2, 3), "end": storage[20:], "overlap": storage[8:12]}
    torch.save(views, f"{root}/views.bin")
    expect("views.bin", views)

    strided = {"fine": storage[:2], "turned": storage.view(4, 6).t()}
    torch.save(strided, f"{root}/strided.bin")
    expect("strided.bin", strided)

    torch.serialization.set_crc32_options(False)
    torch.save({"a": torch.ones(3)}, f"{root}/without_crc.bin")
    torch.serialization.set_crc32_options(True)
    expect("without_crc.bin", {"a": torch.ones(3)})

    torch.save({"a": torch.ones(3)}, f"{root}/legacy.pt", _use_new_zipfile_serialization=False)
    expect("legacy.pt", {"a": torch.ones(3)})
    torch.save({}, f"{root}/no_tensors.bin")
    save_safetensors({}, f"{root}/no_tensors.safetensors")
    with zipfile.ZipFile(f"{root}/archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("model/config.json", (2023, 1, 1, 0, 0, 0)), b"{}" * 40)


def llama_sizes(layers, hidden, feed_forward, rows, projector):
    """(name, bytes) of a float16 LLaMA with float32 inv_freq, in module order."""
    yield "model.embed_tokens.weight", 2 * rows * hidden
    for i in range(layers):
        prefix = f"model.layers.{i}."
        for name in "qkvo":
            yield f"{prefix}self_attn.{name}_proj.weight", 2 * hidden * hidden
        yield f"{prefix}self_attn.rotary_emb.inv_freq", 4 * 64
        for name in ("gate", "down", "up"):
            yield f"{prefix}mlp.{name}_proj.weight", 2 * hidden * feed_forward
        yield f"{prefix}input_layernorm.weight", 2 * hidden
        yield f"{prefix}post_attention_layernorm.weight", 2 * hidden
    yield "model.norm.weight", 2 * hidden
    if projector:
        yield "model.mm_projector.weight", 2 * hidden * 1024
        yield "model.mm_projector.bias", 2 * hidden
    yield "lm_head.weight", 2 * rows * hidden


def split(sizes, limit):
    """Shard index of each size, as huggingface_hub numbers them."""
    names = {f"t{i}": size for i, size in enumerate(sizes)}
    result = split_state_dict_into_shards_factory(
        names, get_storage_size=lambda size: size, filename_pattern="model{suffix}.safetensors", max_shard_size=limit)
    files = sorted(result.filename_to_tensors)
    return [files.index(result.tensor_to_filename[name]) for name in names]


def split_tensors(sizes, limit):
    """The same of real tensors, and the row of each in the index: those without bytes are one storage to it."""
    tensors = {f"t{i}": torch.zeros(size, dtype=torch.uint8) for i, size in enumerate(sizes)}
    result = split_torch_state_dict_into_shards(tensors, max_shard_size=limit)
    files, rows = sorted(result.filename_to_tensors), list(result.tensor_to_filename)
    return [(files.index(result.tensor_to_filename[name]), rows.index(name)) for name in tensors]


def make_splits(path):
    """Lines of LIMIT SIZE:SHARD:ROW...; sizes of random lists and limits, ties and oversized ones among them."""
    rng = random.Random(3)
    lines = []
    for _ in range(160):
        limit = rng.choice((1, 8, 10, 16, 30, 100))
        sizes = [rng.choice((0, 1, 2, limit // 2, limit - 1, limit, limit + 1, rng.randrange(3 * limit)))
                 for _ in range(rng.randrange(1, 14))]
        pairs = (f"{size}:{shard}:{row}" for size, (shard, row) in zip(sizes, split_tensors(sizes, limit)))
        lines.append(f"{limit} {' '.join(pairs)}")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def make_llama_splits(path):
    """Lines of LAYERS HIDDEN FEED_FORWARD ROWS PROJECTOR LIMIT, then BYTES:FIRST_NAME of each shard."""
    sizes = {"7B": (32, 4096, 11008), "13B": (40, 5120, 13824)}
    lines = []
    for shape in sizes.values():
        for rows, projector in ((32000, False), (32003, True), (32004, True)):
            for limit in (5 * 10**9, 10**10, 10**9):
                rows_of_plan = list(llama_sizes(*shape, rows, projector))
                shards = split([size for _, size in rows_of_plan], limit)
                parts = []
                for shard in range(max(shards) + 1):
                    inside = [row for row, at in zip(rows_of_plan, shards) if at == shard]
                    parts.append(f"{sum(size for _, size in inside)}:{inside[0][0]}")
                lines.append(f"{shape[0]} {shape[1]} {shape[2]} {rows} {int(projector)} {limit} {' '.join(parts)}")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def make_inv_freq(path):
    """Lines of HEAD_DIM BITS... from the scalar power of torch, which gives the same bits in 1.13 and 2.13."""
    assert torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"), "set ATEN_CPU_CAPABILITY=default"
    lines = []
    for head_dim in (2, 4, 8, 16, 32, 64, 80, 96, 104, 112, 120, 128, 160, 256, 512, 1024):
        values = 1.0 / (10000 ** (torch.arange(0, head_dim, 2).float() / head_dim))
        lines.append(f"{head_dim} {' '.join(f'{bits:08x}' for bits in values.view(torch.int32).tolist())}")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def main():
    root = sys.argv[1]
    for name in ("source", "plan"):
        shutil.rmtree(f"{root}/{name}", ignore_errors=True)
        os.makedirs(f"{root}/{name}")
    make_directories(f"{root}/source")
    make_files(f"{root}/source")
    with open(f"{root}/source/expected.txt", "w", encoding="ascii") as file:
        file.write("\n".join(expected) + "\n")
    make_splits(f"{root}/plan/splits.txt")
    make_llama_splits(f"{root}/plan/llama_splits.txt")
    make_inv_freq(f"{root}/plan/inv_freq.txt")


if __name__ == "__main__":
    main()
