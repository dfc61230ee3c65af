#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/refused: what people give instead of weights, written by the programs that really write it.

    python3 tests/tools/make_refused_data.py tests/data/refused

Needs numpy, torch, safetensors, h5py, msgpack, onnx and gguf. The four GGML forms of 2023 have no writer left; their
headers follow llama.cpp's ggml.h and llama-file.h of May 2023 (magic, version, hyper-parameters, all little-endian).
The same command gives the same files, but for the time stamps inside the HDF5 file.
"""
import argparse
import json
import pathlib
import shutil
import struct

import gguf
import h5py
import msgpack
import numpy
import onnx
import torch
from safetensors.numpy import save_file

LAYER = "model.layers.0.self_attn.q_proj"
GGML = {"ggml": 0x67676D6C, "ggmf": 0x67676D66, "ggjt": 0x67676A74, "ggla": 0x67676C61}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def write_config(folder, **extra):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **extra}, indent=2) + "\n")


def folder_of(root, name):
    folder = root / name
    folder.mkdir(parents=True)
    return folder


def make_downloads(root):
    """What servers and half-done downloads leave under the name of a weights file."""
    folder = folder_of(root, "downloads")
    oid = "0123456789abcdef" * 4
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 13476939516\n"
    (folder / "lfs.safetensors").write_text(pointer)
    (folder / "html.bin").write_text("<!doctype html>\n<html><head><title>401</title></head></html>\n")
    (folder / "json.bin").write_text('{"error":"Access to model org/name is restricted."}')
    (folder / "xml.safetensors").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>\n')
    (folder / "text.safetensors").write_text("Entry not found")
    (folder / "empty.bin").write_bytes(b"")
    (folder / "zeros.bin").write_bytes(bytes(600))
    save_file({LAYER + ".weight": numpy.zeros((4, 4), numpy.float16)}, folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "whole.safetensors").unlink()
    (folder / "truncated.safetensors").write_bytes(whole[:-9])
    (folder / "model.safetensors.incomplete").write_bytes(whole[:-9])
    torch.save({LAYER + ".weight": torch.zeros(4, 4).half()}, folder / "truncated.bin")
    whole = (folder / "truncated.bin").read_bytes()
    (folder / "truncated.bin").write_bytes(whole[: len(whole) // 2])
    pointers = folder_of(root, "lfs-pointers")
    (pointers / "model.safetensors").write_text(pointer)
    write_config(pointers)
    partial = folder_of(root, "incomplete")
    (partial / "model.safetensors.incomplete").write_bytes(b"\x10")
    write_config(partial)


def make_gguf(root):
    folder = folder_of(root, "gguf")
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((4, 4), numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    folder = folder_of(root, "ggml")
    for name, magic in GGML.items():
        version = b"" if name == "ggml" else struct.pack("<I", 1)
        parameters = struct.pack("<7I", 32000, 4096, 256, 32, 32, 128, 1)
        (folder / f"ggml-{name}.bin").write_bytes(struct.pack("<I", magic) + version + parameters)


def make_other_frameworks(root):
    folder = folder_of(root, "tensorflow")
    with h5py.File(folder / "tf_model.h5", "w") as file:
        file.create_dataset("q_proj/kernel:0", data=numpy.zeros((2, 2), numpy.float16))
    write_config(folder)
    folder = folder_of(root, "tensorflow-ckpt")
    footer = struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "model.ckpt.index").write_bytes(b"\x00\x00\x01\x02\x01" + bytes(40) + footer)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(bytes(range(1, 9)))
    folder = folder_of(root, "flax")
    array = msgpack.ExtType(1, msgpack.packb(((2, 2), "float16", bytes(8))))
    (folder / "flax_model.msgpack").write_bytes(msgpack.packb({"model": {"layers": {"0": {"kernel": array}}}}))
    write_config(folder)
    folder = folder_of(root, "onnx")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g",
                                   [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [2])],
                                   [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, [2])])
    onnx.save(onnx.helper.make_model(graph, producer_name="pytorch"), folder / "model.onnx")


def make_quantised(root):
    """Names and dtypes as AutoGPTQ, AutoAWQ and bitsandbytes (through transformers) save them."""
    packed = {LAYER + ".qweight": numpy.zeros((1, 8), numpy.int32), LAYER + ".qzeros": numpy.zeros((1, 1), numpy.int32),
              LAYER + ".scales": numpy.zeros((1, 8), numpy.float16)}
    folder = folder_of(root, "gptq")
    save_file({**packed, LAYER + ".g_idx": numpy.zeros(8, numpy.int32)}, folder / "model.safetensors")
    write_config(folder, quantization_config={"bits": 4, "quant_method": "gptq"})
    folder = folder_of(root, "awq")
    save_file(packed, folder / "model.safetensors")
    write_config(folder, quantization_config={"bits": 4, "quant_method": "awq"})
    folder = folder_of(root, "bitsandbytes-8bit")
    save_file({LAYER + ".weight": numpy.zeros((4, 4), numpy.int8), LAYER + ".SCB": numpy.zeros(4, numpy.float32)},
              folder / "model.safetensors")
    write_config(folder, quantization_config={"load_in_8bit": True, "quant_method": "bitsandbytes"})
    folder = folder_of(root, "bitsandbytes-4bit")
    save_file({LAYER + ".weight": numpy.zeros((8, 1), numpy.uint8),
               LAYER + ".weight.absmax": numpy.zeros(1, numpy.float32),
               LAYER + ".weight.quant_map": numpy.zeros(16, numpy.float32),
               LAYER + ".weight.quant_state.bitsandbytes__nf4": numpy.zeros(4, numpy.uint8)},
              folder / "model.safetensors")
    write_config(folder)


def make_adapters(root):
    lora = {f"base_model.{LAYER}.lora_{side}.weight": numpy.zeros((2, 2), numpy.float32) for side in "AB"}
    folder = folder_of(root, "lora")
    save_file(lora, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}\n')
    folder = folder_of(root, "lora-bin")
    torch.save({name: torch.from_numpy(array) for name, array in lora.items()}, folder / "adapter_model.bin")
    folder = folder_of(root, "tokenizer")
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    (folder / "tokenizer_config.json").write_text("{}\n")
    write_config(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    root = parser.parse_args().folder
    shutil.rmtree(root, ignore_errors=True)
    torch.manual_seed(0)
    make_downloads(root)
    make_gguf(root)
    make_other_frameworks(root)
    make_quantised(root)
    make_adapters(root)


if __name__ == "__main__":
    main()
