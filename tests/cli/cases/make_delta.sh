# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-make-delta: deltas held against those that synth makes with its target, and against Python's own arithmetic.

MAKE_DELTA=$SCRATCH/llavamed-make-delta
DELTAS=${BASH_SOURCE[0]%/cases/*}/deltas.py

make_delta()
{
    run "$MAKE_DELTA" "$@"
}

# want_refusal STATUS GLOB: a failed run, which leaves nothing
want_refusal()
{
    want_status "$1"
    want_stderr "llavamed-make-delta: error: $2"
    want_empty stdout
    want_nothing_left
}

# A target that a delta of the fixtures leads to.
make_target()
{
    "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out target -q 2>/dev/null
}

test_make_delta_is_synths_own()
{
    local dtype
    for dtype in f16 bf16 f32; do
        rm -rf m out again
        synth m --base --delta --target --dtype "$dtype"
        make_delta --base m/base --target m/target --out out --json
        want_status 0
        cp .checks/stdout report
        want_same out/model.safetensors m/delta/model.safetensors
        want python3 "$DELTAS" check m/base m/target out report
        # What comes of it is the target, but for as many elements as was said.
        apply --base m/base --delta out --out again -q
        want_status 0
        want test "$(python3 "$DELTAS" differ again m/target)" = \
            "$(python3 -c 'import json; print(json.load(open("report"))["lossy"]["elements"])')"
        (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
        want test $? -eq 0
    done
}

test_make_delta_counts_what_is_lost()
{
    synth m --base --delta --target --sigma 0.01
    make_delta --base m/base --target m/target --out out -v
    want_status 0
    want_empty stdout
    want_stderr '*: lossy: base + delta has other bits than the target in [1-9]* of [1-9]* elements (*.?? %), in [1-9]*'
    want_stderr 'llavamed-make-delta: note: lm_head.weight: [1-9]* of [1-9]* elements (*) do not come back in F16'
    want_lines stderr 0 '^llavamed-make-delta: exact:'
    want_lines stderr 1 '^llavamed-make-delta: done: out: '
    want grep -q 'is not quite the target' out/README.md
}

test_make_delta_that_loses_nothing()
{
    make_target
    make_delta --base "$DATA/base" --target target --out out
    want_status 0
    want_stderr \
        'llavamed-make-delta: exact: base + delta is the target, bit for bit (1960 elements; rotary buffers aside)'
    want_lines stderr 0 '^llavamed-make-delta: lossy:'
    apply --base "$DATA/base" --delta out --out again -q
    want_status 0
    want_same again/model.safetensors target/model.safetensors
    want_same again/config.json target/config.json
    want_same again/tokenizer.model target/tokenizer.model
    want_same out/README.target.md target/README.md
    want_same again/README.delta.md out/README.md
}

test_make_delta_of_zeros_infinities_and_nan()
{
    local cpu
    python3 "$DELTAS" specials m
    for cpu in ref avx2 avx512 neon; do
        rm -rf out
        make_delta --base m/base --target m/target --out out --cpu $cpu --json
        # shellcheck disable=SC2154
        if [ "$status" = 2 ]; then # not of this machine
            want_lines stderr 1 'this machine or this build has no'
            continue
        fi
        want_status 0
        cp .checks/stdout report
        want python3 "$DELTAS" check m/base m/target out report
        want_json 'r["lossy"]["elements"] > 700' 'r["result"]["counts"]["nan"] > 300' \
            'any("the delta holds" in w for w in r["warnings"])'
    done
}

test_make_delta_same_bytes_however_made()
{
    synth m --base --delta --target --scale 0.001
    make_delta --base m/base --target m/target --out want -q
    want_status 0
    local options
    for options in '-j 1' '-j 7 --max-memory 1MiB' '--cpu ref' '--verify full' '--verify none'; do
        rm -rf out
        # shellcheck disable=SC2086
        make_delta --base m/base --target m/target --out out -q $options
        want_status 0
        case $options in
        *verify*) want cmp out/model.safetensors want/model.safetensors ;;
        *) want diff -r out want ;;
        esac
    done
}

test_make_delta_other_forms()
{
    make_target
    "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --out target-torch -q --format torch
    make_delta --base "$DATA/base" --target target --out want -q
    (cd target && python3 -m zipfile -c ../target.zip ./*) || return
    local target
    for target in target-torch target.zip target/model.safetensors; do
        rm -rf out
        make_delta --base "$DATA/base-bin" --target "$target" --out out -q
        want_status 0
        want_same out/model.safetensors want/model.safetensors
    done
    rm -rf out
    make_delta --base "$DATA/base" --target target --out out -q --format torch
    want_status 0
    want test -s out/pytorch_model.bin
    apply --base "$DATA/base" --delta out --out again -q
    want_same again/model.safetensors target/model.safetensors
}

# kill_make_delta BYTES OPTION...: of ./m, killed once its journal has as many bytes
kill_make_delta()
{
    local bytes=$1 i=0
    shift
    "$MAKE_DELTA" --base m/base --target m/target --out out --cpu ref -j 2 "$@" >.checks/stdout 2>&1 &
    local pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt "$bytes" ] && [ ! -e out ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL $pid
    wait $pid 2>/dev/null
    want test ! -e out
}

test_make_delta_continues_after_a_kill()
{
    synth m --base --delta --target --scale 0.006 --sigma 0.01
    make_delta --base m/base --target m/target --out want -q
    kill_make_delta 8000 --max-memory 2MiB
    # Another program finds nothing of use in it.
    apply --base m/base --delta m/target --out out --allow-unknown-base --dry-run
    make_delta --base m/base --target m/target --out out -v --json
    want_status 0
    want_stderr '*note: going on with an interrupted run: *'
    want_json 'r["bytes"]["reused"] > 1000000'
    want diff -r out want
}

test_make_delta_dry_run()
{
    make_target
    make_delta --base "$DATA/base" --target target --out out -n
    want_status 0
    want_lines stdout 1 '^target    target$'
    want_lines stdout 1 '^  subtract  *19 '
    want_lines stdout 1 '^  subtract-top-left  *2 '
    want_nothing_left
}

test_make_delta_refuses_what_does_not_belong_together()
{
    make_target
    make_delta --base "$DATA/base" --target "$DATA/base" --out out
    want_refusal 4 '*: base and target are the same checkpoint (both read this file)'
    make_delta --base "$DATA/base-larger-vocabulary" --target target --out out
    want_refusal 4 'base * and target target do not belong together (*'
    want_stderr '*problem: model.embed_tokens.weight: the vocabulary is smaller in the target (base *, target *'
    want_stderr '*hint: were base and target exchanged?*'
    make_delta --base target --target "$DATA/base" --out out
    want_refusal 4 '*the base already is a LLaVA model*'
    make_delta --base "$DATA/base" --target missing --out out
    want_refusal 3 'missing: *'
}

test_make_delta_replaces_its_own()
{
    make_target
    make_delta --base "$DATA/base" --target target --out out -q
    want_status 0
    make_delta --base "$DATA/base" --target target --out out
    want_status 5
    want_stderr 'llavamed-make-delta: error: out: *exists*'
    make_delta --base "$DATA/base" --target target --out out --force --dtype float32 -q
    want_status 0
    want grep -q '"dtype": "float32"' out/llavamed-manifest.json
}

test_make_delta_usage()
{
    make_delta --base b --out out
    want_refusal 2 'option missing (want --target)'
    make_delta --base b --target t --out out --delta d
    want_refusal 2 '*--delta*'
    make_delta --base b --target t --out out stray
    want_refusal 2 "unexpected argument (got 'stray')"
    make_delta --base b --target t --out out --allow-unknown-base
    want_refusal 2 '*--allow-unknown-base*'
    make_delta --base b --target t --json
    want_status 2
    want_json 'r["code"] == "USAGE"' 'r["target"] == "t"' 'r["lossy"]["elements"] == 0'
    make_delta --help
    want_status 0
    want_lines stdout 1 '^Usage: llavamed-make-delta --base SOURCE --target SOURCE --out DIR'
    make_target
    make_delta --base-model-path="$DATA/base" --target-model-path=target --delta-path=out -q
    want_status 0
    want test -s out/model.safetensors
}

test_make_delta_exact_gives_every_bit_back()
{
    local dtype
    for dtype in f16 bf16 f32; do
        rm -rf m out again
        synth m --base --target --dtype "$dtype" --sigma 0.01
        make_delta --base m/base --target m/target --out out --exact --json
        want_status 0
        want_stderr 'llavamed-make-delta: exact: base + delta is the target, bit for bit (*'
        want_json 'r["lossy"]["elements"] == 0' 'r["lossy"]["subtracted"] > 1000000'
        want python3 "$DELTAS" exact m/base m/target out
        apply --base m/base --delta out --out again -j 3 --max-memory 1MiB
        want_status 0
        want_same again/model.safetensors m/target/model.safetensors
        want_same again/config.json m/target/config.json
        (cd again && sha256sum --strict -c SHA256SUMS) >sums 2>&1
        want test $? -eq 0
    done
}

# NaN of any payload, -0, infinities on either side: and a base of other dtypes than the target's.
test_make_delta_exact_of_anything()
{
    python3 "$DELTAS" specials m
    make_delta --base m/base --target m/target --out out --exact -q
    want_status 0
    want python3 "$DELTAS" exact m/base m/target out
    apply --base m/base --delta out --out again -q
    want_status 0
    want test "$(python3 "$DELTAS" differ again m/target)" = 0
    rm -rf out again
    make_target
    "$PROGRAM" --base "$DATA/base" --delta "$DATA/delta" --dtype float32 --out wide -q 2>/dev/null
    local base
    for base in base base-sharded base-bin; do
        make_delta --base "$DATA/$base" --target wide --out out --exact -q --max-shard-size 3KB
        want_status 0
        apply --base "$DATA/base" --delta out --out again -q
        want_status 0
        want_same again/model.safetensors wide/model.safetensors
        rm -rf out again
    done
}

# Bits added to another base are numbers too: what tells is the target's checksum in the delta's manifest.
test_make_delta_exact_tells_another_base()
{
    synth m --base --target --sigma 0.01
    synth other --base --seed 77
    make_delta --base m/base --target m/target --out exact --exact -q
    apply --base other/base --delta exact --out out
    want_failure 4 'other/base: with this base the exact delta exact does not give the model it was made of: *'
    want_stderr '*CRC-32 *, want *'
    want_stderr 'llavamed-apply: hint: take the base that the delta was made from: *'
    want_nothing_left
    # A single bit of the base.
    cp -r m/base near
    printf '\001' | dd of=near/model.safetensors bs=1 seek=100000 conv=notrunc status=none
    want test "$(cmp -l m/base/model.safetensors near/model.safetensors | wc -l)" = 1
    apply --base near --delta exact --out out
    want_failure 4 'near: with this base the exact delta exact does not give the model it was made of: 1 of *'
    apply --base near --delta exact --out out --allow-unknown-base
    want_status 0
    want_stderr '*warning: near: with this base the exact delta exact does not give the model it was made of: 1 of *'
    rm -rf out
    # A result that is all it should be is not remarked upon.
    apply --base m/base --delta exact --out out
    want_status 0
    want_lines stderr 0 'warning: .*exact'
    want_same out/model.safetensors m/target/model.safetensors
    rm -rf out
    apply --base m/base --delta exact/model.safetensors --out out
    want_status 0
    want_stderr '*warning: the delta is an exact one, *: there is no llavamed-manifest.json beside it'
    rm -rf out
    sed -i 's/target_crc32/target_crc33/' exact/llavamed-manifest.json
    apply --base m/base --delta exact --out out
    want_status 0
    want_stderr "*warning: the delta is an exact one, *manifest.json has the target's checksum of 0 of * tensors"
    rm -rf out
    printf '{' >exact/llavamed-manifest.json
    apply --base m/base --delta exact --out out
    want_status 0
    want_stderr '*warning: the delta is an exact one, *: exact/llavamed-manifest.json: *'
}

# The checksums of the target's tensors come through a kill, more memory and less.
test_make_delta_exact_continues_after_a_kill()
{
    synth m --base --target --scale 0.006 --sigma 0.01
    make_delta --base m/base --target m/target --out want --exact -q
    want python3 "$DELTAS" exact m/base m/target want
    local memory
    for memory in 2MiB 1MiB 64MiB; do
        kill_make_delta 8000 --exact --max-memory 2MiB
        make_delta --base m/base --target m/target --out out --exact -v --json --max-memory $memory
        want_status 0
        want_stderr '*note: going on with an interrupted run: *'
        want diff -r out want
        rm -rf out
    done
}

test_make_delta_exact_is_refused_where_it_cannot_be()
{
    make_target
    make_delta --base "$DATA/base" --target target --out out --exact --format torch
    want_refusal 2 'an exact delta in torch files is not there yet'
    make_delta --base "$DATA/base" --target target --out out --exact --dtype float16
    want_refusal 2 'an exact delta has the dtypes of its target'
    make_delta --base "$DATA/base" --target target --out exact --exact -q
    apply --base "$DATA/base" --delta exact --out out --dtype float32
    want_failure 2 'exact: an exact delta gives the dtypes of its target and no other (*'
    # Without its mark the same file is what any delta of integers is.
    sed -i 's/llavamed-exact-delta"/llavamed-exact-DELTA"/' exact/model.safetensors
    apply --base "$DATA/base" --delta exact/model.safetensors --out out
    want_failure 4 '*do not belong together*'
    want_stderr '*integers against floating point (base F16, delta I16)'
}
