#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_headers.sh: every header compiles alone, twice in one file, and has an include guard of its own.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "${LINT_ROOT:-.}" || exit 2
headers=$(LINT_ROOT=. "$here/files.sh" c | grep '\.h$') || exit 2
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

status=0
for header in $headers; do
    path=$(pwd)/$header
    printf '#include "%s"\n#include "%s"\nextern int check_headers;\nint check_headers;\n' "$path" "$path" \
        >"$scratch/alone.c"
    # A header of static inline helpers leaves some of them unused here.
    if ! ${CC:-cc} -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc -Itests -Wall -Wextra \
        -Wno-unused-function -Werror -fsyntax-only "$scratch/alone.c" >"$scratch/log" 2>&1; then
        printf '%s: does not compile alone\n' "$header" >&2
        cat "$scratch/log" >&2
        status=1
    fi
    guard=$(sed -n 's/^#ifndef \([A-Z0-9_]*_H\)$/\1/p' "$header" | head -n 1)
    if [ -z "$guard" ]; then
        printf '%s: no include guard\n' "$header" >&2
        status=1
    else
        printf '%s %s\n' "$guard" "$header" >>"$scratch/guards"
    fi
done
for guard in $(cut -d' ' -f1 "$scratch/guards" | LC_ALL=C sort | uniq -d); do
    printf 'include guard used twice:\n' >&2
    grep "^$guard " "$scratch/guards" >&2
    status=1
done
exit $status
