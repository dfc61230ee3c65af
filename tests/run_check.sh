#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_check.sh NAME=COMMAND...
# Runs every command (all of them, whatever fails), shows its output, and ends with the sum of what they counted:
# "N passed, N failed", and ", N skipped" when anything was. A command that exits non-zero without having counted a
# failure, or that counted nothing, is one failure. Exit status 1 when anything failed.
#
# The lines that count are exactly "N passed, N failed[, N skipped]". They are shown as "NAME: N passed...",
# so that a run_check inside a run_check is not counted twice.
set -u

counts='^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$'
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

total_passed=0
total_failed=0
total_skipped=0
: >"$scratch/summary"
for stage in "$@"; do
    name=${stage%%=*}
    command=${stage#*=}
    printf '==== %s\n' "$name"
    began=$(date +%s)
    {
        sh -c "$command" </dev/null 2>&1
        echo $? >"$scratch/status"
    } | tee "$scratch/log" | sed -uE "s/($counts)/$name: \\1/"
    status=$(cat "$scratch/status")
    seconds=$(($(date +%s) - began))

    # shellcheck disable=SC2046
    set -- $(grep -E "$counts" "$scratch/log" |
        awk '{ p += $1; f += $3; s += $5 } END { print p + 0, f + 0, s + 0, NR }')
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
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    printf '  %-14s %6d passed, %d failed, %d skipped, %d s%s\n' "$name:" "$passed" "$failed" "$skipped" "$seconds" \
        "$remark" >>"$scratch/summary"
done

printf '==== summary\n'
cat "$scratch/summary"
if [ "$total_skipped" -gt 0 ]; then
    printf '%d passed, %d failed, %d skipped\n' "$total_passed" "$total_failed" "$total_skipped"
else
    printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
fi
[ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
