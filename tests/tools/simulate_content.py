# SPDX-License-Identifier: Apache-2.0
"""Simulates the content test of llavamed-apply (src/merge/content_figures.c): what its figures are when the base is the
right one, a copy of it in another dtype, an unrelated one, another fine-tune, permuted or of another layer.

A case is a way to make weights and a delta, and which base is given. Each trial draws one matrix's sample (two pieces,
as the program takes) and computes, as the program does,
    exact   plain part of the sums that need no rounding, among deltas that are not zero (the manifest's "exact")
    odd     part of those deltas whose last significand bit is 1
    v       roundings per eligible element: 0 < |delta| <= |base| / 2
    v0      the same with the base's pieces turned by half: what a base gives that knows nothing of the delta
Printed per case: the mean of exact, odd and v0; least, mean and greatest v and v / v0 over the trials; how many trials
the thresholds of the program call good, near, bad and unknown; and for right bases how many standard deviations lie
between the mean v / v0 of what is judged and "bad" (inf when v is 0 in all). docs/content-test.md tells what follows from it.

Usage: simulate_content.py [--trials N] [--only TEXT] [--seed N]      needs numpy; four minutes at the default of 200
"""

import argparse

import numpy as np

PIECE = 8192
SAMPLE = 2 * PIECE
HIDDEN = 4096  # columns: a piece is two rows

# The thresholds of src/merge/content_figures.h.
CONTROL_MIN = 400
NEAR_RATE = 0.005
BAD_RATIO = 0.65
ODD_MAX = 0.40


def bf16(x):
    u = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    u = (u + 0x7FFF + ((u >> 16) & 1)) & np.uint32(0xFFFF0000)
    return u.view(np.float32)


ROUND = {"F16": lambda x: np.asarray(x, dtype=np.float32).astype(np.float16).astype(np.float64),
         "BF16": lambda x: bf16(x).astype(np.float64),
         "F32": lambda x: np.asarray(x).astype(np.float32).astype(np.float64)}


def bits(x, dtype):
    """Stored bits without the sign."""
    if dtype == "F16":
        return x.astype(np.float16).view(np.uint16).astype(np.int64) & 0x7FFF
    u = x.astype(np.float32).view(np.uint32).astype(np.int64) & 0x7FFFFFFF
    return u >> 16 if dtype == "BF16" else u


MANTISSA = {"F16": 10, "BF16": 7, "F32": 23}


def inexact(base, delta, dtype):
    total = base + delta
    residue = (base - (total - (total - base))) + (delta - (total - base))
    return (ROUND[dtype](total) != total) | (residue != 0)


def rate(base, delta, dtype):
    b, d = bits(base, dtype), bits(delta, dtype)
    eligible = (d != 0) & (d + (1 << MANTISSA[dtype]) <= b)
    n = int(eligible.sum())
    return n, (float(inexact(base[eligible], delta[eligible], dtype).mean()) if n else 0.0)


def figures(base, delta, dtype):
    base, delta = ROUND[dtype](base), ROUND[dtype](delta)
    nonzero = delta != 0
    n, v = rate(base, delta, dtype)
    n0, v0 = rate(np.roll(base.reshape(-1, PIECE), PIECE // 2, axis=1).reshape(-1), delta, dtype)
    odd = float((bits(delta, dtype)[nonzero] & 1).mean()) if nonzero.any() else 0.0
    exact = 1 - float(inexact(base[nonzero], delta[nonzero], dtype).mean()) if nonzero.any() else 1.0
    return exact, odd, min(n, n0), v, v0


def measure(base, delta, delta_dtype, base_is_bf16):
    """Figures and fit. A BF16 delta is also tried in F16, as it may be the copy of one; the kinder of the two counts."""
    found = figures(base, delta, delta_dtype)
    fit = judge(found)
    if delta_dtype == "BF16":
        other = figures(base, delta, "F16")
        if FITS.index(judge(other)) < FITS.index(fit):
            found, fit = other, judge(other)
        if not base_is_bf16 and fit in ("near", "bad"):
            fit = "unknown"
    return (*found, fit)


FITS = ["good", "unknown", "near", "bad"]  # from the kindest


def judge(f):
    _, odd, n, v, v0 = f
    if n * v0 < CONTROL_MIN:
        return "unknown"
    if v <= NEAR_RATE and v <= BAD_RATIO * v0 / 2:
        return "good"
    if odd > ODD_MAX:
        return "unknown"
    return "bad" if v > BAD_RATIO * v0 else "near"



# ---- Weights and updates ----

def weights(rng, kind, scale):
    if kind == "normal":
        return rng.normal(0, scale, SAMPLE)
    if kind == "heavy":  # Student t with 3 degrees of freedom
        return rng.standard_t(3, SAMPLE) * scale / np.sqrt(3)
    if kind == "rows":  # rows and columns of very different size, some columns outliers
        rows = np.repeat(np.exp(rng.normal(0, 0.7, SAMPLE // HIDDEN)), HIDDEN)
        columns = np.tile(np.exp(rng.normal(0, 0.7, HIDDEN)) * np.where(rng.random(HIDDEN) < 0.002, 20, 1),
                          SAMPLE // HIDDEN)
        return rng.normal(0, scale, SAMPLE) * rows * columns
    raise ValueError(kind)


def update(rng, kind, sigma):
    if kind == "dense":
        return rng.normal(0, sigma, SAMPLE)
    if kind == "heavy":
        return rng.standard_t(2, SAMPLE) * sigma / 2
    if kind == "sparse":  # three quarters of the elements frozen
        return rng.normal(0, sigma, SAMPLE) * (rng.random(SAMPLE) < 0.25)
    if kind == "frozen":
        return np.zeros(SAMPLE)
    if kind == "lowrank":
        a = rng.normal(0, 1, (SAMPLE // HIDDEN, 8))
        return (a @ rng.normal(0, 1, (8, HIDDEN))).reshape(-1) * sigma / np.sqrt(8)
    if kind == "adam":  # every element moved by nearly the same step, as early in training
        return rng.choice([-1.0, 1.0], SAMPLE) * sigma * (1 + 0.1 * rng.normal(0, 1, SAMPLE))
    raise ValueError(kind)


def permute_rows(x):
    """What a missing rotary permutation does to a piece: other rows of the same matrix."""
    return x.reshape(-1, HIDDEN)[::-1].reshape(-1)


class Pair:
    """base and delta as stored; `dtype` of base, target and delta alike."""

    def __init__(self, rng, dtype, scale, sigma, weight_kind, update_kind):
        self.rng, self.dtype, self.scale, self.sigma = rng, dtype, scale, sigma
        self.weight_kind, self.update_kind = weight_kind, update_kind
        r = ROUND[dtype]
        self.base = r(weights(rng, weight_kind, scale))
        self.target = r(self.base + update(rng, update_kind, sigma))
        self.delta = r(self.target - self.base)

    def fresh(self):
        return ROUND[self.dtype](weights(self.rng, self.weight_kind, self.scale))


def bases(pair):
    """(name, base given, delta given, the delta's dtype, is it the right base)"""
    p, r = pair, ROUND[pair.dtype]
    yield "right", p.base, p.delta, p.dtype, True
    if p.dtype == "F16":
        yield "right, base copied in BF16", bf16(p.base), p.delta, "F16", True
        yield "right, both copied in BF16", bf16(p.base), bf16(p.delta), "BF16", True
        yield "right, delta copied in BF16", p.base, bf16(p.delta), "BF16", True
        yield "right, delta kept in F32", p.base, p.target - p.base, "F32", True
        exact = p.base + update(p.rng, p.update_kind, p.sigma)
        yield "right, target of F32, delta rounded to F16", p.base, exact - p.base, "F16", True
        yield "right, BF16 target", p.base, r(ROUND["F16"](bf16(p.target)) - p.base), "F16", True
    if p.dtype == "F32":
        yield "right, base copied in F16", ROUND["F16"](p.base), p.delta, "F32", True
        yield "right, base copied in BF16", bf16(p.base), p.delta, "F32", True
        yield "right, both copied in F16", ROUND["F16"](p.base), p.delta, "F16", True
    yield "unrelated", p.fresh(), p.delta, p.dtype, False
    yield "unrelated, twice the size", r(2 * p.fresh()), p.delta, p.dtype, False
    yield "other rows (q/k permutation, other layer)", permute_rows(p.base), p.delta, p.dtype, False
    yield "another fine-tune", r(p.base + update(p.rng, p.update_kind, p.sigma)), p.delta, p.dtype, False
    yield "another fine-tune, a tenth of it", r(p.base + update(p.rng, p.update_kind, p.sigma / 10)), p.delta, p.dtype, False
    if p.dtype == "F16":
        yield "unrelated in BF16", bf16(p.fresh()), p.delta, "F16", False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    setups = [(dtype, 0.02, sigma, "normal", "dense") for dtype in ("F16", "BF16", "F32")
              for sigma in (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)]
    setups += [("F16", scale, 1e-3, "normal", "dense") for scale in (0.002, 0.2)]
    setups += [("F16", 0.02, sigma, kind, "dense") for kind in ("heavy", "rows") for sigma in (1e-5, 3e-4, 1e-2)]
    setups += [("F16", 0.02, sigma, "normal", kind) for kind in ("heavy", "sparse", "lowrank", "adam", "frozen")
               for sigma in (1e-5, 3e-4, 1e-2)]
    setups += [(dtype, 0.02, sigma, "heavy", kind) for dtype in ("BF16", "F32") for kind in ("heavy", "adam")
               for sigma in (1e-5, 3e-4, 1e-2)]
    print("| weights | base given | exact | odd | v least/mean/most | v0 mean | v/v0 least/mean/most | good near bad unknown | margin |")
    print("|---|---|---|---|---|---|---|---|---|")
    refused_right = n_right = 0
    least_margin = float("inf")
    for dtype, scale, sigma, weight_kind, update_kind in setups:
        label = f"{dtype} {weight_kind} {scale:g}, {update_kind} {sigma:g}"
        rng = np.random.default_rng([options.seed, setups.index((dtype, scale, sigma, weight_kind, update_kind))])
        found = {}
        for _ in range(options.trials):
            for name, base, delta, delta_dtype, right in bases(Pair(rng, dtype, scale, sigma, weight_kind, update_kind)):
                if options.only in label + name:
                    is_bf16 = dtype == "BF16" or "both copied in BF16" in name
                    found.setdefault((name, right), []).append(measure(base, delta, delta_dtype, is_bf16))
        for (name, right), rows in found.items():
            verdicts = [row[5] for row in rows]
            a = np.array([row[:5] for row in rows])
            ratio = a[:, 3] / np.maximum(a[:, 4], 1e-9)
            margin = "-"
            if right and verdicts.count("unknown") < len(rows):
                judged = ratio[[v != "unknown" for v in verdicts]]
                z = float("inf") if judged.max() == 0 else (BAD_RATIO - judged.mean()) / max(judged.std(), 1e-4)
                least_margin = min(least_margin, z)
                margin = f"{z:.1f}"
            print(f"| {label} | {name} | {a[:, 0].mean():.4f} | {a[:, 1].mean():.2f} "
                  f"| {a[:, 3].min():.4f} {a[:, 3].mean():.4f} {a[:, 3].max():.4f} | {a[:, 4].mean():.3f} "
                  f"| {ratio.min():.3f} {ratio.mean():.3f} {ratio.max():.3f} "
                  f"| {' '.join(str(verdicts.count(v)) for v in ('good', 'near', 'bad', 'unknown'))} | {margin} |", flush=True)
            if right:
                n_right += len(rows)
                refused_right += verdicts.count("bad")
    print(f"\nright bases called bad: {refused_right} of {n_right} tensors; the least margin is {least_margin:.1f} standard deviations")


if __name__ == "__main__":
    main()
