# SPDX-License-Identifier: Apache-2.0
"""Safetensors shards, and how a model is cut into them, against the safetensors and the huggingface_hub that run this.

Random dicts - every dtype that torch has, names of all kinds of letters, tensors without elements, scalars, headers of
every length modulo 8 and around 64 KiB - are saved by safetensors.torch.save and laid out by render_safetensors; whole
files are compared by SHA-256. Random lists of tensors are cut by huggingface_hub's split_torch_state_dict_into_shards
(each tenth is saved by save_torch_state_dict) and by the program's planner; the number of files and the bytes of the
index are compared.

Usage: safetensors_writer.py --program PATH_OF_render_safetensors [--cases N] [--cuts N] [--seed N]
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

import huggingface_hub
import numpy
import safetensors
import safetensors.torch
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from make_torch_layout_data import Case  # noqa: E402

MERGED = {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16,
          "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32, "U32": torch.uint32, "F32": torch.float32,
          "F64": torch.float64, "I64": torch.int64, "U64": torch.uint64}
DTYPES = {**MERGED, "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu,
          "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "C64": torch.complex64}
INDEX = "model.safetensors.index.json"
BATCH = 100
LETTERS = ["abcdefghijklmnopqrstuvwxyz._0123456789", "ABab01._-/ ", "\"\\'/{}[]:, ", "äöüßéЖя漢字😀𝔘\U0010ffff",
           "\x01\x08\x09\x0a\x0b\x0c\x0d\x1f\x7f a\u2028\u2029\ufeff\ufffd"]
EDGES = [255, 256, 257, 65535, 65536, 65537]


def random_name(rng, taken):
    while True:
        kind = rng.randrange(6)
        if kind == 0:
            name = rng.choice("xé漢😀\"\n") * rng.randint(1, 64)
        elif kind < 3:
            name = "".join(rng.choice(rng.choice(LETTERS)) for _ in range(rng.randint(1, 24)))
        else:
            name = f"model.layers.{rng.randrange(100)}.{rng.choice(['mlp', 'attn', 'norm'])}.w{rng.randrange(10**5)}"
        if name not in taken:
            taken.add(name)
            return name


def random_shape(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return ()
    if kind == 1:
        return rng.choice([(0,), (3, 0, 2), (0, 0), (rng.choice(EDGES), 0), (0, 2**31), (0, 2**53 - 1)])
    if kind == 2:
        return (rng.choice(EDGES),) if rng.random() < 0.1 else (rng.randint(1, 300),)
    if kind == 3:
        return (1,) * rng.randrange(1, 8) + (rng.randrange(1, 5),)
    return tuple(rng.randrange(1, 6) for _ in range(rng.randrange(1, 6)))


def random_case(seed):
    rng = random.Random(seed)
    taken, dtypes = set(), rng.sample(list(DTYPES), rng.choice([1, 2, 5, len(DTYPES)]))
    count = rng.choice([0, 1, 1, 2, 3, 5, 9, 20, 40])
    if rng.random() < 0.01:  # headers around 64 KiB
        count = rng.randint(700, 900)
    tensors = [(random_name(rng, taken), rng.choice(dtypes), None, random_shape(rng)) for _ in range(count)]
    return Case("x", tensors)


def tensor_of(i, dtype, shape):
    """Byte k is 7 k + 31 (k / 256) + 13 i, as tests/unit/torch_case.h has it."""
    n_bytes = torch.empty(0, dtype=DTYPES[dtype]).element_size()
    for size in shape:
        n_bytes *= size
    if n_bytes == 0:
        return torch.empty(shape, dtype=DTYPES[dtype])
    k = numpy.arange(n_bytes, dtype=numpy.uint64)
    data = ((7 * k + 31 * (k >> numpy.uint64(8)) + 13 * i) & 0xff).astype(numpy.uint8)
    return torch.from_numpy(data).view(DTYPES[dtype]).reshape(shape)


def tensors_of(case):
    return {name: tensor_of(i, dtype, shape) for i, (name, dtype, _, shape) in enumerate(case.tensors)}


def sum_of(data):
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def saved(case):
    """What render_safetensors must print of it."""
    return sum_of(safetensors.torch.save(tensors_of(case), metadata={"format": "pt"}))


def random_cut(seed):
    """A case, and the limit of its shards."""
    rng = random.Random(seed)
    taken, tensors = set(), []
    huge = rng.random() < 0.3
    for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 40])):
        dtype = rng.choice(list(MERGED)) if rng.random() < 0.5 else "F16"
        size = rng.randint(1, 2**rng.choice([3, 20, 33, 40])) if huge else rng.choice([0, 1, 2, rng.randint(0, 60)])
        shape = rng.choice([(size,), (1, size), (size, 1, 1)]) if size != 1 else rng.choice([(), (1,)])
        tensors.append((random_name(rng, taken), dtype, None, shape))
    case = Case("x", tensors)
    sizes = [nbytes(dtype, shape) for _, dtype, _, shape in tensors]
    first = rng.randrange(len(sizes))
    near = sum(sizes[first:rng.randint(first, len(sizes))]) + rng.randint(-1, 1)
    return case, max(1, rng.choice([near, near, max(sizes), max(sizes) - 1, rng.randint(1, sum(sizes) + 2)])), huge


def nbytes(dtype, shape):
    size = torch.empty(0, dtype=DTYPES[dtype]).element_size()
    for n in shape:
        size *= n
    return size


def cut(case, limit, huge, whole):
    """What render_safetensors must print of it; `whole`: by files that were really written."""
    if huge:  # without memory behind them; then there are no tensors without bytes either
        tensors = {name: torch.empty(shape, dtype=DTYPES[dtype], device="meta")
                   for name, dtype, _, shape in case.tensors}
    else:
        tensors = {name: torch.zeros(shape, dtype=DTYPES[dtype]) for name, dtype, _, shape in case.tensors}
    if whole and not huge:
        with tempfile.TemporaryDirectory() as directory:
            huggingface_hub.save_torch_state_dict(tensors, directory, max_shard_size=limit)
            files = os.listdir(directory)
            if INDEX not in files:
                return f"{len(files)} -"
            with open(os.path.join(directory, INDEX), "rb") as file:
                return f"{len(files) - 1} {sum_of(file.read())}"
    split = huggingface_hub.split_torch_state_dict_into_shards(tensors, max_shard_size=limit)
    if not split.is_sharded:
        return "1 -"
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    return f"{len(split.filename_to_tensors)} {sum_of(json.dumps(index, indent=2).encode())}"


def rendered(program, what, descriptions):
    done = subprocess.run([program, what], input="".join(descriptions), text=True, check=True, stdout=subprocess.PIPE)
    return done.stdout.splitlines()


def compare(label, got, want):
    """Returns passed, failed."""
    n_failed = 0
    for i, text in enumerate(want):
        if i >= len(got) or got[i] != text:
            n_failed += 1
            print(f"FAILED {label} {i}: got {got[i] if i < len(got) else 'nothing'}, want {text}", flush=True)
    return len(want) - n_failed, n_failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    torch.set_num_threads(1)
    totals = [0, 0]

    def run(label, got, want):
        for i, n in enumerate(compare(label, got, want)):
            totals[i] += n

    many = Case("x", many=(65600, "U8"))
    run("65,600 tensors", rendered(program, "shards", [many.describe()]), [saved(many)])
    end = options.seed + options.cases
    for first in range(options.seed, end, BATCH):
        cases = [random_case(seed) for seed in range(first, min(first + BATCH, end))]
        run(f"shards from seed {first}:", rendered(program, "shards", [case.describe() for case in cases]),
            [saved(case) for case in cases])
    end = options.seed + options.cuts
    for first in range(options.seed, end, BATCH):
        cuts = [random_cut(seed) for seed in range(first, min(first + BATCH, end))]
        run(f"cuts from seed {first}:", rendered(program, "cuts", [case.describe(limit) for case, limit, _ in cuts]),
            [cut(*args, whole=i % 10 == 0) for i, args in enumerate(cuts)])
    print(f"safetensors {safetensors.__version__}, huggingface_hub {huggingface_hub.__version__}")
    print(f"{totals[0]} passed, {totals[1]} failed")
    return 0 if totals[1] == 0 and totals[0] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
