#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# formats.sh [--dir DIR] [--scale S] [--pairs N] [--limit R]: what --format torch costs against --format safetensors.
# Synthetic 7B models times S (1: needs 41 GB of free space) below DIR ($BUILD/bench-data); N pairs (5) of one merge
# each, taking turns at being first, inputs cold; time runs until syncfs has returned. The first safetensors result is
# checked against the seed. Exit status 1 when the median ratio of the times is above R (1.5).
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(cd "${BUILD:-build}" && pwd)
dir=$build/bench-data scale=1 pairs=5 limit=1.5
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 ;;
    --scale) scale=$2 ;;
    --pairs) pairs=$2 ;;
    --limit) limit=$2 ;;
    *)
        sed -n '3,6s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
mkdir -p "$dir"
work=$(mktemp -d "$dir/formats.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

model=(--size 7b --scale "$scale")
"$build/tools/synth" "${model[@]}" --max-shard-size 10GB --out "$work"
mapfile -t inputs < <(find "$work/base" "$work/delta" -name '*.safetensors')

# merge FORMAT: prints "SECONDS PEAK_KIB USER SYSTEM"
merge()
{
    rm -rf "$work/out"
    sync -f "$work"
    "$build/bench/dropcache" "${inputs[@]}"
    sleep 1
    "$build/bench/timed" "$work" "$build/llavamed-apply" --base "$work/base" --delta "$work/delta" \
        --out "$work/out" --format "$1" --max-shard-size 10GB -q 2>"$work/log" |
        sed 's/[a-z_]*=//g; s/ [0-9]*$//' || {
        cat "$work/log" >&2
        return 1
    }
}

echo "load of the machine at the start: $(uptime | sed 's/.*average: //')"
merge safetensors >/dev/null
"$build/tools/synth" "${model[@]}" --check "$work/out"
merge torch >/dev/null
for ((i = 1; i <= pairs; i++)); do
    if ((i % 2)); then
        safetensors=$(merge safetensors)
        torch=$(merge torch)
    else
        torch=$(merge torch)
        safetensors=$(merge safetensors)
    fi
    echo "$safetensors $torch"
done | awk -v limit="$limit" '
    function middle(a, n,    i, j, t) {
        for (i = 2; i <= n; i++) {
            for (j = i; j > 1 && a[j - 1] > a[j]; j--) {
                t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
            }
        }
        return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    {
        printf "pair %d: safetensors %.2f s (user %.2f, system %.2f, peak %d KiB), ", NR, $1, $3, $4, $2
        printf "torch %.2f s (user %.2f, system %.2f, peak %d KiB), ratio %.3f\n", $5, $7, $8, $6, $5 / $1
        s[NR] = $1; t[NR] = $5; r[NR] = $5 / $1; c[NR] = ($7 + $8) / ($3 + $4)
    }
    END {
        ratio = middle(r, NR)
        printf "median: safetensors %.2f s, torch %.2f s, ratio %.3f, ratio of CPU time %.3f\n",
            middle(s, NR), middle(t, NR), ratio, middle(c, NR)
        print "least, most ratio: " r[1] ", " r[NR]
        if (NR == 0 || ratio > limit) {
            print "FAILED: the median is above " limit
            exit 1
        }
        print "passed"
    }'
