# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-inspect: what it lists of each kind of source, by what Python reads of the same tensors; what it refuses.

ROOT=$DATA/../../..

inspect()
{
    run timeout 60 "$SCRATCH/llavamed-inspect" "$@"
}

# want_listed_as SOURCE: stdout, a document, lists the tensors of these safetensors files
want_listed_as()
{
    local holds=0
    python3 "$ROOT/tests/cli/checkpoint.py" "$1" <.checks/stdout >.checks/differs 2>&1 && holds=1
    note_check $holds "not listed as $1: $(head -c 300 .checks/differs)"
}

# want_same_document OTHER KEYS...: stdout and the document in OTHER have the same values of these keys
want_same_document()
{
    local holds=0
    python3 -c 'import json, sys
a, b = (json.load(open(name, encoding="utf-8")) for name in (".checks/stdout", sys.argv[1]))
sort = lambda value: sorted(value, key=str) if isinstance(value, list) else value
sys.exit(any(sort(a[key]) != sort(b[key]) for key in sys.argv[2:]))' "$@" 2>/dev/null && holds=1
    note_check $holds "another document than $1 (of $*)"
}

test_inspect_safetensors()
{
    local source
    for source in "$DATA/base" "$DATA/base/model.safetensors" "$DATA/base-sharded" "$DATA/delta-safetensors" \
        "$DATA/../meta/hf-base" "$DATA/../source/safetensors-sharded" "$DATA/base-larger-vocabulary"; do
        inspect "$source" --json
        want_status 0
        want_empty stderr
        want_listed_as "$source"
        want_json 'r["status"] == 0' 'r["code"] == "ok"' "r['source'] == '$source'" 'r["path"] == r["source"]' \
            'r["format"] == "safetensors"' 'r["release"] is None' 'r["layers"] in (1, 2)' 'not r["in_hub_cache"]'
    done
}

# The same tensors in other forms: files that torch wrote, archives, Meta's layout.
test_inspect_other_forms()
{
    local source
    inspect "$DATA/base-bin" --json
    want_status 0
    want_listed_as "$DATA/base"
    want_json 'r["layout"] == "directory"' 'r["format"] == "torch"' 'r["index"] is None'
    inspect "$DATA/delta" --json
    want_listed_as "$DATA/delta-safetensors"
    want_json 'r["index"] == "pytorch_model.bin.index.json"' '[s["tensors"] for s in r["shards"]] == [12, 13]'
    cp .checks/stdout delta.json
    for source in stored deflated 7z bsdtar flat macos mixed zip64 safetensors-stored safetensors-streamed; do
        inspect "$DATA/../cli_archives/delta-$source.zip" --json
        want_status 0
        want_listed_as "$DATA/delta-safetensors"
        want_json 'r["layout"] == "archive"' \
            'r["archive_bytes"] == os.path.getsize(r["source"])' 'sum(s["tensors"] for s in r["shards"]) == 25'
        want_same_document delta.json config bytes parameters vocabulary hidden_size layers
    done
    for source in "$DATA"/../cli_forms/delta-*.bin; do
        inspect "$source" --json
        want_status 0
        want_listed_as "$DATA/delta-safetensors"
        want_json 'r["layout"] == "file"' 'r["config"]["file"] is None' 'len(r["shards"]) == 1'
    done
    for source in "$DATA/../meta/two" "$DATA/../meta/two/13B"; do
        inspect "$source" --json
        want_status 0
        want_listed_as "$DATA/../meta/hf-base"
        want_json 'r["layout"] == "meta"' 'r["format"] == "meta"' 'r["config"]["file"] == "params.json"' \
            '[s["tensors"] for s in r["shards"]] == [21, 21]' 'all(t["shard"] is None for t in r["tensors"])'
    done
}

# A cache of the hub: what is found there, and the release that the names of its blobs tell.
test_inspect_hub_cache()
{
    local hash=0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0 # of LLaMA-1 7B's first shard
    local repository=hub/models--o--n commit=0123456789012345678901234567890123456789
    mkdir -p $repository/{refs,blobs,snapshots/$commit}
    printf %s $commit >$repository/refs/main
    cp "$DATA/base-bin/pytorch_model.bin" $repository/blobs/$hash
    ln -s ../../blobs/$hash $repository/snapshots/$commit/pytorch_model.bin
    HF_HUB_CACHE=hub inspect o/n --json
    want_status 0
    want_listed_as "$DATA/base"
    want_json 'r["in_hub_cache"]' 'r["source"] == "o/n"' 'r["path"].endswith("/snapshots/'$commit'")' \
        'r["release"] == "LLaMA-1 7B"' "r['shards'][0]['recorded_sha256'] == '$hash'" \
        'r["shards"][0]["recorded_in"] == "the name of its blob in the Hugging Face cache"'
    HF_HUB_CACHE=hub inspect o/n
    want_lines stdout 1 '^release      LLaMA-1 7B, by recorded hashes (not checked here)$'
    want_lines stdout 1 '^found        hub/models--o--n/snapshots/'
    HF_HUB_CACHE=hub inspect o/other
    want_status 3
    want_stderr 'llavamed-inspect: error: o/other: no such file or directory (wanted for the checkpoint)*'
    want_stderr 'llavamed-inspect: hint: hf download o/other'
}

# Shards whose recorded hashes name one release, two, or one and none; the other record is a SHA256SUMS.
test_inspect_releases()
{
    local first=0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0 # LLaMA-1 7B
    local second=461bc5e50200db7813ff99cc0b9316c48ccbd6aaaa31bf8cf7bee0b64bc3eda3
    local larger=dd20cdee2637408c6ab88c13f5c27d153bacd0e99f2d55f6a66fbd0269944436 # 13B
    cp -r "$DATA/base-sharded" model
    chmod -R u+w model
    printf '%s  model-0000%s-of-00002.safetensors\n' $first 1 $second 2 >model/SHA256SUMS
    inspect model --json
    want_status 0
    want_json 'r["release"] == "LLaMA-1 7B"' '{s["recorded_in"] for s in r["shards"]} == {"the SHA256SUMS beside it"}' \
        'not any("recorded" in n for n in r["notes"])'
    printf '%s  model-0000%s-of-00002.safetensors\n' $first 1 $larger 2 >model/SHA256SUMS
    inspect model --json
    want_json 'r["release"] is None' \
        '"recorded hashes name shards of different releases (LLaMA-1 7B and LLaMA-1 13B)" in r["notes"]'
    printf '%s  model-0000%s-of-00002.safetensors\n' $first 1 "${first//0/1}" 2 >model/SHA256SUMS
    inspect model --json
    want_json 'r["release"] is None' '[s["release"] for s in r["shards"]] == ["LLaMA-1 7B", None]' \
        '"recorded hashes name 1 of 2 shards as of LLaMA-1 7B, the others as of no release" in r["notes"]'
    sed -i 1d model/SHA256SUMS
    inspect model
    want_lines stdout 1 '^release      unknown: hashes are recorded of 1 of 2 shards, of no published release$'
}

# What is odd is told, and only that.
test_inspect_notes()
{
    inspect "$DATA/delta-safetensors" --json
    want_json 'r["notes"] == ["2 rotary buffers (inv_freq), which readers compute themselves",
        "2 tensors of an mm_projector: a LLaVA model, or a delta of one",
        "no LLaMA-1 has a width of 8 (4096, 5120, 6656 and 8192 were published)"]'
    inspect "$DATA/../source/safetensors-sharded" --json
    want_json '"model.safetensors.index.json: its total_size is not that of the tensors (got 1, want %d)" % r["bytes"]
        in r["notes"]' 'any(n.startswith("layer 0 has 2 of the 9 weights") for n in r["notes"])' \
        'any(n.startswith("weights of several dtypes: ") for n in r["notes"])' \
        'any("1 tensor without elements (first empty)" in n for n in r["notes"])'
    inspect "$DATA/../source/tied.bin" --json
    want_json 'any("are views of storages that they share" in n for n in r["notes"])'
    inspect "$DATA/../source/strided.bin" --json
    want_json 'any("with strides (transposed, sliced or expanded)" in n for n in r["notes"])'
    cp -r "$DATA/delta-safetensors" model
    chmod -R u+w model
    printf '{"vocab_size": 7, "hidden_size": 9, "num_hidden_layers": 3, "torch_dtype": "bfloat16"}' >model/config.json
    printf '{"<x>": 99}' >model/added_tokens.json
    inspect model --json
    want_status 0
    want_json '"config.json: vocab_size does not fit the tensors (got 7, the rows of model.embed_tokens.weight are 19)"
        in r["notes"]' 'sum("does not fit the tensors" in n for n in r["notes"]) == 3' \
        '"config.json speaks of bfloat16, the weights are float16" in r["notes"]' \
        'any(n.startswith("added_tokens.json: the added tokens do not fit") for n in r["notes"])' \
        'r["config"]["vocabulary"] == 7' 'r["vocabulary"] == 19' 'r["layers"] == 2' 'r["config"]["layers"] == 3'
    printf 'no' >model/config.json
    rm model/added_tokens.json
    inspect model --json
    want_status 0
    want_json '"config.json: not a JSON object of at most 1048576 bytes" in r["notes"]' 'r["config"]["file"] is None'
    rm model/config.json
    inspect model --json
    want_json '"there is no config.json" in r["notes"]'
}

test_inspect_table()
{
    inspect "$DATA/delta" --tensors
    want_status 0
    want_empty stderr
    want_lines stdout 1 '^layout       a directory, torch, 2 shards, pytorch_model.bin.index.json$'
    want_lines stdout 1 '^bytes                    4240  (4.24 KB)$'
    want_lines stdout 1 '^parameters               2112  (2.11 thousand)$'
    want_lines stdout 1 '^   2  pytorch_model-00002-of-00002.bin  *13  *[0-9]* '
    want_lines stdout 1 '^  F16    \[19, 8\]    304      1  model.embed_tokens.weight$'
    want_lines stdout 25 '^  F[0-9]*  '
    inspect "$DATA/delta"
    want_lines stdout 0 'model.norm.weight'
    inspect "$DATA/delta" -q
    want_status 0
    want_empty stdout
    want_empty stderr
    inspect --version
    want_status 0
    want_lines stdout 1 '^llavamed-inspect [0-9.]*$'
    inspect --help
    want_status 0
    want_lines stdout 1 '^Usage: llavamed-inspect SOURCE'
}

# Names that a terminal would obey: not in the table, whole in the document.
test_inspect_hostile_names()
{
    python3 -c 'import json, struct
names = ["a\x1b[2Jb", "\u202egnp", "n" * 1000, "\u00e4\n\u2028"]
rows = {name: {"dtype": "F16", "shape": [2], "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(names)}
text = json.dumps(rows, ensure_ascii=False).encode()
open("x.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + bytes(16))'
    inspect x.safetensors --tensors
    want_status 0
    want python3 -c 'import unicodedata
lines = open(".checks/stdout", encoding="utf-8").read().split("\n")
assert all(len(line) <= 100 for line in lines)
assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for line in lines for c in line)'
    inspect x.safetensors --json
    want_json '[t["name"] for t in r["tensors"]] == ["a\x1b[2Jb", "\u202egnp", "n" * 1000, "\u00e4\n\u2028"]'
    want python3 -c 'import unicodedata
text = open(".checks/stdout", encoding="utf-8").read().replace("\n", "")
assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text)'
}

test_inspect_usage()
{
    inspect
    want_status 2
    want_stderr 'llavamed-inspect: error: no SOURCE is given'
    want_empty stdout
    inspect "$DATA/base" --tensor
    want_status 2
    want_stderr "llavamed-inspect: error: *--tensor*"
    inspect "$DATA/base" --unknown --json
    want_status 2
    want_json 'r["status"] == 2' 'r["code"] == "USAGE"' 'r["tensors"] == []'
    inspect missing --json
    want_status 3
    want_json 'r["status"] == 3' 'r["code"] == "INPUT_MISSING"' 'r["path"] is None' 'r["layout"] is None' \
        'r["message"] == "missing: no such file or directory (wanted for the checkpoint)"'
}

# Of each bad input the one error that llavamed-apply gives, with its status and its hint.
test_inspect_refuses_as_apply_does()
{
    local source n=0
    for source in "$DATA"/../refused/* "$DATA"/../refused/*/* "$DATA"/../cli_archives/* "$DATA"/../archive/bad/* \
        "$DATA"/../torch/bad/* "$DATA"/../safetensors/bad/* "$DATA"/../source/* "$DATA"/../forms/*.pt; do
        apply --base "$source" --delta "$DATA/delta" --out out -n --verify none
        # Status 4, and what a plan refuses, is about the two together.
        # shellcheck disable=SC2154
        if [ "$status" = 0 ] || [ "$status" = 4 ] || grep -q 'be merged$' .checks/stderr; then
            continue
        fi
        n=$((n + 1))
        sed -n 's/^llavamed-apply: \(error\|hint\): //p' .checks/stderr | sed 's/for the base/for the checkpoint/' >want
        echo "$status" >>want
        inspect "$source" -q
        sed -n 's/^llavamed-inspect: \(error\|hint\): //p' .checks/stderr >got
        echo "$status" >>got
        want_empty stdout
        if ! cmp -s got want; then
            note_check 0 "$source: got $(head -c 300 got), want $(head -c 300 want)"
        fi
    done
    want test $n -ge 100
}
