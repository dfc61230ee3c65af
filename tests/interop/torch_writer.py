# SPDX-License-Identifier: Apache-2.0
"""The layout of PyTorch files (src/format/torch_layout.h) against the torch that runs this.

Random state dicts - names, dtypes and sizes around every boundary of an encoding, shared storages, empty tensors,
scalars, data that looks like a part of a zip - are saved by torch.save and laid out by render_torch in the profile of
that torch, 1.13 or 2.13. The files must be the same, byte for byte; so must those above 4 GiB, which neither side has on
the disk, nor their zeros in memory. --buckets adds dicts around each size at which torch 2.13 counts its records in
another order (up to 85,230 of them).

With --save-pretrained the shards that transformers 4.28 saves of tiny models must be the same, too: what it passes to
torch.save is then what the layout is made for.

Usage: torch_writer.py --program PATH_OF_render_torch [--cases N] [--seed N] [--no-huge] [--buckets]
           [--save-pretrained]
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import make_torch_layout_data as layout_data  # noqa: E402

Case, DTYPES = layout_data.Case, layout_data.DTYPES
PROFILE = layout_data.PROFILE
BATCH = 50
EDGES = [0, 1, 2, 3, 4, 127, 128, 254, 255, 256, 257, 65534, 65535, 65536, 65537]
HUGE_DIMS = [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**39 - 1, 2**39, 2**47, 2**55, 2**62]
BUCKETS = [10273, 20753, 42043, 85229]  # the smaller ones are among the chosen cases
WORDS = ["cpu", "storage", "0", "1", "10", "torch", "HalfStorage", "_metadata", "collections", "naïve", "重み", "😀",
         "a\nb", "%41", " ", "\x01", "\\", "model.layers.0.self_attn.q_proj.weight", "lm_head.weight", "\u2028",
         "\U0010ffff", "PK", "PK.1"]


def random_name(rng, taken):
    while True:
        kind = rng.randrange(5)
        if kind == 0:
            name = rng.choice(WORDS)
        elif kind == 1:
            name = rng.choice("xé重😀") * rng.choice([1, 63, 64, 254, 255, 256, 257, 511, 1024])
        elif kind == 2 and rng.random() < 0.05:
            name = "n" * rng.choice([65535, 65536, 65537])
        else:
            name = f"model.layers.{rng.randrange(100)}.{rng.choice(['mlp', 'attn', 'norm'])}.w{rng.randrange(10**6)}"
        if name not in taken:
            taken.add(name)
            return name


def random_shape(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return ()
    if kind == 1:  # empty, with numbers that no data could back
        return rng.choice([(0, rng.choice(HUGE_DIMS)), (0,), (3, 0, 2), (0, 0), (rng.choice(EDGES), 0, 5),
                           (0, rng.choice(EDGES), rng.choice(EDGES))])
    if kind == 2:
        return (rng.choice(EDGES),)
    if kind == 3:
        return (1,) * rng.randrange(1, 8) + (rng.randrange(1, 5),)
    return tuple(rng.randrange(1, 6) for _ in range(rng.randrange(1, 6)))


def random_view(rng, shape):
    """Another shape of as many elements."""
    n = 1
    for size in shape:
        n *= size
    if n == 0:
        return rng.choice([(0,), (4, 0), shape])
    return rng.choice([shape, (n,), (1, n), (n, 1, 1)])


def random_file_name(rng):
    plain = "n" * rng.randrange(1, 130)
    stem = rng.choice(["pytorch_model", "pytorch_model-00001-of-00002", "x", "a.b", "é", "a b", plain, "back\\slash"])
    return stem + rng.choice([".bin", ".bin", ".pt", "..pt", ""])


def random_case(seed):
    rng = random.Random(seed)
    if rng.random() < 0.02:
        count = rng.choice([31, 32, 33, 40, 255, 256, 999, 1000, 1001, 1999, 2000])
        return Case(random_file_name(rng), many=(count, "U8"))
    tensors, taken = [], set()
    for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 9, 10, 11, 12, 20, 40, 101])):
        name = random_name(rng, taken)
        if tensors and rng.random() < 0.15:
            owner = rng.randrange(len(tensors))
            owner = owner if tensors[owner][2] is None else tensors[owner][2]
            tensors.append((name, tensors[owner][1], owner, random_view(rng, tensors[owner][3])))
        else:
            tensors.append((name, rng.choice(list(DTYPES)), None, random_shape(rng)))
    return Case(random_file_name(rng), tensors)


class Mismatch(Exception):
    pass


def first_difference(ours, theirs):
    n = min(len(ours), len(theirs))
    at = next((i for i in range(n) if ours[i] != theirs[i]), n)
    return (f"differs at byte {at} of {len(ours)} (ours) and {len(theirs)}: "
            f"{ours[at:at + 16].hex()} and {theirs[at:at + 16].hex()}")


def render(program, cases, directory):
    """What the program prints for each case; the files are in the directory."""
    done = subprocess.run([program, PROFILE, directory], input="".join(case.describe() for case in cases), text=True, check=True,
                          stdout=subprocess.PIPE)
    return done.stdout.splitlines()


def check(program, label, cases, make):
    """make(case) returns all bytes outside holes and the size with them. Returns passed, failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for i, (case, said) in enumerate(zip(cases, render(program, cases, directory))):
            try:
                if not said.isdigit():
                    raise Mismatch(said)
                with open(os.path.join(directory, str(i)), "rb") as file:
                    ours = file.read()
                theirs, n_bytes = make(case)
                if int(said) != n_bytes:
                    raise Mismatch(f"{said} bytes, torch writes {n_bytes}")
                if hashlib.sha256(ours).digest() != hashlib.sha256(theirs).digest():
                    raise Mismatch(first_difference(ours, theirs))
            except (Mismatch, RuntimeError) as error:
                failed += 1
                print(f"FAILED {label} {i}: {case.file_name!r}: {error}")
    return len(cases) - failed, failed


def save_whole(case):
    with tempfile.TemporaryDirectory() as directory:
        data = layout_data.save(case, directory)
    return data, len(data)


def save_huge(case):
    sink = layout_data.save_to_sink(case)
    return sink.kept.getvalue(), sink.n_bytes


def describe_saved(path):
    """The case of a file that was saved: what it holds, in its order."""
    tensors, owners = [], {}
    for name, tensor in torch.load(path).items():
        dtype = next(key for key, known in DTYPES.items() if known == tensor.dtype)
        owner = owners.setdefault(tensor.storage().data_ptr(), len(tensors))
        tensors.append((name, dtype, None if owner == len(tensors) else owner, tuple(tensor.shape)))
    return Case(os.path.basename(path), tensors)


def save_pretrained(seed, directory):
    """A tiny model saved in shards: the case of each, and its bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    rng = random.Random(seed)
    config = LlamaConfig(vocab_size=37, hidden_size=16, num_attention_heads=2, intermediate_size=24,
                         num_hidden_layers=rng.choice([1, 2, 5]), tie_word_embeddings=rng.random() < 0.5)
    model = LlamaForCausalLM(config).to(rng.choice([torch.float16, torch.bfloat16, torch.float32]))
    limit = rng.choice(["10GB", "20KB", "4KB"])
    model.save_pretrained(directory, max_shard_size=limit)
    paths = sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".bin"))
    saved = []
    for case in [describe_saved(path) for path in paths]:
        # Once more with data that render_torch knows; shard by shard, as tied weights may lie in two of them.
        weights = model.state_dict()
        for i, (name, dtype, owner, shape) in enumerate(case.tensors):
            if owner is None:
                n_bytes = weights[name].numel() * weights[name].element_size()
                weights[name].copy_(layout_data.make_tensor(i, torch.uint8, (n_bytes,)).view(DTYPES[dtype]).view(shape))
        model.save_pretrained(directory, max_shard_size=limit)
        with open(os.path.join(directory, case.file_name), "rb") as file:
            saved.append((case, file.read()))
    return saved


def check_save_pretrained(program, seed):
    with tempfile.TemporaryDirectory() as directory:
        saved = save_pretrained(seed, directory)
    written = {case.file_name: data for case, data in saved}
    return check(program, f"save_pretrained {seed}", [case for case, _ in saved],
                 lambda case: (written[case.file_name], len(written[case.file_name])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-huge", action="store_true")
    parser.add_argument("--buckets", action="store_true")
    parser.add_argument("--save-pretrained", action="store_true")
    options = parser.parse_args()
    assert torch.__version__.startswith(("1.13", "2.0", "2.13")), "a torch whose files are not written"
    program = os.path.abspath(options.program)
    totals = [0, 0]

    def run(label, cases, make):
        for i, n in enumerate(check(program, label, cases, make)):
            totals[i] += n

    run("chosen", list(layout_data.cases()), save_whole)
    if not options.no_huge:
        run("huge", list(layout_data.huge_cases()), save_huge)
    if options.buckets:
        run("buckets", [Case("b.bin", many=(count, "U8")) for n in BUCKETS for count in (n - 5, n - 4)], save_whole)
    for first in range(options.seed, options.seed + options.cases, BATCH):
        seeds = range(first, min(first + BATCH, options.seed + options.cases))
        run(f"seeds {first}..", [random_case(seed) for seed in seeds], save_whole)
    for seed in range(20 if options.save_pretrained else 0):
        for i, n in enumerate(check_save_pretrained(program, seed)):
            totals[i] += n
    print(f"torch {torch.__version__}, whole files")
    print(f"{totals[0]} passed, {totals[1]} failed")
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
