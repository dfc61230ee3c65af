#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills llavamed-apply at 95 % of its writes, and measures what the next run keeps: by --json, and by the kernel's own count.

    tests/fault/reuse.py --program P --shim SO --synth TOOL [--scale X] [--seed N] [PATTERN...]

For every pair of PAIRS: a run with the first options is stopped at the write of a tile, killed, and the same command is run with
the second ones, which may allow it less memory or more workers, so that its tiles are of another size. It keeps at least 90 % of
the bytes; what was written is in the journal but for one tile of each worker, and all of that is kept; /proc/PID/io says that no
more was written than what was missing, and no more read than what was kept (twice where tiles had to be cut), what of the
inputs was missing, and what looking at inputs takes anyway. A PATTERN (shell glob) picks by "NAME". Ends with "N passed, N failed".
"""
import argparse
import fnmatch
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

import runs
from torture import scratch_place

STOP_PROCESS = -2
SHARE = 0.95
LEAST = 0.90
HEADER = struct.Struct("<8sI")
ENTRY = struct.Struct("<QQQIIIQQQQQQQ")
NOTE_BYTES, CRC_BYTES, PART_BYTES = 32, 4, 72
TILES_PER_WORKER = 4
BLOCK_BYTES = 16384
SMALL_FILES_BYTES = 1000000  # documents, journal

# Name, options of both runs, of the first, of the second.
PAIRS = [
    ("same", "", "-j2", "-j2"),
    ("more-workers", "", "-j2 --max-memory 16MiB", "-j12 --max-memory 16MiB"),
    ("fewer-workers", "", "-j12 --max-memory 16MiB", "-j1 --max-memory 16MiB"),
    ("less-memory", "", "-j2 --max-memory 64MiB", "-j2 --max-memory 3MiB"),
    ("more-memory", "", "-j2 --max-memory 3MiB", "-j2 --max-memory 64MiB"),
    ("shards", "--max-shard-size 20MB", "-j3 --max-memory 24MiB", "-j5 --max-memory 8MiB"),
    ("torch", "--format torch --max-shard-size 20MB", "-j2 --max-memory 32MiB", "-j4 --max-memory 8MiB"),
    ("zip", "", "-j2 --max-memory 32MiB", "-j4 --max-memory 4MiB"),
]


def read_journal(path):
    """(tensor, first element, number of elements) of every entry. The format is in src/merge/journal.h."""
    text = path.read_bytes()
    _, n_parts = HEADER.unpack_from(text)
    at = HEADER.size + n_parts * PART_BYTES + CRC_BYTES
    entries = []
    while at + ENTRY.size + CRC_BYTES <= len(text):
        tensor, first, n_elems, _, _, n_notes = ENTRY.unpack_from(text, at)[:6]
        entries.append((tensor, first, n_elems))
        at += ENTRY.size + n_notes * NOTE_BYTES + CRC_BYTES
    return entries


class Reuse:
    """Runs pairs and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.random = random.Random(options.seed)
        self.passed, self.failed = 0, 0

    def make_zip(self):
        """The delta as an archive, its weights deflated."""
        large = self.bench.inputs / "large"
        with zipfile.ZipFile(large / "delta.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted((large / "delta").iterdir()):
                archive.write(path, f"delta/{path.name}")

    def case(self, name, *texts):
        words = [word for text in texts for word in text.split()]
        return runs.Case(name, "large/base", "large/delta.zip" if name == "zip" else "large/delta", "--json", *words)

    def start(self, case, directory, fault):
        environment = self.bench.environment(directory, fault, ".partial/")
        environment.pop("MALLOC_PERTURB_")
        return subprocess.Popen(self.bench.command(case), cwd=directory, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def writes(self, case, directory):
        with self.start(case, directory, "write 0 0 0") as process:
            document = json.loads(process.communicate()[0])
        return int(runs.read_report(directory)["calls"]), document

    def kill(self, case, directory, nth):
        """Stops the n-th write into OUT.partial before it is made, and kills."""
        process = self.start(case, directory, f"write {nth} {STOP_PROCESS} 0")
        while True:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                sys.exit(f"reuse.py: {case.name} ended before it could be killed ({status})")
            time.sleep(0.3)  # other threads stop when they come out of what they are at
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def rerun(self, case, directory):
        """The document of --json, and what the kernel counted for the process."""
        process = self.start(case, directory, None)
        stdout = process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{process.pid}/io").read_text().splitlines())
        process.wait()
        return json.loads(stdout), {key: int(value) for key, value in io.items()}

    def expect(self, name, holds, what):
        self.passed += bool(holds)
        self.failed += not holds
        if not holds:
            print(f"FAILED {name}: {what}", flush=True)

    def run_pair(self, name, both, first, second):
        case, again = self.case(name, both, first), self.case(name, both, second)
        directory = self.bench.fresh(self.bench.scratch / "work")
        n_writes, whole = self.writes(case, directory)
        expected = runs.digest_tree(directory / "out")
        want = self.bench.scratch / "want"
        shutil.rmtree(want, ignore_errors=True)
        (directory / "out").rename(want)
        self.expect(name, whole["code"] == "ok", f"it fails undisturbed: {whole['message']}")
        look_bytes = self.look_bytes(again, directory)
        directory = self.bench.fresh(directory)
        nth = int(n_writes * SHARE)
        self.kill(case, directory, nth)
        entries = read_journal(directory / "out.partial" / ".llavamed-journal")
        noted = 2 * sum(n_elems for _, _, n_elems in entries)
        written = self.same_bytes(directory / "out.partial", want)
        tile_bytes = whole["memory"]["pool"] // whole["threads"] // TILES_PER_WORKER
        self.expect(name, written - noted <= whole["threads"] * tile_bytes + BLOCK_BYTES * (len(entries) + 1),
                    f"{written} bytes were written, the journal tells of {noted}")
        document, io = self.rerun(again, directory)
        data_bytes = sum(shard["bytes"] for shard in whole["result"]["shards"])
        reused, share = document["bytes"]["reused"], document["bytes"]["reused"] / data_bytes
        self.expect(name, document["code"] == "ok" and document["started_over"] is None, f"the rerun ends: {document}")
        self.expect(name, share >= LEAST, f"{reused} of {data_bytes} bytes were kept: {share:.3f}")
        self.expect(name, reused >= noted, f"the journal tells of {noted} bytes, {reused} were kept")
        self.expect(name, runs.digest_tree(directory / "out") == expected, "other bytes")
        missing = data_bytes - reused
        self.expect(name, io["wchar"] <= missing + SMALL_FILES_BYTES, f"written {io['wchar']}, missing {missing}")
        reads = 2 * reused if name == "zip" else reused * (2 if self.cuts(entries, again, document) else 1)
        inputs = whole["bytes"]["planned_read"] if name == "zip" else whole["bytes"]["planned_read"] * missing / data_bytes
        # A streamed shard is read back for its hash, whoever wrote it.
        back = data_bytes if name == "zip" else 0
        limit = reads + 1.1 * inputs + back + look_bytes + SMALL_FILES_BYTES
        self.expect(name, io["rchar"] <= limit, f"read {io['rchar']}, want at most {limit:.0f}")
        print(f"{name:14} kept {share:.3f}, read {io['rchar'] / data_bytes:.2f}, written {io['wchar'] / data_bytes:.3f} of the "
              f"output; {n_writes} writes, killed at {nth}", flush=True)

    @staticmethod
    def same_bytes(directory, want):
        """How many bytes of the shards are what they are in the end, in whole blocks."""
        total = 0
        for path in directory.iterdir():
            if path.suffix not in (".safetensors", ".bin"):
                continue
            with open(path, "rb") as ours, open(want / path.name, "rb") as theirs:
                while block := theirs.read(BLOCK_BYTES):
                    total += len(block) if ours.read(BLOCK_BYTES) == block else 0
        return total

    def cuts(self, entries, case, document):
        """Whether tiles of the first run are too large for the second."""
        return max(n_elems for _, _, n_elems in entries) * 2 > document["memory"]["pool"] / document["threads"] / TILES_PER_WORKER

    def look_bytes(self, case, directory):
        """What a dry run reads: headers, and the sample of the contents."""
        dry = runs.Case(case.name, case.base, case.delta, *case.options, "-n")
        return self.rerun(dry, self.bench.fresh(directory))[1]["rchar"]

    def report(self):
        runs.write_count("tests/fault/reuse.py", self.passed, self.failed)
        print(f"{self.passed} passed, {self.failed} failed")
        return self.failed == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", required=True)
    parser.add_argument("--scale", default="0.02", help="of the model: 0.02 is 324 MB of output")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-reuse-") as scratch:
        bench = runs.Bench(options.program, options.shim, scratch)
        subprocess.run([options.synth, "--out", bench.inputs / "large", "--scale", options.scale, "--max-shard-size", "1GB"],
                       check=True, stdout=subprocess.DEVNULL)
        reuse = Reuse(bench, options)
        pairs = [pair for pair in PAIRS if not options.patterns or any(fnmatch.fnmatchcase(pair[0], p) for p in options.patterns)]
        if any(pair[0] == "zip" for pair in pairs):
            reuse.make_zip()
        for pair in pairs:
            reuse.run_pair(*pair)
        shutil.rmtree(bench.inputs / "large")
    sys.exit(0 if reuse.report() else 1)


if __name__ == "__main__":
    main()
