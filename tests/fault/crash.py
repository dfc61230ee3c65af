#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills llavamed-apply, or takes the power away, at every instant; then OUT must be whole or not be, and a rerun must end well.

    tests/fault/crash.py --program P --shim CRASH_SHIM --synth TOOL [--sample N] [--seed N] [--jobs N] [PATTERN...]

For every command of CASES:

    kill     SIGKILL before the n-th change of a file or directory, for every n
    again    the same, and the rerun is killed too, at a change chosen at random
    moment   SIGKILL at a moment chosen at random, of the first run and, often, of the second
    power    the power fails after the n-th change, for every n: what was not synced is lost in several manners (volume.py)
    relapse  the same in the rerun of a run that was killed, or lost its power, at a change chosen at random

After each: OUT is not there, or is the old one (with --force), or holds exactly the bytes that an undisturbed run gives. Then
the same command is run again: it gives these bytes and leaves nothing beside OUT (it may refuse an OUT that is complete by then).
Where the order of the work is fixed (one thread), a later kill never leaves less to keep than an earlier one.

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
import volume
from torture import scratch_place

KINDS = ("kill", "again", "moment", "power", "relapse")
OUT_EXISTS = 5
HOURS_AGO = time.time() - 7200


class Case(runs.Case):
    """A command, and what its file system lacks."""

    def __init__(self, name, base, delta, *options, force=False, lacks="", program="llavamed-apply"):
        super().__init__(name, base, delta, *options, "--json", force=force, program=program)
        self.lacks = lacks
        self.in_order = "-j1" in options


CASES = [
    Case("safetensors", "cli/base", "cli/delta-safetensors", "-j1"),
    Case("torch", "cli/base-bin", "cli/delta", "-j1", "--format", "torch", "--max-shard-size", "4KB"),
    Case("shards", "cli/base", "cli/delta", "-j2", "--max-shard-size", "2KB"),
    Case("zip", "cli/base", "cli_archives/delta-deflated.zip", "-j2"),
    Case("force", "cli/base", "cli/delta", "-j1", force=True),
    Case("force-renames", "cli/base", "cli/delta", "-j2", force=True, lacks="exchange"),
    Case("full", "cli/base", "cli/delta", "-j2", "--verify", "full"),
    Case("poor", "cli/base", "cli/delta", "-j2", "--max-shard-size", "4KB", lacks="link exchange fallocate"),
    Case("signed", "cli/base", "cli/delta", "-j2", "--sign", f"@{runs.KEY}"),
    Case("exact", "cli/base", "cli/delta-safetensors", "-j1", "--exact", "--max-shard-size", "4KB", program=runs.MAKE_DELTA),
    Case("large", "large/base", "large/delta", "-j2", "--max-memory", "2MiB", "--max-shard-size", "1MB"),
]
QUICK_CASES = ("safetensors", "torch", "zip", "force-renames")
# The large model has too many instants for all of them; moments find it in the middle of its work most of the time.
LARGE = "large"


class Crashes:
    """Runs cases and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.random = random.Random(options.seed)
        self.lock = threading.Lock()
        self.local = threading.local()
        self.n_workers = 0
        self.score = collections.defaultdict(lambda: [0, 0])
        self.shown = 0
        self.expected, self.seconds, self.kept = {}, {}, collections.defaultdict(dict)
        self.old = bench.fresh(bench.scratch / "old")
        old = Case("old", "cli/base", "cli/delta", "--dtype", "float32")
        if self.run(old, self.old).returncode != 0:
            sys.exit("crash.py: the old OUT could not be made")
        self.old_digest = runs.digest_tree(self.old / "out")

    # ---- Runs ----

    def directory(self):
        """This thread's own, empty."""
        if not hasattr(self.local, "path"):
            with self.lock:
                self.n_workers += 1
                self.local.path = self.bench.scratch / f"worker-{self.n_workers}"
        return self.bench.fresh(self.local.path)

    def start(self, case, directory, at=0, log=None):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.bench.scratch)}
        if at or log or case.lacks:
            environment |= {"LD_PRELOAD": str(self.bench.shim), "CRASH_DIRECTORY": str(directory), "CRASH_LACKS": case.lacks,
                            "CRASH_AT": str(at)}
        if log:
            environment["CRASH_LOG"] = str(log)
        return subprocess.Popen(self.bench.command(case), cwd=directory, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def run(self, case, directory, at=0, log=None):
        with self.start(case, directory, at, log) as process:
            try:
                stdout, stderr = process.communicate(timeout=runs.TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                stdout, stderr = process.communicate()
                return subprocess.CompletedProcess([], None, stdout, b"it hangs")
        return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def fresh(self, case):
        directory = self.directory()
        self.place_old(case, directory)
        return directory

    def place_old(self, case, directory):
        if case.force:
            shutil.copytree(self.old / "out", directory / "out")

    def record(self, case, directory):
        """The records of a run in this directory, and how many changes it made."""
        log = self.bench.scratch / f"{directory.name}.log"
        ended = self.run(case, directory, log=log)
        return ended, *volume.read_log(log)

    def prepare(self, case):
        """The exact bytes of a case, checked by sha256sum, and how long it takes."""
        directory = self.fresh(case)
        began = time.monotonic()
        ended = self.run(case, directory)
        self.seconds[case.name] = time.monotonic() - began
        if ended.returncode != 0:
            sys.exit(f"crash.py: {case.name} fails undisturbed: {ended.stderr.decode()}")
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=directory / "out", check=True)
        self.expected[case.name] = runs.digest_tree(directory / "out")

    # ---- Judgement ----

    def complaints(self, case, directory):
        """What is wrong after a death, and after the rerun. Also what the rerun kept."""
        got = runs.digest_tree(directory / "out")
        is_complete = got == self.expected[case.name]
        allowed = {None, self.expected[case.name]} | ({self.old_digest} if case.force else set())
        if got not in allowed:
            return [f"OUT is neither whole nor missing: {self.listing(directory)}"], None
        if got is None and case.force and "exchange" not in case.lacks:
            return ["the old OUT is gone and the new one is not there"], None
        before = self.listing(directory)
        again = self.run(case, directory)
        if again.returncode == OUT_EXISTS and b"OUT_BUSY" in again.stdout and "link" in case.lacks:
            # Without hard links a claim is empty for a moment; then only its age tells that nobody works there.
            self.make_old(directory)
            again = self.run(case, directory)
        bad = []
        refused = again.returncode == OUT_EXISTS and is_complete and not case.force and b'"OUT_EXISTS"' in again.stdout
        if again.returncode != 0 and not refused:
            bad.append(f"the rerun ends with {again.returncode}: {again.stderr.decode()} of {before}")
        if runs.digest_tree(directory / "out") != self.expected[case.name]:
            bad.append("the rerun gives other bytes")
        left = sorted(path.name for path in directory.iterdir() if path.name != "out")
        if left:
            bad.append(f"left beside OUT: {left} (rerun: {again.returncode})")
        kept = json.loads(again.stdout)["bytes"]["reused"] if not bad and not is_complete else None
        return bad, kept

    @staticmethod
    def listing(directory):
        return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))

    @staticmethod
    def make_old(directory):
        for path in directory.rglob("*"):
            os.utime(path, (HOURS_AGO, HOURS_AGO))

    def note(self, case, kind, what, bad):
        with self.lock:
            self.score[kind][1 if bad else 0] += 1
            if bad:
                self.shown += 1
                if self.shown <= self.options.show:
                    print(f"FAILED {case.name}/{kind}, {what}: " + "; ".join(bad), flush=True)

    def judge(self, case, kind, what, directory):
        bad, kept = self.complaints(case, directory)
        self.note(case, kind, what, bad)
        return kept

    # ---- Kills ----

    def kill(self, case, at):
        directory = self.fresh(case)
        self.run(case, directory, at=at)
        kept = self.judge(case, "kill", f"change {at}", directory)
        if kept is not None:
            self.kept[case.name][at] = kept

    def again(self, case, first, second):
        directory = self.fresh(case)
        self.run(case, directory, at=first)
        self.run(case, directory, at=second)
        self.judge(case, "again", f"changes {first} and {second}", directory)

    def moment(self, case, delays):
        directory = self.fresh(case)
        for delay in delays:
            with self.start(case, directory) as process:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                process.communicate()
        self.judge(case, "moment", f"after {delays} s", directory)

    # ---- Power failures ----

    def power_states(self, case, directory, points):
        """Every different tree that a failure of the power may leave in a run from this directory on: (what, tree)."""
        played = volume.Volume(directory)
        _, records, n_changes = self.record(case, directory)
        seen = set()
        for number, record in records:
            played.play(record)
            if number == 0 or (points is not None and number not in points(n_changes)):
                continue
            for loss in volume.losses(self.random, self.options.losses):
                tree = played.after(loss)
                key = volume.digest(tree)
                if key not in seen:
                    seen.add(key)
                    yield f"change {number} ({record.call}), {loss.name}", tree

    def power(self, case, kind, what, tree):
        directory = self.directory()
        volume.make(tree, directory)
        self.judge(case, kind, what, directory)

    # ---- All of a case ----

    def wanted(self, case, kind):
        name = f"{case.name}/{kind}"
        return not self.options.patterns or any(fnmatch.fnmatchcase(name, p) for p in self.options.patterns)

    def sampled(self, items):
        items = list(items)
        n = self.options.sample or (self.options.large if self.case_is_large else len(items))
        return items if len(items) <= n else [items[i] for i in sorted(self.random.sample(range(len(items)), n))]

    def run_case(self, case, pool):
        self.prepare(case)
        self.case_is_large = case.name == LARGE
        n_changes = self.record(case, self.fresh(case))[2]
        every = range(1, n_changes + 2)
        tasks = []
        if self.wanted(case, "kill"):
            tasks += [(self.kill, case, at) for at in self.sampled(every)]
        if self.wanted(case, "again"):
            pairs = [(at, self.random.randint(1, n_changes)) for at in every for _ in range(2)]
            tasks += [(self.again, case, *pair) for pair in self.sampled(pairs)]
        if self.wanted(case, "moment"):
            n = self.options.sample or self.options.moments
            most = 1.3 * self.seconds[case.name]
            tasks += [(self.moment, case, [self.random.uniform(0, most) for _ in range(1 + i % 2)]) for i in range(n)]
        list(pool.map(lambda task: self.guarded(case, *task), tasks))
        self.check_kept(case)
        if self.wanted(case, "power"):
            self.run_powers(case, pool, "power", self.fresh(case))
        if self.wanted(case, "relapse"):
            for _ in range(1 if self.options.sample else self.options.relapses):
                directory = self.fresh(case)
                at = self.random.randint(n_changes // 4, n_changes)
                self.run(case, directory, at=at)
                self.run_powers(case, pool, "relapse", directory)
        if not self.options.sample:
            n = sum(sum(score) for score in self.score.values())
            print(f"{case.name}: {n} cases so far, {n_changes} changes in a run", flush=True)

    def run_powers(self, case, pool, kind, directory):
        n_points = 25
        points = None
        if self.case_is_large:
            def points(n_changes):
                return set(random.Random(self.options.seed).sample(range(1, n_changes + 1), min(n_points, n_changes)))
        states = self.sampled(self.power_states(case, directory, points))
        list(pool.map(lambda state: self.guarded(case, self.power, case, kind, *state), states))

    def guarded(self, case, task, *args):
        try:
            task(*args)
        except Exception as error:  # pylint: disable=broad-except
            self.note(case, "crash.py", f"{task.__name__} {args[1:3]}", [repr(error)])

    def check_kept(self, case):
        """A later kill leaves no less to keep."""
        if not case.in_order:
            return
        most, most_at = 0, 0
        for at, kept in sorted(self.kept[case.name].items()):
            bad = [f"the rerun keeps {kept} bytes, {most} after a kill at change {most_at}"] if kept < most else []
            if kept > most:
                most, most_at = kept, at
            self.note(case, "kept", f"change {at}", bad)

    def report(self):
        print(f"{'kind':10} {'cases':>7} {'failed':>7}")
        for name, (passed, failed) in sorted(self.score.items()):
            print(f"{name:10} {passed + failed:7} {failed:7}")
        failed = sum(score[1] for score in self.score.values())
        runs.write_count("tests/fault/crash.py", sum(score[0] for score in self.score.values()), failed)
        print(f"{sum(score[0] for score in self.score.values())} passed, {failed} failed")
        return failed == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", required=True)
    parser.add_argument("--sample", type=int, default=0, help="cases of each kind and command; 0: all")
    parser.add_argument("--quick", action="store_true", help="only these commands: " + " ".join(QUICK_CASES))
    parser.add_argument("--moments", type=int, default=250, help="kills at random moments, for each command")
    parser.add_argument("--losses", type=int, default=1, help="how often each random manner of losing is tried")
    parser.add_argument("--relapses", type=int, default=1, help="killed runs whose rerun loses its power")
    parser.add_argument("--large", type=int, default=100, help="cases of each kind of the large model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--show", type=int, default=40, help="failures to describe")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-crash-") as scratch:
        bench = runs.Bench(options.program, options.shim, scratch)
        cases = [case for case in CASES if not options.quick or case.name in QUICK_CASES]
        for case in cases:
            bench.copy_input(case.base)
            bench.copy_input(case.delta)
        if any(case.name == LARGE for case in cases):
            bench.make_large(options.synth)
        crashes = Crashes(bench, options)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for case in cases:
                if any(crashes.wanted(case, kind) for kind in KINDS):
                    crashes.run_case(case, pool)
        ok = crashes.report()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
