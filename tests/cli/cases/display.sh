# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# --dry-run, --json and the meter.

test_display_dry_run()
{
    apply_pair base delta -n --max-shard-size 3KB
    want_status 0
    want_nothing_left
    want_lines stdout 1 '^  model-00001-of-00002.safetensors  *[0-9]*  *[0-9]*$'
    want_lines stdout 1 '^  model-00002-of-00002.safetensors  *[0-9]*  *[0-9]*$'
    want_lines stdout 1 '^  add  *19  '
    want_lines stdout 1 '^  add-top-left  *2  *608$'
    want_lines stdout 1 '^  copy-delta  *2  *208$'
    want_lines stdout 1 '^  inv-freq  *2  *16$'
    want_lines stdout 6 '^\(to read\|to write\|free\|memory\|threads\|cpu\)  *[a-z0-9]'
    want_lines stderr 0 'done:'
    apply_pair base delta --dry-run --inv-freq drop
    want_status 0
    want_lines stdout 1 '^  drop  *2  *0$'
    want_nothing_left
}

test_display_dry_run_quiet_and_json()
{
    apply_pair base delta -nq
    want_status 0
    want_empty stdout
    want_empty stderr
    want_nothing_left
    apply_pair base delta -n --json
    want_status 0
    want_json 'r["dry_run"]' 'r["status"] == 0' 'r["bytes"]["planned_write"] > 0' 'r["bytes"]["written"] == 0' \
        'r["result"]["shards"][0]["sha256"] is None' 'r["bytes"]["free"] > 0'
    want_nothing_left
}

test_display_dry_run_of_nothing()
{
    apply --base nowhere --delta "$DATA/delta" --out out -n
    want_failure 3 '*nowhere*'
}

test_display_json()
{
    apply_pair base delta --json --max-shard-size 3KB -j 2 --cpu ref
    want_status 0
    want_expected sharded
    want_json 'r["status"] == 0 and r["code"] == "ok"' 'r["message"] is None and r["hint"] is None' \
        'r["problems"] == [] and r["n_problems"] == 0' 'r["out"] == "out"' \
        'len(r["result"]["shards"]) == 2' 'r["result"]["tensors"] == 25' \
        'sum(s["tensors"] for s in r["result"]["shards"]) == 25' \
        'sum(a["tensors"] for a in r["result"]["actions"]) == 25' \
        'r["bytes"]["planned_read"] > 0 and r["bytes"]["read"] >= r["bytes"]["planned_read"]' \
        'r["bytes"]["reused"] == 0' 'r["memory"]["peak_rss"] > 1 << 16' \
        'r["timings"]["total_seconds"] > 0' 'r["cpu"] == "ref"' 'r["threads"] >= 1' 'len(r["warnings"]) >= 1' \
        'r["result"]["counts"]["nan"] == 0' 'r["version"].count(".") == 2' \
        '{(s["sha256"], s["name"]) for s in r["result"]["shards"]} <=
            {tuple(line.split()) for line in open("out/SHA256SUMS")}' \
        'all(os.path.getsize("out/" + s["name"]) == s["bytes"] for s in r["result"]["shards"])' \
        'r["result"]["manifest_sha256"] ==
            hashlib.sha256(open("out/llavamed-manifest.json", "rb").read()).hexdigest()' \
        'r["bytes"]["written"] == sum(entry.stat().st_size for entry in os.scandir("out"))'
}

# on_terminal COLUMNS OPTION...: stderr is a terminal of that width; the output of both goes to .checks/terminal
on_terminal()
{
    local columns=$1
    shift
    local words
    words=$(printf '%q ' "$PROGRAM" --base base.safetensors --delta delta.safetensors --out out --cpu ref -j 1 "$@")
    script -qec "stty cols $columns rows 24; $words" /dev/null >.checks/terminal 2>&1 </dev/null
    status=$?
    : >.checks/stderr
    tr '\r' '\n' <.checks/terminal >.checks/stdout
}

test_display_meter_on_a_terminal()
{
    make_large base.safetensors 128
    make_large delta.safetensors 128
    on_terminal 70
    want_status 0
    want_lines stdout 0 ': shard: '
    want_lines stdout 1 ': done: out: '
    want test "$(grep -c '^ *[0-9]*% \[' .checks/stdout)" -ge 1
    want_lines stdout 0 '^ *[0-9]*% .\{66,\}'
    want_lines terminal 0 "$(printf '\033')"
    # What the meter leaves on its line is blank when the summary comes.
    want test "$(grep -B1 ': done: out: ' .checks/stdout | head -n 1 | tr -d ' ')" = ''
}

test_display_meter_can_be_turned_off()
{
    make_large base.safetensors 64
    make_large delta.safetensors 64
    on_terminal 70 --progress never
    want_status 0
    want_lines stdout 0 '%'
    want_lines stdout 0 ': shard: '
    want_lines stdout 1 ': done: out: '
    rm -rf out
    on_terminal 70 -q
    want_status 0
    want_empty stdout
}

test_display_meter_always()
{
    apply_pair base delta --progress always
    want_status 0
    want_lines stderr 0 ': shard: '
    want_lines stderr 1 "$(printf '\r').*%"
    apply_pair base delta --force --progress=never
    want_status 0
    want_lines stderr 0 ': shard: '
    want_lines stderr 0 '%'
    want_lines stderr 1 ': done: '
}

# Reading whole files before and after the merge takes its time: it is told what goes on.
test_display_checks()
{
    make_large base.safetensors 16
    make_large delta.safetensors 16
    apply --base base.safetensors --delta delta.safetensors --out out
    want_status 0
    want_lines stderr 0 ': checking: '
    rm -rf out
    apply --base base.safetensors --delta delta.safetensors --out out --verify full
    want_status 0
    want_lines stderr 1 ': checking: SHA-256 of the inputs, 33[.0-9]* MB$'
    want_lines stderr 1 ': checking: the output, read back, 16[.0-9]* MB$'
    rm -rf out
    apply --base base.safetensors --delta delta.safetensors --out out --verify full --progress never
    want_lines stderr 0 ': checking: '
    rm -rf out
    on_terminal 76 --verify full
    want_status 0
    want_lines stdout 0 ': checking: '
    want test "$(grep -c '^ *[0-9]*% .*SHA-256 of the inputs: .* of 33' .checks/stdout)" -ge 1
    want test "$(grep -c '^ *[0-9]*% .*the output, read back: ' .checks/stdout)" -ge 1
    want_lines stdout 0 '^ *[0-9]*% .\{72,\}'
    want_lines stdout 1 ': done: out: '
}
