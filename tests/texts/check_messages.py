#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_messages.py [README.md]: every message that the table between <!-- messages --> and <!-- end of messages --> quotes is
one that the sources can print: a string of a .c file, with "..." in the place of what printf puts in. Ends with
"N passed, N failed"; exit status 1 when anything failed."""

import pathlib
import re
import sys

LITERAL = r'"((?:[^"\\\n]|\\.)*)"'


def strings_of(source):
    """Literals, joined where only blanks, or the name of a macro, stand between two of them."""
    for found in re.finditer(rf"{LITERAL}(?:\s+{LITERAL})*", source):
        yield "".join(re.findall(LITERAL, found.group(0)))


def as_quoted(string):
    quoted = re.sub(r"%[-+ #0-9.*]*(?:hh|h|ll|l|z|j|t)?[a-zA-Z]", "...", string).replace("%%", "%")
    return re.sub(r"\.{3,}", "...", quoted)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "README.md"
    known = set()
    for source in sorted(pathlib.Path("src").rglob("*.c")):
        known.update(map(as_quoted, strings_of(source.read_text(encoding="utf-8"))))
    text = pathlib.Path(path).read_text(encoding="utf-8")
    table = re.search(r"<!-- messages -->\n(.*?)<!-- end of messages -->", text, re.S)
    rows = [line for line in table.group(1).splitlines() if line.startswith("| `")] if table else []
    passed = failed = 0
    for row in rows:
        message = row.split("`")[1]
        # Mostly of words: a string such as "%s: %s" would be found for anything.
        right = message in known and len(re.findall(r"[a-z]{3,}", message)) >= 2
        passed += right
        failed += not right
        if not right:
            print(f"failed: {path}: no source prints: {message}")
    if not rows:
        sys.exit(f"{path}: no table of messages")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
