#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_completions.py BUILD [DIR]: writes the completions for bash, zsh and fish into DIR (contrib/completions), from what
the programs in BUILD print with --help-all. `make completions` runs it; a test runs it again and compares."""

import pathlib
import re
import sys

import help_all

HEAD = """# SPDX-License-Identifier: Apache-2.0
# Made by `make completions` from --help-all of the programs: not to be edited.
"""

BASH_HEAD = """# shellcheck shell=bash
#
# Completions of the llavamed programs for bash: source this file, or install it as
# PREFIX/share/bash-completion/completions/llavamed-apply with a link to it for each other program.

# _llavamed_paths -d|-f: directories, or all paths, that begin with $cur
_llavamed_paths()
{
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do
        COMPREPLY+=("$path")
    done < <(compgen "$1" -- "$cur")
}

# _llavamed_words WORD...: those that begin with $cur
_llavamed_words()
{
    local word
    for word in "$@"; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

# Sets cur to the word that is completed and option to the option whose value it is, or to nothing. bash cuts words at
# '=', so that --format=x comes as three.
_llavamed_place()
{
    local i=$COMP_CWORD before
    cur=${COMP_WORDS[i]}
    option=
    if [[ $cur == = ]]; then
        cur=
        option=${COMP_WORDS[i - 1]}
    elif ((i > 1)); then
        before=${COMP_WORDS[i - 1]}
        [[ $before == = ]] && before=${COMP_WORDS[i - 2]}
        [[ $before == -* ]] && option=$before
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        # Behind "--" nothing is an option.
        [[ ${COMP_WORDS[i]} != -- ]] || option=--
    done
}
"""

ZSH_HEAD = """#
# Completions of the llavamed programs for zsh: install it as _llavamed in a directory of $fpath.

case $service in
"""

FISH_HEAD = """#
# Completions of the llavamed programs for fish: source this file, or install it as
# PREFIX/share/fish/vendor_completions.d/llavamed-apply.fish with a link to it for each other program.
"""


def function_of(program):
    return "_" + program.name.replace("-", "_")


def spellings(option):
    return ([f"-{option.short}"] if option.short else []) + [f"--{option.name}"]


# ---- bash

BASH_OFFERS = {help_all.PATH: "_llavamed_paths -f", help_all.DIRECTORY: "_llavamed_paths -d"}


def bash_offer(option):
    offers = [f"_llavamed_words {' '.join(option.words)}"] if option.words else []
    offers += [BASH_OFFERS[option.kind]] if option.kind in BASH_OFFERS else []
    return "; ".join(offers) or ":"


def bash_program(program):
    cases = {}
    for option in program.options:
        if option.value:
            cases.setdefault(bash_offer(option), []).extend(spellings(option))
    lines = [f"{function_of(program)}()", "{", "    local cur option", "    COMPREPLY=()", "    _llavamed_place",
             "    case $option in"]
    lines += [f"    {' | '.join(names)}) {offer} ;;" for offer, names in cases.items()]
    lines += ["    *)", "        if [[ $cur == -* && $option != -- ]]; then", "            _llavamed_words \\"]
    words = [f"                {' '.join(spellings(option))}" for option in program.options]
    lines += [" \\\n".join(words)]
    if program.operand in BASH_OFFERS:
        lines += ["        else", f"            {BASH_OFFERS[program.operand]}"]
    lines += ["        fi", "        ;;", "    esac", "}", f"complete -F {function_of(program)} {program.name}"]
    return "\n".join(lines) + "\n"


def bash(programs):
    return HEAD + BASH_HEAD + "".join("\n" + bash_program(program) for program in programs)


# ---- zsh

ZSH_OFFERS = {help_all.PATH: "_files", help_all.DIRECTORY: "_directories", help_all.NOTHING: " "}


def zsh_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_text(text):
    return re.sub(r"([][:\\])", r"\\\1", text)


def zsh_spec(option):
    """A spec of _arguments: what it excludes, how it is spelled, what it does, its value."""
    value = ""
    if option.value:
        what = f"({' '.join(option.words)})" if option.words else ZSH_OFFERS[option.kind]
        value = f":{zsh_text(option.value.replace('|', ' or ') if not option.words else option.name)}:{what}"
    names = [f"-{option.short}" + ("+" if option.value else "")] if option.short else []
    names += [f"--{option.name}" + ("=" if option.value else "")]
    text = f"[{zsh_text(option.text)}]{value}"
    if option.name in ("help", "help-all", "version"):
        excludes = "(- :)"  # nothing goes with it
    else:
        excludes = "*" if option.repeats else f"({' '.join(spellings(option))})"
    if len(names) == 1:
        return zsh_quoted(excludes + names[0] + text)
    return zsh_quoted(excludes) + "{" + ",".join(names) + "}" + zsh_quoted(text)


def zsh_program(program):
    specs = [zsh_spec(option) for option in program.options]
    if program.operand:
        specs.append(zsh_quoted(f":{program.usage[0].split()[1]}:{ZSH_OFFERS[program.operand]}"))
    lines = " \\\n        ".join(specs)
    return f"{program.name})\n    _arguments -s -S \\\n        {lines}\n    ;;\n"


def zsh(programs):
    names = " ".join(program.name for program in programs)
    return f"#compdef {names}\n" + HEAD + ZSH_HEAD + "".join(map(zsh_program, programs)) + "esac\n"


# ---- fish


def fish_quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# fish puts what stands before '=' in front of each candidate by itself.
FISH_DIRECTORIES = "'(__fish_complete_directories (string replace -r \"^-[^=]*=\" \"\" -- (commandline -ct)))'"


def fish_option(program, option):
    words = [f"complete -c {program.name}"]
    words += [f"-s {option.short}"] if option.short else []
    words += [f"-l {option.name}"]
    if option.value:
        if option.words:
            words.append(f"-x -a {fish_quoted(' '.join(option.words))}")
        elif option.kind == help_all.PATH:
            words.append("-r -F")
        elif option.kind == help_all.DIRECTORY:
            words.append(f"-x -a {FISH_DIRECTORIES}")
        else:
            words.append("-x")
    words.append(f"-d {fish_quoted(option.text)}")
    return " ".join(words) + "\n"


def fish_program(program):
    head = f"\n# {program.name}\n"
    if program.operand != help_all.PATH:
        head += f"complete -c {program.name} -f\n"
    if program.operand == help_all.DIRECTORY:
        head += f"complete -c {program.name} -a {FISH_DIRECTORIES}\n"
    return head + "".join(fish_option(program, option) for option in program.options)


def fish(programs):
    return HEAD + FISH_HEAD + "".join(map(fish_program, programs))


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: {sys.argv[0]} BUILD [DIR]")
    directory = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else "contrib/completions")
    directory.mkdir(parents=True, exist_ok=True)
    programs = help_all.programs(sys.argv[1])
    for name, make in (("llavamed.bash", bash), ("_llavamed", zsh), ("llavamed.fish", fish)):
        (directory / name).write_text(make(programs), encoding="ascii")


main()
