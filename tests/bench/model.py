#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""model.py REPORT.json [--cores N] [--read GB/S] [--write GB/S]: how long merges take by the model of docs/performance.md.

REPORT.json is the document of --json of a merge with -j 1, inputs in the page cache, on a quiet machine: its counters
give the costs of one worker. Prints them, and what the model says of models of several sizes on a machine of N cores (64)
whose storage reads and writes so many GB a second, at the same time (10 each). bench.py holds the model against runs.
"""
import argparse
import json
import sys

# What a worker does by itself; the rest is waiting.
WORK = ("read", "inflate", "add", "crc32", "sha256", "write", "other")
# Bytes of the tensors in F16, by name.
SIZES = (("7B", 13.48e9), ("13B", 26.03e9), ("30B", 65.06e9), ("65B", 130.57e9))


class Costs:
    """Seconds of one worker for a byte read and for a byte of output, from the counters of a merge with -j 1."""

    def __init__(self, report):
        counters = report["counters"]
        if counters["workers"] != 1:
            raise ValueError(f"the costs are those of one worker (the report has {counters['workers']})")
        written = counters["write"]["bytes"]
        self.read = counters["read"]["seconds"] / counters["read"]["bytes"]
        self.of_output = {name: counters[name]["seconds"] / written for name in WORK if name != "read"}
        # CRC-32s of inputs are part of what a byte of output costs: there are as many of them for each.
        self.sha256 = counters["sha256"]["seconds"] / counters["sha256"]["bytes"]

    def seconds(self, read_bytes, write_bytes):
        return read_bytes * self.read + write_bytes * sum(self.of_output.values())

    def text(self):
        rates = {"read": self.read, **{name: cost for name, cost in self.of_output.items() if cost > 0}}
        return ", ".join(f"{name} {cost * 1e9:.3f}" for name, cost in rates.items())


def hash_seconds(shards, lanes, rate):
    """Shards start in turn on the lane that is free first; each is one hash, eaten by one core at a time."""
    ends = [0.0] * max(1, min(lanes, len(shards)))
    for shard in shards:
        at = ends.index(min(ends))
        ends[at] += shard / rate
    return max(ends)


def predict(costs, work, machine):
    """(seconds, what limits): work has read, write (bytes) and shards (their sizes); machine has cores, threads, and
    read and write (bytes a second; None: no limit)."""
    workers = min(machine["cores"], machine["threads"])
    limits = {
        "cores": costs.seconds(work["read"], work["write"]) / workers,
        "hashes": hash_seconds(work["shards"], workers, 1 / costs.sha256),
        "reading": work["read"] / machine["read"] if machine["read"] else 0.0,
        "writing": work["write"] / machine["write"] if machine["write"] else 0.0,
    }
    limit = max(limits, key=limits.get)
    return limits[limit], limit


def cut(write_bytes, shard_bytes):
    """Sizes of the output's shards."""
    shards = [shard_bytes] * int(write_bytes // shard_bytes)
    return shards + ([write_bytes % shard_bytes] if write_bytes % shard_bytes else [])


def print_large(costs, cores, read, write):
    print(f"By the model, {cores} cores, as many workers, storage {read / 1e9:g} GB/s reading and {write / 1e9:g} GB/s writing:")
    print()
    print("| model | shards of | in flight | hashes GB/s | seconds | limit | GB/s written |")
    print("|---|---|---|---|---|---|---|")
    for name, size in SIZES:
        for shard in (5e9, 2e9):
            shards = cut(size, shard)
            lanes = min(len(shards), cores)
            work = {"read": 2 * size, "write": size, "shards": shards}
            seconds, limit = predict(costs, work, {"cores": cores, "threads": cores, "read": read, "write": write})
            print(f"| {name} | {shard / 1e9:g} GB | {lanes} | {lanes / costs.sha256 / 1e9:.1f} | {seconds:.1f} | {limit} | "
                  f"{size / seconds / 1e9:.1f} |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--read", type=float, default=10.0)
    parser.add_argument("--write", type=float, default=10.0)
    options = parser.parse_args()
    with open(options.report, encoding="utf-8") as file:
        costs = Costs(json.load(file))
    print(f"Costs of one worker, seconds for a GB read and a GB of output: {costs.text()}")
    print_large(costs, options.cores, options.read * 1e9, options.write * 1e9)


if __name__ == "__main__":
    sys.exit(main())
