#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What real torch computes, for tests/unit/test_kernel_torch.c: writes tests/data/kernel/.

    python3 tests/tools/make_kernel_data.py [DIRECTORY]     write (default: tests/data/kernel)
    python3 tests/tools/make_kernel_data.py --check [DIR]   compare with what is there; exit 1 when anything differs

The bytes do not depend on the version of torch (1.13 and 2.13 were compared). NaN results are replaced by the canonical
NaN of their dtype: torch's payload depends on CPU and operand order.

  add_TYPE.bin      records a, b, torch's a + b: special values with each other, then pseudo-random pairs
  subtract_TYPE.bin records a, b, torch's b - a, of the same pairs
  convert_TYPE.bin  records value, then torch's conversion to each of the other types, in the order f16 bf16 f32 f64
  summary.txt       lines of six kinds:
      add TYPE n_nan n_infinite n_rounded n_delta_zero        over add_TYPE.bin; rounded by exact rational arithmetic
      subtract TYPE n_nan n_infinite n_rounded n_delta_zero n_lossy   over subtract_TYPE.bin; lossy where torch's
                                                              a + (b - a) has other bits than b
      convert FROM TO n_overflow                              over convert_FROM.bin
      every FROM TO fingerprint                               conversion of all 65,536 values
      pairs TYPE seed n fingerprint                           sums of pairs 0..n-1 of tests/kernel/pairs.h
      minus TYPE seed n fingerprint n_lossy                   their differences
A fingerprint is the sum over i, modulo 2^64, of random_bits(result i, i), random_bits as in tests/kernel/pairs.h.
"""

import os
import sys
import tempfile
from fractions import Fraction

import numpy as np
import torch

TYPES = ["f16", "bf16", "f32", "f64"]
TORCH = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
BYTES = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8}
FRACTION_BITS = {"f16": 10, "bf16": 7, "f32": 23, "f64": 52}
EXPONENT_BITS = {"f16": 5, "bf16": 8, "f32": 8, "f64": 11}
N_RANDOM = 1500
N_PAIRS = 1 << 20
SEED = 20230601
U64 = np.uint64


def unsigned(kind):
    return {2: np.uint16, 4: np.uint32, 8: np.uint64}[BYTES[kind]]


def signed_torch(kind):
    return {2: torch.int16, 4: torch.int32, 8: torch.int64}[BYTES[kind]]


def to_torch(bits, kind):
    signed = {2: np.int16, 4: np.int32, 8: np.int64}[BYTES[kind]]
    return torch.from_numpy(bits.astype(unsigned(kind)).view(signed).copy()).view(TORCH[kind])


def from_torch(tensor, kind):
    """Bits as uint64, NaN canonical."""
    bits = tensor.contiguous().view(signed_torch(kind)).numpy().view(unsigned(kind)).astype(U64)
    infinity = infinity_of(kind)
    quiet = infinity | U64(1 << (FRACTION_BITS[kind] - 1))
    return np.where((bits & magnitude_mask(kind)) > infinity, quiet, bits)


def infinity_of(kind):
    return U64(((1 << EXPONENT_BITS[kind]) - 1) << FRACTION_BITS[kind])


def magnitude_mask(kind):
    return U64((1 << (8 * BYTES[kind] - 1)) - 1)


def random_bits(seed, index):
    z = np.asarray(seed, U64) + (np.asarray(index, U64) + U64(1)) * U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def fingerprint(bits):
    return int(np.sum(random_bits(bits, np.arange(len(bits), dtype=U64)), dtype=U64))


def make_pairs(kind, seed, n):
    """pair_make() of tests/kernel/pairs.h for indices 0..n-1."""
    index = np.arange(n, dtype=U64) * U64(3)
    fraction_bits = FRACTION_BITS[kind]
    exponent_max = (1 << EXPONENT_BITS[kind]) - 1
    full = U64((1 << (8 * BYTES[kind])) - 1)
    sign = full ^ (full >> U64(1))
    infinity = infinity_of(kind)
    control = random_bits(seed, index + U64(2))
    a = random_bits(seed, index) & full
    b = random_bits(seed, index + U64(1)) & full
    mode = control & U64(7)

    def with_exponent(bits, exponent):
        return (bits & ~infinity) | (exponent.astype(U64) << U64(fraction_bits))

    reach = fraction_bits + 4
    exponent = ((a >> U64(fraction_bits)) & U64(exponent_max)).astype(np.int64)
    exponent = exponent + ((control >> U64(8)) % U64(2 * reach + 1)).astype(np.int64) - reach
    b = np.where((mode >= 1) & (mode <= 5), with_exponent(b, np.clip(exponent, 0, exponent_max)), b)

    def drop_low(bits, shift):
        return bits & ~((U64(1) << ((control >> U64(shift)) % U64(fraction_bits + 1))) - U64(1))

    a = np.where(mode == 5, drop_low(a, 16), a)
    b = np.where(mode == 5, drop_low(b, 24), b)
    b = np.where(mode == 6, a ^ sign ^ ((control >> U64(16)) & U64(3)), b)
    near_a = (control >> U64(16)) & U64(3)
    near_b = (control >> U64(18)) & U64(3)
    top = ((control >> U64(20)) & U64(1)) != 0
    end_a = with_exponent(a, np.where(top, U64(exponent_max) - near_a, near_a))
    end_b = with_exponent(b, np.where(top, U64(exponent_max) - near_b, near_b))
    return np.where(mode == 7, end_a, a), np.where(mode == 7, end_b, b)


def specials(kind):
    implicit = 1 << FRACTION_BITS[kind]
    infinity = int(infinity_of(kind))
    one = ((1 << (EXPONENT_BITS[kind] - 1)) - 1) * implicit
    ulp_half = one - (FRACTION_BITS[kind] + 1) * implicit
    magnitudes = [
        0, 1, 2, implicit - 1, implicit, implicit + 1, one - 1, one, one + 1, ulp_half, ulp_half + 1,
        infinity - implicit, infinity - 2, infinity - 1, infinity, infinity + 1, infinity + implicit // 2,
    ]
    return np.array([m | s for m in magnitudes for s in (0, 1 << (8 * BYTES[kind] - 1))], dtype=U64)


def exact(bits, kind):
    """The real number, or None when it is not one."""
    bits = int(bits)
    sign = -1 if bits >> (8 * BYTES[kind] - 1) else 1
    magnitude = bits & int(magnitude_mask(kind))
    if magnitude >= int(infinity_of(kind)):
        return None
    field = magnitude >> FRACTION_BITS[kind]
    significand = magnitude & ((1 << FRACTION_BITS[kind]) - 1)
    significand |= (1 << FRACTION_BITS[kind]) if field else 0
    power = max(field, 1) - ((1 << (EXPONENT_BITS[kind] - 1)) - 1) - FRACTION_BITS[kind]
    return sign * significand * Fraction(2) ** power


def was_rounded(a, b, total, kind):
    a, b = exact(a, kind), exact(b, kind)
    return a is not None and b is not None and exact(total, kind) != a + b


def add(a, b, kind):
    return from_torch(to_torch(a, kind) + to_torch(b, kind), kind)


def subtract(a, b, kind):
    return from_torch(to_torch(b, kind) - to_torch(a, kind), kind)


def count_lossy(a, b, difference, kind):
    return np.sum(add(a, difference, kind) != b)


def convert(bits, source, target):
    return from_torch(to_torch(bits, source).to(TORCH[target]), target)


def count_overflows(bits, source, result, target):
    finite = (bits & magnitude_mask(source)) < infinity_of(source)
    return int(np.sum(finite & ((result & magnitude_mask(target)) == infinity_of(target))))


def records(columns, kinds):
    """Columns of bits, interleaved little-endian."""
    fields = [("c%d" % i, "<u%d" % BYTES[kind]) for i, kind in enumerate(kinds)]
    table = np.zeros(len(columns[0]), dtype=fields)
    for i, column in enumerate(columns):
        table["c%d" % i] = column
    return table.tobytes()


def write_adds(directory, kind, lines):
    special = specials(kind)
    random_a, random_b = make_pairs(kind, SEED, N_RANDOM)
    a = np.concatenate([np.repeat(special, len(special)), random_a])
    b = np.concatenate([np.tile(special, len(special)), random_b])
    total = add(a, b, kind)
    magnitude = total & magnitude_mask(kind)
    counts = (
        np.sum(magnitude > infinity_of(kind)),
        np.sum(magnitude == infinity_of(kind)),
        sum(was_rounded(x, y, z, kind) for x, y, z in zip(a, b, total)),
        np.sum((b & magnitude_mask(kind)) == 0),
    )
    lines.append("add %s %d %d %d %d" % ((kind,) + counts))
    with open(os.path.join(directory, "add_%s.bin" % kind), "wb") as f:
        f.write(records([a, b, total], [kind] * 3))
    difference = subtract(a, b, kind)
    magnitude = difference & magnitude_mask(kind)
    sign = U64(1) << U64(8 * BYTES[kind] - 1)
    counts = (
        np.sum(magnitude > infinity_of(kind)),
        np.sum(magnitude == infinity_of(kind)),
        sum(was_rounded(x ^ sign, y, z, kind) for x, y, z in zip(a, b, difference)),
        np.sum(magnitude == 0),
        count_lossy(a, b, difference, kind),
    )
    lines.append("subtract %s %d %d %d %d %d" % ((kind,) + counts))
    with open(os.path.join(directory, "subtract_%s.bin" % kind), "wb") as f:
        f.write(records([a, b, difference], [kind] * 3))
    a, b = make_pairs(kind, SEED + 1, N_PAIRS)
    lines.append("pairs %s %d %d %d" % (kind, SEED + 1, N_PAIRS, fingerprint(add(a, b, kind))))
    difference = subtract(a, b, kind)
    lossy = count_lossy(a, b, difference, kind)
    lines.append("minus %s %d %d %d %d" % (kind, SEED + 1, N_PAIRS, fingerprint(difference), lossy))


def conversion_sources(kind):
    """Specials, then values around each place where the narrower types round, overflow or vanish."""
    bits = [specials(kind)]
    if BYTES[kind] > 2:
        for narrow in TYPES[: TYPES.index(kind)]:
            around = convert(make_pairs(narrow, SEED + 2, 250)[0], narrow, kind)
            half = U64(1 << (FRACTION_BITS[kind] - FRACTION_BITS[narrow] - 1))
            bits += [around + half, around + half - U64(1), around + half + U64(1)]
    control = random_bits(SEED + 3, np.arange(500, dtype=U64))
    middle = (1 << (EXPONENT_BITS[kind] - 1)) - 1
    exponent = U64(middle) + (control >> U64(8)) % U64(40) - U64(min(30, middle))
    random = random_bits(SEED + 4, np.arange(500, dtype=U64)) & U64((1 << (8 * BYTES[kind])) - 1)
    if BYTES[kind] > 2:
        random = (random & ~infinity_of(kind)) | (exponent << U64(FRACTION_BITS[kind]))
    return np.concatenate(bits + [random]) & U64((1 << (8 * BYTES[kind])) - 1)


def write_conversions(directory, source, lines):
    bits = conversion_sources(source)
    targets = [kind for kind in TYPES if kind != source]
    results = [convert(bits, source, target) for target in targets]
    for target, result in zip(targets, results):
        lines.append("convert %s %s %d" % (source, target, count_overflows(bits, source, result, target)))
        if BYTES[source] == 2:
            every = np.arange(65536, dtype=U64)
            lines.append("every %s %s %d" % (source, target, fingerprint(convert(every, source, target))))
    with open(os.path.join(directory, "convert_%s.bin" % source), "wb") as f:
        f.write(records([bits] + results, [source] + targets))


def write_all(directory):
    os.makedirs(directory, exist_ok=True)
    lines = []
    for kind in TYPES:
        write_adds(directory, kind, lines)
        write_conversions(directory, kind, lines)
    with open(os.path.join(directory, "summary.txt"), "w") as f:
        f.write("".join(line + "\n" for line in lines))


def differing_files(directory, other):
    names = sorted(os.listdir(directory))
    different = [] if names == sorted(os.listdir(other)) else ["(the list of files)"]
    for name in names:
        path = os.path.join(other, name)
        with open(os.path.join(directory, name), "rb") as f:
            if not os.path.exists(path) or f.read() != open(path, "rb").read():
                different.append(name)
    return different


def main(arguments):
    check = arguments[:1] == ["--check"]
    rest = arguments[1:] if check else arguments
    directory = rest[0] if rest else "tests/data/kernel"
    if not check:
        write_all(directory)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        write_all(fresh)
        different = differing_files(fresh, directory)
    print("torch %s: %s" % (torch.__version__, "differs: " + " ".join(different) if different else "the same"))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
