# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2100
# A merge in parts: the bytes of one run, in whatever order and however often its parts are run.

# make_whole BASE DELTA OPTION...: ./want, and what the parts are to be given
make_whole()
{
    base=$1 delta=$2
    shift 2
    options=("$@")
    rm -rf want out out.*
    apply -q --base "$base" --delta "$delta" --out want "$@"
    want_status 0
}

# part K N OPTION...
part()
{
    local k=$1 n=$2
    shift 2
    apply --base "$base" --delta "$delta" --out out "${options[@]}" --part "$k/$n" "$@"
}

want_as_whole()
{
    want diff -r out want
    want test ! -e out.partial
    want test -z "$(find . -maxdepth 1 -name 'out.*')"
}

# all_parts N: each in its turn; the last publishes
all_parts()
{
    local n=$1 k
    for ((k = 1; k <= n; k++)); do
        part "$k" "$n" -q
        want_status 0
        [ "$k" = "$n" ] || want test ! -e out
    done
}

test_parts_equal_one_run()
{
    local n
    synth m --scale 0.0004
    for n in 1 2 3 5 9; do
        make_whole m/base m/delta --max-shard-size 300KB
        all_parts $n
        want_as_whole
        make_whole m/base m/delta --format torch --max-shard-size 200KB --digests
        all_parts $n
        want_as_whole
    done
    make_whole m/base m/delta --max-shard-size 150KB --dtype float32 --inv-freq drop --verify full --digests
    all_parts 4
    want_as_whole
    make_whole m/base m/delta --verify none --allow-unknown-base
    all_parts 3
    want_as_whole
}

test_parts_of_other_forms()
{
    local n form
    for n in 2 3; do
        for form in base-bin base-sharded base; do
            make_whole "$DATA/$form" "$DATA/delta" --max-shard-size 2KB
            all_parts $n
            want_as_whole
        done
        for form in one two; do
            make_whole "$DATA/../meta/$form" "$DATA/../meta/delta" --max-shard-size 9KB --verify full
            all_parts $n
            want_as_whole
        done
        make_whole "$DATA/base" "$DATA/delta" --format torch --torch-profile 2.13 --max-shard-size 2KB
        all_parts $n
        want_as_whole
    done
    # Warnings of tensors come from several parts, and recorded hashes are checked by some.
    make_whole "$DATA/base-nan" "$DATA/delta" --max-shard-size 2KB
    all_parts 3
    want_as_whole
    cp -r "$DATA/base-sharded" "$DATA/delta-safetensors" .
    (cd base-sharded && sha256sum model* >SHA256SUMS)
    (cd delta-safetensors && sha256sum model* >SHA256SUMS)
    make_whole base-sharded delta-safetensors --max-shard-size 2KB
    all_parts 4
    want_as_whole
    (cd delta-safetensors && rm SHA256SUMS && python3 -m zipfile -c ../stored.zip . && cd .. &&
        python3 - <<'PYTHON'
import zipfile
with zipfile.ZipFile("stored.zip") as old, zipfile.ZipFile("delta.zip", "w", zipfile.ZIP_STORED) as new:
    for name in old.namelist():
        if not name.endswith("/"):
            new.writestr(name, old.read(name))
PYTHON
    )
    make_whole base-sharded delta.zip --max-shard-size 2KB --verify full
    all_parts 3
    want_as_whole
}

# Every order of three, and two orders of many; together at last.
test_parts_in_any_order()
{
    local order k
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    for order in '1 2 3' '1 3 2' '2 1 3' '2 3 1' '3 1 2' '3 2 1' '3 3 1 1 2'; do
        rm -rf out
        for k in $order; do
            want test ! -e out
            part "$k" 3
            want_status 0
        done
        want_stderr '*done: out: part * of 3, *'
        want_as_whole
    done
    rm -rf out
    for k in 1 2 3 4 5; do
        "$PROGRAM" --base m/base --delta m/delta --out out --max-shard-size 300KB --part $k/5 -q &
    done
    for k in 1 2 3 4 5; do
        wait -n
        want test $? = 0
    done
    apply --finish --out out
    want_status 0
    want_as_whole
}

test_parts_tell_what_is_missing()
{
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    apply --finish --out out
    want_status 5
    want_error '*out.partial: there are no parts to finish'
    want test ! -e out.partial
    part 2 4 --json
    want_status 0
    want_stderr '*next: 3 of 4 parts are not done yet: 1, 3-4; the last one publishes'
    want_json 'r["part"] == {"k": 2, "n": 4}' 'r["published"] is False' 'r["parts_missing"] == "1, 3-4"' \
        'len(r["result"]["shards"]) > 0'
    apply --finish --out out --json
    want_status 5
    want_error '*out.partial: 3 of 4 parts are missing: 1, 3-4'
    want_json 'r["code"] == "PARTS_MISSING"' 'r["parts_missing"] == "1, 3-4"' 'r["published"] is False'
    apply --finish --out out -n
    want_status 5
    part 1 4 -q
    part 3 4 -q
    part 2 4
    want_status 0
    want_stderr '*done: out: part 2 of 4 was done before'
    part 4 4 --no-finish
    want_status 0
    want_stderr '*next: llavamed-apply --finish --out out'
    want test ! -e out
    apply --finish --out out -n
    want_status 0
    want test ! -e out
    apply --finish --out out --json
    want_status 0
    want_json 'r["published"] is True' 'r["code"] == "ok"' 'r["result"]["manifest_sha256"] is not None'
    want_as_whole
    apply --finish --out out
    want_status 0
    want_stderr '*done: out: is published already, and complete'
    want_as_whole
    mkdir foreign
    echo x >foreign/file
    apply --finish --out foreign
    want_status 5
    want test "$(cat foreign/file)" = x
    mkdir other.partial
    echo x >other.partial/file
    apply --finish --out other
    want_status 5
    part 1 2 --out other
    want_status 2
    apply --base m/base --delta m/delta --out other --part 1/2
    want_status 5
    want test "$(cat other.partial/file)" = x
}

# The plan says what a part would write, and nothing is made.
test_parts_dry_run()
{
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    part 2 3 -n
    want_status 0
    want_lines stdout 1 '^part  *2 of 3$'
    want test ! -e out.partial
    cp .checks/stdout plan-2
    want test "$(grep -c '^  model-0' plan-2)" -lt "$(find want -name 'model-0*' | wc -l)"
    part 2 3 -n --json
    want_json 'r["part"] == {"k": 2, "n": 3}' \
        '0 < r["bytes"]["planned_write"] == sum(s["bytes"] for s in r["result"]["shards"])' \
        'r["bytes"]["planned_write"] < sum(os.path.getsize("want/" + n) for n in os.listdir("want")) / 2'
}

test_more_parts_than_shards()
{
    local k
    make_whole "$DATA/base" "$DATA/delta"
    for k in 1 3 4 2; do
        part $k 4 -v
        want_status 0
    done
    want_as_whole
}

test_parts_of_other_bytes_of_one_size_and_time()
{
    cp -rp "$DATA/base" "$DATA/delta-safetensors" .
    apply --base base --delta delta-safetensors --out out --max-shard-size 40KB --part 1/2 --no-finish -q
    want_status 0
    cp -p base/model.safetensors earlier
    python3 -c 'with open("base/model.safetensors", "r+b") as file:
    file.seek(-2, 2)
    byte = file.read(1)[0]
    file.seek(-2, 2)
    file.write(bytes([byte ^ 1]))'
    touch -r earlier base/model.safetensors
    apply --base base --delta delta-safetensors --out out --max-shard-size 40KB --part 2/2 --allow-unknown-base
    want_status 5
    want_error '*out.partial: holds parts of another merge: the base differs'
    cp -p earlier base/model.safetensors
    apply --base base --delta delta-safetensors --out out --max-shard-size 40KB --part 2/2 -q
    want_status 0
}

test_parts_are_not_mixed()
{
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    part 1 3 -q
    part 2 3 --dtype float32
    want_status 5
    want_error '*out.partial: holds parts of another merge: the options differs'
    part 2 4
    want_status 5
    want_error '*: the number of parts differs'
    part 2 3 --digests
    want_status 5
    want_error '*: one of --verify, --digests and --allow-unknown-base differs'
    (cd m/delta && sha256sum model* >SHA256SUMS)
    part 2 3
    want_status 5
    want_error '*: what hashes are recorded for the inputs differs'
    rm m/delta/SHA256SUMS
    touch -d '1 hour ago' m/base/model.safetensors
    part 2 3
    want_status 5
    want_error '*: the base differs'
    apply --base m/base --delta m/delta --out out --max-shard-size 300KB
    want_status 5
    want_error '*out.partial: exists, and holds parts of a merge'
    want test -e out.partial/.llavamed-parts-record-1-of-3.json
    rm -rf out.partial
    all_parts 3
    want_as_whole
}

# A whole run and parts keep out of each other's way.
test_parts_and_a_whole_run()
{
    synth m --scale 0.006
    make_whole m/base m/delta --max-shard-size 3MB
    "$PROGRAM" --base m/base --delta m/delta --out out --max-shard-size 3MB --max-memory 2MiB -q 2>/dev/null &
    while [ ! -s out.partial/.llavamed-journal ] && [ ! -e out ]; do
        sleep 0.01
    done
    kill -STOP $!
    part 1 2
    want_status 5
    want_error 'out: another run is writing it *'
    kill -KILL $!
    wait $! 2>/dev/null
    part 1 2
    want_status 5
    want_error "*out.partial: exists, and is an interrupted run's that made all of it"
    apply -q --base m/base --delta m/delta --out out --max-shard-size 3MB
    want_status 0
    want_as_whole
    part 1 2
    want_status 5
    want_error 'out: exists*'
}

# kill_part K N: once its journal has some entries
kill_part()
{
    local k=$1 n=$2 i=0
    "$PROGRAM" --base "$base" --delta "$delta" --out out "${options[@]}" --part "$k/$n" -q --max-memory 2MiB \
        2>/dev/null &
    while [ "$(stat -c %s "out.partial/.llavamed-parts-journal-$k-of-$n" 2>/dev/null || echo 0)" -lt 3000 ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill "-$3" $!
    wait $! 2>/dev/null
}

test_a_part_is_killed_and_goes_on()
{
    local signal
    synth m --scale 0.006
    make_whole m/base m/delta --max-shard-size 3MB
    for signal in KILL TERM; do
        rm -rf out
        part 2 3 -q
        kill_part 1 3 $signal
        want test ! -e out.partial/.llavamed-parts-record-1-of-3.json
        apply --finish --out out
        want_status 5
        part 3 3 -q
        want test ! -e out
        part 1 3 -v --json
        want_status 0
        want_stderr '*note: going on with an interrupted run: *'
        want_json 'r["bytes"]["reused"] > 0' 'r["published"] is True'
        want_as_whole
    done
}

test_the_same_part_twice_at_once()
{
    synth m --scale 0.006
    make_whole m/base m/delta --max-shard-size 3MB
    "$PROGRAM" --base m/base --delta m/delta --out out --max-shard-size 3MB --part 1/2 -q --max-memory 2MiB &
    while [ ! -s out.partial/.llavamed-parts-journal-1-of-2 ]; do
        sleep 0.01
    done
    kill -STOP $!
    part 1 2
    want_status 5
    want_error 'out: another run is at part 1 of 2 of it (process *'
    part 2 2
    want_status 0
    apply --finish --out out
    want_status 5
    kill -CONT $!
    wait $!
    want test $? = 0
    want_as_whole
}

test_two_finish_at_once()
{
    local i k
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    for i in 1 2 3 4 5; do
        rm -rf out
        for k in 1 2 3; do
            part $k 3 -q --no-finish
        done
        "$PROGRAM" --finish --out out -q 2>first &
        apply --finish --out out -q
        want_status_in 0 5
        wait $!
        want test $? = 0 -o $? = 5
        want_as_whole
    done
}

# The first part copies the small files: another one that is there by its rerun is copied anew.
test_a_first_part_looks_at_small_files()
{
    synth m --scale 0.0004
    cp "$DATA/delta/generation_config.json" "$DATA/delta/tokenizer.model" m/delta/
    make_whole m/base m/delta --max-shard-size 300KB
    part 1 2 -q
    touch m/delta/tokenizer.model
    part 1 2
    want_status 0
    want_stderr '*part 1 of 2 was done before'
    sed 's/{/{"changed": 1,/' m/delta/config.json >m/new
    mv m/new m/delta/config.json
    part 1 2 -v
    want_status 0
    want_stderr '*note: config.json is not what the part has copied any more; it is copied again'
    want_stderr '*note: going on with an interrupted run: *'
    tr aeiou eioua <m/delta/generation_config.json >m/new
    mv m/new m/delta/generation_config.json
    part 1 2 -v
    want_status 0
    want_stderr '*note: generation_config.json is not what the part has copied any more; it is copied again'
    mv m/delta/tokenizer.model m/
    part 1 2
    want_status 5
    want_error '*: holds parts of another merge: *'
    mv m/tokenizer.model m/delta/
    part 2 2 -q
    want_status 0
    apply -q --base m/base --delta m/delta --out want --max-shard-size 300KB --force
    want_as_whole
    # Whoever finishes holds what was copied: nothing is said to be done that is not.
    rm -r out
    part 1 2 -q --no-finish
    part 2 2 -q --no-finish
    (cd out.partial && cat .llavamed-parts-plan.json .llavamed-parts-record-* >.llavamed-parts-all.json)
    tr aeiou eioua <m/delta/generation_config.json >m/new
    mv m/new m/delta/generation_config.json
    part 1 2
    want_status 5
    want_error 'm/delta: generation_config.json changed since part 1 copied it, and all parts are being finished'
    apply -q --finish --out out
    want_status 0
    want_as_whole
}

# A damaged shard is made again; a record that is damaged, too.
test_a_finished_part_is_looked_at()
{
    local shard
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    part 1 2 -q
    shard=$(find out.partial -name 'model-*' | sort | head -n 1)
    touch "$shard"
    part 1 2
    want_status 0
    want_stderr '*part 1 of 2 was done before'
    printf x | dd of="$shard" bs=1 seek=5000 conv=notrunc 2>/dev/null
    part 1 2 -v
    want_status 0
    want_stderr '*note: model-* is not as it was recorded; the part is made again'
    rm "$shard"
    part 1 2 -v
    want_status 0
    want_stderr '*note: model-* is not as it was recorded; the part is made again'
    printf x | dd of=out.partial/.llavamed-parts-record-1-of-2.json bs=1 seek=50 conv=notrunc 2>/dev/null
    part 2 2 --no-finish -q
    apply --finish --out out
    want_status 5
    want_error '*/out.partial/.llavamed-parts-record-1-of-2.json: damaged, or not the record of a part'
    part 1 2 -q --no-finish
    want_status 0
    part 2 2 -q --no-finish --no-resume
    want_status 0
    truncate -s -1 "$shard"
    apply --finish --out out
    want_status 5
    want_error '*: is not what its part has written, by its size or kind *'
    part 1 2 -q
    want_status 0
    want_as_whole
}

# all_lines N: the file of all lines, as whoever finishes N parts puts it in the place of their plan and records
all_lines()
{
    local k
    cat out.partial/.llavamed-parts-plan.json
    for ((k = 1; k <= $1; k++)); do
        cat "out.partial/.llavamed-parts-record-$k-of-$1.json"
    done
}

# What was damaged after the parts were done, and even after finishing had begun, has to be made again, and can be.
test_finishing_proves_the_files()
{
    local shard
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    part 1 2 -q --no-finish
    part 2 2 -q --no-finish
    shard=$(find out.partial -name 'model-*' | sort | head -n 1)
    touch "$shard" # has to be read again, and is as it was
    cp -rp out.partial before
    apply --finish --out out -q
    want_status 0
    want_as_whole

    rm -rf out
    cp -rp before out.partial
    printf x | dd of="$shard" bs=1 seek=5000 conv=notrunc 2>/dev/null
    apply --finish --out out
    want_status 5
    want_error '*: is not what its part has written (SHA-256: got *, want *)'
    want_stderr '*hint: run the parts again: those whose files are as they were end at once'
    want test ! -e out
    part 2 2
    want_status 0
    want_stderr '*part 2 of 2 was done before*'
    part 1 2 -q
    want_status 0
    want_as_whole

    rm -rf out
    cp -rp before out.partial
    printf x | dd of=out.partial/tokenizer.model bs=1 conv=notrunc 2>/dev/null
    apply --finish --out out
    want_status 5
    want_error '*tokenizer.model: is not what its part has written (SHA-256: got *, want *)'
    part 1 2 -q
    want_status 0
    want_as_whole

    rm -rf out
    cp -rp before out.partial
    all_lines 2 >all
    rm out.partial/.llavamed-parts-plan.json out.partial/.llavamed-parts-record-*
    mv all out.partial/.llavamed-parts-all.json
    rm "$shard"
    apply --finish --out out
    want_status 5
    want_error '*: is gone since its part has written it *'
    want_stderr '*hint: run the parts again: those whose files are as they were end at once'
    part 1 2 -q
    want_status 0
    want_as_whole
}

# An OUT that has rotted is no reason to give up the parts that are to replace it.
test_parts_that_replace_a_damaged_out()
{
    local shard
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    cp -r want out
    shard=$(find out -name 'model-*' | sort | tail -n 1)
    printf x | dd of="$shard" bs=1 seek=5000 conv=notrunc 2>/dev/null
    part 1 2 -q --force --no-finish
    part 2 2 -q --force --no-finish
    shard=$(find out.partial -name 'model-*' | sort | head -n 1)
    printf x | dd of="$shard" bs=1 seek=5000 conv=notrunc 2>/dev/null
    apply --finish --force --out out
    want_status 5
    want_error '*: is not what its part has written (SHA-256: got *, want *)'
    want test -d out.partial
    part 1 2 -q --force
    want_status 0
    want_as_whole
}

# What a run left beside OUT that was killed as soon as OUT was there stands for nothing when OUT is gone or replaced.
test_old_lines_beside_out_are_no_parts()
{
    synth m --scale 0.0004
    make_whole m/base m/delta --max-shard-size 300KB
    part 1 2 -q --no-finish
    part 2 2 -q --no-finish
    all_lines 2 >all
    apply --finish --out out -q
    want_status 0
    cp all out.publishing.parts
    part 1 2 -q --force
    want_status 0
    want test ! -e out.publishing.parts
    rm -r out.partial
    cp all out.publishing.parts
    apply -q --base m/base --delta m/delta --out out --force --dtype float32
    want_status 0
    want test ! -e out.publishing.parts
    rm -r out
    cp all out.publishing.parts
    all_parts 2
    want_as_whole
}

# All inputs are checked by some part, so that OUT never comes of damaged ones.
test_parts_check_all_inputs()
{
    local k failed
    cp -r "$DATA/base-bin" "$DATA/delta" .
    make_whole base-bin delta --max-shard-size 2KB
    python3 - base-bin <<'PYTHON'
import glob, sys, zipfile
path = sorted(glob.glob(sys.argv[1] + "/*.bin"))[0]
with zipfile.ZipFile(path) as file:
    infos = [i for i in file.infolist() if "/data/" in i.filename and i.file_size > 16]
data = bytearray(open(path, "rb").read())
offset = infos[len(infos) // 2].header_offset
start = offset + 30 + int.from_bytes(data[offset + 26:offset + 28], "little") + \
    int.from_bytes(data[offset + 28:offset + 30], "little")
data[start + 2] ^= 1
open(path, "wb").write(data)
PYTHON
    failed=0
    for k in 1 2 3; do
        part $k 3 -q
        [ "$status" = 1 ] && failed=$((failed + 1))
    done
    want test $failed = 1
    want test ! -e out
    rm -rf out.partial
    cp -r "$DATA/base-sharded" .
    (cd base-sharded && sha256sum model* >SHA256SUMS)
    for k in base-sharded/model-*.safetensors; do
        printf x | dd of="$k" bs=1 seek=2000 conv=notrunc 2>/dev/null
    done
    base=base-sharded
    failed=0
    for k in 1 2 3; do
        part $k 3 -q --allow-unknown-base
        [ "$status" = 1 ] && failed=$((failed + 1))
    done
    want test $failed -ge 1
    want test ! -e out
    # What looks like another base by its contents is looked at whole before that is said.
    rm -rf out.partial
    synth m
    synth other --seed 2
    (cd m/base && sha256sum model.safetensors) >other/base/SHA256SUMS
    base=other/base delta=m/delta
    for k in 1 2 3; do
        part $k 3 -q
        want_status 1
        want_error '*: the SHA-256 differs from the SHA256SUMS beside it *'
    done
}

test_part_auto()
{
    make_whole "$DATA/base" "$DATA/delta" --max-shard-size 2KB
    unset SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_STEP SLURM_PROCID
    unset SLURM_NTASKS
    apply --base "$base" --delta "$delta" --out out --part auto
    want_status 2
    want_error '--part auto: this is no task of a Slurm job: neither SLURM_ARRAY_TASK_ID, *'
    auto()
    {
        run env "$@" "$PROGRAM" --base "$base" --delta "$delta" --out out --max-shard-size 2KB --part auto -n --json
    }
    auto SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_COUNT=4 SLURM_PROCID=0 SLURM_NTASKS=1
    want_json 'r["part"] == {"k": 3, "n": 4}'
    auto SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=5 SLURM_ARRAY_TASK_STEP=2
    want_json 'r["part"] == {"k": 3, "n": 5}'
    auto SLURM_PROCID=3 SLURM_NTASKS=4
    want_json 'r["part"] == {"k": 4, "n": 4}'
    auto SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=5 SLURM_ARRAY_TASK_STEP=2
    want_status 2
    want_error '--part auto: the variables of the job array do not fit together *'
    auto SLURM_PROCID=4 SLURM_NTASKS=4
    want_status 2
}

test_parts_refuse_what_they_cannot_do()
{
    local bad
    cp -r "$DATA/base" "$DATA/delta" .
    for bad in 0/3 4/3 1/0 x 1 1/3/3 -1/3 1/99999; do
        apply --base base --delta delta --out out "--part=$bad"
        want_status 2
    done
    apply --base base --delta delta --out out --part 1/2 --sign key
    want_status 2
    want_error '--part contradicts --sign'
    apply --base base --delta delta --out out --part 1/2 --report page.html
    want_status 2
    apply --base base --delta delta --out out --delta delta --out out2 --part 1/2
    want_status 2
    apply --base base --delta delta --out out --no-finish
    want_status 2
    apply --finish --out out --base base
    want_status 2
    want_error '--finish goes without --base'
    apply --finish
    want_status 2
    (cd delta && python3 - <<'PYTHON'
import os, zipfile
with zipfile.ZipFile("../delta.zip", "w", zipfile.ZIP_DEFLATED) as new:
    for name in sorted(os.listdir(".")):
        new.write(name)
PYTHON
    )
    apply --base base --delta delta.zip --out out --part 1/2
    want_status 2
    want_error 'delta.zip: a compressed archive is read from front to back, which parts cannot share'
    want_nothing_left
}

test_parts_signed_and_forced()
{
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem 2>/dev/null
    openssl ec -in key.pem -pubout -out key.pub 2>/dev/null
    make_whole "$DATA/base" "$DATA/delta" --max-shard-size 2KB
    part 1 2 -q --no-finish
    part 2 2 -q --no-finish
    apply --finish --out out --sign key.pem
    want_status 0
    verify out --public-key key.pub
    want_status 0
    apply --finish --out out --sign key.pem
    want_status 0
    openssl ecparam -name prime256v1 -genkey -noout -out other.pem 2>/dev/null
    apply --finish --out out --sign other.pem
    want_status 5
    want_error 'out: is published already, without a signature by this key'
    rm out/model.sig
    want_as_whole
    apply --finish --out out --sign key.pem
    want_status 5
    want_error 'out: is published already, without a signature by this key'
    part 1 2
    want_status 5
    want_error 'out: exists*'
    part 1 2 -q --force --no-finish
    want_status 0
    part 2 2 -q --force --no-finish
    apply --finish --out out
    want_status 5
    apply --finish --out out --force
    want_status 0
    want_as_whole
}

# old_claim NAME: of a part on a host that cannot be asked, and silent for long
old_claim()
{
    printf '{"format": "llavamed-claim", "version": 1, "host": "elsewhere", "pid": 7, "start_time": 1}\n' \
        >"out.partial/$1"
    touch -d '1 hour ago' "out.partial/$1"
}

# Claims of parts that are silent for long are watched all together; names that no part has are none.
test_parts_old_claims_are_watched_together()
{
    local name began i
    mkdir out.partial
    for name in 1-of-4097 3-of-2 0-of-2; do
        echo '?' >"out.partial/.llavamed-claim-$name.json"
    done
    for i in 1 2 3 4 5 6; do
        old_claim ".llavamed-claim-$i-of-6.json"
    done
    (
        sleep 1
        touch out.partial/.llavamed-claim-5-of-6.json
    ) &
    apply --base "$DATA/base" --delta "$DATA/delta" --out out -q
    wait
    want_status 5
    want_error "out: another run may be writing it (process 7 on host 'elsewhere', which cannot be asked from here*"
    old_claim .llavamed-claim-5-of-6.json
    began=$SECONDS
    apply --base "$DATA/base" --delta "$DATA/delta" --out out -q
    want_status 0
    want test $((SECONDS - began)) -lt 15
    want test ! -e out.partial
}
