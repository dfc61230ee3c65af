# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-apply --digests: the digests of docs/digests.md, in the manifest and --json, are those that Python computes
# of the files (tests/cli/digests.py), and llavamed-verify holds the files against them.

DIGESTS=$DATA/../../cli/digests.py

digests()
{
    python3 -B "$DIGESTS" "$@"
}

# want_digests DIR: those in its manifest are those of its files, and llavamed-inspect's; ./hashed has them then
want_digests()
{
    digests hash "$1" >hashed
    digests recorded "$1" >from-manifest
    want test "$(grep -c '^sha256  [0-9a-f]\{64\}  ' hashed)" -ge 20
    want cmp hashed from-manifest
    "$SCRATCH/llavamed-inspect" --digests -q "$1" >inspected
    want cmp hashed inspected
}

# merge OPTION...: of ./m, with digests, to ./out; its document is in ./document
merge()
{
    rm -rf out
    apply --base m/base --delta m/delta --out out --digests --json -q "$@"
    want_status 0
    cp .checks/stdout document
    want_digests out
    digests reported document >from-json
    want cmp hashed from-json
}

copy_models()
{
    mkdir m
    cp -r "$DATA/base" m/base
    cp -r "$DATA/delta" m/delta
}

test_digests_of_the_result()
{
    local options
    copy_models
    merge
    cp hashed all
    for options in '--max-shard-size 1KB -j 4' '--format torch' '--format torch --max-shard-size 2KB -j 1' \
        '--format torch --torch-profile 2.13' '--max-memory 320KiB' '--verify full' '--cpu ref -j 3'; do
        # shellcheck disable=SC2086
        merge $options
        want cmp hashed all
    done
    for options in '--dtype float32' '--dtype bfloat16 --format torch' '--inv-freq drop'; do
        # shellcheck disable=SC2086
        merge $options
        want test "$(tail -n 1 hashed)" != "$(tail -n 1 all)"
    done
}

test_digests_of_all_dtypes()
{
    digests pair m
    merge
    cp hashed all
    want grep -q '  x.bool.1.' all
    want test "$(wc -l <all)" -eq 66
    merge --format torch -j 4
    want cmp hashed all
    merge --format torch --torch-profile 2.13 --max-shard-size 300
    want cmp hashed all
    merge --max-shard-size 200 -j 4
    want cmp hashed all
}

# Nothing but the digests is more, in the manifest and in the card; without the option there are none.
test_digests_are_all_that_is_more()
{
    local form
    copy_models
    for form in safetensors torch; do
        merge --format $form
        rm -rf plain
        apply --base m/base --delta m/delta --out plain --format $form --json -q
        want_status 0
        want_json 'r["result"]["digests"] == [] and r["result"]["model_sha256"] is None'
        want test "$(grep -c model_sha256 plain/llavamed-manifest.json)" = 0
        digests without out | grep -v '"name": "README.md"' >manifest
        grep -v '"name": "README.md"' plain/llavamed-manifest.json >plain-manifest
        want cmp manifest plain-manifest
        want diff -r -x llavamed-manifest.json -x SHA256SUMS -x README.md out plain
        diff plain/README.md out/README.md | grep '^[<>] .' >more.txt
        want test "$(wc -l <more.txt)" -eq 3
        want grep -q '^>   model_sha256: "[0-9a-f]*"$' more.txt
        want grep -q '^> The digest of the model, ' more.txt
        want grep -q '^> (.llavamed-inspect --digests. computes it)' more.txt
        cp out/SHA256SUMS sums
        merge --format $form
        want cmp sums out/SHA256SUMS
    done
    apply --base m/base --delta m/delta --out none --digests -n --json
    want_status 0
    want_json 'r["result"]["digests"] == [] and r["result"]["model_sha256"] is None'
    want test ! -e none
    apply --base m/base --delta m/delta --out out --digests --force
    want_status 0
    want_stderr "llavamed-apply: digest: $(tail -n 1 hashed)"
    want_digests out
}

# Tensors of many tiles, and tiles of many sizes.
test_digests_any_threads_and_memory()
{
    local options
    synth m --scale 0.004
    merge -j 1
    cp hashed all
    cp out/llavamed-manifest.json manifest
    for options in '-j 4 --max-memory 2MiB' '-j 1 --max-memory 320KiB' '-j 4' '-j 16 --max-memory 64MiB --cpu ref'; do
        # shellcheck disable=SC2086
        merge $options
        want cmp hashed all
        want cmp out/llavamed-manifest.json manifest
    done
    merge -j 4 --max-shard-size 10MB
    want cmp hashed all
    merge -j 4 --format torch --max-memory 1MiB
    want cmp hashed all
}

test_digests_from_archives()
{
    local archive options
    copy_models
    merge
    cp hashed all
    cp -r out plain
    for archive in delta-deflated delta-stored delta-mixed; do
        for options in '-j 1' '-j 4 --max-memory 16MiB' '--verify full' '--max-memory 320KiB -j 1'; do
            cp "$DATA/../cli_archives/$archive.zip" m/archive.zip
            rm -rf out
            # shellcheck disable=SC2086
            apply --base m/base --delta m/archive.zip --out out --digests -q $options
            want_status 0
            want_digests out
            want cmp hashed all
        done
    done
    rm -rf out
    apply --base m/base --delta m/archive.zip --out out --digests -q --format torch --max-shard-size 3KB
    want_digests out
    want cmp hashed all
    rm -rf out
    apply --base "$DATA/../cli_archives/base-deflated.zip" --delta m/delta --out out --digests -q
    want_status 0
    want_digests out
    want cmp hashed all
    # Many tiles, read back in pieces.
    rm -rf m out
    synth m --scale 0.004
    merge
    cp hashed all
    (cd m && python3 -m zipfile -c archive.zip delta/)
    apply --base m/base --delta m/archive.zip --out other --digests -q -j 3 --max-memory 4MiB
    want_status 0
    want_digests other
    want cmp hashed all
}

# stop_in_the_middle OPTION...: of ./m, killed once its journal has 12000 bytes
stop_in_the_middle()
{
    local i=0 pid
    "$PROGRAM" --base m/base --delta m/delta --out out --cpu ref -j 2 --max-memory 2MiB -q "$@" \
        >.checks/stdout 2>.checks/stderr &
    pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt 12000 ] && [ ! -e out ] &&
        [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test ! -e out
}

# go_on OPTION...: keeps what is written, and starts over for nothing
go_on()
{
    apply --base m/base --delta m/delta --out out -q --json "$@"
    want_status 0
    want_json 'r["bytes"]["reused"] > 8000000' 'r["started_over"] is None'
}

# Digests do not change the shards: a run with them goes on where one without was, and the other way round.
test_digests_after_a_kill()
{
    local options
    synth m --scale 0.006
    for options in '' '--format torch'; do
        rm -rf whole plain
        # shellcheck disable=SC2086
        apply --base m/base --delta m/delta --out whole -q --digests $options
        # shellcheck disable=SC2086
        apply --base m/base --delta m/delta --out plain -q $options
        # shellcheck disable=SC2086
        stop_in_the_middle --digests $options
        # shellcheck disable=SC2086
        go_on --digests -j 3 --max-memory 64MiB $options
        want diff -r out whole
        rm -rf out
        # shellcheck disable=SC2086
        stop_in_the_middle $options
        # shellcheck disable=SC2086
        go_on --digests $options
        want diff -r out whole
        want_digests out
        rm -rf out
        # shellcheck disable=SC2086
        stop_in_the_middle --digests $options
        # shellcheck disable=SC2086
        go_on $options
        want diff -r out plain
        rm -rf out
    done
}

# Kept tiles that are damaged are made anew, and the digests are of what is there then.
test_digests_after_a_kill_and_damage()
{
    synth m --scale 0.006
    apply --base m/base --delta m/delta --out whole -q --digests
    stop_in_the_middle
    python3 -c 'with open("out.partial/model.safetensors", "r+b") as file:
    file.seek(3 << 20)
    file.write(b"damage")'
    go_on --digests
    want diff -r out whole
}

test_digests_of_several_outputs()
{
    local name names='a b c d' pairs=()
    for name in $names; do
        ln -s "$DATA/delta" "$name"
    done
    rm b && ln -s "$DATA/delta-safetensors" b
    rm c && ln -s "$DATA/base-nan" c
    cp "$DATA/../cli_archives/delta-deflated.zip" d.zip && rm d && mv d.zip d
    for name in $names; do
        apply --base "$DATA/base" --delta "$name" --out "want-$name" -q --digests --allow-unknown-base
        want_status 0
        want_digests "want-$name"
        pairs+=(--delta "$name" --out "out-$name")
    done
    apply --base "$DATA/base" "${pairs[@]}" --digests --allow-unknown-base --json
    want_status 0
    for name in $names; do
        want diff -r "out-$name" "want-$name"
    done
    want_lines stderr 4 'digest: sha256  [0-9a-f]*  (model)$'
    want_json 'all(o["result"]["model_sha256"] ==
        json.load(open(o["out"] + "/llavamed-manifest.json"))["result"]["model_sha256"] for o in r["outputs"])' \
        'all(len(o["result"]["digests"]) == o["result"]["tensors"] for o in r["outputs"])' \
        'len({o["result"]["model_sha256"] for o in r["outputs"]}) == 2'
}

# ---- llavamed-verify ----

# edit PYTHON: changes the manifest m (tensors by name in t) of ./out, made anew from ./whole; nothing else
edit()
{
    rm -rf out && cp -r whole out
    python3 - "$1" <<'PYTHON'
import json, sys
path = "out/llavamed-manifest.json"
m = json.load(open(path, encoding="utf-8"))
t = {row["name"]: row for row in m["tensors"]}
exec(sys.argv[1])
json.dump(m, open(path, "w", encoding="utf-8"))
PYTHON
    (cd out && sed -i "s/^.*  llavamed-manifest.json$/$(sha256sum llavamed-manifest.json)/" SHA256SUMS)
}

# want_found N CODE FILE TENSOR GLOB...: N findings; for each four such a one
want_found()
{
    local n=$1
    shift
    verify out --json -q
    want_status 1
    want_json "r['n_findings'] == $n"
    while [ $# -gt 0 ]; do
        python3 - "$@" <<'PYTHON' >found 2>&1
import fnmatch, json, sys
code, file, tensor, what = sys.argv[1:5]
findings = json.load(open(".checks/stdout", encoding="utf-8"))["findings"]
print(any(f["code"] == code and f["file"] == file and (f["tensor"] or "") == tensor and
          fnmatch.fnmatchcase(f["what"], what) for f in findings) or findings)
PYTHON
        note_check "$([ "$(cat found)" = True ] && echo 1 || echo 0)" "no finding $1 $2 $3 $4: $(cut -c 1-700 found)"
        shift 4
    done
}

make_whole()
{
    copy_models
    merge "$@"
    rm -rf whole
    mv out whole
    verify whole --json -q
    want_status 0
    want_json 'r["digests_checked"] == r["tensors_checked"] == 25'
}

test_digests_verified_records()
{
    local options manifest=llavamed-manifest.json
    for options in '' '--format torch --max-shard-size 4KB'; do
        rm -rf m
        # shellcheck disable=SC2086
        make_whole $options
        edit 't["lm_head.weight"]["sha256"] = "7" * 64'
        want_found 1 TENSOR_DIGEST $manifest lm_head.weight \
            'the recorded digest is not that of its bytes in *, which is as recorded (got *, want 7777*)'
        edit 'a, b = t["lm_head.weight"], t["model.embed_tokens.weight"]
a["sha256"], b["sha256"] = b["sha256"], a["sha256"]'
        want_found 2 TENSOR_DIGEST $manifest lm_head.weight '*; it is recorded for model.embed_tokens.weight' \
            TENSOR_DIGEST $manifest model.embed_tokens.weight '*; it is recorded for lm_head.weight'
        edit 'm["result"]["model_sha256"] = "0" * 64'
        want_found 1 RECORD_WRONG $manifest '' 'its digest of the model is not that of * (got 000*, want *)'
        edit 't["lm_head.weight"]["sha256"] = "7" * 64; m["result"]["model_sha256"] = "0" * 64'
        want_found 2 TENSOR_DIGEST $manifest lm_head.weight '*' RECORD_WRONG $manifest '' '*'
        edit 'del t["lm_head.weight"]["sha256"]'
        want_found 1 RECORD_INCOMPLETE $manifest lm_head.weight 'has no digest there, as 24 of 25 tensors have'
        edit 'del m["result"]["model_sha256"]'
        want_found 1 RECORD_INCOMPLETE $manifest '' 'has digests of tensors, and none of the model'
        edit 'for row in m["tensors"]: del row["sha256"]'
        want_found 1 RECORD_INCOMPLETE $manifest '' 'has a digest of the model, and none of its tensors'
        edit 't["lm_head.weight"]["sha256"] = t["lm_head.weight"]["sha256"].upper()'
        want_found 1 RECORD_INVALID $manifest '' "*'sha256' of tensor lm_head.weight*"
        edit 't["lm_head.weight"]["sha256"] = None'
        want_found 1 RECORD_INVALID $manifest '' "*'sha256' of tensor lm_head.weight*"
        edit 'm["result"]["model_sha256"] = 7'
        want_found 1 RECORD_INVALID $manifest '' '*its digest of the model is not one'
        edit 'for row in m["tensors"]: del row["sha256"]
del m["result"]["model_sha256"]'
        verify out --json -q
        want_status 0
        want_json 'r["digests_checked"] == 0 and r["tensors_checked"] == 25'
    done
}

# The form is part of a digest.
test_digests_verified_forms()
{
    make_whole
    edit 't["lm_head.weight"]["dtype"] = "BF16"'
    want_found 1 TENSOR_FORM llavamed-manifest.json lm_head.weight '*'
    rm -rf out && cp -r whole out
    sed -i '1s/"lm_head.weight":{"dtype":"F16"/"lm_head.weight":{"dtype":"I16"/' out/model.safetensors
    want_found 3 TENSOR_FORM model.safetensors lm_head.weight '*' \
        TENSOR_DIGEST model.safetensors lm_head.weight 'its digest is not the recorded one (got *, want *)' \
        FILE_HASH model.safetensors '' '*'
}

# Bytes that have the same CRC-32, in a file whose SHA-256 was recorded anew: only the digest tells.
test_digests_verified_bytes()
{
    local old new
    make_whole
    cp -r whole out
    old=$(sha256sum <out/model.safetensors | cut -c 1-64)
    digests unseen out/model.safetensors lm_head.weight
    new=$(sha256sum <out/model.safetensors | cut -c 1-64)
    want test "$old" != "$new"
    want_found 2 FILE_HASH model.safetensors '' '*' TENSOR_DIGEST model.safetensors lm_head.weight '*'
    sed -i "s/$old/$new/" out/llavamed-manifest.json out/SHA256SUMS
    (cd out && sed -i "s/^.*  llavamed-manifest.json$/$(sha256sum llavamed-manifest.json)/" SHA256SUMS)
    want_found 1 TENSOR_DIGEST llavamed-manifest.json lm_head.weight '*'
    want test "$(cd out && sha256sum --quiet -c SHA256SUMS 2>&1)" = ''
}

# want_all_damage KIND: as in verify.sh, of a directory with digests
want_all_damage()
{
    local holds=0
    python3 -B "$DATA/../../tools/verify_damage.py" "$VERIFY" out "$1" >damage.txt 2>&1 && holds=1
    note_check $holds "$1: $(tail -n 3 damage.txt | cut -c 1-600)"
    want grep -q '^[1-9][0-9]* damaged, 0 not named$' damage.txt
}

test_digests_verified_damage()
{
    make_whole --max-shard-size 4KB
    cp -r whole out
    want_all_damage flips
    want_all_damage tensors
}

# A view with strides in a torch file: its bytes are no run of the file.
test_digests_verified_views()
{
    mkdir out
    cp "$DATA/../cli_forms/delta-transposed.bin" out/model.bin
    "$SCRATCH/llavamed-inspect" out/model.bin --digests --json >listed
    python3 - <<'PYTHON'
import hashlib, json
listed = json.load(open("listed"))
data = open("out/model.bin", "rb").read()
rows = [{"name": t["name"], "dtype": t["dtype"], "shape": t["shape"], "shard": "model.bin", "crc32": "00000000",
         "sha256": t["sha256"]} for t in listed["tensors"]]
json.dump({"format": "llavamed-manifest", "version": 1, "result": {"model_sha256": listed["model_sha256"]},
           "shards": [{"name": "model.bin", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}],
           "documents": [], "tensors": rows}, open("out/llavamed-manifest.json", "w"))
PYTHON
    (cd out && sha256sum -- llavamed-manifest.json model.bin >SHA256SUMS)
    verify out --json -q
    want_status 1
    want_json 'all(f["code"] in ("TENSOR_CRC", "TENSOR_UNCHECKED") for f in r["findings"])' \
        'any(f["code"] == "TENSOR_UNCHECKED" and f["what"].endswith("its CRC-32 and its digest are not known")
             for f in r["findings"])' \
        'r["digests_checked"] + sum(f["code"] == "TENSOR_UNCHECKED" for f in r["findings"]) ==
             len(json.load(open("listed"))["tensors"])' \
        'r["digests_checked"] == r["tensors_checked"]'
}
