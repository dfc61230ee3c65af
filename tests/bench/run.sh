#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [options]: llavamed-apply against a plain program (floor) that reads both inputs and writes as many bytes.
# docs/benchmark.md says what is measured and why so.
#   --dir DIR         for models and results; complete models found there are used again ($BUILD/bench-data)
#   --keep            leave the models there
#   --base SOURCE     inputs of your own instead of synthetic ones: two directories, with --delta SOURCE
#   --size, --scale   of the synthetic models (7b, 1: needs 41 GB of free space; 0.1 is a quick look)
#   --torch           the synthetic models as torch's .bin files (made by $PYTHON, which needs torch)
#   --pairs N         interleaved pairs (5)
#   --limit R         largest median of merge / floor that passes (1.5)
#   --program FILE    ($BUILD/llavamed-apply)
#   --over            the floor writes over the blocks of its last run instead of making new files
# Exit status 0 when the median ratio is within the limit and the floor within 5 % of dd, else 1.
set -euo pipefail
# A run that fails inside $(...) ends the script too.
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(cd "${BUILD:-build}" && pwd)
dir=$build/bench-data keep=0 base='' delta='' size=7b scale=1 torch=0 pairs=5 limit=1.5 output=new
program=$build/llavamed-apply
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 && shift ;;
    --keep) keep=1 ;;
    --base) base=$2 && shift ;;
    --delta) delta=$2 && shift ;;
    --size) size=$2 && shift ;;
    --scale) scale=$2 && shift ;;
    --torch) torch=1 ;;
    --pairs) pairs=$2 && shift ;;
    --limit) limit=$2 && shift ;;
    --program) program=$(realpath "$2") && shift ;;
    --over) output=over ;;
    *)
        sed -n '3,15s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
out=$dir/out
made=()

cleanup()
{
    rm -rf "$out" "$out.partial" "$dir/floor"
    if [ "$keep" -eq 0 ] && [ ${#made[@]} -gt 0 ]; then
        rm -rf "${made[@]}"
        rmdir "$dir" 2>/dev/null || true
    fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- Inputs ----------------------------------------------------------------------------------------------------

model=(--size "$size" --scale "$scale")
name=$dir/$size-$scale
[ "$torch" -eq 0 ] || name=$name-torch
synthetic=0

# As torch files: one role after the other, so that only one of them is there in both forms.
make_torch_models()
{
    for role in base delta; do
        "$build/tools/synth" "${model[@]}" "--$role" --max-shard-size 10GB --out "$name/safetensors"
        "${PYTHON:-python3}" tests/tools/synth_to_bin.py "$name/safetensors/$role" "$name/$role"
        rm -rf "$name/safetensors"
    done
}

make_models()
{
    [ "$keep" -eq 1 ] || made+=("$name")
    if [ ! -e "$name/complete" ]; then
        rm -rf "$name"
        mkdir "$name"
        if [ "$torch" -eq 1 ]; then
            make_torch_models
        else
            "$build/tools/synth" "${model[@]}" --max-shard-size 10GB --out "$name"
        fi
        : >"$name/complete"
    fi
    base=$name/base delta=$name/delta synthetic=1
}

# The weights files of a directory, as the program chooses them: safetensors before .bin.
weights()
{
    find -L "$1" -maxdepth 1 -name '*.safetensors' | sort | grep . ||
        find -L "$1" -maxdepth 1 -name '*.bin' | sort
}

[ -n "$base" ] || make_models
mapfile -t base_files < <(weights "$base")
mapfile -t delta_files < <(weights "$delta")
floor_inputs=()
for file in "${base_files[@]}"; do floor_inputs+=(-a "$file"); done
for file in "${delta_files[@]}"; do floor_inputs+=(-b "$file"); done

# ---- Runs: each prints "SECONDS PEAK_KIB USER SYSTEM" ----------------------------------------------------------

# Nothing written still on its way to storage, the freed blocks given back, the inputs cold.
settle()
{
    sync -f "$dir"
    "$build/bench/dropcache" "${base_files[@]}" "${delta_files[@]}"
    sleep 1
}

timed()
{
    "$build/bench/timed" "$dir" "$@" 2>"$dir/log" | sed 's/[a-z_]*=//g; s/ [0-9]*$//' || {
        cat "$dir/log" >&2
        return 1
    }
}

# run_floor THREADS BLOCK CACHE
run_floor()
{
    if [ "$output" = new ] || [ ! -e "$dir/floor/floor-0" ]; then
        rm -rf "$dir/floor"
        mkdir "$dir/floor"
    fi
    local how=new
    [ ! -e "$dir/floor/floor-0" ] || how=over
    settle
    timed "$build/bench/floor" "${floor_inputs[@]}" --out "$dir/floor" --out-bytes "$out_bytes" --threads "$1" \
        --block "$2" --cache "$3" --output "$how" || return 1
    [ "$output" = over ] || rm -rf "$dir/floor"
}

run_merge()
{
    rm -rf "$out"
    settle
    timed "$program" --base "$base" --delta "$delta" --out "$out" -q
}

# ---- The floor's own rate against dd: copying one file ---------------------------------------------------------

# compare_with_dd THREADS BLOCK CACHE: prints "GB FLOOR_SECONDS DD_SECONDS", the best of 3 and of 6
compare_with_dd()
{
    local file=${base_files[0]} n_bytes i flags
    n_bytes=$(stat -L -c %s "$file")
    : >"$dir/dd.times"
    : >"$dir/floor.times"
    for i in 1 2 3; do
        rm -rf "$dir/floor" && mkdir "$dir/floor"
        settle
        timed "$build/bench/floor" -a "$file" --out "$dir/floor" --out-bytes "$n_bytes" --threads "$1" --block "$2" \
            --cache "$3" >>"$dir/floor.times"
        for flags in '' 'iflag=nocache oflag=nocache'; do
            rm -rf "$dir/floor" && mkdir "$dir/floor"
            settle
            # shellcheck disable=SC2086
            timed dd if="$file" of="$dir/floor/dd" bs=4M conv=fdatasync $flags >>"$dir/dd.times"
        done
    done
    rm -rf "$dir/floor"
    awk -v n="$n_bytes" '
        FNR == 1 { file++ }
        !(file in best) || $1 < best[file] { best[file] = $1 }
        END { printf "%.2f %.3f %.3f\n", n / 1e9, best[1], best[2] }' "$dir/floor.times" "$dir/dd.times"
}

# ---- All of it -------------------------------------------------------------------------------------------------

# statistics LABEL COLUMN FILE
statistics()
{
    awk -v column="$2" '{ print $column }' "$3" | sort -n | awk -v label="$1" '
        { value[NR] = $1 }
        END {
            middle = NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2
            printf "%-22s median %8.2f  min %8.2f  max %8.2f\n", label, middle, value[1], value[NR]
        }'
}

echo "load of the machine at the start: $(uptime | sed 's/.*average: //')"
echo 'warm-up: the merge once; it also writes the blocks that later runs use'
run_merge
mapfile -t out_files < <(weights "$out")
out_bytes=$(stat -c %s "${out_files[@]}" | awk '{ n += $1 } END { printf "%.0f\n", n }')
in_bytes=$(stat -L -c %s "${base_files[@]}" "${delta_files[@]}" | awk '{ n += $1 } END { printf "%.0f\n", n }')
if [ "$synthetic" -eq 1 ]; then
    "$build/tools/synth" "${model[@]}" --check "$out"
fi
rm -rf "$out"

echo 'the floor: each form twice; the one whose slower run is the fastest is the one to beat'
best='' best_seconds=''
for how in '1 4194304 drop' '2 4194304 drop' '2 8388608 drop' '4 4194304 drop' '2 4194304 keep' '4 1048576 keep'; do
    # shellcheck disable=SC2086
    first=$(run_floor $how | cut -d' ' -f1)
    # shellcheck disable=SC2086
    second=$(run_floor $how | cut -d' ' -f1)
    echo "  threads, block, cache: $how: $first s, $second s"
    seconds=$(printf '%s\n' "$first" "$second" | sort -n | tail -n 1)
    if [ -z "$best" ] || awk -v a="$seconds" -v b="$best_seconds" 'BEGIN { exit !(a < b) }'; then
        best=$how best_seconds=$seconds
    fi
done

failed=0
# shellcheck disable=SC2086
against_dd=$(compare_with_dd $best)
echo "$against_dd" | awk '{ printf "copy of %.2f GB: floor %.2f s, dd %.2f s, ratio %.2f\n", $1, $2, $3, $2 / $3 }'
if echo "$against_dd" | awk '{ exit $2 <= $3 * 1.05 }'; then
    echo 'run.sh: the floor is more than 5 % slower than dd' >&2
    failed=1
fi

: >"$dir/pairs"
for ((i = 1; i <= pairs; i++)); do
    # Who comes first changes from pair to pair.
    # shellcheck disable=SC2086
    if ((i % 2)); then
        floor=$(run_floor $best)
        merge=$(run_merge)
    else
        merge=$(run_merge)
        rm -rf "$out"
        floor=$(run_floor $best)
    fi
    rm -rf "$out"
    echo "$floor $merge" | awk '{ print $0, $5 / $1 }' >>"$dir/pairs"
    tail -n 1 "$dir/pairs" |
        awk -v i="$i" '{ printf "pair %d: floor %.2f s, merge %.2f s, ratio %.3f\n", i, $1, $5, $9 }'
done

awk -v r="$in_bytes" -v w="$out_bytes" 'BEGIN { printf "read %.2f GB, written %.2f GB\n", r / 1e9, w / 1e9 }'
statistics 'floor, s' 1 "$dir/pairs"
statistics 'merge, s' 5 "$dir/pairs"
statistics 'floor CPU, system, s' 4 "$dir/pairs"
statistics 'merge CPU, user, s' 7 "$dir/pairs"
statistics 'merge CPU, system, s' 8 "$dir/pairs"
statistics 'merge peak RSS, KiB' 6 "$dir/pairs"
statistics 'ratio merge / floor' 9 "$dir/pairs"
ratio=$(statistics ratio 9 "$dir/pairs" | awk '{ print $3 }')
rm -f "$dir/pairs" "$dir/dd.times" "$dir/floor.times" "$dir/log"
if awk -v r="$ratio" -v l="$limit" 'BEGIN { exit r <= l }'; then
    echo "run.sh: the merge takes $ratio times as long as the floor (limit $limit)" >&2
    failed=1
fi
if [ "$failed" -ne 0 ]; then
    echo 'FAILED'
    exit 1
fi
echo 'passed'
