# SPDX-License-Identifier: Apache-2.0
"""llavamed-apply --format torch against the torch and the transformers of 2023, whole files.

Random pairs (models.py), written as torch files or safetensors, are merged with options that must not change a byte;
each shard must be what torch.save of this torch (1.13) writes for the same dict, cut by transformers' own
shard_checkpoint, the index what save_pretrained writes. --bools adds cases full of bools, which that function counts
as an eighth of a byte, with limits around where such sums end. The torch of --newer (2.13) then loads all of it with
weights_only=True. Each merge is done again with --torch-profile 2.13: its files must be those that the newer torch saves
of what it loaded, and this one must load them. In a quarter of the cases both are merged again, as the base or as the
delta, which must give the files of a merge of what this torch saved. Some tensors begin with the bytes of a zip's
descriptor. --large adds an archive above 4 GiB and one of more than 65,535 records.

Usage: torch_output.py --program PATH --newer PYTHON [--cases N] [--bools N] [--seed N]
           [--only CASE] [--large]
Ends with "N passed, N failed".
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback

import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_utils import dtype_byte_size, shard_checkpoint

import checkpoints
import models
import oracle
import torch_digest

DTYPES = {"delta": None, "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
INDEX = "pytorch_model.bin.index.json"
BATCH = 100
HERE = os.path.dirname(os.path.abspath(__file__))


class Mismatch(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Mismatch(text)


def first_difference(got_path, want_path):
    """None when the files are the same."""
    at = 0
    with open(got_path, "rb") as got, open(want_path, "rb") as want:
        while True:
            a, b = got.read(1 << 24), want.read(1 << 24)
            if a != b:
                i = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                return f"differs at byte {at + i}: {a[i:i + 16].hex()}, torch writes {b[i:i + 16].hex()}"
            if not a:
                return None
            at += len(a)


def save(tensors, limit, directory):
    """What save_pretrained does with a state dict."""
    os.makedirs(directory)
    shards, index = shard_checkpoint(tensors, max_shard_size=limit)
    for file, shard in shards.items():
        torch.save(shard, os.path.join(directory, file))
    if index is not None:
        with open(os.path.join(directory, INDEX), "w", encoding="utf-8") as file:
            file.write(json.dumps(index, indent=2, sort_keys=True) + "\n")
    return sorted([*shards, *([INDEX] if index is not None else [])])


def take_nans(out, want):
    """A NaN equals any NaN: the program's are put into `want`, after everything else was compared."""
    got = checkpoints.load(out)
    expect(sorted(got) == sorted(want), f"names differ: {sorted(set(got) ^ set(want))}")
    for name, tensor in want.items():
        wrong = checkpoints.difference(got[name], tensor)
        expect(wrong is None, f"{name!r} {wrong}")
        if tensor.dtype in checkpoints.FLOATS and tensor.numel():
            nan = tensor.isnan().reshape(-1)
            checkpoints.bits(tensor)[nan] = checkpoints.bits(got[name])[nan]


def compare_files(out, want, limit, scratch):
    files = save(want, limit, scratch)
    weights = sorted(n for n in os.listdir(out) if n.endswith((".safetensors", ".bin", ".index.json")))
    expect(weights == files, f"OUT holds {weights}, want {files}")
    for file in files:
        wrong = first_difference(os.path.join(out, file), os.path.join(scratch, file))
        expect(wrong is None, f"{file} {wrong}")
    done = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=False)
    expect(done.returncode == 0, "SHA256SUMS does not fit")


def compare_output(out, want, limit, scratch):
    take_nans(out, want)
    compare_files(out, want, limit, scratch)


def run_program(program, arguments):
    result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=600,
                            check=False)
    expect(result.returncode == 0, f"exit status {result.returncode}: {result.stderr[-2000:].decode()}")


def options_for(rng, dtype, drop, limit):
    arguments = ["--format", "torch", "-q", "--allow-unknown-base", "--dtype", dtype, "--inv-freq",
                 "drop" if drop else "keep"]
    if limit != 10**10 or rng.random() < 0.2:
        arguments += ["--max-shard-size", str(limit)]
    if rng.random() < 0.5:
        arguments += ["--threads", str(rng.choice([1, 2, 3, 8]))]
    if rng.random() < 0.5:
        arguments += ["--max-memory", rng.choice(["32MiB", "64MiB", "1GiB"])]
    if rng.random() < 0.3:
        arguments += ["--cpu", "ref"]
    return arguments


def limit_at_edge(rng, tensors):
    """A limit that a run of the tensors, as shard_checkpoint counts them, just reaches, or not."""
    sizes = [t.numel() * dtype_byte_size(t.dtype) for t in tensors.values()]
    first = rng.randrange(len(sizes))
    return max(1, int(sum(sizes[first:rng.randint(first, len(sizes))])) + rng.randint(-1, 1))


def sign_some(rng, base, delta):
    """Sums that begin with the bytes of a zip's descriptor, which torch 2.13 takes for one."""
    for name, tensor in list(delta.items()):
        if (name in base and base[name].shape == tensor.shape and base[name].dtype == tensor.dtype and
                tensor.dtype in checkpoints.FLOATS and tensor.numel() >= 4 and "inv_freq" not in name and
                rng.random() < 0.1):
            base[name], delta[name] = base[name].contiguous().clone(), tensor.contiguous().clone()
            base[name].view(-1)[:2] = 0
            delta[name].view(-1).view(torch.uint8)[:4] = torch.tensor([0x50, 0x4b, 7, 8], dtype=torch.uint8)


def merge_profiles(program, arguments, directory):
    """directory/out by torch 1.13, directory/out-2.13: all but the files of weights must be as good as the same."""
    run_program(program, [*arguments, "--out", f"{directory}/out"])
    run_program(program, [*arguments, "--out", f"{directory}/out-2.13", "--torch-profile", "2.13"])
    with_index = sorted(name for name in os.listdir(f"{directory}/out") if name.startswith("pytorch_model"))
    again = sorted(name for name in os.listdir(f"{directory}/out-2.13") if name.startswith("pytorch_model"))
    expect(with_index == again, f"{with_index} and {again}")
    if INDEX in again:
        expect(first_difference(f"{directory}/out/{INDEX}", f"{directory}/out-2.13/{INDEX}") is None, "another index")


def merge_again(program, side, directory):
    """The output in either profile as the base, or the delta, of another merge: as what torch saved, in `want`."""
    sums = set()
    for source in "want", "out", "out-2.13":
        operands = {"base": f"{directory}/base", "delta": f"{directory}/delta", side: f"{directory}/{source}"}
        out = f"{directory}/again-{source}"
        run_program(program, ["--base", operands["base"], "--delta", operands["delta"], "--out", out, "-q", "--format",
                              "torch", "--allow-unknown-base"])
        sums.add(torch_digest.digest_of_files(out))
    expect(len(sums) == 1, f"what is merged from the output as the {side} is not what torch's own files give")


def run_case(program, seed, directory, bools=False):
    """Raises Mismatch. Leaves directory/out and directory/out-2.13."""
    rng, maker = random.Random(seed), models.Maker(seed)
    if bools:
        base, delta = maker.bool_pair()
    else:
        base, delta = maker.foreign_pair(False) if rng.random() < 0.4 else maker.llama_pair()
    if rng.random() < 0.5:
        sign_some(rng, base, delta)
    files = {}
    for side, tensors in ("base", base), ("delta", delta):
        kind = rng.choice(["safetensors", "bin"])
        tensors = maker.tangled(tensors, side == "base") if kind == "bin" and rng.random() < 0.4 else tensors
        files[side] = checkpoints.save(f"{directory}/{side}", tensors, kind, rng.choice([1, 1, 2, 5]))
    base = checkpoints.load(f"{directory}/base", files["base"])
    delta = checkpoints.load(f"{directory}/delta", files["delta"])
    dtype, drop = rng.choice(["delta", "delta", "float16", "bfloat16", "float32"]), rng.random() < 0.25
    want = oracle.merge(base, delta, DTYPES[dtype], drop)
    total = sum(t.numel() * t.element_size() for t in want.values())
    limit = rng.choice([10**10, max(1, total // rng.randint(1, 12) + rng.randint(-3, 3))])
    limit = limit_at_edge(rng, want) if bools and want else limit
    merge_profiles(program, ["--base", f"{directory}/base", "--delta", f"{directory}/delta",
                             *options_for(rng, dtype, drop, limit)], directory)
    compare_output(f"{directory}/out", want, limit, f"{directory}/want")
    if want and rng.random() < 0.25:
        # What has a projector is a LLaVA model, and refused as a base.
        llava = any(name.startswith("model.mm_projector.") for name in want)
        merge_again(program, "delta" if llava else rng.choice(["base", "delta"]), directory)


def ask_newer(newer, directories, *options):
    done = subprocess.run([newer, os.path.join(HERE, "torch_digest.py"), *options], text=True, stdout=subprocess.PIPE,
                          input="".join(f"{d}\n" for d in directories), check=False)
    said = done.stdout.splitlines()
    return said + [None] * (len(directories) - len(said))


def check_loads(newer, directories):
    """(case, what is wrong with it) of what the newer torch loads or saves otherwise."""
    outs = [f"{d}/out" for d in directories]
    loaded, saved = ask_newer(newer, outs), ask_newer(newer, outs, "--again")
    for i, directory in enumerate(directories):
        own = torch_digest.digest(outs[i])
        if loaded[i] != own:
            yield i, "loaded otherwise by the newer torch"
        if saved[i] != torch_digest.digest_of_files(f"{directory}/out-2.13"):
            yield i, "the newer torch saves other files"
        elif torch_digest.digest(f"{directory}/out-2.13") != own:
            yield i, "what is written as by the newer torch is loaded otherwise"


def run_batch(options, seeds, bools=False):
    """The number of cases that failed."""
    wrong = set()
    with tempfile.TemporaryDirectory() as root:
        for seed in seeds:
            try:
                os.mkdir(f"{root}/{seed}")
                run_case(options.program, seed, f"{root}/{seed}", bools)
            except Mismatch as error:
                wrong.add(seed)
                print(f"case {seed}: {error}", flush=True)
            except Exception:
                wrong.add(seed)
                print(f"case {seed}: {traceback.format_exc()}", flush=True)
        good = [seed for seed in seeds if seed not in wrong]
        for i, text in check_loads(options.newer, [f"{root}/{seed}" for seed in good]):
            wrong.add(good[i])
            print(f"case {good[i]}: {text}", flush=True)
    return len(wrong)


def write_holes(path, shapes, dtype="F16"):
    """A safetensors file of zeros that takes no space."""
    header, at = {}, 0
    for name, shape in shapes.items():
        n_bytes = 2
        for size in shape:
            n_bytes *= size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)


def large_above_4_gib(program, directory):
    """A tensor of 2^31 + 6 elements between small ones; all zeros, but for four bytes on both sides."""
    shapes = {"model.embed_tokens.weight": (2, 3), "model.layers.0.mlp.up_proj.weight": (2**30 + 3, 2),
              "model.norm.weight": (5,), "lm_head.weight": (2, 3)}
    places = (1, 11, 2**31, 2**32 - 5)  # of bytes, from the end
    for side in "base", "delta":
        write_holes(f"{directory}/{side}.safetensors", shapes)
        with open(f"{directory}/{side}.safetensors", "r+b") as file:
            for place in places:
                file.seek(-place, os.SEEK_END)
                file.write(b"\x3c")
    merge_profiles(program, ["--base", f"{directory}/base.safetensors", "--delta", f"{directory}/delta.safetensors",
                             "--format", "torch", "-q", "--allow-unknown-base"], directory)
    # Zeros that were never touched take no memory.
    want = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}
    ends = 0
    for tensor in reversed(list(want.values())):
        flat = tensor.view(-1)
        for place in places:
            if ends < place <= ends + 2 * flat.numel():
                at = 2 * flat.numel() - (place - ends)
                value = torch.tensor([0x3c00 if at % 2 else 0x003c], dtype=torch.int16).view(torch.float16)
                flat[at // 2:at // 2 + 1] = value + value
        ends += 2 * flat.numel()
    compare_files(f"{directory}/out", want, 10**10, f"{directory}/want")
    shutil.rmtree(f"{directory}/want")


def large_many_records(program, directory):
    tensors = collections.OrderedDict((f"k{i}", torch.full((1,), float(i % 2048)).half()) for i in range(65600))
    for side in "base", "delta":
        save_file(tensors, f"{directory}/{side}.safetensors")
        tensors = {name: tensor + 1 for name, tensor in tensors.items()}
    merge_profiles(program, ["--base", f"{directory}/base.safetensors", "--delta", f"{directory}/delta.safetensors",
                             "--format", "torch", "-q", "--allow-unknown-base"], directory)
    base, delta = (checkpoints.load(directory, [f"{side}.safetensors"]) for side in ("base", "delta"))
    compare_output(f"{directory}/out", oracle.merge(base, delta), 10**10, f"{directory}/want")


def run_large(options, case):
    with tempfile.TemporaryDirectory() as directory:
        try:
            case(options.program, directory)
            for _, text in check_loads(options.newer, [directory]):
                raise Mismatch(text)
        except Mismatch as error:
            print(f"{case.__name__}: {error}", flush=True)
            return 1
        except Exception:
            print(f"{case.__name__}: {traceback.format_exc()}", flush=True)
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--newer", required=True)
    parser.add_argument("--seed", type=int, default=20230601)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--bools", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    assert transformers.__version__ == "4.28.1" and torch.__version__.startswith("1.13"), "not the stack of 2023"
    options.program = os.path.abspath(options.program)
    torch.set_num_threads(1)
    seeds = range(options.seed, options.seed + options.cases)
    if options.only is not None:
        seeds = range(options.only, options.only + 1)
    n_failed, n_cases = 0, len(seeds) + options.bools
    for first in range(0, len(seeds), BATCH):
        n_failed += run_batch(options, seeds[first:first + BATCH])
    for first in range(0, options.bools, BATCH):
        n = min(BATCH, options.bools - first)
        n_failed += run_batch(options, range(options.seed + first, options.seed + first + n), True)
    if options.large:
        for case in large_many_records, large_above_4_gib:
            n_failed += run_large(options, case)
            n_cases += 1
    print(f"{n_cases - n_failed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_cases > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
