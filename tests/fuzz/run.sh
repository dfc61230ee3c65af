#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh fuzz SECONDS BUILD FUZZER...    each libFuzzer binary for so long, from its corpus
# run.sh afl SECONDS BUILD FUZZER...     each binary linked with afl_main.c under AFL++ for so long, from its corpus
# run.sh regress 0 BUILD FUZZER...       each binary linked with fuzz_main.c once over its corpus
# fuzz_NAME has its corpus in tests/fuzz/corpus/NAME/ and its dictionary in tests/fuzz/NAME.dict.
# Nothing is written there: what a fuzzer finds goes to BUILD/fuzz-found/NAME/, a failing input to
# BUILD/fuzz-failures/, and a line "EPOCH CPU_SECONDS WALL_SECONDS EXECUTIONS" for totals.sh to BUILD/fuzz-log/NAME.
# JOBS fuzzers run at a time (one per processor). One PASS or FAIL line a target; ends with "N passed, N failed".
set -u

mode=$1
seconds=$2
build=$3
shift 3
[ "$#" -gt 0 ] || echo "run.sh: no fuzz targets"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

tests/run_parallel.sh "tests/fuzz/one.sh $mode $seconds $build" "$@" | tee "$log"
passed=$(grep -c '^PASS ' "$log")
failed=$(($# - passed))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
