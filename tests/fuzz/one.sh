#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# one.sh MODE SECONDS BUILD FUZZER: one fuzzer for run.sh, which says what these are. Prints one PASS or FAIL line; on
# failure the end of its output too.
set -u

mode=$1
seconds=$2
build=$3
fuzzer=$4
name=$(basename "$fuzzer")
name=${name#fuzz_}
corpus=tests/fuzz/corpus/$name
dictionary=tests/fuzz/$name.dict
remark=
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

run_libfuzzer()
{
    found=$build/fuzz-found/$name
    failures=$build/fuzz-failures
    mkdir -p "$found" "$failures"
    "$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$failures/$name-" -dict="$dictionary" "$found" "$corpus" || return
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
}

# AFL++ ends with 0 whatever it finds.
run_afl()
{
    found=$build/fuzz-found/$name
    rm -rf "$found"
    mkdir -p "$found" "$build/fuzz-failures"
    AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_CRASH_EXITCODE=1 \
        afl-fuzz -V "$seconds" -t 5000 -m none -x "$dictionary" -i "$corpus" -o "$found" -- "$fuzzer" || return
    executions=$(sed -n 's/^execs_done *: *//p' "$found/default/fuzzer_stats")
    for input in "$found"/default/crashes/id* "$found"/default/hangs/id*; do
        [ ! -e "$input" ] || cp "$input" "$build/fuzz-failures/$name-$(basename "$input")"
    done
    ! grep -E '^saved_(crashes|hangs) *: *[1-9]' "$found/default/fuzzer_stats"
}

# Seconds of processor that the children of this shell have used so far, into $cpu. (In a subshell `times` tells of
# that one's children.)
count_cpu()
{
    times >"$log.times"
    cpu=$(sed -n 2p "$log.times" | tr 'ms' '  ' | awk '{ printf "%d\n", 60 * $1 + $2 + 60 * $3 + $4 }')
    rm -f "$log.times"
}

# Runs a fuzzer and writes down what that was.
run_timed()
{
    executions=0
    count_cpu
    cpu_before=$cpu
    epoch=$(date +%s)
    "$1" >"$log" 2>&1
    status=$?
    # A fuzzer that ran nothing proved nothing.
    [ "${executions:-0}" -gt 0 ] || status=1
    wall=$(($(date +%s) - epoch))
    count_cpu
    mkdir -p "$build/fuzz-log"
    printf '%d %d %d %d\n' "$epoch" "$((cpu - cpu_before))" "$wall" "${executions:-0}" >>"$build/fuzz-log/$name"
    remark="$executions runs in $seconds s"
}

if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
    echo "no corpus in $corpus" >"$log"
    status=1
elif [ ! -s "$dictionary" ]; then
    echo "no dictionary $dictionary" >"$log"
    status=1
elif [ "$mode" = fuzz ]; then
    run_timed run_libfuzzer
elif [ "$mode" = afl ]; then
    run_timed run_afl
else
    "$fuzzer" "$corpus"/* >"$log" 2>&1
    status=$?
    remark=$(tail -n 1 "$log")
fi
runs=$(printf '%s\n' "$remark" | sed -nE 's/^([0-9]+) .*/\1/p')
tests/count.sh "tests/fuzz/fuzz_$name.c" "$([ "$status" -eq 0 ] && echo "${runs:-0}" || echo 0)" $((status != 0))
if [ "$status" -eq 0 ]; then
    printf 'PASS %s: %s\n' "$name" "$remark"
else
    printf 'FAIL %s (exit status %d)\n' "$name" "$status"
    tail -n 40 "$log"
fi
