# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Going on where a killed run stopped: what it wrote is kept when it reads back right, and the result is the same bytes.

# kill_in_the_middle BYTES OPTION...: of ./m, killed once its journal has as many bytes
kill_in_the_middle()
{
    local bytes=$1 i=0 pid
    shift
    "$PROGRAM" --base m/base --delta m/delta --out out --cpu ref -j 2 --max-memory 2MiB "$@" \
        >.checks/stdout 2>.checks/stderr &
    pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt "$bytes" ] && [ ! -e out ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test ! -e out
    want test -s out.partial/.llavamed-journal
}

# The same command to the end, with its --json; then OUT is what an undisturbed run makes.
want_continued()
{
    apply --base m/base --delta m/delta --out out --cpu ref -j 2 --max-memory 2MiB -v --json
    want_status 0
    want_json 'r["code"] == "ok"'
    want test ! -e out.partial
    want diff -r out want
}

make_models()
{
    synth m --scale 0.006
    "$PROGRAM" --base m/base --delta m/delta --out want -q
}

test_resume_keeps_what_was_written()
{
    make_models
    kill_in_the_middle 12000
    want_continued
    want_stderr '*note: going on with an interrupted run: [1-9]* tiles are written'
    want_json 'r["bytes"]["reused"] > 8000000' \
        'r["bytes"]["reused"] + r["bytes"]["written"] >= r["bytes"]["planned_write"]'
}

test_resume_twice_and_otherwise_cut()
{
    make_models
    kill_in_the_middle 8000
    kill_in_the_middle 16000
    apply --base m/base --delta m/delta --out out --max-memory 64MiB -v --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000'
    want diff -r out want
}

# Tiles that are not what the journal says are computed again.
test_resume_trusts_no_byte()
{
    make_models
    kill_in_the_middle 12000
    python3 -c 'import os
size = os.path.getsize("out.partial/model.safetensors")
with open("out.partial/model.safetensors", "r+b") as file:
    for place in range(0, size, 1 << 20):
        file.seek(place)
        file.write(b"damage")'
    want_continued
    want_stderr '*note: going on with an interrupted run: *'
}

# Tiles that are larger than those of this run are cut, when they are right.
test_resume_with_more_workers()
{
    make_models
    kill_in_the_middle 12000
    cp -r out.partial saved
    apply --base m/base --delta m/delta --out out --cpu ref -j 6 --max-memory 2MiB --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000' 'r["started_over"] is None' \
        'r["bytes"]["reused"] + r["bytes"]["written"] >= r["bytes"]["planned_write"]'
    want diff -r out want
    rm -r out
    mv saved out.partial
    printf damage | dd of=out.partial/model.safetensors bs=1 seek=1000000 conv=notrunc status=none
    apply --base m/base --delta m/delta --out out --cpu ref -j 6 --max-memory 2MiB --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 4000000'
    want diff -r out want
}

test_resume_torch_output()
{
    make_models
    kill_in_the_middle 12000 --format torch
    apply --base m/base --delta m/delta --out out --format torch -v --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000'
    "$PROGRAM" --base m/base --delta m/delta --out other --format torch -q
    want diff -r out other
}

test_resume_torch_profile()
{
    make_models
    "$PROGRAM" --base m/base --delta m/delta --out other --format torch --torch-profile 2.13 -q
    kill_in_the_middle 12000 --format torch --torch-profile 2.13
    apply --base m/base --delta m/delta --out out --format torch --torch-profile 2.13 -v --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000'
    want diff -r out other
    rm -r out
    kill_in_the_middle 4000 --format torch
    starts_over 'the options*' --format torch --torch-profile 2.13
    want diff -r out other
}

# starts_over REASON OPTION...
starts_over()
{
    local reason=$1
    shift
    apply --base m/base --delta m/delta --out out --json "$@"
    want_status 0
    want_stderr "*warning: starting over: $reason*"
    want_json 'r["bytes"]["reused"] == 0' "r[\"started_over\"].startswith('${reason%%\**}')" \
        'not any("starting over" in text for text in r["warnings"])'
}

# other_key PART: as if the journal were of a run with another one
other_key()
{
    python3 -c 'import sys, zlib
with open("out.partial/.llavamed-journal", "r+b") as file:
    head = bytearray(file.read(8 + 4 + 5 * 72))
    at = head.index(sys.argv[1].encode().ljust(8, b"\0")) + 8
    head[at] = ord("0") if head[at] != ord("0") else ord("1")
    file.seek(0)
    file.write(head + zlib.crc32(head).to_bytes(4, "little"))' "$1"
}

test_resume_notices_other_keys()
{
    make_models
    kill_in_the_middle 4000
    cp -r out.partial saved
    other_key tool
    starts_over 'the version of the tool changed since the interrupted run'
    want diff -r out want
    rm -r out
    cp -r saved out.partial
    other_key plan
    starts_over 'the plan of the result changed since the interrupted run'
    rm -r out
    cp -r saved out.partial
    touch m/base/model.safetensors
    starts_over 'the base changed since the interrupted run'
    want diff -r out want
}

test_resume_notices_changes()
{
    make_models
    kill_in_the_middle 4000
    starts_over 'the options*' --dtype float32
    rm -r out
    kill_in_the_middle 4000
    touch m/delta/model.safetensors
    starts_over '*delta*'
    want diff -r out want
    rm -r out
    kill_in_the_middle 4000
    printf x | dd of=out.partial/.llavamed-journal bs=1 seek=20 conv=notrunc status=none
    starts_over 'the interrupted run left a damaged journal'
    want diff -r out want
    rm -r out
    kill_in_the_middle 4000
    rm out.partial/.llavamed-journal
    starts_over 'the interrupted run left no journal'
    want diff -r out want
}

# exchange FILE HOW: another file takes the name, of the same size and time: the lowest bit of "all" elements of a
# safetensors file is another one there, or of the "last", or of "one" that lies between what is sampled
exchange()
{
    python3 -c 'import os, struct, sys
path, how = sys.argv[1:]
data = bytearray(open(path, "rb").read())
begin = {"all": 8 + struct.unpack("<Q", data[:8])[0], "last": len(data) - 2, "one": len(data) // 30 // 2 * 2}[how]
end = begin + 1 if how == "one" else len(data)
data[begin:end:2] = data[begin:end:2].translate(bytes(byte ^ 1 for byte in range(256)))
info = os.stat(path)
with open(path + ".new", "wb") as file:
    file.write(data)
os.utime(path + ".new", ns=(info.st_atime_ns, info.st_mtime_ns))
os.replace(path + ".new", path)' "$1" "$2"
}

# want_exchange_noticed SIDE HOW: of its only file. As a user with a store or an image does, who gets another release.
want_exchange_noticed()
{
    local side=$1 how=$2
    kill_in_the_middle 12000
    exchange "m/$side/model.safetensors" "$how"
    [ ! -e "m/$side/SHA256SUMS" ] || (cd "m/$side" && sha256sum model.safetensors >SHA256SUMS)
    starts_over "the $side changed since the interrupted run"
    "$PROGRAM" --base m/base --delta m/delta --out exact -q
    want diff -r out exact
    rm -r out exact
}

test_resume_notices_an_exchange_with_the_same_time()
{
    make_models
    want_exchange_noticed delta all
    want_exchange_noticed base last
    (cd m/delta && sha256sum model.safetensors >SHA256SUMS)
    want_exchange_noticed delta all
    want_exchange_noticed delta one
}

# The hashes that --sums gives are records as those beside the files; the same ones once more change nothing.
test_resume_notices_other_sums()
{
    make_models
    (cd m/delta && sha256sum model.safetensors >SHA256SUMS)
    kill_in_the_middle 12000
    (cd m && sha256sum delta/model.safetensors >sums)
    cp -r out.partial saved
    apply --base m/base --delta m/delta --out out --sums m/sums --json -q
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000' 'r["started_over"] is None'
    rm -r out
    mv saved out.partial
    (cd m && sha256sum base/model.safetensors >sums)
    starts_over 'the base changed since the interrupted run' --sums m/sums
}

# An archive has a checksum of every byte: one that differs is enough.
test_resume_notices_an_exchanged_archive()
{
    make_models
    cp -r m/delta original
    local pack='import zipfile
with zipfile.ZipFile("m/delta", "w", zipfile.ZIP_STORED) as archive:
    for name in "config.json", "model.safetensors":
        archive.writestr(zipfile.ZipInfo(f"delta/{name}"), open(f"original/{name}", "rb").read())'
    rm -r m/delta
    python3 -c "$pack"
    touch -d '2024-01-01' m/delta
    kill_in_the_middle 12000
    exchange original/model.safetensors one
    python3 -c "$pack"
    touch -d '2024-01-01' m/delta
    starts_over 'the delta changed since the interrupted run'
    "$PROGRAM" --base m/base --delta m/delta --out exact -q
    want diff -r out exact
}

# Another directory, other inodes, and times of opening and of changes of the file itself: the same inputs.
test_resume_with_inputs_elsewhere()
{
    make_models
    kill_in_the_middle 12000
    cp -rp m copy
    rm -r m
    apply --base copy/base --delta copy/delta --out out --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000' 'r["started_over"] is None'
    want cmp out/model.safetensors want/model.safetensors
}

test_resume_not_wanted()
{
    make_models
    kill_in_the_middle 4000
    apply --base m/base --delta m/delta --out out --no-resume -v --json
    want_status 0
    want_json 'r["bytes"]["reused"] == 0'
    want diff -r out want
}

# An archive is read from its front again, but what was written of it is not written again.
test_resume_archive()
{
    make_models
    (cd m && python3 -c 'import zipfile
with zipfile.ZipFile("delta.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    for name in "config.json", "model.safetensors":
        archive.write(f"delta/{name}", f"delta/{name}")' && rm -r delta && mv delta.zip delta)
    kill_in_the_middle 12000
    apply --base m/base --delta m/delta --out out -v --json
    want_status 0
    want_json 'r["bytes"]["reused"] > 4000000'
    want cmp out/model.safetensors want/model.safetensors
}
