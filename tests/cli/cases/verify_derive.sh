# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-verify --base --delta: a directory is the merge of both, bit for bit, whatever its shards; what is not is
# named with the first element that differs. The changes, with all records made anew, and what must be said of them, are
# Python's (tests/tools/verify_changed.py).

CHANGED=$DATA/../../tools/verify_changed.py

# make_derived OPTION...: a small merge in ./out
make_derived()
{
    rm -rf out
    apply_pair base delta -q "$@"
    want_status 0
}

# derive OPTION...: hold ./out against the merge
derive()
{
    verify out --base "$DATA/base" --delta "$DATA/delta" "$@"
}

# want_changes_found KIND
want_changes_found()
{
    local holds=0
    python3 -B "$CHANGED" "$VERIFY" out "$1" --base "$DATA/base" --delta "$DATA/delta" >changes.txt 2>&1 && holds=1
    note_check $holds "$1: $(tail -n 3 changes.txt | cut -c 1-600)"
    want grep -q '^[1-9][0-9]* changed, 0 not found$' changes.txt
}

# want_derived N: it is, in N tensors
want_derived()
{
    want_status 0
    want_empty stdout
    want_stderr "llavamed-verify: done: out: intact, is BASE + DELTA in all $1 tensors, *"
}

# without_records: nothing in ./out says what it should be
without_records()
{
    rm out/SHA256SUMS out/llavamed-manifest.json
}

test_verify_derive_what_apply_wrote()
{
    local options n
    for options in '' '--max-shard-size 2KB' '--format torch' '--format torch --max-shard-size 4KB' \
        '--format torch --torch-profile 2.13' '--dtype bfloat16' '--dtype float32 --max-shard-size 3KB' \
        '--inv-freq drop'; do
        n=25
        [ "$options" = '--inv-freq drop' ] && n=23
        # shellcheck disable=SC2086
        make_derived $options
        derive
        want_derived $n
        derive -q --json
        want_status 0
        want_json 'r["intact"] is True and r["findings"] == []' \
            'r["compared"]["complete"] is True and r["compared"]["against"] is None' \
            "r['compared']['tensors'] == $n and r['compared']['equal'] == $n" \
            'r["compared"]["dtype"] == json.load(open("out/llavamed-manifest.json"))["options"]["dtype"]' \
            'r["compared"]["inv_freq"] == json.load(open("out/llavamed-manifest.json"))["options"]["inv_freq"]'
    done
}

# The same inputs in other forms, read in any order or from front to back.
test_verify_derive_from_any_source()
{
    local base delta
    make_derived --max-shard-size 2KB
    for base in cli/base-bin cli/base-sharded cli_forms/base-legacy.bin cli_archives/base-deflated.zip; do
        verify out --base "$DATA/../$base" --delta "$DATA/delta"
        want_derived 25
    done
    for delta in cli/delta-safetensors cli_forms/delta-transposed.bin cli_archives/delta-stored.zip \
        cli_archives/delta-deflated.zip; do
        verify out --base-model-path "$DATA/base" --delta-path "$DATA/../$delta"
        want_derived 25
    done
    derive --cpu ref -j 1 --max-memory 1MiB
    want_derived 25
}

test_verify_derive_finds_changes_safetensors()
{
    make_derived --max-shard-size 3KB
    want_changes_found elements
    want_changes_found exchanged
}

test_verify_derive_finds_changes_torch()
{
    make_derived --format torch --max-shard-size 4KB
    want_changes_found elements
    want_changes_found exchanged
}

test_verify_derive_finds_changes_bfloat16()
{
    make_derived --dtype bfloat16
    want_changes_found elements
}

test_verify_derive_finds_changes_float32()
{
    make_derived --dtype float32 --inv-freq drop --max-shard-size 3KB
    want_changes_found elements
}

# A compressed archive is compared as it comes by.
test_verify_derive_finds_changes_from_archive()
{
    make_derived --max-shard-size 3KB
    python3 -B "$CHANGED" "$VERIFY" out elements --base "$DATA/base" \
        --delta "$DATA/../cli_archives/delta-deflated.zip" >changes.txt 2>&1
    want grep -q '^[1-9][0-9]* changed, 0 not found$' changes.txt
}

# Large enough for many tiles on several workers: the first element is the first, in the row and column where it is.
test_verify_derive_names_the_first_of_many()
{
    synth model --scale 0.003
    apply --base model/base --delta model/delta --out out -q
    want_status 0
    verify out --base model/base --delta model/delta -j 3
    want_status 0
    python3 - <<'PYTHON'
import json, struct
with open("out/model.safetensors", "r+b") as file:
    n, = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(n))
    name = "lm_head.weight"
    begin, _ = header[name]["data_offsets"]
    rows, columns = header[name]["shape"]
    for row, column in ((rows - 1, columns - 1), (2700, 3), (2013, columns - 1), (4100, 0)):
        file.seek(8 + n + begin + 2 * (row * columns + column))
        two = file.read(2)
        file.seek(-2, 1)
        file.write(bytes([two[0] ^ 1, two[1]]))
PYTHON
    verify out --base model/base --delta model/delta -j 3 --json
    want_status 1
    want_json '[f["tensor"] for f in r["findings"] if f["code"] == "TENSOR_DIFFERS"] == ["lm_head.weight"]' \
        'any(" in 4 of 2661120 elements, first in [2013, 575], element 1160063 (got " in f["what"]
            for f in r["findings"])'
}

# The manifest says how it was made; without it the options do.
test_verify_derive_options()
{
    make_derived --dtype float32 --inv-freq drop
    derive --dtype float32 --inv-freq drop
    want_derived 23
    derive --dtype float16
    want_status 2
    want_stderr "llavamed-verify: error: --dtype contradicts llavamed-manifest.json * (got float16, want float32)"
    want_stderr 'llavamed-verify: hint: leave --dtype out*'
    derive --inv-freq keep
    want_status 2
    want_stderr "llavamed-verify: error: --inv-freq contradicts * (got keep, want drop)"
    without_records
    derive --dtype float32 --inv-freq drop
    want_derived 23
    want_stderr 'llavamed-verify: warning: neither SHA256SUMS nor llavamed-manifest.json records what *'
    derive
    want_status 1
    want_lines stdout 25 .
    want_lines stdout 23 '^model.safetensors: .* is not as in BASE + DELTA (got F32 \[.*\], want F16 \[.*\])$'
    want_lines stdout 2 '^\.: model\.layers\.[01]\.self_attn\.rotary_emb\.inv_freq: is not there, but in BASE + DELTA$'
    verify out
    want_status 1
}

# Whatever shards somebody else has written.
test_verify_derive_tensors_missing_and_extra()
{
    make_derived
    without_records
    derive --inv-freq drop
    want_status 1
    want_lines stdout 2 .
    want_lines stdout 2 '^model.safetensors: .*inv_freq: is there, but not in BASE + DELTA$'
    derive --inv-freq drop --json
    want_json '[f["code"] for f in r["findings"]] == 2 * ["TENSOR_EXTRA"]' 'r["compared"]["equal"] == 23'
    verify out --base "$DATA/base" --delta "$DATA/delta"
    want_derived 25
    rm out/model.safetensors
    derive
    want_status 1
    want_lines stdout 1 .
    want_lines stdout 1 '^\.: its tensors were not compared: '
}

test_verify_derive_with_damage()
{
    make_derived --max-shard-size 3KB
    python3 -B -c 'import os
name = sorted(n for n in os.listdir("out") if n.endswith(".safetensors"))[0]
with open("out/" + name, "r+b") as file:
    file.seek(-1, 2)
    byte = file.read(1)
    file.seek(-1, 2)
    file.write(bytes([byte[0] ^ 128]))'
    derive --json
    want_status 1
    want_json 'sorted({f["code"] for f in r["findings"]}) == ["FILE_HASH", "TENSOR_CRC", "TENSOR_DIFFERS"]' \
        'len({f["tensor"] for f in r["findings"] if f["tensor"]}) == 1' 'r["compared"]["equal"] == 24'
}

test_verify_derive_bad_inputs()
{
    make_derived
    verify out --base "$DATA/base"
    want_status 2
    want_stderr 'llavamed-verify: error: --delta missing *'
    verify out --delta "$DATA/delta"
    want_status 2
    want_stderr 'llavamed-verify: error: --base missing *'
    verify out --dtype float16
    want_status 2
    want_stderr 'llavamed-verify: error: --dtype is an option of the merge *'
    verify out --inv-freq keep
    want_status 2
    verify out --base nowhere --delta "$DATA/delta"
    want_status 3
    want_stderr 'llavamed-verify: error: nowhere: no such file or directory*'
    want_empty stdout
    verify out --base "$DATA/base" --delta "$DATA/base"
    want_status 4
    verify out --base "$DATA/base-larger-vocabulary" --delta "$DATA/delta" --json
    want_status 4
    want_json 'r["code"] == "PAIR_MISMATCH" and r["intact"] is None and r["compared"]["complete"] is False'
    verify out --base "$DATA/../cli_archives/truncated.zip" --delta "$DATA/delta"
    want_status 3
    verify out --base "$DATA/base" --delta "$DATA/../cli_archives/damaged-stored.zip" --json
    want_status 1
    want_json 'r["code"] == "CRC_MISMATCH" and r["intact"] is None and r["findings"] == []'
    verify nowhere --base "$DATA/base" --delta "$DATA/delta"
    want_status 3
}

# What hashes beside the inputs record is checked as in a merge.
test_verify_derive_checks_recorded_hashes()
{
    make_derived
    cp -r "$DATA/base" base
    (cd base && sha256sum model.safetensors >SHA256SUMS)
    verify out --base base --delta "$DATA/delta"
    want_derived 25
    sed -i 's/^......../00000000/' base/SHA256SUMS
    verify out --base base --delta "$DATA/delta"
    want_status 1
    want_stderr 'llavamed-verify: error: base/model.safetensors: *SHA-256*'
}

# Nothing is written.
test_verify_derive_writes_nothing()
{
    make_derived --format torch
    cp -r "$DATA/base" base
    cp -r "$DATA/delta" delta
    find out base delta -printf '%p %s %T@ %C@\n' | sort >before
    chmod -R a-w out base delta
    verify out --base base --delta delta
    want_derived 25
    chmod -R u+w out base delta
    find out base delta -printf '%p %s %T@\n' | sort >after
    cut -d ' ' -f 1-3 before >before3
    want_same before3 after
}
