#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_pages.py BUILD MANIFEST...: holds the manual pages in docs/man against what they are of. Options, with the values
that they take: against --help-all of the programs in BUILD, both ways. Keys of the manifest: against docs/manifest.md, both
ways, and against MANIFESTs that the programs wrote, whose keys must all be there. Ends with "N passed, N failed"; exit
status 1 when anything failed."""

import json
import pathlib
import re
import sys

import help_all

PAGES = pathlib.Path("docs/man")
# Headings of docs/manifest.md, sections of the page.
SECTIONS = {"": "The document", "`inputs.base`": "An input", "`result`": "The result", "One of": "A tensor"}

passed = failed = 0


def check(holds, what):
    global passed, failed
    passed += bool(holds)
    failed += not holds
    if not holds:
        print("failed:", what)


def item(option):
    """The line of mdoc that begins what a page says of the option."""
    value = ""
    if option.words:
        value += f" Cm {' | '.join(option.words)}"
    if option.placeholders:
        placeholders = f" Ar {' | '.join(option.placeholders)}"
        value = f"{placeholders} |{value}" if value else placeholders
    short = f"Fl {option.short}{value} , " if option.short else ""
    return f".It {short}Fl -{option.name}{value}"


def check_program(program):
    path = PAGES / f"{program.name}.1"
    page = path.read_text(encoding="ascii")
    check(f"\n.Dt {program.name.upper()} 1\n" in page and f"\n.Nm {program.name}\n" in page, f"{path}: its name")
    options = re.search(r"^\.Sh OPTIONS\n(.*?)^\.Sh ", page, re.M | re.S)
    items = re.findall(r"^\.It .*$", options.group(1) if options else "", re.M)
    wanted = [item(option) for option in program.options]
    for line in wanted:
        check(items.count(line) == 1, f"{path}: OPTIONS must have this line once: {line}")
    for line in items:
        check(line in wanted, f"{path}: OPTIONS has what --help-all has not: {line}")
    for name in program.old_names:
        check(re.search(rf"^\.Fl -{name[2:]}( |$)", page, re.M), f"{path}: the old name {name} is missing")


def check_readme(program):
    """The table of options in README.md is that of llavamed-apply."""
    text = pathlib.Path("README.md").read_text(encoding="utf-8")
    table = re.search(r"^## Options\n(.*?)^## ", text, re.M | re.S).group(1)
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    found = {name for cell in cells for name in re.findall(r"`--([a-z-]+)", cell)}
    wanted = {option.name for option in program.options}
    check(found == wanted, f"README.md: Options: too many: {sorted(found - wanted)}, missing: {sorted(wanted - found)}")


def check_references():
    for path in sorted(PAGES.iterdir()):
        for name, section in re.findall(r"^\.Xr (llavamed-\S+) (\d)", path.read_text(encoding="ascii"), re.M):
            check((PAGES / f"{name}.{section}").is_file(), f"{path}: there is no page {name}({section})")


def keys_of_text():
    """By section, the keys in the first columns of the tables of docs/manifest.md."""
    found = {}
    section = SECTIONS[""]
    for line in pathlib.Path("docs/manifest.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = next(SECTIONS[key] for key in SECTIONS if key and key in line)
        elif line.startswith("| `"):
            found.setdefault(section, []).extend(re.findall(r"`([a-z0-9_]+)`", line.split("|")[1]))
    return found


def keys_of_page():
    found = {}
    section = None
    for line in (PAGES / "llavamed-manifest.5").read_text(encoding="ascii").splitlines():
        if line.startswith(".Ss "):
            section = line[4:]
        elif line.startswith(".It Li "):
            found.setdefault(section, []).extend(line[7:].split(" , "))
    return found


def check_manifest(names):
    text, page = keys_of_text(), keys_of_page()
    check(sorted(text) == sorted(SECTIONS.values()), f"docs/manifest.md: tables {sorted(text)}")
    for section in SECTIONS.values():
        for key in {*text.get(section, []), *page.get(section, [])}:
            counts = text.get(section, []).count(key), page.get(section, []).count(key)
            check(counts == (1, 1), f"manifest: {section}: {key}: {counts[0]} times in docs/manifest.md, "
                                    f"{counts[1]} times in the page")
    for name in names:
        manifest = json.loads(pathlib.Path(name).read_bytes())
        parts = [("The document", manifest), ("The result", manifest["result"])]
        parts += [("An input", part) for part in manifest["inputs"].values()]
        parts += [("A tensor", part) for part in manifest["tensors"]]
        for section, part in parts:
            missing = sorted(set(part) - set(page.get(section, [])))
            check(not missing, f"{name}: {section}: the page does not have {missing}")


def main():
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} BUILD MANIFEST...")
    for program in help_all.programs(sys.argv[1]):
        check_program(program)
        if program.name == "llavamed-apply":
            check_readme(program)
    check_references()
    check_manifest(sys.argv[2:])
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
