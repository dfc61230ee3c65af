#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [-v] [PATTERN...]
# Runs llavamed-apply of $BUILD (build) as a user does. Every function test_* in tests/cli/cases/*.sh is one test, run
# in a subshell inside a fresh directory of its own; lib.sh has what they call. A PATTERN (a shell glob, "*full*") picks
# tests by name, -v also shows the output of failed tests' last run. Ends with "N passed, N failed".
# The temporary directory is made in $TMPDIR (/tmp).
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in
/*) ;;
*) BUILD=$root/$BUILD ;;
esac
export LC_ALL=C
unset NO_COLOR COLUMNS SLURM_CPUS_PER_TASK

verbose=0
if [ "${1:-}" = -v ]; then
    verbose=1
    shift
fi
if [ ! -x "$BUILD/llavamed-apply" ]; then
    echo "run.sh: $BUILD/llavamed-apply is missing: make it first" >&2
    echo '0 passed, 1 failed'
    exit 1
fi

scratch=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$scratch" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Some tests run the program as another user: what that one reads must be open to all.
chmod 755 "$scratch"
cp "$BUILD/llavamed-apply" "$scratch/llavamed-apply" || exit 1
PROGRAM=$scratch/llavamed-apply
DATA=$root/tests/data/cli

# shellcheck source=tests/cli/lib.sh
. "$here/lib.sh"

selected()
{
    [ $# -eq 1 ] && return 0
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2053
        [[ $name == $pattern ]] && return 0
    done
    return 1
}

passed=0
failed=0
for file in "$here"/cases/*.sh; do
    # shellcheck source=/dev/null
    . "$file"
    mapfile -t names < <(sed -n 's/^\(test_[a-z0-9_]*\)()$/\1/p' "$file")
    for name in "${names[@]}"; do
        selected "$name" "$@" || continue
        T=$scratch/$name
        mkdir "$T"
        chmod 755 "$T"
        (
            cd "$T" || exit 1
            mkdir .checks
            "$name"
            exit 0
        ) >"$scratch/log" 2>&1
        # A test that checked nothing, or that ended before its last line, has failed too.
        if [ -s "$T/.checks/ok" ] && [ ! -e "$T/.checks/bad" ] && [ ! -s "$scratch/log" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            printf 'FAILED %s (%s)\n' "$name" "${file##*/}"
            sed 's/^/    /' "$scratch/log"
            cat "$T/.checks/bad" 2>/dev/null
            if [ "$verbose" = 1 ]; then
                for stream in stdout stderr; do
                    sed "s/^/    $stream: /" "$T/.checks/$stream" 2>/dev/null
                done
            fi
        fi
        chmod -R u+rwx "$T" 2>/dev/null
        rm -rf "$T"
    done
done
if [ $((passed + failed)) -eq 0 ]; then
    echo 'run.sh: no test has such a name' >&2
    failed=1
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
