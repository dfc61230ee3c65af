# SPDX-License-Identifier: Apache-2.0
"""Writing and reading checkpoints with the real libraries, and comparing tensors bit for bit."""

import collections
import json
import os

import safetensors.torch
import torch

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
BITS_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor):
    """The bytes of a tensor, as a flat tensor of integers of its element's size."""
    return tensor.detach().contiguous().reshape(-1).view(BITS_OF_SIZE[tensor.element_size()])


def difference(got, want):
    """None when both are equal bit for bit (a NaN equals any NaN), else what is wrong."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"is {got.dtype} {list(got.shape)}, want {want.dtype} {list(want.shape)}"
    same = bits(got) == bits(want)
    if want.dtype in FLOATS:
        same |= got.reshape(-1).isnan() & want.reshape(-1).isnan()
    if bool(same.all()):
        return None
    first = int((~same).nonzero()[0])
    n = int((~same).sum())
    return f"differs in {n} of {want.numel()} elements, first [{first}]: " \
           f"{got.reshape(-1)[first]} (bits {int(bits(got)[first]):#x}), " \
           f"want {want.reshape(-1)[first]} (bits {int(bits(want)[first]):#x})"


def save(directory, tensors, kind, n_shards):
    """Writes `tensors` (a dict in its order) as "safetensors" or "bin", in n_shards files with an index when > 1."""
    os.makedirs(directory, exist_ok=True)
    stem, suffix = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    names = list(tensors)
    n_shards = max(1, min(n_shards, len(names)))
    files, weight_map = [], {}
    for i in range(n_shards):
        part = names[len(names) * i // n_shards:len(names) * (i + 1) // n_shards]
        number = "" if n_shards == 1 else f"-{i + 1:05d}-of-{n_shards:05d}"
        files.append(stem + number + suffix)
        path = os.path.join(directory, files[-1])
        if kind == "safetensors":
            plain = {name: tensors[name].detach().clone(memory_format=torch.contiguous_format) for name in part}
            safetensors.torch.save_file(plain, path, metadata={"format": "pt"})
        else:
            torch.save(type(tensors)((name, tensors[name]) for name in part), path)
        weight_map.update((name, files[-1]) for name in part)
    if n_shards > 1:
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        with open(os.path.join(directory, stem + suffix + ".index.json"), "w", encoding="ascii") as file:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=2, sort_keys=True)
            file.write("\n")
    return files


def safetensors_order(path):
    """Names in the order of their data; those without bytes where they stand, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return sorted(header, key=lambda name: (header[name]["data_offsets"], name.encode()))


def load(directory, files=None):
    """All tensors of a directory's weights files, in the checkpoint's own order: files by name, then as they lie."""
    if files is None:
        files = [name for name in os.listdir(directory) if name.endswith((".safetensors", ".bin"))]
    tensors = collections.OrderedDict()
    for name in sorted(files):
        path = os.path.join(directory, name)
        if name.endswith(".bin"):
            tensors.update(torch.load(path, map_location="cpu"))
        else:
            loaded = safetensors.torch.load_file(path)
            tensors.update((key, loaded[key]) for key in safetensors_order(path))
    return tensors
