#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/{safetensors,shard_index} again. Needs torch, safetensors and huggingface_hub.

good/  written by the safetensors library (save_file, metadata {"format": "pt"}), or, where the name starts with "odd-",
       by hand and accepted by it. Beside each a .txt: name, dtype, shape, begin, end of each tensor as JSON lines in
       the order of the data, checked against what the library reads.
bad/   by hand, one reason each. The library refuses them too, except those that start with "strict-".

tests/fuzz/corpus/safetensors is the headers of all of them behind the size of their data (see fuzz_safetensors.c).
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import safetensors
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1] / "data"
GOOD = ROOT / "safetensors" / "good"
BAD = ROOT / "safetensors" / "bad"
INDEX = ROOT / "shard_index"
CORPUS = ROOT.parent / "fuzz" / "corpus" / "safetensors"

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
          torch.float32, torch.float64]
NAMES = ["plain", 'double"quote', "back\\slash", "both\\\"", "slash/", "tab\tnewline\nreturn\r", "bell\x07backspace\b",
         "form\fvertical\v", "\x01\x1f", "delete\x7f", "next line\x85", "é", "e\u0301", "中文", "😀", "\ufffd", "\uffff",
         "line\u2028paragraph\u2029", "\ue000", " leading space", "a'b", "<&>", "\u200b", "ÿ",
         "\U0010ffff", "null", "true", "0", "{}", "dtype", "shape", "data_offsets", "__metadata", "__metadata___"]
SORTING = ["a", "a.", "a.b", "a-b", "a_b", "aB", "ab", "aa", "A", "Z", "z", "a b", "a\x01", "a0", "a00", "a1", "a10",
           "a2", "model.layers.10.w", "model.layers.2.w", "model.layers.1.w", "model.layers.1.", "model.layers", "~",
           "\x7f", "\x80", "é", "z\u0301", "\ud7ff", "\ue000", "\uffff", "\U00010000"]


def file_bytes(header, data=b""):
    if isinstance(header, str):
        header = header.encode("utf-8")
    return struct.pack("<Q", len(header)) + header + data


def entry(name, dtype="F32", shape="[2]", offsets="[0,8]", extra=""):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def describe(raw):
    """The .txt of an accepted file."""
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    rows = [(v["data_offsets"][0], v["data_offsets"][1], k.encode(), k, v) for k, v in header.items()]
    rows.sort(key=lambda row: row[:3])
    read = {name: (info["dtype"], list(info["shape"]), len(info["data"]))
            for name, info in safetensors.deserialize(raw)}
    assert read == {k: (v["dtype"], v["shape"], e - b) for b, e, _, k, v in rows}
    lines = [json.dumps([k, v["dtype"], v["shape"], b, e], separators=(",", ":")) for b, e, _, k, v in rows]
    return "".join(line + "\n" for line in lines)


def write_good(name, raw):
    (GOOD / f"{name}.safetensors").write_bytes(raw)
    (GOOD / f"{name}.txt").write_text(describe(raw))


def write_library(name, tensors):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "x.safetensors"
        save_file(tensors, path, metadata={"format": "pt"})
        write_good(name, path.read_bytes())


def values(dtype, *shape):
    return torch.randint(0, 2 if dtype == torch.bool else 100, shape).to(dtype)


def make_goldens():
    write_library("empty", {})
    write_library("one", {"a": values(torch.float16, 2, 3)})
    shapes = [(1,), (3,), (5, 7), (2, 1, 3), (0,), (3, 0, 2), (), (1, 1, 1, 1, 1), (11,)]
    mixed = {f"{i}.{str(t)[6:]}": values(t, *shapes[(i + j) % len(shapes)])
             for j, t in enumerate(DTYPES) for i in range(len(shapes))}
    write_library("dtypes", mixed)
    write_library("names", {n: values(DTYPES[i % 3 + 5], i % 4) for i, n in enumerate(NAMES)})
    write_library("sorting", {n: values(torch.bfloat16, 1) for n in SORTING})
    write_library("zeros", {n: torch.zeros((0, i), dtype=torch.float32) for i, n in enumerate("cabd")})
    # Every length of padding.
    for pad in range(8):
        write_library(f"pad{pad}", {"x" * (pad + 1): values(torch.uint8, 3)})


def make_odd():
    eight = bytes(range(8))
    write_good("odd-no-metadata", file_bytes("{" + entry("a") + "}", eight))
    write_good("odd-null-metadata", file_bytes('{"__metadata__":null,' + entry("a") + "}", eight))
    write_good("odd-metadata-last", file_bytes(
        "{" + entry("a") + ',"__metadata__":{"":"","\\u00e9":"\\ud83d\\ude00","format":"np"}}', eight))
    write_good("odd-white-space", file_bytes(" \t\r\n{" + entry("a") + "} \t\r\n ", eight))
    write_good("odd-not-aligned", file_bytes("{" + entry("abc") + "}", eight))
    write_good("odd-unknown-fields",
               file_bytes("{" + entry("a", extra=',"x":{"y":[null,true,"z",7]},"dTYPE":"F16"') + "}", eight))
    write_good("odd-order", file_bytes("{" + entry("z", "U8", "[3]", "[5,8]") + "," + entry("a", "F32", "[]", "[0,4]")
                                       + "," + entry("m", "BOOL", "[1]", "[4,5]") + "}", eight))
    write_good("odd-zero-bytes", file_bytes(
        "{" + entry("mid", "F32", "[0]", "[4,4]") + "," + entry("d", "F32", "[1]", "[4,8]") + ","
        + entry("c", "F32", "[1]", "[0,4]") + "," + entry("first", "I8", "[0,9007199254740991]", "[0,0]") + ","
        + entry("end", "F32", "[0]", "[8,8]") + "," + entry("again", "F32", "[7,0]", "[4,4]") + "}", eight))
    write_good("odd-small-types", file_bytes(
        "{" + entry("f4", "F4", "[2,2]", "[0,2]") + "," + entry("f6a", "F6_E2M3", "[4]", "[2,5]") + ","
        + entry("f6b", "F6_E3M2", "[2,2]", "[5,8]") + "," + entry("f6c", "F6_E3M2", "[0]", "[8,8]") + "}", eight))
    every = ["BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ",
             "F8_E5M2FNUZ", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"]
    write_good("odd-every-dtype", file_bytes("{" + ",".join(entry(n, n, "[0]", "[0,0]") for n in every) + "}"))
    write_good("odd-escapes", file_bytes(
        "{" + entry("\\u0061\\/\\b\\ud83d\\ude00\\u2028\\u007F\\\"")
        + ',"\\u005f_metadata__":{"\\u0066ormat":"\\u0070t"}}', eight))
    write_good("odd-rank-16", file_bytes("{" + entry("a", "U8", "[" + ",".join("1" * 16) + "]", "[0,1]") + "}", b"x"))


def bad_files():
    eight = bytes(range(8))

    def one(**changes):
        return file_bytes("{" + entry("a", **changes) + "}", eight)

    two = entry("a", "U8", "[4]", "[0,4]") + ","
    huge = "[4294967296,4294967296]"
    yield "too-short", b"1234567"
    yield "nothing", b""
    yield "header-past-end", struct.pack("<Q", 200) + b"{}"
    yield "header-one-past-end", struct.pack("<Q", 3) + b"{}"
    yield "header-above-cap", struct.pack("<Q", 100000001) + b"{}"
    yield "header-2-63", struct.pack("<Q", 1 << 63) + b"{}"
    yield "header-empty", file_bytes("")
    yield "header-spaces", file_bytes("        ")
    yield "header-array", file_bytes("[]")
    yield "header-text", file_bytes('"a"')
    yield "header-short-by-one", struct.pack("<Q", len(entry("a")) + 1) + ("{" + entry("a") + "}").encode() + eight
    yield "header-nul-padding", file_bytes("{" + entry("a") + "}\0\0", eight)
    yield "header-byte-order-mark", file_bytes("\ufeff{" + entry("a") + "}", eight)
    yield "comment", file_bytes("{/**/" + entry("a") + "}", eight)
    yield "trailing-comma", file_bytes("{" + entry("a") + ",}", eight)
    yield "not-utf8", file_bytes(b'{"a\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight)
    yield "raw-surrogate", file_bytes(b'{"a\xed\xa0\x80":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight)
    yield "lone-surrogate", file_bytes("{" + entry("a\\ud800") + "}", eight)
    yield "lone-low-surrogate", file_bytes("{" + entry("a\\udc00") + "}", eight)
    yield "raw-control", file_bytes("{" + entry("a\n") + "}", eight)
    yield "too-deep", file_bytes('{"a":' + "[" * 200 + "]" * 200 + "}")
    yield "metadata-number", file_bytes('{"__metadata__":1,' + entry("a") + "}", eight)
    yield "metadata-array", file_bytes('{"__metadata__":[],' + entry("a") + "}", eight)
    yield "metadata-value-number", file_bytes('{"__metadata__":{"format":"pt","b":1},' + entry("a") + "}", eight)
    yield "metadata-value-null", file_bytes('{"__metadata__":{"b":null},' + entry("a") + "}", eight)
    yield "metadata-twice", file_bytes('{"__metadata__":{},"__metadata__":{},' + entry("a") + "}", eight)
    yield "entry-number", file_bytes("{" + entry("a") + ',"b":1}', eight)
    yield "entry-null", file_bytes("{" + entry("a") + ',"b":null}', eight)
    yield "no-dtype", file_bytes('{"a":{"shape":[2],"data_offsets":[0,8]}}', eight)
    yield "no-shape", file_bytes('{"a":{"dtype":"F32","data_offsets":[0,8]}}', eight)
    yield "no-offsets", file_bytes('{"a":{"dtype":"F32","shape":[2]}}', eight)
    yield "field-case", file_bytes('{"a":{"Dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight)
    yield "field-twice", one(extra=',"dtype":"F32"')
    yield "dtype-unknown", one(dtype="F33")
    yield "dtype-case", one(dtype="f32")
    yield "dtype-number", file_bytes('{"a":{"dtype":3,"shape":[2],"data_offsets":[0,8]}}', eight)
    yield "shape-number", one(shape="2")
    yield "shape-text", one(shape='["2"]')
    yield "shape-nested", one(shape="[[2]]")
    yield "shape-fraction", one(shape="[2.0]")
    yield "shape-exponent", one(shape="[2e0]")
    yield "shape-negative", one(shape="[-2]")
    yield "shape-leading-zero", one(shape="[02]")
    yield "shape-2-64", one(shape="[18446744073709551616]")
    yield "shape-overflow", one(shape=huge)
    yield "shape-overflow-then-zero", one(shape=huge[:-1] + ",0]", offsets="[0,0]")
    yield "shape-bits-overflow", one(shape="[4294967296,2147483648]")
    yield "shape-half-byte", file_bytes("{" + entry("a", "F4", "[3]", "[0,2]") + "}", b"xx")
    yield "offsets-one", one(offsets="[0]")
    yield "offsets-three", one(offsets="[0,8,8]")
    yield "offsets-object", one(offsets="{}")
    yield "offsets-negative-zero", one(offsets="[-0,8]")
    yield "offsets-reversed", one(offsets="[8,0]")
    yield "offsets-end-before-begin", file_bytes("{" + two + entry("b", "U8", "[4]", "[4,3]") + "}", eight)
    yield "offsets-not-from-zero", one(dtype="U8", shape="[4]", offsets="[4,8]")
    yield "hole", file_bytes("{" + two + entry("b", "U8", "[2]", "[6,8]") + "}", eight)
    yield "overlap", file_bytes("{" + two + entry("b", "U8", "[5]", "[3,8]") + "}", eight)
    yield "same-place", file_bytes("{" + two + entry("b", "U8", "[4]", "[0,4]") + "}", eight[:4])
    yield "zero-bytes-inside", file_bytes("{" + two + entry("b", "U8", "[0]", "[2,2]") + "}", eight[:4])
    yield "size-too-large", one(shape="[1]")
    yield "size-too-small", one(shape="[3]")
    yield "size-of-zero", one(shape="[0]")
    yield "data-truncated", one()[:-1]
    yield "data-missing", one()[:-8]
    yield "data-trailing", one() + b"x"
    yield "strict-name-twice", file_bytes("{" + entry("a") + "," + entry("a") + "}", eight)
    yield "strict-name-twice-escaped", file_bytes("{" + entry("a", shape="[0]", offsets="[0,0]") + ","
                                                  + entry("\\u0061") + "}", eight)
    yield "strict-metadata-key-twice", file_bytes('{"__metadata__":{"a":"1","a":"2"},' + entry("a") + "}", eight)
    yield "strict-unknown-field-twice", one(extra=',"x":1,"x":1')
    yield "strict-unknown-field-fraction", one(extra=',"x":1.5')
    yield "strict-name-empty", file_bytes("{" + entry("") + "}", eight)
    yield "strict-name-nul", file_bytes("{" + entry("a\\u0000") + "}", eight)
    yield "strict-name-long", file_bytes("{" + entry("n" * 1025) + "}", eight)
    yield "strict-rank-17", file_bytes("{" + entry("a", "U8", "[" + ",".join("1" * 17) + "]", "[0,1]") + "}", b"x")
    yield "strict-dimension-2-53", file_bytes("{" + entry("a", "U8", "[0,9007199254740992]", "[0,0]") + "}")
    yield "strict-depth", one(extra=',"x":' + "[" * 40 + "]" * 40)
    yield "strict-entry-array", file_bytes('{"a":["F32",[2],[0,8]]}', eight)
    yield "strict-dtype-object", file_bytes('{"a":{"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]}}', eight)


def make_bad():
    for name, raw in bad_files():
        try:
            safetensors.deserialize(raw)
            accepted = True
        except safetensors.SafetensorError:
            accepted = False
        assert accepted == name.startswith("strict-"), name
        (BAD / f"{name}.safetensors").write_bytes(raw)


def make_corpus():
    for path in sorted(GOOD.glob("*.safetensors")) + sorted(BAD.glob("*.safetensors")):
        raw = path.read_bytes()
        n = struct.unpack("<Q", raw[:8].ljust(8, b"\0"))[0]
        if 0 < n <= len(raw) - 8 and n < 3000:
            (CORPUS / path.stem).write_bytes(struct.pack("<Q", len(raw) - 8 - n) + raw[8:8 + n])


def make_indexes():
    state = {n: values(DTYPES[i % len(DTYPES)], 3, i) for i, n in enumerate(NAMES)}
    with tempfile.TemporaryDirectory() as scratch:
        save_torch_state_dict(state, scratch, max_shard_size=1000)
        text = (Path(scratch) / "model.safetensors.index.json").read_bytes()
    (INDEX / "hub.index.json").write_bytes(text)
    # As transformers 4.28 writes it: sorted keys, a final newline.
    index = json.loads(text)
    (INDEX / "transformers.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def main():
    torch.manual_seed(1)
    for folder in (GOOD, BAD, INDEX, CORPUS):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
    make_goldens()
    make_odd()
    make_bad()
    make_corpus()
    make_indexes()
    print(f"safetensors {safetensors.__version__}, torch {torch.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
