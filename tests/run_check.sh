#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_check.sh [-j N] NAME=COMMAND...
# Runs every command (all of them, whatever fails), shows its output, and ends with the sum of what they counted:
# "N passed, N failed", and ", N skipped" when anything was. A command that exits non-zero without having counted a
# failure, or that counted nothing, is one failure. Exit status 1 when anything failed.
# With -j N, N commands at a time; each one's output is shown whole when it ends.
#
# The lines that count are exactly "N passed, N failed[, N skipped]". They are shown as "NAME: N passed...",
# so that a run_check inside a run_check is not counted twice.
set -u

counts='^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$'

# stage SCRATCH N NAME=COMMAND: leaves SCRATCH/N.sum, "PASSED FAILED SKIPPED", and SCRATCH/N.line for the summary
stage()
{
    log=$1/$2.log sum=$1/$2.sum line=$1/$2.line ended=$1/$2.status
    name=${3%%=*}
    command=${3#*=}
    printf '==== %s\n' "$name"
    began=$(date +%s)
    {
        sh -c "$command" </dev/null 2>&1
        echo $? >"$ended"
    } | tee "$log" | sed -uE "s/($counts)/$name: \\1/"
    status=$(cat "$ended")
    seconds=$(($(date +%s) - began))

    # shellcheck disable=SC2046
    set -- $(grep -E "$counts" "$log" | awk '{ p += $1; f += $3; s += $5 } END { print p + 0, f + 0, s + 0, NR }')
    passed=$1 failed=$2 skipped=$3 lines=$4
    remark=
    if [ "$lines" -eq 0 ]; then
        failed=$((failed + 1))
        remark=" (counted nothing, exit status $status)"
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=$((failed + 1))
        remark=" (exit status $status)"
    elif [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
        remark=' (ran no test)'
    fi
    printf '  %-14s %6d passed, %d failed, %d skipped, %d s%s\n' "$name:" "$passed" "$failed" "$skipped" "$seconds" \
        "$remark" >"$line"
    echo "$passed $failed $skipped" >"$sum"
}

if [ "${1-}" = --stage ]; then
    shift
    stage "$@"
    exit
fi
jobs=1
if [ "${1-}" = -j ]; then
    jobs=$2
    shift 2
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM


n=0
if [ "$jobs" -eq 1 ]; then
    for each in "$@"; do
        n=$((n + 1))
        stage "$scratch" "$n" "$each"
    done
else
    # By xargs, as in run_parallel.sh: what a shell starts with & cannot be interrupted.
    # shellcheck disable=SC2016
    for each in "$@"; do
        n=$((n + 1))
        printf '%s\0%s\0' "$n" "$each"
    done | xargs -0 -n 2 -P "$jobs" sh -c '
        "$0" --stage "$1" "$2" "$3" >"$1/$2.out" 2>&1
        flock "$1" cat "$1/$2.out"' "$0" "$scratch"
fi

total_passed=0
total_failed=0
total_skipped=0
printf '==== summary\n'
n=0
for each in "$@"; do
    n=$((n + 1))
    if [ ! -s "$scratch/$n.sum" ]; then
        printf '  %s did not end\n' "${each%%=*}:"
        total_failed=$((total_failed + 1))
        continue
    fi
    cat "$scratch/$n.line"
    read -r passed failed skipped <"$scratch/$n.sum"
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
done
if [ "$total_skipped" -gt 0 ]; then
    printf '%d passed, %d failed, %d skipped\n' "$total_passed" "$total_failed" "$total_skipped"
else
    printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
fi
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
