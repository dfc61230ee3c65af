#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints whose headers are real and whose data are holes: what planning is measured with.

make_sparse.py DIR 65b        DIR/base of 14 shards, DIR/delta of 8: the tensors of LLaMA 65B and its LLaVA delta, each
                              matrix an eighth as wide and as high, so that planning finds room for the output
make_sparse.py DIR COUNT      DIR/base and DIR/delta of one file each, with COUNT tensors of 4 x 4

With --hub also as snapshots in a Hugging Face cache, DIR/hub, where every file is a link to a blob. The holes take no
space. The files next to the weights are the few that a checkpoint has. Only Python's own library is needed.
"""
import hashlib
import json
import os
import struct
import sys

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def layer(number, width, inner):
    prefix = f"model.layers.{number}."
    shapes = {f"self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
    shapes |= {"mlp.gate_proj.weight": (inner, width), "mlp.up_proj.weight": (inner, width)}
    shapes |= {"mlp.down_proj.weight": (width, inner)}
    shapes |= {"input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def llama_65b(rows, projector):
    width, inner = 8192 // 8, 22016 // 8
    tensors = {"model.embed_tokens.weight": (rows, width), "model.norm.weight": (width,), "lm_head.weight": (rows, width)}
    for number in range(80):
        tensors |= layer(number, width, inner)
    if projector:
        tensors |= {"model.mm_projector.weight": (width, 1024), "model.mm_projector.bias": (width,)}
    return tensors


def n_bytes(shape):
    n = 2
    for size in shape:
        n *= size
    return n


def write_shard(path, tensors):
    header, offset = {}, 0
    for name in sorted(tensors):
        end = offset + n_bytes(tensors[name])
        header[name] = {"dtype": "F16", "shape": list(tensors[name]), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)


def cut(tensors, n_shards):
    """As many shards, filled in order of names up to their share of the bytes."""
    total = sum(n_bytes(shape) for shape in tensors.values())
    shards, done = [{} for _ in range(n_shards)], 0
    for name in sorted(tensors):
        shards[min(n_shards - 1, done * n_shards // total)][name] = tensors[name]
        done += n_bytes(tensors[name])
    return shards


def write_checkpoint(directory, tensors, n_shards, config):
    os.makedirs(directory)
    for name, text in config.items():
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write(text)
    shards = cut(tensors, n_shards)
    if n_shards == 1:
        write_shard(os.path.join(directory, "model.safetensors"), shards[0])
        return
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{n_shards:05}.safetensors"
        write_shard(os.path.join(directory, name), shard)
        weight_map |= dict.fromkeys(shard, name)
    total = sum(n_bytes(shape) for shape in tensors.values())
    with open(os.path.join(directory, "model.safetensors.index.json"), "w", encoding="ascii") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=2, sort_keys=True)


def write_snapshot(root, name, directory):
    """The same files again as the hub's cache keeps them: blobs by hash (here: of the name), links to them."""
    repository = os.path.join(root, "models--" + name.replace("/", "--"))
    snapshot = os.path.join(repository, "snapshots", COMMIT)
    for folder in (os.path.join(repository, "blobs"), os.path.join(repository, "refs"), snapshot):
        os.makedirs(folder)
    with open(os.path.join(repository, "refs", "main"), "w", encoding="ascii") as file:
        file.write(COMMIT)
    for file in os.listdir(directory):
        is_large = file.endswith(".safetensors")
        blob = (hashlib.sha256 if is_large else hashlib.sha1)(file.encode()).hexdigest()
        os.link(os.path.join(directory, file), os.path.join(repository, "blobs", blob))
        os.symlink(f"../../blobs/{blob}", os.path.join(snapshot, file))


def main(arguments):
    hub = "--hub" in arguments
    directory, what = [argument for argument in arguments if argument != "--hub"]
    small = {"config.json": '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16"}\n',
             "generation_config.json": "{}\n", "special_tokens_map.json": "{}\n", "tokenizer_config.json": "{}\n",
             "tokenizer.model": "x\n", "README.md": "x\n"}
    base, delta = os.path.join(directory, "base"), os.path.join(directory, "delta")
    if what == "65b":
        write_checkpoint(base, llama_65b(32000, False), 14, small)
        write_checkpoint(delta, llama_65b(32003, True), 8, small)
    else:
        tensors = {f"model.layers.{i // 10}.block.{i % 10}.weight": (4, 4) for i in range(int(what))}
        write_checkpoint(base, tensors, 1, small)
        write_checkpoint(delta, tensors, 1, small)
    if hub:
        write_snapshot(os.path.join(directory, "hub"), "org/base", base)
        write_snapshot(os.path.join(directory, "hub"), "org/delta", delta)


if __name__ == "__main__":
    main(sys.argv[1:])
