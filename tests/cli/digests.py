# SPDX-License-Identifier: Apache-2.0
"""Digests of what llavamed-apply wrote, as docs/digests.md defines them, by hashlib, json, pickle, struct and zipfile.

digests.py hash DIR        prints "sha256  HEX  NAME" of every tensor in DIR's weights files, sorted by name, and the
                           model's, from the bytes of the files
digests.py recorded DIR    the same from DIR/llavamed-manifest.json
digests.py reported FILE   the same from a document of --json, or of an output in it
digests.py without DIR     the manifest's text without digests
digests.py pair DIR        makes DIR/base and DIR/delta: every dtype that can be merged or copied, scalars, tensors
                           without elements, embeddings that grow, rotary buffers, what the delta alone has
digests.py unseen FILE NAME   changes bits of a safetensors file's tensor in a way that its CRC-32 does not show
"""
import glob
import hashlib
import json
import os
import pickle
import random
import re
import struct
import sys
import zipfile

SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "U8": 1, "BOOL": 1}
STORAGES = {"HalfStorage": "F16", "BFloat16Storage": "BF16", "FloatStorage": "F32", "DoubleStorage": "F64",
            "CharStorage": "I8", "ShortStorage": "I16", "IntStorage": "I32", "LongStorage": "I64",
            "ByteStorage": "U8", "BoolStorage": "BOOL"}


def count(shape):
    n = 1
    for dimension in shape:
        n *= dimension
    return n


# ---- Reading ----


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    for name, row in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = row["data_offsets"]
            yield name, row["dtype"], row["shape"], data[start + begin:start + end]


class State(pickle.Unpickler):
    """{name: (dtype, storage key, first element, shape)}"""

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, *_: (*storage, offset, list(shape))
        return dict if name == "OrderedDict" else STORAGES[name]

    def persistent_load(self, pid):
        return pid[1], pid[2]


def read_torch(path):
    with zipfile.ZipFile(path) as archive:
        names = {name.split("/", 1)[1]: name for name in archive.namelist()}
        with archive.open(names["data.pkl"]) as file:
            state = State(file).load()
        for name, (dtype, key, offset, shape) in state.items():
            size = SIZES[dtype]
            yield name, dtype, shape, archive.read(names["data/" + key])[offset * size:(offset + count(shape)) * size]


def print_digests(rows):
    model = hashlib.sha256()
    for name, digest in sorted(rows, key=lambda row: row[0].encode()):
        print(f"sha256  {digest}  {name}")
        model.update(f"{digest}  {name}\0".encode())
    return model.hexdigest()


def hash_all(directory):
    rows = []
    for path in glob.glob(directory + "/*.safetensors") + glob.glob(directory + "/*.bin"):
        for name, dtype, shape, data in (read_torch if path.endswith(".bin") else read_safetensors)(path):
            text = f"{dtype} [{','.join(map(str, shape))}]\n".encode()
            rows.append((name, hashlib.sha256(text + data).hexdigest()))
    print("sha256  %s  (model)" % print_digests(rows))


def recorded(directory):
    with open(directory + "/llavamed-manifest.json", encoding="utf-8") as file:
        manifest = json.load(file)
    print_digests((row["name"], row["sha256"]) for row in manifest["tensors"])
    print("sha256  %s  (model)" % manifest["result"]["model_sha256"])


def reported(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)["result"]
    print_digests((row["name"], row["sha256"]) for row in result["digests"])
    print("sha256  %s  (model)" % result["model_sha256"])


def without(directory):
    with open(directory + "/llavamed-manifest.json", encoding="utf-8") as file:
        print(re.sub(r', "(sha256|model_sha256)": "[0-9a-f]{64}"(?=[,}] *["a-z]*)',
                     lambda found: found[0] if '"bytes"' in line_of(found) else "", file.read()), end="")


def line_of(found):
    text = found.string
    return text[text.rfind("\n", 0, found.start()) + 1:text.find("\n", found.start())]


# ---- Making ----


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, content) in sorted(tensors.items(), key=lambda item: -SIZES[item[1][0]]):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def content(dice, dtype, n, scale):
    if dtype in ("F16", "F32", "F64"):
        return struct.pack("<%d%s" % (n, {"F16": "e", "F32": "f", "F64": "d"}[dtype]),
                           *(dice.uniform(-scale, scale) for _ in range(n)))
    if dtype == "BF16":
        return b"".join(struct.pack("<f", dice.uniform(-scale, scale))[2:] for _ in range(n))
    return bytes(dice.randrange(2 if dtype == "BOOL" else 256) for _ in range(n * SIZES[dtype]))


def pair(directory):
    dice = random.Random(5)
    base, delta = {}, {}
    shapes = [[], [0, 3], [5], [3, 7], [2, 3, 4], [1, 1, 1, 1, 1, 1, 2]]
    for dtype in SIZES:
        for i, shape in enumerate(shapes):
            name = "x.%s.%d.\u00e4\"" % (dtype.lower(), i)
            for tensors, scale in ((base, 1), (delta, 0.01)):
                tensors[name] = dtype, shape, content(dice, dtype, count(shape), scale)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        base[name] = "F16", [6, 4], content(dice, "F16", 24, 1)
        delta[name] = "F16", [9, 4], content(dice, "F16", 36, 0.01)
    delta["model.mm_projector.weight"] = "F16", [4, 3], content(dice, "F16", 12, 1)
    delta["model.mm_projector.bias"] = "F16", [4], content(dice, "F16", 4, 1)
    rotary = "model.layers.0.self_attn.rotary_emb.inv_freq"
    base[rotary] = "F32", [64], struct.pack("<64f", *(10000 ** (-i / 64) for i in range(64)))
    delta[rotary] = "F32", [64], bytes(256)
    write_safetensors(directory + "/base/model.safetensors", base)
    write_safetensors(directory + "/delta/model.safetensors", delta)


def unseen(path, tensor):
    """Adds a multiple of the polynomial of the CRC: bit i of it, the highest power first, to bit i of the bytes."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8:start])[tensor]["data_offsets"]
    assert end - begin >= 8
    for i, bit in enumerate(f"{0x104C11DB7:033b}"):
        data[start + begin + 2 + i // 8] ^= int(bit) << i % 8
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    {"hash": hash_all, "recorded": recorded, "reported": reported, "without": without, "pair": pair,
     "unseen": unseen}[sys.argv[1]](*sys.argv[2:])
