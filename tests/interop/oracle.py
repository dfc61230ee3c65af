# SPDX-License-Identifier: Apache-2.0
"""What the merge must be, computed by torch on a CPU: both operands converted to the result's dtype, added once.

The rules are those of LLaVA's apply_delta (its loop runs over the delta's state dict) and of the command line; how
elements are converted and added is left to torch.
"""

import collections
import re

import torch

from checkpoints import FLOATS

INV_FREQ = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
LAYER_PARTS = [
    "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
    "self_attn.rotary_emb.inv_freq", "mlp.gate_proj.weight", "mlp.down_proj.weight", "mlp.up_proj.weight",
    "input_layernorm.weight", "post_attention_layernorm.weight",
]


def module_order(names):
    """LLaMA's names as its modules stand, then all others as they come."""
    n_layers = 1 + max((int(n.split(".")[2]) for n in names if re.match(r"model\.layers\.\d+\.", n)), default=-1)
    known = ["model.embed_tokens.weight"]
    known += [f"model.layers.{i}.{part}" for i in range(n_layers) for part in LAYER_PARTS]
    known += ["model.norm.weight", "model.mm_projector.weight", "model.mm_projector.bias", "lm_head.weight"]
    place = {name: i for i, name in enumerate(known)}
    return sorted(names, key=lambda name: place.get(name, len(known)))


def main_dtype(tensors):
    """The floating dtype that holds most elements, the rotary buffers aside."""
    n_elems = collections.Counter()
    for name, tensor in tensors.items():
        if tensor.dtype in FLOATS and not INV_FREQ.fullmatch(name):
            n_elems[tensor.dtype] += tensor.numel()
    return n_elems.most_common(1)[0][0] if n_elems else torch.float32


def inv_freq_formula(n):
    """As transformers' LlamaRotaryEmbedding computes it."""
    return 1.0 / (10000 ** (torch.arange(0, 2 * n, 2).float() / (2 * n)))


def merge(base, delta, dtype=None, drop_inv_freq=False):
    """The result's tensors in model order. dtype None: each tensor's own in the delta."""
    model_dtype = dtype or main_dtype(delta)
    result = collections.OrderedDict()
    for name in module_order(delta):
        d = delta[name].detach()
        if INV_FREQ.fullmatch(name):
            if not drop_inv_freq:
                b = base[name].detach() if name in base else inv_freq_formula(d.numel())
                result[name] = b.to(model_dtype).float() + d.to(model_dtype).float()
            continue
        if d.dtype not in FLOATS:
            result[name] = d.clone(memory_format=torch.contiguous_format)
            continue
        r = d.to(dtype or d.dtype, copy=True)
        if name in base:
            b = base[name].detach().to(r.dtype)
            if b.shape == r.shape:
                r = r + b
            else:
                assert name in ("model.embed_tokens.weight", "lm_head.weight"), name
                r[:b.shape[0], :b.shape[1]] += b
        else:
            assert name.startswith("model.mm_projector."), name
        result[name] = r.clone(memory_format=torch.contiguous_format)
    return result
