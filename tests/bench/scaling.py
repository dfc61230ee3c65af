#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the scaling model of docs/clusters.md against runs of N parts at once, each with a bandwidth of its own.

    tests/bench/scaling.py --program P --shim LIMIT_SHIM --synth TOOL [--scale S] [--mb-per-second B] [--parts 1,2,4] [--rounds R]

The model: T(N) = T0 + max over k of (bytes that part k reads and writes) / B. The bytes are those that --dry-run tells of each part;
T0 is what the same command takes for its plan. Prints a table as in that page, of the fastest of R rounds, and the largest error.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--shim", type=pathlib.Path, required=True)
    parser.add_argument("--synth", type=pathlib.Path, required=True)
    parser.add_argument("--scale", default="0.015")
    parser.add_argument("--shard-size", default="10MB")
    parser.add_argument("--mb-per-second", type=float, default=40)
    parser.add_argument("--parts", default="1,2,4")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        subprocess.run([options.synth.resolve(), "--out", scratch / "m", "--scale", options.scale], check=True, stdout=subprocess.DEVNULL)
        measure(options, scratch)


def command(options, n, k, *more):
    return [options.program.resolve(), "--base", "m/base", "--delta", "m/delta", "--out", "out", "--max-shard-size", options.shard_size,
            "-j2", "-q", "--part", f"{k}/{n}", *more]


def planned(options, scratch, n, environment):
    """Bytes that each part moves, and the seconds that a plan takes."""
    shutil.rmtree(scratch / "out", ignore_errors=True)
    moved, plans = [], []
    for k in range(1, n + 1):
        began = time.monotonic()
        run = subprocess.run(command(options, n, k, "-n", "--json"), cwd=scratch, env=environment, check=True, capture_output=True)
        plans.append(time.monotonic() - began)
        figures = json.loads(run.stdout)["bytes"]
        moved.append((figures["planned_read"], figures["planned_write"]))
    return moved, max(plans)


def measure(options, scratch):
    rate = options.mb_per_second * 1e6
    environment = dict(os.environ, LD_PRELOAD=str(options.shim.resolve()), LIMIT_BYTES=str(rate))
    whole = None
    worst = 0.0
    print("| parts | largest part: read | written | model | measured | difference |\n|---:|---:|---:|---:|---:|---:|")
    for n in map(int, options.parts.split(",")):
        moved, plan_seconds = planned(options, scratch, n, environment)
        read, written = max(moved, key=sum)
        model = plan_seconds + (read + written) / rate
        seconds = []
        for _ in range(options.rounds):
            shutil.rmtree(scratch / "out", ignore_errors=True)
            began = time.monotonic()
            parts = [subprocess.Popen(command(options, n, k), cwd=scratch, env=environment) for k in range(1, n + 1)]
            statuses = [part.wait() for part in parts]
            seconds.append(time.monotonic() - began)
            if any(statuses) or not (scratch / "out").exists():
                sys.exit(f"scaling.py: {n} parts ended with {statuses}")
        digest = (scratch / "out" / "SHA256SUMS").read_bytes()
        whole = whole or digest
        if digest != whole:
            sys.exit(f"scaling.py: {n} parts gave other bytes than {options.parts.split(',')[0]}")
        error = min(seconds) / model - 1
        worst = max(worst, abs(error))
        print(f"| {n} | {read / 1e6:.1f} MB | {written / 1e6:.1f} MB | {model:.2f} s | {min(seconds):.2f} s | {100 * error:+.1f} % |", flush=True)
    print(f"largest difference {100 * worst:.1f} %, {options.mb_per_second:g} MB/s for each part")
    sys.exit(0 if worst < 0.15 else 1)


main()
