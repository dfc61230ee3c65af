# SPDX-License-Identifier: Apache-2.0
"""One delta, packed by the tools that people use (zip, 7z, bsdtar, Python's zipfile): OUT must be the same as from the
directory, byte for byte.

Checkpoints are written by today's torch, by an older one, and by safetensors; the pair is merged once from directories,
which random_models.py holds against torch, then with the delta, or the base, inside an archive.

Usage: archives.py --program PATH --older PYTHON [--seed N] [--cases N] [--large]
PYTHON runs an older torch (1.13). --large adds one with a member above 4 GiB. Ends with "N passed, N failed".
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile

import safetensors.torch
import torch

import models

RESAVE = """
import sys, torch
torch.save(torch.load(sys.argv[1], map_location="cpu"), sys.argv[1])
"""


def run(command, cwd):
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def pack_python(method, level, force):
    def pack(directory, path):
        with zipfile.ZipFile(path, "w", method, compresslevel=level) as archive:
            parent = os.path.dirname(directory)
            for name in sorted(os.listdir(directory)):
                info = zipfile.ZipInfo.from_file(f"{directory}/{name}", os.path.relpath(f"{directory}/{name}", parent))
                info.compress_type = method
                with open(f"{directory}/{name}", "rb") as source, archive.open(info, "w", force_zip64=force) as target:
                    shutil.copyfileobj(source, target)
    return pack


def pack_python_pipe(directory, path):
    """To a file that cannot seek: sizes come behind the data."""
    with open(path, "wb") as file:
        write_end, read_end = os.pipe()[::-1]
        cat = subprocess.Popen(["cat"], stdin=read_end, stdout=file)
        os.close(read_end)
        with os.fdopen(write_end, "wb") as pipe, zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(os.listdir(directory)):
                archive.write(f"{directory}/{name}", name)
        if cat.wait() != 0:
            raise ValueError("cat failed")


def pack_command(*command):
    def pack(directory, path):
        parent, name = os.path.split(directory)
        run([*command, path, name], parent)
    return pack


def pack_stream(directory, path):
    parent, name = os.path.split(directory)
    with open(path, "wb") as file:
        subprocess.run(["zip", "-qr", "-", name], cwd=parent, check=True, stdout=file)


PACKERS = {
    "zip": pack_command("zip", "-qr"),
    "zip -1": pack_command("zip", "-qr1"),
    "zip -9 -fz": pack_command("zip", "-qr9", "-fz"),
    "zip -0": pack_command("zip", "-qr0"),
    "zip -0 -fz": pack_command("zip", "-qr0", "-fz"),
    "zip - | cat": pack_stream,
    "7z": pack_command("7z", "a", "-tzip", "-mx=5"),
    "7z -mx0": pack_command("7z", "a", "-tzip", "-mx=0"),
    "bsdtar": pack_command("bsdtar", "--format", "zip", "-cf"),
    "python deflated": pack_python(zipfile.ZIP_DEFLATED, 6, False),
    "python level 1, zip64": pack_python(zipfile.ZIP_DEFLATED, 1, True),
    "python stored": pack_python(zipfile.ZIP_STORED, None, False),
    "python stored, zip64": pack_python(zipfile.ZIP_STORED, None, True),
    "python pipe": pack_python_pipe,
}


def write_checkpoint(rng, tensors, directory, older):
    """In one to three shards with their index, as .bin by either torch or as safetensors; returns the form."""
    os.mkdir(directory)
    form = rng.choice(["torch", "older", "safetensors"])
    stem, ending = ("model", "safetensors") if form == "safetensors" else ("pytorch_model", "bin")
    names = list(tensors)
    n_shards = min(rng.randint(1, 3), len(names))
    cuts = sorted(rng.sample(range(1, len(names)), n_shards - 1)) if n_shards > 1 else []
    weight_map = {}
    for k, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(names)])):
        name = f"{stem}.{ending}" if n_shards == 1 else f"{stem}-{k + 1:05d}-of-{n_shards:05d}.{ending}"
        shard = {key: tensors[key].clone().contiguous() for key in names[begin:end]}
        weight_map.update(dict.fromkeys(shard, name))
        if form == "safetensors":
            safetensors.torch.save_file(shard, f"{directory}/{name}", metadata={"format": "pt"})
        else:
            torch.save(shard, f"{directory}/{name}")
        if form == "older":
            run([older, "-c", RESAVE, f"{directory}/{name}"], directory)
    if n_shards > 1:
        with open(f"{directory}/{stem}.{ending}.index.json", "w", encoding="utf-8") as file:
            json.dump({"metadata": {"total_size": 1}, "weight_map": weight_map}, file)
    with open(f"{directory}/tokenizer.model", "wb") as file:
        file.write(rng.randbytes(5000))
    return form


def merge(program, base, delta, out, arguments=()):
    """Runs the program; returns OUT's weights and copied files, or raises."""
    # The numbers are arbitrary bits, which the test of the contents rightly takes for no delta.
    result = subprocess.run([program, "-q", "--allow-unknown-base", "--base", base, "--delta", delta, "--out", out,
                             *arguments], capture_output=True, timeout=900, check=False)
    if result.returncode != 0:
        raise ValueError(f"exit status {result.returncode}: {result.stderr.decode('utf-8', 'replace')}")
    files = {}
    for name in sorted(os.listdir(out)):
        if name.endswith((".safetensors", ".index.json", ".model")):
            with open(os.path.join(out, name), "rb") as file:
                files[name] = file.read()
    shutil.rmtree(out)
    return files


def run_case(program, older, seed, packers):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    base, delta = models.Maker(seed).llama_pair()
    if seed % 4 == 0:
        # More than a tile, and data that neither compresses nor stays stored.
        for tensors in base, delta:
            tensors["model.large.weight"] = torch.randn(2600, 1300).to(next(iter(base.values())).dtype)
    # Embeddings that grow in width are refused with a base that comes from front to back.
    base_can_stream = all(tensor.shape[1:] == delta[name].shape[1:] for name, tensor in base.items() if name in delta)
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        sides = {"base": f"{directory}/base", "delta": f"{directory}/delta"}
        forms = {side: write_checkpoint(rng, tensors, sides[side], older)
                 for side, tensors in (("base", base), ("delta", delta))}
        want = merge(program, sides["base"], sides["delta"], f"{directory}/out")
        for packer in packers:
            side = "base" if base_can_stream and rng.random() < 0.2 else "delta"
            given = dict(sides)
            given[side] = f"{directory}/{side}.zip"
            arguments = ["--threads", str(rng.choice([1, 2, 5])), "--max-memory", rng.choice(["2MiB", "256MiB"])]
            try:
                PACKERS[packer](sides[side], given[side])
                got = merge(program, given["base"], given["delta"], f"{directory}/out", arguments)
                if got != want:
                    raise ValueError("OUT differs from that of the directory")
            except (ValueError, OSError, subprocess.SubprocessError) as error:
                wrong.append(f"case {seed}, {side} by {packer}, {forms}: {error}")
            if os.path.exists(given[side]):
                os.remove(given[side])
    return wrong


def run_large(program):
    """A delta above 4 GiB, of zeros, deflated by Python: sizes are in zip64 fields, in the archive and in the file."""
    with tempfile.TemporaryDirectory() as directory:
        tensors = {"model.a": torch.zeros(1100, 1 << 20, dtype=torch.float32), "model.b": torch.ones(3)}
        os.mkdir(f"{directory}/delta")
        torch.save(tensors, f"{directory}/delta/pytorch_model.bin")
        tensors["model.a"][7, 5] = 3.0
        safetensors.torch.save_file(tensors, f"{directory}/base.safetensors")
        del tensors
        PACKERS["python level 1, zip64"](f"{directory}/delta", f"{directory}/delta.zip")
        shutil.rmtree(f"{directory}/delta")
        subprocess.run([program, "-q", "--allow-unknown-base", "--max-shard-size", "9GB", "--base",
                        f"{directory}/base.safetensors", "--delta", f"{directory}/delta.zip", "--out",
                        f"{directory}/out"], check=True, timeout=900)
        with safetensors.safe_open(f"{directory}/out/model.safetensors", "pt") as merged:
            if not torch.equal(merged.get_tensor("model.b"), torch.full((3,), 2.0)):
                return ["large: model.b differs"]
            rows = merged.get_slice("model.a")
            if float(rows[7][5]) != 3.0 or float(rows[:].sum()) != 3.0:
                return ["large: model.a differs"]
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--older", required=True, help="a Python with an older torch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    older = os.path.abspath(options.older)
    wrong = []
    n_cases = 0
    for seed in range(options.seed, options.seed + options.cases):
        wrong += run_case(program, older, seed, list(PACKERS))
        n_cases += len(PACKERS)
    if options.large:
        wrong += run_large(program)
        n_cases += 1
    for line in wrong[:10]:
        print(line, flush=True)
    print(f"{n_cases - len(wrong)} passed, {len(wrong)} failed")
    return 0 if not wrong and n_cases > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
