#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the small files of a delta in this folder's delta/, with the real transformers: config.json as save_pretrained
writes it, with the fields that LLaVA's training adds, generation_config.json, and tokenizer side files."""

import json
import pathlib

from transformers import GenerationConfig, LlamaConfig

here = pathlib.Path(__file__).resolve().parent / "delta"
here.mkdir(exist_ok=True)

config = LlamaConfig(
    vocab_size=7,
    hidden_size=4,
    intermediate_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    architectures=["LlavaLlamaForCausalLM"],
    mm_vision_tower="openai/clip-vit-large-patch14",
    mm_hidden_size=3,
    use_mm_proj=True,
    mm_use_im_start_end=True,
)
text = json.loads(config.to_json_string(use_diff=True))
text.pop("dtype", None)
text["model_type"] = "llava"
text["torch_dtype"] = "float16"  # the key of the releases that wrote the real deltas
(here / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")

GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0).save_pretrained(here)
(here / "added_tokens.json").write_text(
    json.dumps({"[PAD]": 3, "<im_patch>": 4, "<im_start>": 5, "<im_end>": 6}, indent=2) + "\n"
)
(here / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}, indent=2) + "\n")
