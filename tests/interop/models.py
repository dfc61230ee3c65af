# SPDX-License-Identifier: Apache-2.0
"""Random pairs of base and delta: mixed dtypes, odd shapes, hard values, names from LLaMA and from nowhere."""

import collections
import random

import torch

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
# torch.save writes these in a form of its own, outside of what weights files hold; safetensors knows them.
UNSIGNED = [getattr(torch, name) for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)]

SPECIAL = [0.0, -0.0, 1.0, -1.0, 65504.0, -65504.0, 65520.0, 6.0e-8, -6.0e-8, 3.0e-8, 6.1e-5, 6.0e-5, 3.4e38, -3.4e38,
           1.0e-38, 1.0e-40, -1.0e-45, 1.0e-310, 1.0e308, 2049.0, 0.33325, float("inf"), float("-inf"), float("nan")]


class Maker:
    """Draws everything from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)

    def floats(self, shape, dtype):
        """Mostly weights as they are; sometimes all kinds of values; sometimes any bits at all."""
        kind = self.random.choice(["weights", "weights", "special", "bits"])
        if kind == "bits":
            size = torch.empty(0, dtype=dtype).element_size()
            raw = torch.randint(0, 256, (*shape, size), dtype=torch.uint8, generator=self.torch)
            return raw.view(dtype).reshape(shape)
        values = torch.randn(shape, dtype=torch.float64, generator=self.torch) * 10.0 ** self.random.randint(-5, 2)
        if kind == "special":
            choice = torch.randint(0, len(SPECIAL), shape, generator=self.torch)
            mask = torch.rand(shape, generator=self.torch) < 0.5
            values = torch.where(mask, torch.tensor(SPECIAL, dtype=torch.float64)[choice], values)
        return values.to(dtype)

    def integers(self, shape, dtype):
        raw = torch.randint(0, 256, (*shape, 8), dtype=torch.uint8, generator=self.torch)
        if dtype == torch.bool:
            return (raw[..., 0] & 1).bool()
        size = torch.empty(0, dtype=dtype).element_size()
        return raw[..., :size].contiguous().view(dtype).reshape(shape)

    def tensor(self, shape, dtype):
        return self.floats(shape, dtype) if dtype in FLOATS else self.integers(shape, dtype)

    def shape(self):
        rank = self.random.choice([0, 1, 1, 2, 2, 2, 3, 4, 5])
        return tuple(self.random.choice([0, 1, 1, 2, 3, 5, 7, 8, 17, 31]) if self.random.random() < 0.9
                     else self.random.randint(32, 130) for _ in range(rank))

    def name(self):
        alphabet = self.random.choice([
            "abcdefghijklmnopqrstuvwxyz._0123456789", "ABab01._-/ ", "\"\\'/{}[]:, ", "äöüßéЖя漢字😀𝔘",
            "\x01\x1f\n\t\x7f a\u2028\ufeff",
        ])
        return "".join(self.random.choice(alphabet) for _ in range(self.random.randint(1, 24)))

    def foreign_pair(self, allow_unsigned):
        """Tensors of any name, shape and dtype; every name on both sides."""
        base, delta = {}, {}
        dtypes = FLOATS * 3 + INTEGERS + (UNSIGNED if allow_unsigned else [])
        for _ in range(self.random.randint(1, 40)):
            name, shape, dtype = self.name(), self.shape(), self.random.choice(dtypes)
            delta[name] = self.tensor(shape, dtype)
            base[name] = self.tensor(shape, self.random.choice(FLOATS) if dtype in FLOATS else dtype)
        return self.shuffled(base), self.shuffled(delta)

    def bool_pair(self):
        """As foreign_pair, about half of it bools of odd sizes."""
        base, delta = {}, {}
        for i in range(self.random.randint(1, 40)):
            dtype = torch.bool if self.random.random() < 0.5 else self.random.choice(FLOATS + INTEGERS)
            shape = self.shape() if self.random.random() < 0.5 else (self.random.randint(0, 300),)
            name = f"{self.random.choice(['mask', 'weight', 'b'])}.{i}"
            delta[name], base[name] = self.tensor(shape, dtype), self.tensor(shape, dtype)
        return self.shuffled(base), self.shuffled(delta)

    def shuffled(self, tensors):
        names = list(tensors)
        self.random.shuffle(names)
        return collections.OrderedDict((name, tensors[name]) for name in names)

    def llama_names(self, n_layers, hidden, ffn, rows, n_freq):
        """Name and shape of a LLaMA's tensors in module order; n_freq 0: no rotary buffers."""
        yield "model.embed_tokens.weight", (rows, hidden)
        for i in range(n_layers):
            for part in "qkvo":
                yield f"model.layers.{i}.self_attn.{part}_proj.weight", (hidden, hidden)
            if n_freq:
                yield f"model.layers.{i}.self_attn.rotary_emb.inv_freq", (n_freq,)
            yield f"model.layers.{i}.mlp.gate_proj.weight", (ffn, hidden)
            yield f"model.layers.{i}.mlp.down_proj.weight", (hidden, ffn)
            yield f"model.layers.{i}.mlp.up_proj.weight", (ffn, hidden)
            yield f"model.layers.{i}.input_layernorm.weight", (hidden,)
            yield f"model.layers.{i}.post_attention_layernorm.weight", (hidden,)
        yield "model.norm.weight", (hidden,)
        yield "lm_head.weight", (rows, hidden)

    def llama_pair(self):
        """A LLaMA and a LLaVA-like delta: grown vocabulary, projector, rotary buffers on either side or none."""
        n_layers, hidden = self.random.randint(1, 12), self.random.choice([2, 6, 8, 13, 16, 32])
        ffn, rows = self.random.choice([3, 11, 24, 43]), self.random.choice([1, 5, 32, 97])
        more = self.random.choice([0, 0, 1, 3, 4])
        wider = self.random.choice([0, 0, 0, 0, 2])
        base_dtype, delta_dtype = self.random.choice(FLOATS), self.random.choice(FLOATS)
        n_freq = self.random.choice([1, 3, 4, 16, 64])
        base_freq, delta_freq = self.random.choice([(0, 0), (n_freq, 0), (0, n_freq), (n_freq, n_freq)])
        base = collections.OrderedDict(
            (name, self.tensor(shape, base_dtype))
            for name, shape in self.llama_names(n_layers, hidden, ffn, rows, base_freq))
        delta = collections.OrderedDict(
            (name, self.tensor(shape, delta_dtype))
            for name, shape in self.llama_names(n_layers, hidden, ffn, rows, delta_freq))
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            delta[name] = self.tensor((rows + more, hidden + wider), delta_dtype)
        for name in list(delta):
            if name.endswith("inv_freq"):
                delta[name] = torch.zeros(n_freq, dtype=self.random.choice([delta_dtype, torch.float32]))
                if self.random.random() < 0.2:
                    delta[name] = self.tensor((n_freq,), torch.float32)
            elif self.random.random() < 0.03:
                # A stray tensor in another dtype, too small to be what the model is mostly made of.
                delta[name] = self.tensor(tuple(delta[name].shape), self.random.choice(FLOATS)) \
                    if delta[name].dim() == 1 else delta[name]
        if self.random.random() < 0.7:
            wide = self.random.choice([1, 5, 12])
            projector_dtype = self.random.choice([delta_dtype, self.random.choice(FLOATS)]) if wide < 12 else delta_dtype
            delta["model.mm_projector.weight"] = self.tensor((hidden, wide), projector_dtype)
            delta["model.mm_projector.bias"] = self.tensor((hidden,), projector_dtype)
        if self.random.random() < 0.2:
            extra, dtype = self.tensor((1, 7), torch.int64), torch.int64
            base["model.vision.position_ids"], delta["model.vision.position_ids"] = extra, self.tensor((1, 7), dtype)
        if self.random.random() < 0.4:
            base, delta = self.shuffled(base), self.shuffled(delta)
        return base, delta

    def tangled(self, tensors, overlapping):
        """The same tensors as a torch file may hold them: parameters, views into a larger or a shared storage. Only a
        base may have overlapping ones, which changes its values; those of a delta lie one behind the other."""
        out = type(tensors)()
        shared = shared_name = None
        for name, tensor in tensors.items():
            kind = self.random.choice(["plain", "plain", "parameter", "slice", "shared"])
            if kind == "parameter" and tensor.is_floating_point():
                tensor = torch.nn.Parameter(tensor)
            elif kind == "slice":
                block = self.tensor((tensor.numel() + 9,), tensor.dtype)
                block[4:4 + tensor.numel()] = tensor.reshape(-1)
                tensor = block[4:4 + tensor.numel()].reshape(tensor.shape)
            elif kind == "shared" and shared is not None and shared.dtype == tensor.dtype:
                if overlapping and shared.numel() >= tensor.numel() > 0:
                    tensor = shared.reshape(-1)[:tensor.numel()].reshape(tensor.shape)
                elif not overlapping:
                    block = torch.cat([shared.reshape(-1), tensor.reshape(-1)])
                    out[shared_name] = block[:shared.numel()].reshape(shared.shape)
                    tensor, shared = block[shared.numel():].reshape(tensor.shape), None
            elif kind == "plain":
                shared, shared_name = tensor, name
            out[name] = tensor
        return out

    def strided(self, tensors):
        """The same tensors, some of them transposed in storage; None when none of them can be."""
        wide = [name for name, t in tensors.items() if t.dim() >= 2 and min(t.shape[:2]) > 1 and t.numel()]
        if not wide:
            return None
        out = type(tensors)(tensors)
        for name in self.random.sample(wide, self.random.randint(1, len(wide))):
            out[name] = tensors[name].transpose(0, 1).contiguous().transpose(0, 1)
        return out
