# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Meta's original release as the base. tests/data/meta/hf-base is the same model as two/13B.

META=$DATA/../meta

# apply_meta BASE OPTION...: with the delta made for it, to ./out
apply_meta()
{
    local base=$1
    shift
    apply --base "$base" --delta "$META/delta" --out out "$@"
}

test_meta_equals_the_converted_base()
{
    local base
    apply --base "$META/hf-base" --delta "$META/delta" --out out-hf -q --max-shard-size 9KB
    want_status 0
    for base in "$META/two" "$META/two/13B"; do
        rm -rf out
        apply_meta "$base" -q --max-shard-size 9KB
        want_status 0
        want_empty stderr
        (cd out && sha256sum model*) >got
        (cd out-hf && sha256sum model*) >wanted
        want_same got wanted
        want test "$(wc -l <got)" -ge 3
        (cd out && sha256sum --strict -c SHA256SUMS) >sums 2>&1
        want test $? -eq 0
    done
    # All that differs in the manifest is which files were read, and the model card that lists them.
    diff out/llavamed-manifest.json out-hf/llavamed-manifest.json | grep '^[<>]' |
        grep -v -e '"format"' -e '"record_crc32"' -e 'consolidated' -e '"model.safetensors"' -e '"README.md"' >differs
    want test ! -s differs
    want grep -q '"format": "meta"' out/llavamed-manifest.json
}

test_meta_dry_run_and_notes()
{
    apply_meta "$META/two" -n -v
    want_status 0
    want_stderr "llavamed-apply: note: */two/13B: Meta's original layout in 2 shards"
    want_nothing_left
}

test_meta_damaged_shard()
{
    cp -r "$META/two" base
    chmod -R u+w base
    # Beside the tensors, where no CRC-32 is compared: the time in the first entry's local header.
    printf 'x' | dd of=base/13B/consolidated.01.pth bs=1 seek=10 conv=notrunc 2>dd.log
    apply_meta base
    want_failure 1 'base/13B/consolidated.01.pth: its MD5 is not the one that the checklist beside it records (got *'
    want_stderr 'llavamed-apply: hint: *download it again'
    apply_meta base --verify none -q
    want_status 0
    rm -rf out
    apply_meta base --json
    want_json 'r["status"] == 1' 'r["code"] == "HASH_MISMATCH"'
}

test_meta_damaged_small_files()
{
    cp -r "$META/two" base
    chmod -R u+w base
    printf ' ' >>base/13B/params.json
    apply_meta base
    want_failure 1 'base/13B/params.json: its MD5 is not the one that the checklist beside it records (got *'
    cp "$META/two/13B/params.json" base/13B/params.json
    printf ' ' >>base/tokenizer.model
    apply_meta base -n
    want_failure 1 'base/tokenizer.model: its MD5 is not the one that the checklist beside it records (got *'
}

test_meta_refusals()
{
    mkdir base
    cp -r "$META/two/13B" base/13B
    cp -r "$META/two/13B" base/7B
    chmod -R u+w base
    apply_meta base
    want_failure 3 'base: holds several sizes of the model (got 7B, 13B, want one)'
    want_stderr "llavamed-apply: hint: give the folder of the delta's size, such as base/13B"
    rm base/13B/consolidated.00.pth
    apply_meta base/13B
    want_failure 3 'base/13B: consolidated.00.pth is missing'
    apply_meta base/7B/consolidated.00.pth
    want_failure 3 "base/7B/consolidated.00.pth: weights of Meta's original release without their params.json"
    want_stderr 'llavamed-apply: hint: give the directory that holds consolidated.00.pth and params.json'
    rm base/7B/checklist.chk
    sed -i 's/}$/, "n_kv_heads": 1}/' base/7B/params.json
    apply_meta base/7B
    want_failure 3 'base/7B/params.json: not the original LLaMA but a later model (it has fewer key and value heads, *'
    apply_meta "$META/four"
    want_failure 4 '*do not belong together*'
}

# The folder that people keep Meta's release in holds other programs' files too.
test_meta_parent_with_stray_files()
{
    cp -r "$META/two" parent
    [ -e parent/tokenizer.model ] || printf 'tokenizer' >parent/tokenizer.model
    rm -f parent/tokenizer_checklist.chk
    printf 'lmgg0000' >parent/ggml-vocab.bin
    apply_meta parent -q
    want_status 0
}

# What the manifest and the card say of the checklist is what was done.
test_meta_checklist_is_told()
{
    apply_meta "$META/two" -q
    want_status 0
    want test "$(grep -c '"name": "consolidated.0[01].pth".*"md5_is": "checked"}' out/llavamed-manifest.json)" -eq 2
    want grep -qx '2 of 2 files of the base have the MD5 that the .checklist.chk. beside them records.' out/README.md
    rm -rf out
    apply_meta "$META/two" -q --verify none
    want_status 0
    want test "$(cat out/llavamed-manifest.json out/README.md | grep -c -e md5 -e checklist)" -eq 0
    cp -r "$META/two/13B" model
    chmod -R u+w model
    sed -i '/consolidated.01/d' model/checklist.chk
    rm -rf out
    apply_meta model -q
    want_status 0
    want test "$(grep -c '"md5_is": "checked"' out/llavamed-manifest.json)" -eq 1
    want grep -q '^1 of 2 files of the base have the MD5' out/README.md
}

test_meta_checklist_from_another_system()
{
    local list
    cp -r "$META/two/13B" model
    list=model/checklist.chk
    [ -e $list ] || (cd model && md5sum ./*.pth params.json | sed 's/\.\///' >checklist.chk)
    sed 's/$/\r/' $list >crlf
    printf '\r\n' >>crlf
    cp crlf $list
    apply_meta model -q
    want_status 0
    rm -rf out
    sed 's/^[0-9a-f]\{32\}\(  consolidated.00.pth\)/00000000000000000000000000000000\1/' crlf >$list
    apply_meta model
    want_failure 1 '*consolidated.00.pth*'
    # A file that is listed again has to have the same sum.
    cp crlf $list
    grep params.json crlf >>$list
    rm -rf out
    apply_meta model -q
    want_status 0
    rm -rf out
    echo '00000000000000000000000000000000  params.json' >>$list
    apply_meta model
    want_failure 3 '*model: the checklist has two sums of params.json (* and 00000000000000000000000000000000)'
}

# A look at the contents before the merge does not make the merge read the base twice.
test_meta_base_is_read_once()
{
    local converted
    cp -r "$META/two/13B" model
    rm -f model/checklist.chk
    apply --base "$META/hf-base" --delta "$META/delta" --out out-hf --json
    want_status 0
    converted=$(sed -n 's/^ *"read": \([0-9]*\),/\1/p' .checks/stdout)
    apply_meta model --json
    want_status 0
    # What is more are norms and frequencies that every shard holds, read for their checksums alone.
    want_json "r['bytes']['read'] < $converted + 2000"
}
