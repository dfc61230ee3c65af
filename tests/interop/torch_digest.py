# SPDX-License-Identifier: Apache-2.0
"""What a torch loads from the .bin files of a directory, with weights_only=True, as one SHA-256: for comparing torches.

With --again it is the SHA-256 of the files' own: of each .bin as this torch saves what it loaded from it, under the same
name.

Usage: torch_digest.py [--again] <DIRECTORIES, one path a line; a hash a line comes back.
"""

import hashlib
import os
import sys
import tempfile

import torch

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bins_of(directory):
    return sorted(name for name in os.listdir(directory) if name.endswith(".bin"))


def digest(directory):
    sha256 = hashlib.sha256()
    for file in bins_of(directory):
        for name, tensor in torch.load(os.path.join(directory, file), weights_only=True).items():
            sha256.update(repr((file, name, str(tensor.dtype), tuple(tensor.shape), tensor.stride())).encode())
            sha256.update(tensor.reshape(-1).view(INTEGERS[tensor.element_size()]).numpy())
    return sha256.hexdigest()


def digest_of_files(directory, saved=lambda source, scratch: source):
    sha256 = hashlib.sha256()
    with tempfile.TemporaryDirectory() as scratch:
        for name in bins_of(directory):
            path = saved(os.path.join(directory, name), os.path.join(scratch, name))
            sha256.update(name.encode())
            with open(path, "rb") as file:
                while data := file.read(1 << 24):
                    sha256.update(data)
            if path.startswith(scratch):
                os.unlink(path)
    return sha256.hexdigest()


def save_again(source, scratch):
    torch.save(dict(torch.load(source, weights_only=True)), scratch)
    return scratch


if __name__ == "__main__":
    for line in sys.stdin:
        one = line.rstrip("\n")
        print(digest_of_files(one, save_again) if "--again" in sys.argv else digest(one), flush=True)
