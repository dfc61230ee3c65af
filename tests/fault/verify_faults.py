#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes calls of llavamed-verify fail, one at a time, and changes files of the directory while it reads them.

    tests/fault/verify_faults.py --apply P --program P --shim SO [--sample N] [--seed N]

Each fault is tried on a directory that is intact and on one with two damages, for the n-th call of its class, n = 1, 2, ...
until none came (with --sample, for N of these). Whatever fails, the run ends in time, with a documented exit status, one
error at most and nothing leaked; a directory that is not intact is never said to be, what is wrong in other files than
the one that cannot be read is still found and named, and what cannot be read is named. So it is while the directory is
compared with the merge, and with another checkpoint: then no tensor is said to differ either. A source that is identified
is never another thing than it is. Ends with "N passed, N failed".
"""
import argparse
import errno
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import runs

SHORT, END, STOP = 0, -1, -2
SURVIVES, EITHER = "survives", "either"
FAULTS = [
    ("alloc", errno.ENOMEM, False, EITHER),
    ("alloc", errno.ENOMEM, True, EITHER),
    ("open", errno.EIO, False, EITHER),
    ("open", errno.EMFILE, False, EITHER),
    ("open", errno.EACCES, False, EITHER),
    ("stat", errno.EIO, False, EITHER),
    ("read", errno.EIO, False, EITHER),
    ("read", errno.EIO, True, EITHER),
    ("read", errno.EINTR, False, SURVIVES),
    ("read", SHORT, False, SURVIVES),
    ("read", SHORT, True, SURVIVES),
    ("read", END, False, EITHER),
    ("look", errno.EOPNOTSUPP, False, SURVIVES),
    ("readdir", errno.EIO, False, EITHER),
    ("fadvise", errno.EINVAL, False, SURVIVES),
    ("close", errno.EIO, False, EITHER),
    ("thread", errno.EAGAIN, False, EITHER),
    ("thread", errno.EAGAIN, True, EITHER),
    ("lock", errno.ENOMEM, False, EITHER),
    ("clock", errno.EINVAL, False, SURVIVES),
    ("affinity", errno.EINVAL, False, SURVIVES),
    ("digest", errno.EIO, False, EITHER),
]
DAMAGED = ["README.md", "config.json"]
SHARD = "model-00001-of-00002.safetensors"


def replace_by_link(path):
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def replace_by_fifo(path):
    path.unlink()
    os.mkfifo(path)


def replace_by_copy(path):
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


def touch(path):
    os.utime(path, (0, 0))


# What happens to the shard just before it is opened, and just before it is first read.
CHANGES_AT_OPEN = [replace_by_link, replace_by_fifo, replace_by_copy, pathlib.Path.unlink]
CHANGES_AT_READ = [cut, append, touch]


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.passed = self.failed = 0
        self.whole, self.damaged = scratch / "whole", scratch / "damaged"
        subprocess.run([options.apply, "--base", runs.DATA / "cli/base", "--delta", runs.DATA / "cli/delta", "--out", self.whole,
                        "--max-shard-size", "4KB", "--digests", "-q"], check=True)
        shutil.copytree(self.whole, self.damaged)
        for name in DAMAGED:
            append(self.damaged / name)
        inputs = runs.DATA / "cli"
        self.comparisons = {
            "merge": ["--base", inputs / "base-bin", "--delta", inputs / "delta", "--max-memory", "1MiB"],
            "archive": ["--base", inputs / "base", "--delta", runs.DATA / "cli_archives/delta-deflated.zip",
                        "--max-memory", "1MiB"],
            "against": ["--against", self.whole, "--max-memory", "1MiB"],
        }
        self.command = ["--max-memory", "64KiB"]

    def start(self, directory, fault, path=None):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "MALLOC_PERTURB_": "165", "LD_PRELOAD": self.options.shim,
                       "FAULT": fault, "FAULT_REPORT": str(self.scratch / "report")}
        if path is not None:
            environment["FAULT_PATH"] = path
        (self.scratch / "report").unlink(missing_ok=True)
        return subprocess.Popen([self.options.program, *self.command, directory, "--json", "-j2"], text=True,
                                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process):
        try:
            stdout, stderr = process.communicate(timeout=runs.TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return runs.Result(None, "", "", {})
        return runs.Result(process.returncode, stdout, stderr, runs.read_report(self.scratch))

    def note(self, what, bad):
        self.passed, self.failed = self.passed + (not bad), self.failed + bool(bad)
        if bad:
            print(f"FAILED {what}: {'; '.join(bad)}")


def complaints(result, is_damaged, must_survive, lasting):
    """What is wrong with how a run ended."""
    if result.status not in (0, 1, 3, 6):
        return [f"exit status {result.status}: {result.stderr[-300:]}"]
    try:
        report = json.loads(result.stdout)
    except ValueError:
        return [f"no document: {result.stdout[:200]!r}"]
    function, path = result.where
    failed = os.path.basename(path)
    is_elsewhere = path.startswith(("/sys/", "/proc/"))  # looks at the machine, which nothing is lost by
    findings = {finding["file"] for finding in report["findings"]}
    bad = []
    lines = [line for line in result.stderr.splitlines() if ": shard: " not in line and ": done: " not in line]
    if sum(": error: " in line for line in lines) != (result.status != 0):
        bad.append(f"status {result.status}, stderr {lines}")
    if report["status"] != result.status:
        bad.append("another status in the document")
    if must_survive and result.status != (1 if is_damaged else 0):
        bad.append(f"status {result.status} although nothing is lost: {report['message']}")
    if is_damaged and result.status == 0:
        bad.append("a damaged directory is called intact")
    if is_damaged and result.status == 1:
        bad += [f"{name} is not named" for name in DAMAGED if name not in findings and name != failed and not lasting]
    expected = failed in findings or (is_elsewhere and lasting)
    if not is_damaged and result.status in (1, 6) and report["findings"] and not expected:
        bad.append(f"{function} of {failed} failed, findings {findings}")
    if not is_damaged and not lasting and len(findings - {failed}) > 0 and failed not in ("SHA256SUMS", "llavamed-manifest.json"):
        bad.append(f"{function} of {failed} failed, findings {findings}")
    for kind in "leaks", "descriptors":
        if int(result.report.get(kind, 0)) != 0:
            bad.append(f"{kind}: {result.report[kind]}")
    return bad


def complaints_of_comparison(result, is_damaged, must_survive, lasting):
    """The same, where inputs can fail, too: then nothing is proven, and the error says so."""
    if result.status not in (0, 1, 3, 6):
        return [f"exit status {result.status}: {result.stderr[-300:]}"]
    report = json.loads(result.stdout)
    codes = {finding["code"] for finding in report["findings"]}
    bad = [f"{code}, which is not so" for code in codes & {"TENSOR_DIFFERS", "TENSOR_EXTRA", "TENSOR_FORM"}]
    if (": error: " in result.stderr) != (result.status != 0) or report["status"] != result.status:
        bad.append(f"status {result.status}, in the document {report['status']}, stderr {result.stderr[-300:]}")
    if must_survive and result.status != (1 if is_damaged else 0):
        bad.append(f"status {result.status} although nothing is lost: {report['message']}")
    if result.status == 0 and (is_damaged or not report["compared"]["complete"] or report["compared"]["equal"] != 25):
        bad.append("called intact, or the same, without being so")
    if not is_damaged and result.status == 1 and report["code"] == "NOT_INTACT" and lasting is False and not result.where[1]:
        bad.append(f"findings {report['findings']}")
    return bad + [f"{kind}: {result.report[kind]}" for kind in ("leaks", "descriptors")
                  if int(result.report.get(kind, 0)) != 0]


def complaints_of_identity(result, must_survive):
    if result.status not in (1, 3, 4, 6):
        return [f"exit status {result.status}: {result.stderr[-300:]}"]
    report = json.loads(result.stdout)
    bad = [] if report["verdict"] in (None, "unknown") else [f"verdict {report['verdict']}"]
    if must_survive and result.status != 4:
        bad.append(f"status {result.status} although nothing is lost: {report['message']}")
    if (report["verdict"] == "unknown") != (result.status == 4):
        bad.append(f"status {result.status} with verdict {report['verdict']}")
    return bad + [f"{kind}: {result.report[kind]}" for kind in ("leaks", "descriptors")
                  if int(result.report.get(kind, 0)) != 0]


def try_comparisons(bench, dice):
    """A quarter of the calls, as there are many more of them; of another checkpoint and an identified one too."""
    for mode, command in [*bench.comparisons.items(), ("identify", ["--identify"])]:
        bench.command = command
        for class_name, kind, lasting, outcome in FAULTS:
            directory = dice.choice([bench.whole, bench.damaged])
            counting = bench.end(bench.start(directory, f"{class_name} 0 {kind} 0"))
            n_calls = int(counting.report.get("calls", 0))
            n_tried = min(bench.options.sample or n_calls // 4 + 1, n_calls)
            for nth in sorted(dice.sample(range(1, n_calls + 1), n_tried)):
                result = bench.end(bench.start(directory, f"{class_name} {nth} {kind} {int(lasting)}"))
                if not result.fired and result.status is not None:
                    continue
                must_survive = outcome == SURVIVES
                bad = (complaints_of_identity(result, must_survive) if mode == "identify" else
                       complaints_of_comparison(result, directory == bench.damaged, must_survive, lasting))
                bench.note(f"{mode}, {directory.name}: {class_name} {nth} {kind}{' for good' * lasting}", bad)


def try_faults(bench, dice):
    for class_name, kind, lasting, outcome in FAULTS:
        for directory in bench.whole, bench.damaged:
            counting = bench.end(bench.start(directory, f"{class_name} 0 {kind} 0"))
            n_calls = int(counting.report.get("calls", 0))
            calls = range(1, n_calls + 1)
            if bench.options.sample and n_calls > bench.options.sample:
                calls = sorted(dice.sample(calls, bench.options.sample))
            for nth in calls:
                result = bench.end(bench.start(directory, f"{class_name} {nth} {kind} {int(lasting)}"))
                if result.fired or result.status is None:
                    bench.note(f"{directory.name}: {class_name} {nth} {kind}{' for good' * lasting}",
                               complaints(result, directory == bench.damaged, outcome == SURVIVES, lasting))


def try_changes(bench):
    for class_name, changes in ("open", CHANGES_AT_OPEN), ("read", CHANGES_AT_READ):
        for change in changes:
            directory = bench.scratch / "changing"
            shutil.copytree(bench.damaged, directory)
            process = bench.start(directory, f"{class_name} 1 {STOP} 0", SHARD)
            deadline = time.monotonic() + runs.TIMEOUT_SECONDS
            while time.monotonic() < deadline:
                pid, _ = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)
                if pid != 0:
                    break
                time.sleep(0.002)
            change(directory / SHARD)
            process.send_signal(signal.SIGCONT)
            result = bench.end(process)
            bad = []
            if result.status != 1:
                bad.append(f"exit status {result.status}: {result.stderr[-200:]}")
            else:
                findings = {finding["file"] for finding in json.loads(result.stdout)["findings"]}
                bad = [f"{name} is not named" for name in [*DAMAGED, SHARD] if name not in findings]
            bench.note(f"{change.__name__} before {class_name}", bad)
            shutil.rmtree(directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--apply", required=True, type=os.path.abspath)
    parser.add_argument("--program", required=True, type=os.path.abspath)
    parser.add_argument("--shim", required=True, type=os.path.abspath)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, pathlib.Path(scratch))
        try_changes(bench)
        try_faults(bench, random.Random(options.seed))
        try_comparisons(bench, random.Random(options.seed))
    runs.write_count("tests/fault/verify_faults.py", bench.passed, bench.failed)
    print(f"{bench.passed} passed, {bench.failed} failed")
    return 0 if bench.failed == 0 and bench.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
