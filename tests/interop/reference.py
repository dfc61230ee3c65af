# SPDX-License-Identifier: Apache-2.0
"""llavamed-apply against the reference itself, run by the library of 2023 (see reference_apply_delta.py).

Tiny models are saved by save_pretrained, merged by the reference and by the program; names, order, dtypes and every bit
are compared, and the program's output is loaded by the library again. With --format torch the program must write the
files of save_pretrained themselves, byte for byte: shards, index, generation_config.json, and config.json but for
the path that the library puts into it; also when the delta has been written again as safetensors, in another order, and
when two deltas of one base are merged in one command. The files of --torch-profile 2.13, which this torch never wrote,
must load as the same model.

Usage: reference.py --program PATH [--seed N] [--cases N]
Ends with "N passed, N failed".
"""

import argparse
import glob
import os
import random
import subprocess
import sys
import tempfile
import traceback

import torch
import transformers
from huggingface_hub.serialization import split_state_dict_into_shards_factory
from transformers import LlamaConfig, LlamaForCausalLM

import checkpoints
import reference_apply_delta as reference

INV_FREQ = "rotary_emb.inv_freq"
PAIRS = 2  # so many cases of two deltas, too


def tiny_config(rng, rows):
    heads = rng.choice([1, 2, 4])
    return LlamaConfig(vocab_size=rows, hidden_size=heads * rng.choice([2, 6, 16]), num_attention_heads=heads,
                       intermediate_size=rng.choice([5, 24, 43]), num_hidden_layers=rng.choice([1, 2, 3, 12]),
                       max_position_embeddings=64)


def randomize(model, spread):
    for name, tensor in model.state_dict().items():
        if not name.endswith("inv_freq"):
            tensor.copy_(torch.randn(tensor.shape) * spread + (0.5 if "norm" in name else 0.0))


def make_models(rng, directory):
    """base/ and target/ as fine-tuning leaves them: the target is the base, moved a little, with rows and projector."""
    rows = rng.choice([32, 101])
    base_config = tiny_config(rng, rows)
    fields = {k: v for k, v in base_config.to_dict().items() if k not in ("model_type", "architectures")}
    fields.update(vocab_size=rows + rng.choice([0, 3, 4]), use_mm_proj=True, mm_hidden_size=rng.choice([4, 10]),
                  mm_vision_tower="openai/clip-vit-large-patch14")
    base, target = LlamaForCausalLM(base_config), reference.LlavaLlamaForCausalLM(reference.LlavaConfig(**fields))
    randomize(base, 0.02)
    randomize(target, 0.02)
    base_tensors = base.state_dict()
    for name, tensor in target.state_dict().items():
        if name in base_tensors and not name.endswith("inv_freq"):
            known = tensor[:rows] if tensor.dim() == 2 and name in reference.EMBEDDINGS else tensor
            known.copy_(base_tensors[name] + torch.randn(known.shape) * rng.choice([1e-5, 1e-3, 3e-2]))

    base_dtype = rng.choice([torch.float16, torch.float16, torch.bfloat16, torch.float32])
    exact_inv_freq = {name: buffer.clone() for name, buffer in base.named_buffers()}
    base.to(base_dtype)
    if rng.random() < 0.5:
        # As a model loaded with torch_dtype alone is saved: weights in that dtype, the rotary buffers exact in F32.
        for name, module in base.named_modules():
            if name.endswith("rotary_emb"):
                module.inv_freq = exact_inv_freq[name + ".inv_freq"]
    safe = rng.random() < 0.5
    base.save_pretrained(f"{directory}/base", max_shard_size=rng.choice(["10GB", "20KB", "3KB"]),
                         safe_serialization=safe)
    target.half().save_pretrained(f"{directory}/target")
    return f"base {base_dtype} {'safetensors' if safe else 'bin'}"


def drop_inv_freq(directory):
    """What a save by transformers 4.32 or later looks like: no rotary buffers."""
    for path in glob.glob(f"{directory}/*.bin") + glob.glob(f"{directory}/*.safetensors"):
        tensors = checkpoints.load(directory, [os.path.basename(path)])
        kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(INV_FREQ)}
        if path.endswith(".bin"):
            torch.save(kept, path)
        else:
            checkpoints.safetensors.torch.save_file(kept, path, metadata={"format": "pt"})
    for path in glob.glob(f"{directory}/*.index.json"):
        with open(path, encoding="ascii") as file:
            lines = [line for line in file if INV_FREQ not in line]
        with open(path, "w", encoding="ascii") as file:
            file.write("".join(lines).replace(",\n  }", "\n  }"))


def to_safetensors(directory):
    """The same weights in one safetensors file, whose order is that of the dtypes and of the alphabet."""
    tensors = checkpoints.load(directory)
    checkpoints.safetensors.torch.save_file(dict(sorted(tensors.items())), f"{directory}/model.safetensors",
                                            metadata={"format": "pt"})
    for path in glob.glob(f"{directory}/pytorch_model*"):
        os.remove(path)


def run_case(program, seed):
    """What went wrong, or None."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as directory:
        base, delta, out = f"{directory}/base", f"{directory}/delta", f"{directory}/out"
        about = make_models(rng, directory)
        delta_dtype = rng.choice([torch.float16, torch.float16, torch.float16, torch.bfloat16, torch.float32])
        reference.make_delta(base, f"{directory}/target", delta, rng.choice(["10GB", "20KB", "3KB"]), delta_dtype)
        base_lacks = rng.random() < 0.3
        if base_lacks:
            drop_inv_freq(base)
        about += f", delta {delta_dtype}{', base without inv_freq' if base_lacks else ''}"
        delta_lacks = rng.random() < 0.2

        limit = rng.choice([10**10, 20_000, 3_000])
        merged = reference.apply_delta(base, delta, f"{directory}/merged", f"{limit // 1000}KB")
        want = checkpoints.load(f"{directory}/merged")
        if list(want) != list(merged.state_dict()):
            return f"case {seed}: the reference's files are not in its own order"
        if delta_lacks:
            # With such a delta the reference adds a buffer to itself: the doubled value that must never be written.
            drop_inv_freq(delta)
            want = {name: tensor for name, tensor in want.items() if not name.endswith(INV_FREQ)}
            about += ", delta without inv_freq"
        arguments = ["--base", base, "--delta", delta, "--out", out, "-q", "--max-shard-size", str(limit)]
        if delta_dtype != torch.float16 or rng.random() < 0.3:
            arguments += ["--dtype", "float16"]
        result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                                check=False)
        if result.returncode != 0:
            return f"case {seed} ({about}): exit status {result.returncode}: {result.stderr.decode()[-2000:]}"
        wrong = compare(out, want, merged, base_lacks, limit)
        if not wrong and not base_lacks and not delta_lacks:
            # Otherwise the program means to differ from the reference: see above.
            if rng.random() < 0.5:
                to_safetensors(delta)
                about += ", delta as safetensors"
            arguments[5] = f"{directory}/torch"
            arguments += ["--format", "torch", "--threads", str(rng.choice([1, 2, 7]))]
            subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, timeout=120, check=True)
            wrong = compare_files(f"{directory}/torch", f"{directory}/merged")
            if not wrong:
                arguments[5] = f"{directory}/torch-2.13"
                subprocess.run([program, *arguments, "--torch-profile", "2.13"], stdin=subprocess.DEVNULL, timeout=120,
                               check=True)
                wrong = compare_loaded(f"{directory}/torch-2.13", merged)
        return wrong and f"case {seed} ({about}): {wrong}"


def run_pair(program, seed):
    """Two deltas of one base in one command: the files of the reference for each. What went wrong, or None."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as directory:
        base = f"{directory}/base"
        make_models(rng, directory)
        arguments = ["--base", base, "-q", "--format", "torch", "--max-shard-size", "20000"]
        for name in ("one", "two"):
            delta = f"{directory}/{name}-delta"
            if name == "two":
                target = reference.load_delta(f"{directory}/target")
                randomize(target, 0.1)
                target.save_pretrained(f"{directory}/target")
            reference.make_delta(base, f"{directory}/target", delta, rng.choice(["20KB", "3KB"]), torch.float16)
            reference.apply_delta(base, delta, f"{directory}/{name}-merged", "20KB")
            arguments += ["--delta", delta, "--out", f"{directory}/{name}-out"]
        result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                                check=False)
        if result.returncode != 0:
            return f"two deltas {seed}: exit status {result.returncode}: {result.stderr.decode()[-2000:]}"
        merged = [checkpoints.load(f"{directory}/{name}-merged") for name in ("one", "two")]
        if all(torch.equal(merged[0][name], merged[1][name]) for name in merged[0]):
            return f"two deltas {seed}: the reference made the same of both"
        for name in ("one", "two"):
            wrong = compare_files(f"{directory}/{name}-out", f"{directory}/{name}-merged")
            if wrong:
                return f"two deltas {seed}, {name}: {wrong}"
    return None


def compare(out, want, merged, base_lacks, limit):
    got = checkpoints.load(out)
    if sorted(got) != sorted(want):
        return f"names differ: {sorted(set(got) ^ set(want))}"
    for name in want:
        expected = want[name]
        if base_lacks and name.endswith(INV_FREQ):
            # The one place where the program means to differ: the reference leaves the formula's values unrounded.
            expected = expected.half().float()
        wrong = checkpoints.difference(got[name], expected)
        if wrong:
            return f"{name} {wrong}"

    # Safetensors files do not keep an order; where the shards are cut shows it.
    plan = split_state_dict_into_shards_factory(
        want, get_storage_size=lambda t: t.numel() * t.element_size(), filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit)
    for file, names in plan.filename_to_tensors.items():
        if sorted(checkpoints.load(out, [file])) != sorted(names):
            return f"{file} holds other tensors than the reference's order puts there"

    return compare_loaded(out, merged)


def compare_loaded(out, merged):
    """What this library loads, which makes rotary buffers itself when a file has none."""
    loaded = reference.load_delta(out).state_dict()
    for name, tensor in merged.state_dict().items():
        wrong = not name.endswith(INV_FREQ) and checkpoints.difference(loaded[name], tensor)
        if wrong:
            return f"loaded by transformers {transformers.__version__}: {name} {wrong}"
    return None


def lines_of(path):
    """Of a file; of config.json without the line that holds the path it was loaded from."""
    with open(path, "rb") as file:
        data = file.read()
    lines = data.splitlines(keepends=True)
    return [line for line in lines if os.path.basename(path) != "config.json" or b'"_name_or_path"' not in line]


def compare_files(out, merged):
    """The program's files and those of save_pretrained."""
    names = sorted(os.listdir(merged))
    weights = sorted(name for name in os.listdir(out) if name.endswith((".bin", ".index.json")))
    if weights != [name for name in names if name.endswith((".bin", ".index.json"))]:
        return f"--format torch wrote {weights}, save_pretrained {names}"
    for name in names:
        if not os.path.exists(f"{out}/{name}"):
            return f"{name} was not written"
        if lines_of(f"{out}/{name}") != lines_of(f"{merged}/{name}"):
            return f"{name} differs from the one of save_pretrained"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=40)
    options = parser.parse_args()
    assert transformers.__version__ == "4.28.1" and torch.__version__.startswith("1.13"), "not the stack of 2023"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    program = os.path.abspath(options.program)
    n_passed = n_failed = 0
    seeds = range(options.seed, options.seed + options.cases)
    for run, seed in [(run_case, seed) for seed in seeds] + [(run_pair, seed) for seed in seeds[:PAIRS]]:
        try:
            wrong = run(program, seed)
        except Exception:
            wrong = f"{run.__name__} {seed}: {traceback.format_exc()}"
        n_passed += wrong is None
        n_failed += wrong is not None
        if wrong is not None:
            print(wrong, flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
