#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stops llavamed-apply before a change of a file until a run of another host has taken over, then lets it go on.

    tests/fault/takeovers.py --program P --shim SO --synth TOOL [--sample N] [--seed N] [--jobs N] [PATTERN...]

The shim plays the other host (its name, and waits that take no time); the claim is made two minutes old by its time. For every
command of CASES and every change of a file or directory (create, write, rename, link, unlink, mkdir...), two kinds:

    after   the first run stands still within the n-th change, the second one takes over and ends, the first goes on
    amid    the same, but the second one stands still within a change of its own, chosen at random, while the first goes on

The first one has to end as OUT_BUSY with one message, unless it had published before or had no claim yet; whatever happens, OUT is
not there, or the old one, or complete. "after": OUT stays the very directory and files of the second run, and nothing is left beside
it. "amid": the second one ends well, or says what is wrong and the next run gives the exact bytes.
With --sample, about N cases of each kind. A PATTERN (shell glob) picks by "CASE/KIND". Ends with "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import random
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
NEVER = 1000000000
OUT_UNWRITABLE_STATUS = 5
HEARTBEAT_AGE_SECONDS = 200
RELEASED_BEFORE = 400000000
TIMEOUT_SECONDS = 60


class Case(runs.Case):
    """A command, what its file system lacks (see shim.h), and whether a dead run has left something."""

    def __init__(self, name, base, delta, *options, force=False, lacks=None, leftovers=False,
                 program="llavamed-apply"):
        super().__init__(name, base, delta, *options, "--json", force=force, program=program)
        self.lacks, self.leftovers = lacks, leftovers
        self.environment = {}  # beside it


POOR = "link:1 exchange:22 fallocate:95 times:38"
CASES = [
    Case("safetensors", "cli/base", "cli/delta-safetensors", "-j1"),
    Case("torch", "cli/base-bin", "cli/delta", "-j2", "--format", "torch", "--max-shard-size", "4KB"),
    Case("zip", "cli/base", "cli_archives/delta-deflated.zip", "-j2"),
    Case("resume", "cli/base", "cli/delta", "-j1", "--max-shard-size", "4KB", leftovers=True),
    Case("over", "cli/base", "cli/delta", "-j1", "--no-resume", leftovers=True),
    Case("force", "cli/base", "cli/delta", "-j1", force=True),
    Case("force-renames", "cli/base", "cli/delta", "-j1", force=True, lacks="exchange:22"),
    Case("poor", "cli/base", "cli/delta", "-j1", force=True, lacks=POOR),
    Case("signed", "cli/base", "cli/delta", "-j1", "--sign", f"@{runs.KEY}"),
    Case("exact", "cli/base", "cli/delta-safetensors", "-j1", "--exact", program=runs.MAKE_DELTA),
]
FORCE_OLD = runs.Case("old", "cli/base", "cli/delta", "--dtype", "float32")
KINDS = ("after", "amid")


class Process:
    """A run that may be stopped."""

    def __init__(self, bench, case, directory, host, nth, label=None):
        label = label or host
        environment = bench.environment(directory, f"change {nth} {STOP_PROCESS} 0")
        environment |= {"FAULT_HOST": host, "FAULT_REPORT": str(directory.parent / f"{directory.name}-{label}.report")}
        environment |= getattr(case, "environment", {})
        if case.lacks:
            environment["FAULT_LACKS"] = case.lacks
        self.files = [directory.parent / f"{directory.name}-{label}.{stream}" for stream in ("stdout", "stderr")]
        self.status = None
        with open(self.files[0], "wb") as out, open(self.files[1], "wb") as err:
            self.process = subprocess.Popen(bench.command(case), cwd=directory, env=environment, stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL)

    def wait(self):
        """True: it has stopped. False: it has ended, or was killed because it hangs (status None)."""
        ends = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < ends:
            pid, wait_status = os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)
            if pid == 0:
                time.sleep(0.001)
            elif os.WIFSTOPPED(wait_status):
                return True
            else:
                self.status = self.process.returncode = os.waitstatus_to_exitcode(wait_status)
                return False
        self.process.kill()
        os.waitpid(self.process.pid, 0)
        self.process.returncode = -9
        return False

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def result(self):
        stdout, stderr = (path.read_text() for path in self.files)
        return runs.Result(self.status, stdout, stderr, {})

    def code(self):
        try:
            return json.loads(self.files[0].read_text())["code"]
        except (ValueError, KeyError):
            return None


class Takeovers:
    """Runs cases and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.random = random.Random(options.seed)
        self.lock = threading.Lock()
        self.local = threading.local()
        self.n_workers = 0
        self.score = collections.defaultdict(collections.Counter)
        self.expected, self.n_changes = {}, {}
        self.old = bench.fresh(bench.scratch / "old")
        if bench.run(FORCE_OLD, self.old).status != 0:
            sys.exit("takeovers.py: the old OUT could not be made")

    def directory(self):
        if not hasattr(self.local, "path"):
            with self.lock:
                self.n_workers += 1
                self.local.path = self.bench.scratch / f"worker-{self.n_workers}"
        return self.local.path

    def set_up(self, case):
        directory = self.bench.fresh(self.directory())
        if case.force:
            shutil.copytree(self.old / "out", directory / "out")
        if case.leftovers:
            shutil.copytree(self.bench.scratch / f"leftovers-{case.name}", directory / "out.partial")
        return directory

    def leave(self, case):
        """What a killed run leaves: a part of the work, and its claim."""
        directory = self.bench.fresh(self.directory())
        process = Process(self.bench, case, directory, "one", 30)
        if not process.wait():
            sys.exit(f"takeovers.py: {case.name} has ended before it could be killed")
        process.process.kill()
        process.go_on()
        process.wait()
        shutil.copytree(directory / "out.partial", self.bench.scratch / f"leftovers-{case.name}")

    def prepare(self, case):
        if case.leftovers:
            self.leave(case)
        directory = self.set_up(case)
        process = Process(self.bench, case, directory, "one", NEVER)
        process.wait()
        report = runs.read_report_file(directory.parent / f"{directory.name}-one.report")
        self.expected[case.name] = runs.digest_tree(directory / "out")
        if process.status != 0 or self.left_in(directory):
            sys.exit(f"takeovers.py: {case.name} fails undisturbed: {process.result().stderr} {self.left_in(directory)}")
        self.n_changes[case.name] = int(report["calls"])

    @staticmethod
    def left_in(directory):
        return sorted(path.name for path in directory.iterdir() if path.name != "out")

    @staticmethod
    def claims(directory):
        return [path for path in [directory / "out.publishing.json", directory / "out.partial/.llavamed-claim-1-of-1.json"]
                if path.exists()]

    def let_grow_old(self, directory):
        names = [*directory.glob("out.publishing*.json"), *directory.glob("out.partial/.llavamed-claim-*")]
        for path in names:
            if path.stat().st_mtime > RELEASED_BEFORE:
                before = time.time() - HEARTBEAT_AGE_SECONDS
                os.utime(path, (before, before))

    def is_claimed_by(self, directory, host):
        return any(f'"host": "{host}"'.encode() in path.read_bytes() for path in self.claims(directory))

    @staticmethod
    def identities(directory):
        """The directory and its files themselves, whatever their names and times."""
        out = directory / "out"
        return out.stat().st_ino, sorted((path.name, path.stat().st_ino) for path in out.iterdir())

    def is_whole(self, case, directory, may_be_missing):
        got = runs.digest_tree(directory / "out")
        old = runs.digest_tree(self.old / "out") if case.force else None
        return got == self.expected[case.name] or got == old or (may_be_missing and got is None)

    # ---- One case ----

    def attempt(self, case, kind, nth):
        directory = self.set_up(case)
        first = Process(self.bench, case, directory, "one", nth)
        if not first.wait():
            return [] if first.status == 0 else [f"the first run ends undisturbed with status {first.status}"]
        self.let_grow_old(directory)
        owned = self.is_claimed_by(directory, "one")
        published = runs.digest_tree(directory / "out") == self.expected[case.name]
        lacks_exchange = case.lacks is not None and "exchange" in case.lacks
        bad = [] if self.is_whole(case, directory, lacks_exchange) else ["OUT is not whole when the first run stops"]
        amid = self.local_random().randint(1, self.n_changes[case.name]) if kind == "amid" else NEVER
        second = Process(self.bench, case, directory, "two", amid)
        second_stopped = second.wait()
        owned = owned and not (second_stopped and not self.is_claimed_by(directory, "two"))
        identities = None
        if not second_stopped:
            bad += self.complaints_about_second(case, second, published, directory)
            identities = self.identities(directory) if (directory / "out").exists() else None
        first.go_on()
        first.wait()
        bad += self.complaints_about_first(case, first, owned, published, second_stopped)
        if not self.is_whole(case, directory, lacks_exchange):
            bad.append("OUT is not whole when the first run has ended")
        if second_stopped:
            self.let_grow_old(directory)
            second.go_on()
            second.wait()
            bad += self.complaints_about_disturbed(case, second, directory)
        else:
            if first.status != 0 and identities != self.identities(directory):
                bad.append("OUT is not what the second run has left")
            if self.left_in(directory):
                bad.append(f"left: {self.left_in(directory)}")
        where = runs.read_report_file(directory.parent / f"{directory.name}-one.report").get("where", "")
        return [f"{complaint} ({where}; first {first.status} {first.code()}, second {second.status} {second.code()})"
                for complaint in bad]

    def local_random(self):
        if not hasattr(self.local, "random"):
            self.local.random = random.Random(self.options.seed + self.n_workers)
        return self.local.random

    def complaints_about_second(self, case, second, published, directory):
        allowed = {0, OUT_UNWRITABLE_STATUS} if published else {0}
        bad = runs.complaints_about_messages(case, second.result())
        if second.status not in allowed:
            bad.append(f"the second run: status {second.status}, {runs.error_line(second.result())}")
        if runs.digest_tree(directory / "out") != self.expected[case.name]:
            bad.append("OUT is not complete when the second run has ended")
        return bad

    def complaints_about_first(self, case, first, owned, published, second_stopped):
        if first.status is None:
            return ["the first run hangs"]
        bad = runs.complaints_about_messages(case, first.result())
        if published:
            allowed = {(0, "ok")}
        elif owned:
            allowed = {(5, "OUT_BUSY")}
        else:
            allowed = {(5, "OUT_BUSY"), (5, "OUT_EXISTS")}
            # It had not begun, or it is not yet taken over: it comes after the second run, or before it.
            allowed |= {(0, "ok")} if case.force or second_stopped else set()
        if (first.status, first.code()) not in allowed:
            bad.append(f"the first run: {runs.error_line(first.result())}, want one of {sorted(allowed)}")
        return bad

    def complaints_about_disturbed(self, case, second, directory):
        if second.status is None:
            return ["the second run hangs"]
        bad = runs.complaints_about_messages(case, second.result())
        if second.status == 0:
            if runs.digest_tree(directory / "out") != self.expected[case.name]:
                bad.append("the second run ends well, and OUT is not complete")
            return bad + ([f"left: {self.left_in(directory)}"] if self.left_in(directory) else [])
        if second.status not in (5, 6):
            bad.append(f"the second run: status {second.status}, {runs.error_line(second.result())}")
        with self.lock:
            self.score[case.name]["disturbed"] += 1
        if not self.is_whole(case, directory, False):
            bad.append("OUT is not whole when both have ended")
        self.let_grow_old(directory)
        third = Process(self.bench, case, directory, "three", NEVER)
        third.wait()
        if third.status != 0 and third.code() != "OUT_EXISTS":
            bad.append(f"the next run: {runs.error_line(third.result())}")
        if runs.digest_tree(directory / "out") != self.expected[case.name]:
            bad.append("the next run does not make OUT")
        return bad

    def guarded(self, case, kind, nth):
        try:
            bad = self.attempt(case, kind, nth)
        except Exception as error:  # pylint: disable=broad-except
            bad = [f"takeovers.py: {error!r}"]
        with self.lock:
            self.score[case.name]["failed" if bad else "passed"] += 1
            self.score[case.name][kind] += 1
            if bad:
                print(f"FAILED {case.name}/{kind}, change {nth}: " + "; ".join(bad), flush=True)

    def tasks(self, cases):
        """Every change of every case, or a sample of them spread over all."""
        tasks = [(case, kind, nth) for case in cases for kind in KINDS for nth in range(1, self.n_changes[case.name] + 1)
                 if not self.options.patterns or any(fnmatch.fnmatchcase(f"{case.name}/{kind}", p) for p in self.options.patterns)]
        if not self.options.sample:
            return tasks
        sample = []
        for kind in KINDS:
            of_kind = [task for task in tasks if task[1] == kind]
            sample += self.random.sample(of_kind, min(len(of_kind), self.options.sample))
        return sample

    def report(self):
        print(f"{'case':14} {'changes':>8} {'after':>6} {'amid':>6} {'disturbed':>10} {'failed':>7}")
        for name, counter in sorted(self.score.items()):
            print(f"{name:14} {self.n_changes[name]:8} {counter['after']:6} {counter['amid']:6} {counter['disturbed']:10} "
                  f"{counter['failed']:7}")
        passed = sum(counter["passed"] for counter in self.score.values())
        failed = sum(counter["failed"] for counter in self.score.values())
        runs.write_count("tests/fault/takeovers.py", passed, failed)
        print(f"{passed} passed, {failed} failed")
        return failed == 0 and passed > 0


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", help="as torture.py, not used")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("patterns", nargs="*")
    return parser.parse_args()


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-takeovers-") as scratch:
        takeovers = Takeovers(runs.Bench(options.program, options.shim, scratch), options)
        cases = [case for case in CASES if not options.patterns or
                 any(fnmatch.fnmatchcase(f"{case.name}/{kind}", p) for kind in KINDS for p in options.patterns)]
        for case in cases:
            takeovers.prepare(case)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda task: takeovers.guarded(*task), takeovers.tasks(cases)))
        ok = takeovers.report()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
