# SPDX-License-Identifier: Apache-2.0
"""What llavamed-inspect lists of random tensors: digests against torch's bytes hashed by hashlib, statistics and
differences against torch's.

Each case is one set of tensors, saved by the real libraries in every form: safetensors, one and in shards; torch files,
in the zip and the legacy form, plain, tangled (parameters, slices, shared storages) and transposed in storage; zip
archives of such directories, stored and deflated. All of them must have the names, dtypes, shapes, digests and the
digest of the model that are computed here from the tensors in memory, by the definition in docs/digests.md; and the
lines of --digests, and the Python program of that document, must say the same.

Usage: inspect_tensors.py --program PATH [--seed N] [--cases N]
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import traceback
import zipfile

import safetensors.torch
import torch

import checkpoints
import models

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
          torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32",
          torch.float64: "F64", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64"}


def tensor_bytes(tensor):
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def expected(tensors):
    """({name: (dtype, shape, digest)}, digest of the model)"""
    rows = {}
    for name, tensor in tensors.items():
        dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
        line = f"{dtype} [{','.join(str(n) for n in shape)}]\n".encode()
        rows[name] = dtype, shape, hashlib.sha256(line + tensor_bytes(tensor)).hexdigest()
    model = hashlib.sha256()
    for name in sorted(rows, key=lambda name: name.encode()):
        model.update(f"{rows[name][2]}  ".encode() + name.encode() + b"\0")
    return rows, model.hexdigest()


def archive(directory, path, compression):
    with zipfile.ZipFile(path, "w", compression) as out:
        for name in sorted(os.listdir(directory)):
            out.write(os.path.join(directory, name), f"model/{name}")
    return path


def sources(maker, tensors, scratch):
    """(what it is, the SOURCE, the tensors that it holds) of each form."""
    rng = maker.random
    for kind in ("safetensors", "bin"):
        for n_shards in (1, rng.randint(2, 5)):
            directory = f"{scratch}/{kind}-{n_shards}"
            files = checkpoints.save(directory, tensors, kind, n_shards)
            yield f"{kind} in {len(files)}", directory, tensors
            if len(files) == 1:
                yield f"{kind}, the file", os.path.join(directory, files[0]), tensors
            for name, compression in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
                path = f"{scratch}/{kind}-{n_shards}-{name}.zip"
                yield f"{kind} in {len(files)}, {name} in a zip", archive(directory, path, compression), tensors
    torch.save(dict(tensors), f"{scratch}/legacy.bin", _use_new_zipfile_serialization=False)
    yield "legacy", f"{scratch}/legacy.bin", tensors
    for name, changed in (("tangled", maker.tangled(tensors, True)), ("strided", maker.strided(tensors))):
        if changed is not None:
            torch.save(dict(changed), f"{scratch}/{name}.bin")
            yield name, f"{scratch}/{name}.bin", {key: tensor.detach() for key, tensor in changed.items()}


def statistics(tensor):
    """What --stats tells exactly, and what sums of doubles may round in another way; None where it tells nothing."""
    if tensor.dtype not in models.FLOATS:
        return None, None
    tensor = tensor.detach().contiguous().view(-1)
    least = torch.finfo(tensor.dtype).smallest_normal
    finite = tensor[tensor.isfinite()].double()
    some = finite.numel() > 0
    subnormal = (tensor.double().abs() < least) & (tensor != 0)
    return ({"zeros": int((tensor == 0).sum()), "subnormals": int(subnormal.sum()), "nan": int(tensor.isnan().sum()),
             "infinite": int(tensor.isinf().sum()), "min": float(finite.min()) if some else None,
             "max": float(finite.max()) if some else None},
            (float(finite.mean()), float(finite.square().mean().sqrt()), float(finite.abs().mean())) if some else None)


def compare_statistics(name, got, tensor):
    exact, rounded = statistics(tensor)
    if exact is None:
        assert got is None, (name, got)
        return
    assert {key: got[key] for key in exact} == exact, (name, got, exact)
    if rounded is None:
        assert got["mean"] is None and got["rms"] is None
        return
    mean, rms, size = rounded
    if rms < 1e150 and math.isfinite(rms):
        assert abs(got["mean"] - mean) <= 1e-12 * size, (name, got, rounded)
        assert abs(got["rms"] - rms) <= 1e-12 * rms, (name, got, rounded)


def inspect(program, arguments):
    result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                            check=False)
    assert result.returncode == 0 and result.stderr == b"", result.stderr.decode(errors="replace")
    return result.stdout.decode()


def compare(program, rng, source, tensors):
    rows, model = expected(tensors)
    options = ["-q", "-j", str(rng.choice([1, 2, 5])), "--max-memory", rng.choice(["64KiB", "300000", "256MiB"])]
    document = json.loads(inspect(program, [source, "--digests", "--stats", "--json", *options]))
    got = {row["name"]: (row["dtype"], row["shape"], row["sha256"]) for row in document["tensors"]}
    assert len(document["tensors"]) == len(got)
    for name in rows.keys() | got.keys():
        assert got.get(name) == rows.get(name), f"{name!r}: got {got.get(name)}, want {rows.get(name)}"
    for row in document["tensors"]:
        compare_statistics(row["name"], row["stats"], tensors[row["name"]])
    assert document["model_sha256"] == model, f"model: got {document['model_sha256']}, want {model}"
    lines = inspect(program, [source, "--digests", *options]).splitlines()
    assert lines[-1] == f"sha256  {model}  (model)", lines[-1]
    if all(re.fullmatch(r"[ -~]+", name) for name in rows):
        assert lines[:-1] == [f"sha256  {rows[name][2]}  {name}" for name in sorted(rows)], lines[:3]


def compare_difference(program, scratch, source, tensors):
    """--diff with the same tensors, the lowest bit of each float of 32 bits or less flipped."""
    flipped, changed = {}, set()
    for name, tensor in tensors.items():
        flipped[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32) and tensor.numel():
            checkpoints.bits(flipped[name]).bitwise_xor_(1)
            changed.add(name)
    safetensors.torch.save_file(flipped, f"{scratch}/flipped.safetensors")
    result = subprocess.run([program, source, "--diff", f"{scratch}/flipped.safetensors", "--json", "-q"],
                            stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
    document = json.loads(result.stdout)
    assert result.returncode == (1 if changed else 0), result.stderr
    assert {row["name"] for row in document["tensors"]} == set(tensors)
    for row in document["tensors"]:
        name, got = row["name"], row["elements"]
        if name not in changed:
            assert row["kind"] == "equal" and got["different"] == 0, row
            continue
        a, b = tensors[name].detach().reshape(-1), flipped[name].reshape(-1)
        nan = int((a.isnan() | b.isnan()).sum())
        apart = (a.double() - b.double()).abs()
        apart = apart[apart.isfinite()]
        want = {"kind": "bits", "different": a.numel(), "first": 0, "nan": nan,
                "max": float(apart.max()) if apart.numel() else 0.0,
                "ulps": [{"up_to": 1, "elements": a.numel() - nan}] if nan < a.numel() else []}
        assert {**{key: got[key] for key in want if key != "kind"}, "kind": row["kind"]} == want, (row, want)
        rms = float(apart.square().mean().sqrt()) if apart.numel() else 0.0
        assert abs(got["rms"] - rms) <= 1e-12 * rms, (row, rms)


def compare_document(rng, tensors, scratch):
    """The Python program in docs/digests.md."""
    with open(os.path.join(HERE, "../../docs/digests.md"), encoding="utf-8") as file:
        text = re.search(r"^```python\n(.*?)^```$", file.read(), re.M | re.S).group(1)
    safetensors.torch.save_file({name: t.contiguous() for name, t in tensors.items()}, f"{scratch}/x.safetensors")
    got = subprocess.run([sys.executable, "-X", "utf8", "-c", text, f"{scratch}/x.safetensors"], capture_output=True,
                         check=True).stdout.decode()
    rows, model = expected(tensors)
    want = "".join(f"sha256  {rows[name][2]}  {name}\n" for name in sorted(rows, key=lambda name: name.encode()))
    assert got == want + f"sha256  {model}  (model)\n"


def run_case(program, seed):
    maker = models.Maker(seed)
    if seed % 3 == 0:
        tensors = maker.llama_pair()[seed % 2]
    else:
        tensors = maker.foreign_pair(False)[0]
    n_passed = n_failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for what, source, held in sources(maker, tensors, scratch):
            try:
                compare(program, maker.random, source, held)
                compare_difference(program, scratch, source, held)
                n_passed += 1
            except Exception:
                n_failed += 1
                print(f"FAILED case {seed}, {what}:")
                traceback.print_exc(limit=1, file=sys.stdout)
        try:
            compare_document(maker.random, tensors, scratch)
            n_passed += 1
        except Exception:
            n_failed += 1
            print(f"FAILED case {seed}, the program of the document:")
            traceback.print_exc(limit=1, file=sys.stdout)
    return n_passed, n_failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n_passed = n_failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.cases):
        passed, failed = run_case(os.path.abspath(arguments.program), seed)
        n_passed += passed
        n_failed += failed
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed or not n_passed else 0


sys.exit(main())
