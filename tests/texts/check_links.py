#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_links.py: every link of README.md and docs/*.md to a file of the project, or to a heading, leads somewhere. Ends
with "N passed, N failed"; exit status 1 when anything failed."""

import os
import pathlib
import re
import sys


def headings(path):
    """What can stand behind '#': as GitHub and others make it of a heading."""
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"#+ ", line):
            text = line.lstrip("#").strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def main():
    passed = failed = 0
    for page in [pathlib.Path("README.md"), *sorted(pathlib.Path("docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if link.startswith("https://"):
                continue
            name, _, heading = link.partition("#")
            target = pathlib.Path(os.path.normpath(page.parent / name)) if name else page
            right = target.exists() and (not heading or heading in headings(target))
            passed += right
            failed += not right
            if not right:
                print(f"failed: {page}: leads nowhere: {link}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
