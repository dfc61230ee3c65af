#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# meta.sh [--dir DIR] [--rounds N] [--limit R]: CPU time of reading through Meta's layout against a plain copy.
# One layer of dim 2048 is read from the page cache as safetensors (the plain copy), as one shard and as two, N times in
# turn (9, or a multiple of it), in tiles as a merge makes them for several --max-memory and -j. Of two shards of this
# width the columns are pieces of 2048 and 5632 bytes, like those of the 65B release in its eight; rows of q and k are
# narrower than in any release. Exit status 0 when all medians of CPU time are within R (1.3) times the plain one's.
# Makes the models with $PYTHON (python3), which needs torch and safetensors.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(cd "${BUILD:-build}" && pwd)
dir=$build/bench-meta rounds=9 limit=1.3
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 ;;
    --rounds) rounds=$2 ;;
    --limit) limit=$2 ;;
    *)
        sed -n '3,8s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
mkdir -p "$dir"
trap 'rm -rf "$dir/model"' EXIT
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" tests/bench/make_meta.py "$dir/model"

# How the pages of a file lie in memory changes what a copy costs, so each third of the rounds reads new copies; and the
# first that is read pays for the start, so that each is it in turn.
settings=("268435456 2" "268435456 64" "33554432 64" "8388608 2")
cd "$dir/model"
for _ in 1 2 3; do
    rm -rf read
    mkdir read
    cp -r hf one two read
    for setting in "${settings[@]}"; do
        read -r memory threads <<<"$setting"
        for _ in $(seq $(((rounds + 8) / 9))); do
            for order in "hf one two" "one two hf" "two hf one"; do
                # shellcheck disable=SC2086 # three words
                (cd read && "$build/bench/readsource" --no-crc --memory "$memory" --threads "$threads" $order) |
                    sed "s/^/$memory $threads /"
            done
        done
    done
done >figures

bad=0
for setting in "${settings[@]}"; do
    read -r memory threads <<<"$setting"
    awk -v limit="$limit" -v memory="$memory" -v threads="$threads" '
        $1 == memory && $2 == threads { n[$NF]++; seconds[$NF, n[$NF]] = $5; bytes = $3; tile = $11 }
        function median(form,   i, j, t) {
            for (i = 1; i <= n[form]; i++) {
                for (j = i + 1; j <= n[form]; j++) {
                    if (seconds[form, j] < seconds[form, i]) {
                        t = seconds[form, i]; seconds[form, i] = seconds[form, j]; seconds[form, j] = t
                    }
                }
            }
            return seconds[form, int((n[form] + 1) / 2)]
        }
        END {
            plain = median("hf")
            split("one two", forms, " ")
            printf "--max-memory %dMiB -j %d, tiles of %d bytes, plain copy %.1f GB/s:", memory / 1048576, threads,
                tile, bytes / plain / 1e9
            for (i = 1; i <= 2; i++) {
                ratio = median(forms[i]) / plain
                printf "%s %s shard%s %.2f", i == 1 ? "" : ",", forms[i], i == 1 ? "" : "s", ratio
                bad += ratio > limit
            }
            printf " times its CPU time (at most %s)\n", limit
            exit bad > 0
        }' figures || bad=1
done
exit "$bad"
