#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fills the figures of the table of promises in docs/reliability.md from what the tests counted.

    tests/fault/promises.py COUNTS_DIRECTORY [FILE]

A test writes "PASSED FAILED" to COUNTS/NAME, where COUNTS is the environment variable that make sets: check/ of the
counts' directory for the tests of `make check`, long/ for torture, fuzz, interop and valgrind. NAME is what the table
gives in backquotes: the test's path, with a part of it behind a colon where it counts in parts. A figure that nothing
was counted for stays.
"""
import pathlib
import re
import sys

BEGIN, END = "<!-- promises -->", "<!-- end of promises -->"


def count(directory, names):
    """Passed and failed of all tests of a row, None when one of them was not run."""
    passed = failed = 0
    for name in names:
        try:
            counts = (directory / name).read_text().split()
        except OSError:
            return None
        passed, failed = passed + int(counts[0]), failed + int(counts[1])
    return passed, failed


def fill(row, counts):
    """A row "| promise | tests | in check | longer | result |" with its figures."""
    cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
    cells += [""] * (5 - len(cells))
    names = re.findall(r"`(tests/[^`]*)`", cells[1])
    results = []
    for column, kind in ((2, "check"), (3, "long")):
        found = count(counts / kind, names)
        if found is not None:
            results.append(found[1])
            cells[column] = f"{sum(found):,}"
    if results:
        cells[4] = f"{sum(results)} failed" if any(results) else "holds"
    return "| " + " | ".join(cells) + " |"


def main():
    counts = pathlib.Path(sys.argv[1])
    document = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "docs/reliability.md")
    lines = document.read_text(encoding="utf-8").split("\n")
    first = lines.index(BEGIN) + 3
    last = lines.index(END)
    lines[first:last] = [fill(line, counts) if line.startswith("|") else line for line in lines[first:last]]
    document.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
