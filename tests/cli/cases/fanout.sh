# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Several deltas of one base in one command: every output is, byte for byte, that of a run of its own.

# single_runs BASE OPTION...: ./want-N from the delta ./N/delta, for every N in $names
single_runs()
{
    local base=$1 name
    shift
    for name in $names; do
        apply -q --base "$base" --delta "$name/delta" --out "want-$name" "$@"
        want_status 0
    done
}

# fan_out BASE OPTION...: all of them at once, to ./out-N
fan_out()
{
    local base=$1 name pairs=()
    shift
    for name in $names; do
        pairs+=(--delta "$name/delta" --out "out-$name")
    done
    apply --base "$base" "${pairs[@]}" "$@"
}

want_as_single()
{
    local name
    for name in $names; do
        want diff -r "out-$name" "want-$name"
        want test ! -e "out-$name.partial"
    done
}

# a and b are alike, c has other embeddings and so other shards, d is of another dtype.
make_fan()
{
    local scale=${1:-0.0003}
    names='a b c d'
    synth a --scale "$scale" --update-seed 1
    synth b --scale "$scale" --update-seed 2 --delta
    synth c --scale "$scale" --update-seed 3 --delta --vocab-rows 32100
    synth d --scale "$scale" --update-seed 4 --delta --dtype f32 --variant vicuna
}

test_fanout_equals_single_runs()
{
    local options
    make_fan
    for options in '' '--format torch' '--max-shard-size 300KB' '--format torch --max-shard-size 200KB -j 1' \
        '--dtype bfloat16 --max-memory 4MiB -j 64' '--inv-freq drop --verify full' '--verify none --max-memory 1MiB'; do
        rm -rf out-* want-*
        # shellcheck disable=SC2086
        single_runs a/base $options
        # shellcheck disable=SC2086
        fan_out a/base -q $options
        want_status 0
        want_as_single
    done
}

test_fanout_forms()
{
    local base
    names='a b'
    for base in "$DATA/base" "$DATA/base-bin" "$DATA/base-sharded"; do
        rm -rf a b out-* want-*
        mkdir a b
        ln -s "$DATA/delta" a/delta
        ln -s "$DATA/delta-safetensors" b/delta
        single_runs "$base"
        fan_out "$base" -q
        want_status 0
        want_as_single
    done
    rm -rf a b out-* want-*
    mkdir a b
    ln -s "$DATA/../meta/delta" a/delta
    cp -r "$DATA/../meta/delta" b/delta
    for base in one two; do
        rm -rf out-* want-*
        single_runs "$DATA/../meta/$base" --max-shard-size 9KB
        fan_out "$DATA/../meta/$base" -q --max-shard-size 9KB
        want_status 0
        want_as_single
    done
}

# Where results have other dtypes, files have other orders: rotary buffers come first only where the rest is narrower.
test_fanout_of_another_dtype()
{
    make_fan
    fan_out a/base -nv
    want_status 0
    want_lines stderr 1 'note: out-d: made by itself after the others, .* (its tensors are in another order)$'
    fan_out a/base -nv --dtype float16
    want_lines stderr 0 'made by itself'
    fan_out a/base -nv --format torch
    want_lines stderr 0 'made by itself'
}

# What comes from a compressed archive goes by itself, and the plan says so.
test_fanout_archives()
{
    names='a b c'
    synth a --update-seed 1
    synth b --update-seed 2 --delta
    synth c --update-seed 3 --delta
    (cd b && python3 -m zipfile -c delta.zip delta && rm -r delta && mv delta.zip delta)
    single_runs a/base
    fan_out a/base -v --json
    want_status 0
    want_as_single
    want_stderr '*note: out-b: made by itself after the others, so the base is read once more for it (an archive*'
    want_json 'r["outputs"][2]["bytes"]["planned_read"] < r["outputs"][1]["bytes"]["planned_read"]'
    (cd a && python3 -m zipfile -c base.zip base)
    rm -rf out-*
    names='a c'
    rm -rf want-*
    single_runs a/base.zip
    fan_out a/base.zip -q
    want_status 0
    want_as_single
}

# By what the program says and by what the kernel counts.
test_fanout_reads_the_base_once()
{
    local base delta name
    make_fan 0.003
    names='a b c'
    for options in '' '--max-shard-size 20MB'; do
        rm -rf out-*
        # shellcheck disable=SC2086
        fan_out a/base --json $options
        want_status 0
        base=$(stat -c %s a/base/model.safetensors)
        delta=0
        for name in $names; do
            delta=$((delta + $(stat -c %s "$name/delta/model.safetensors")))
        done
        want_json "r['bytes']['planned_read'] < $base + $delta" \
            "$base + $delta - 100000 < r['bytes']['planned_read']" \
            "r['bytes']['read'] < 1.2 * ($base + $delta)"
        rm -rf out-*
        # shellcheck disable=SC2086
        run python3 -c 'import os, resource, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
read = int(open(f"/proc/{child.pid}/io").readline().split()[1])
child.wait()
print(read)
sys.exit(read > 1.2 * int(sys.argv[1]))' $((base + delta)) "$PROGRAM" -q --base a/base --delta a/delta --out out-a \
            --delta b/delta --out out-b --delta c/delta --out out-c $options
        want_status 0
    done
}

test_fanout_dry_run()
{
    make_fan
    fan_out a/base -n
    want_status 0
    want_lines stdout 4 '^out  '
    want_lines stdout 1 '^all 4 outputs$'
    want_nothing_left
    fan_out a/base -n --json
    want_json 'len(r["outputs"]) == 4 and r["dry_run"]' 'not any(o["published"] for o in r["outputs"])' \
        'sum(o["bytes"]["planned_read"] for o in r["outputs"]) == r["bytes"]["planned_read"]' \
        'all(o["status"] == 0 for o in r["outputs"])'
}

test_fanout_display()
{
    make_fan
    fan_out a/base
    want_status 0
    want_lines stderr 1 '^llavamed-apply: shard: out-c/model.safetensors, .* of 4)$'
    want_lines stderr 1 '(4 of 4)$'
    want_lines stderr 5 '^llavamed-apply: done: '
    want_lines stderr 1 '^llavamed-apply: done: 4 outputs, '
    want_lines stderr 1 'warning: the base is not identified'
    want_lines stderr 4 '^llavamed-apply: next: '
}

# One line for each check of whole files, also when they are of the same kind.
test_fanout_tells_every_check()
{
    names='a b'
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --update-seed 2 --delta
    fan_out a/base --verify full
    want_status 0
    want_lines stderr 2 '^llavamed-apply: checking: SHA-256 of the inputs'
    want_lines stderr 2 '^llavamed-apply: checking: the output, read back'
}

test_fanout_usage()
{
    apply --base b --delta c --delta d --out e
    want_failure 2 '--delta c: no --out follows it before the next --delta or the end'
    want_stderr '*hint: several outputs are pairs: *'
    apply --base b --delta c --out d --out e
    want_failure 2 '--out e: no --delta stands before it that it could be of'
    apply --base b --delta-path c --target d --delta e
    want_failure 2 '--delta e: no --out follows *'
    apply --base b --out d --delta c --out e --delta f
    want_failure 2 '--out d: no --delta stands before *'
    apply --base b --nonsense --delta c --out d --delta-path=e --target=f --json
    want_status 2
    want_json 'r["outputs"] == [] and r["code"] == "USAGE" and "delta" not in r'
    apply --base b --nonsense --delta c --out d --json
    want_json '"outputs" not in r and "delta" in r'
}

# Everything that is wrong with any output is found while planning; nothing is made.
test_fanout_places()
{
    make_fan
    local place
    for place in out-a out-a/. ./out-a/inner/../ out-a/inner out-a/x/y out-a.partial out-a.partial/x; do
        apply --base a/base --delta a/delta --out out-a --delta b/delta --out "$place"
        want_failure 5 "$place: the output directory is * that of a/delta (out-a)"
        want_lines stderr 0 'mkdir'
    done
    mkdir real
    ln -s real link
    apply --base a/base --delta a/delta --out real/out --delta b/delta --out link/out
    want_failure 5 'link/out: the output directory is the same as that of a/delta (real/out)'
    apply --base a/base --delta a/delta --out out-a --delta b/delta --out c/delta --delta c/delta --out out-c
    want_failure 5 'c/delta: the output directory is the same as the delta (c/delta)'
    apply --base a/base --delta a/delta --out out-a --delta b/delta --out "a/base/out"
    want_failure 5 'a/base/out: the output directory is inside the base (a/base)'
    mkdir taken
    touch taken/file
    apply --base a/base --delta nothing --out out-a --delta b/delta --out taken --delta c/delta --out out-c
    want_failure 3 'nothing: *'
    want_stderr 'llavamed-apply: problem: taken: exists, and was not written by this program*'
    apply --base a/base --delta b/delta --out out-b --delta c/delta --out taken --json
    want_status 5
    want_json 'r["code"] == "OUT_EXISTS"' '[o["code"] for o in r["outputs"]] == ["OUT_EXISTS"] * 2' \
        '[o["message"] is None for o in r["outputs"]] == [True, False]'
    want_nothing_left
}

# One wrong base among them, and nothing is written.
test_fanout_refuses_a_wrong_pair()
{
    names='a b'
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --seed 9 --update-seed 2 --delta
    fan_out a/base
    want_failure 4 '*'
    want_lines stderr 1 '^llavamed-apply: error: '
}

test_fanout_least_memory()
{
    make_fan
    names='a b c'
    fan_out a/base --max-memory 500KB
    want_failure 2 'the memory allowed is too small (got 500000 bytes, want at least 655360)'
    fan_out a/base --max-memory 640KiB -q -j 16
    want_status 0
}

# kill_the_fan BYTES OPTION...: killed once the first journal has as many bytes
kill_the_fan()
{
    local bytes=$1 i=0 pid
    shift
    "$PROGRAM" --base a/base --delta a/delta --out out-a --delta b/delta --out out-b --cpu ref -j 2 --max-memory 4MiB \
        "$@" >.checks/stdout 2>.checks/stderr &
    pid=$!
    while [ "$(stat -c %s out-a.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt "$bytes" ] && [ ! -e out-a ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test ! -e out-a
    want test -s out-a.partial/.llavamed-journal
    want test -s out-b.partial/.llavamed-journal
}

test_fanout_resumes()
{
    names='a b'
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --update-seed 2 --delta
    single_runs a/base
    kill_the_fan 8000
    fan_out a/base --json -v
    want_status 0
    want_as_single
    want_json 'all(o["bytes"]["reused"] > 4000000 for o in r["outputs"])'
    rm -rf out-*
    # By itself, in another cut.
    kill_the_fan 8000
    apply --base a/base --delta b/delta --out out-b --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 4000000'
    want diff -r out-b want-b
    apply --base a/base --delta a/delta --out out-a --json --max-memory 64MiB
    want_json 'r["bytes"]["reused"] > 4000000'
    want diff -r out-a want-a
    rm -rf out-*
    # One of them is gone, the other is kept.
    kill_the_fan 8000
    rm -rf out-b.partial
    fan_out a/base --json
    want_status 0
    want_as_single
    want_json 'r["outputs"][0]["bytes"]["reused"] > 4000000 and r["outputs"][1]["bytes"]["reused"] == 0'
}

test_fanout_claims_all_before_it_writes()
{
    names='a b'
    synth a --update-seed 1
    synth b --update-seed 2 --delta
    mkdir out-b.partial
    touch out-b.partial/file
    fan_out a/base
    want_status 5
    want_error '*out-b.partial: exists, and was not made by this program*'
    want test ! -e out-a.partial
}

# make_bin MODEL: the base of it as a .bin of one shard, CRC-32s and all, in ./MODEL/bin
make_bin()
{
    mkdir "$1/bin"
    cp "$1/base/config.json" "$1/bin/"
    PYTHONPATH="$DATA/../../tools" python3 - "$1" <<'PYTHON'
import json, struct, sys
import torch_bytes as t
data = open(sys.argv[1] + "/base/model.safetensors", "rb").read()
start = 8 + struct.unpack("<Q", data[:8])[0]
header = {k: v for k, v in json.loads(data[8:start]).items() if k != "__metadata__"}
items, records = [], {}
for i, (name, row) in enumerate(sorted(header.items(), key=lambda r: r[1]["data_offsets"])):
    begin, end = row["data_offsets"]
    kind = {"F16": "HalfStorage", "F32": "FloatStorage"}[row["dtype"]]
    strides = [1]
    for n in row["shape"][:0:-1]:
        strides.insert(0, strides[0] * n)
    n_elems = (end - begin) // (2 if row["dtype"] == "F16" else 4)
    storage = t.persid(str(i), ("torch", kind), n_elems)
    items.append((name, t.tensor(storage, 0, row["shape"], strides)))
    records["data__" + str(i)] = data[start + begin:start + end]
made = t.entries(t.pickle_of(*items), storages={}, **records)
open(sys.argv[1] + "/bin/pytorch_model.bin", "wb").write(t.archive(list(made.values())))
PYTHON
}

# damage FILE: turns a bit in each MiB and keeps the times; twice is never
damage()
{
    python3 - "$1" <<'PYTHON'
import os, sys
times = os.stat(sys.argv[1])
with open(sys.argv[1], "r+b") as file:
    for place in range((1 << 20) + 77, times.st_size, 1 << 20):
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
os.utime(sys.argv[1], ns=(times.st_atime_ns, times.st_mtime_ns))
PYTHON
}

# A base that was damaged in one run and is right in the next: nothing that was made of the damage is kept. And where
# only one result is made anew, the other is still held against the base.
test_fanout_resumes_on_a_mended_base()
{
    names='a b'
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --update-seed 2 --delta
    make_bin a
    rm -r a/base
    mv a/bin a/base
    single_runs a/base
    damage a/base/pytorch_model.bin
    kill_the_fan 12000 --allow-unknown-base
    rm -rf out-b.partial
    damage a/base/pytorch_model.bin
    fan_out a/base --json
    want_status 0
    want_as_single
    rm -rf out-*
    damage a/base/pytorch_model.bin
    kill_the_fan 12000 --allow-unknown-base
    damage a/base/pytorch_model.bin
    fan_out a/base --json
    want_status 1
    want_json 'r["code"] == "CRC_MISMATCH"'
    want_nothing_left
    kill_the_fan 12000
    rm -rf out-b.partial
    damage a/base/pytorch_model.bin
    fan_out a/base --allow-unknown-base
    want_failure 1 '*is damaged: its CRC-32 differs*'
}

# A delta whose damage shows when all is read: its own work goes, that of the others is kept.
test_fanout_with_a_damaged_delta()
{
    names='a b'
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --update-seed 2 --delta
    single_runs a/base
    mv b/delta b/base
    make_bin b
    mv b/base b/delta
    rm b/delta/model.safetensors
    mv b/bin/pytorch_model.bin b/delta/
    damage b/delta/pytorch_model.bin
    fan_out a/base --json --allow-unknown-base
    want_status 1
    want_json 'r["code"] == "CRC_MISMATCH"' '[o["code"] for o in r["outputs"]] == ["CRC_MISMATCH"] * 2' \
        '[o["message"] is None for o in r["outputs"]] == [True, False]'
    want test ! -e out-a
    want test ! -e out-b.partial
    apply --base a/base --delta a/delta --out out-a --json
    want_json 'r["bytes"]["reused"] > 0.99 * r["bytes"]["planned_write"]'
    want diff -r out-a want-a
}

# The first is in place when the second cannot be: it stays, and the text says that it is complete.
test_fanout_after_the_first_is_published()
{
    synth a --scale 0.003 --update-seed 1
    synth b --scale 0.003 --update-seed 2 --delta
    mkdir place parent
    (
        i=0
        while [ ! -e parent/out-b.partial/.llavamed-journal ] && [ $i -lt 3000 ]; do
            sleep 0.01
            i=$((i + 1))
        done
        chmod 555 parent
    ) &
    run_unprivileged "$PROGRAM" --base a/base --delta a/delta --out place/out-a --delta b/delta --out parent/out-b
    wait
    want_status 5
    want_error '*parent/out-b*'
    want_stderr 'llavamed-apply: hint: *complete: place/out-a; leave these out to go on with the others'
    want_stderr 'llavamed-apply: done: place/out-a: *'
    want_lines stderr 1 '^llavamed-apply: done: '
    want test -e place/out-a/SHA256SUMS
    chmod 755 parent
    run_unprivileged "$PROGRAM" -q --base a/base --delta b/delta --out parent/out-b
    want_status 0
}

# Where files run out, the message says so, no claim counts as lost, and the next run goes on.
# ($status is set by run.)
# shellcheck disable=SC2154
test_fanout_with_few_descriptors()
{
    make_fan
    local n n_failed=0
    for n in 5 7 8 9 10 11 12 13 14 16 20 24; do
        run bash -c 'ulimit -n "$1"; shift; exec "$@"' bash "$n" "$PROGRAM" -q --base a/base \
            --delta a/delta --out out-a --delta b/delta --out out-b --delta c/delta --out out-c
        if [ "$status" != 0 ]; then
            n_failed=$((n_failed + 1))
            want test "$status" -eq 5 -o "$status" -eq 6
            want_error '*Too many open files*'
            want_stderr '*hint: allow more open files: ulimit -n*'
            want test ! -e out-a -a ! -e out-b -a ! -e out-c
        else
            want test -e out-a/SHA256SUMS -a -e out-b/SHA256SUMS -a -e out-c/SHA256SUMS
            rm -r out-a out-b out-c
        fi
    done
    want test "$n_failed" -ge 5
    want test "$n_failed" -lt 12
}
