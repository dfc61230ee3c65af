#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/cli: tiny bases and deltas, written by the real torch and safetensors, and what their sums must be.

    python3 tests/tools/make_cli_data.py tests/data/cli

Needs torch, numpy, safetensors and huggingface_hub. Every expected file is computed here by torch and written by safetensors
and huggingface_hub; expected.sha256 holds their digests, one line "DIGEST  CASE/FILE" each. --keep DIR also leaves the
expected files themselves in DIR.
"""
import argparse
import hashlib
import json
import pathlib
import shutil
import tempfile

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

HIDDEN, HEADS, FFN, LAYERS, VOCAB, NEW_ROWS, VISION = 8, 2, 24, 2, 16, 3, 12
INV_FREQ = "rotary_emb.inv_freq"
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def base_shapes():
    """Names in the order of the modules, as transformers of 2023 lists them."""
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name in "qkvo":
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = (HIDDEN, HIDDEN)
        shapes[f"{prefix}self_attn.{INV_FREQ}"] = (HIDDEN // HEADS // 2,)
        shapes[f"{prefix}mlp.gate_proj.weight"] = (FFN, HIDDEN)
        shapes[f"{prefix}mlp.down_proj.weight"] = (HIDDEN, FFN)
        shapes[f"{prefix}mlp.up_proj.weight"] = (FFN, HIDDEN)
        shapes[f"{prefix}input_layernorm.weight"] = (HIDDEN,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (HIDDEN,)
    shapes["model.norm.weight"] = (HIDDEN,)
    shapes["lm_head.weight"] = (VOCAB, HIDDEN)
    return shapes


def make_base(generator):
    base = {}
    for name, shape in base_shapes().items():
        if name.endswith(INV_FREQ):
            n = shape[0]
            base[name] = 1.0 / (10000.0 ** (torch.arange(0, n).float() / n))  # exact float32: rounding is the tool's job
        else:
            base[name] = (torch.randn(shape, generator=generator) * 0.3).half()
    return base


def make_delta(base, generator):
    """Target minus base in half precision, three new rows, a projector before lm_head."""
    delta = {}
    for name, tensor in base.items():
        if name == "lm_head.weight":
            delta["model.mm_projector.weight"] = torch.randn((HIDDEN, VISION), generator=generator).half()
            delta["model.mm_projector.bias"] = torch.randn((HIDDEN,), generator=generator).half()
        if name.endswith(INV_FREQ):
            delta[name] = torch.zeros_like(tensor)
        elif tuple(tensor.shape) == (VOCAB, HIDDEN):
            grown = torch.randn((VOCAB + NEW_ROWS, HIDDEN), generator=generator).half()
            grown[:VOCAB] = torch.randn(tensor.shape, generator=generator).half() * 0.01
            delta[name] = grown
        else:
            delta[name] = torch.randn(tensor.shape, generator=generator).half() * 0.01
    return delta


def merged(base, delta, dtype=None, inv_freq="keep"):
    """What the reference computes: both operands in the result's dtype, one addition, inv_freq float32 of rounded values."""
    out = {}
    for name, tensor in delta.items():
        target = dtype or tensor.dtype
        if name.endswith(INV_FREQ):
            through = dtype or torch.float16
            if inv_freq == "keep":
                out[name] = base[name].to(through).float() + tensor.to(through).float()
            continue
        result = tensor.to(target).clone()
        if name in base:
            operand = base[name].to(target)
            if operand.shape == result.shape:
                result += operand
            else:
                result[: operand.shape[0], : operand.shape[1]] += operand
        out[name] = result
    return out


def write_safetensors(tensors, folder):
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_sharded(tensors, folder, max_shard_size):
    folder.mkdir(parents=True)
    save_torch_state_dict(tensors, folder, max_shard_size=max_shard_size)


def write_bin(tensors, folder, n_shards):
    """As transformers of 2023 saves: pytorch_model.bin, or shards with a sorted index that ends in a newline."""
    folder.mkdir(parents=True)
    if n_shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    names = list(tensors)
    cut = [len(names) * i // n_shards for i in range(n_shards + 1)]
    weight_map = {}
    for i in range(n_shards):
        file_name = f"pytorch_model-{i + 1:05d}-of-{n_shards:05d}.bin"
        shard = {name: tensors[name] for name in names[cut[i] : cut[i + 1]]}
        torch.save(shard, folder / file_name)
        weight_map.update(dict.fromkeys(shard, file_name))
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (folder / "pytorch_model.bin.index.json").write_text(text)


def config_text(vocab, architecture, model_type):
    config = {
        "architectures": [architecture],
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "model_type": model_type,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "torch_dtype": "float16",
        "vocab_size": vocab,
    }
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def write_small_files(folder):
    """What lies beside the weights of a delta: what is copied, and what is not."""
    files = {
        "config.json": config_text(VOCAB + NEW_ROWS, "LlavaLlamaForCausalLM", "llava"),
        "generation_config.json": '{\n  "bos_token_id": 1,\n  "eos_token_id": 2\n}\n',
        "special_tokens_map.json": '{\n  "bos_token": "<s>"\n}\n',
        "tokenizer_config.json": '{\n  "model_max_length": 2048\n}\n',
        "added_tokens.json": '{\n  "<im_end>": 18,\n  "<im_patch>": 16,\n  "<im_start>": 17\n}\n',
        "README.md": "---\nlicense: other\n---\n# Delta of a test\n",
        "LICENSE": "The licence of the delta.\n",
        "SHA256SUMS": f"{'0' * 64}  pytorch_model.bin\n",
        "train.py": "raise SystemExit('never copied')\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "tokenizer.model").write_bytes(bytes(range(256)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    root = arguments.folder
    shutil.rmtree(root, ignore_errors=True)
    generator = torch.Generator().manual_seed(20230601)
    base = make_base(generator)
    delta = make_delta(base, generator)

    write_safetensors(base, root / "base")
    (root / "base" / "config.json").write_text(config_text(VOCAB, "LlamaForCausalLM", "llama"))
    write_sharded(base, root / "base-sharded", "2KB")
    write_bin(base, root / "base-bin", 1)
    write_bin(delta, root / "delta", 2)
    write_small_files(root / "delta")
    write_safetensors(delta, root / "delta-safetensors")
    write_small_files(root / "delta-safetensors")

    wrong = {name: tensor for name, tensor in base.items() if not name.endswith("v_proj.weight")}
    wrong["model.norm.weight"] = torch.ones(HIDDEN + 1).half()
    wrong["model.surplus.weight"] = torch.ones(3).half()
    write_safetensors(wrong, root / "base-wrong")
    many = {f"extra.{i:02d}": torch.ones(1).half() for i in range(30)}
    write_safetensors({**base, **many}, root / "base-thirty-too-many")
    larger = dict(base)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        larger[name] = torch.ones((VOCAB + NEW_ROWS + 1, HIDDEN)).half()
    write_safetensors(larger, root / "base-larger-vocabulary")
    projector = {**base, "model.mm_projector.weight": delta["model.mm_projector.weight"].clone()}
    write_safetensors(projector, root / "base-with-projector")
    special = {name: tensor.clone() for name, tensor in base.items()}
    special["model.norm.weight"][:3] = torch.tensor([float("nan"), float("inf"), 65504.0])
    write_safetensors(special, root / "base-nan")

    expected = []
    keep = arguments.keep or pathlib.Path(tempfile.mkdtemp())
    cases = {"delta": {}, "drop": {"inv_freq": "drop"}}
    cases.update({name: {"dtype": dtype} for name, dtype in DTYPES.items()})
    for case, options in cases.items():
        write_safetensors(merged(base, delta, **options), keep / case)
    write_sharded(merged(base, delta), keep / "sharded", "3KB")
    for path in sorted(keep.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            expected.append(f"{digest}  {path.relative_to(keep).as_posix()}\n")
    (root / "expected.sha256").write_text("".join(expected))
    if arguments.keep is None:
        shutil.rmtree(keep)


if __name__ == "__main__":
    main()
