#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_text.sh: what every source of the project looks like: no tabs, no trailing space, a final newline, lines of at
# most 120 bytes (Python's tables of fixtures aside), an SPDX line, no banned function, no note to self, no path of
# somebody's machine.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "${LINT_ROOT:-.}" || exit 2
files=$(LINT_ROOT=. "$here/files.sh" text) || exit 2

# Brackets keep this file from matching itself.
banned='strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|alloca|tmpnam|mktemp'
notes='TOD[O]|FIXM[E]|XX[X]'
places='/wor[k]/|/tmp/ven[v]|/roo[t]/|/hom[e]/[a-z]|/op[t]/[a-z]|py[p]i[.]org|pythonhoste[d]|debia[n][.]org'

printf '%s\n' "$files" | while IFS= read -r file; do
    case $file in
    Makefile | */Makefile) code=1 tabs=1 ;;
    *.md | *.txt | *.[1-8] | .[a-z]*[a-z]) code=0 tabs=0 ;;
    *) code=1 tabs=0 ;;
    esac
    case $file in
    .ci/run) code=1 ;;
    *.dict | *.fish | .*) code=0 ;;
    esac
    LC_ALL=C awk -v file="$file" -v tabs="$tabs" -v code="$code" -v banned="$banned" -v notes="$notes" \
        -v places="$places" '
    function bad(what) { printf "%s:%d: %s\n", file, FNR, what }
    BEGIN { word = "(^|[^A-Za-z0-9_])"; is_c = file ~ /\.[ch]$/; wide = file ~ /\.py$/ }
    !tabs && /\t/ { bad("tab") }
    /[ \t\r]$/ { bad("trailing space") }
    code && !wide && length($0) > 120 { bad("line of " length($0) " bytes (at most 120)") }
    FNR <= 3 && /SPDX-License-Identifier: Apache-2\.0/ { spdx = 1 }
    is_c && match($0, word "(" banned ")[ ]*\\(") { bad("banned function: " substr($0, RSTART, RLENGTH)) }
    match($0, word "(" notes ")([^A-Za-z0-9_]|$)") { bad("a note to self: " substr($0, RSTART, RLENGTH)) }
    match($0, places) { bad("a path or host of one machine: " substr($0, RSTART, RLENGTH)) }
    END { if (code && !spdx) { FNR = 1; bad("no SPDX line among the first three") } }
    ' "$file"
    if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then
        printf '%s: no newline at the end\n' "$file"
    fi
done | {
    if grep . >&2; then
        exit 1
    fi
}
