# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs that succeed, held against the bytes that torch and safetensors write for the same sums.

test_success_as_released()
{
    apply_pair base delta
    want_status 0
    want_empty stdout
    want_expected delta
    want test ! -e out.partial
    want_stderr 'llavamed-apply: done: out: 25 tensors in 1 shard, *peak memory*'
    want_stderr 'llavamed-apply: next: cd out && sha256sum -c SHA256SUMS'
    want_lines stderr 1 '^llavamed-apply: notice: .*research'
    want_lines stderr 1 '^llavamed-apply: shard: model.safetensors, .* (1 of 1)$'
    want_lines stderr 0 "$(printf '\r')"
    want_lines stderr 1 'warning: .*base'
}

test_success_files_of_out()
{
    apply_pair base delta
    want_status 0
    find out -mindepth 1 | sed 's#^out/##' | sort >files
    printf '%s\n' LICENSE NOTICE-research-only.md README.delta.md README.md SHA256SUMS added_tokens.json config.json \
        generation_config.json llavamed-manifest.json model.safetensors special_tokens_map.json tokenizer.model \
        tokenizer_config.json >wanted
    want_same files wanted
    local name
    for name in LICENSE added_tokens.json generation_config.json special_tokens_map.json tokenizer.model \
        tokenizer_config.json; do
        want_same "out/$name" "$DATA/delta/$name"
    done
    want_same out/README.delta.md "$DATA/delta/README.md"
    want python3 -m json.tool out/config.json
    want python3 -m json.tool out/llavamed-manifest.json
    (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
    want test "$(wc -l <out/SHA256SUMS)" = 12
    sed 's/^[0-9a-f]*  //' out/SHA256SUMS >listed
    want sort -c listed
}

test_success_every_form_of_input()
{
    local base delta
    for base in base base-sharded base-bin base/model.safetensors base-bin/pytorch_model.bin; do
        for delta in delta delta-safetensors; do
            rm -rf out
            apply_pair "$base" "$delta" -q
            want_status 0
            want_empty stderr
            want_expected delta
        done
    done
    rm -rf out
    apply_pair base delta-safetensors/model.safetensors -q
    want_status 0
    want_expected delta
}

test_success_dtypes()
{
    local dtype
    for dtype in delta float16 bfloat16 float32; do
        rm -rf out
        apply_pair base-bin delta --dtype "$dtype"
        want_status 0
        want_expected "$dtype"
        want python3 -m json.tool out/config.json
    done
}

test_success_inv_freq()
{
    apply_pair base delta --inv-freq drop
    want_status 0
    want_expected drop
    rm -rf out
    apply_pair base delta --inv-freq=keep
    want_status 0
    want_expected delta
}

test_success_sharded()
{
    apply_pair base delta --max-shard-size 3KB
    want_status 0
    want_expected sharded
    want_lines stderr 2 '^llavamed-apply: shard: '
    want_stderr '*: shard: model-0000?-of-00002.safetensors, * (2 of 2)'
    (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
}

test_success_old_option_names()
{
    apply --base-model-path "$DATA/base" --target-model-path=out --delta-path "$DATA/delta"
    want_status 0
    want_expected delta
}

test_success_options_without_effect_on_bytes()
{
    apply_pair base delta -q --no-resume --format safetensors --verify none
    want_status 0
    want_empty stderr
    want_expected delta
}

test_success_quiet()
{
    apply_pair base delta -q
    want_status 0
    want_empty stdout
    want_empty stderr
    want_expected delta
}

test_success_verbose()
{
    apply_pair base delta -v
    want_status 0
    want_stderr 'llavamed-apply: note: *kernel*'
    want_stderr 'llavamed-apply: note: *rounded*'
}

test_success_trailing_slashes_and_relative_paths()
{
    cp -r "$DATA/base" "$DATA/delta" .
    mkdir sub
    run sh -c 'cd sub && exec "$@"' sh "$PROGRAM" --base ../base/ --delta=../delta// --out ./../out/ -q
    want_status 0
    want_empty stderr
    want_expected delta
}

test_success_nan_is_reported()
{
    apply_pair base-nan delta --json
    want_status 0
    want_stderr 'llavamed-apply: warning: model.norm.weight: *'
    want_stderr 'llavamed-apply: warning: the result holds 1 NaN and [12] infinite values'
    want_json 'r["result"]["counts"]["nan"] == 1' 'r["result"]["counts"]["infinite"] >= 1' \
        'any("model.norm.weight" in w for w in r["warnings"])'
}

test_success_empty_out_is_used()
{
    mkdir out
    apply_pair base delta -q
    want_status 0
    want_expected delta
}

test_success_force_replaces_own_output()
{
    apply_pair base delta -q --dtype float32
    want_status 0
    apply_pair base delta -q
    want_status 5
    want_expected float32
    apply_pair base delta -q --force
    want_status 0
    want_expected delta
    want test "$(find . -maxdepth 1 -name '*out*' | wc -l)" = 1
}

test_success_identical_on_every_run()
{
    apply_pair base delta -q --max-shard-size 1KB
    want_status 0
    mv out first
    local options variants=('-j 1' '-j 2' '-j 8' '--max-memory 32MiB' '--max-memory 32MiB -j 8' '--max-memory 1GiB')
    variants+=('--cpu ref')
    if grep -q '\<avx2\>' /proc/cpuinfo; then
        variants+=('--cpu avx2')
    fi
    if grep -q '\<avx512bw\>' /proc/cpuinfo && grep -q '\<avx512vl\>' /proc/cpuinfo; then
        variants+=('--cpu avx512')
    fi
    if [ "$(uname -m)" = aarch64 ]; then
        variants+=('--cpu neon')
    fi
    for options in "${variants[@]}"; do
        rm -rf out
        # shellcheck disable=SC2086
        apply_pair base delta -q --max-shard-size 1KB $options
        want_status 0
        want diff -r first out
    done
}

test_success_input_form_leaves_weights_alone()
{
    apply_pair base-sharded delta -q --max-shard-size 2KB
    want_status 0
    mv out first
    apply_pair base-bin delta-safetensors -q --max-shard-size 2KB
    want_status 0
    local name
    want test "$(find first -name '*.safetensors' | wc -l)" -gt 1
    for name in first/model*; do
        want_same "$name" "out/${name#first/}"
    done
}
