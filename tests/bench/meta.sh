#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# meta.sh [--dir DIR] [--rounds N] [--limit R]: CPU time of reading through Meta's layout against a plain copy.
# One layer of dim 2048 is read from the page cache as safetensors (the plain copy), as one shard and as two, N times in
# turn (9). Of two shards of this width the columns are pieces of 2048 and 5632 bytes, like those of the 65B release
# in its eight; rows of q and k are narrower than in any release. Exit status 0 when both medians of CPU time are within
# R (1.3) times the plain one's. Makes the models with $PYTHON (python3), which needs torch and safetensors.
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
        sed -n '3,7s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
mkdir -p "$dir"
trap 'rm -rf "$dir/model"' EXIT
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" tests/bench/make_meta.py "$dir/model"

cd "$dir/model"
"$build/bench/readsource" --no-crc hf one two >/dev/null
for _ in $(seq "$rounds"); do
    "$build/bench/readsource" --no-crc hf one two
done | awk -v limit="$limit" '
    { n[$NF]++; seconds[$NF, n[$NF]] = $3 }
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
        for (i = 1; i <= 2; i++) {
            ratio = median(forms[i]) / plain
            printf "meta, %s shard(s): %.2f times the CPU time of a plain copy (at most %s)\n", forms[i], ratio, limit
            bad += ratio > limit
        }
        exit bad > 0
    }'
