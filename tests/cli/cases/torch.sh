# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# --format torch: shards and index held against the bytes that torch 1.13 and transformers 4.28 write for the same sums,
# and for --torch-profile 2.13 against those of torch 2.13 (tests/tools/make_cli_torch.py), whatever the form of the
# inputs and however the work is cut.

ARCHIVES=$DATA/../cli_archives
FORMS=$DATA/../cli_forms
PUBLISHED=$DATA/../published

# want_torch CASE [-2.13]: the weights and index in ./out are those that torch 1.13 wrote, or torch 2.13; no other
# weights are there
want_torch()
{
    local holds=0 want got
    want=$(sed -n "s#^\([0-9a-f]*\)  $1/#\1  #p" "$DATA/expected-torch${2-}.sha256")
    got=$(cd out && sha256sum pytorch_model* 2>/dev/null)
    [ -n "$want" ] && [ "$got" = "$want" ] && holds=1
    note_check $holds "out is not the expected '$1': got $got, want $want"
    want test -z "$(find out -name '*.safetensors*')"
}

# merge_torch CASE BASE DELTA OPTION...: paths; replaces ./out
merge_torch()
{
    local case=$1 base=$2 delta=$3
    shift 3
    rm -rf out
    apply --base "$base" --delta "$delta" --out out --format torch -q "$@"
    want_status 0
    want_empty stderr
    want_torch "$case"
}

# The same in the profile of torch 2.13.
merge_torch_2_13()
{
    local case=$1 base=$2 delta=$3
    shift 3
    rm -rf out
    apply --base "$base" --delta "$delta" --out out --format torch --torch-profile 2.13 -q "$@"
    want_status 0
    want_empty stderr
    want_torch "$case" -2.13
}

test_torch_single_shard()
{
    apply_pair base delta --format torch
    want_status 0
    want_torch delta
    want test -e out/pytorch_model.bin -a ! -e out/pytorch_model.bin.index.json
    want_lines stderr 1 '^llavamed-apply: shard: pytorch_model.bin, .* (1 of 1)$'
    (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
    want grep -q '^pytorch_model.bin: OK$' sums
    want grep -q '"options": {"format": "torch", "torch_profile": "1.13", "dtype": "delta", ' out/llavamed-manifest.json
    want grep -q '"inv_freq": "keep", "max_shard_size": 10000000000}' out/llavamed-manifest.json
    want grep -q '{"name": "pytorch_model.bin", ' out/llavamed-manifest.json
    want grep -q 'torch.save. of torch 1.13 to 2.0' out/README.md
}

test_torch_profile()
{
    local base delta dtype
    apply_pair base delta --format torch --torch-profile 2.13
    want_status 0
    want_torch delta -2.13
    (cd out && sha256sum --strict --quiet -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
    want grep -q '"options": {"format": "torch", "torch_profile": "2.13", "dtype": "delta", ' out/llavamed-manifest.json
    want grep -q 'torch.save. of torch 2.13' out/README.md
    merge_torch delta "$DATA/base" "$DATA/delta" --torch-profile 1.13
    for dtype in float16 bfloat16 float32; do
        merge_torch_2_13 "$dtype" "$DATA/base-bin" "$DATA/delta" --dtype "$dtype"
    done
    merge_torch_2_13 drop "$DATA/base" "$DATA/delta" --inv-freq drop
    for base in base base-sharded base-bin; do
        merge_torch_2_13 sharded "$DATA/$base" "$DATA/delta-safetensors" --max-shard-size 3KB
    done
    for delta in deflated stored safetensors-streamed; do
        merge_torch_2_13 sharded "$DATA/base" "$ARCHIVES/delta-$delta.zip" --max-shard-size 3KB
    done
}

test_torch_profile_dry_run()
{
    apply_pair base delta --format torch --torch-profile 2.13 --max-shard-size 3KB -n --json
    want_status 0
    want_nothing_left
    cp .checks/stdout planned
    apply_pair base delta --format torch --torch-profile 2.13 --max-shard-size 3KB -q
    want_torch sharded -2.13
    want python3 -c 'import json, os
for shard in json.load(open("planned"))["result"]["shards"]:
    assert shard["bytes"] == os.stat("out/" + shard["name"]).st_size'
}

# It says how torch files are written; without them there is nothing that it could mean.
test_torch_profile_refused()
{
    local profile
    for profile in 1.13 2.13; do
        apply_pair base delta --torch-profile "$profile"
        want_failure 2 'a torch profile is given, but the shards are safetensors'
        want_stderr 'llavamed-apply: hint: --torch-profile goes with --format torch'
        apply_pair base delta --format safetensors --torch-profile "$profile" -n
        want_failure 2 'a torch profile is given, but the shards are safetensors'
    done
    apply_pair base delta --format torch --torch-profile 2.6
    want_failure 2 "--torch-profile: unknown value (got '2.6', want one of 1.13, 2.13)"
}

test_torch_shards()
{
    apply_pair base delta --format torch --max-shard-size 3KB
    want_status 0
    want_torch sharded
    want_lines stderr 2 '^llavamed-apply: shard: pytorch_model-0000[12]-of-00002.bin, '
    (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
    want test $? -eq 0
    want grep -q '^pytorch_model.bin.index.json: OK$' sums
    merge_torch first-empty "$DATA/base" "$DATA/delta" --max-shard-size 300
}

test_torch_dtypes()
{
    local dtype
    for dtype in float16 bfloat16 float32; do
        merge_torch "$dtype" "$DATA/base-bin" "$DATA/delta" --dtype "$dtype"
        want grep -q "\"torch_dtype\": \"$dtype\"" out/config.json
    done
    merge_torch drop "$DATA/base" "$DATA/delta" --inv-freq drop
}

test_torch_every_form_of_input()
{
    local base delta
    for base in base base-sharded base-bin; do
        for delta in delta delta-safetensors; do
            merge_torch sharded "$DATA/$base" "$DATA/$delta" --max-shard-size 3KB
        done
    done
    for delta in deflated stored safetensors-streamed safetensors-stored mixed; do
        merge_torch sharded "$DATA/base" "$ARCHIVES/delta-$delta.zip" --max-shard-size 3KB
    done
    merge_torch sharded "$ARCHIVES/base-deflated.zip" "$DATA/delta" --max-shard-size 3KB
    merge_torch delta "$FORMS/base-legacy.bin" "$FORMS/delta-legacy.bin"
    merge_torch delta "$FORMS/base-transposed.bin" "$FORMS/delta-transposed.bin"
}

test_torch_however_cut()
{
    local delta cpu threads memory
    local -a cpus=(ref)
    "$PROGRAM" --version | grep -q '^cpu: .*avx2' && cpus+=(avx2)
    "$PROGRAM" --version | grep -q '^cpu: .*avx512' && cpus+=(avx512)
    "$PROGRAM" --version | grep -q '^cpu: .*neon' && cpus+=(neon)
    for delta in "$DATA/delta" "$DATA/delta-safetensors" "$ARCHIVES/delta-deflated.zip"; do
        for threads in 1 2 3 16; do
            merge_torch sharded "$DATA/base" "$delta" --max-shard-size 3KB -j "$threads"
            merge_torch_2_13 sharded "$DATA/base" "$delta" --max-shard-size 3KB -j "$threads"
        done
        for memory in 320KiB 1MiB 1GiB; do
            merge_torch sharded "$DATA/base" "$delta" --max-shard-size 3KB --max-memory "$memory"
            merge_torch_2_13 sharded "$DATA/base" "$delta" --max-shard-size 3KB --max-memory "$memory"
        done
        for cpu in "${cpus[@]}"; do
            merge_torch first-empty "$DATA/base" "$delta" --max-shard-size 300 --cpu "$cpu" --verify full
            merge_torch_2_13 first-empty "$DATA/base" "$delta" --max-shard-size 300 --cpu "$cpu" --verify full
        done
    done
}

# Tensors of many tiles, in several shards, with embeddings that grow.
test_torch_large_however_cut()
{
    local options profile
    synth model
    for profile in 1.13 2.13; do
        set -- --base model/base --delta model/delta --format torch --torch-profile "$profile" --max-shard-size 4MB -q
        rm -rf first
        apply "$@" --out first
        want_status 0
        want test "$(find first -name '*.bin' | wc -l)" -gt 1
        for options in '-j 1 --max-memory 1MiB' '-j 5 --max-memory 32MiB' '-j 16 --cpu ref'; do
            rm -rf out
            # shellcheck disable=SC2086
            apply "$@" --out out $options
            want_status 0
            want_same first/SHA256SUMS out/SHA256SUMS
            want diff -r first out
        done
    done
}

# What was written is an input like any other: the same sums again, from torch files on either side.
test_torch_output_as_input()
{
    local profile
    mkdir zeros
    python3 - "$DATA/base/model.safetensors" zeros/model.safetensors <<'PYTHON'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
data[start:] = bytes(len(data) - start)
open(sys.argv[2], "wb").write(data)
PYTHON
    for profile in 1.13 2.13; do
        set -- --format torch --torch-profile "$profile" --allow-unknown-base -q
        rm -rf base delta
        apply --base "$DATA/base" --delta zeros --out base --max-shard-size 1KB "$@"
        want_status 0
        apply --base zeros --delta "$DATA/delta" --out delta --max-shard-size 2KB "$@"
        want_status 0
        merge_torch delta base delta
        merge_torch sharded base delta --max-shard-size 3KB
        merge_torch_2_13 delta base delta
    done
    # An empty first shard is no hindrance.
    rm -rf base
    apply --base "$DATA/base" --delta zeros --out base --format torch --max-shard-size 200 --allow-unknown-base -q
    want_status 0
    merge_torch delta base delta
    rm -rf out
    apply --base base --delta delta --out out -q
    want_status 0
    want_expected delta
}

# One that was merged is refused as a base, in this form too.
test_torch_output_is_no_base()
{
    merge_torch delta "$DATA/base" "$DATA/delta"
    mv out merged
    apply --base merged --delta "$DATA/delta" --out out
    want_failure 4 '*'
    want_stderr '*mm_projector*'
}

test_torch_dry_run()
{
    apply_pair base delta --format torch --max-shard-size 3KB -n
    want_status 0
    want_nothing_left
    want_lines stdout 1 '^  pytorch_model-00001-of-00002.bin  *17  *8769$'
    want_lines stdout 1 '^  pytorch_model-00002-of-00002.bin  *8  *4257$'
    apply_pair base delta --format torch --max-shard-size 3KB -q
    want test "$(stat -c %s out/pytorch_model-00001-of-00002.bin)" = 8769
    want test "$(stat -c %s out/pytorch_model-00002-of-00002.bin)" = 4257
}

test_torch_over_safetensors()
{
    apply_pair base delta -q
    want_status 0
    apply_pair base delta -q --format torch --force
    want_status 0
    want_torch delta
}

# A dtype that torch 1.13 has no storage for: known before anything is written.
test_torch_dtype_without_storage()
{
    python3 - <<'PYTHON'
import json, struct
header = json.dumps({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
                     "b": {"dtype": "U16", "shape": [2], "data_offsets": [4, 8]}}).encode()
header += b" " * (-len(header) % 8)
for name, data in ("b", bytes(8)), ("d", bytes(range(8))):
    open(name + ".safetensors", "wb").write(struct.pack("<Q", len(header)) + header + data)
PYTHON
    apply --base b.safetensors --delta d.safetensors --out out --format torch --allow-unknown-base
    want_failure 3 'b: a PyTorch file as of torch 1.13 cannot hold uint16'
}

# The small files beside published models (tests/tools/make_published_data.py) keep their published hashes.
test_torch_small_files_as_published()
{
    local model
    (cd "$PUBLISHED" && sha256sum --strict --quiet -c sums) >checked 2>&1
    want test $? -eq 0
    want test "$(wc -l <"$PUBLISHED/sums")" = 24
    cp "$DATA"/delta/pytorch_model* .
    for model in llama-7b llama-13b llama-30b llama-65b vicuna-7b-v1.1 vicuna-13b-v1.1; do
        rm -rf out delta
        cp -r "$PUBLISHED/$model" delta
        cp pytorch_model* delta
        apply --base "$DATA/base" --delta delta --out out --format torch
        want_status 0
        want_torch delta
        sed -n "s#  $model/#  out/#p" "$PUBLISHED/sums" >wanted
        want test "$(wc -l <wanted)" = 4
        want sha256sum --strict --quiet -c wanted
        want test "$(grep -cFf <(sed 's#  out/#  #' wanted) out/SHA256SUMS)" = 4
    done
    # One field must change: nothing else does.
    apply --base "$DATA/base" --delta delta --out wide --dtype float32
    want_status 0
    sed 's/"torch_dtype": "float16"/"torch_dtype": "float32"/' delta/config.json >edited
    want_same wide/config.json edited
    want test "$(cmp -l out/config.json wide/config.json | wc -l)" -gt 0
    want_same wide/tokenizer_config.json delta/tokenizer_config.json
}
