# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Inputs that are missing, broken or do not belong together: exit 3 and 4, and nothing is left.

# One file of a sharded set does not fit, whatever else is to be said of its sizes.
test_failure_single_shard()
{
    apply --base "$DATA/base-sharded/model-00001-of-00002.safetensors" --delta "$DATA/delta" --out out
    want_failure 4 '*do not belong together*'
    want_stderr '*hint: the base is one file of several: give the directory that holds all of them'
}

test_failure_input_missing()
{
    apply --base nowhere --delta "$DATA/delta" --out out
    want_failure 3 '*nowhere*'
    apply --base "$DATA/base" --delta ./no/where --out out
    want_failure 3 '*no/where*'
    mkdir empty
    apply --base empty --delta "$DATA/delta" --out out
    want_failure 3 '*empty*'
}

test_failure_input_unreadable()
{
    cp -r "$DATA/base" "$DATA/delta" .
    chmod 000 base/model.safetensors
    run_unprivileged "$PROGRAM" --base base --delta delta --out out
    want_failure 3 '*base*Permission denied*'
    chmod 644 base/model.safetensors
    chmod 000 delta
    run_unprivileged "$PROGRAM" --base base --delta delta --out out
    want_failure 3 '*delta*Permission denied*'
}

test_failure_input_not_a_checkpoint()
{
    echo 'hello' >weights.safetensors
    apply --base weights.safetensors --delta "$DATA/delta" --out out
    want_failure 3 '*weights.safetensors*'
    : >empty.bin
    apply --base "$DATA/base" --delta empty.bin --out out
    want_failure 3 '*empty.bin*'
    head -c 5000 /dev/zero >zeros.bin
    apply --base "$DATA/base" --delta zeros.bin --out out
    want_failure 3 '*zeros.bin*'
    head -c 5000 /dev/urandom >noise.safetensors
    apply --base noise.safetensors --delta "$DATA/delta" --out out
    want_failure 3 '*noise.safetensors*'
    mkfifo pipe.bin
    apply --base pipe.bin --delta "$DATA/delta" --out out
    want_failure 3 '*pipe.bin*'
    apply --base /dev/null --delta "$DATA/delta" --out out
    want_failure 3 '*/dev/null*'
}

test_failure_truncated_input()
{
    local size
    for size in 1 8 100 3000 6151; do
        head -c "$size" "$DATA/base/model.safetensors" >base.safetensors
        apply --base base.safetensors --delta "$DATA/delta" --out out
        want_failure 3 '*base.safetensors*'
    done
    for size in 1 100 5000 11000 11915; do
        head -c "$size" "$DATA/base-bin/pytorch_model.bin" >base.bin
        apply --base base.bin --delta "$DATA/delta" --out out
        want_failure 3 '*base.bin*'
    done
    cp "$DATA/base/model.safetensors" longer.safetensors
    echo >>longer.safetensors
    apply --base longer.safetensors --delta "$DATA/delta" --out out
    want_failure 3 '*longer.safetensors*'
}

test_failure_missing_shard()
{
    cp -r "$DATA/delta" .
    rm delta/pytorch_model-00002-of-00002.bin
    apply --base "$DATA/base" --delta delta --out out
    want_failure 3 '*pytorch_model-00002-of-00002.bin*'
}

# One bit of one weight, so that only the CRC-32 can tell; without the check the sums are wrong but it is a model.
test_failure_damaged_record()
{
    cp -r "$DATA/base-bin" base
    python3 -c 'import zipfile
archive = zipfile.ZipFile("base/pytorch_model.bin")
entry = max((e for e in archive.infolist() if "/data/" in e.filename), key=lambda e: e.file_size)
offset = archive.open(entry)._orig_compress_start
with open("base/pytorch_model.bin", "r+b") as file:
    file.seek(offset)
    byte = file.read(1)[0]
    file.seek(offset)
    file.write(bytes([byte ^ 1]))'
    want test $? -eq 0
    apply --base base --delta "$DATA/delta" --out out
    want_failure 1 '*base/pytorch_model.bin*'
    apply --base base --delta "$DATA/delta" --out out --verify none
    want_status 0
}

test_failure_wrong_pair()
{
    apply_pair base-wrong delta
    want_failure 4 '*'
    want_lines stderr 4 '^llavamed-apply: problem: '
    want_stderr '*: problem: *model.layers.0.self_attn.v_proj.weight*'
    want_stderr '*: problem: *model.layers.1.self_attn.v_proj.weight*'
    want_stderr '*: problem: *model.norm.weight*9*8*'
    want_stderr '*: problem: *model.surplus.weight*'
    cp .checks/stderr first
    apply_pair base-wrong delta -n
    want_failure 4 '*'
    want_same first .checks/stderr
    apply_pair base-wrong delta -q
    want_failure 4 '*'
    want_lines stderr 4 '^llavamed-apply: problem: '
}

test_failure_many_problems()
{
    apply_pair base-thirty-too-many delta
    want_failure 4 '*'
    want_lines stderr 21 '^llavamed-apply: problem: '
    want_stderr 'llavamed-apply: problem: ... and 10 more'
    apply_pair base-thirty-too-many delta --json
    want_status 4
    want_json 'r["status"] == 4' 'r["code"] == "PAIR_MISMATCH"' 'r["n_problems"] == 30' 'len(r["problems"]) == 20'
    want_nothing_left
}

test_failure_smaller_vocabulary()
{
    apply_pair base-larger-vocabulary delta
    want_failure 4 '*'
    want_lines stderr 2 '^llavamed-apply: problem: '
    want_stderr '*hint: were base and delta exchanged? if not, this delta was made for another base*'
}

test_failure_roles_swapped_or_the_same()
{
    apply_pair delta base
    want_failure 4 '*'
    want_stderr '*hint: *were base and delta exchanged?'
    apply_pair base base
    want_failure 4 '*same*'
    apply_pair base base/model.safetensors
    want_failure 4 '*same*'
    cp "$DATA/base/model.safetensors" copy.safetensors
    ln copy.safetensors link.safetensors
    apply --base copy.safetensors --delta link.safetensors --out out
    want_failure 4 '*same*'
}

test_failure_base_already_merged()
{
    apply_pair base-with-projector delta
    want_failure 4 '*mm_projector*'
}

test_failure_as_json()
{
    apply_pair base-wrong delta --json
    want_status 4
    want_json 'r["status"] == 4' 'r["code"] == "PAIR_MISMATCH"' 'r["message"]' 'len(r["problems"]) == 4' \
        'r["result"]["manifest_sha256"] is None' 'r["bytes"]["written"] == 0'
    want_nothing_left
    apply --base nowhere --delta "$DATA/delta" --out out --json
    want_status 3
    want_json 'r["code"] == "INPUT_MISSING"' 'r["out"] == "out"'
}

test_failure_hostile_names()
{
    local name
    name=$(printf 'no\033[31m\377where')
    apply --base "$name" --delta "$DATA/delta" --out out --json
    want_status 3
    want_error '*no?\[31m?where*'
    want_lines stderr 0 "$(printf '\033')"
    want_json 'r["base"] == "no\x1b[31m?where"'
    want_nothing_left
}

# A pickle that would run a command when loaded by Python's own unpickler.
test_failure_hostile_pickle()
{
    python3 -c 'import zipfile
with zipfile.ZipFile("evil.bin", "w") as archive:
    archive.writestr("evil/data.pkl", b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch pwned\x85R.")
    archive.writestr("evil/version", b"3\n")'
    want test -s evil.bin
    apply --base "$DATA/base" --delta evil.bin --out out
    want_failure 3 '*posix*system*'
    want test ! -e pwned
}

# An OpenSSL that only has what FIPS approves of, and one whose default provider is not loaded: MD5 sums of Meta's files
# can be done without, SHA-256 of OUT cannot.
test_failure_missing_algorithm()
{
    local set_up
    printf '%s\n' 'openssl_conf = c' '[c]' 'providers = p' 'alg_section = a' '[p]' 'default = d' '[d]' 'activate = 1' \
        '[a]' 'default_properties = fips=yes' >fips.cnf
    printf '%s\n' 'openssl_conf = c' '[c]' 'providers = p' '[p]' 'base = b' '[b]' 'activate = 1' >bare.cnf
    for set_up in fips bare; do
        OPENSSL_CONF=$PWD/$set_up.cnf apply --base "$DATA/../meta/two/13B" --delta "$DATA/../meta/delta" --out out \
            --verify full
        want_failure 3 '*MD5 is not available from OpenSSL *'
        want_stderr '*hint: --verify none *'
        want_nothing_left
        OPENSSL_CONF=$PWD/$set_up.cnf apply --base "$DATA/base" --delta "$DATA/delta" --out out
        want_failure 70 '*SHA-256 is not available from OpenSSL *'
        want_nothing_left
    done
}

# A merge of ./m, stopped once it has written shards; its process is $pid
stop_while_writing()
{
    local i=0
    "$PROGRAM" --base m/base --delta m/delta --out out --cpu ref -j 1 --max-memory 2MiB \
        >.checks/stdout 2>.checks/stderr &
    pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt 2000 ] && [ ! -e out ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -STOP "$pid"
    want test ! -e out
    want test -s out.partial/.llavamed-journal
}

go_on()
{
    kill -CONT "$pid"
    wait "$pid"
    # shellcheck disable=SC2034  # of want_failure
    status=$?
}

# exchange NAME: another file of the same size takes the name
exchange()
{
    tr aeiou eioua <"m/delta/$1" >m/new
    mv m/new "m/delta/$1"
}

# The old configuration with the new tokenizer, or the other way round, would be half of each.
test_failure_small_files_exchanged()
{
    local name pid
    synth m --scale 0.006
    cp "$DATA/delta/tokenizer.model" "$DATA/delta/generation_config.json" m/delta/
    stop_while_writing
    exchange tokenizer.model
    sed 's/{/{"changed": 1,/' m/delta/config.json >m/new
    mv m/new m/delta/config.json
    go_on
    want_failure 6 'm/delta/*: the file changed during the run'
    for name in tokenizer.model generation_config.json config.json; do
        stop_while_writing
        touch "m/delta/$name"
        go_on
        want_failure 6 "m/delta/$name: the file changed during the run"
    done
    stop_while_writing
    rm m/delta/tokenizer.model
    go_on
    want_failure 6 'm/delta/tokenizer.model: the file changed during the run'
}

# Held against its record before the shards are made, the file is held against it when it is copied, too.
test_failure_recorded_file_exchanged()
{
    local pid
    synth m --scale 0.006
    cp "$DATA/delta/tokenizer.model" m/delta/
    (cd m/delta && sha256sum tokenizer.model >SHA256SUMS)
    stop_while_writing
    # In place, and with the time it had: the bytes alone tell.
    touch -r m/delta/tokenizer.model m/time
    tr aeiou eioua <m/delta/tokenizer.model >m/new
    cat m/new >m/delta/tokenizer.model
    touch -r m/time m/delta/tokenizer.model
    go_on
    want_failure 6 'm/delta/tokenizer.model: the file is not the one that was hashed before (got *, want *)'
}
