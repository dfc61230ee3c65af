# SPDX-License-Identifier: Apache-2.0
"""The reference: what LLaVA's scripts of 2023 do to merge (apply_delta) and to make a delta (make_delta).

Written anew from their semantics, on the library that they ran on (transformers 4.28.1): both models are loaded as
float16 with low_cpu_mem_usage, a loop over the delta's state dict adds the base to it, what only the delta has must be
the projector, embeddings that grew get the base in their top left corner, and the delta's model is saved.

LlavaLlamaForCausalLM is what that class is for a state dict: a LLaMA with one linear layer, mm_projector, on its model.
"""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel

PROJECTOR = ("model.mm_projector.weight", "model.mm_projector.bias")
EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")


class LlavaConfig(LlamaConfig):
    model_type = "llava"


class LlavaLlamaModel(LlamaModel):
    config_class = LlavaConfig

    def __init__(self, config):
        super().__init__(config)
        if hasattr(config, "use_mm_proj"):
            self.mm_projector = torch.nn.Linear(config.mm_hidden_size, config.hidden_size)


class LlavaLlamaForCausalLM(LlamaForCausalLM):
    config_class = LlavaConfig

    def __init__(self, config):
        super(LlamaForCausalLM, self).__init__(config)
        self.model = LlavaLlamaModel(config)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


AutoConfig.register("llava", LlavaConfig)
AutoModelForCausalLM.register(LlavaConfig, LlavaLlamaForCausalLM)


def load_base(path):
    return AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float16, low_cpu_mem_usage=True)


def load_delta(path):
    return LlavaLlamaForCausalLM.from_pretrained(path, torch_dtype=torch.float16, low_cpu_mem_usage=True)


def combine(model, base, sign):
    """model's parameters += sign * base's, by the reference's rules; what make_delta and apply_delta share."""
    base_tensors = base.state_dict()
    for name, tensor in model.state_dict().items():
        if name not in base_tensors:
            assert name in PROJECTOR, f"{name} not in the base"
            continue
        if tensor.data.shape == base_tensors[name].shape:
            tensor.data += sign * base_tensors[name]
        else:
            assert name in EMBEDDINGS, f"{name}: {tensor.shape}, base {base_tensors[name].shape}"
            rows, columns = base_tensors[name].shape
            tensor.data[:rows, :columns] += sign * base_tensors[name]


def apply_delta(base_path, delta_path, target_path, max_shard_size="10GB"):
    """target = base + delta, saved by save_pretrained; returns the model."""
    base, delta = load_base(base_path), load_delta(delta_path)
    combine(delta, base, 1)
    delta.save_pretrained(target_path, max_shard_size=max_shard_size)
    return delta


def make_delta(base_path, target_path, delta_path, max_shard_size="10GB", dtype=torch.float16):
    """delta = target - base, saved by save_pretrained in `dtype`."""
    base, target = load_base(base_path), load_delta(target_path)
    combine(target, base, -1)
    if dtype != torch.float16:
        # Module.to() would take the rotary buffers along; the loader that follows rounds them through float16 anyway.
        target.to(dtype)
        target.config.torch_dtype = dtype
    target.save_pretrained(delta_path, max_shard_size=max_shard_size)
