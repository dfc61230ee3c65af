#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/torch_layout with the torch that runs it: torch 1.13 (Debian 12's python3-torch wrote what is here),
or torch 2.13, which makes cases-2.13.txt and huge-2.13.txt alone.

    make_torch_layout_data.py

cases.txt describes files, with the SHA-256 that torch.save's own have; the small ones lie beside it. huge.txt describes
files above 4 GiB, whose runs of zeros are left out: no such file is ever on the disk, nor its zeros in memory (half a
minute). The form of both: tests/unit/torch_case.h. tests/interop/torch_writer.py imports this.
"""

import hashlib
import io
import os
import tempfile

import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data", "torch_layout")
PROFILE = "1.13" if torch.__version__.startswith(("1.13", "2.0")) else "2.13"  # whose files they are
HOLE = 1 << 20
KEPT = 12000  # bytes of the largest file that is committed whole, when its name is not a long one

# safetensors' names of the dtypes that torch 1.13 has
DTYPES = {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "F16": torch.float16,
          "BF16": torch.bfloat16, "I32": torch.int32, "F32": torch.float32, "C64": torch.complex64,
          "F64": torch.float64, "I64": torch.int64}


def escape(text):
    return "".join(chr(b) if 0x20 <= b < 0x7f and b != 0x25 else f"%{b:02x}" for b in text.encode())


class Case:
    """A dict to be saved under file_name: tensors are (name, dtype, owner or None, shape)."""

    def __init__(self, file_name, tensors=(), many=None):
        self.file_name = file_name
        self.many = many  # (count, dtype)
        self.tensors = list(tensors)
        if many:
            self.tensors = [(f"k{i}", many[1], None, (1,)) for i in range(many[0])]

    def describe(self, n_bytes="-", sha256="-"):
        lines = [f"file\t{escape(self.file_name)}\t{n_bytes}\t{sha256}"]
        if self.many:
            lines.append(f"many\t{self.many[0]}\t{self.many[1]}")
        else:
            for name, dtype, owner, shape in self.tensors:
                lines.append("\t".join(["tensor", escape(name), dtype, "-" if owner is None else str(owner),
                                        ",".join(map(str, shape)) or "-"]))
        return "\n".join(lines) + "\nend\n"

    def make(self):
        """The dict, with data as torch_case.h says."""
        made = []
        for i, (_, dtype, owner, shape) in enumerate(self.tensors):
            made.append(make_tensor(i, DTYPES[dtype], shape) if owner is None else made[owner].view(shape))
            if self.tensors[i][0].startswith("PK") and owner is None and made[i].numel() > 0:
                front = bytes_of(made[i])[:4]
                front.copy_(torch.tensor([0x50, 0x4b, 7, 8], dtype=torch.uint8)[:front.numel()])
        # Names that are objects of their own, as those of a real state dict: never a literal of torch's source.
        return {bytes(name, "utf-8").decode(): tensor for (name, _, _, _), tensor in zip(self.tensors, made)}


def bytes_of(tensor):
    return tensor.reshape(-1).view(torch.uint8)


def make_tensor(i, dtype, shape):
    n_bytes = int(numpy.prod(shape, dtype=object)) * torch.empty(0, dtype=dtype).element_size()
    if n_bytes == 0:
        return torch.empty(shape, dtype=dtype)
    if n_bytes > HOLE:
        data = numpy.zeros(n_bytes, numpy.uint8)  # memory that is not there until it is written to
    else:
        k = numpy.arange(n_bytes, dtype=numpy.uint64)
        data = ((k * 7 + (k >> 8) * 31 + 13 * i) & 255).astype(numpy.uint8)
    return torch.from_numpy(data).view(dtype).reshape(shape)


class Sink:
    """A file for torch.save that keeps all but holes."""

    def __init__(self):
        self.kept = io.BytesIO()
        self.n_bytes = 0
        self.holes = []  # (offset, bytes)

    def write(self, data):
        if len(data) > HOLE:
            self.holes.append((self.n_bytes, len(data)))
        else:
            self.kept.write(data)
        self.n_bytes += len(data)
        return len(data)

    def flush(self):
        pass


def save(case, directory):
    """What torch.save writes for the case, as a file: its bytes."""
    path = os.path.join(directory, case.file_name)
    torch.save(case.make(), path)
    with open(path, "rb") as file:
        data = file.read()
    os.unlink(path)
    return data


def save_to_sink(case):
    """The same for a case above 4 GiB: torch names the folder "archive" then, whatever the file's name."""
    sink = Sink()
    torch.save(case.make(), sink)
    return sink


def cases():
    half = "F16"
    yield Case("emptydict.pt")
    yield Case("one.bin", [("weight", half, None, (2, 3))])
    yield Case("pytorch_model-00001-of-00002.bin", [
        ("model.embed_tokens.weight", half, None, (16, 8)),
        ("model.layers.0.self_attn.q_proj.weight", half, None, (8, 8)),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", None, (4,)), ("model.norm.weight", half, None, (8,))])
    yield Case("dtypes.pt", [(name, name, None, (3, 5)) for name in DTYPES])
    yield Case("ranks.pt", [(f"r{rank}", "I16", None, (1,) * (rank - 1) + (3,) * (rank > 0)) for rank in range(17)])
    yield Case("tied.pt", [("a", half, None, (4, 6)), ("b", "F32", None, (2,)), ("c", half, 0, (4, 6)),
                           ("d", half, 0, (24,)), ("e", "F32", 1, (1, 2)), ("f", half, None, (24,))])
    yield Case("empty.pt", [("e", half, None, (0, 3)), ("s", "F32", None, ()), ("f", half, None, (3, 0, 2)),
                            ("shared", half, 0, (3, 0)), ("last", half, None, (0,))])
    sizes = (255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**39 - 1, 2**39, 2**47, 2**55, 2**62,
             2**63 - 1)
    yield Case("integers.pt", [(f"n{n}", "U8", None, (0, n)) for n in sizes])
    yield Case("words.pt", [(name, half, None, (1,)) for name in
                            ("cpu", "storage", "0", "1", "torch", "naïve", "重み", "😀", "a\nb", " ", "%41", "\x01", "\\")])
    yield Case("a.b..pt", [("x" * n, "U8", None, (1,)) for n in (1, 255, 256, 1024)])
    yield Case("elements.pt", [(f"n{n}", "U8", None, (n,)) for n in (255, 256, 65535, 65536)])
    yield Case("elements64.pt", [(f"n{n}", "I64", None, (n,)) for n in (255, 256, 8191, 65535, 65536)])
    yield Case("F" * 255, [("x", "U8", None, (2,))])
    yield Case("memo40.pt", many=(40, half))  # memo index 255 to 256
    # Data that begins as a descriptor does, long enough to be taken for one by torch 2.1 and later, or too short.
    yield Case("signatures.pt", [(f"PK{n}", "U8", None, (n,)) for n in (4, 7, 8, 9, 100)] + [("PKh", half, None, (3, 5))])
    counts = [999, 1000, 1001, 2000, 2001, 65533, 65534, 65600]
    if PROFILE == "2.13":
        # The number of buckets grows; see src/format/torch_serialization_id.c.
        counts += [names - 5 + more for names in (13, 29, 59, 127, 257, 541, 1109, 2357, 5087) for more in (0, 1)]
    for n in counts:
        yield Case(f"many{n}.pt", many=(n, "U8"))


def huge_cases():
    """Every form of the headers: sizes and offsets around 2^32 - 1, in all combinations."""
    top = 2**32 - 1
    around = [("tiny", "U8", None, (9,)), ("none", "U8", None, (0,)), ("weights", "F16", None, (2, 3))]
    yield Case("archive.1", [("a", "U8", None, (top,))] + around +
               [("b", "U8", None, (top - 1,)), ("c", "U8", None, (top,)), ("d", "F32", None, (2,))])
    yield Case("archive.2", [("a", "U8", None, (2**31 - 1,)), ("b", "U8", None, (2**31,)), ("c", "U8", None, (5, 7))])
    yield Case("archive.3", [("a", "I64", None, (2**31, 1))] + around)
    # The second record's header just below, at and above 2^32 - 1: the first one's data begins at `start`.
    probe = Case("archive", [("a", "U8", None, (2**32 - 2000,))] + around)
    start = save_to_sink(probe).holes[0][0]
    for header in (top - 1, top, top + 1):
        yield Case("archive", [("a", "U8", None, (header - start - 16,))] + around)


def main():
    os.makedirs(DATA, exist_ok=True)
    suffix = "" if PROFILE == "1.13" else "-2.13"
    with tempfile.TemporaryDirectory() as directory, open(os.path.join(DATA, f"cases{suffix}.txt"), "w") as out:
        for case in cases():
            data = save(case, directory)
            out.write(case.describe(len(data), hashlib.sha256(data).hexdigest()))
            if PROFILE == "1.13" and len(data) <= KEPT and len(case.file_name) < 100:
                with open(os.path.join(DATA, case.file_name), "wb") as file:
                    file.write(data)
    with open(os.path.join(DATA, f"huge{suffix}.txt"), "w") as out:
        for case in huge_cases():
            sink = save_to_sink(case)
            assert sink.n_bytes - sum(n for _, n in sink.holes) == len(sink.kept.getvalue())
            out.write(case.describe(sink.n_bytes, hashlib.sha256(sink.kept.getvalue()).hexdigest()))


if __name__ == "__main__":
    main()
