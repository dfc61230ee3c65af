#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it takes to begin: system calls and time of --help, --version and --dry-run.

startup.py --program FILE           all of it; times on a quiet machine
startup.py --program FILE --calls   the calls alone, which do not depend on the machine: part of make check

Models are headers without data (make_sparse.py) in a temporary directory. Calls are counted by strace. Limits on them
are what they are today and a tenth more: whoever adds looks at every file is told. Times are the median of --rounds (7)
runs, everything in the page cache. Planning is all that a dry run does but for the content test, which reads a sample
of the data: -v tells its time. Ends with "N passed, N failed".
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import make_sparse

LIMIT_65B_SECONDS = 0.050
LIMIT_100K_SECONDS = 1.0

# Of a base of 14 shards and a delta of 8, both with an index and six small files: calls that name a path of theirs, and
# reads. (What the loader, the C library and the look at the output do is not in them.)
LIMITS = {"directory": (112, 190), "hub cache": (280, 190)}
CONTENT_READS = 2578  # of the 564 matrices and 161 norms that the content test samples, in base and delta


class Table:
    def __init__(self):
        self.passed = self.failed = 0

    def row(self, what, got, limit, text):
        holds = got <= limit
        self.passed += holds
        self.failed += not holds
        print(f"{'ok    ' if holds else 'FAILED'} {what:48} {text}", flush=True)


def run(arguments, environment, directory):
    result = subprocess.run(arguments, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"startup.py: {' '.join(arguments)}: status {result.returncode}\n{result.stderr}")
    return result.stderr


def traced(arguments, environment, directory):
    trace = os.path.join(directory, "trace")
    classes = "trace=%file,pread64,preadv,preadv2,getdents64"
    run(["strace", "-f", "-qq", "-o", trace, "-e", classes, *arguments], environment, directory)
    with open(trace, encoding="utf-8") as file:
        return [line.split(None, 1)[1] for line in file if "execve(" not in line]


def count_calls(table, program, directory, environment):
    for option in ("--help", "--version"):
        lines = traced([program, option], environment, directory)
        paths = [line for line in lines if '"/' in line and not any(part in line for part in ("/lib", "/etc/ld.so"))]
        table.row(f"paths looked at by {option}", len(paths), 0, f"{len(paths)} (at most 0)")
    pairs = {"directory": ("base", "delta"), "hub cache": ("org/base", "org/delta")}
    for name, (base, delta) in pairs.items():
        command = [program, "--base", base, "--delta", delta, "--out", "out", "-n", "-q"]
        lines = traced(command, environment, directory)
        looks = sum('"base' in line or '"delta' in line or "/hub/" in line for line in lines)
        reads = sum(line.startswith(("pread", "getdents")) for line in lines)
        most_looks, most_reads = LIMITS[name]
        table.row(f"{name} of 14 + 8 shards: looks at paths", looks, most_looks, f"{looks} (at most {most_looks})")
        reads -= CONTENT_READS
        table.row(f"{name} of 14 + 8 shards: reads of headers", reads, most_reads, f"{reads} (at most {most_reads})")


def measure(table, what, command, limit, rounds, environment, directory):
    run(command, environment, directory)
    walls, contents, cpus = [], [], []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        told = run(command, environment, directory)
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        content = re.search(r"note: content test: .*; ([0-9.]+) s$", told, re.MULTILINE)
        contents.append(float(content.group(1)) if content else 0.0)
        walls.append(seconds - contents[-1])
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    wall, content, cpu = (statistics.median(values) * 1e3 for values in (walls, contents, cpus))
    table.row(what, wall, limit * 1e3, f"median {wall:.1f} ms, min {min(walls) * 1e3:.1f}, max {max(walls) * 1e3:.1f} "
              f"(at most {limit * 1e3:.0f}); content test {content:.0f} ms more; CPU of both {cpu:.0f} ms")


def measure_all(table, program, directory, environment, rounds):
    plan = ["--out", "out", "-n", "-v"]
    measure(table, "65B, directory of 14 + 8 shards", [program, "--base", "base", "--delta", "delta", *plan],
            LIMIT_65B_SECONDS, rounds, environment, directory)
    measure(table, "65B, hub cache of 14 + 8 shards", [program, "--base", "org/base", "--delta", "org/delta", *plan],
            LIMIT_65B_SECONDS, rounds, environment, directory)
    many = os.path.join(directory, "many")
    make_sparse.main([many, "100000"])
    measure(table, "100,000 tensors", [program, "--base", "many/base", "--delta", "many/delta", *plan],
            LIMIT_100K_SECONDS, rounds, environment, directory)
    measure(table, "--help", [program, "--help"], LIMIT_65B_SECONDS, rounds, environment, directory)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    table = Table()
    with tempfile.TemporaryDirectory() as directory:
        make_sparse.main([directory, "65b", "--hub"])
        environment = dict(os.environ, HF_HUB_CACHE=os.path.join(directory, "hub"))
        count_calls(table, program, directory, environment)
        if not options.calls:
            with open("/proc/loadavg", encoding="ascii") as file:
                print(f"load of the machine: {file.read().split()[0]}")
            measure_all(table, program, directory, environment, options.rounds)
    print(f"{table.passed} passed, {table.failed} failed")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
