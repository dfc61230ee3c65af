#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_size.sh: functions of at most 70 lines (between their braces, which stand in column 1), files of at most 600
# (the public header, which is mostly comment and one for all programs: 1200).
# A function may be longer when it is one switch whose cases call helpers: such are listed here by name.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "${LINT_ROOT:-.}" || exit 2
files=$(LINT_ROOT=. "$here/files.sh" c) || exit 2
long_switches=${LINT_LONG_SWITCHES-pickle_step}

# shellcheck disable=SC2086
LC_ALL=C awk -v long_switches=" $long_switches " '
function bad(line, what) { printf "%s:%d: %s\n", FILENAME, line, what }
FNR == 1 { inside = 0; name = "" }
FNR == 601 && FILENAME !~ /^include\// { bad(FNR, "file of more than 600 lines") }
FNR == 1201 { bad(FNR, "header of more than 1200 lines") }
# The last line that starts with a letter and has a parenthesis names the function.
!inside && /^[A-Za-z_].*\(/ {
    name = $0
    sub(/[ ]*\(.*$/, "", name)
    sub(/^.*[ *]/, "", name)
}
/^\{/ { inside = 1; first = FNR }
inside && /^\}/ {
    inside = 0
    lines = FNR - first - 1
    if (lines > 70 && $0 == "}" && index(long_switches, " " name " ") == 0) {
        bad(first, "function " name " of " lines " lines (at most 70)")
    }
}' $files | {
    if grep . >&2; then
        exit 1
    fi
}
