#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/published: the small files beside published merges, byte for byte, as their SHA-256 tells.

    make_published_data.py

LLaMA in Hugging Face form (transformers 4.29.2, as susumuota/local-llm-setup lists it) and Vicuna v1.1 (4.28.1).
config.json and generation_config.json come from transformers 4.28.1 itself (tests/interop/requirements-reference.txt),
told to sign as 4.29.2 where that one wrote them; the tokenizer's two JSON files are written from what they say.
Nothing is left there whose hash is not the published one. sums holds the hashes, one line "SHA256  MODEL/FILE" each.
"""
import hashlib
import json
import os
import tempfile

import torch
import transformers
from transformers import GenerationConfig, LlamaConfig

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "published")
SHAPES = {  # hidden, feed forward, heads, layers, rms_norm_eps
    "7b": (4096, 11008, 32, 32, 1e-6),
    "13b": (5120, 13824, 40, 40, 1e-6),
    "30b": (6656, 17920, 52, 60, 1e-6),
    "65b": (8192, 22016, 64, 80, 1e-5),
}
GENERATION = {"4.28.1": "062a37a6d986c38231880f5cce4fa9a0145aeefcf8be9ab23ddf7d600c037aea",
              "4.29.2": "69fcce14a485ff201e7a3bbd90970b71a55b71653f236af98dd99eaae5a0cf1c"}
TOKENIZER = {"special_tokens_map.json": "ff3b4a612c4e447acb02d40071bddd989fe0da87eb5b7fe0dbadfc4f74de7531",
             "tokenizer_config.json": "516c6167c884793a738c440e29ccb80c15e1493ffc965affc69a1a8ddef4572a"}
MODELS = {  # size, version of transformers, _name_or_path, SHA-256 of config.json
    "llama-7b": ("7b", "4.29.2", None, "67a11fd7ff965c176e53e306db9f4fe60411b5e924085c224989e563d050faed"),
    "llama-13b": ("13b", "4.29.2", None, "9d12950651bb4f977ea510054ca1780666d6ba1e5796948987a81742170df322"),
    "llama-30b": ("30b", "4.29.2", None, "0cf642345192e73a8b05ef25ae41d5882f7119aa7608195932a55865295fd5ea"),
    "llama-65b": ("65b", "4.29.2", None, "af5b889e4252aa2119b16b8be71f0049d6a5d65806b21ea2aa312ec3c051e675"),
    "vicuna-7b-v1.1": ("7b", "4.28.1", "7B", "fa5c427326be24e1d048b2d0b29e4cdaf1c1e425a7fd45f1fa33568d532acf93"),
    "vicuna-13b-v1.1": ("13b", "4.28.1", "13B", "c264d91f19bb1247f4054e65f5d546cf45db124146e7011f46c31248f3786cda"),
}


def sign_as(version):
    transformers.configuration_utils.__version__ = version
    transformers.generation.configuration_utils.__version__ = version


def config_files(size, version, name):
    hidden, feed_forward, heads, layers, eps = SHAPES[size]
    sign_as(version)
    config = LlamaConfig(hidden_size=hidden, intermediate_size=feed_forward, num_attention_heads=heads,
                         num_hidden_layers=layers, rms_norm_eps=eps, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config.architectures, config.torch_dtype = ["LlamaForCausalLM"], torch.float16
    if name is not None:
        config._name_or_path = name
    with tempfile.TemporaryDirectory() as directory:
        config.save_pretrained(directory)
        GenerationConfig.from_model_config(config).save_pretrained(directory)
        return {file: open(os.path.join(directory, file), "rb").read() for file in sorted(os.listdir(directory))}


def token(content, **more):
    return {**more, "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def tokenizer_files():
    typed = {"__type": "AddedToken"}
    contents = {
        "special_tokens_map.json": {"bos_token": token("<s>"), "eos_token": token("</s>"), "unk_token": token("<unk>")},
        "tokenizer_config.json": {
            "add_bos_token": True, "add_eos_token": False, "bos_token": token("<s>", **typed),
            "clean_up_tokenization_spaces": False, "eos_token": token("</s>", **typed), "model_max_length": int(1e30),
            "pad_token": None, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
            "unk_token": token("<unk>", **typed)},
    }
    return {name: (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
            for name, content in contents.items()}


def main():
    assert transformers.__version__ == "4.28.1"
    sums = []
    for model, (size, version, name, config_sha256) in MODELS.items():
        want = {"config.json": config_sha256, "generation_config.json": GENERATION[version], **TOKENIZER}
        os.makedirs(os.path.join(DATA, model), exist_ok=True)
        for file, data in {**config_files(size, version, name), **tokenizer_files()}.items():
            assert hashlib.sha256(data).hexdigest() == want[file], f"{model}/{file}:\n{data.decode()}"
            with open(os.path.join(DATA, model, file), "wb") as out:
                out.write(data)
            sums.append(f"{want[file]}  {model}/{file}\n")
    with open(os.path.join(DATA, "sums"), "w", encoding="ascii") as out:
        out.writelines(sums)


if __name__ == "__main__":
    main()
