#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a part of a merge, or what finishes it, before the n-th change of a file or directory, for every n; or takes the power away.

    tests/fault/parts.py --program P --shim CRASH_SHIM --synth TOOL [--sample N] [--seed N] [--jobs N] [PATTERN...]

After each kill OUT is not there, or is the old one (with --force), or holds exactly the bytes of one run. Then the commands are
run again, at times killed once more at an instant chosen at random: they give these bytes and leave nothing beside OUT. The same
after failures of the power, of which volume.py says what they may leave. With --sample, about N instants of each scene. A PATTERN
(shell glob) picks by "SCENE/kill" and "SCENE/power". Ends with "N passed, N failed".
"""
import argparse
import concurrent.futures
import fnmatch
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import runs
import volume
from torture import scratch_place

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "cli"
COMMON = ["--base", str(DATA / "base"), "--delta", str(DATA / "delta"), "-j1", "--max-shard-size", "2KB"]
FINISH = ["--finish"]


def part(k, n, *options):
    return COMMON + ["--part", f"{k}/{n}", *options]


class Scene:
    """Commands that end well, one that is killed, those that come after it; all with --out out."""

    def __init__(self, name, before, killed, after, lacks="", force=False, alike=False):
        self.name, self.before, self.killed, self.after = name, before, killed, after
        self.lacks, self.force = lacks, force
        self.alike = alike  # the old OUT has the same names and sizes


SCENES = [
    Scene("first", [], part(1, 2), [part(1, 2), part(2, 2)]),
    Scene("last", [part(2, 2)], part(1, 2), [part(1, 2), FINISH]),
    Scene("last-then-finish", [part(1, 3), part(2, 3)], part(3, 3), [part(3, 3, "--no-finish"), FINISH]),
    Scene("finish", [part(1, 2, "--no-finish"), part(2, 2, "--no-finish")], FINISH, [FINISH]),
    Scene("finish-then-part", [part(1, 2, "--no-finish"), part(2, 2, "--no-finish")], FINISH, [part(1, 2), FINISH]),
    Scene("again", [part(2, 2), part(1, 2, "--no-finish")], part(1, 2, "--no-resume"), [part(1, 2), FINISH]),
    Scene("only", [], part(1, 1, "--no-finish"), [part(1, 1, "--no-finish"), FINISH]),
    Scene("poor", [part(2, 2)], part(1, 2), [part(1, 2), FINISH], lacks="link exchange fallocate"),
    Scene("force", [part(1, 2, "--no-finish", "--force"), part(2, 2, "--no-finish", "--force")], FINISH + ["--force"],
          [FINISH + ["--force"]], force=True),
    Scene("force-renames", [part(1, 2, "--no-finish", "--force"), part(2, 2, "--no-finish", "--force")],
          FINISH + ["--force"], [FINISH + ["--force"]], lacks="exchange", force=True),
    Scene("force-alike", [part(1, 2, "--no-finish", "--force"), part(2, 2, "--no-finish", "--force")], FINISH + ["--force"],
          [FINISH + ["--force"]], force=True, alike=True),
]


class Kills:
    """Runs scenes and keeps the score."""

    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.program, self.shim = options.program.resolve(), options.shim.resolve()
        self.lock = threading.Lock()
        self.passed = self.failed = 0
        self.want, self.old, self.alike = scratch / "want", scratch / "old", scratch / "alike"
        other_base = ["--base", str(self.change_base(scratch / "base")), "--verify", "none"]
        for path, arguments in ((self.want, COMMON), (self.old, COMMON + ["--dtype", "float32"]), (self.alike, other_base + COMMON[2:])):
            path.mkdir()
            if self.run(arguments, path).returncode != 0:
                sys.exit("parts.py: what is expected could not be made")
        self.want_digest = runs.digest_tree(self.want / "out")

    @staticmethod
    def change_base(path):
        """A base of the same shapes: one bit of the last element is another one."""
        shutil.copytree(DATA / "base", path)
        weights = bytearray((path / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (path / "model.safetensors").write_bytes(weights)
        return path

    def old_of(self, scene):
        return (self.alike if scene.alike else self.old) / "out"

    def run(self, arguments, directory, at=0, lacks="", log=None):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        if log:
            environment["CRASH_LOG"] = str(log)
        if at or lacks or log:
            environment |= {"LD_PRELOAD": str(self.shim), "CRASH_DIRECTORY": str(directory), "CRASH_LACKS": lacks, "CRASH_AT": str(at)}
        return subprocess.run([self.program, *arguments, "--out", "out", "-q"], cwd=directory, env=environment,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=runs.TIMEOUT_SECONDS, check=False)

    def digest(self, directory):
        return runs.digest_tree(directory / "out") if (directory / "out").exists() else None

    def begin(self, scene, directory):
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
        if scene.force:
            shutil.copytree(self.old_of(scene), directory / "out")
        for arguments in scene.before:
            if self.run(arguments, directory, lacks=scene.lacks).returncode != 0:
                raise RuntimeError(f"{scene.name}: what comes before failed")

    def is_whole_or_not_there(self, scene, directory):
        digest = self.digest(directory)
        return digest in ([runs.digest_tree(self.old_of(scene)), self.want_digest] + ([None] if "exchange" in scene.lacks else [])
                          if scene.force else [None, self.want_digest])

    def kill_at(self, scene, n, seed):
        """What went wrong, or None; and whether the command came to its end before."""
        chance = random.Random(f"{seed} {scene.name} {n}")
        directory = self.scratch / f"{scene.name}-{n}"
        self.begin(scene, directory)
        ended = self.run(scene.killed, directory, at=n, lacks=scene.lacks)
        is_over = ended.returncode != -signal.SIGKILL
        what = None
        if is_over and ended.returncode != 0:
            what = f"not killed, and exit status {ended.returncode}: {ended.stderr.decode(errors='replace')[:300]}"
        elif not self.is_whole_or_not_there(scene, directory):
            what = "OUT is neither whole nor not there"
        if what is None and chance.random() < 0.5:
            self.run(scene.after[0], directory, at=chance.randrange(1, 60), lacks=scene.lacks)
            if not self.is_whole_or_not_there(scene, directory):
                what = "killed again, OUT is neither whole nor not there"
        return what or self.go_on(scene, directory), is_over

    def go_on(self, scene, directory):
        """Runs what comes after; what is wrong then, or None."""
        what = None
        for i, arguments in enumerate(scene.after):
            if what is None:
                ended = self.run(arguments, directory, lacks=scene.lacks)
                # A part finds an OUT that is complete by now; finishing has nothing left to do then.
                is_done = ended.returncode == 5 and i + 1 < len(scene.after) and self.digest(directory) == self.want_digest
                if ended.returncode != 0 and not is_done:
                    what = f"{arguments[-3:]}: exit status {ended.returncode}: {ended.stderr.decode(errors='replace')[:300]}"
        if what is None and self.digest(directory) != self.want_digest:
            what = "OUT is not what one run makes"
        if what is None and sorted(path.name for path in directory.iterdir()) != ["out"]:
            what = f"left beside OUT: {sorted(path.name for path in directory.iterdir())}"
        if what is None:
            shutil.rmtree(directory)
        return what

    def note(self, scene, n, what):
        with self.lock:
            self.passed += what is None
            self.failed += what is not None
            if what is not None and self.failed <= 20:
                print(f"FAILED {scene.name} at change {n}: {what}", flush=True)

    # ---- Power ----

    def states(self, scene):
        """Every different tree that a failure of the power may leave of the command: (what, tree)."""
        directory, log = self.scratch / f"{scene.name}-power", self.scratch / f"{scene.name}.log"
        self.begin(scene, directory)
        played = volume.Volume(directory)
        if self.run(scene.killed, directory, lacks=scene.lacks, log=log).returncode != 0:
            raise RuntimeError(f"{scene.name}: failed without any kill")
        records, _ = volume.read_log(log)
        chance, seen = random.Random(f"{self.options.seed} {scene.name}"), set()
        for number, record in records:
            played.play(record)
            for loss in volume.losses(chance, self.options.losses) if number else []:
                tree = played.after(loss)
                if volume.digest(tree) not in seen:
                    seen.add(volume.digest(tree))
                    yield f"{number} ({record.call}), {loss.name}", tree
        shutil.rmtree(directory)

    def fail_power(self, scene, i, tree):
        directory = self.scratch / f"{scene.name}-power-{i}"
        directory.mkdir()
        volume.make(tree, directory)
        if not self.is_whole_or_not_there(scene, directory):
            return "OUT is neither whole nor not there"
        return self.go_on(scene, directory)

    def play_power(self, scene):
        chance = random.Random(f"{self.options.seed} {scene.name} power")
        share = 1 if not self.options.sample else self.options.sample / 400
        chosen = [state for state in self.states(scene) if chance.random() < share]
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            results = pool.map(lambda i: self.fail_power(scene, i, chosen[i][1]), range(len(chosen)))
            for (name, _), what in zip(chosen, results):
                self.note(scene, f"{name} (power)", what)
        print(f"{scene.name}: {len(chosen)} failures of the power", flush=True)

    # ---- Kills ----

    def count(self, scene):
        """How many changes the command makes: a kill behind the last does not come."""
        low, high = 0, 1
        while not self.kill_at(scene, high, "count")[1]:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            is_over = self.kill_at(scene, middle, "count")[1]
            low, high = (low, middle) if is_over else (middle, high)
        return low

    def play(self, scene):
        n_changes = self.count(scene)
        instants = range(1, n_changes + 1)
        if self.options.sample and self.options.sample < n_changes:
            instants = sorted(random.Random(f"{self.options.seed} {scene.name}").sample(instants, self.options.sample))
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            for n, result in zip(instants, pool.map(lambda n: self.kill_at(scene, n, self.options.seed), instants)):
                self.note(scene, n, result[0])
        print(f"{scene.name}: {n_changes} changes, {len(instants)} kills", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--shim", type=pathlib.Path, required=True)
    parser.add_argument("--synth", type=pathlib.Path, help="not used: the inputs are those of tests/data/cli")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--losses", type=int, default=1, help="random ones of each power failure, beside the plain manners")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=scratch_place()) as scratch:
        kills = Kills(options, pathlib.Path(scratch))
        for scene in SCENES:
            for kind, play in (("kill", kills.play), ("power", kills.play_power)):
                if not options.patterns or any(fnmatch.fnmatch(f"{scene.name}/{kind}", pattern) for pattern in options.patterns):
                    play(scene)
        runs.write_count("tests/fault/parts.py", kills.passed, kills.failed)
        print(f"{kills.passed} passed, {kills.failed} failed")
        return 0 if kills.failed == 0 and kills.passed > 0 else 1


sys.exit(main())
