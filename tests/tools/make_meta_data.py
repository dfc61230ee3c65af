#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/meta: tiny checkpoints in the layout of Meta's original release, and what they are in Hugging Face's.

    python3 tests/tools/make_meta_data.py tests/data/meta

Needs torch 2 and safetensors. The shards are made first, each with its own numbers; the whole tensors are then joined as
transformers' convert_llama_weights_to_hf.py (4.28) joins them: rows or columns side by side, wq and wk through its
permute(). `expected.txt` has a line SET NAME DTYPE SHAPE SHA256 for each of them, the digest over the little-endian,
row-major bytes. `two` is a parent folder with 13B inside; hf-base is the same model in Hugging Face's form and delta one
for both, for merges.
"""
import hashlib
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file

MULTIPLE_OF = 32
LAYERS = 2
expected = []


class Form:
    """A model: how many shards, of what size, and how torch.save came to see its tensors."""

    def __init__(self, folder, shards, dim, heads, **options):
        self.folder, self.shards, self.dim, self.heads = folder, shards, dim, heads
        self.vocab = options.get("vocab", 16)
        self.dtype = options.get("dtype", torch.float16)
        self.views = options.get("views", False)  # the tensors of a layer are views of one storage
        self.transposed = options.get("transposed", False)  # every matrix lies transposed in its storage
        self.rope = options.get("rope", "layers")
        self.params = options.get("params", {})
        self.ffn = (2 * 4 * dim // 3 + MULTIPLE_OF - 1) // MULTIPLE_OF * MULTIPLE_OF


def make_shard(form, generator, norms):
    """One shard's state dict, in the order of Meta's modules."""
    dim, part, ffn = form.dim, form.dim // form.shards, form.ffn // form.shards

    def random(*shape):
        return torch.randn(*shape, generator=generator).to(form.dtype)

    freqs = (1.0 / 10000 ** (torch.arange(0, dim // form.heads, 2).float() * form.heads / dim)).half()
    shard = {"tok_embeddings.weight": random(form.vocab, part)}
    if form.rope == "top":
        shard["rope.freqs"] = freqs
    for layer in range(LAYERS):
        prefix = f"layers.{layer}."
        shapes = {"attention.wq": (part, dim), "attention.wk": (part, dim), "attention.wv": (part, dim),
                  "attention.wo": (dim, part), "feed_forward.w1": (ffn, dim), "feed_forward.w2": (dim, ffn),
                  "feed_forward.w3": (ffn, dim)}
        tensors = {f"{prefix}{name}.weight": random(*shape) for name, shape in shapes.items()}
        for name in ("attention_norm", "ffn_norm"):
            tensors[f"{prefix}{name}.weight"] = norms[f"{prefix}{name}"].clone()
        if form.rope == "layers":
            tensors[f"{prefix}attention.inner_attention.rope.freqs"] = freqs.clone()
        if form.views:
            same = {name: tensor for name, tensor in tensors.items() if tensor.dtype == form.dtype}
            storage = torch.cat([tensor.reshape(-1) for tensor in same.values()])
            at = 0
            for name, tensor in same.items():
                tensors[name] = storage[at : at + tensor.numel()].view(tensor.shape)
                at += tensor.numel()
        shard.update(tensors)
    shard["norm.weight"] = norms["norm"].clone()
    shard["output.weight"] = random(form.vocab // form.shards, dim)
    if form.transposed:
        shard = {name: tensor.t().contiguous().t() for name, tensor in shard.items()}
    return shard


def convert(form, shards):
    def permute(weight):
        heads, dim = form.heads, form.dim
        return weight.view(heads, dim // heads // 2, 2, dim).transpose(1, 2).reshape(dim, dim)

    def rows(name):
        return torch.cat([shard[name] for shard in shards], dim=0)

    def columns(name):
        return torch.cat([shard[name] for shard in shards], dim=1)

    whole = {"model.embed_tokens.weight": columns("tok_embeddings.weight")}
    for layer in range(LAYERS):
        own, hf = f"layers.{layer}.", f"model.layers.{layer}."
        whole[f"{hf}self_attn.q_proj.weight"] = permute(rows(f"{own}attention.wq.weight"))
        whole[f"{hf}self_attn.k_proj.weight"] = permute(rows(f"{own}attention.wk.weight"))
        whole[f"{hf}self_attn.v_proj.weight"] = rows(f"{own}attention.wv.weight")
        whole[f"{hf}self_attn.o_proj.weight"] = columns(f"{own}attention.wo.weight")
        whole[f"{hf}mlp.gate_proj.weight"] = rows(f"{own}feed_forward.w1.weight")
        whole[f"{hf}mlp.down_proj.weight"] = columns(f"{own}feed_forward.w2.weight")
        whole[f"{hf}mlp.up_proj.weight"] = rows(f"{own}feed_forward.w3.weight")
        whole[f"{hf}input_layernorm.weight"] = shards[0][f"{own}attention_norm.weight"]
        whole[f"{hf}post_attention_layernorm.weight"] = shards[0][f"{own}ffn_norm.weight"]
    whole["model.norm.weight"] = shards[0]["norm.weight"]
    whole["lm_head.weight"] = rows("output.weight")
    return {name: tensor.contiguous().clone() for name, tensor in whole.items()}


def write_checklist(path, names):
    """As `md5sum NAMES` prints."""
    with open(path, "w", encoding="ascii") as out:
        for name in names:
            with open(os.path.join(os.path.dirname(path), name), "rb") as file:
                out.write(f"{hashlib.md5(file.read()).hexdigest()}  {name}\n")


def write_model(root, form, seed):
    generator = torch.Generator().manual_seed(seed)
    names = [f"layers.{layer}.{name}" for layer in range(LAYERS) for name in ("attention_norm", "ffn_norm")] + ["norm"]
    norms = {name: (torch.randn(form.dim, generator=generator) * 0.1 + 0.5).to(form.dtype) for name in names}
    folder = os.path.join(root, form.folder)
    os.makedirs(folder)
    shards = [make_shard(form, generator, norms) for _ in range(form.shards)]
    for i, shard in enumerate(shards):
        torch.save(shard, f"{folder}/consolidated.{i:02d}.pth")
    params = {"dim": form.dim, "multiple_of": MULTIPLE_OF, "n_heads": form.heads, "n_layers": LAYERS,
              "norm_eps": 1e-06, "vocab_size": -1, **form.params}
    with open(f"{folder}/params.json", "w", encoding="ascii") as file:
        json.dump(params, file)
    write_checklist(f"{folder}/checklist.chk", [f"consolidated.{i:02d}.pth" for i in range(form.shards)] + ["params.json"])
    whole = convert(form, shards)
    dtype = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}[form.dtype]
    for name, tensor in whole.items():
        digest = hashlib.sha256(tensor.view(torch.uint8).numpy().tobytes()).hexdigest()
        expected.append(f"{form.folder} {name} {dtype} {'x'.join(map(str, tensor.shape))} {digest}")
    return whole


def write_pair(folder, base, heads):
    """A delta of 2023 for the base: zeros for inv_freq, grown embeddings, a projector."""
    generator = torch.Generator().manual_seed(99)
    delta = {}
    for name, tensor in base.items():
        change = (torch.randn(tensor.shape, generator=generator) * 0.01).half()
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            change = torch.cat([change, torch.randn(3, tensor.shape[1], generator=generator).half()])
        delta[name] = change
        if name.endswith("o_proj.weight"):
            inv_freq = name.replace("o_proj.weight", "rotary_emb.inv_freq")
            delta[inv_freq] = torch.zeros(tensor.shape[0] // heads // 2)
    dim = base["model.norm.weight"].shape[0]
    delta["model.mm_projector.weight"] = torch.randn(dim, 12, generator=generator).half()
    delta["model.mm_projector.bias"] = torch.randn(dim, generator=generator).half()
    config = {"architectures": ["LlavaLlamaForCausalLM"], "hidden_size": dim, "model_type": "llava",
              "torch_dtype": "float16"}
    for name, tensors in (("hf-base", base), ("delta", delta)):
        os.makedirs(f"{folder}/{name}")
        save_file(tensors, f"{folder}/{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"{folder}/delta/config.json", "w", encoding="ascii") as file:
        file.write(json.dumps(config, indent=2) + "\n")


def main():
    root = sys.argv[1]
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    write_model(root, Form("one", 1, 16, 2, views=True, rope="top"), 1)
    two = write_model(root, Form("two/13B", 2, 16, 4), 2)
    write_pair(root, two, 4)
    with open(f"{root}/two/tokenizer.model", "wb") as file:
        file.write(bytes(range(256)))
    write_checklist(f"{root}/two/tokenizer_checklist.chk", ["tokenizer.model"])
    write_model(root, Form("four", 4, 24, 4, views=True, vocab=20, params={"vocab_size": 20, "n_kv_heads": 4}), 3)
    write_model(root, Form("eight", 8, 32, 8, views=True, dtype=torch.bfloat16), 4)
    write_model(root, Form("transposed", 2, 8, 2, vocab=6, transposed=True), 5)
    with open(f"{root}/expected.txt", "w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in expected))


if __name__ == "__main__":
    main()
