#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh fuzz SECONDS BUILD FUZZER...    each libFuzzer binary for so long, from its corpus
# run.sh regress 0 BUILD FUZZER...       each binary linked with fuzz_main.c once over its corpus
# fuzz_NAME has its corpus in tests/fuzz/corpus/NAME/ and its dictionary in tests/fuzz/NAME.dict.
# Nothing is written there: what a fuzzer finds goes to BUILD/fuzz-found/NAME/, a failing input to
# BUILD/fuzz-failures/. One PASS or FAIL line a target; ends with "N passed, N failed".
set -u

mode=$1
seconds=$2
build=$3
shift 3
passed=0
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
[ "$#" -gt 0 ] || echo "run.sh: no fuzz targets"

run_fuzzer()
{
    found=$build/fuzz-found/$name
    failures=$build/fuzz-failures
    mkdir -p "$found" "$failures"
    set -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$failures/$name-" -dict="$dictionary" "$found" "$corpus"
    "$fuzzer" "$@"
}

for fuzzer in "$@"; do
    name=$(basename "$fuzzer")
    name=${name#fuzz_}
    corpus=tests/fuzz/corpus/$name
    dictionary=tests/fuzz/$name.dict
    remark=
    if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
        echo "no corpus in $corpus" >"$log"
        status=1
    elif [ ! -s "$dictionary" ]; then
        echo "no dictionary $dictionary" >"$log"
        status=1
    elif [ "$mode" = fuzz ]; then
        run_fuzzer >"$log" 2>&1
        status=$?
        remark=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        # A fuzzer that ran nothing proved nothing.
        [ "${remark:-0}" -gt 0 ] || status=1
        remark="$remark runs in $seconds s"
    else
        "$fuzzer" "$corpus"/* >"$log" 2>&1
        status=$?
        remark=$(tail -n 1 "$log")
    fi
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'PASS %s: %s\n' "$name" "$remark"
    else
        failed=$((failed + 1))
        printf 'FAIL %s (exit status %d)\n' "$name" "$status"
        tail -n 40 "$log"
    fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
