#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends llavamed-apply the signals that end a run, in each of its phases, and takes the time until it has ended.

    tests/fault/signals.py --program P --shim SO --synth TOOL [--scale X] [--limit SECONDS] [PATTERN...]

The shim stops the program at a call of the phase; it gets the signal and goes on. In a slow phase each such call takes a
tenth of a second from then on, as on a disk that has to seek or over a network. It ends with 128 + the signal's number within
the limit (1 s) and says so, there is no OUT, after the signal only what was at work is written, and the same command gives the
exact bytes then, with what was written. In the midst of publishing it may also end well. A PATTERN (shell glob) picks by
"PHASE/SIGNAL". Ends with "N passed, N failed".
"""
import argparse
import collections
import fnmatch
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import runs

STOP_PROCESS = -2
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
WORKERS = 3
TIMEOUT_SECONDS = 120
# Each tile at work is written and noted, each worker may have begun a few before the calling thread had its turn (10 ms).
WRITES_AFTER_MAX = 8 * WORKERS

LARGE = ("large/base", "large/delta")
SMALL = ("small/base", "small/delta")  # the base in some fifty shards
SMALL_TORCH = ("small/base", "small/delta-torch")
LEFT_FILES = 40  # beside the shards, in what an earlier run has left

# A phase: options, class of calls and part of their path, which of these calls (a share of all), whether anything was written;
# base and delta, how long its calls take, whether OUT.partial is full of what a run with other options has left.
Phase = collections.namedtuple("Phase", "name options class_name path share writes model delay_ms has_leftovers",
                               defaults=(LARGE, 0, False))
PHASES = [
    Phase("opening", "", "open", "/delta", 0.0, False),
    Phase("planning", "-n", "read", "/delta/", 0.1, False),
    Phase("content", "-n", "read", "/delta/", 0.8, False),
    Phase("hashing", "--verify full", "read", "/base/", 0.3, False),
    Phase("tiles-early", "", "write", ".partial/", 0.05, True),
    Phase("tiles", "", "write", ".partial/", 0.6, True),
    Phase("tiles-torch", "--format torch --max-shard-size 40MB", "write", ".partial/", 0.6, True),
    Phase("last-sync", "", "fsync", ".safetensors", 1.0, True),
    Phase("read-back", "--verify full", "read", ".partial/", 0.5, True),
    Phase("publishing", "", "rename", "partial", 1.0, True),
    Phase("slow-shards", "-n", "read", "/base/", 0.2, False, SMALL, 100),
    Phase("slow-zip", "-n", "read", "/delta-torch/", 0.2, False, SMALL_TORCH, 100),
    Phase("slow-content", "-n", "read", "/delta/", 0.6, False, SMALL, 100),
    Phase("slow-no-resume", "--no-resume", "unlink", ".partial/", 0.2, True, SMALL, 100, True),
    Phase("slow-start-over", "", "unlink", ".partial/", 0.2, True, SMALL, 100, True),
]
# What leaves a lot: the options are not those of a phase, so that no phase goes on with it.
LEAVING = Phase("leaving", "--max-shard-size 5MB", "write", ".partial/", 0.5, True, SMALL)


def heed_signals():
    """A shell's job in the background ignores SIGINT, and so does all that it starts."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


class Signals:
    """Runs phases and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.passed, self.failed, self.longest = 0, 0, collections.defaultdict(float)

    def expect(self, name, holds, what):
        self.passed += bool(holds)
        self.failed += not holds
        if not holds:
            print(f"FAILED {name}: {what}", flush=True)

    def case(self, phase):
        return runs.Case(phase.name, *phase.model, "--json", f"-j{WORKERS}", "--max-memory", "48MiB",
                         *phase.options.split())

    def start(self, case, directory, fault, path, delay_ms=0):
        environment = self.bench.environment(directory, fault, path)
        environment["FAULT_DELAY_MS"] = str(delay_ms)
        environment.pop("MALLOC_PERTURB_")
        return subprocess.Popen(self.bench.command(case), cwd=directory, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=heed_signals)

    def whole(self, phase, directory):
        """How many calls of the phase an undisturbed run makes, and its result."""
        with self.start(self.case(phase), directory, f"{phase.class_name} 0 0 0", phase.path) as process:
            process.communicate(timeout=TIMEOUT_SECONDS)
        return int(runs.read_report(directory)["calls"]), runs.digest_tree(directory / "out")

    def interrupt(self, phase, directory, nth, number):
        """(status, document, seconds) of a run that gets the signal at the n-th call of its phase."""
        process = self.start(self.case(phase), directory, f"{phase.class_name} {nth} {STOP_PROCESS} 0", phase.path,
                             phase.delay_ms)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            return None, {}, 0
        process.send_signal(number)
        began = time.monotonic()
        process.send_signal(signal.SIGCONT)
        stdout, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        return process.returncode, json.loads(stdout), time.monotonic() - began

    def prepare(self, phase, directory):
        """An empty directory, or one in which an earlier run with other options was interrupted."""
        directory = self.bench.fresh(directory)
        if phase.has_leftovers:
            status = self.interrupt(LEAVING, directory, 5, signal.SIGINT)[0]
            self.expect(phase.name, status == 128 + signal.SIGINT, f"the run before ended with {status}")
            for i in range(LEFT_FILES):
                (directory / "out.partial" / f"left-{i:02}").write_bytes(b"left")
        return directory

    def run_phase(self, phase, numbers):
        directory = self.prepare(phase, self.bench.scratch / "work")
        n_calls, expected = self.whole(phase, directory)
        nth = max(1, min(n_calls, int(n_calls * phase.share)))
        for number in numbers:
            name = f"{phase.name}/{number.name}"
            directory = self.prepare(phase, directory)
            status, document, seconds = self.interrupt(phase, directory, nth, number)
            report = runs.read_report(directory)
            ended_well = phase.name in ("publishing", "last-sync") and status == 0
            self.longest[phase.name] = max(self.longest[phase.name], seconds)
            self.expect(name, status == 128 + number or ended_well, f"status {status}: {document.get('message')}")
            self.expect(name, seconds <= self.options.limit, f"it took {seconds:.2f} s")
            if ended_well:
                self.expect(name, runs.digest_tree(directory / "out") == expected, "other bytes")
                continue
            self.expect(name, document.get("code") == "INTERRUPTED", f"code {document.get('code')}")
            self.expect(name, not (directory / "out").exists(), "there is an OUT")
            if phase.class_name == "write":
                more = int(report.get("calls", 0)) - nth
                self.expect(name, more <= WRITES_AFTER_MAX, f"{more} more writes after the signal")
            self.check_rerun(name, phase, directory, expected)
        print(f"{phase.name:15} call {nth} of {n_calls}: ended after at most {self.longest[phase.name]:.2f} s", flush=True)

    def check_rerun(self, name, phase, directory, expected):
        self.expect(name, (directory / "out.partial").exists() == phase.writes,
                    "OUT.partial is " + ("missing" if phase.writes else "there"))
        with self.start(self.case(phase), directory, None, None) as process:
            document = json.loads(process.communicate(timeout=TIMEOUT_SECONDS)[0])
        self.expect(name, document["code"] == "ok", f"the next run ends with {document['message']}")
        self.expect(name, runs.digest_tree(directory / "out") == expected, "the next run gives other bytes")
        if phase.writes and phase.share > 0.1 and not phase.has_leftovers:
            self.expect(name, document["bytes"]["reused"] > 0, "the next run keeps nothing")

    def report(self):
        runs.write_count("tests/fault/signals.py", self.passed, self.failed)
        print(f"{self.passed} passed, {self.failed} failed")
        return self.failed == 0


def make_small(bench, synth):
    """Small enough to be made in no time, with tensors enough that slow calls add up."""
    small = bench.inputs / "small"
    subprocess.run([synth, "--out", small, "--scale", "0.003", "--base", "--delta", "--target", "--max-shard-size", "1MB"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run([bench.scratch / runs.MAKE_DELTA, "--base", small / "base", "--target", small / "target", "--format", "torch",
                    "--out", small / "delta-torch"], check=True, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", required=True)
    parser.add_argument("--scale", default="0.02", help="of the model: 0.02 is 324 MB of output")
    parser.add_argument("--limit", type=float, default=1.0)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llavamed-signals-") as scratch:  # on a disk: what is measured is how it syncs
        bench = runs.Bench(options.program, options.shim, scratch)
        subprocess.run([options.synth, "--out", bench.inputs / "large", "--scale", options.scale, "--max-shard-size", "1GB"],
                       check=True, stdout=subprocess.DEVNULL)
        make_small(bench, options.synth)
        signals = Signals(bench, options)
        for phase in PHASES:
            numbers = [number for number in SIGNALS if not options.patterns or
                       any(fnmatch.fnmatchcase(f"{phase.name}/{number.name}", p) for p in options.patterns)]
            if numbers:
                signals.run_phase(phase, numbers)
    sys.exit(0 if signals.report() else 1)


if __name__ == "__main__":
    main()
