#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# merges.sh BUILD COMMAND...
# Runs the same merges with BUILD/llavamed-apply, this machine's, and with COMMAND..., the program of another one under
# an emulator. Both must end alike, with the same bytes in every file. Ends with "N passed, N failed".
set -u

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
data=$root/tests/data/cli
native=$1/llavamed-apply
synth=$1/tools/synth
shift
emulated=("$@")
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export LC_ALL=C
passed=0
failed=0

# check NAME COMMAND...: one test, with the output shown when it fails
check()
{
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then
        passed=$((passed + 1))
        printf 'PASS %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n' "$name"
        sed 's/^/    /' "$scratch/log"
    fi
}

# merge_twice BASE DELTA OPTION...: leaves $scratch/native/out, $scratch/emulated/out, and beside each status and stderr
merge_twice()
{
    local side base=$1 delta=$2
    local -a program
    shift 2
    for side in native emulated; do
        rm -rf "${scratch:?}/$side"
        mkdir "$scratch/$side" || return 1
        program=("$native")
        [ "$side" = native ] || program=("${emulated[@]}")
        "${program[@]}" --base "$base" --delta "$delta" --out "$scratch/$side/out" -q "$@" \
            >"$scratch/$side/stdout" 2>"$scratch/$side/stderr" </dev/null
        echo $? >"$scratch/$side/status"
    done
}

# want_status N: of both
want_status()
{
    local side
    for side in native emulated; do
        if [ "$(cat "$scratch/$side/status")" != "$1" ]; then
            echo "$side: exit status $(cat "$scratch/$side/status"), want $1"
            cat "$scratch/$side/stderr"
            return 1
        fi
    done
}

# same_merge BASE DELTA OPTION...: every file is the same, and SHA256SUMS tells the truth about the emulated ones
same_merge()
{
    merge_twice "$@" && want_status 0 || return 1
    cmp "$scratch/native/out/SHA256SUMS" "$scratch/emulated/out/SHA256SUMS" || return 1
    cmp "$scratch/native/out/llavamed-manifest.json" "$scratch/emulated/out/llavamed-manifest.json" || return 1
    diff -r "$scratch/native" "$scratch/emulated" || return 1
    (cd "$scratch/emulated/out" && sha256sum --strict --quiet -c SHA256SUMS)
}

# same_refusal STATUS BASE DELTA: the same message, nothing left
same_refusal()
{
    local status=$1
    shift
    merge_twice "$@" && want_status "$status" || return 1
    [ -s "$scratch/emulated/stderr" ] || return 1
    diff -r "$scratch/native" "$scratch/emulated" || return 1
    [ ! -e "$scratch/emulated/out" ] && [ ! -e "$scratch/emulated/out.partial" ]
}

says()
{
    "${emulated[@]}" --version | tee "$scratch/version"
    grep -q "$1" "$scratch/version"
}

check 'the emulated program is built for aarch64' says '^build: .*aarch64'
check 'the emulated program takes NEON' says '^cpu: neon$'

check 'as released' same_merge "$data/base" "$data/delta"
check 'from torch files' same_merge "$data/base-bin" "$data/delta"
check 'from shards, into shards' same_merge "$data/base-sharded" "$data/delta-safetensors" --max-shard-size 3KB
for dtype in float16 bfloat16 float32; do
    check "--dtype $dtype" same_merge "$data/base" "$data/delta" --dtype "$dtype"
done
check '--inv-freq drop' same_merge "$data/base" "$data/delta" --inv-freq drop
check 'NaN and infinite values' same_merge "$data/base-nan" "$data/delta"
check 'torch shards' same_merge "$data/base" "$data/delta" --format torch --max-shard-size 3KB
check 'torch shards from safetensors, an empty one first' \
    same_merge "$data/base-sharded" "$data/delta-safetensors" --format torch --max-shard-size 300
check 'torch shards from a compressed archive' \
    same_merge "$data/base" "$data/../cli_archives/delta-deflated.zip" --format torch --dtype float32
check 'shards of torch 2.13' \
    same_merge "$data/base" "$data/delta" --format torch --torch-profile 2.13 --max-shard-size 3KB
check 'a file of torch 2.13 from a compressed archive' \
    same_merge "$data/base" "$data/../cli_archives/delta-deflated.zip" --format torch --torch-profile 2.13
check '--cpu ref' same_merge "$data/base" "$data/delta" --cpu ref
check 'a base that does not belong' same_refusal 4 "$data/base-wrong" "$data/delta"

# Long enough for many whole vectors; the largest F32 tensor takes two tiles.
for dtype in f16 bf16 f32; do
    model=$scratch/$dtype
    "$synth" --out "$model" --scale 0.001 --dtype "$dtype" --threads 2 >"$scratch/log" 2>&1 || cat "$scratch/log"
    check "synthetic $dtype" same_merge "$model/base" "$model/delta"
    check "synthetic $dtype into torch shards" \
        same_merge "$model/base" "$model/delta" --format torch --max-shard-size 4MB
    check "synthetic $dtype into shards of torch 2.13" \
        same_merge "$model/base" "$model/delta" --format torch --torch-profile 2.13 --max-shard-size 4MB
    rm -rf "$model"
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
