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
        want_json "r['counters']['workers'] == $threads == r['threads']" \
            'len(r["result"]["shards"]) == 2 and r["bytes"]["planned_write"] > 100e6' \
            '[r["counters"][k]["bytes"] for k in ("read", "add", "sha256", "write", "inflate")] ==
                [r["bytes"]["planned_read"], sum(a["bytes"] for a in r["result"]["actions"]),
                 r["bytes"]["planned_write"], r["bytes"]["planned_write"], 0]' \
            'r["counters"]["add"]["bytes"] <= r["counters"]["crc32"]["bytes"] < 1.01 * r["counters"]["add"]["bytes"]' \
            'all(r["counters"][k]["seconds"] > 0 for k in ("read", "add", "crc32", "sha256", "write", "sync"))'
        want_stderr "*note: time of $threads workers, *s each: read * %, add * %, crc32 * %, sha256 * %, write * %*"
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
