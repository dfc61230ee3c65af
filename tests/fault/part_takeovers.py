#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stops a part of a merge, or what finishes it, before a change of a file, has another host come, and lets it go on.

    tests/fault/part_takeovers.py --program P --shim SO --synth TOOL [--sample N] [--seed N] [--jobs N] [PATTERN...]

As takeovers.py does with whole runs: the first command stands still within its n-th change, its claim is made two minutes old, and a
second command is run by another host. Kinds:

    after   the second one ends, then the first goes on
    amid    the second one stands still within a change chosen at random, the first goes on to its end, then the second does
    dies    the second one is killed within a change chosen at random, then the first goes on

Whatever happens, OUT is not there, or the old one (with --force), or the exact bytes of one run; each command ends with 0, or with 5 and
one message; and then all parts and finishing, run again, give these bytes and leave nothing beside them. With --sample, about N cases of
each scene and kind. A PATTERN (shell glob) picks by "SCENE/KIND". Ends with "N passed, N failed".
"""
import collections
import concurrent.futures
import fnmatch
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import runs
from takeovers import HEARTBEAT_AGE_SECONDS, NEVER, Process, parse_options
from torture import scratch_place

KINDS = ("after", "amid", "dies")
N_PARTS = 2
SHARDS = ["-j1", "--max-shard-size", "2KB"]


class Command(runs.Case):
    """One command on cli/base and cli/delta; FINISH takes neither."""

    def __init__(self, *options, finishes=False, lacks=None, force=False):
        super().__init__("command", "cli/base", "cli/delta", *([] if finishes else SHARDS), *options, "--json", force=force)
        self.finishes, self.lacks = finishes, lacks


def part(k, *options, **more):
    return Command("--part", f"{k}/{N_PARTS}", *options, **more)


def finish(**more):
    return Command("--finish", finishes=True, **more)


class Scene:
    """All parts are done, unfinished; `first` is stopped, `second` comes."""

    def __init__(self, name, first, second, force=False, lacks=None):
        self.name, self.force, self.lacks = name, force, lacks
        self.first, self.second = (make(force=force, lacks=lacks) for make in (first, second))
        self.again = [part(k, "--no-finish", force=force, lacks=lacks) for k in range(1, N_PARTS + 1)]
        self.again.append(finish(force=force, lacks=lacks))


def anew(**more):
    return part(2, "--no-resume", "--no-finish", **more)


def last(**more):
    return part(2, "--no-resume", **more)


SCENES = [
    Scene("finish-part", finish, anew),
    Scene("finish-last", finish, last),
    Scene("finish-finish", finish, finish),
    Scene("part-finish", anew, finish),
    Scene("last-part", last, anew),
    Scene("force", finish, anew, force=True),
    Scene("poor", finish, anew, lacks="link:1 exchange:22 fallocate:95 times:38"),
]


class PartBench(runs.Bench):
    """Whose commands need not have inputs."""

    def command(self, case, inputs=None):
        command = super().command(case, inputs)
        if not getattr(case, "finishes", False):
            return command
        return [command[0], "--out", "out", *case.options]


class PartTakeovers:
    """Runs scenes and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.lock, self.local, self.n_workers = threading.Lock(), threading.local(), 0
        self.score = collections.defaultdict(collections.Counter)
        self.n_changes = {}
        self.want = self.make("want", Command())
        self.old = self.make("old", Command("--dtype", "float32"))
        self.done = bench.fresh(bench.scratch / "done")
        for k in range(1, N_PARTS + 1):
            if bench.run(part(k, "--no-finish"), self.done).status != 0:
                sys.exit("part_takeovers.py: the parts could not be made")

    def make(self, name, command):
        directory = self.bench.fresh(self.bench.scratch / name)
        if self.bench.run(command, directory).status != 0:
            sys.exit(f"part_takeovers.py: {name} could not be made")
        return directory

    def directory(self):
        if not hasattr(self.local, "path"):
            with self.lock:
                self.n_workers += 1
                self.local.path = self.bench.scratch / f"worker-{self.n_workers}"
        return self.local.path

    def set_up(self, scene):
        directory = self.bench.fresh(self.directory())
        shutil.copytree(self.done / "out.partial", directory / "out.partial")
        if scene.force:
            shutil.copytree(self.old / "out", directory / "out")
        return directory

    def prepare(self, scene):
        """How many changes the first and the second make, undisturbed."""
        for which, command in (("first", scene.first), ("second", scene.second)):
            directory = self.set_up(scene)
            process = Process(self.bench, command, directory, "one", NEVER)
            process.wait()
            if process.status != 0:
                sys.exit(f"part_takeovers.py: {scene.name} fails undisturbed: {process.result().stderr}")
            self.n_changes[scene.name, which] = int(runs.read_report_file(directory.parent / f"{directory.name}-one.report")["calls"])

    @staticmethod
    def let_grow_old(directory):
        for path in [*directory.glob("out.publishing*.json"), *directory.glob("out.partial/.llavamed-claim-*")]:
            try:
                if path.stat().st_mtime != 0:
                    before = time.time() - HEARTBEAT_AGE_SECONDS
                    os.utime(path, (before, before))
            except FileNotFoundError:
                pass

    def complaints_about_out(self, scene, directory, when):
        got = runs.digest_tree(directory / "out")
        allowed = {runs.digest_tree(self.want / "out")}
        if scene.force:
            allowed.add(runs.digest_tree(self.old / "out"))
        else:
            allowed.add(None)
        return [] if got in allowed else [f"OUT is neither whole nor {'the old one' if scene.force else 'not there'} {when}"]

    @staticmethod
    def complaints_about_end(command, process, which):
        if process.status not in (0, 5):
            return [f"{which} ends with {process.status}: {process.result().stderr[-300:]}"]
        return [f"{which}: {bad}" for bad in runs.complaints_about_messages(command, process.result())]

    def complaints_about_rest(self, scene, directory):
        """After all parts and finishing were run again; twice, when finishing has found a file that its part has to make anew."""
        for i, command in enumerate(scene.again * 2):
            self.let_grow_old(directory)
            process = Process(self.bench, command, directory, "three", NEVER, f"three-{i}")
            process.wait()
            bad = self.complaints_about_end(command, process, f"command {i} of those run again")
            if bad:
                return bad
            if i == N_PARTS and process.code() != "PARTS_DIFFER":
                break
        if process.status != 0:
            return [f"finishing at last: {runs.error_line(process.result())}"]
        if runs.digest_tree(directory / "out") != runs.digest_tree(self.want / "out"):
            return ["OUT is not what one run makes"]
        left = sorted(path.name for path in directory.iterdir() if path.name != "out")
        return [f"left beside OUT: {left}"] if left else []

    def attempt(self, scene, kind, nth):
        directory = self.set_up(scene)
        first = Process(self.bench, scene.first, directory, "one", nth)
        if not first.wait():
            return [] if first.status == 0 else [f"the first ends undisturbed with status {first.status}"]
        self.let_grow_old(directory)
        chance = random.Random(f"{self.options.seed} {scene.name} {kind} {nth}")
        at = NEVER if kind == "after" else chance.randint(1, self.n_changes[scene.name, "second"])
        second = Process(self.bench, scene.second, directory, "two", at)
        stopped = second.wait()
        bad = self.complaints_about_out(scene, directory, "when the second is stopped or has ended")
        if stopped and kind == "dies":
            second.process.kill()
            second.go_on()
            second.wait()
        first.go_on()
        first.wait()
        bad += self.complaints_about_end(scene.first, first, "the first")
        bad += self.complaints_about_out(scene, directory, "when the first has ended")
        if stopped and kind == "amid":
            second.go_on()
            second.wait()
            bad += self.complaints_about_out(scene, directory, "when both have ended")
        if not (stopped and kind == "dies"):
            bad += self.complaints_about_end(scene.second, second, "the second")
        bad += self.complaints_about_rest(scene, directory)
        where = runs.read_report_file(directory.parent / f"{directory.name}-one.report").get("where", "")
        return [f"{complaint} ({where}; first {first.status}, second {second.status} at {at})" for complaint in bad]

    def check_record(self):
        """A record that cannot be removed would tell that shards are done which are being made anew: the part gives up."""
        scene = SCENES[0]
        directory = self.set_up(scene)
        ended = self.bench.run(anew(), directory, "unlink 1 5 0", "parts-record")
        bad = [] if ended.status == 5 and "parts-record-2-of-2" in runs.error_line(ended) else [f"{ended.status}: {ended.stderr}"]
        (directory / "report").unlink()
        bad += self.complaints_about_out(scene, directory, "when a record cannot be removed")
        bad += self.complaints_about_rest(scene, directory)
        self.score["record"]["failed" if bad else "passed"] += 1
        if bad:
            print("FAILED a record that cannot be removed: " + "; ".join(bad), flush=True)

    def guarded(self, scene, kind, nth):
        try:
            bad = self.attempt(scene, kind, nth)
        except Exception as error:  # pylint: disable=broad-except
            bad = [f"part_takeovers.py: {error!r}"]
        with self.lock:
            self.score[scene.name]["failed" if bad else "passed"] += 1
            self.score[scene.name][kind] += 1
            if bad:
                print(f"FAILED {scene.name}/{kind}, change {nth}: " + "; ".join(bad), flush=True)

    def tasks(self, scenes):
        tasks = []
        for scene in scenes:
            for kind in KINDS:
                instants = range(1, self.n_changes[scene.name, "first"] + 1)
                if self.options.patterns and not any(fnmatch.fnmatchcase(f"{scene.name}/{kind}", p) for p in self.options.patterns):
                    continue
                if self.options.sample:
                    chance = random.Random(f"{self.options.seed} {scene.name} {kind}")
                    instants = sorted(chance.sample(instants, min(len(instants), self.options.sample)))
                tasks += [(scene, kind, nth) for nth in instants]
        return tasks

    def report(self):
        print(f"{'scene':14} {'changes':>8} " + " ".join(f"{kind:>6}" for kind in KINDS) + f" {'failed':>7}")
        for name, counter in self.score.items():
            print(f"{name:14} {self.n_changes.get((name, 'first'), 1):8} " + " ".join(f"{counter[kind]:6}" for kind in KINDS) +
                  f" {counter['failed']:7}")
        passed = sum(counter["passed"] for counter in self.score.values())
        failed = sum(counter["failed"] for counter in self.score.values())
        runs.write_count("tests/fault/part_takeovers.py", passed, failed)
        print(f"{passed} passed, {failed} failed")
        return failed == 0 and passed > 0


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-parts-") as scratch:
        takeovers = PartTakeovers(PartBench(options.program, options.shim, scratch), options)
        scenes = [scene for scene in SCENES if not options.patterns or
                  any(fnmatch.fnmatchcase(f"{scene.name}/{kind}", p) for kind in KINDS for p in options.patterns)]
        for scene in scenes:
            takeovers.prepare(scene)
        takeovers.check_record()
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda task: takeovers.guarded(*task), takeovers.tasks(scenes)))
        ok = takeovers.report()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
