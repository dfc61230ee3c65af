#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# archive.sh [--dir DIR] [--scale F] [--rounds N] [--merges N] [--limit R]: what reading a deflated archive costs.
# Makes a synthetic pair (7B shrunken by F, 0.037: about 500 MB; weights of sigma 0.02, updates of sigma 0.0005), the
# delta as two .bin files, and a .zip of it; all in a scratch directory below DIR, which is removed. Then, N times (5)
# in turn and from the page cache, the processor time of
#   zlib's inflate and CRC-32 of the same data, the same with SHA-256 instead, and reading it through the source;
# and N merges (2) in turn of the .zip and of the unpacked directory: processor time, wall time, peak memory.
# Exit status 0 when the median of reading is within R (1.3) times that of inflate and CRC-32. Needs $PYTHON (python3)
# with torch and safetensors, zip, and 2.5 GB of free space.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(cd "${BUILD:-build}" && pwd)
root=$PWD
dir=$build scale=0.037 rounds=5 merges=2 limit=1.3
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 ;;
    --scale) scale=$2 ;;
    --rounds) rounds=$2 ;;
    --merges) merges=$2 ;;
    --limit) limit=$2 ;;
    *)
        sed -n '3,11s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
work=$(mktemp -d "$dir/bench-archive-XXXXXX")
trap 'rm -rf "$work"' EXIT

"$build/tools/synth" --out "$work" --base --delta --scale "$scale" --sigma 0.0005 >&2
shard=$(cat "$work"/delta/*.safetensors | wc -c | awk '{ printf "%dKB", $1 / 1000 * 0.55 }')
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" "$root/tests/tools/synth_to_bin.py" "$work/delta" \
    "$work/llava_med_delta" --max-shard-size "$shard" >&2
rm -rf "$work/delta"
cd "$work"
zip -qr delta.zip llava_med_delta
wc -c llava_med_delta/*.bin delta.zip
printf 'load %s, %s cores, %s\n' "$(cut -d' ' -f1 /proc/loadavg)" "$(nproc)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"

"$build/bench/readsource" delta.zip >/dev/null
for _ in $(seq "$rounds"); do
    echo "crc32 $("$build/bench/inflatefloor" crc32 delta.zip | awk '{ print $3 }')"
    echo "source $("$build/bench/readsource" delta.zip | awk '{ print $3 }')"
    echo "sha256 $("$build/bench/inflatefloor" sha256 delta.zip | awk '{ print $3 }')"
done >reads
for _ in $(seq "$merges"); do
    for form in delta.zip llava_med_delta; do
        "$build/bench/timed" . "$build/llavamed-apply" -q --base base --delta "$form" --out out 2>log | tr '=' ' ' |
            awk -v form="$form" '{ print form, $6 + $8, $2, $4 }' || cat log >&2
        rm -rf out
    done
done >merge-times

awk -v limit="$limit" '
    { seconds[$1, ++n[$1]] = $2 }
    FILENAME == "merge-times" {
        printf "merge of %-15s %.2f s of CPU, %.2f s, %d KiB at most\n", $1 ":", $2, $3, $4
    }
    function median(form,   i, j, t) {
        for (i = 1; i <= n[form]; i++) {
            for (j = i + 1; j <= n[form]; j++) {
                if (seconds[form, j] < seconds[form, i]) {
                    t = seconds[form, i]; seconds[form, i] = seconds[form, j]; seconds[form, j] = t
                }
            }
        }
        printf "%-15s %.2f s of CPU (%.2f to %.2f)\n", form, seconds[form, int((n[form] + 1) / 2)], \
            seconds[form, 1], seconds[form, n[form]]
        return seconds[form, int((n[form] + 1) / 2)]
    }
    END {
        floor = median("crc32")
        source = median("source")
        with_sha256 = median("sha256")
        printf "reading through the source: %.2f times inflate and CRC-32 (at most %s)\n", source / floor, limit
        printf "                            %.2f times inflate and SHA-256\n", source / with_sha256
        zip = median("delta.zip")
        directory = median("llava_med_delta")
        printf "merging: %.2f times the merge of the directory and inflate and CRC-32\n", zip / (directory + floor)
        exit source / floor > limit
    }' merge-times reads
