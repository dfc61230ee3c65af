#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh BUILD TEST...: the unit tests TEST, whole small merges by BUILD/llavamed-apply with --cpu avx2 and ref,
# and BUILD/llavamed-verify, under valgrind's memcheck, which sees into the libraries too: no invalid access, no use of
# what nobody wrote, nothing left unfreed. A merge's bytes are those of a run without it. valgrind knows no AVX-512; the
# libraries choose by the processor that it plays. No file of suppressions: nothing is excused, of the libraries
# neither. JOBS at a time.
# Ends with "N passed, N failed".
set -u

if [ "${1-}" != --one ]; then
    cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
    VALGRIND_DATA=$PWD/tests/data
    VALGRIND_BUILD=$(realpath "$1") || exit 1
    export VALGRIND_DATA VALGRIND_BUILD
    shift
    # The longest first.
    cases=(avx2-stopped ref-stopped verify verify-torch "$@")
    for name in safetensors bin deflated deflated-base torch torch-2.13 legacy meta nan; do
        cases+=(avx2-"$name" ref-"$name")
    done
    log=$(mktemp) || exit 1
    trap 'rm -f "$log"' EXIT
    JOBS=${JOBS:-2} tests/run_parallel.sh "$(realpath "${BASH_SOURCE[0]}") --one" "${cases[@]}" | tee "$log"
    passed=$(grep -c '^PASS ' "$log")
    failed=$((${#cases[@]} - passed))
    tests/count.sh tests/fault/valgrind.sh "$passed" "$failed"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
    exit
fi

program=$VALGRIND_BUILD/llavamed-apply
data=$VALGRIND_DATA
watched=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all)

# same_out: every file is the same, and SHA256SUMS tells the truth
same_out()
{
    diff -r plain watched && (cd watched && sha256sum --strict --quiet -c SHA256SUMS)
}

# merge CPU BASE DELTA OPTION...: without valgrind, and under it
merge()
{
    local cpu=$1 base=$data/$2 delta=$data/$3
    shift 3
    "$program" --base "$base" --delta "$delta" --out plain -q "$@" &&
        "${watched[@]}" "$program" --base "$base" --delta "$delta" --out watched -q --cpu "$cpu" -j 2 "$@" && same_out
}

# stopped CPU: a run that a signal ends while it writes, and the next one, which goes on
stopped()
{
    local pid status n=0
    "$VALGRIND_BUILD/tools/synth" --out m --scale 0.002 --threads 1 >/dev/null &&
        "$program" --base m/base --delta m/delta --out plain -q || return
    local -a command=("${watched[@]}" "$program" --base m/base --delta m/delta --out watched --cpu "$1" -j 2
        --max-memory 2MiB)
    "${command[@]}" -q &
    pid=$!
    while [ "$(stat -c %s watched.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt 4000 ] && [ $n -lt 12000 ] &&
        kill -0 "$pid" 2>/dev/null; do
        sleep 0.01
        n=$((n + 1))
    done
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    if [ "$status" -ne 143 ] || [ -e watched ]; then
        echo "the run that was stopped ended with exit status $status (want 143), or left OUT"
        return 1
    fi
    if ! "${command[@]}" -v 2>notes || ! grep -q 'going on with an interrupted run: [1-9]' notes; then
        cat notes
        return 1
    fi
    same_out
}

# verified OPTION...: a directory that is intact, and one with something wrong of every kind
verified()
{
    local verify=$VALGRIND_BUILD/llavamed-verify name
    "$program" --base "$data/cli/base" --delta "$data/cli/delta" --out out -q --max-shard-size 4KB "$@" &&
        "${watched[@]}" "$verify" out -j 2 || return
    for name in out/*-00001-of-*; do
        printf x | dd of="$name" bs=1 seek=4000 conv=notrunc status=none
    done
    for name in out/*-00002-of-*; do
        truncate -s -10 "$name"
    done
    echo 'no line' >>out/SHA256SUMS && echo >>out/config.json && mv out/LICENSE out/renamed && mkfifo out/fifo
    "${watched[@]}" "$verify" out -j 2 --json >document
    [ $? -eq 1 ] && grep -q TENSOR_CRC document
}

one()
{
    local cpu=${1%%-*}
    case $1 in
    verify) verified ;;
    verify-torch) verified --format torch --digests ;;
    *-safetensors) merge "$cpu" cli/base-sharded cli/delta-safetensors --max-shard-size 3KB --verify full ;;
    *-bin) merge "$cpu" cli/base-bin cli/delta --dtype float32 --digests ;;
    *-deflated) merge "$cpu" cli/base cli_archives/delta-deflated.zip ;;
    *-deflated-base) merge "$cpu" cli_archives/base-deflated.zip cli/delta --format torch --digests ;;
    *-torch) merge "$cpu" cli/base cli/delta --format torch --max-shard-size 3KB ;;
    *-torch-2.13) merge "$cpu" cli/base cli_archives/delta-stored.zip --format torch --torch-profile 2.13 ;;
    *-legacy) merge "$cpu" cli_forms/base-legacy.bin cli_forms/delta-transposed-legacy.bin ;;
    *-meta) merge "$cpu" meta/two meta/delta --max-shard-size 9KB ;;
    *-nan) merge "$cpu" cli/base-nan cli/delta --inv-freq drop ;;
    *-stopped) stopped "$cpu" ;;
    *) (cd "$data/../.." && "${watched[@]}" "$1") ;; # where its fixtures are
    esac
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
if one "$2" >log 2>&1; then
    echo "PASS ${2##*/}"
else
    echo "FAILED ${2##*/}"
    head -n 60 log
    exit 1
fi
