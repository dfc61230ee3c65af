# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-verify --against: a directory has the tensors of another checkpoint, in whatever form that is; what differs
# is named with its first element. Changes, and what must be said of them, are Python's (tests/tools/verify_changed.py).

CHANGED=$DATA/../../tools/verify_changed.py

# make_pair OPTION...: the same merge in ./out with these options, in ./other without
make_pair()
{
    rm -rf out other
    apply --base "$DATA/base" --delta "$DATA/delta" --out other -q
    want_status 0
    apply_pair base delta -q "$@"
    want_status 0
}

# want_against SOURCE N: it is, in N tensors
want_against()
{
    verify out --against "$1"
    want_status 0
    want_empty stdout
    want_stderr "llavamed-verify: done: out: intact, is $1 in all $2 tensors, *"
}

# want_finding TENSOR GLOB: such a line is on stdout, of model.safetensors
want_finding()
{
    local line holds=0 start="model.safetensors: $1: "
    while IFS= read -r line; do
        # shellcheck disable=SC2053
        [[ ${line:0:${#start}} == "$start" && ${line:${#start}} == $2 ]] && holds=1
    done <.checks/stdout
    note_check $holds "no finding '$start$2': $(head -n 4 .checks/stdout | tr '\n' ' ')"
}

# zip_of DIR METHOD: DIR.zip, the files of DIR in a folder of it, by Python's zipfile
zip_of()
{
    python3 -B - "$1" "$2" <<'PYTHON'
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1] + ".zip", "w", getattr(zipfile, sys.argv[2])) as archive:
    for name in sorted(os.listdir(sys.argv[1])):
        archive.write(os.path.join(sys.argv[1], name), "model/" + name)
PYTHON
}

test_verify_against_every_form()
{
    local options
    for options in '' '--format torch --max-shard-size 4KB' '--max-shard-size 2KB'; do
        # shellcheck disable=SC2086
        make_pair $options
        want_against other 25
        want_against other/model.safetensors 25
        zip_of other ZIP_STORED
        want_against other.zip 25
        zip_of other ZIP_DEFLATED
        want_against other.zip 25
        rm -rf other
        apply --base "$DATA/base" --delta "$DATA/delta" --out other -q --format torch --max-shard-size 4KB
        want_against other 25
        zip_of other ZIP_DEFLATED
        want_against other.zip 25
    done
    verify out --against other.zip -q --json -j 1 --max-memory 1MiB
    want_status 0
    want_json 'r["intact"] is True and r["compared"] == {"base": None, "delta": None, "against": "other.zip",
        "dtype": None, "inv_freq": None, "complete": True, "tensors": 25, "equal": 25}'
}

# Directories of others, in their forms: without records the tensors alone are compared.
test_verify_against_without_records()
{
    local source
    cp -r "$DATA/base" out
    for source in "$DATA/base-bin" "$DATA/base-sharded" "$DATA/../cli_forms/base-legacy.bin" \
        "$DATA/../cli_forms/base-transposed.bin" "$DATA/../cli_archives/base-deflated.zip"; do
        want_against "$source" 23
        want_stderr 'llavamed-verify: warning: neither SHA256SUMS nor llavamed-manifest.json records *'
    done
}

# Meta's layout, joined and with its rows in the order of Hugging Face: the same tensors.
test_verify_against_meta()
{
    cp -r "$DATA/../meta/hf-base" out
    verify out --against "$DATA/../meta/two"
    want_status 0
    want_empty stdout
    verify "$DATA/../meta/two/13B" --against out --json
    want_status 0
    want_json 'r["compared"]["equal"] == r["compared"]["tensors"] > 20'
    python3 -B - <<'PYTHON'
import json, struct
with open("out/model.safetensors", "r+b") as file:
    n, = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(n))
    name = "model.layers.0.self_attn.k_proj.weight"
    begin, _ = header[name]["data_offsets"]
    columns = header[name]["shape"][1]
    file.seek(8 + n + begin + 2 * (3 * columns + 2))
    file.write(b"\x34\x12")
PYTHON
    verify out --against "$DATA/../meta/two"
    want_status 1
    want_lines stdout 1 .
    want_finding model.layers.0.self_attn.k_proj.weight \
        'differs from * in 1 of * elements, first in \[3, 2\], element * (got * 0x1234, want * 0x????)'
}

test_verify_against_hub_cache()
{
    local hub=hub/models--org--made/snapshots/0123456789abcdef0123456789abcdef01234567
    make_pair --max-shard-size 3KB
    mkdir -p $hub hub/models--org--made/refs hub/models--org--made/blobs
    printf '0123456789abcdef0123456789abcdef01234567' >hub/models--org--made/refs/main
    cp other/model.safetensors hub/models--org--made/blobs/"$(sha256sum <other/model.safetensors | cut -d' ' -f1)"
    ln -s ../../blobs/"$(sha256sum <other/model.safetensors | cut -d' ' -f1)" $hub/model.safetensors
    export HF_HUB_CACHE=$PWD/hub
    want_against org/made 25
    verify out --against org/other
    want_status 3
    want_stderr 'llavamed-verify: hint: *hf download org/other*'
}

test_verify_against_finds_changes()
{
    local kind
    make_pair --max-shard-size 3KB
    for kind in elements exchanged; do
        python3 -B "$CHANGED" "$VERIFY" out $kind --against other >changes.txt 2>&1
        note_check $((1 - $?)) "$kind: $(tail -n 3 changes.txt | cut -c 1-600)"
        want grep -q '^[1-9][0-9]* changed, 0 not found$' changes.txt
    done
    make_pair --format torch
    zip_of other ZIP_DEFLATED
    python3 -B "$CHANGED" "$VERIFY" out elements --against other.zip >changes.txt 2>&1
    want grep -q '^[1-9][0-9]* changed, 0 not found$' changes.txt
}

# Integers of every width, bool, eight-bit and half-byte types, a scalar, no elements: what a merge never sees.
test_verify_against_any_dtype()
{
    mkdir a b
    python3 -B - <<'PYTHON'
import json, struct
form = [("i8", "I8", [3], b"\1\2\3"), ("u16", "U16", [2], b"\1\2\3\4"), ("i64", "I64", [2, 1], bytes(15) + b"\x80"),
        ("flag", "BOOL", [2], b"\0\1"), ("f64", "F64", [], struct.pack("<d", 0.1)), ("c64", "C64", [1], bytes(8)),
        ("f8", "F8_E4M3", [2, 2], b"\1\2\3\4"), ("f4", "F4", [4], b"\x12\x34"), ("none", "F32", [0, 3], b"")]
def write(path, change):
    header, data = {}, b""
    for name, dtype, shape, content in form:
        content = change(name, content)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
write("a/model.safetensors", lambda name, content: content)
write("b/model.safetensors", lambda name, content: content if name in ("none", "f4") else content[:-1] + b"\x55")
PYTHON
    verify a --against a/model.safetensors
    want_status 1
    want_lines stdout 1 .
    want_lines stdout 1 '^model.safetensors: f4: is of a dtype of less than a byte (F4), which cannot be compared$'
    verify a --against b --json
    want_status 1
    want_json '[f["code"] for f in r["findings"]].count("TENSOR_DIFFERS") == 7' \
        'r["compared"]["tensors"] == 8 and r["compared"]["equal"] == 1'
    verify a --against b
    want_finding i8 'differs from b in 1 of 3 elements, first in \[2\], element 2 (got 3 0x03, want 85 0x55)'
    want_finding f64 '* first in \[\], element 0 (got 0.1* 0x3fb999999999999a, want * 0x55b999999999999a)'
    want_finding i64 '* first in \[1, 0\], element 1 (got -9223372036854775808 0x8000000000000000, want 61*'
    want_finding flag '* (got 1 0x01, want 85 0x55)'
    want_finding f8 '* first in \[1, 1\], element 3 (got 0x04, want 0x55)'
}

test_verify_against_other_tensors()
{
    cp -r "$DATA/base" out
    verify out --against "$DATA/base-wrong"
    want_status 1
    want_lines stdout 4 .
    want_lines stdout 1 '^\.: model.surplus.weight: is not there, but in .*/base-wrong$'
    want_finding model.layers.0.self_attn.v_proj.weight 'is there, but not in */base-wrong'
    want_finding model.layers.1.self_attn.v_proj.weight 'is there, but not in */base-wrong'
    want_finding model.norm.weight 'is not as in */base-wrong (got F16 \[8\], want F16 \[9\])'
    verify out --against "$DATA/base-wrong" --json
    want_json '{f["code"] for f in r["findings"]} == {"TENSOR_MISSING", "TENSOR_EXTRA", "TENSOR_FORM"}' \
        'r["intact"] is False and r["compared"]["tensors"] == 20 and r["compared"]["equal"] == 20'
}

# Which weights were compared is told where there are several.
test_verify_against_tells_the_choice()
{
    cp -r "$DATA/base" out
    cp "$DATA"/base-bin/pytorch_model* out
    verify out --against "$DATA/base-sharded" -v
    want_status 0
    want_stderr 'llavamed-verify: note: out: *safetensors*'
}

test_verify_against_bad_inputs()
{
    make_pair
    verify out --against nowhere
    want_status 3
    want_empty stdout
    verify out --against "$DATA/../cli_archives/truncated.zip"
    want_status 3
    verify out --against "$DATA/../cli_archives/damaged-stored.zip"
    want_status 1
    want_stderr 'llavamed-verify: error: *CRC-32*'
    verify out --against other --base other
    want_status 2
    want_stderr 'llavamed-verify: error: --against contradicts --base'
    verify out --against other --cpu ref
    want_status 2
    verify nowhere --against other
    want_status 3
    verify out --against
    want_status 2
}
