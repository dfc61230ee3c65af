#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""abi.py functions|layout: what the public headers declare, as the compiler ($CC) sees it. abi.py --update records it.

functions: the names of all functions, one a line. layout: the size of every struct, where its members lie, the value of
every enumerator: what a program that was built once goes on believing of the shared library. tests/install/abi-0.txt has
it for libllavamed.so.0; both processors that the project is for, with pointers of 64 bits, give the same.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RECORD = os.path.join(HERE, "abi-0.txt")
HEADERS = ["llavamed.h", "llavamed_diff.h", "llavamed_reports.h"]
COMPILER = os.environ.get("CC", "cc").split() + ["-std=c11", "-I", os.path.join(ROOT, "include")]
INCLUDES = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n"


def headers():
    """Our headers, macros and comments gone, without those of the system."""
    text = "".join(f'#include "{name}"\n' for name in HEADERS)
    done = subprocess.run(COMPILER + ["-E", "-x", "c", "-"], input=text, text=True, check=True, stdout=subprocess.PIPE)
    ours = False
    lines = []
    for line in done.stdout.splitlines():
        mark = re.match(r'# \d+ "([^"]*)"', line)
        if mark:
            ours = os.path.basename(mark.group(1)) in HEADERS
        elif ours and not line.startswith("#"):
            lines.append(line)
    return re.sub(r"\s+", " ", re.sub(r"__attribute__ *\(\(.*?\)\)", "", " ".join(lines)))


def bodies(kind, text):
    return re.findall(rf"\b{kind} (llavamed_\w+) \{{(.*?)\}} *;", text)


def functions(text):
    text = re.sub(r"\{.*?\}", "", text)
    return sorted(set(re.findall(r"\b(llavamed_\w+) *\(", text)))


def members(body):
    """Names of a struct's members; a pointer to a function has its own in parentheses."""
    names = []
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        found = re.search(r"\(\* *(\w+)\)", declaration) or re.search(r"(\w+)(?: *\[[^]]*\])*$", declaration)
        names.append(found.group(1))
    return names


def layout(text):
    prints = []
    for name, body in bodies("struct", text):
        prints.append(f'printf("struct {name} %zu\\n", sizeof(struct {name}));')
        for member in members(body):
            prints.append(
                f'printf("  {member} %zu %zu\\n", offsetof(struct {name}, {member}), '
                f"sizeof(((struct {name} *)0)->{member}));"
            )
    for name, body in bodies("enum", text):
        prints.append(f'printf("enum {name}\\n");')
        for member in filter(None, (part.strip() for part in body.split(","))):
            member = member.split("=")[0].strip()
            prints.append(f'printf("  {member} %d\\n", (int){member});')
    source = INCLUDES + "".join(f'#include "{name}"\n' for name in HEADERS)
    source += "int main(void)\n{\n" + "\n".join(prints) + "\nreturn 0;\n}\n"
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "layout")
        subprocess.run(COMPILER + ["-x", "c", "-", "-o", program], input=source, text=True, check=True)
        return subprocess.run([program], text=True, check=True, stdout=subprocess.PIPE).stdout


def main():
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what == "functions":
        print("\n".join(functions(headers())))
    elif what == "layout":
        sys.stdout.write(layout(headers()))
    elif what == "--update":
        with open(RECORD, "w", encoding="utf-8") as record:
            record.write(layout(headers()))
    else:
        sys.exit("usage: abi.py functions|layout|--update")


if __name__ == "__main__":
    main()
