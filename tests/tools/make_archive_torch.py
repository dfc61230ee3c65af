#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/archive_torch: torch files in archives, deflated, and what torch.load says they hold.

    make_archive_torch.py write      writes the archives that hold files of the torch that runs it (1.13..., 2.13...)
    make_archive_torch.py rezip      writes those that hold a torch file packed again by other archivers (needs zip(1))
    make_archive_torch.py expect     reads every file with torch.load and rewrites expected.tsv (torch 2.x)

The committed archives were written by torch 1.13.0a0 and 2.13.0 on CPU. expected.tsv: ARCHIVE NAME DTYPE SHAPE SHA256,
separated by tabs; only tensors that have elements, only of archives that are read
in place.
"""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile

import torch

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "archive_torch")
MEMBER = "delta/pytorch_model.bin"
WHEN = (2023, 6, 1, 0, 0, 0)
HALF = torch.float16


def pack(name, content):
    """One deflated member, as a script would pack a delta."""
    with zipfile.ZipFile(os.path.join(OUT, name + ".zip"), "w") as archive:
        info = zipfile.ZipInfo(MEMBER, WHEN)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, content)


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def seq(*shape, dtype=HALF, start=0):
    n = 1
    for size in shape:
        n *= size
    return ((torch.arange(n, dtype=torch.float32) % 4093 + start) * 0.37 - 3).to(dtype).reshape(*shape)


def files():
    # Beside the nested checkpoint: storages of 1.5 MB that nothing refers to, before and behind those that matter.
    beside = {"exp_avg": torch.zeros(400000), "step": torch.tensor(3.0)}
    yield "nested_big", {"ema": {"w": beside["exp_avg"].clone()}, "model": {"w": seq(5, 7), "b": seq(7)}, "optimizer": beside}
    yield "offsets", {"a": seq(100)[10:30].reshape(4, 5), "b": seq(3000, dtype=torch.float32)[2999:], "c": seq(8)[:1]}
    yield "empty", {
        "none": torch.empty(0, dtype=HALF), "w": seq(3, 3), "rows": torch.empty(0, 4), "part": seq(6)[2:2],
        "scalar": torch.tensor(1.5, dtype=HALF), "last": torch.empty(2, 0),
    }
    # A pickle above 4 KiB whose names hold the signatures of zip, one of them at the end of a page of 4096.
    names = {"layers.%d.weight" % i: seq(3, start=i) for i in range(30)}
    names.update({"PK\7\x08%s" % ("x" * (4 * i)): seq(2, start=i) for i in range(24)})
    names["PK\3\4PK\1\2PK\5\6"] = seq(9)
    yield "signatures", names
    yield "large", {"big": seq(700, 800), "small": seq(3), "other": seq(300, 400, dtype=torch.bfloat16)}


def shuffled(content, order, method, path, **how):
    with zipfile.ZipFile(io.BytesIO(content)) as old, open(path, "wb") as file:
        target = type("Pipe", (), {"write": file.write, "flush": file.flush})() if how.get("pipe") else file
        with zipfile.ZipFile(target, "w") as new:
            for name in order(old.namelist()):
                info = zipfile.ZipInfo(name, WHEN)
                info.compress_type = method
                with new.open(info, "w", force_zip64=how.get("zip64", False)) as member:
                    member.write(old.read(name))


def rezip():
    content = saved({"w": seq(5, 7), "b": seq(11), "scale": torch.tensor(2.0)})
    first = lambda names: sorted(names, key=lambda name: (not name.endswith("/data.pkl"), name))
    last = lambda names: sorted(names, key=lambda name: (name.endswith("/data.pkl"), name))
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "m.bin")
        for name, order, how in (
            ("rezip_sizes", first, {}),
            ("rezip_zip64", first, {"zip64": True}),
            ("rezip_pipe", first, {"pipe": True}),
            ("rezip_pipe64", first, {"pipe": True, "zip64": True}),
            ("pickle_last", last, {}),
        ):
            shuffled(content, order, zipfile.ZIP_STORED, path, **how)
            with open(path, "rb") as file:
                pack(name, file.read())
        # zip(1), zip64 forced, data.pkl named first.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = first(archive.namelist())
            archive.extractall(work)
        for name in names:
            os.utime(os.path.join(work, name), (1685577600, 1685577600))
        for name, option in (("rezip_infozip64", "-fz"), ("rezip_infozip", "-fz-")):
            os.remove(path)
            subprocess.run(["zip", "-q", "-0", "-X", option, path, *names], cwd=work, check=True)
            with open(path, "rb") as file:
                pack(name, file.read())


def tensors_of(value):
    for inner in "model", "state_dict":
        value = value.get(inner, value) if isinstance(value, dict) else value
    return value


def expect():
    rows = []
    for file_name in sorted(os.listdir(OUT)):
        if not file_name.endswith(".zip") or file_name.startswith("pickle_last"):
            continue
        with zipfile.ZipFile(os.path.join(OUT, file_name)) as archive:
            content = archive.read(MEMBER)
        for name, tensor in tensors_of(torch.load(io.BytesIO(content), weights_only=True)).items():
            if tensor.numel() == 0:
                continue
            raw = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            shape = ",".join(map(str, tensor.shape)) or "-"
            dtype = str(tensor.dtype).replace("torch.", "")
            rows.append([file_name, name.encode("unicode_escape").decode(), dtype, shape, hashlib.sha256(raw).hexdigest()])
    with open(os.path.join(OUT, "expected.tsv"), "w") as file:
        file.writelines("\t".join(row) + "\n" for row in rows)


os.makedirs(OUT, exist_ok=True)
if sys.argv[1:] == ["write"]:
    version = ".".join(torch.__version__.split(".")[:2])
    for name, value in files():
        pack(f"{name}-{version}", saved(value))
elif sys.argv[1:] == ["rezip"]:
    rezip()
elif sys.argv[1:] == ["expect"]:
    expect()
else:
    sys.exit(__doc__)
