# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The counters of a run: where its workers' time went. They add up, and their bytes are those that moved.

# want_sums: the phases of the run in .checks/stdout are the workers' time, each phase's extremes fit its sum
want_sums()
{
    want_json \
        'abs(sum(p["seconds"] for k, p in r["counters"].items() if k != "workers")
            - r["counters"]["workers"] * r["timings"]["merge_seconds"])
            <= 0.1 * r["counters"]["workers"] * r["timings"]["merge_seconds"]' \
        'all(p["least"] <= p["seconds"] / r["counters"]["workers"] + 1e-6 and p["most"] <= p["seconds"] and
            p["seconds"] <= p["most"] * r["counters"]["workers"] + 1e-6
            for k, p in r["counters"].items() if k != "workers")'
}

# Inputs of 0.27 GB, two shards of output.
test_counters_add_up()
{
    local threads
    synth m --scale 0.01
    for threads in 1 2 6; do
        rm -rf out
        apply --base m/base --delta m/delta --out out -j $threads --max-shard-size 90MB -v --json
        want_status 0
        want_sums
        # Beyond one for each core they begin while the cores are idle.
        want_json "min($threads, len(os.sched_getaffinity(0))) <= r['counters']['workers'] <= $threads" \
            "r['threads'] == $threads" \
            'len(r["result"]["shards"]) == 2 and r["bytes"]["planned_write"] > 100e6' \
            '[r["counters"][k]["bytes"] for k in ("read", "add", "sha256", "write", "inflate")] ==
                [r["bytes"]["planned_read"], sum(a["bytes"] for a in r["result"]["actions"]),
                 r["bytes"]["planned_write"], r["bytes"]["planned_write"], 0]' \
            'r["counters"]["add"]["bytes"] <= r["counters"]["crc32"]["bytes"] < 1.01 * r["counters"]["add"]["bytes"]' \
            'all(r["counters"][k]["seconds"] > 0 for k in ("read", "add", "crc32", "sha256", "write", "sync"))'
        want_stderr "*note: time of [1-$threads] workers, *s each: read * %, add * %, crc32 * %, sha256 * %, write * %*"
        want_stderr '*note: GB/s of one worker: read *, add *, crc32 *, sha256 *, write *'
    done
    # A worker alone waits for nobody.
    rm -rf out
    apply --base m/base --delta m/delta --out out -j 1 --json
    want_json 'r["counters"]["wait_hash"]["seconds"] + r["counters"]["wait_memory"]["seconds"] == 0'
}

# What is inflated and read back counts, too; there the inputs' CRC-32s are taken as well.
test_counters_of_archives_and_outputs()
{
    synth m --scale 0.001
    synth n --scale 0.001 --update-seed 2 --delta
    apply --base m/base --delta m/delta --delta n/delta --out plain --out also --json
    want_status 2
    apply --base m/base --delta m/delta --out plain --delta n/delta --out also --json
    want_status 0
    want_json 'r["outputs"][0]["counters"] == r["outputs"][1]["counters"]' \
        'r["outputs"][0]["counters"]["write"]["bytes"] == r["bytes"]["planned_write"]' \
        'r["outputs"][0]["counters"]["read"]["bytes"] == r["bytes"]["planned_read"]'
    (cd m && python3 -c 'import sys, zipfile
with zipfile.ZipFile("delta.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    for name in ("model.safetensors", "config.json"):
        archive.write("delta/" + name)')
    apply --base m/base --delta m/delta.zip --out out --json
    want_status 0
    want_sums
    want_json 'r["counters"]["inflate"]["bytes"] >= os.path.getsize("m/delta/model.safetensors")' \
        'r["counters"]["inflate"]["seconds"] > 0' \
        'r["counters"]["read"]["bytes"] > os.path.getsize("m/base/model.safetensors")
            + os.path.getsize("out/model.safetensors")' \
        'r["counters"]["sha256"]["bytes"] == os.path.getsize("out/model.safetensors")' \
        'r["counters"]["crc32"]["bytes"] > 2 * os.path.getsize("out/model.safetensors")'
}

# Nothing was merged, nothing is told of it.
test_counters_of_a_dry_run()
{
    apply_pair base delta -n --json
    want_status 0
    want_json 'r["counters"]["workers"] == 0' \
        'all(p["seconds"] == 0 and p["bytes"] == 0 for k, p in r["counters"].items() if k != "workers")'
}

# The model of tests/bench/model.py on counters with round figures: each limit in turn, by hand.
test_counters_model()
{
    apply_pair base delta --json -j 1 --quiet
    want_status 0
    want python3 -B - "$DATA/../../bench" .checks/stdout <<'PYTHON'
import json, sys
sys.path.insert(0, sys.argv[1])
import model
report = json.load(open(sys.argv[2]))
model.Costs(report)  # what the program prints has all that is needed
for name, counter in report["counters"].items():
    if name != "workers":
        counter.update(seconds=0, bytes=0)
def cost(name, seconds, n_bytes):
    report["counters"][name].update(seconds=seconds, bytes=n_bytes)
cost("read", 2, 20e9), cost("add", 2.5, 10e9), cost("crc32", 1, 10e9), cost("sha256", 5, 10e9), cost("write", 1, 10e9)
cost("other", 0.5, 0)
costs = model.Costs(report)
work = {"read": 20e9, "write": 10e9, "shards": [4e9, 4e9, 2e9]}
def predict(threads, cores, read=None, write=None, work=work):
    seconds, limit = model.predict(costs, work, {"cores": cores, "threads": threads, "read": read, "write": write})
    return round(seconds, 6), limit
assert predict(1, 2) == (12.0, "cores")
assert predict(2, 2) == (6.0, "cores")
assert predict(16, 2) == (6.0, "cores")
assert predict(64, 64) == (2.0, "hashes")              # the largest shard at 2 GB/s
assert predict(64, 64, 5e9, 5e9) == (4.0, "reading")
assert predict(64, 64, None, 1e9) == (10.0, "writing")
assert round(model.hash_seconds([4e9, 4e9, 2e9], 2, 2e9), 6) == 3.0  # the third goes after the first
assert model.cut(13.5e9, 5e9) == [5e9, 5e9, 3.5e9]
report["counters"]["workers"] = 2
try:
    model.Costs(report)
except ValueError:
    sys.exit(0)
sys.exit(1)
PYTHON
}
