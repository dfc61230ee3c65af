#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a delta should be, worked out with Python's own numbers: no code of the programs, no numpy.

    deltas.py check BASE TARGET DELTA REPORT    directories of safetensors, and what llavamed-make-delta --json printed
    deltas.py exact BASE TARGET DELTA           an exact delta: differences of bits, as integers, and the target's CRC-32
    deltas.py differ A B                        prints the number of elements with other bits, over all tensors
    deltas.py specials DIRECTORY                makes DIRECTORY/base and /target with zeros, ends, infinities and NaN

`check`: every element of DELTA is target - base rounded once, rows and tensors that the base lacks are the target's; and
adding it to the base again, rounded once, leaves as many elements with other bits as the report, its list of tensors
and the manifest in DELTA say. Both sources have one dtype for a tensor. Exit status 1 when anything is otherwise.
"""
import json
import math
import os
import struct
import sys
import zlib

# Bytes, fraction bits, exponent bits.
FORMATS = {"F16": (2, 10, 5), "BF16": (2, 7, 8), "F32": (4, 23, 8)}


def load(directory):
    tensors = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            data = open(os.path.join(directory, name), "rb").read()
            start = 8 + struct.unpack("<Q", data[:8])[0]
            for tensor, entry in json.loads(data[8:start]).items():
                if tensor != "__metadata__":
                    begin, end = entry["data_offsets"]
                    tensors[tensor] = (entry["dtype"], entry["shape"], data[start + begin:start + end])
    return tensors


def save(directory, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(directory)
    with open(os.path.join(directory, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def elements(dtype, data):
    return struct.unpack("<%d%s" % (len(data) // FORMATS[dtype][0], {2: "H", 4: "I"}[FORMATS[dtype][0]]), data)


def value(bits, dtype):
    """As a double, which holds every value of the three types."""
    size, fraction_bits, exponent_bits = FORMATS[dtype]
    sign = -1.0 if bits >> (8 * size - 1) else 1.0
    field = bits >> fraction_bits & (1 << exponent_bits) - 1
    fraction = bits & (1 << fraction_bits) - 1
    if field == (1 << exponent_bits) - 1:
        return math.nan if fraction else sign * math.inf
    significand = fraction + ((1 << fraction_bits) if field else 0)
    return sign * math.ldexp(significand, max(field, 1) - (1 << (exponent_bits - 1)) + 1 - fraction_bits)


def rounded_sum(a, b, dtype):
    """Bits of the real a + b to nearest, ties to even. An inexact sum of doubles is corrected by its error first."""
    size, fraction_bits, exponent_bits = FORMATS[dtype]
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    total = a + b
    if math.isnan(total):
        return infinity | 1 << (fraction_bits - 1)
    sign = (1 << (8 * size - 1)) if math.copysign(1.0, total) < 0 else 0
    if math.isinf(total):
        return sign | infinity
    back = total - a
    error = (a - (total - back)) + (b - back)  # exact: Knuth
    magnitude, error = abs(total), math.copysign(1.0, total) * error
    if magnitude == 0.0:
        return sign
    lowest = 2 - (1 << (exponent_bits - 1)) - fraction_bits
    shift = max(math.frexp(magnitude)[1] - 1 - fraction_bits, lowest)
    scaled = math.ldexp(magnitude, -shift)  # exact: a power of two
    whole = math.floor(scaled)
    rest, more = scaled - whole, error
    half = 1 if rest > 0.5 or rest == 0.5 and more > 0 else -1 if rest < 0.5 or more < 0 else 0
    whole += 1 if half > 0 or half == 0 and whole % 2 else 0
    if whole >= 1 << fraction_bits:
        if whole == 1 << (fraction_bits + 1):
            whole, shift = whole // 2, shift + 1
        bits = ((shift - lowest + 1) << fraction_bits) + whole - (1 << fraction_bits)
    else:
        bits = whole
    return sign | min(bits, infinity)


def check_tensor(name, base, target, delta):
    """The number of lossy elements, and what is wrong."""
    dtype = target[0]
    if delta[:2] != target[:2]:
        return 0, [f"{name}: dtype or shape {delta[:2]}, want {target[:2]}"]
    if base is None or dtype not in FORMATS:
        return 0, [] if delta[2] == target[2] else [f"{name}: not the target's own"]
    wrong, lossy = 0, 0
    b, t, d = (elements(dtype, x[2]) for x in (base, target, delta))
    for i, (target_bits, delta_bits) in enumerate(zip(t, d)):
        if i >= len(b):  # rows below those of the base
            wrong += delta_bits != target_bits
            continue
        base_value = value(b[i], dtype)
        wrong += delta_bits != rounded_sum(value(target_bits, dtype), -base_value, dtype)
        lossy += rounded_sum(base_value, value(delta_bits, dtype), dtype) != target_bits
    return lossy, [f"{name}: {wrong} elements are not target - base"] if wrong else []


def check(base, target, delta, report):
    report = json.load(open(report, encoding="utf-8"))
    manifest = json.load(open(os.path.join(delta, "llavamed-manifest.json"), encoding="ascii"))
    base, target, delta = load(base), load(target), load(delta)
    wrong = [] if set(delta) == set(target) else ["the names are others"]
    found = {}
    for name in set(delta) & set(target):
        lossy, more = check_tensor(name, base.get(name), target[name], delta[name])
        wrong += more
        if lossy:
            found[name] = lossy
    reported = {tensor["name"]: tensor["lossy"] for tensor in report["lossy"]["tensors"]}
    listed = {tensor["name"]: tensor["lossy"] for tensor in manifest["tensors"] if "lossy" in tensor}
    counted = {name: n for name, n in found.items() if not name.endswith("inv_freq")}
    total = sum(counted.values())
    if found != listed or counted != reported or not total == report["lossy"]["elements"] == manifest["result"]["lossy"]:
        wrong.append(f"lossy: found {found}, reported {reported}, in the manifest {listed}")
    print("\n".join(wrong) if wrong else f"{total} lossy")
    return 1 if wrong else 0


def exact(base, target, delta):
    manifest = json.load(open(os.path.join(delta, "llavamed-manifest.json"), encoding="ascii"))
    assert "exact" not in manifest["result"]
    listed = {tensor["name"]: tensor for tensor in manifest["tensors"]}
    base, target, delta = load(base), load(target), load(delta)
    assert set(delta) == set(target) == set(listed)
    kinds = {"F16": "I16", "BF16": "U16", "F32": "I32"}
    for name, (dtype, shape, data) in target.items():
        by_bits = name in base and dtype in kinds and not name.endswith("inv_freq")
        assert delta[name][:2] == (kinds[dtype] if by_bits else dtype, shape), name
        want = f"{zlib.crc32(data):08x}" if by_bits else None
        assert listed[name].get("target_crc32") == want and "exact" not in listed[name], name
        if not by_bits:
            assert delta[name][2] == data, name
            continue
        size = FORMATS[dtype][0]
        assert base[name][0] == dtype
        b, t, d = (elements(dtype, x) for x in (base[name][2], data, delta[name][2]))
        b += (0,) * (len(t) - len(b))  # rows below those of the base
        assert all((x + y - z) % (1 << 8 * size) == 0 for x, y, z in zip(b, d, t)), name
    return 0


def differ(a, b):
    a, b = load(a), load(b)
    assert set(a) == set(b)
    n = 0
    for name, (dtype, shape, data) in a.items():
        size = FORMATS[dtype][0]
        assert (dtype, shape) == b[name][:2]
        n += sum(data[i:i + size] != b[name][2][i:i + size] for i in range(0, len(data), size))
    print(n)
    return 0


def specials(directory):
    base, target = {}, {}
    for dtype, (size, fraction_bits, exponent_bits) in FORMATS.items():
        one, infinity = ((1 << (exponent_bits - 1)) - 1) << fraction_bits, ((1 << exponent_bits) - 1) << fraction_bits
        magnitudes = [0, 1, 2, (1 << fraction_bits) - 1, 1 << fraction_bits, one - 1, one, one + 1, one + 2,
                      one - (fraction_bits + 1 << fraction_bits), infinity - 1, infinity, infinity + 1,
                      infinity + (1 << (fraction_bits - 1))]
        every = magnitudes + [m | 1 << (8 * size - 1) for m in magnitudes]
        name = f"model.layers.{len(base)}.mlp.up_proj.weight"
        kind = {2: "H", 4: "I"}[size]
        pairs = [(x, y) for x in every for y in every]
        base[name] = (dtype, [len(pairs)], b"".join(struct.pack("<" + kind, x) for x, _ in pairs))
        target[name] = (dtype, [len(pairs)], b"".join(struct.pack("<" + kind, y) for _, y in pairs))
    save(os.path.join(directory, "base"), base)
    save(os.path.join(directory, "target"), target)
    return 0


if __name__ == "__main__":
    sys.exit({"check": check, "exact": exact, "differ": differ, "specials": specials}[sys.argv[1]](*sys.argv[2:]))
