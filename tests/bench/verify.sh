#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# verify.sh: llavamed-verify against what hashing the same files costs, in turns, in the page cache.
#     BUILD=build SCALE=0.15 PAIRS=5 tests/bench/verify.sh
# Two shards of one size and two workers: no schedule is better. Prints the median of the processor time of each, with
# the seconds of that run, and the ratios. docs/benchmark.md says what they are.
set -u

BUILD=$(realpath "${BUILD:-build}")
SCALE=${SCALE:-0.15}
PAIRS=${PAIRS:-5}
place=$(mktemp -d "${TMPDIR:-/tmp}/llavamed-bench-XXXXXX") || exit 1
trap 'rm -rf "$place"' EXIT
cd "$place" || exit 1

"$BUILD/tools/synth" --out m --scale "$SCALE" >/dev/null || exit 1
bytes=$(cat m/delta/*.safetensors | wc -c)
"$BUILD/llavamed-apply" --base m/base --delta m/delta --out o -q --max-shard-size $((bytes / 2 + bytes / 50)) || exit 1
rm -rf m
cat o/*.safetensors >/dev/null
files=(o/*.safetensors)
sizes=()
for file in "${files[@]}"; do
    sizes+=("$(stat -c %s "$file")")
done

# figures COMMAND...: "seconds=S cpu=S"
figures()
{
    local TIMEFORMAT='seconds=%R user=%U system=%S'
    { time "$@" >/dev/null; } 2>&1 | awk -F '[= ]' '{ printf "seconds=%s cpu=%.3f\n", $2, $4 + $6 }'
}

for ((i = 0; i < PAIRS; i++)); do
    echo "memory $(figures "$BUILD/bench/hashfloor" --memory "${sizes[@]}")"
    echo "read $(figures "$BUILD/bench/hashfloor" "${files[@]}")"
    echo "verify $(figures "$BUILD/llavamed-verify" o -q -j 2)"
done | tr '=' ' ' | sort -s -k 1,1 -k 5,5n | awk -v pairs="$PAIRS" '
    { n[$1]++; cpu[$1, n[$1]] = $5; wall[$1, n[$1]] = $3 }
    END {
        middle = int((pairs + 1) / 2)
        split("memory read verify", order)
        for (i = 1; i <= 3; i++) {
            printf "%-8s cpu %.3f s (%.3f to %.3f), seconds with it %.3f\n", order[i], cpu[order[i], middle],
                cpu[order[i], 1], cpu[order[i], pairs], wall[order[i], middle]
        }
        printf "verify / hashing memory %.3f, verify / reading and hashing %.3f\n",
            cpu["verify", middle] / cpu["memory", middle], cpu["verify", middle] / cpu["read", middle]
    }'
printf '%d shards of %s bytes\n' ${#sizes[@]} "${sizes[*]}"
