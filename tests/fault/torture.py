#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes every call of a class fail, one at a time, in runs of llavamed-apply, and judges how each run ends.

    tests/fault/torture.py --program P --shim SO --synth TOOL [--sample N] [--seed N] [--jobs N] [PATTERN...]

For every command of runs.CASES and every fault of FAULTS: the n-th call fails, n = 1, 2, ... until a run ends well without the
fault having come. Each run must end in time, with a documented exit status that fits the fault, one error message that names
the file, no OUT (with --force: the old one, byte for byte), nothing leaked; and the same command without a fault must then give
the exact bytes. With --sample, N calls of each series are tried, which ones depends on --seed. A PATTERN (shell glob) picks
series by "CASE/CLASS/FAULT". Ends with "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import errno
import fnmatch
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

import runs

SURVIVES, FAILS, EITHER = "survives", "fails", "either"
SHORT, END = 0, -1

# Class, fault, what the shim is told, whether it lasts from then on, what the run must do.
FAULTS = [
    ("alloc", "ENOMEM", errno.ENOMEM, False, EITHER),
    ("alloc", "ENOMEM for good", errno.ENOMEM, True, EITHER),
    ("open", "EIO", errno.EIO, False, EITHER),
    ("open", "EMFILE", errno.EMFILE, False, EITHER),
    ("open", "EACCES", errno.EACCES, False, EITHER),
    ("open", "ENOSPC", errno.ENOSPC, False, EITHER),
    ("stat", "EIO", errno.EIO, False, EITHER),
    ("stat", "EACCES", errno.EACCES, False, EITHER),
    ("stat", "EIO for good", errno.EIO, True, EITHER),
    ("space", "EIO", errno.EIO, False, EITHER),
    ("read", "EIO", errno.EIO, False, EITHER),
    ("read", "EIO for good", errno.EIO, True, EITHER),
    ("read", "EINTR", errno.EINTR, False, SURVIVES),
    ("read", "short", SHORT, False, SURVIVES),
    ("read", "short for good", SHORT, True, SURVIVES),
    ("read", "end", END, False, EITHER),
    ("look", "EAGAIN for good", errno.EAGAIN, True, SURVIVES),
    ("look", "EOPNOTSUPP", errno.EOPNOTSUPP, False, SURVIVES),
    ("readdir", "EIO", errno.EIO, False, EITHER),
    ("write", "EIO", errno.EIO, False, FAILS),
    ("write", "EIO for good", errno.EIO, True, FAILS),
    ("write", "ENOSPC", errno.ENOSPC, False, FAILS),
    ("write", "ENOSPC for good", errno.ENOSPC, True, FAILS),
    ("write", "EDQUOT", errno.EDQUOT, False, FAILS),
    ("write", "EINTR", errno.EINTR, False, SURVIVES),
    ("write", "short", SHORT, False, SURVIVES),
    ("write", "short for good", SHORT, True, SURVIVES),
    ("fallocate", "ENOSPC", errno.ENOSPC, False, FAILS),
    ("fallocate", "EDQUOT", errno.EDQUOT, False, FAILS),
    ("fallocate", "EOPNOTSUPP", errno.EOPNOTSUPP, False, SURVIVES),
    ("fallocate", "EOPNOTSUPP for good", errno.EOPNOTSUPP, True, SURVIVES),
    ("fallocate", "EINTR", errno.EINTR, False, SURVIVES),
    ("sync_file_range", "ENOSYS", errno.ENOSYS, False, SURVIVES),
    ("sync_file_range", "ESPIPE for good", errno.ESPIPE, True, SURVIVES),
    ("sync_file_range", "EIO", errno.EIO, False, FAILS),
    ("sync_file_range", "ENOSPC", errno.ENOSPC, False, FAILS),
    ("fadvise", "EINVAL", errno.EINVAL, False, SURVIVES),
    ("fsync", "EIO", errno.EIO, False, FAILS),
    ("fsync", "EIO for good", errno.EIO, True, FAILS),
    ("fsync", "ENOSPC", errno.ENOSPC, False, FAILS),
    ("fsync", "EINVAL", errno.EINVAL, False, EITHER),
    ("fsync", "EINTR", errno.EINTR, False, SURVIVES),
    ("close", "EIO", errno.EIO, False, EITHER),
    ("close", "ENOSPC", errno.ENOSPC, False, EITHER),
    ("close", "EINTR", errno.EINTR, False, SURVIVES),
    ("ftruncate", "EIO", errno.EIO, False, FAILS),
    ("rename", "EIO", errno.EIO, False, FAILS),
    ("rename", "EIO for good", errno.EIO, True, FAILS),
    ("rename", "EINVAL", errno.EINVAL, False, FAILS),
    ("exchange", "ENOSYS", errno.ENOSYS, False, SURVIVES),
    ("exchange", "EINVAL", errno.EINVAL, False, SURVIVES),
    ("exchange", "EIO", errno.EIO, False, EITHER),
    ("link", "EPERM for good", errno.EPERM, True, SURVIVES),
    ("link", "EIO", errno.EIO, False, SURVIVES),
    ("times", "EPERM for good", errno.EPERM, True, SURVIVES),
    ("mkdir", "EIO", errno.EIO, False, FAILS),
    ("mkdir", "ENOSPC", errno.ENOSPC, False, FAILS),
    ("mkdir", "EACCES", errno.EACCES, False, FAILS),
    ("unlink", "EIO", errno.EIO, False, EITHER),
    ("unlink", "EIO for good", errno.EIO, True, EITHER),
    ("chmod", "EPERM", errno.EPERM, False, SURVIVES),
    ("thread", "EAGAIN", errno.EAGAIN, False, EITHER),
    ("thread", "EAGAIN for good", errno.EAGAIN, True, EITHER),
    ("lock", "ENOMEM", errno.ENOMEM, False, EITHER),
    ("clock", "EINVAL", errno.EINVAL, False, SURVIVES),
    ("affinity", "EINVAL", errno.EINVAL, False, SURVIVES),
    ("inflate", "memory", errno.ENOMEM, False, FAILS),
    ("digest", "error", errno.EIO, False, FAILS),
]

# Single calls that once ended wrongly, or that the sample of `make fault` is never to miss: command, class, fault, and a part of
# the path that the call is about.
PINNED = [
    # What could not be looked at was left out of the result.
    ("safetensors", "stat", "EIO", "/tokenizer.model", FAILS),
    # A file that could not be read was called malformed, in a warning.
    ("safetensors", "read", "EIO", "/added_tokens.json", FAILS),
    ("safetensors", "read", "end", "/added_tokens.json", FAILS),
    # A guard against a wrong base did without the config.
    ("safetensors", "read", "EIO", "/base/config.json", FAILS),
    # Hashes recorded beside the inputs were not checked when the record could not be read.
    ("bin", "open", "EIO", "delta/SHA256SUMS", FAILS),
    ("bin", "read", "EIO", "delta/SHA256SUMS", FAILS),
    ("bin", "open", "EIO", "model.bin.lfs", FAILS),
    ("bin", "open", "EIO", "model.bin.metadata", FAILS),
    # The error of an early write-back was lost: Linux tells it once, and fsync came later.
    ("large", "sync_file_range", "EIO", "model.safetensors", FAILS),
    # An OUT that was replaced stayed in OUT.partial, and stopped the next run.
    ("force", "unlink", "EIO", "/out.replaced-", EITHER),
    ("force", "unlink", "EIO for good", "/out.replaced-", EITHER),
    # The output, read back, was called an input.
    ("full", "open", "EACCES", "/out.partial/tokenizer.model", FAILS),
    ("zip", "open", "EACCES", "/out.partial/model.safetensors", FAILS),
    # A short read hid the journal beside OUT, which stayed there; a claim that could not be removed became part of OUT.
    ("safetensors", "read", "short for good", "out.publishing.journal", SURVIVES),
    ("safetensors", "unlink", "EIO for good", "/.llavamed-claim", EITHER),
    # The output, listed, was called an input.
    ("zip", "open", "EIO", "out.partial", EITHER),
    # What must never be missed.
    ("force", "rename", "EIO", "out.partial", EITHER),
    ("force", "exchange", "ENOSYS", "out.partial", SURVIVES),
    ("meta", "read", "EIO", "consolidated.01.pth", FAILS),
]

PINNED_CALLS = 5  # of a pinned series that a sample tries
QUICK_CASES = ("zip", "force")

# What may leave a claim or a journal beside OUT with exit 0: it cannot be removed, or not be read to see whose it is.
TIDIED_LATER = {"unlink", "open", "stat", "read"}

# Nothing of the program calls these now; a series of them finds out when that changes.
UNUSED = {"ftruncate"}
# What a large model does otherwise than the small ones: it reads and writes more at a time.
LARGE_CLASSES = {"read", "look", "write", "fallocate", "sync_file_range", "fadvise", "fsync", "thread"}
# What a command prepares, so that the same fault of both is told apart: force replaces an old OUT.
FORCE_OLD = runs.Case("old", "cli/base", "cli/delta", "--dtype", "float32")


class Series:
    """One fault of one command; of a pinned one only in calls about `path`."""

    def __init__(self, case, fault, path=None):
        self.case, self.path = case, path
        self.class_name, self.fault_name, self.kind, self.lasts, self.verdict = fault
        self.name = f"{case.name}/{self.class_name}/{self.fault_name}" + (f" ({path})" if path else "")

    @classmethod
    def pinned(cls, case_name, class_name, fault_name, path, verdict):
        case = next(case for case in runs.CASES if case.name == case_name)
        fault = next(fault for fault in FAULTS if fault[:2] == (class_name, fault_name))
        return cls(case, (*fault[:4], verdict), path)

    def fault(self, nth):
        return f"{self.class_name} {nth} {self.kind} {int(self.lasts)}"


class Torture:
    """Runs series and keeps the score."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        self.random = random.Random(options.seed)
        self.lock = threading.Lock()
        self.local = threading.local()
        self.n_workers = 0
        self.score = collections.defaultdict(lambda: [0, 0, 0])  # class: passed, failed, of these survived
        self.shown = 0
        self.began = time.monotonic()
        self.expected, self.baseline = {}, {}
        self.old = bench.fresh(bench.scratch / "old")
        if bench.run(FORCE_OLD, self.old).status != 0:
            sys.exit("torture.py: the old OUT could not be made")

    def directory(self):
        """This thread's own."""
        if not hasattr(self.local, "path"):
            with self.lock:
                self.n_workers += 1
                self.local.path = self.bench.scratch / f"worker-{self.n_workers}"
        return self.local.path

    def prepare(self, case):
        """The exact bytes of a case, and what a run under the shim leaves open or allocated without a fault."""
        directory = self.bench.fresh(self.directory())
        self.place_old(case, directory)
        result = self.bench.run(case, directory, "none 0 0 0")
        self.expected[case.name] = runs.digest_tree(directory / "out")
        self.baseline[case.name] = result.report
        bad = runs.complaints_about_messages(case, result)
        if result.status != 0 or bad or not result.report or (self.expected[case.name] is None) != case.dry:
            sys.exit(f"torture.py: {case.name} fails without a fault: {bad} {result.stderr}")

    def place_old(self, case, directory):
        if case.force:
            shutil.copytree(self.old / "out", directory / "out")
        if case.resumes:
            shutil.copytree(self.interrupted(case), directory / "out.partial")

    def interrupted(self, case):
        """The work that a run left which could not write any more, made once."""
        with self.lock:
            directory = self.bench.scratch / f"interrupted-{case.name}"
            if not directory.exists():
                self.bench.fresh(directory)
                n_writes = int(self.bench.run(case, directory, "write 0 5 0", "/model").report["calls"])
                self.bench.fresh(directory)
                result = self.bench.run(case, directory, f"write {n_writes // 2} 5 1", "/model")
                if result.status not in (5, 6) or not (directory / "out.partial").is_dir():
                    sys.exit(f"torture.py: {case.name}: no interrupted run: {result.status} {result.stderr}")
        return directory / "out.partial"

    # ---- Judgement ----

    def place_of(self, path):
        if path.startswith(str(self.bench.inputs)):
            return "input"
        if path.startswith((str(self.bench.scratch), "out")):
            return "output"
        return "elsewhere"

    def statuses(self, series, result):
        """The exit statuses that fit the fault."""
        function, path = result.where
        place = self.place_of(path)
        well = set() if series.verdict == FAILS else {0}
        if series.verdict == SURVIVES:
            return {0}
        if series.class_name in ("alloc", "thread", "lock", "inflate"):
            return well | {6}
        is_parent_sync = series.class_name == "fsync" and os.path.basename(path).startswith("worker-")
        is_of_replaced = series.class_name == "fsync" and "/out.replaced-" in path
        if series.lasts:
            # With --force OUT may be the new one already, and the old one be left for the next run to remove.
            is_late = series.case.force and (function == "rename" or is_parent_sync or is_of_replaced)
            return well | {3, 5, 6} | ({0} if is_late else set())
        if is_of_replaced:
            return {0}  # it is about to be removed
        if series.class_name == "fsync" and series.kind == errno.EINVAL:
            # Directories of some file systems have no fsync; a file that has none is not to be trusted.
            return {0} if path.endswith("/out.partial") or "/out.ready-" in path or os.path.basename(path).startswith("worker-") else {5}
        if series.case.force and is_parent_sync:
            return well | {0, 5, 6}  # 0: OUT is the new one and durable, and the removal of the old one is not
        if series.class_name == "digest":
            return {6, 70} | ({0} if "--sign" in series.case.options else set())  # a signature is tried twice
        if series.class_name == "close":
            return {0, 5} if place == "output" else {0}
        if series.class_name == "readdir" and place == "elsewhere":
            return well
        if place == "input":
            return well | {3, 6} | ({5} if function == "realpath" else set())
        if function == "rename" and series.case.force:
            return well | {0, 5, 6}  # 0: OUT is the new one, and the old one is left for the next run to remove
        if place == "output" or function in ("rename", "renameat2", "mkdir", "unlink", "unlinkat", "rmdir"):
            return well | {5, 6}
        return well | {3, 5, 6}

    def complaints(self, series, result, directory):
        """What is wrong with a run whose fault came."""
        if result.status is None:
            return ["it hangs"]
        if not result.report:
            return [f"it crashed (status {result.status}): {result.stderr[-300:]}"]
        case = series.case
        bad = runs.complaints_about_messages(case, result)
        allowed = self.statuses(series, result)
        if result.status not in allowed:
            bad.append(f"status {result.status}, want one of {sorted(allowed)}: {runs.error_line(result) or result.stderr}")
        for what in ("leaks", "descriptors"):
            if int(result.report[what]) > int(self.baseline[case.name][what]):
                bad.append(f"{what}: {result.report[what]}, without a fault {self.baseline[case.name][what]}")
        if not series.lasts:
            bad += self.complaints_about_name(result)
        return bad + self.complaints_about_out(case, result, directory)

    def complaints_about_name(self, result):
        path = result.where[1]
        names = {os.path.basename(path), os.path.basename(os.path.dirname(path)), "out"} | self.links_to(path)
        if result.status and self.place_of(path) != "elsewhere" and not any(n in runs.error_line(result) for n in names if n):
            return [f"the message does not name {path}: {runs.error_line(result)}"]
        return []

    @staticmethod
    def links_to(path):
        """A blob of the hub's cache is named by the link in the snapshot that leads to it."""
        repository = pathlib.Path(path).parent.parent
        return {link.name for link in repository.glob("snapshots/*/*") if os.path.basename(os.readlink(link)) == os.path.basename(path)}

    def complaints_about_out(self, case, result, directory):
        got = runs.digest_tree(directory / "out")
        if result.status == 0:
            want = self.expected[case.name]
        else:
            want = runs.digest_tree(self.old / "out") if case.force else None
        if got != want:
            return [f"status {result.status}, and OUT is " + ("not there" if got is None else "not what it should be")]
        return []

    # ---- Runs ----

    def attempt(self, series, nth):
        """One run with a fault and one without. True: the fault came."""
        case = series.case
        directory = self.bench.fresh(self.directory())
        self.place_old(case, directory)
        result = self.bench.run(case, directory, series.fault(nth), series.path)
        if result.report and result.fired == 0:
            return False
        bad = self.complaints(series, result, directory)
        if result.status != 0 or case.force:
            bad += self.complaints_about_rerun(case, directory)
        elif self.left_in(directory):
            if series.class_name in TIDIED_LATER and all(name.startswith("out.publishing.") for name in self.left_in(directory)):
                self.bench.run(case, directory)  # refused, as OUT is there, but it tidies
            if self.left_in(directory):
                bad.append(f"left: {self.left_in(directory)}")
        self.note(series, nth, result, bad)
        return True

    @staticmethod
    def left_in(directory):
        return sorted(path.name for path in directory.iterdir() if path.name not in ("out", "report"))

    def complaints_about_rerun(self, case, directory):
        again = self.bench.run(case, directory)
        left = self.left_in(directory)
        if again.status != 0:
            return [f"the next run fails: {again.stderr}"]
        if runs.digest_tree(directory / "out") != self.expected[case.name]:
            return ["the next run gives other bytes"]
        return [f"the next run leaves {left}"] if left else []

    def note(self, series, nth, result, bad):
        with self.lock:
            score = self.score[series.class_name]
            score[1 if bad else 0] += 1
            score[2] += result.status == 0
            if bad:
                self.shown += 1
                if self.shown <= self.options.show:
                    print(f"FAILED {series.name}, call {nth} ({' '.join(result.where)}): " + "; ".join(bad), flush=True)
            if self.options.verbose:
                print(f"{series.name} {nth} {result.status} {' '.join(result.where)} | {runs.error_line(result)}")

    def guarded(self, series, nth):
        try:
            return self.attempt(series, nth)
        except Exception as error:  # pylint: disable=broad-except
            self.note(series, nth, runs.Result(None, "", "", {}), [f"torture.py: {error!r}"])
            return False

    def calls(self, series):
        """How many calls a run without the fault makes."""
        directory = self.bench.fresh(self.directory())
        self.place_old(series.case, directory)
        return int(self.bench.run(series.case, directory, series.fault(0), series.path).report["calls"])

    def run_series(self, series, pool):
        n_calls = self.calls(series)
        sample = max(self.options.sample, PINNED_CALLS) if series.path else self.options.sample
        if self.options.sample and n_calls > sample:
            chosen = self.random.sample(range(1, n_calls + 1), sample)
            list(pool.map(lambda nth: self.guarded(series, nth), chosen))
            return
        stride = self.options.stride if series.class_name == "alloc" else 1
        first = self.random.randrange(stride) + 1
        list(pool.map(lambda nth: self.guarded(series, nth), range(first, n_calls + 1, stride)))
        nth = n_calls + 1
        while n_calls > 0 and self.guarded(series, nth):
            nth += 1

    def tell(self, name):
        n = sum(passed + failed for passed, failed, _ in self.score.values())
        print(f"{name}: {n} cases so far, {time.monotonic() - self.began:.0f} s", flush=True)

    def report(self):
        print(f"{'class':16} {'faults':>7} {'survived':>9} {'failed':>7}")
        for name, (passed, failed, survived) in sorted(self.score.items()):
            print(f"{name:16} {passed + failed:7} {survived:9} {failed:7}")
            runs.write_count(f"tests/fault/torture.py:{name}", passed, failed)
        failed = sum(score[1] for score in self.score.values())
        missing = {fault[0] for fault in FAULTS} - UNUSED - set(self.score)
        if not self.options.patterns and not self.options.quick and missing:
            print(f"FAILED no call of these classes was made: {sorted(missing)}")
            failed += 1
        print(f"{sum(score[0] for score in self.score.values())} passed, {failed} failed")
        return failed == 0


def scratch_place():
    """Memory rather than a disk: thousands of runs sync some twenty files each."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) and "TMPDIR" not in os.environ else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--shim", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--synth", required=True)
    parser.add_argument("--sample", type=int, default=0, help="calls to try of each series; 0: all")
    parser.add_argument("--quick", action="store_true", help="the pinned series, and these commands: " + " ".join(QUICK_CASES))
    parser.add_argument("--stride", type=int, default=1, help="of allocations, try only every N-th")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--show", type=int, default=40, help="failures to describe")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    every = [Series.pinned(*each) for each in PINNED]
    every += [Series(case, fault) for case in runs.CASES for fault in FAULTS if not options.quick or case.name in QUICK_CASES]
    every = [series for series in every if series.case.name != "large" or series.path or series.class_name in LARGE_CLASSES]
    # Byte by byte a large file takes minutes.
    every = [series for series in every if series.name not in ("large/read/short for good", "large/write/short for good")]
    chosen = [s for s in every if not options.patterns or any(fnmatch.fnmatchcase(s.name, p) for p in options.patterns)]
    with tempfile.TemporaryDirectory(dir=scratch_place(), prefix="llavamed-torture-") as scratch:
        bench = runs.Bench(options.program, options.shim, scratch)
        bench.make_large(options.synth)
        torture = Torture(bench, options)
        last_of = {series.case.name: series for series in chosen}
        for case in {series.case for series in chosen}:
            torture.prepare(case)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for series in chosen:
                torture.run_series(series, pool)
                if series is last_of[series.case.name] and not options.sample:
                    torture.tell(series.case.name)
    sys.exit(0 if torture.report() else 1)


if __name__ == "__main__":
    main()
