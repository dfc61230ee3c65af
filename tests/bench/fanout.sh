#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fanout.sh [--dir DIR] [--scale F] [--deltas N] [--rounds N] [--limit R]: several deltas of one base in one command
# against a run for each. Makes a synthetic base and N deltas (4; 7B shrunken by F, 0.034: about 0.47 GB each) in a
# scratch directory below DIR, which is removed. Then, N times (6) in turn, cold (inputs dropped from the page cache)
# and cached, with `sync` timed: wall time and processor time of both and of a plain reading of the base on all cores,
# and the bytes that the kernel counts as read. The ratios, of wall and of processor time, are of the one command to the
# single runs less the readings of the base that it saves. Exit status 1 when one misses: its median is above R (1.05)
# and so is its lower quartile (the spread of the rounds is the noise).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(cd "${BUILD:-build}" && pwd)
dir=$build scale=0.034 deltas=4 rounds=6 limit=1.05
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 ;;
    --scale) scale=$2 ;;
    --deltas) deltas=$2 ;;
    --rounds) rounds=$2 ;;
    --limit) limit=$2 ;;
    *)
        sed -n '3,11s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
work=$(mktemp -d "$dir/bench-fanout-XXXXXX")
trap 'rm -rf "$work"' EXIT

pairs=()
for i in $(seq "$deltas"); do
    "$build/tools/synth" --out "$work/$i" --scale "$scale" --update-seed "$i" >&2
    [ "$i" = 1 ] || rm -r "$work/$i/base"
    pairs+=(--delta "$i/delta" --out "out-$i")
done
mv "$work/1/base" "$work/base"
cd "$work"
printf 'load %s, %s cores, %s\n' "$(cut -d' ' -f1 /proc/loadavg)" "$(nproc)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"

cat >measure.py <<'PYTHON'
import os, resource, subprocess, sys, threading, time
program, how, pairs = sys.argv[1], sys.argv[2], sys.argv[3:]
each = [pairs] if how == "fan-out" else [pairs[i:i + 4] for i in range(0, len(pairs), 4)]
os.sync()
if how == "read":  # what reading the base costs by itself, on all cores as a merge does, into memory used again
    def read(fd, begin, end):
        room = [bytearray(1 << 20)]
        while begin < end:
            begin += os.preadv(fd, room, begin)
    started, used = time.monotonic(), time.process_time()
    fd, n = os.open("base/model.safetensors", os.O_RDONLY), os.cpu_count()
    ends = [os.fstat(fd).st_size * i // n for i in range(n + 1)]
    threads = [threading.Thread(target=read, args=(fd, *ends[i:i + 2])) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(time.monotonic() - started, time.process_time() - used, 0)
    sys.exit()
before, started, read = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
for part in each:
    child = subprocess.Popen([program, "-q", "--base", "base"] + part, stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    read += int(open(f"/proc/{child.pid}/io").readline().split()[1])
    if child.wait() != 0:
        sys.exit(f"{how}: exit status {child.returncode}")
os.sync()
wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, read)
PYTHON

for round in $(seq "$rounds"); do
    order="fan-out single read"
    [ $((round % 2)) = 1 ] || order="single fan-out read"
    for cache in cold cached; do
        for how in $order; do
            find base [0-9]* -type f | while IFS= read -r file; do
                if [ $cache = cold ]; then "$build/bench/dropcache" "$file" >/dev/null; else cat "$file" >/dev/null; fi
            done
            echo "$cache $how $(python3 measure.py "$build/llavamed-apply" "$how" "${pairs[@]}")"
            rm -rf out-*
        done
    done
done >rows

python3 - "$deltas" "$limit" <<'PYTHON'
import statistics, sys
n, limit = int(sys.argv[1]), float(sys.argv[2])
rows = [line.split() for line in open("rows")]
good = True
for cache in ("cold", "cached"):
    of = {how: [list(map(float, r[2:])) for r in rows if r[:2] == [cache, how]]
          for how in ("fan-out", "single", "read")}
    for column, what in enumerate(("wall", "processor")):
        # The runs by themselves without reading the base again: that is what the one command's own bytes cost.
        ratios = [a[column] / (b[column] - (n - 1) * c[column])
                  for a, b, c in zip(of["fan-out"], of["single"], of["read"])]
        middle, low = statistics.median(ratios), sorted(ratios)[len(ratios) // 4]
        verdict = "holds" if middle <= limit else "within noise" if low <= limit else "MISSED"
        good = good and verdict != "MISSED"
        print(f"{cache:6} {what:9} one {statistics.median(r[column] for r in of['fan-out']):7.2f} s  "
              f"{n} runs {statistics.median(r[column] for r in of['single']):7.2f} s  "
              f"base {statistics.median(r[column] for r in of['read']):6.2f} s  "
              f"ratio {middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), limit {limit} {verdict}")
    print(f"{cache:6} read      one {of['fan-out'][0][2] / 1e9:7.2f} GB {n} runs {of['single'][0][2] / 1e9:7.2f} GB")
sys.exit(not good)
PYTHON
