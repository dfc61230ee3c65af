# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Deltas whose tensors share memory (tests/tools/make_cli_shared.py): what a base would be added to twice is refused,
# views that do not overlap are merged, and what the reference would do otherwise is told.

SHARED=$DATA/../cli_shared
VIEWS_WARNING='*warning: delta: * of a storage, which the reference keeps: the values are the same, the hashes *'

# merge_shared DELTA OPTION...: into ./out
merge_shared()
{
    local delta=$1
    shift
    rm -rf out
    apply --base "$SHARED/base.bin" --delta "$SHARED/$delta.bin" --out out "$@"
}

# want_merge_of DELTA OPTION...: ./out has the weights that this delta gives
want_merge_of()
{
    local got
    got=$(cd out && sha256sum -- *model*)
    merge_shared "$@" -q
    want_status 0
    want test "$got" = "$(cd out && sha256sum -- *model*)"
}

# refuse_shared DELTA WHAT
refuse_shared()
{
    merge_shared "$1"
    want_failure 3 "$SHARED/$1.bin: $2"
    want_stderr '*hint: if the base is to be added once to each, load the delta in Python and save a clone() of each *'
    merge_shared "$1" -n
    want_failure 3 "$SHARED/$1.bin: $2"
}

test_shared_memory_is_refused()
{
    local q=model.layers.0.self_attn.q_proj.weight k=model.layers.0.self_attn.k_proj.weight
    refuse_shared tied \
        'tensors model.embed_tokens.weight and lm_head.weight share memory: the reference would add to it for both'
    refuse_shared partial "tensors $q and $k share memory: the reference would add to it for both"
    refuse_shared projector \
        "tensors $q and model.mm_projector.bias share memory: the reference would add to it for both"
    refuse_shared itself "elements of tensor $q share memory: the reference would add several of the base to one"
    apply --base "$SHARED/base.bin" --delta "$SHARED/tied.bin" --out out --json
    want_json 'r["status"] == 3' 'r["code"] == "INPUT_UNSUPPORTED"'
}

# Another dtype makes copies, there and here.
test_shared_memory_converted()
{
    merge_shared tied --dtype float32
    want_status 0
    want_merge_of tied-plain --dtype float32
    merge_shared tied --dtype float32 --format torch
    want_status 0
    want test -z "$(grep 'of a storage' .checks/stderr)"
    want_merge_of tied-plain --dtype float32 --format torch
    merge_shared itself --dtype bfloat16
    want_status 0
}

test_shared_views()
{
    local views
    for views in packed columns transposed; do
        merge_shared "views-$views"
        want_status 0
        want test -z "$(grep 'of a storage' .checks/stderr)"
        want_merge_of delta-plain
        merge_shared "views-$views" --format torch
        want_status 0
        want_stderr "$VIEWS_WARNING"
        want grep -q 'of a storage, which the reference keeps' out/llavamed-manifest.json
        want_merge_of delta-plain --format torch
    done
    merge_shared delta-plain --format torch
    want test -z "$(grep 'of a storage' .checks/stderr)"
}

test_shared_stride_zero()
{
    merge_shared expanded
    want_status 0
    want_stderr '*warning: delta: 1 tensor (first model.norm.weight) with a stride of 0, to which the reference *'
    want_merge_of expanded-plain
}

# A base may share as it likes: nothing is added to it.
test_shared_memory_of_the_base()
{
    apply --base "$SHARED/base-tied.bin" --delta "$SHARED/delta-plain.bin" --out out
    want_status 0
    mv out tied
    apply --base "$SHARED/base-tied-plain.bin" --delta "$SHARED/delta-plain.bin" --out out
    want_status 0
    want_same tied/model.safetensors out/model.safetensors
}

# tie_config SIDE VALUE: merges a copy of the pair with tie_word_embeddings in that config.json
tie_config()
{
    rm -rf base delta out
    cp -R "$DATA/base" base
    cp -R "$DATA/delta" delta
    rm -f delta/SHA256SUMS
    sed -i "s/^{/{\n  \"tie_word_embeddings\": $2,/" "$1/config.json"
    apply --base base --delta delta --out out
}

test_shared_by_config()
{
    local side
    for side in base delta; do
        tie_config $side true
        want_failure 3 "$side: its config.json has tie_word_embeddings true, one matrix for embed_tokens and lm_head; *"
        want_stderr '*hint: if its lm_head is a matrix of its own, set tie_word_embeddings to false in that config.json'
        tie_config $side false
        want_status 0
        want_expected delta
    done
}
