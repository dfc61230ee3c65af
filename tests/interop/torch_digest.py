# SPDX-License-Identifier: Apache-2.0
"""What a torch loads from the .bin files of a directory, with weights_only=True, as one SHA-256: for comparing torches.

Usage: torch_digest.py <DIRECTORIES, one path a line; a hash a line comes back.
"""

import hashlib
import os
import sys

import torch

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def digest(directory):
    sha256 = hashlib.sha256()
    for file in sorted(name for name in os.listdir(directory) if name.endswith(".bin")):
        for name, tensor in torch.load(os.path.join(directory, file), weights_only=True).items():
            sha256.update(repr((file, name, str(tensor.dtype), tuple(tensor.shape), tensor.stride())).encode())
            sha256.update(tensor.reshape(-1).view(INTEGERS[tensor.element_size()]).numpy())
    return sha256.hexdigest()


if __name__ == "__main__":
    for line in sys.stdin:
        print(digest(line.rstrip("\n")), flush=True)
