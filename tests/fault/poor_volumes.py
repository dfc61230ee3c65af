#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs llavamed-apply where OUT's file system lacks something: hard links, exchange of names, fallocate, times, fsync of directories...

    tests/fault/poor_volumes.py --program P --shim SO --synth TOOL [--quick] [PATTERN...]

Lacking calls are played by the shim, one kind at a time with each errno that file systems are known to give, and all together. As
root the same is done on real ones in a mount namespace of its own: tmpfs, overlayfs, ext3 with times of whole seconds, and ext4 with
inputs on a read-only mount; one that cannot be mounted here is named and not counted.

On each:    plain    a run makes the exact bytes and leaves nothing beside OUT
            force    the same over an old OUT
            resume   a run is killed within its work, the next one makes the exact bytes and keeps what was written
            publish  a run over an old OUT is killed before each of its last changes: OUT is the old one or the new one (or, only
                     where names cannot be exchanged, missing between two renames), and the next run makes the exact bytes
            busy     while a run stands still another one is refused as OUT_BUSY
            lost     a run is killed before each of its first changes: the next one need not wait
            others   what a killed run has left, and its claim beside OUT, belong to another user: the next one refuses them and changes
                     nothing; and a directory that somebody has given a name of such a run's keeps its files

A PATTERN (shell glob) picks by "VOLUME/WHAT". Ends with "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import errno
import fnmatch
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import runs
import takeovers
from torture import scratch_place

WHATS = ("plain", "force", "resume", "publish", "busy", "lost", "others")
CHANGES_AT_END = 22  # of a run that replaces an old OUT
CHANGES_AT_START = 6
IN_NAMESPACE = "POOR_VOLUMES_IN_NAMESPACE"

# What may be missing, and how file systems say so.
LACKING = {
    "link": ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"],  # FAT, FUSE, Lustre's old clients; a limit of 1
    "exchange": ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"],  # NFS, old kernels, Lustre, sandboxes
    "fallocate": ["EOPNOTSUPP", "ENOSYS", "EINVAL", "ENOTTY", "EPERM"],
    "times": ["EPERM", "ENOSYS", "EACCES"],
    "syncdir": ["EINVAL", "EOPNOTSUPP", "ENOSYS", "EBADF"],
    "sync_file_range": ["ENOSYS", "ESPIPE", "EINVAL", "EOPNOTSUPP"],
    "fadvise": ["EINVAL", "ENOSYS", "EOPNOTSUPP"],
    "look": ["EOPNOTSUPP", "ENOSYS", "EINVAL"],
    "chmod": ["EPERM", "EOPNOTSUPP", "ENOSYS"],
    "direct": ["EINVAL"],
}
ALL = ["EPERM", "EOPNOTSUPP", "ENOSYS"]
FIRST = {kind: names[0] for kind, names in LACKING.items()}


class Volume:
    """Where OUT is made: what the shim has it lack, and the directory below which all lies."""

    def __init__(self, name, lacks=None, place=None, inputs=None, environment=None):
        self.name, self.lacks, self.place, self.inputs, self.environment = name, lacks, place, inputs, environment or {}

    @property
    def exchanges(self):
        return "exchange" not in (self.lacks or "")


def lacks_text(kinds):
    return " ".join(f"{kind}:{getattr(errno, name)}" for kind, name in kinds)


def played_volumes(quick):
    volumes = [Volume("all as usual", lacks_text(FIRST.items())), Volume("owners", environment={"FAULT_UID": "4321"})]
    if not quick:
        volumes += [Volume(f"{kind} {name}", lacks_text([(kind, name)])) for kind, names in LACKING.items() for name in names]
        volumes += [Volume(f"all {name}", lacks_text([(kind, name if name in names else names[0])
                                                      for kind, names in LACKING.items()])) for name in ALL]
    return volumes


def mounted_volumes(place):
    """Mounted below `place`, in this process's own mount namespace."""
    volumes = []

    def mount(name, command, directory, lacks=None, inputs=None):
        ended = subprocess.run(["sh", "-ec", command], cwd=place, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            volumes.append(Volume(name, lacks, place / directory, inputs))
        else:
            print(f"not run, not counted: {name} cannot be mounted here: {ended.stderr.strip().splitlines()[-1:]}")

    mount("tmpfs", "mkdir t && mount -t tmpfs -o size=64m none t", "t")
    mount("overlayfs", "mkdir o && mount -t tmpfs -o size=64m none o && cd o && mkdir l u w m && "
          "mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m", "o/m")
    mount("ext3 with whole seconds", "mkdir e3 && truncate -s 48M e3.img && mke2fs -q -t ext3 -I 128 e3.img && "
          "mount -o loop e3.img e3", "e3")
    mount("ext2", "mkdir e2 && truncate -s 48M e2.img && mke2fs -q -t ext2 e2.img && mount -o loop e2.img e2", "e2")
    mount("ext4, read-only inputs", "mkdir e4 ro && truncate -s 64M e4.img && mke2fs -q -t ext4 e4.img && mount -o loop e4.img e4 && "
          "mkdir e4/llavamed-inputs && mount --bind e4/llavamed-inputs ro", "e4", inputs=place / "ro")
    return volumes


class Poor:
    """All of WHATS on one volume."""

    PLAIN = takeovers.Case("plain", "cli/base", "cli/delta", "-j2", "--max-shard-size", "4KB")
    FORCE = takeovers.Case("force", "cli/base", "cli/delta", "-j2", "--max-shard-size", "4KB", force=True)

    def __init__(self, options, volume, scratch):
        self.volume = volume
        self.stride = 3 if options.quick else 1
        self.bench = runs.Bench(options.program, options.shim, scratch)
        if volume.inputs is not None:
            self.bench.inputs = self.mount_inputs(volume.inputs)
        self.plain, self.force = (self.lacking(case) for case in (self.PLAIN, self.FORCE))
        self.old = self.bench.fresh(self.bench.scratch / "old")
        self.n_made = 0
        if self.bench.run(takeovers.FORCE_OLD, self.old).status != 0:
            raise RuntimeError("the old OUT could not be made")
        reference = self.bench.fresh(self.bench.scratch / "reference")
        self.bench.run(runs.Case("reference", *(self.PLAIN.base, self.PLAIN.delta), *self.PLAIN.options), reference)
        self.expected = runs.digest_tree(reference / "out")
        self.old_digest = runs.digest_tree(self.old / "out")
        self.n_changes = {}

    def mount_inputs(self, place):
        subprocess.run(["cp", "-a", f"{self.bench.inputs}/.", str(place)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        return place

    def lacking(self, case):
        made = takeovers.Case(case.name, case.base, case.delta, *[option for option in case.options
                                                                   if option not in ("--json", "--force")],
                              force=case.force, lacks=self.volume.lacks)
        made.environment = self.volume.environment
        return made

    def directory(self, case):
        self.n_made += 1
        directory = self.bench.fresh(self.bench.scratch / f"case-{self.n_made}")
        if case.force:
            subprocess.run(["cp", "-a", str(self.old / "out"), str(directory / "out")], check=True)
        return directory

    def run(self, case, directory, nth=takeovers.NEVER, label=None):
        """A run to its end, or killed before its n-th change (status -9)."""
        process = takeovers.Process(self.bench, case, directory, "here", nth, label)
        if process.wait():
            process.process.kill()
            process.wait()
            process.status = -9
        return process

    def complaints_about_end(self, case, directory, process, may_exist=False):
        if may_exist and process.status == 5 and process.code() == "OUT_EXISTS":
            return []
        bad = runs.complaints_about_messages(case, process.result())
        if process.status != 0:
            bad.append(f"status {process.status}, {runs.error_line(process.result())}")
        if runs.digest_tree(directory / "out") != self.expected:
            bad.append("OUT is not what it should be")
        if takeovers.Takeovers.left_in(directory):
            bad.append(f"left: {takeovers.Takeovers.left_in(directory)}")
        return bad

    def changes_of(self, case):
        if case.name not in self.n_changes:
            directory = self.directory(case)
            self.run(case, directory)
            report = runs.read_report_file(directory.parent / f"{directory.name}-here.report")
            self.n_changes[case.name] = int(report["calls"])
        return self.n_changes[case.name]

    # ---- Each yields the complaints of one case ----

    def try_plain(self):
        directory = self.directory(self.plain)
        yield self.complaints_about_end(self.plain, directory, self.run(self.plain, directory))

    def try_force(self):
        directory = self.directory(self.force)
        yield self.complaints_about_end(self.force, directory, self.run(self.force, directory))

    def try_resume(self):
        directory = self.directory(self.plain)
        killed = self.run(self.plain, directory, self.changes_of(self.plain) // 2)
        bad = ["it was not killed"] if killed.status != -9 or (directory / "out").exists() else []
        again = self.run(self.plain, directory)
        bad += self.complaints_about_end(self.plain, directory, again)
        if not bad and json.loads(again.result().stdout)["bytes"]["reused"] == 0:
            bad.append("nothing was kept")
        yield bad

    def try_publish(self):
        n_changes = self.changes_of(self.force)
        for nth in range(n_changes - CHANGES_AT_END + 1, n_changes + 1, self.stride):
            directory = self.directory(self.force)
            self.run(self.force, directory, nth)
            got = runs.digest_tree(directory / "out")
            bad = []
            if got not in (self.old_digest, self.expected) and (got is not None or self.volume.exchanges):
                bad.append("OUT is neither the old one nor the new one")
            yield bad + self.complaints_about_end(self.force, directory, self.run(self.force, directory))

    def try_busy(self):
        directory = self.directory(self.plain)
        first = takeovers.Process(self.bench, self.plain, directory, "here", self.changes_of(self.plain) // 2)
        bad = [] if first.wait() else ["the first run was not stopped"]
        second = self.run(self.plain, directory, label="second")
        if (second.status, second.code()) != (5, "OUT_BUSY"):
            bad.append(f"the second run: status {second.status}, {runs.error_line(second.result())}")
        first.go_on()
        first.wait()
        yield bad + self.complaints_about_end(self.plain, directory, first)

    def try_lost(self):
        for nth in range(1, CHANGES_AT_START + 1):
            directory = self.directory(self.plain)
            self.run(self.plain, directory, nth)
            yield self.complaints_about_end(self.plain, directory, self.run(self.plain, directory))


    def complaints_about_refusal(self, case, directory, suffix):
        before = tree_of(directory)
        case.environment = self.volume.environment | {"FAULT_OTHERS": suffix}
        try:
            process = self.run(case, directory, label="others")
        finally:
            case.environment = self.volume.environment
        bad = runs.complaints_about_messages(case, process.result())
        if (process.status, process.code()) != (5, "OUT_EXISTS") or "belongs to another user" not in process.result().stderr:
            bad.append(f"{suffix}: status {process.status}, {runs.error_line(process.result())}")
        if tree_of(directory) != before:
            bad.append(f"{suffix}: something was changed")
        return bad

    def killed_with_claim_beside(self):
        """A run over an old OUT that died right after its claim had moved beside OUT."""
        n_changes = self.changes_of(self.force)
        for nth in range(n_changes - CHANGES_AT_END + 1, n_changes + 1):
            directory = self.directory(self.force)
            self.run(self.force, directory, nth)
            if (directory / "out.publishing.json").exists():
                return directory
        raise RuntimeError("no run died with its claim beside OUT")

    def try_others(self):
        directory = self.directory(self.plain)
        self.run(self.plain, directory, self.changes_of(self.plain) // 2)
        yield self.complaints_about_refusal(self.plain, directory, "/out.partial")
        yield self.complaints_about_end(self.plain, directory, self.run(self.plain, directory))
        directory = self.killed_with_claim_beside()
        yield self.complaints_about_refusal(self.force, directory, "/out.publishing.json")
        yield self.complaints_about_end(self.force, directory, self.run(self.force, directory))
        for name in ("out.partial", "out.ready-KEY"):
            directory = self.killed_with_claim_beside()
            key = hashlib.sha256((directory / "out.publishing.json").read_bytes()).hexdigest()[:16]
            (directory / "out.partial").rename(directory.parent / f"{directory.name}-away")
            theirs = directory / name.replace("KEY", key)
            theirs.mkdir()
            (theirs / "thesis.tex").write_text("years of work")
            ended = self.run(self.force, directory)
            bad = []
            if (ended.status, ended.code()) not in ((0, "ok"), (5, "OUT_EXISTS")):
                bad.append(f"{name}: status {ended.status}, {runs.error_line(ended.result())}")
            if [path.read_text() for path in directory.glob("*/thesis.tex")] != ["years of work"]:
                bad.append(f"{name}: a file of somebody else is gone")
            if runs.digest_tree(directory / "out") not in (self.old_digest, self.expected):
                bad.append(f"{name}: OUT is neither the old one nor the new one")
            yield bad


def tree_of(directory):
    return sorted((str(path), path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in directory.rglob("*"))


def run_volume(options, volume, score, lock):
    with tempfile.TemporaryDirectory(dir=volume.place or scratch_place(), prefix="llavamed-poor-") as scratch:
        try:
            poor = Poor(options, volume, scratch)
            for what in WHATS:
                if options.patterns and not any(fnmatch.fnmatchcase(f"{volume.name}/{what}", p) for p in options.patterns):
                    continue
                for number, bad in enumerate(getattr(poor, f"try_{what}")(), 1):
                    with lock:
                        score[what]["failed" if bad else "passed"] += 1
                        if bad:
                            print(f"FAILED {volume.name}/{what} {number}: " + "; ".join(bad), flush=True)
        except Exception as error:  # pylint: disable=broad-except
            with lock:
                score["start"]["failed"] += 1
                print(f"FAILED {volume.name}: poor_volumes.py: {error!r}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", help="as torture.py, not used")
    parser.add_argument("--quick", action="store_true", help="everything lacking at once, the real volumes, and every third change")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    if os.geteuid() == 0 and IN_NAMESPACE not in os.environ:
        probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            os.execvpe("unshare", ["unshare", "-m", sys.executable, "-B", *sys.argv], os.environ | {IN_NAMESPACE: "1"})
    score, lock = collections.defaultdict(collections.Counter), threading.Lock()
    with tempfile.TemporaryDirectory(prefix="llavamed-mounts-") as mounts:
        volumes = played_volumes(options.quick)
        if IN_NAMESPACE in os.environ:
            volumes += mounted_volumes(pathlib.Path(mounts))
        else:
            print("not run, not counted: real volumes (only root can mount them)")
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda volume: run_volume(options, volume, score, lock), volumes))
        for volume in volumes:
            if volume.inputs is not None:
                subprocess.run(["umount", str(volume.inputs)], check=False)
            if volume.place is not None:
                subprocess.run(["umount", "-R", str(volume.place)], check=False)
        subprocess.run(["umount", "-q", f"{mounts}/o"], check=False, capture_output=True)
    print(f"{len(volumes)} volumes: " + ", ".join(f"{what} {sum(counter.values())}" for what, counter in sorted(score.items())))
    passed, failed = (sum(counter[how] for counter in score.values()) for how in ("passed", "failed"))
    runs.write_count("tests/fault/poor_volumes.py", passed, failed)
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 and passed > 0 else 1)


if __name__ == "__main__":
    main()
