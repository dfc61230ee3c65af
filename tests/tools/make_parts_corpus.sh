#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make_parts_corpus.sh PROGRAM: tests/fuzz/corpus/parts anew: what PROGRAM (llavamed-apply) leaves of first parts, and
# some that are no such thing. To be run again with every version, which stands in each plan.
set -eu

program=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
corpus=$root/tests/fuzz/corpus/parts
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$corpus"
cd "$scratch"

# seed NAME BASE DELTA N OPTION...: its first byte has the record's checksum put right
seed()
{
    name=$1 base=$2 delta=$3 n=$4
    shift 4
    rm -rf out.partial
    "$program" --base "$root/tests/data/cli/$base" --delta "$root/tests/data/cli/$delta" --out out -q --no-finish \
        --part "1/$n" "$@"
    (printf '\001' && cat out.partial/.llavamed-parts-plan.json "out.partial/.llavamed-parts-record-1-of-$n.json") \
        >"$corpus/$name"
}

seed safetensors base delta 3 --max-shard-size 2KB
seed torch base-bin delta 2 --format torch --max-shard-size 3KB --digests --verify full
seed one base delta-safetensors 1 --inv-freq drop --dtype bfloat16
seed more_parts base-nan delta 9
head -c 700 "$corpus/safetensors" >"$corpus/cut"
sed 's/"parts":3/"parts":4096/' "$corpus/safetensors" >"$corpus/most_parts"
printf '\000{}\n{}\n' >"$corpus/empty"
printf '\001' >"$corpus/nothing"
