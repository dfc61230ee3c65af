# SPDX-License-Identifier: Apache-2.0
"""Digests of tensors against llama.cpp's files: GGUF written and read by the package gguf.

llama.cpp's gguf-hash prints a SHA-256 of each tensor's bytes, in lines like those of llavamed-inspect --digests. It leaves
dtype and shape out, and its converter permutes and converts tensors, so that the two can be compared where a tensor is
stored as it was: the digest of docs/digests.md is then the SHA-256 of one line of text and the bytes that GGUF holds, with the
shape read backwards, as GGUF has it.

Usage: gguf_digests.py --program PATH [--seed N]
Ends with "N passed, N failed".
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile

import gguf
import numpy
import safetensors.torch
import torch

FORMS = {torch.float16: ("F16", gguf.GGMLQuantizationType.F16), torch.float32: ("F32", gguf.GGMLQuantizationType.F32),
         torch.bfloat16: ("BF16", gguf.GGMLQuantizationType.BF16)}
SHAPES = {"token_embd.weight": (37, 64), "blk.0.attn_q.weight": (64, 64), "blk.0.ffn_up.weight": (96, 64),
          "output_norm.weight": (64,), "cube": (3, 5, 32)}


def write_gguf(path, tensors):
    writer = gguf.GGUFWriter(path, "llama")
    for name, tensor in tensors.items():
        raw = tensor.contiguous().view(torch.uint8).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        writer.add_tensor(name, numpy.ascontiguousarray(raw), raw_dtype=FORMS[tensor.dtype][1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def digests_of_gguf(path):
    """{name: digest}, of what the package reads."""
    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        shape = ",".join(str(int(n)) for n in reversed(list(tensor.shape)))
        dtype = gguf.GGMLQuantizationType(tensor.tensor_type).name
        found[tensor.name] = hashlib.sha256(f"{dtype} [{shape}]\n".encode() + tensor.data.tobytes()).hexdigest()
    return found


def digests_of_program(program, path):
    lines = subprocess.run([program, "--digests", path], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: digest for kind, digest, name in (line.split("  ", 2) for line in lines) if name != "(model)"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for dtype, (name, _) in FORMS.items():
            tensors = {key: torch.randn(shape).to(dtype) for key, shape in SHAPES.items()}
            llama, ours = (os.path.join(scratch, f"{name}.{suffix}") for suffix in ("gguf", "safetensors"))
            write_gguf(llama, tensors)
            safetensors.torch.save_file(tensors, ours)
            want, got = digests_of_gguf(llama), digests_of_program(options.program, ours)
            for key in SHAPES:
                if want.get(key) == got.get(key) and key in want:
                    passed += 1
                else:
                    failed += 1
                    print(f"FAILED {name} {key}: got {got.get(key)}, want {want.get(key)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
