# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The content test on synthetic models of a few MB: what a right base passes and a wrong one is refused for.

test_content_right_base_is_silent()
{
    synth a
    apply --base a/base --delta a/delta --out out -v
    want_status 0
    want_lines stderr 0 'warning: .*\(fit\|contents\|not equal\)'
    want_lines stderr 1 'note: content test: [1-9][0-9]* matrices judged, 100.000 % of the sums'
    want python3 -c 'import json
m = json.load(open("out/llavamed-manifest.json"))
assert 0.98 < m["result"]["exact"] < 1, m["result"]
rows = {t["name"]: t for t in m["tensors"]}
assert 0.98 < rows["model.layers.0.mlp.up_proj.weight"]["exact"] < 1
assert 0.98 < rows["model.embed_tokens.weight"]["exact"] < 1
assert "exact" not in rows["model.mm_projector.weight"]
assert "exact" not in rows["model.layers.0.self_attn.rotary_emb.inv_freq"]'
}

test_content_right_base_of_every_kind()
{
    local options
    for options in '--dtype bf16' '--dtype f32' '--sigma 0.00001' '--sigma 0.01' '--variant vicuna'; do
        rm -rf a
        # shellcheck disable=SC2086
        synth a $options
        apply --base a/base --delta a/delta --out out -n
        want_status 0
        want_lines stderr 0 'warning: .*\(fit\|contents\|not equal\)'
    done
}

test_content_unrelated_base()
{
    local options
    synth a
    synth b --base --seed 2
    apply --base b/base --delta a/delta --out out
    want_failure 4 'b/base: the delta was not made from this base: *no better than chance in * matrices (6?.?? % of *'
    want_stderr 'llavamed-apply: problem: model.layers.0.self_attn.v_proj.weight: 6?.?? % exact *'
    want_stderr 'llavamed-apply: hint: *--allow-unknown-base*'
    cp .checks/stderr first
    apply --base b/base --delta a/delta --out out -n
    want_status 4
    want_error '*chance*'
    want_nothing_left
    for options in '-j 1' '-j 7 --max-memory 32MiB' '--cpu ref'; do
        # shellcheck disable=SC2086
        apply --base b/base --delta a/delta --out out $options
        want_failure 4 '*chance*'
        want_same first .checks/stderr
    done
    apply --base b/base --delta a/delta --out out --json
    want_status 4
    want_json 'r["code"] == "PAIR_WRONG_BASE"' 'r["n_problems"] > 10'
    for options in '--dtype bf16' '--dtype f32'; do
        rm -rf c d
        # shellcheck disable=SC2086
        synth c $options
        # shellcheck disable=SC2086
        synth d --base --seed 2 $options
        apply --base d/base --delta c/delta --out out
        want_failure 4 '*no better than chance*'
    done
}

test_content_overruled()
{
    synth a
    synth b --base --seed 2
    apply --base b/base --delta a/delta --out out --allow-unknown-base
    want_status 0
    want_stderr 'llavamed-apply: warning: the delta was not made from this base: *chance*'
    want grep -q 'the delta was not made from this base' out/llavamed-manifest.json
    apply --base a/base --delta a/delta --out other --allow-unknown-base
    want_status 0
    want_lines stderr 0 'warning: .*chance'
}

test_content_rotary_permutation_missing()
{
    synth a
    rearrange a/base rotary
    apply --base a/base --delta a/delta --out out
    want_failure 4 '*except in q_proj and k_proj (* matrices): *rotary*'
    want_lines stderr 0 'problem: .*[vo]_proj'
    want_stderr 'llavamed-apply: problem: model.layers.0.self_attn.q_proj.weight: *'
}

test_content_layers_exchanged()
{
    synth a
    rearrange a/base layers
    apply --base a/base --delta a/delta --out out
    want_failure 4 '*except in 2 layers (0, 1): *'
    want_lines stderr 0 'problem: .*\(layers.2\|embed\)'
}

test_content_one_tensor_wrong()
{
    synth a
    rearrange a/base tensor
    apply --base a/base --delta a/delta --out out
    want_failure 4 '*1 of [0-9]* matrices of the base are not those*'
    want_lines stderr 1 '^llavamed-apply: problem: .*layers.1.self_attn.v_proj'
}

test_content_another_fine_tune()
{
    synth a --vocab-rows 32000 --projector none
    synth b --vocab-rows 32000 --projector none --target --update-seed 9
    apply --base b/target --delta a/delta --out out
    want_failure 4 '*not made from this base but from a relative*'
    want_stderr 'llavamed-apply: hint: *fine-tune*'
}

test_content_exchanged_and_full_models()
{
    synth a --vocab-rows 32000 --projector none --base --delta --target
    apply --base a/delta --delta a/base --out out
    want_failure 4 'a/base: base and delta seem to be exchanged: *'
    apply --base a/base --delta a/target --out out --json
    want_status 4
    want_json 'r["code"] == "PAIR_FULL_DELTA"' '"magnitudes of a whole model" in r["message"]'
    want_nothing_left
    apply --base a/base --delta a/target --out out --allow-unknown-base
    want_status 0
    want_stderr 'llavamed-apply: warning: *magnitudes of a whole model*'
}

test_content_cannot_tell()
{
    apply_pair base delta
    want_status 0
    want_stderr 'llavamed-apply: warning: the contents do not tell *'
}
