# SPDX-License-Identifier: Apache-2.0
"""Random base and delta pairs, written by the real libraries, merged by llavamed-apply, compared with torch's result.

For each case: every output tensor bit for bit (a NaN equals any NaN); every shard byte for byte with the file that
safetensors writes for the same tensors, the names of the shards and the index byte for byte with huggingface_hub's.
Some cases are broken on purpose: then the exit status, every problem's name and the absence of OUT are checked.

Usage: random_models.py --program PATH [--seed N] [--cases N] [--only CASE] [--keep DIR]
Ends with "N passed, N failed".
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

import huggingface_hub
import safetensors.torch
import torch

import checkpoints
import models
import oracle

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"delta": None, "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
INDEX = "model.safetensors.index.json"


class Mismatch(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Mismatch(text)


def run_program(program, arguments):
    return subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)


def printable(data):
    return data.decode("utf-8", "backslashreplace")[-2000:]


def limit_for(rng, tensors):
    """None (the default: all in one), or a limit that makes several shards; at times below the largest tensor."""
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    if rng.random() < 0.3 or total < 2:
        return None
    return max(1, total // rng.randint(1, 12) + rng.randint(-3, 3))


def arguments_for(rng, dtype, drop, limit):
    """Options; those that must not change a byte are drawn freely."""
    # These deltas are random numbers and no differences, which the content test says of the larger ones.
    arguments = ["-q", "--allow-unknown-base"]
    if dtype != "delta" or rng.random() < 0.2:
        arguments += ["--dtype", dtype]
    if drop or rng.random() < 0.2:
        arguments += ["--inv-freq", "drop" if drop else "keep"]
    if limit is not None:
        arguments += ["--max-shard-size", str(limit)]
    if rng.random() < 0.5:
        arguments += ["--threads", str(rng.choice([1, 2, 3, 8]))]
    if rng.random() < 0.5:
        arguments += ["--max-memory", rng.choice(["32MiB", "64MiB", "1GiB"])]
    if rng.random() < 0.3:
        arguments += ["--cpu", "ref"]
    return arguments


def compare_output(out, want, limit, scratch):
    """Raises Mismatch. `want` in model order; its NaNs are overwritten by the ones found, to compare bytes."""
    plan = huggingface_hub.split_torch_state_dict_into_shards(want, max_shard_size=limit or "5GB")
    weights = sorted(n for n in os.listdir(out) if n.endswith((".safetensors", ".bin", ".index.json")))
    files = sorted(plan.filename_to_tensors) + ([INDEX] if plan.is_sharded else [])
    expect(weights == sorted(files), f"OUT holds {weights}, want {sorted(files)}")

    os.makedirs(scratch)
    for file, names in plan.filename_to_tensors.items():
        path = os.path.join(out, file)
        got = safetensors.torch.load_file(path)
        expect(sorted(got) == sorted(names), f"{file} holds {sorted(got)}, want {sorted(names)}")
        for name in names:
            wrong = checkpoints.difference(got[name], want[name])
            expect(wrong is None, f"{file}: {name!r} {wrong}")
            if want[name].dtype in checkpoints.FLOATS and want[name].numel():
                # As integers: copying floats may change a NaN's payload.
                nan = want[name].isnan().reshape(-1)
                checkpoints.bits(want[name])[nan] = checkpoints.bits(got[name])[nan]
        ours = os.path.join(scratch, file)
        safetensors.torch.save_file({name: want[name] for name in names}, ours, metadata={"format": "pt"})
        compare_files(path, ours)

    # The same once more by huggingface_hub alone, so that nothing rests on this file's own idea of it; and the index.
    hub = os.path.join(scratch, "hub")
    os.makedirs(hub)
    huggingface_hub.save_torch_state_dict(dict(want), hub, max_shard_size=limit or "5GB")
    expect(sorted(os.listdir(hub)) == weights, f"OUT holds {weights}, huggingface_hub {sorted(os.listdir(hub))}")
    for file in weights:
        compare_files(os.path.join(out, file), os.path.join(hub, file))


def compare_files(got_path, want_path):
    with open(got_path, "rb") as got, open(want_path, "rb") as want:
        a, b = got.read(), want.read()
    if a != b:
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        raise Mismatch(f"{os.path.basename(got_path)} differs from the library's at byte {at} of {len(b)} "
                       f"({len(a)} written): {a[max(0, at - 40):at + 40]!r}, want {b[max(0, at - 40):at + 40]!r}")


def check_sums(out):
    result = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=out, capture_output=True,
                            check=False)
    expect(result.returncode == 0, f"sha256sum: {printable(result.stdout + result.stderr)}")


def check_documents(out):
    result = subprocess.run([sys.executable, os.path.join(HERE, "check_documents.py"), out], capture_output=True,
                            check=False)
    expect(result.returncode == 0, f"check_documents: {printable(result.stdout + result.stderr)}")


def write_side(rng, maker, directory, tensors, kind, as_is=False, overlapping=False):
    """Writes one side; returns the SOURCE to give and the files that make it up."""
    if kind == "bin" and not as_is and rng.random() < 0.6:
        tensors = maker.tangled(tensors, overlapping)
    files = checkpoints.save(directory, tensors, kind, rng.choice([1, 1, 2, 3, 7]))
    if len(files) == 1 and rng.random() < 0.3:
        return os.path.join(directory, files[0]), files
    return directory, files


def break_pair(rng, base, delta):
    """Spoils the pair in one to three ways; returns the names that the message must hold."""
    names = [n for n in base if not n.endswith("inv_freq") and re.fullmatch(r"[a-z_.0-9A-Z]+", n)]
    rng.shuffle(names)
    spoiled = names[:rng.randint(1, 3)]
    for name in spoiled:
        kind = rng.choice(["absent from base", "absent from delta", "shape", "dtype"])
        if kind == "absent from base":
            del base[name]
        elif kind == "absent from delta":
            del delta[name]
        elif kind == "shape":
            delta[name] = torch.zeros([*delta[name].shape, 2], dtype=delta[name].dtype)
        else:
            # Not a dtype that quantised weights are packed in: those are refused before they are paired.
            other = torch.int64 if delta[name].dtype in models.FLOATS else torch.float32
            delta[name] = torch.zeros(delta[name].shape, dtype=other)
    return spoiled


def run_case(program, seed, keep):
    """One case in a directory of its own; returns what went wrong, or None."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    maker = models.Maker(seed)
    directory = tempfile.mkdtemp(prefix=f"case-{seed}-", dir=keep)
    arguments = []
    try:
        base_kind, delta_kind = rng.choice(["safetensors", "bin"]), rng.choice(["safetensors", "bin"])
        foreign = rng.random() < 0.4
        allow_unsigned = base_kind == delta_kind == "safetensors"
        base, delta = maker.foreign_pair(allow_unsigned) if foreign else maker.llama_pair()
        spoiled = break_pair(rng, base, delta) if rng.random() < 0.12 else []
        strided = maker.strided(delta) if delta_kind == "bin" and rng.random() < 0.1 and not spoiled else None
        base_spec, base_files = write_side(rng, maker, f"{directory}/base", base, base_kind, overlapping=True)
        delta_spec, delta_files = write_side(rng, maker, f"{directory}/delta", strided or delta, delta_kind,
                                             as_is=strided is not None)
        base = checkpoints.load(f"{directory}/base", base_files)
        delta = checkpoints.load(f"{directory}/delta", delta_files)

        dtype = rng.choice(["delta", "delta", "float16", "bfloat16", "float32"])
        drop = rng.random() < 0.25
        out = f"{directory}/out"
        arguments = ["--base", base_spec, "--delta", delta_spec, "--out", out]
        if spoiled:
            arguments += arguments_for(rng, dtype, drop, None)
            check_refused(run_program(program, arguments), 4, spoiled, out)
            return None
        want = oracle.merge(base, delta, DTYPES[dtype], drop)
        limit = limit_for(rng, want)
        arguments += arguments_for(rng, dtype, drop, limit)
        result = run_program(program, arguments)
        expect(result.returncode == 0, f"exit status {result.returncode}: {printable(result.stderr)}")
        compare_output(out, want, limit, f"{directory}/want")
        check_sums(out)
        if rng.random() < 0.1:
            check_documents(out)
        return None
    except Mismatch as error:
        return f"case {seed}: {error}\n    {program} {' '.join(arguments)}"
    except Exception:
        return f"case {seed}: {traceback.format_exc()}\n    {program} {' '.join(arguments)}"
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def check_refused(result, status, words, out):
    expect(result.returncode == status, f"exit status {result.returncode}, want {status}: {printable(result.stderr)}")
    text = result.stderr.decode("utf-8")
    for word in words:
        expect(word in text, f"{word!r} is not named: {text}")
    expect(not os.path.exists(out) and not os.path.exists(out + ".partial"), "something was left behind")


def run_large(program, seed):
    """Tensors of many tiles, in every pair of formats, with the embeddings grown both ways."""
    torch.set_num_threads(2)
    rng = random.Random(seed)
    maker = models.Maker(seed)
    dtype = [torch.float16, torch.bfloat16, torch.float32, torch.float64][seed % 4]
    hidden, rows = rng.randint(700, 1300), rng.randint(9000, 20000)
    base = {"model.embed_tokens.weight": maker.tensor((rows, hidden), dtype),
            "model.layers.0.mlp.up_proj.weight": maker.tensor((3 * hidden, hidden), dtype),
            "lm_head.weight": maker.tensor((rows, hidden), dtype)}
    delta = {"model.embed_tokens.weight": maker.tensor((rows + 4, hidden), torch.float16),
             "model.layers.0.mlp.up_proj.weight": maker.tensor((3 * hidden, hidden), torch.float16),
             "model.mm_projector.weight": maker.tensor((hidden, 3000), torch.float16),
             "lm_head.weight": maker.tensor((rows + 3, hidden + 5), torch.float16)}
    if seed & 1:
        base = maker.tangled(base, True)
    with tempfile.TemporaryDirectory() as directory:
        checkpoints.save(f"{directory}/base", base, "bin" if seed & 1 else "safetensors", 1 + (seed >> 1 & 1))
        checkpoints.save(f"{directory}/delta", delta, "bin" if seed & 2 else "safetensors", 2 - (seed & 1))
        base, delta = checkpoints.load(f"{directory}/base"), checkpoints.load(f"{directory}/delta")
        result_dtype = rng.choice(list(DTYPES))
        want = oracle.merge(base, delta, DTYPES[result_dtype])
        out = f"{directory}/out"
        arguments = ["--base", f"{directory}/base", "--delta", f"{directory}/delta", "--out", out, "-q", "--dtype",
                     result_dtype, "--max-shard-size", "40MB", "--max-memory", rng.choice(["32MiB", "256MiB"]),
                     "--threads", str(rng.randint(1, 5))]
        try:
            result = run_program(program, arguments)
            expect(result.returncode == 0, f"exit status {result.returncode}: {printable(result.stderr)}")
            compare_output(out, want, 40_000_000, f"{directory}/want")
            check_sums(out)
        except Mismatch as error:
            return f"large case {seed}: {error}\n    {program} {' '.join(arguments)}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=20240501)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--large", type=int, default=8)
    parser.add_argument("--only", type=int, help="run this one case")
    parser.add_argument("--keep", help="a directory to leave the cases in")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    seeds = [options.only] if options.only is not None else range(options.seed, options.seed + options.cases)
    n_passed = n_failed = 0

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        jobs = [pool.submit(run_case, program, seed, options.keep) for seed in seeds]
        jobs += [pool.submit(run_large, program, seed) for seed in range(options.large if options.only is None else 0)]
        for job in jobs:
            wrong = job.result()
            n_passed += wrong is None
            n_failed += wrong is not None
            if wrong is not None and n_failed <= 20:
                print(wrong, flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
