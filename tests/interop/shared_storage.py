# SPDX-License-Identifier: Apache-2.0
"""Deltas whose tensors share memory, against the reference itself (reference_apply_delta.py): what becomes of them.

Random ties and views in a delta of a tiny model, in float16 (which the reference keeps, and adds to in place) and in
other dtypes (of which it makes copies). Each case first runs the reference. Where its sum is not base + delta, the
program must refuse, with exit status 3; where it is, or where torch refuses to add at all, OUT must hold base + delta,
and with --format torch the reference's very file, or a warning says that it may be another one.

Usage: shared_storage.py --program PATH [--cases N] [--seed N]
Ends with "N passed, N failed", behind how often each outcome was seen; one that never was is a failure.
"""

import argparse
import collections
import filecmp
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

import checkpoints
import reference_apply_delta as reference

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
Q, K, V, GATE, BIAS = ("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
                       "model.layers.0.self_attn.v_proj.weight", "model.layers.0.mlp.gate_proj.weight",
                       "model.mm_projector.bias")
HIDDEN, ROWS = 8, 12
WARNING = "of a storage, which the reference keeps"


def fill(rng, shape):
    """Multiples of 1/16, so that three of them add up exactly in any order."""
    return torch.tensor([rng.randint(-64, 64) / 16 for _ in range(torch.Size(shape).numel())]).reshape(shape)


# Each kind changes a state dict in place. `d` is the dtype of it.
def whole(rng, state, d):
    state[HEAD] = state[EMBED]


def whole_reshaped(rng, state, d):
    state[K] = state[Q].view(-1).view(HIDDEN, HIDDEN)


def packed(rng, state, d):
    block = fill(rng, (2 * HIDDEN * HIDDEN + 7,)).to(d)
    first, second = rng.sample([Q, K, V], 2)
    state[first] = block[3:3 + HIDDEN * HIDDEN].view(HIDDEN, HIDDEN)
    state[second] = block[4 + HIDDEN * HIDDEN:4 + 2 * HIDDEN * HIDDEN].view(HIDDEN, HIDDEN)


def partial(rng, state, d):
    block = fill(rng, (2 * HIDDEN * HIDDEN,)).to(d)
    at = rng.randint(1, HIDDEN * HIDDEN - 1)
    state[Q] = block[:HIDDEN * HIDDEN].view(HIDDEN, HIDDEN)
    state[K] = block[at:at + HIDDEN * HIDDEN].view(HIDDEN, HIDDEN)


def columns(rng, state, d):
    block = fill(rng, (HIDDEN, 3 * HIDDEN)).to(d)
    for i, name in enumerate((Q, K, V)):
        state[name] = block[:, i * HIDDEN:(i + 1) * HIDDEN]


def columns_overlapping(rng, state, d):
    block = fill(rng, (HIDDEN, 2 * HIDDEN)).to(d)
    at = rng.randint(1, HIDDEN - 1)
    state[Q], state[K] = block[:, :HIDDEN], block[:, at:at + HIDDEN]


def alternate(rng, state, d):
    block = fill(rng, (HIDDEN * 2, HIDDEN)).to(d)
    state[Q], state[K] = block[::2], block[1::2]


def transposed(rng, state, d):
    name = rng.choice([Q, EMBED, GATE])
    state[name] = state[name].t().contiguous().t()


def larger(rng, state, d):
    state[Q] = fill(rng, (HIDDEN + 5, HIDDEN)).to(d)[2:2 + HIDDEN]


def expanded(rng, state, d):
    name, shape = rng.choice([(NORM, (1,)), (Q, (1, HIDDEN)), (Q, (HIDDEN, 1))])
    state[name] = fill(rng, shape).to(d).expand(state[name].shape)


def overlaps_itself(rng, state, d):
    strides = rng.choice([(1, 1), (2, 1), (1, 2), (HIDDEN - 1, 1), (3, 2)])
    state[Q] = fill(rng, (HIDDEN * sum(strides),)).to(d).as_strided((HIDDEN, HIDDEN), strides)


def strides_beside(rng, state, d):
    strides = rng.choice([(HIDDEN + 3, 1), (1, HIDDEN), (9, 8), (2 * HIDDEN, 2), (1, HIDDEN + 2)])
    state[Q] = fill(rng, (HIDDEN * sum(strides),)).to(d).as_strided((HIDDEN, HIDDEN), strides)


def with_projector(rng, state, d):
    state[BIAS] = state[Q].reshape(-1)[8 * rng.randint(0, 7):][:HIDDEN]


def beside_projector(rng, state, d):
    block = fill(rng, (HIDDEN * HIDDEN + HIDDEN,)).to(d)
    state[Q], state[BIAS] = block[:HIDDEN * HIDDEN].view(HIDDEN, HIDDEN), block[HIDDEN * HIDDEN:]


def parameter(rng, state, d):
    state[Q] = torch.nn.Parameter(state[Q])


KINDS = [whole, whole_reshaped, packed, partial, columns, columns_overlapping, alternate, transposed, larger, expanded,
         overlaps_itself, strides_beside, with_projector, beside_projector, parameter]
# What is not float16 is converted to it, by the reference as by --dtype float16.
DTYPES = [torch.float16, torch.float16, torch.float16, torch.bfloat16, torch.float32]
OUTCOMES = ("the reference's file", "refused", "a warning of the file", "torch refuses", "tied by config",
            "base tied by config")


class Mismatch(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Mismatch(text)


def config_of(kind, **more):
    return kind(vocab_size=ROWS, hidden_size=HIDDEN, num_attention_heads=2, intermediate_size=HIDDEN,
                num_hidden_layers=1, max_position_embeddings=16, **more)


def save_pair(rng, directory, kind, dtype, tie):
    """Returns base's tensors and delta's as they were saved."""
    base = LlamaForCausalLM(config_of(LlamaConfig)).half()
    delta = reference.LlavaLlamaForCausalLM(config_of(reference.LlavaConfig, use_mm_proj=True, mm_hidden_size=3))
    base.save_pretrained(f"{directory}/base")
    delta.config.save_pretrained(f"{directory}/delta")
    tensors = {}
    for side, model in ("base", base), ("delta", delta):
        state = {name: torch.zeros_like(t) if name.endswith("inv_freq") and side == "delta" else
                 t.clone() if name.endswith("inv_freq") else fill(rng, t.shape).to(dtype if side == "delta" else t.dtype)
                 for name, t in model.state_dict().items()}
        if side == "delta":
            kind(rng, state, dtype)
        torch.save(state, f"{directory}/{side}/pytorch_model.bin")
        tensors[side] = state
    if tie is not None:
        path = f"{directory}/{tie}/config.json"
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "tie_word_embeddings": True}, file)
    return tensors["base"], tensors["delta"]


def run_reference(directory):
    """What the reference saves, or None where torch refuses to add."""
    try:
        reference.apply_delta(f"{directory}/base", f"{directory}/delta", f"{directory}/merged")
    except RuntimeError as error:
        expect("more than one element of the written-to tensor refers to a single memory location" in str(error),
               f"the reference fails: {error}")
        return None
    return torch.load(f"{directory}/merged/pytorch_model.bin")


def run_program(program, directory, form):
    arguments = [program, "--base", f"{directory}/base", "--delta", f"{directory}/delta", "--out",
                 f"{directory}/{form}", "--format", form, "--dtype", "float16", "--allow-unknown-base"]
    return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def same(got, want):
    return all(name.endswith("inv_freq") or checkpoints.difference(got[name], want[name]) is None for name in want)


def run_case(program, rng, directory, kind, dtype, tie):
    """The outcome. Raises Mismatch."""
    base, delta = save_pair(rng, directory, kind, dtype, tie)
    merged = run_reference(directory)
    want = {name: t.detach().half() + (base[name] if name in base else 0) for name, t in delta.items()}
    once = merged is None or same(merged, want)
    done = {form: run_program(program, directory, form) for form in ("safetensors", "torch")}
    if tie is not None or not once:
        expect(not once, "tied by config, and the reference gives base + delta")
        for form, result in done.items():
            expect(result.returncode == 3, f"exit status {result.returncode}, want 3: {result.stderr}")
            expect(("tie_word_embeddings" if tie else "share memory: the reference would add") in result.stderr,
                   f"the message is another: {result.stderr}")
            expect(not os.path.exists(f"{directory}/{form}"), "OUT is there")
        return "refused" if tie is None else "tied by config" if tie == "delta" else "base tied by config"
    for form, result in done.items():
        expect(result.returncode == 0, f"exit status {result.returncode}: {result.stderr}")
        expect(same(checkpoints.load(f"{directory}/{form}"), want), f"--format {form}: not base + delta")
    expect(WARNING not in done["safetensors"].stderr, "a warning of torch files without one being written")
    if merged is None:
        expect("with a stride of 0, to which the reference cannot add" in done["safetensors"].stderr, "no warning")
        return "torch refuses"
    if WARNING in done["torch"].stderr:
        return "a warning of the file"
    expect(filecmp.cmp(f"{directory}/torch/pytorch_model.bin", f"{directory}/merged/pytorch_model.bin", shallow=False),
           "pytorch_model.bin is not the reference's, and no warning says so")
    return "the reference's file"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=60)
    options = parser.parse_args()
    assert transformers.__version__ == "4.28.1" and torch.__version__.startswith("1.13"), "not the stack of 2023"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    program = os.path.abspath(options.program)
    n_failed, outcomes = 0, collections.Counter()
    for i in range(options.cases):
        rng = random.Random(options.seed + i)
        # Every kind in float16 first, then at random; a few with a config that ties.
        kind = KINDS[i] if i < len(KINDS) else rng.choice(KINDS)
        dtype = torch.float16 if i < len(KINDS) else rng.choice(DTYPES)
        tie = rng.choice(["delta", "base"]) if i >= len(KINDS) and i % 9 == 0 else None
        kind = parameter if tie is not None else kind
        about = f"case {options.seed + i}: {kind.__name__}, {dtype}, tied by config: {tie}"
        with tempfile.TemporaryDirectory() as directory:
            try:
                outcomes[run_case(program, rng, directory, kind, dtype, tie)] += 1
            except Mismatch as error:
                n_failed += 1
                print(f"{about}: {error}", flush=True)
            except Exception:
                n_failed += 1
                print(f"{about}: {traceback.format_exc()}", flush=True)
    for outcome in OUTCOMES:
        print(f"{outcomes[outcome]:4} {outcome}")
    n_failed += sum(outcomes[outcome] == 0 for outcome in OUTCOMES)
    print(f"{options.cases - n_failed} passed, {n_failed} failed")
    return 0 if n_failed == 0 and options.cases > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
