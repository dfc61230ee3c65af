# SPDX-License-Identifier: Apache-2.0
"""The options of the programs, as their --help-all gives them: what completions are made of, and what these and the manual
pages are held against."""

import re
import subprocess

PROGRAMS = ("llavamed-apply", "llavamed-verify", "llavamed-inspect", "llavamed-make-delta")

# What stands for a value in --help-all, and what can be offered for it.
PATH, DIRECTORY, NOTHING = "path", "directory", "nothing"
PLACEHOLDERS = {
    "SOURCE": PATH,
    "OTHER": PATH,
    "FILE": PATH,
    "FILE.html": PATH,
    "KEY": PATH,
    "PUB": PATH,
    "DIR": DIRECTORY,
    "SIZE": NOTHING,
    "N": NOTHING,
    "K/N": NOTHING,
}


class Option:
    """One row: "  -j, --threads N        workers [0: one per usable core]"."""

    def __init__(self, short, name, value, text):
        self.short = short  # "j", or None
        self.name = name  # without "--"
        self.value = value  # as printed, or None of a flag
        self.text = text
        self.repeats = False
        parts = value.split("|") if value else []
        self.words = [part for part in parts if not part[0].isupper()]
        self.placeholders = [part for part in parts if part[0].isupper()]
        for part in self.placeholders:
            if part not in PLACEHOLDERS:
                raise SystemExit(f"--{name}: tell tests/texts/help_all.py what {part} stands for")
        self.kind = PLACEHOLDERS[self.placeholders[0]] if self.placeholders else NOTHING


class Program:
    def __init__(self, name, text):
        self.name = name
        self.usage = []
        self.options = []
        self.old_names = re.findall(r"--[a-z-]+", (re.findall(r"^Old names: (.*)$", text, re.M) or [""])[0])
        for line in text.splitlines():
            row = re.match(r"  (?:-(.), )?--([a-z0-9-]+)(?: (\S+))?(?:  +(.*))?$", line)
            if re.match(rf"(Usage:|      ) {name} ", line):
                self.usage.append(line[7:])
            elif row:
                self.options.append(Option(*row.groups()))
            elif self.options and line.startswith(" " * 25):
                option = self.options[-1]
                option.text = " ".join(filter(None, (option.text, line.strip())))
            elif self.options and line == "":
                break
            elif self.options:
                raise SystemExit(f"{name} --help-all: not understood: {line}")
        for option in self.options:
            option.repeats = any(f"--{option.name} " in part for part in re.findall(r"\{(.*?)\}", " ".join(self.usage)))
        # What the first line of usage has behind the name, before options.
        operand = self.usage[0].split()[1]
        self.operand = PLACEHOLDERS[operand] if operand in PLACEHOLDERS else None

    def option(self, name):
        return next(option for option in self.options if option.name == name)


def programs(build):
    """All four, as they are in the directory `build`."""
    found = []
    for name in PROGRAMS:
        text = subprocess.run([f"{build}/{name}", "--help-all"], check=True, capture_output=True, text=True).stdout
        program = Program(name, text)
        # A reader that understands nothing would find that everything agrees.
        if not program.usage or len(program.options) < 8 or not all(option.text for option in program.options):
            raise SystemExit(f"{name} --help-all: not understood")
        found.append(program)
    return found
