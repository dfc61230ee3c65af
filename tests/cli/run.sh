#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [-v] [PATTERN...]
# Runs the programs of $BUILD (build) as a user does. Every function test_* in tests/cli/cases/*.sh is one test, run
# by one.sh inside a fresh directory of its own, JOBS at a time (one per processor); lib.sh has what they call.
# A PATTERN (a shell glob, "*full*") picks tests by name, -v also shows the output of failed tests' last run.
# With CLI_SHARE=N every N-th test alone is run, beginning with the CLI_SHARE_FIRST-th (0) modulo N.
# Ends with "N passed, N failed".
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

export VERBOSE=0
if [ "${1:-}" = -v ]; then
    VERBOSE=1
    shift
fi
for program in apply verify; do
    if [ ! -x "$BUILD/llavamed-$program" ]; then
        echo "run.sh: $BUILD/llavamed-$program is missing: make it first" >&2
        echo '0 passed, 1 failed'
        exit 1
    fi
done

SCRATCH=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$SCRATCH" 2>/dev/null; rm -rf "$SCRATCH"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Some tests run the program as another user: what that one reads must be open to all.
chmod 755 "$SCRATCH"
mkdir "$SCRATCH/passed"
cp "$BUILD"/llavamed-* "$SCRATCH/" || exit 1
export SCRATCH BUILD PROGRAM=$SCRATCH/llavamed-apply VERIFY=$SCRATCH/llavamed-verify DATA=$root/tests/data/cli

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

tests=()
for file in "$here"/cases/*.sh; do
    while read -r name; do
        selected "$name" "$@" && tests+=("${file##*/}:$name")
    done < <(sed -n 's/^\(test_[a-z0-9_]*\)()$/\1/p' "$file")
done
if [ "${CLI_SHARE:-1}" -gt 1 ]; then
    every=("${tests[@]}")
    tests=()
    for ((i = ${CLI_SHARE_FIRST:-0} % CLI_SHARE; i < ${#every[@]}; i += CLI_SHARE)); do
        tests+=("${every[i]}")
    done
fi
if [ ${#tests[@]} -eq 0 ]; then
    echo 'run.sh: no test has such a name' >&2
    echo '0 passed, 1 failed'
    exit 1
fi
"$root/tests/run_parallel.sh" "$here/one.sh" "${tests[@]}"
passed=$(find "$SCRATCH/passed" -type f | wc -l)
failed=$((${#tests[@]} - passed))
if [ $# -eq 0 ] && [ "${CLI_SHARE:-1}" -eq 1 ]; then
    for file in "$here"/cases/*.sh; do
        file=${file##*/}
        total=$(printf '%s\n' "${tests[@]}" | grep -c "^$file:")
        good=$(printf '%s\n' "${tests[@]}" | sed -n "s/^$file://p" |
            (cd "$SCRATCH/passed" && xargs ls) 2>/dev/null | wc -l)
        "$root/tests/count.sh" "tests/cli/cases/$file" "$good" $((total - good))
    done
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
