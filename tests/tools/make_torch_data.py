#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/torch/good: files that torch.save writes, and what torch.load says they hold.

    make_torch_data.py write FOLDER    writes FOLDER (1.13, 2.6, ...) with the torch that runs it
    make_torch_data.py legacy FOLDER   writes FOLDER (legacy-1.13...) with the torch that runs it: form before torch 1.6
    make_torch_data.py rezip           writes `rezipped` from 1.13/plain_half.pt with other archivers (needs zip(1))
    make_torch_data.py expect          reads every file with torch.load and rewrites expected.tsv (torch 2.x)

Zip files of torch are reproducible: a second run gives the same bytes. Legacy files hold memory addresses and are not;
legacy-python2 is made by make_torch_python2.py. The committed folders were written by
torch 1.13.0a0 (Debian 12), 2.6.0 (Debian 13) and 2.14.1 on CPU.

expected.tsv has three kinds of rows, fields separated by tabs, in the order in which the file's pickle has them:
    file     PATH  N_TENSORS  N_STORAGES
    storage  DTYPE  N_ELEMS  HAS_CRC  SHA256          (bytes as they are in the file)
    tensor   NAME  DTYPE  SHAPE  STRIDES  OFFSET  STORAGE  CONTIGUOUS   (lists: "3,4", "-" when empty)
"""

import collections
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

import torch

GOOD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "torch", "good")
HALF = torch.float16
LEGACY = ["plain_half", "mixed", "od_metadata", "shared_views", "transposed", "empty", "emptydict", "scalar0d",
          "parameter", "tied", "many40", "nested"]


def seq(*shape, dtype=HALF, start=0):
    n = 1
    for size in shape:
        n *= size
    return ((torch.arange(n, dtype=torch.float32) + start) * 0.37 - 3).to(dtype).reshape(*shape)


SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, 65504.0, -65504.0, 6e-8, 6.1e-5, float("inf"), float("-inf"), float("nan")], dtype=torch.float32
)


def module_state():
    torch.manual_seed(0)
    layers = collections.OrderedDict(
        lin=torch.nn.Linear(3, 4),
        ln=torch.nn.LayerNorm(4),
        bn=torch.nn.BatchNorm1d(4),
        sub=torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False)),
    )
    return torch.nn.Sequential(layers).half().state_dict()


def views():
    x = seq(4, 6)
    return {
        "base": x,
        "row2": x[2],
        "col3": x[:, 3],
        "block": x[1:3, 2:5],
        "again": x,
        "flatview": x.view(24)[5:9],
    }


def tied():
    w = seq(5, 3)
    return {"emb.weight": w, "head.weight": w.detach()}


def llama_shard():
    """A LLaMA shard in miniature: real names, real order, F16 weights with F32 inv_freq."""
    out = {"model.embed_tokens.weight": seq(16, 8)}
    for layer in range(2):
        p = f"model.layers.{layer}."
        for n in "qkvo":
            out[p + f"self_attn.{n}_proj.weight"] = seq(8, 8, start=layer)
        out[p + "self_attn.rotary_emb.inv_freq"] = 1.0 / (10000 ** (torch.arange(0, 4, 2).float() / 4))
        out[p + "mlp.gate_proj.weight"] = seq(12, 8)
        out[p + "mlp.down_proj.weight"] = seq(8, 12)
        out[p + "mlp.up_proj.weight"] = seq(12, 8)
        out[p + "input_layernorm.weight"] = seq(8)
        out[p + "post_attention_layernorm.weight"] = seq(8)
    return out


def mixed():
    return {
        "h": seq(3),
        "f": seq(3, dtype=torch.float32),
        "bf": seq(3, dtype=torch.bfloat16),
        "d": seq(3, dtype=torch.float64),
        "l": torch.tensor([0, -1, 2**62, -(2**63)]),
        "i": torch.tensor([1, -2], dtype=torch.int32),
        "s": torch.tensor([1, -2], dtype=torch.int16),
        "c": torch.tensor([1, -2], dtype=torch.int8),
        "u": torch.tensor([1, 254], dtype=torch.uint8),
        "o": torch.tensor([True, False, True]),
    }


def objects():
    plain = {"w": seq(3, 4), "b": seq(4, start=9), "special": SPECIAL.to(HALF)}
    expanded = torch.zeros(1, dtype=HALF)
    parameters = {
        "p": torch.nn.Parameter(seq(2, 2)),
        "q": torch.nn.Parameter(seq(3, dtype=torch.float32), requires_grad=False),
    }
    strided = {"t": seq(3, 5).t(), "perm": seq(2, 3, 4).permute(2, 0, 1), "expand": seq(1, 3).expand(4, 3)}
    empty = {
        "e": torch.empty(0, dtype=HALF),
        "e2": torch.empty(0, 3, dtype=HALF),
        "e3": torch.empty(2, 0, 4),
        "x": seq(2),
    }
    return {
        "plain_half": plain,
        "bf16": {"w": seq(2, 5, dtype=torch.bfloat16), "special": SPECIAL.to(torch.bfloat16)},
        "float32": {"w": seq(2, 5, dtype=torch.float32), "special": SPECIAL},
        "mixed": mixed(),
        "od_metadata": module_state(),
        "shared_views": views(),
        "transposed": strided,
        "empty": empty,
        "emptydict": {},
        "scalar0d": {"s": torch.tensor(1.5, dtype=HALF), "n": torch.tensor(7)},
        "parameter": parameters,
        "requires_grad": {"r": torch.ones(2, requires_grad=True)},
        "single": {"only": seq(5)},
        "rank5": {"t": seq(1, 2, 1, 3, 1), "r4": seq(1, 2, 2, 1)},
        "tied": tied(),
        "many40": {f"model.layers.{i}.w": seq(2, 2, start=i) for i in range(40)},
        "expanded": {
            "big": expanded.expand(2**31, 1),
            "u16": expanded.expand(65535, 2),
            "i32": expanded.expand(65536, 1),
        },
        "crc0": {"x": torch.tensor([0x9D, 0x0A, 0xD9, 0x6D], dtype=torch.uint8)},
        "pytorch_model-00001-of-00002": llama_shard(),
    }


def write(folder):
    out = os.path.join(GOOD, folder)
    os.makedirs(out, exist_ok=True)
    plain = objects()["plain_half"]
    small = {"a": torch.arange(6).half().view(2, 3), "e": torch.empty(0)}
    for name, value in objects().items():
        torch.save(value, os.path.join(out, name + (".bin" if name.startswith("pytorch_") else ".pt")))
    memory = io.BytesIO()
    torch.save(plain, memory)
    with open(os.path.join(out, "plain_half_bytesio.pt"), "wb") as file:
        file.write(memory.getvalue())
    # The folder inside the archive comes from the file's name; the repository has ASCII names alone.
    with tempfile.TemporaryDirectory() as scratch:
        torch.save(small, os.path.join(scratch, "\u00e9.pt"))
        shutil.move(os.path.join(scratch, "\u00e9.pt"), os.path.join(out, "utf8_folder.pt"))
    if hasattr(torch.serialization, "set_crc32_options"):
        torch.serialization.set_crc32_options(False)
        torch.save(small, os.path.join(out, "crc_off.pt"))
        torch.serialization.set_crc32_options(True)
    if hasattr(torch.serialization, "skip_data"):
        with torch.serialization.skip_data():
            torch.save(small, os.path.join(out, "skip_data.pt"))
    try:
        from torch.utils.serialization import config
    except ImportError:
        config = None
    if config is not None and hasattr(config.save, "storage_alignment"):
        with config.patch("save.storage_alignment", 256):
            torch.save(small, os.path.join(out, "align256.pt"))


def legacy(folder):
    out = os.path.join(GOOD, folder)
    os.makedirs(out, exist_ok=True)
    made = objects()
    made["nested"] = {"epoch": 3, "loss": 0.25, "args": ["a", None, (1, 2.5)], "model": module_state()}
    for name in LEGACY:
        torch.save(made[name], os.path.join(out, name + ".pt"), _use_new_zipfile_serialization=False)


class Unseekable(io.RawIOBase):
    """What zipfile writes into with data descriptors."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)

    def close(self):
        self.file.close()


def rezip():
    out = os.path.join(GOOD, "rezipped")
    os.makedirs(out, exist_ok=True)
    with zipfile.ZipFile(os.path.join(GOOD, "1.13", "plain_half.pt")) as source:
        records = [(name, source.read(name)) for name in source.namelist()]
    for target in open(os.path.join(out, "zipfile.pt"), "wb"), Unseekable(os.path.join(out, "streamed.pt")):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name, data in records:
                archive.writestr(zipfile.ZipInfo(name, (2023, 7, 1, 12, 0, 0)), data)
        target.close()
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in records:
            path = os.path.join(scratch, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.utime(path, (1688212800, 1688212800))
        for root, folders, _ in os.walk(scratch):
            for folder in folders:
                os.utime(os.path.join(root, folder), (1688212800, 1688212800))
        path = os.path.join(scratch, "out.zip")
        subprocess.run(["zip", "-q", "-0", "-r", path, "plain_half"], cwd=scratch, check=True)
        shutil.move(path, os.path.join(out, "infozip.pt"))


def list_text(values):
    return ",".join(str(v) for v in values) or "-"


def storage_bytes(storage):
    return bytes(torch.tensor([], dtype=torch.uint8).set_(storage).numpy()) if storage.nbytes() else b""


def stored_crcs(path):
    """Storage key -> CRC-32 in the central directory."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        return {i.filename.split("/data/")[-1]: i.CRC for i in archive.infolist() if "/data/" in i.filename}


def expect():
    rows = []
    for folder in sorted(os.listdir(GOOD)):
        if not os.path.isdir(os.path.join(GOOD, folder)):
            continue
        for name in sorted(os.listdir(os.path.join(GOOD, folder))):
            path = os.path.join(GOOD, folder, name)
            # What Python 2 wrote is not for weights_only; these files are our own.
            tensors = torch.load(path, weights_only="python2" not in folder, map_location="cpu")
            for key in "state_dict", "model":
                if isinstance(tensors.get(key), dict) and tensors[key]:
                    tensors = tensors[key]
                    break
            crcs = stored_crcs(path)
            storages = {}
            for tensor in tensors.values():
                storage = tensor.untyped_storage()
                storages.setdefault(storage._cdata, (len(storages), tensor, storage))
            rows.append(["file", f"{folder}/{name}", len(tensors), len(storages)])
            for index, tensor, storage in storages.values():
                # torch numbers storages in the order in which it meets them.
                has_crc = int(bool(crcs) and (storage.nbytes() == 0 or crcs[str(index)] != 0))
                digest = hashlib.sha256(storage_bytes(storage)).hexdigest()
                n = storage.nbytes() // tensor.element_size()
                rows.append(["storage", str(tensor.dtype)[6:], n, has_crc, digest])
            for key, t in tensors.items():
                index = storages[t.untyped_storage()._cdata][0]
                contiguous = int(t.is_contiguous())
                shape = list_text(t.shape)
                rows.append(
                    [
                        "tensor",
                        key,
                        str(t.dtype)[6:],
                        shape,
                        list_text(t.stride()),
                        t.storage_offset(),
                        index,
                        contiguous,
                    ]
                )
    with open(os.path.join(GOOD, "expected.tsv"), "w", newline="\n") as file:
        for row in rows:
            file.write("\t".join(str(field) for field in row) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "write":
        write(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "legacy":
        legacy(sys.argv[2])
    elif sys.argv[1:] == ["rezip"]:
        rezip()
    elif sys.argv[1:] == ["expect"]:
        expect()
    else:
        sys.exit(__doc__)
