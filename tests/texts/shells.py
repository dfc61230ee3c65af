#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""shells.py [--completions DIR] BUILD SHELL...: asks bash, zsh and fish to complete, with contrib/completions, and holds
what they offer against --help-all of the programs in BUILD: all that is there and nothing else. zsh completes in a
terminal of its own, as when somebody types. Ends with "N passed, N failed"; exit status 1 when anything failed.
"""

import argparse
import os
import pathlib
import pty
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import help_all

WAIT_SECONDS = 60
HERE = {help_all.PATH: {"a-directory", "a-file"}, help_all.DIRECTORY: {"a-directory"}, help_all.NOTHING: set()}


class Case:
    """A command line up to the cursor, and what may stand there: whole words, or what follows '='."""

    def __init__(self, line, offered, loose=False):
        self.line = line
        self.offered = set(offered)
        self.loose = loose  # options may be offered as well


def spellings(option):
    return ([f"-{option.short}"] if option.short else []) + [f"--{option.name}"]


def cases_of(program):
    name = program.name
    longs = [f"--{option.name}" for option in program.options]
    yield Case(f"{name} --", longs)
    yield Case(f"{name} -", [spelled for option in program.options for spelled in spellings(option)])
    for letter in sorted({option.name[0] for option in program.options}):
        yield Case(f"{name} --{letter}", [long for long in longs if long.startswith(f"--{letter}")])
    for option in program.options:
        if not option.value:
            continue
        # Words are offered whatever else is allowed.
        offered = set(option.words) | HERE[option.kind]
        for spelled in spellings(option):
            yield Case(f"{name} {spelled} ", offered)
        yield Case(f"{name} --{option.name}=", offered)
        for word in option.words[:1]:
            begin = word[: len(word) // 2]
            yield Case(f"{name} --{option.name} {begin}", [w for w in option.words if w.startswith(begin)])
            yield Case(f"{name} --{option.name}={begin}", [w for w in option.words if w.startswith(begin)])
    yield Case(f"{name} ", HERE[program.operand] if program.operand else [], loose=True)
    yield Case(f"{name} -- -", [])
    repeated = [option for option in program.options if option.repeats]
    for option in repeated:
        others = " ".join(f"--{other.name} x" for other in repeated)
        yield Case(f"{name} {others} --{option.name}",
                   [long for long in longs if long.startswith(f"--{option.name}")])


def bash(cases, completions, directory):
    """The function that `complete` names, called as bash calls it: words are cut at '=' too."""
    script = [f". {shlex.quote(str(completions / 'llavamed.bash'))} || exit 1"]
    for i, case in enumerate(cases):
        words = case.line.replace("=", " = ").split(" ")
        if case.line.endswith("="):
            words.pop()
        quoted = " ".join(map(shlex.quote, words))
        script.append(f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE={shlex.quote(case.line)}")
        script.append("COMP_POINT=${#COMP_LINE} COMPREPLY=() function=$(complete -p ${COMP_WORDS[0]})")
        script.append("function=${function#*-F } function=${function%% *}")
        script.append("$function ${COMP_WORDS[0]} \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"")
        script.append(f"printf '%s\\n' 'case {i}' \"${{COMPREPLY[@]}}\"")
    return told(["bash", "--norc", "--noprofile"], script, directory)


def fish(cases, completions, directory):
    script = [f"source {shlex.quote(str(completions / 'llavamed.fish'))}; or exit 1"]
    for i, case in enumerate(cases):
        script += [f"echo 'case {i}'", f"complete -C '{case.line}'"]
    return told(["fish", "--no-config"], script, directory)


def told(shell, script, directory):
    """Runs a script that prints "case N", then candidates, a line each."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory.parent), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    run = subprocess.run(shell, input="\n".join(script) + "\n", cwd=directory, env=environment, capture_output=True,
                         text=True, timeout=WAIT_SECONDS * 5)
    if run.returncode != 0 or run.stderr:
        sys.exit(f"{shell[0]}: exit status {run.returncode}: {run.stderr[:2000]}")
    answers = []
    for line in run.stdout.splitlines():
        if line.startswith("case "):
            answers.append([])
        elif line:
            answers[-1].append(line.split("\t")[0])
    return answers


# What compadd adds goes to a file too. What asks it for a list of matches alone adds nothing.
ZSHRC = r"""
PROMPT= RPROMPT= LISTMAX=10000
unsetopt auto_list auto_menu
fpath=({completions} $fpath)
autoload -Uz compinit && compinit -u -D
bindkey -e
compadd() {{
    if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a found
    builtin compadd -A found "$@"
    local one
    for one in $found; do
        print -r -- $one >>{here}/found
    done
    builtin compadd "$@"
}}
answer() {{
    : >{here}/found
    zle complete-word
    BUFFER=
    : >{here}/done
}}
zle -N answer
bindkey '^I' answer
: >{here}/done
"""


class Terminal:
    """zsh at a terminal, to which somebody types."""

    def __init__(self, completions, directory):
        self.here = directory.parent / "zsh"
        self.here.mkdir()
        text = ZSHRC.format(completions=shlex.quote(str(completions)), here=shlex.quote(str(self.here)))
        (self.here / ".zshrc").write_text(text)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe("zsh", ["zsh", "-d", "-i"], {"PATH": os.environ["PATH"], "HOME": str(self.here),
                                                    "ZDOTDIR": str(self.here), "TERM": "vt100", "LC_ALL": "C.UTF-8"})
        self.wait()

    def wait(self):
        deadline = time.monotonic() + WAIT_SECONDS
        shown = b""
        while not (self.here / "done").exists():
            if time.monotonic() > deadline:
                self.close()
                sys.exit(f"zsh: no answer within {WAIT_SECONDS} s; on the screen: {shown[-2000:]!r}")
            # What it shows is not looked at, but has to be taken from it.
            if select.select([self.terminal], [], [], 0.01)[0]:
                try:
                    shown += os.read(self.terminal, 65536)
                except OSError:
                    sys.exit(f"zsh ended: {shown[-2000:]!r}")
        (self.here / "done").unlink()

    def ask(self, line):
        os.write(self.terminal, line.encode() + b"\t")
        self.wait()
        return (self.here / "found").read_text().splitlines()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def zsh(cases, completions, directory):
    terminal = Terminal(completions, directory)
    answers = [terminal.ask(case.line) for case in cases]
    terminal.close()
    return answers


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def is_right(case, answer):
    prefix = case.line.split(" ")[-1]
    got = set()
    for word in answer:
        if "=" in prefix and word.startswith(prefix[: prefix.index("=") + 1]):
            word = word[prefix.index("=") + 1:]
        got.add(word.rstrip("/="))
    if case.loose:
        got = {word for word in got if not word.startswith("-")}
    return got == case.offered, got


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--completions", type=pathlib.Path, default=pathlib.Path("contrib/completions"))
    parser.add_argument("build")
    parser.add_argument("shells", nargs="+", choices=sorted(SHELLS))
    args = parser.parse_args()
    cases = [case for program in help_all.programs(args.build) for case in cases_of(program)]
    passed = failed = 0
    for shell in args.shells:
        with tempfile.TemporaryDirectory() as top:
            directory = pathlib.Path(top) / "here"
            (directory / "a-directory").mkdir(parents=True)
            (directory / "a-file").touch()
            answers = SHELLS[shell](cases, args.completions.resolve(), directory)
        if len(answers) != len(cases):
            sys.exit(f"{shell}: {len(answers)} answers to {len(cases)} questions")
        for case, answer in zip(cases, answers):
            right, got = is_right(case, answer)
            passed += right
            failed += not right
            if not right:
                more, less = sorted(got - case.offered), sorted(case.offered - got)
                print(f"failed: {shell}: '{case.line}': offered without need: {more}, not offered: {less}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
