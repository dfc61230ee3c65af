# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Digests: those that the Python program in docs/digests.md computes, of the same tensors in any form.

ROOT=$DATA/../../..

inspect()
{
    run timeout 60 "$SCRATCH/llavamed-inspect" "$@"
}

# The program, as the document has it.
digests_in_python()
{
    # shellcheck disable=SC2016
    sed -n '/^```python$/,/^```$/{/^```/d;p}' "$ROOT/docs/digests.md" >.checks/digests.py
    python3 .checks/digests.py "$1"
}

want_lines_of()
{
    local holds=0
    cmp -s .checks/stdout "$1" && holds=1
    note_check $holds "other digests than $1: $(diff .checks/stdout "$1" | head -n 4 | tr '\n' ' ')"
}

test_digests_as_the_document_defines_them()
{
    local source
    for source in "$DATA/base/model.safetensors" "$DATA/delta-safetensors/model.safetensors" \
        "$DATA/base-nan/model.safetensors" "$DATA/../source/single.safetensors" \
        "$DATA"/../safetensors/good/{dtypes,one,odd-order,odd-zero-bytes,odd-rank-16,odd-not-aligned}.safetensors; do
        digests_in_python "$source" >want
        want test "$(grep -c '^sha256  [0-9a-f]\{64\}  ' want)" -ge 2
        inspect "$source" --digests
        want_status 0
        want_empty stderr
        want_lines_of want
        inspect "$source" --digests -q -j 3 --max-memory 64KiB
        want_lines_of want
    done
    # Names that are not printed as they are: whole in the document, and so in the digest of the model.
    digests_in_python "$DATA/../safetensors/good/names.safetensors" >want
    inspect "$DATA/../safetensors/good/names.safetensors" --digests --json
    want_json 'r["model_sha256"] == open("want", "rb").read().splitlines()[-1].decode().split("  ")[1]'
}

test_digests_do_not_depend_on_the_form()
{
    local source
    digests_in_python "$DATA/delta-safetensors/model.safetensors" >want
    want test "$(wc -l <want)" -eq 26
    for source in "$DATA/delta" "$DATA/delta-safetensors" "$DATA"/../cli_forms/delta-*.bin \
        "$DATA"/../cli_archives/delta-{7z,bsdtar,deflated,flat,macos,mixed,stored,zip64}.zip \
        "$DATA"/../cli_archives/delta-safetensors-{stored,streamed}.zip; do
        inspect "$source" --digests
        want_status 0
        want_empty stderr
        want_lines_of want
    done
    digests_in_python "$DATA/base/model.safetensors" >want
    for source in "$DATA/base-sharded" "$DATA/base-bin" "$DATA"/../cli_forms/base-*.bin \
        "$DATA/../cli_archives/base-deflated.zip"; do
        inspect "$source" --digests
        want_lines_of want
    done
    digests_in_python "$DATA/../meta/hf-base/model.safetensors" >want
    for source in "$DATA/../meta/two" "$DATA/../meta/two/13B"; do
        inspect "$source" --digests -j 2
        want_lines_of want
    done
    # And on what a merge writes, which is in other shards again.
    apply_pair base delta -q --max-shard-size 1KB
    apply --base "$DATA/base" --delta "$DATA/delta" --out out-torch -q --format torch --max-shard-size 2KB
    inspect out --digests
    want_status 0
    cp .checks/stdout want
    inspect out-torch --digests
    want_lines_of want
}

test_digests_in_the_document()
{
    inspect "$DATA/delta" --digests --json
    want_status 0
    want_listed_digests
    want_json 'len(r["model_sha256"]) == 64' 'r["threads"] >= 1' 'r["bytes_read"] >= r["bytes"]'
    inspect "$DATA/delta" --json
    want_json 'r["model_sha256"] is None' 'all(t["sha256"] is None for t in r["tensors"])' 'r["threads"] == 0'
    # By a shell alone.
    inspect "$DATA/delta" --digests
    want test "$(sed '$d; s/^sha256  //' .checks/stdout | tr '\n' '\0' | sha256sum | cut -c1-64)" = \
        "$(sed -n '$s/^sha256  \(.*\)  (model)$/\1/p' .checks/stdout)"
}

want_listed_digests()
{
    digests_in_python "$DATA/delta-safetensors/model.safetensors" >want
    want_json '{t["name"]: t["sha256"] for t in r["tensors"]} ==
        {line.split("  ")[2]: line.split("  ")[1] for line in open("want").read().splitlines()[:-1]}' \
        'r["model_sha256"] == open("want").read().splitlines()[-1].split("  ")[1]'
}

# One bit anywhere in the elements changes the tensor's line and the model's, and no other.
test_digests_of_one_flipped_bit()
{
    inspect "$DATA/base" --digests
    cp .checks/stdout before
    cp "$DATA/base/model.safetensors" x.safetensors
    chmod u+w x.safetensors
    python3 - <<'PYTHON'
import json, struct
data = bytearray(open("x.safetensors", "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:start])["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0]
data[start + begin + 5] ^= 0x10
open("x.safetensors", "wb").write(data)
PYTHON
    inspect x.safetensors --digests
    want_status 0
    diff before .checks/stdout | sed -n 's/^> sha256  [0-9a-f]*  //p' >differ
    want test "$(tr '\n' ' ' <differ)" = 'model.layers.1.mlp.up_proj.weight (model) '
}

# What carries checksums of its own is held against them on the way: then there are no digests.
test_digests_of_damaged_files()
{
    cp -r "$DATA/delta" model
    chmod -R u+w model
    python3 - <<'PYTHON'
import zipfile
path = "model/pytorch_model-00002-of-00002.bin"
with zipfile.ZipFile(path) as archive:
    info = max(archive.infolist(), key=lambda info: info.file_size if "/data/" in info.filename else 0)
data = bytearray(open(path, "rb").read())
start = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26:info.header_offset + 28], "little") + \
    int.from_bytes(data[info.header_offset + 28:info.header_offset + 30], "little")
data[start + 3] ^= 1
open(path, "wb").write(data)
PYTHON
    inspect model --digests
    want_status 1
    want_empty stdout
    want_stderr 'llavamed-inspect: error: *pytorch_model-00002-of-00002.bin: *CRC-32*'
    inspect model --digests --json
    want_status 1
    want_json 'r["code"] == "CRC_MISMATCH"' 'r["model_sha256"] is None' 'len(r["tensors"]) == 25' \
        'all(t["sha256"] is None for t in r["tensors"])'
    inspect model
    want_status 0
    inspect "$DATA/../cli_archives/damaged.zip" --digests
    want_status_in 1 3
    want_empty stdout
}

test_digests_usage()
{
    inspect "$DATA/base" --digests --max-memory 1KB
    want_status 2
    want_stderr 'llavamed-inspect: error: the memory allowed is too small (got 1000 bytes, want at least 65536)'
    inspect "$DATA/base" --digests --tensors
    want_status 2
    inspect "$DATA/base" --digests -j x
    want_status 2
    inspect "$DATA/base" -q --progress always
    want_status 2
    inspect "$DATA/../safetensors/good/odd-small-types.safetensors" --digests
    want_status 3
    want_stderr 'llavamed-inspect: error: *: the elements of * take less than a byte (F*) and cannot be read'
    want_empty stdout
    make_large x.safetensors 64
    inspect x.safetensors --digests --progress always
    want_status 0
    want test -s .checks/stderr
    run sh -c '"$0" "$1" --digests >/dev/full' "$SCRATCH/llavamed-inspect" "$DATA/base"
    want_status 5
    want_stderr 'llavamed-inspect: error: standard output: cannot write: *'
}

# A signal ends it soon, and nothing is printed of what is not complete.
test_digests_interrupted()
{
    make_large x.safetensors 4096
    run timeout -s INT 0.5 "$SCRATCH/llavamed-inspect" x.safetensors --digests
    want_status_in 124 130
    want_stderr 'llavamed-inspect: error: interrupted by signal 2'
    want_empty stdout
}
