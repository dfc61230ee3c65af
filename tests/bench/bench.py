#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py [options]: llavamed-apply against what its work costs at least, in one run and one table.

docs/benchmark.md says what is measured and why so. Every row that has a limit says whether it holds; a row misses when
the median is above the limit and so is the lower quartile (the spread of the pairs is the noise). Exit status 1 when a
row misses, else 3 when one could not be run here, else 0.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

import model

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FORMS = ((1, 4194304, "drop"), (2, 4194304, "drop"), (2, 1048576, "drop"), (4, 4194304, "drop"), (2, 4194304, "keep"),
         (4, 1048576, "keep"))
THREADS = (1, 2, 4, 8, 16)
ROWS = ("dd", "safetensors", "bin", "scaling", "memory", "cgroup")


def quartile(values):
    return sorted(values)[len(values) // 4]


class Table:
    """Rows as they are measured; the verdict at the end."""

    def __init__(self):
        self.missed = []
        self.not_run = []
        print(f"{'':44} {'median':>8} {'min':>8} {'max':>8} {'limit':>8}", flush=True)

    def row(self, what, values, limit=None):
        middle = statistics.median(values)
        verdict = ""
        if limit is not None:
            verdict = "holds" if middle <= limit else "within noise" if quartile(values) <= limit else "MISSED"
        if verdict == "MISSED":
            self.missed.append(what)
        shown = "" if limit is None else f"{limit:8.3f} {verdict}"
        print(f"{what:44} {middle:8.3f} {min(values):8.3f} {max(values):8.3f} {shown}", flush=True)

    def absent(self, what, why):
        self.not_run.append(what)
        print(f"{what:44} NOT RUN HERE: {why}", flush=True)

    def end(self):
        """The last line, and the exit status."""
        if self.not_run:
            print(f"not run here, so not known to hold: {'; '.join(self.not_run)}")
        print(f"{len(self.missed)} rows missed: {'; '.join(self.missed)}" if self.missed else
              "all limits that were measured hold")
        return 1 if self.missed else 3 if self.not_run else 0


class Pair:
    """A base and a delta, and their weights files."""

    def __init__(self, directory):
        self.base, self.delta = (os.path.join(directory, role) for role in ("base", "delta"))
        self.files = [weights(directory) for directory in (self.base, self.delta)]

    def all_files(self):
        return self.files[0] + self.files[1]


def weights(directory):
    names = sorted(os.listdir(directory))
    found = [name for name in names if name.endswith(".safetensors")] or [n for n in names if n.endswith(".bin")]
    return [os.path.join(directory, name) for name in found]


def total(files):
    return sum(os.stat(file).st_size for file in files)


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = os.path.abspath(options.build)
        self.program = os.path.abspath(options.program or os.path.join(self.build, "llavamed-apply"))
        self.directory = os.path.abspath(options.dir or os.path.join(self.build, "bench-data"))
        os.makedirs(self.directory, exist_ok=True)
        self.out = os.path.join(self.directory, "out")
        self.floor_out = os.path.join(self.directory, "floor")
        self.n_cores = len(os.sched_getaffinity(0))
        self.out_bytes = 0
        self.made = []
        self.checked = False  # what is timed is right: the first result is compared with its seed, bit by bit
        self.table = None
        self.printed = ""
        self.report = {}

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    # ---- Models ----

    def synth(self, size, directory):
        """size: of tests/tools/synth, as in --layers 2"""
        if not os.path.exists(os.path.join(directory, "complete")):
            shutil.rmtree(directory, ignore_errors=True)
            command = [os.path.join(self.build, "tools", "synth"), *size, "--out", directory]
            whole = subprocess.run([*command, "--base"], check=True, capture_output=True, text=True).stdout
            n_bytes = int(re.search(r"(\d+) bytes", whole).group(1))
            shutil.rmtree(directory)
            subprocess.run([*command, "--max-shard-size", str(n_bytes * 6 // 10)], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            with open(os.path.join(directory, "complete"), "w", encoding="ascii"):
                pass
        self.made.append(directory)
        return Pair(directory)

    def size(self):
        return ["--scale", str(self.options.scale)] if self.options.scale else ["--layers", str(self.options.layers)]

    def torch_pair(self, pair, directory):
        if not os.path.exists(os.path.join(directory, "complete")):
            for source in (pair.base, pair.delta):
                shard = f"{int(total(weights(source)) * 0.6 / 1e6)}MB"
                target = os.path.join(directory, os.path.basename(source))
                shutil.rmtree(target, ignore_errors=True)
                script = os.path.join(ROOT, "tests/tools/synth_to_bin.py")
                done = subprocess.run([self.options.python, "-B", script, source, target, "--max-shard-size", shard],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
                if done.returncode != 0:
                    return None, done.stderr.strip().splitlines()[-1]
            with open(os.path.join(directory, "complete"), "w", encoding="ascii"):
                pass
        self.made.append(directory)
        return Pair(directory), ""

    # ---- Runs ----

    def settle(self, pair, cold):
        """Nothing on its way to storage; the inputs out of the page cache, or all in it."""
        subprocess.run(["sync", "-f", self.directory], check=True)
        if cold:
            subprocess.run([self.tool("dropcache"), *pair.all_files()], check=True)
            time.sleep(1)
            return
        for file in pair.all_files():
            with open(file, "rb", buffering=0) as stream:
                while stream.read(1 << 24):
                    pass

    def timed(self, command):
        """(wall seconds until the disk has it all, CPU seconds, peak KiB)"""
        done = subprocess.run([self.tool("timed"), self.directory, *command], capture_output=True, text=True, check=False)
        found = re.search(r"seconds=(\S+) peak_kib=(\S+) user=(\S+) system=(\S+) exit=0", done.stdout)
        if found is None:
            sys.exit(f"bench.py: {' '.join(command)}: failed\n{done.stderr}")
        self.printed = done.stderr  # where timed sends it
        seconds, peak, user, system = (float(text) for text in found.groups())
        return seconds, user + system, peak

    def floor(self, pair, cold, form, hashes):
        shutil.rmtree(self.floor_out, ignore_errors=True)
        os.mkdir(self.floor_out)
        self.settle(pair, cold)
        command = [self.tool("floor"), "--out", self.floor_out, "--out-bytes", str(self.out_bytes), "--file-bytes",
                   str(self.out_bytes * 6 // 10 // 4096 * 4096), "--threads", str(form[0]), "--block", str(form[1]),
                   "--cache", form[2]]
        for option, files in zip("ab", pair.files):
            for file in files:
                command += [f"-{option}", file]
        result = self.timed(command + (["--hash"] if hashes else []))
        shutil.rmtree(self.floor_out)
        return result

    def merge(self, pair, cold, *more):
        """(wall seconds, CPU seconds, peak KiB); the document of --json is in self.report."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.settle(pair, cold)
        shard = str(total(pair.files[1]) * 6 // 10)
        command = [self.program, "--base", pair.base, "--delta", pair.delta, "--out", self.out, "-q", "--json",
                   "--max-shard-size", shard, *more]
        result = self.timed(command)
        self.report = json.loads(self.printed)
        self.out_bytes = total(weights(self.out))
        if not self.checked:
            self.checked = True
            synth = [os.path.join(self.build, "tools", "synth"), *self.size(), "--check", self.out]
            subprocess.run(synth, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.out)
        return result

    # ---- Rows ----

    def best_form(self, pair, cold, hashes):
        """That whose slower one of two runs is the fastest."""
        seconds = {form: max(self.floor(pair, cold, form, hashes)[0] for _ in range(2)) for form in FORMS}
        best = min(seconds, key=seconds.get)
        print(f"  floor: {best[0]} threads, blocks of {best[1]}, cache {best[2]}; others "
              + " ".join(f"{value:.2f}" for value in seconds.values()), flush=True)
        return best

    def against_dd(self, pair):
        file = pair.files[0][0]
        times = {"floor": [], "dd": []}
        for _ in range(self.options.pairs):
            for name in times:
                shutil.rmtree(self.floor_out, ignore_errors=True)
                os.mkdir(self.floor_out)
                self.settle(pair, True)
                if name == "dd":
                    command = ["dd", f"if={file}", f"of={self.floor_out}/dd", "bs=4M", "conv=fdatasync",
                               "iflag=nocache", "oflag=nocache"]
                else:
                    command = [self.tool("floor"), "-a", file, "--out", self.floor_out, "--out-bytes",
                               str(os.stat(file).st_size), "--threads", "2", "--block", "4194304"]
                times[name].append(self.timed(command)[0])
        shutil.rmtree(self.floor_out)
        self.table.row("floor, copy of a file: seconds", times["floor"])
        self.table.row("dd, copy of a file: seconds", times["dd"])
        self.table.row("floor / dd", [a / b for a, b in zip(times["floor"], times["dd"])], 1.05)

    def parts_seconds(self, pair):
        """Additions, SHA-256 and CRC-32 of the output, CRC-32 of .bin inputs."""
        found = re.fullmatch(r"add=(\S+) sha256=(\S+) crc32=(\S+)\n",
                             subprocess.run([self.tool("parts")], capture_output=True, text=True, check=True).stdout)
        add, sha256, crc32 = (float(text) for text in found.groups())
        summed = self.out_bytes
        if pair.files[0][0].endswith(".bin"):
            summed += total(pair.all_files())
        return (add + sha256) * self.out_bytes / 1e9 + crc32 * summed / 1e9

    def case(self, name, pair, cold):
        hashes = not cold
        form = self.best_form(pair, cold, hashes)
        floors, merges, copies, parts = [], [], [], []
        for i in range(self.options.pairs):
            runs = [lambda: floors.append(self.floor(pair, cold, form, hashes)),
                    lambda: merges.append(self.merge(pair, cold))]
            for run in runs if i % 2 == 0 else reversed(runs):
                run()
            copies.append(floors[-1][1] if not hashes else self.floor(pair, cold, form, False)[1])
            parts.append(copies[-1] + self.parts_seconds(pair))
        floor_name = "hashing floor" if hashes else "floor"
        self.table.row(f"{name}: {floor_name}, seconds", [run[0] for run in floors])
        self.table.row(f"{name}: merge, seconds", [run[0] for run in merges])
        self.table.row(f"{name}: merge / {floor_name}", [b[0] / a[0] for a, b in zip(floors, merges)], 1.15)
        self.table.row(f"{name}: merge, CPU seconds", [run[1] for run in merges])
        self.table.row(f"{name}: CPU / its parts", [run[1] / part for run, part in zip(merges, parts)], 1.25)

    def scaling(self, pair):
        """Inputs in the page cache, by threads; cold with as many as cores, which is the default, and twice as many."""
        runs = {n: [] for n in THREADS}
        floors = []
        for i in range(self.options.pairs):
            for n in runs if i % 2 == 0 else reversed(runs):
                seconds = self.merge(pair, False, "-j", str(n))[0]
                runs[n].append((seconds, self.report))
            floors.append(self.floor(pair, False, FORMS[0], False)[0])
            floors.append(self.floor(pair, False, FORMS[1], False)[0])
        times = {n: [seconds for seconds, _ in runs[n]] for n in runs}
        reference = times[max(n for n in THREADS if n <= self.n_cores)]
        for n in THREADS:
            self.table.row(f"cached, -j {n}: seconds", times[n])
            if n > self.n_cores:
                self.table.row(f"cached, -j {n} / -j of the cores", [a / b for a, b in zip(times[n], reference)], 1.0)
        cold = {n: [] for n in (self.n_cores, 2 * self.n_cores)}
        for i in range(self.options.pairs):
            for n in cold if i % 2 == 0 else reversed(cold):
                cold[n].append(self.merge(pair, True, "-j", str(n))[0])
        of_cores, of_twice = cold.values()
        self.table.row("cold, -j of the cores: seconds", of_cores)
        self.table.row("cold, -j of twice the cores / -j of the cores", [a / b for a, b in zip(of_twice, of_cores)])
        self.against_model(runs, min(floors))

    def against_model(self, runs, floor_seconds):
        """The model's prediction from the counters with -j 1, beside what was measured: tables for docs/performance.md."""
        middle = {n: sorted((report for _, report in runs[n]), key=lambda r: r["timings"]["merge_seconds"])
                  [len(runs[n]) // 2] for n in runs}
        costs = model.Costs(middle[1])
        shards = [shard["bytes"] for shard in middle[1]["result"]["shards"]]
        work = {"read": middle[1]["counters"]["read"]["bytes"], "write": middle[1]["counters"]["write"]["bytes"],
                "shards": shards}
        write_rate = work["write"] / floor_seconds
        print(f"\nCosts of one worker (-j 1), seconds for a GB read and a GB of output: {costs.text()}; storage takes "
              f"{write_rate / 1e9:.2f} GB/s (the floor), {len(shards)} shards.\n")
        print("| threads | predicted, s | limit | measured, s | error | sum of counters / threads x time |")
        print("|---|---|---|---|---|---|")
        for n, report in middle.items():
            machine = {"cores": self.n_cores, "threads": report["counters"]["workers"], "read": None, "write": write_rate}
            seconds, limit = model.predict(costs, work, machine)
            took = report["timings"]["merge_seconds"]
            counted = sum(p["seconds"] for name, p in report["counters"].items() if name != "workers")
            print(f"| {report['counters']['workers']} | {seconds:.2f} | {limit} | {took:.2f} | "
                  f"{100 * (seconds / took - 1):+.0f} % | {counted / (report['counters']['workers'] * took):.3f} |")
        names = [name for name in middle[1]["counters"] if name != "workers" and
                 any(report["counters"][name]["seconds"] > 0 for report in middle.values())]
        print(f"\nSeconds of all workers together:\n\n| threads | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for n, report in middle.items():
            print(f"| {report['counters']['workers']} | "
                  + " | ".join(f"{report['counters'][name]['seconds']:.2f}" for name in names) + " |")
        print()
        model.print_large(costs, 64, 10e9, 10e9)

    def memory(self, pairs):
        for more, allowed in (((), 256), (("-j", "1"), 256), (("-j", "64"), 256),
                              (("-j", "64", "--max-memory", "32MiB"), 32)):
            peaks, workers = [], set()
            for pair in pairs:
                peaks.append(self.merge(pair, True, *more)[2] / 1024)
                workers.add(self.report["counters"]["workers"])
            what = " ".join(more) or "as it is"
            self.table.row(f"peak MiB, {what}", peaks, allowed + 64.0)
            # A model of less than the buffers hold does not touch all of them; nor one that is done before all workers
            # are at work.
            fills = total(pairs[0].all_files()) >= 2 * allowed << 20 and len(workers) == 1
            self.table.row("  its growth over sizes, MiB", [max(peaks) - min(peaks)], 8.0 if fills else None)

    def small_cgroup(self, pair):
        """The same in a group of 512 MiB: wall time at most 1.3 times that outside."""
        group, limit, why = find_cgroup()
        if group is None:
            self.table.absent("in 512 MiB of memory / outside", why)
            return
        ratios = []
        os.mkdir(group)
        try:
            with open(os.path.join(group, limit), "w", encoding="ascii") as file:
                file.write(str(512 << 20))
            for _ in range(self.options.pairs):
                outside = self.merge(pair, True)[0]
                program = self.program
                wrapper = os.path.join(self.directory, "in-group")
                with open(wrapper, "w", encoding="ascii") as file:
                    file.write(f'#!/bin/sh\necho $$ >{group}/cgroup.procs && exec {program} "$@"\n')
                os.chmod(wrapper, 0o755)
                self.program = wrapper
                inside = self.merge(pair, True)[0]
                self.program = program
                os.unlink(wrapper)
                ratios.append(inside / outside)
        finally:
            os.rmdir(group)
        self.table.row("in 512 MiB of memory / outside", ratios, 1.3)

    def run(self):
        print(f"load of the machine {os.getloadavg()[0]:.1f}, {self.n_cores} cores, 7B with {' '.join(self.size())}")
        name = os.path.join(self.directory, "7b" + "".join(self.size()))
        pair = self.synth(self.size(), name)
        print(f"warm-up: a merge, which also writes the blocks that later runs use; inputs {total(pair.all_files()) / 1e9:.2f} GB")
        self.merge(pair, True)
        self.table = Table()
        for rows in self.options.only:
            self.run_rows(rows, pair, name)

    def run_rows(self, rows, pair, name):
        if rows == "dd":
            self.against_dd(pair)
        elif rows == "safetensors":
            self.case("safetensors, cold", pair, True)
            self.case("safetensors, cached", pair, False)
        elif rows == "bin":
            torch, why = self.torch_pair(pair, name + "-torch")
            if torch is None:
                self.table.absent(".bin", why)
            else:
                self.case(".bin, cold", torch, True)
                self.case(".bin, cached", torch, False)
        elif rows == "scaling":
            self.scaling(pair)
        elif rows == "memory":
            # The least that fills the buffers of the default.
            self.memory([self.synth(["--scale", "0.02"], os.path.join(self.directory, "7b-small")), pair])
        elif rows == "cgroup":
            self.small_cgroup(pair)

    def clean(self):
        for directory in (self.out, self.out + ".partial", self.floor_out):
            shutil.rmtree(directory, ignore_errors=True)
        if not self.options.keep:
            for directory in self.made:
                shutil.rmtree(directory, ignore_errors=True)


def find_cgroup():
    """(directory to make, name of its limit, None), or why there is none: a memory controller of version 2 or 1."""
    name = f"llavamed-bench-{os.getpid()}"
    for root, limit, marker in (("/sys/fs/cgroup", "memory.max", "cgroup.subtree_control"),
                                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.limit_in_bytes")):
        try:
            with open(os.path.join(root, marker), encoding="ascii") as file:
                if marker != "cgroup.subtree_control" or "memory" in file.read().split():
                    if os.access(root, os.W_OK):
                        return os.path.join(root, name), limit, None
        except OSError:
            continue
    return None, None, "no memory controller that may be used here"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--program")
    parser.add_argument("--dir", help="for models and results (BUILD/bench-data)")
    parser.add_argument("--layers", type=int, default=2, help="of 7B's 32: 2 write 1.3 GB and take ten minutes (2)")
    parser.add_argument("--scale", type=float, help="instead: all of 7B's tensors, shrunken to this part of its bytes")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--python", default=os.environ.get("PYTHON", "python3"), help="one that has torch, for .bin")
    parser.add_argument("--only", type=lambda text: text.split(","), default=ROWS, metavar="ROWS",
                        help=f"some of {','.join(ROWS)}")
    parser.add_argument("--keep", action="store_true", help="leave the models there")
    bench = Bench(parser.parse_args())
    try:
        bench.run()
    finally:
        bench.clean()
    return bench.table.end()


if __name__ == "__main__":
    sys.exit(main())
