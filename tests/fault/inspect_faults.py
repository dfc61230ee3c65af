#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes calls of llavamed-inspect fail, one at a time, on sources of every kind.

    tests/fault/inspect_faults.py --program P --shim SO [--sample N] [--seed N]

The n-th call of its class fails, n = 1, 2, ... until none came (with --sample, for N of these). Whatever fails, the run
ends in time, with a documented exit status, one error at most and nothing leaked; and what it prints is either all that
it prints when nothing fails, or a document that says what failed and has no digest, no statistics and no difference in
it. Ends with "N passed, N failed".
"""
import argparse
import errno
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import runs

SHORT, END = 0, -1
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
    ("readdir", errno.EIO, False, EITHER),
    ("fadvise", errno.EINVAL, False, SURVIVES),
    ("close", errno.EIO, False, SURVIVES),
    ("thread", errno.EAGAIN, False, EITHER),
    ("thread", errno.EAGAIN, True, EITHER),
    ("lock", errno.ENOMEM, False, EITHER),
    ("clock", errno.EINVAL, False, SURVIVES),
    ("affinity", errno.EINVAL, False, SURVIVES),
    ("digest", errno.EIO, False, EITHER),
]
# Of no use when they are forbidden: the listing says so.
DONE_WITHOUT = ("config.json", "added_tokens.json", "params.json", "SHA256SUMS")
VARIES = ("seconds", "peak_rss", "threads", "bytes_read")
ALL = ["--digests", "--stats"]
COMMANDS = {
    "headers": [runs.DATA / "cli/delta"],
    "directory": [runs.DATA / "cli/delta", *ALL],
    "archive": [runs.DATA / "cli_archives/delta-deflated.zip", *ALL],
    "meta": [runs.DATA / "meta/two", *ALL],
    "diff": [runs.DATA / "cli_archives/delta-stored.zip", "--diff", runs.DATA / "cli/delta-safetensors"],
}


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.passed = self.failed = 0

    def run(self, command, fault):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "MALLOC_PERTURB_": "165", "LD_PRELOAD": self.options.shim,
                       "FAULT": fault, "FAULT_REPORT": str(self.scratch / "report")}
        (self.scratch / "report").unlink(missing_ok=True)
        try:
            done = subprocess.run([self.options.program, *command, "--json", "-j2", "--max-memory", "256KiB"],
                                  text=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=runs.TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return runs.Result(None, "", "", {})
        return runs.Result(done.returncode, done.stdout, done.stderr, runs.read_report(self.scratch))

    def note(self, what, bad):
        self.passed, self.failed = self.passed + (not bad), self.failed + bool(bad)
        if bad:
            print(f"FAILED {what}: {'; '.join(bad)}")


def content(text):
    return {key: value for key, value in json.loads(text).items() if key not in VARIES}


def complaints(result, undisturbed, must_survive):
    """What is wrong with how a run ended."""
    if result.status not in (0, 3, 6):
        return [f"exit status {result.status}: {result.stderr[-300:]}"]
    try:
        document = content(result.stdout)
    except ValueError:
        return [f"no document: {result.stdout[:200]!r}"]
    bad = []
    lines = result.stderr.splitlines()
    if sum(": error: " in line for line in lines) != (result.status != 0):
        bad.append(f"status {result.status}, stderr {lines}")
    if document["status"] != result.status:
        bad.append("another status in the document")
    if result.status == 0 and os.path.basename(result.where[1]) in DONE_WITHOUT:
        document.update({key: undisturbed[key] for key in ("config", "notes") if key in undisturbed})
    if result.status == 0 and document != undisturbed:
        bad.append(f"another document: {[key for key in document if document[key] != undisturbed[key]]}")
    if must_survive and result.status != 0:
        bad.append(f"status {result.status} although nothing is lost: {document['message']}")
    if result.status != 0:
        if not document["message"]:
            bad.append("no message")
        if document.get("model_sha256") or any(row.get("sha256") or row.get("stats") or row.get("elements")
                                               for row in document["tensors"]):
            bad.append("half of what was asked for")
    for kind in "leaks", "descriptors":
        if int(result.report.get(kind, 0)) != 0:
            bad.append(f"{kind}: {result.report[kind]}")
    return bad


def try_faults(bench, dice):
    for name, command in COMMANDS.items():
        undisturbed = content(bench.run(command, "read 0 0 0").stdout)
        for class_name, kind, lasting, outcome in FAULTS:
            counting = bench.run(command, f"{class_name} 0 {kind} 0")
            n_calls = int(counting.report.get("calls", 0))
            calls = range(1, n_calls + 1)
            if bench.options.sample and n_calls > bench.options.sample:
                calls = sorted(dice.sample(calls, bench.options.sample))
            for nth in calls:
                result = bench.run(command, f"{class_name} {nth} {kind} {int(lasting)}")
                if result.fired or result.status is None:
                    bench.note(f"{name}: {class_name} {nth} {kind}{' for good' * lasting} ({result.report.get('where')})",
                               complaints(result, undisturbed, outcome == SURVIVES))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True, type=os.path.abspath)
    parser.add_argument("--shim", required=True, type=os.path.abspath)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, pathlib.Path(scratch))
        try_faults(bench, random.Random(options.seed))
    runs.write_count("tests/fault/inspect_faults.py", bench.passed, bench.failed)
    print(f"{bench.passed} passed, {bench.failed} failed")
    return 0 if bench.failed == 0 and bench.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
