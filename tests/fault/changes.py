#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Changes an input while llavamed-apply reads it: the shim stops the program at its n-th read, the file is changed, it goes on.

    tests/fault/changes.py --program P --shim SO --synth TOOL [--moments N] [--seed N] [--jobs N] [PATTERN...]

For every command of CHANGED_CASES, each of its files or sets of files, each change of CHANGES and N moments spread over all
reads (default 12): the run ends in time with one error and no OUT, or it gives the exact bytes of the old input or of the new
one, never of both. A run that fails leaves nothing that stops the next one. A PATTERN (shell glob) picks by "CASE/FILE/CHANGE".
Ends with "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import runs
from torture import scratch_place

STOP_PROCESS = -2

# Two files of one delta: one is copied at the end, the other is written as it was read while planning.
SMALL_PAIR = "cli/delta-safetensors/tokenizer.model cli/delta-safetensors/config.json"

# Command, and the files of its inputs that are changed; of several in one string all at the same moment.
CHANGED_CASES = [
    ("safetensors", ["cli/base/model.safetensors", "cli/delta-safetensors/model.safetensors",
                     "cli/delta-safetensors/tokenizer.model", "cli/delta-safetensors/config.json", SMALL_PAIR]),
    ("bin", ["cli/base-bin/pytorch_model.bin", "cli/delta/pytorch_model-00002-of-00002.bin",
             "cli/delta/pytorch_model.bin.index.json"]),
    ("meta", ["meta/two/13B/consolidated.01.pth", "meta/two/13B/params.json"]),
    ("strided", ["cli_forms/base-legacy.bin", "cli_forms/delta-transposed.bin"]),
    ("zip", ["cli_archives/delta-deflated.zip", "cli/base/model.safetensors"]),
    ("full", ["cli/base/model.safetensors", "cli/delta/pytorch_model-00001-of-00002.bin"]),
]


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


def overwrite(path):
    """One byte of the second half, in place: of the weights themselves in all forms but zip."""
    with open(path, "r+b") as file:
        at = path.stat().st_size * 3 // 5
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def replace(path):
    """As editors and downloaders do: another file takes the name."""
    new = path.with_name(path.name + ".new")
    shutil.copy(path, new)
    overwrite(new)
    os.replace(new, path)


def touch(path):
    os.utime(path)


def remove(path):
    path.unlink()


CHANGES = [truncate, append, overwrite, replace, touch, remove]

# A shard that a checklist names: first the other shard lies there, whole, and at the moment the right one takes its place.
SPOILT = ("meta", "meta/two/13B/consolidated.01.pth", "consolidated.00.pth")


def correct(path):
    path.with_name("right").replace(path)


def spoil(path):
    path.rename(path.with_name("right"))
    shutil.copy2(path.with_name(SPOILT[2]), path)


def change_all(change, place, names):
    for name in names.split():
        change(place / name)


class Changer:
    """Runs one change at one moment."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.lock = threading.Lock()
        self.local = threading.local()
        self.n_workers = 0
        self.score = collections.defaultdict(collections.Counter)
        self.expected = {}

    def directory(self):
        if not hasattr(self.local, "path"):
            with self.lock:
                self.n_workers += 1
                self.local.path = self.bench.scratch / f"worker-{self.n_workers}"
        return self.local.path

    def inputs(self, case, directory):
        """Copies of a case's inputs, with the times of the originals."""
        place = directory / "inputs"
        for name in (case.base, case.delta):
            source, target = self.bench.inputs / name, place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
        return place

    def outcome(self, case, name, change):
        """What a run gives when the change was made before it: a digest, None when it is refused."""
        key = (case.name, name, change and change.__name__)
        if key not in self.expected:
            directory = self.bench.fresh(self.directory())
            place = self.inputs(case, directory)
            if change is not None:
                change_all(change, place, name)
            self.bench.run(case, directory, inputs=place)
            self.expected[key] = runs.digest_tree(directory / "out")
        return self.expected[key]

    def run_stopped(self, case, directory, place, nth, change):
        """A run that is stopped at its n-th read for the change."""
        environment = self.bench.environment(directory, f"read {nth} {STOP_PROCESS} 0")
        with open(directory / "stdout", "wb") as out, open(directory / "stderr", "wb") as err:
            process = subprocess.Popen(self.bench.command(case, place), cwd=directory, env=environment, stdout=out,
                                       stderr=err, stdin=subprocess.DEVNULL)
            changed, status, ends = False, None, time.monotonic() + runs.TIMEOUT_SECONDS
            while status is None and time.monotonic() < ends:
                pid, wait_status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
                if pid == 0:
                    time.sleep(0.0005)
                elif os.WIFSTOPPED(wait_status):
                    change()
                    changed = True
                    os.kill(process.pid, signal.SIGCONT)
                else:
                    status = os.waitstatus_to_exitcode(wait_status)
            if status is None:
                process.kill()
                os.waitpid(process.pid, 0)
            process.returncode = status
        stdout, stderr = ((directory / stream).read_text() for stream in ("stdout", "stderr"))
        return runs.Result(status, stdout, stderr, runs.read_report(directory)), changed

    def complaints(self, case, name, change, result, directory):
        if result.status is None:
            return ["it hangs"]
        bad = runs.complaints_about_messages(case, result)
        got = runs.digest_tree(directory / "out")
        if result.status == 0:
            possible = {self.outcome(case, name, each) for each in (None, change) if each is not correct}
            if got not in possible or got is None:
                bad.append("OUT is neither that of the old input nor that of the new one")
        elif result.status not in (1, 3, 4, 6):
            bad.append(f"status {result.status}: {runs.error_line(result)}")
        elif got is not None:
            bad.append("there is an OUT")
        if [path.name for path in directory.glob("out.*")]:
            bad.append("something is left beside OUT")
        return bad

    def attempt(self, case, name, change, nth):
        directory = self.bench.fresh(self.directory())
        place = self.inputs(case, directory)
        if change is correct:
            spoil(place / name)
        result, changed = self.run_stopped(case, directory, place, nth, lambda: change_all(change, place, name))
        if not changed:
            return
        bad = self.complaints(case, name, change, result, directory)
        with self.lock:
            counter = self.score[change.__name__]
            counter["failed" if bad else "passed"] += 1
            counter[f"status {result.status}"] += 1
            if bad:
                print(f"FAILED {case.name}/{name}/{change.__name__}, read {nth} ({result.where[1]}): " + "; ".join(bad),
                      flush=True)
            if self.options.verbose:
                print(f"{case.name}/{name}/{change.__name__} {nth} {result.status} {runs.error_line(result)}")

    def guarded(self, case, name, change, nth):
        try:
            self.attempt(case, name, change, nth)
        except Exception as error:  # pylint: disable=broad-except
            with self.lock:
                self.score[change.__name__]["failed"] += 1
                print(f"FAILED {case.name}/{name}/{change.__name__}, read {nth}: changes.py: {error!r}")

    def n_reads(self, case):
        return int(self.bench.run(case, self.bench.fresh(self.directory()), "read 0 0 0").report["calls"])

    def moments(self, case):
        """Which reads to stop at."""
        n_reads = self.n_reads(case)
        n = self.options.moments
        first = self.options.seed % max(1, n_reads // n)
        return sorted({min(n_reads, 1 + first + i * n_reads // n) for i in range(n)})

    def report(self):
        print(f"{'change':10} {'runs':>6} {'noticed':>8} {'refused':>8} {'whole':>6} {'failed':>7}")
        for name, counter in sorted(self.score.items()):
            refused = sum(counter[f"status {status}"] for status in (1, 3, 4))
            print(f"{name:10} {counter['passed'] + counter['failed']:6} {counter['status 6']:8} {refused:8} "
                  f"{counter['status 0']:6} {counter['failed']:7}")
        passed = sum(counter["passed"] for counter in self.score.values())
        failed = sum(counter["failed"] for counter in self.score.values())
        runs.write_count("tests/fault/changes.py", passed, failed)
        print(f"{passed} passed, {failed} failed")
        return failed == 0 and passed > 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", help="as torture.py, not used")
    parser.add_argument("--moments", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = {case.name: case for case in runs.CASES}
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-changes-") as scratch:
        changer = Changer(runs.Bench(options.program, options.shim, scratch), options)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for case_name, names in CHANGED_CASES:
                case = cases[case_name]
                moments = changer.moments(case)
                tasks = [(case, name, change, nth) for name in names for change in CHANGES for nth in moments]
                if case_name == SPOILT[0]:  # at most reads, as the checklist is looked at in few
                    step = max(1, changer.n_reads(case) // (10 * options.moments))
                    tasks += [(case, SPOILT[1], correct, nth) for nth in range(1, changer.n_reads(case) + 1, step)]
                tasks = [task for task in tasks if not options.patterns or
                         any(fnmatch.fnmatchcase(f"{case.name}/{task[1]}/{task[2].__name__}", p) for p in options.patterns)]
                list(pool.map(lambda task: changer.guarded(*task), tasks))
        ok = changer.report()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
