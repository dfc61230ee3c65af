# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-verify --identify: the hashes of all files of a source, which are those of sha256sum, and the release they
# are of. Published weights are not at hand: what they are together is judged in tests/unit/test_identity.c; here are
# the small files of releases, which tests/data/published has, and weights that nobody knows.

PUBLISHED=$DATA/../published

# want_hashes DIR NAME...: the lines but for the verdict are those of sha256sum for these files below DIR
want_hashes()
{
    local dir=$1
    shift
    (cd "$dir" && sha256sum "$@") >wanted
    sed -n 's/^sha256  \([0-9a-f]*\)  \([^ ]*\)  .*$/\1  \2/p' .checks/stdout >got
    want_same wanted got
    want_lines stdout "$(($# + 1))" .
}

test_identify_unknown()
{
    verify --identify "$DATA/base-sharded"
    want_status 4
    # shellcheck disable=SC2046
    want_hashes "$DATA/base-sharded" $(ls "$DATA/base-sharded")
    want_lines stdout 1 '^verdict  unknown$'
    want_stderr 'llavamed-verify: error: */base-sharded: no weights file in it is one of a published release *'
    verify --identify "$DATA/base-sharded" --json -j 1
    want_status 4
    want_json 'r["code"] == "IDENTITY_UNKNOWN" and r["verdict"] == "unknown" and r["release"] is None' \
        'r["found"] == r["wanted"] == 0 and all(f["release"] is None for f in r["files"])' \
        'r["bytes"]["read"] == sum(f["bytes"] for f in r["files"])'
}

test_identify_published_files()
{
    local name
    for name in config.json generation_config.json special_tokens_map.json tokenizer_config.json; do
        verify --identify "$PUBLISHED/llama-7b/$name"
        want_status 0
        want_empty stderr
        want_hashes "$PUBLISHED/llama-7b" $name
        want_lines stdout 1 '^verdict  file  LLaMA-1.*$'
    done
    verify --identify "$PUBLISHED/llama-13b/config.json"
    want_lines stdout 1 '^sha256  [0-9a-f]*  config.json  LLaMA-1 13B$'
    verify --identify "$PUBLISHED/vicuna-7b-v1.1/config.json" --json
    want_status 0
    want_json 'r["verdict"] == "file" and r["release"] == "Vicuna 7B v1.1" and r["intact"] if "intact" in r else True' \
        'r["files"][0]["released_name"] == "config.json"'
    cp "$PUBLISHED/llama-7b/config.json" renamed
    verify --identify renamed
    want_status 0
    want_lines stdout 1 '^sha256  [0-9a-f]*  renamed  LLaMA-1 7B$'
    printf ' ' >>renamed
    verify --identify renamed
    want_status 4
    want_lines stdout 1 '^sha256  [0-9a-f]*  renamed  unknown$'
    # Small files alone do not make a model.
    verify --identify "$PUBLISHED/llama-7b"
    want_status 4
    want_lines stdout 4 '^sha256 .*LLaMA-1'
    want_lines stdout 1 '^verdict  unknown$'
}

# The folder above the sizes, as Meta released it: params.json is known by its bytes and its length.
test_identify_meta()
{
    mkdir -p llama/7B llama/13B llama/other
    printf '{"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-06, "vocab_size": -1}' \
        >llama/7B/params.json
    printf '{"dim": 5120, "multiple_of": 256, "n_heads": 40, "n_layers": 40, "norm_eps": 1e-06, "vocab_size": -1}' \
        >llama/13B/params.json
    echo weights >llama/7B/consolidated.00.pth
    echo x >llama/other/file
    echo x >llama/.hidden
    echo x >llama/tokenizer.model
    verify --identify llama
    want_status 4
    want_hashes llama tokenizer.model 13B/params.json 7B/consolidated.00.pth 7B/params.json
    want_lines stdout 1 '  7B/params.json  LLaMA-1 7B$'
    want_lines stdout 1 '  13B/params.json  LLaMA-1 13B$'
    want_lines stdout 1 '  7B/consolidated.00.pth  unknown$'
}

# What lies in an archive, stored and deflated, by Python's zipfile.
test_identify_archives()
{
    local name
    for name in delta-stored delta-deflated delta-mixed delta-zip64; do
        verify --identify "$DATA/../cli_archives/$name.zip"
        want_status 4
        python3 -B - "$DATA/../cli_archives/$name.zip" >wanted <<'PYTHON'
import hashlib, os, sys, zipfile
archive = os.path.basename(sys.argv[1])
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), archive)
with zipfile.ZipFile(sys.argv[1]) as file:
    weights = next(n for n in file.namelist() if n.endswith((".bin", ".safetensors")))
    folder = weights.rpartition("/")[0] + "/" if "/" in weights else ""
    for entry in sorted(file.namelist()):
        if entry.startswith(folder) and "/" not in entry[len(folder):] and entry != folder:
            print(hashlib.sha256(file.read(entry)).hexdigest(), archive + "/" + entry[len(folder):])
PYTHON
        sed -n 's/^sha256  \([0-9a-f]*\)  \([^ ]*\)  .*$/\1 \2/p' .checks/stdout >got
        want_same wanted got
    done
    mkdir small
    cp "$PUBLISHED"/llama-7b/* small
    python3 -B -c 'import os, zipfile
with zipfile.ZipFile("small.zip", "w", zipfile.ZIP_DEFLATED) as file:
    for name in sorted(os.listdir("small")):
        file.write("small/" + name, "small/" + name)'
    verify --identify small.zip
    want_status 4
    want_lines stdout 1 '  small.zip/config.json  LLaMA-1 7B$'
    verify --identify "$DATA/../cli_archives/damaged.zip"
    want_status 3
    want_empty stdout
    want_stderr 'llavamed-verify: error: */damaged.zip/*zip: damaged deflate data *'
}

# Not weights, not whole, of no form: a file has a hash all the same.
test_identify_any_file()
{
    : >empty
    printf 'PK\3\4nothing more' >broken.zip
    verify --identify empty
    want_status 4
    want_lines stdout 1 '^sha256  e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty  unknown$'
    verify --identify broken.zip
    want_status 4
    want_hashes . broken.zip
    verify --identify "$DATA/../cli_archives/truncated.zip"
    want_status 4
    want_lines stdout 2 .
    mkdir dir
    # shellcheck disable=SC1003
    printf x >'dir/a\b'
    printf x >"dir/$(printf 'line\nfeed')"
    verify --identify dir
    want_status 4
    want_lines stdout 1 '  line?feed  unknown$'
    want_lines stdout 3 .
}

test_identify_hub_cache()
{
    local commit=0123456789abcdef0123456789abcdef01234567
    local snapshot=hub/models--org--llama/snapshots/$commit
    mkdir -p $snapshot hub/models--org--llama/refs hub/models--org--llama/blobs
    printf '%s' $commit >hub/models--org--llama/refs/main
    cp "$PUBLISHED/llama-7b/config.json" hub/models--org--llama/blobs/one
    ln -s ../../blobs/one $snapshot/config.json
    export HF_HUB_CACHE=$PWD/hub
    verify --identify org/llama
    want_status 4
    want_lines stdout 1 '^sha256  [0-9a-f]*  config.json  LLaMA-1 7B$'
    echo secret >outside
    ln -s ../../../../outside $snapshot/model.safetensors
    verify --identify org/llama
    want_status 3
    want_empty stdout
    verify --identify org/nothing
    want_status 3
    want_stderr 'llavamed-verify: hint: *hf download org/nothing*'
}

test_identify_bad_inputs()
{
    mkdir none
    verify --identify none
    want_status 3
    want_stderr 'llavamed-verify: error: none: there are no files in it'
    verify --identify nowhere
    want_status 3
    want_stderr 'llavamed-verify: error: nowhere: no such file or directory'
    verify --identify nowhere --json
    want_status 3
    want_json 'r["verdict"] is None and r["files"] == [] and r["code"] == "INPUT_MISSING"'
    mkfifo pipe
    verify --identify pipe
    want_status 3
    verify --identify ''
    want_status 2
    verify --identify
    want_status 2
    verify none --identify none
    want_status 2
    verify --identify none --against none
    want_status 2
    verify --identify none --max-memory 1GB
    want_status 2
    echo x >unreadable
    chmod 000 unreadable
    run_unprivileged "$VERIFY" --identify unreadable
    want_status 3
}
