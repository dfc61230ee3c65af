# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Names that lead elsewhere, things that are no files, names that a terminal would obey.

# As apply, but whatever hangs ends with status 124.
apply_soon()
{
    run timeout 20 "$PROGRAM" "$@"
}

# make_shard FILE NAME...: a safetensors file of F16 tensors of two elements; a name is the text of a JSON string
make_shard()
{
    python3 -c 'import struct, sys
rows = [b"\"%s\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[%d,%d]}" % (name, 4 * i, 4 * i + 4)
        for i, name in enumerate(arg.encode() for arg in sys.argv[2:])]
text = b"{" + b",".join(rows) + b"}"
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + b"\0\x3c" * 2 * len(rows))' "$@"
}

# want_printable FILE...: nothing of another shape than seen text but line feeds, and UTF-8 throughout
want_printable()
{
    local file
    for file in "$@"; do
        want python3 -c 'import sys, unicodedata
text = open(sys.argv[1], encoding="utf-8").read().replace("\n", "")
sys.exit(any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text))' "$file"
    done
}

# Every character that ends lines, is not seen or turns the order of others, by what Python knows of Unicode: all that
# it calls controls, formats and separators of lines, but for the signs of Arabic, Syriac and other scripts that are
# among these and are seen. Forty to a line; the first line has what is no name of a file in it.
unseen_characters()
{
    python3 -c 'import sys, unicodedata
seen = [*range(0x600, 0x606), 0x6dd, 0x70f, 0x890, 0x891, 0x8e2, 0x110bd, 0x110cd, *range(0x13430, 0x13440)]
all = [chr(c) for c in range(1, 0x110000)
       if unicodedata.category(chr(c)) in ("Cc", "Cf", "Zl", "Zp") and c not in seen and c != 10]
assert len(all) > 200
for i in range(0, len(all), 40):
    sys.stdout.buffer.write(("".join(all[i:i + 40]) + "\n").encode())'
}

test_hostile_index_stays_in_its_directory()
{
    local name escaped
    mkdir base sub
    cp "$DATA/base/model.safetensors" secret.safetensors
    cp secret.safetensors sub/model.safetensors
    mkdir base/in
    cp secret.safetensors base/in/model.safetensors
    for name in ../secret.safetensors "$PWD/secret.safetensors" in/model.safetensors ./in/model.safetensors . .. '' \
        in/../../secret.safetensors /dev/zero .hidden.safetensors 'a\\b.safetensors' 'a\u0000b' \
        ..\\secret.safetensors; do
        escaped=${name//\\secret/\\\\secret}
        printf '{"metadata": {}, "weight_map": {"model.embed_tokens.weight": "%s"}}' "$escaped" \
            >base/model.safetensors.index.json
        apply_soon --base base --delta "$DATA/delta" --out out
        want_failure 3 '*base/model.safetensors.index.json: *'
    done
}

# A shard of two names, whatever links make it so, would be read for each of them.
test_hostile_shards_that_are_one_file()
{
    local kind first=pytorch_model-00001-of-00002.bin second=pytorch_model-00002-of-00002.bin
    cp -r "$DATA/delta" delta
    cp -r "$DATA/../meta/two/13B" base
    for kind in -sf -f; do
        (cd delta && ln "$kind" "$first" "$second")
        apply_soon --base "$DATA/base" --delta delta --out out
        want_failure 3 "*delta/$second: is the same file as delta/$first"
        want_stderr '*hint: one of them is a link to the other*'
        (cd base && ln "$kind" consolidated.00.pth consolidated.01.pth && rm -f checklist.chk)
        apply_soon --base base --delta "$DATA/../meta/delta" --out out --verify none
        want_failure 3 '*base/consolidated.01.pth: is the same file as base/consolidated.00.pth'
    done
}

test_hostile_shards_that_are_no_files()
{
    local kind
    mkdir base
    printf '{"metadata": {}, "weight_map": {"model.embed_tokens.weight": "w.safetensors"}}' \
        >base/model.safetensors.index.json
    for kind in fifo directory device socket loop dangling; do
        rm -rf base/w.safetensors
        case $kind in
        fifo) mkfifo base/w.safetensors ;;
        directory) mkdir base/w.safetensors ;;
        device) ln -s /dev/zero base/w.safetensors ;;
        socket) python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])' base/w.safetensors ;;
        loop) ln -s w.safetensors base/w.safetensors ;;
        dangling) ln -s nowhere base/w.safetensors ;;
        esac
        apply_soon --base base --delta "$DATA/delta" --out out
        want_failure 3 '*base/w.safetensors*'
    done
}

# put_no_file KIND PATH
put_no_file()
{
    rm -rf "$2"
    case $1 in
    fifo) mkfifo "$2" ;;
    device) ln -s /dev/zero "$2" ;;
    dangling) ln -s nowhere "$2" ;;
    large) dd if=/dev/zero of="$2" bs=1M seek=17 count=0 2>/dev/null ;;
    loop) ln -s "${2##*/}" "$2" ;;
    esac
}

# Beside weights that are whole, every other file that is looked at: none of them may be waited for, or be missing in
# OUT without a word.
test_hostile_side_files_that_are_no_files()
{
    local name kind
    for name in config.json generation_config.json added_tokens.json tokenizer.model tokenizer_config.json LICENSE \
        README.md pytorch_model.bin.index.json model.safetensors; do
        for kind in fifo device dangling loop; do
            rm -rf delta
            cp -r "$DATA/delta" .
            put_no_file $kind "delta/$name"
            apply_soon --base "$DATA/base" --delta delta --out out
            want_failure 3 "*delta/$name: *"
            case $kind:$name in
            fifo:* | device:*) want_stderr "*delta/$name: not a regular file" ;;
            dangling:*model.safetensors | dangling:*.index.json | loop:*) ;;
            dangling:*) want_stderr '*hint: complete the download of delta' ;;
            esac
        done
    done
    for kind in fifo device dangling loop; do
        rm -rf base
        cp -r "$DATA/base" .
        put_no_file $kind base/config.json
        apply_soon --base base --delta "$DATA/delta" --out out
        want_failure 3 '*base/config.json: *'
    done
}

# What is recorded beside a file may be that it is another one: a list of hashes that cannot be read is not passed over.
test_hostile_records_that_cannot_be_read()
{
    local name kind
    for name in SHA256SUMS pytorch_model-00001-of-00002.bin.lfs tokenizer.model.lfs \
        .cache/huggingface/download/pytorch_model-00001-of-00002.bin.metadata; do
        for kind in fifo device dangling loop large; do
            rm -rf delta out
            cp -r "$DATA/delta" .
            mkdir -p delta/.cache/huggingface/download
            put_no_file $kind "delta/$name"
            apply_soon --base "$DATA/base" --delta delta --out out
            want_failure 3 "delta/$name: *"
            want_stderr '*hint: mend or remove that file, or give --verify none to check no recorded hash'
            apply_soon --base "$DATA/base" --delta delta --out out --verify none
            want_status 0
            want_stderr "*warning: delta/$name: *; what it records is not known"
            want grep -q 'what it records is not known' out/llavamed-manifest.json
            run timeout 20 "${PROGRAM%apply}inspect" delta --json
            want_status 0
            want_json 'any("what it records is not known" in note for note in r["notes"])'
        done
    done
    # It names another hash, and then so many empty lines that nobody reads it.
    rm -rf delta out
    cp -r "$DATA/delta" .
    printf '%064d  tokenizer.model\n' 0 >delta/SHA256SUMS
    head -c 17M /dev/zero | tr '\0' '\n' >>delta/SHA256SUMS
    for name in auto full; do
        apply_soon --base "$DATA/base" --delta delta --out out --verify $name
        want_failure 3 'delta/SHA256SUMS: the file is too large (got *, want at most 16777216)'
    done
    for name in 13B/checklist.chk tokenizer_checklist.chk; do
        for kind in fifo device dangling loop large; do
            rm -rf base out
            cp -r "$DATA/../meta/two" base
            chmod -R u+w base
            put_no_file $kind "base/$name"
            apply_soon --base base --delta "$DATA/../meta/delta" --out out
            want_failure 3 "base/$name: *"
            apply_soon --base base --delta "$DATA/../meta/delta" --out out --verify none
            want_status 0
        done
    done
    # What the list names is no file, which has no MD5 either.
    for kind in fifo device; do
        rm -rf base out
        cp -r "$DATA/../meta/two" base
        chmod -R u+w base
        put_no_file $kind base/tokenizer.model
        apply_soon --base base --delta "$DATA/../meta/delta" --out out
        want_failure 3 'base/tokenizer.model: not a regular file'
    done
}

# What the merge does not use may be anything.
test_hostile_side_files_that_are_not_used()
{
    local name kind
    for name in params.json checklist.chk notes.txt vocab.bin; do
        for kind in fifo device dangling loop; do
            rm -rf delta out
            cp -r "$DATA/delta" .
            put_no_file $kind "delta/$name"
            apply_soon --base "$DATA/base" --delta delta --out out
            want_status 0
        done
    done
    for kind in fifo device dangling loop; do
        rm -rf base out
        cp -r "$DATA/base" .
        put_no_file $kind base/tokenizer.model
        apply_soon --base base --delta "$DATA/delta" --out out
        want_status 0
    done
}

test_hostile_given_files_that_are_no_files()
{
    mkfifo pipe
    mkdir -p hub/models--o--n/refs hub/models--o--n/snapshots meta
    for sums in pipe /dev/zero; do
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out --sums "$sums"
        want_failure 3 "*$sums*"
    done
    for spec in pipe /dev/zero /dev/stdin; do
        apply_soon --base "$spec" --delta "$DATA/delta" --out out
        want_status 3
        want_nothing_left
    done
    mkfifo hub/models--o--n/refs/main
    HF_HUB_CACHE=$PWD/hub apply_soon --base o/n --delta "$DATA/delta" --out out
    want_failure 3 '*'
    cp -r "$DATA/../meta/one/." meta
    rm -f meta/checklist.chk
    mkfifo meta/checklist.chk
    apply_soon --base meta --delta "$DATA/../meta/delta" --out out
    want_failure 3 'meta/checklist.chk: not a regular file'
    rm -f meta/checklist.chk meta/params.json
    mkfifo meta/params.json
    apply_soon --base meta --delta "$DATA/../meta/delta" --out out
    want_failure 3 '*'
}

# What a stranger put where OUT and its work are.
test_hostile_things_at_out()
{
    local name
    for name in llavamed-manifest.json SHA256SUMS model.safetensors; do
        rm -rf out
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out
        want_status 0
        rm -f "out/$name"
        mkfifo "out/$name"
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out --force
        want_status 5
        want test -p "out/$name"
    done
    rm -rf out
    for name in .llavamed-journal .llavamed-claim-1.json model.safetensors; do
        mkdir out.partial
        mkfifo "out.partial/$name"
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out
        want_status_in 0 5
        rm -rf out out.partial
    done
    echo precious >precious
    for name in .llavamed-journal .llavamed-claim-1.json model.safetensors config.json; do
        mkdir out.partial
        ln -s ../precious "out.partial/$name"
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out
        want_status_in 0 5
        want grep -qx precious precious
        rm -rf out out.partial
    done
}

# A list of hashes speaks of the files beside it, and of nothing else.
test_hostile_lists_stay_in_their_directory()
{
    local line zero
    zero=$(printf '%064d' 0)
    cp -r "$DATA/delta" .
    mkfifo pipe
    for line in "$zero  ../pipe" "$zero  $PWD/pipe" "$zero  /dev/zero" "$zero  ./../delta/config.json"; do
        printf '%s\n' "$line" >delta/SHA256SUMS
        apply_soon --base "$DATA/base" --delta delta --out out
        want_status 0
        rm -rf out
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out out --sums delta/SHA256SUMS
        want_failure 3 '*delta/SHA256SUMS: no name in it fits an input file'
    done
    cp -r "$DATA/../meta/one" meta
    for line in "${zero:0:32}  ../pipe" "${zero:0:32}  /dev/zero" "${zero:0:32}  ../meta/params.json"; do
        printf '%s\n' "$line" >meta/checklist.chk
        apply_soon --base meta --delta "$DATA/../meta/delta" --out out
        want_status 0
        rm -rf out
    done
}

# A regular file that becomes a FIFO while it is looked at is opened without waiting.
test_hostile_file_becomes_a_fifo()
{
    local swapper round
    cp -r "$DATA/base" .
    cp base/model.safetensors whole
    mkfifo pipe
    (
        while [ -e whole ]; do
            ln -f pipe swap && mv -f swap base/model.safetensors
            ln -f whole swap && mv -f swap base/model.safetensors
        done
    ) 2>/dev/null &
    swapper=$!
    for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
        apply_soon --base base --delta "$DATA/delta" --out "out$round"
        want_status_in 0 3 6
    done
    rm -f whole
    wait "$swapper"
}

test_hostile_names_print()
{
    local name
    mkdir base delta
    # What a terminal obeys, what another encoding means, what would begin a line of its own.
    name='a\u001b[2Jb\u009b31m\u0007\n\r\tllavamed-apply: done\u007f\u0080\u202e\u2066\u200b\ufeff\udb40\udc41'
    make_shard base/model.safetensors "$name"
    make_shard delta/model.safetensors "$name" "$name extra"
    apply_soon --base base --delta delta --out out --json -v
    want_printable .checks/stdout .checks/stderr
    make_shard delta/model.safetensors "$name"
    printf '{"torch_dtype": "\\u001b[2J", "_name_or_path": "vicuna\\u001b]0;x\\u0007"}' >base/config.json
    printf '{"model_type": "llama", "architectures": ["\\u001b"]}' >delta/config.json
    apply_soon --base base --delta delta --out out --json -v --allow-unknown-base
    want_status 0
    want_json 'r["error"] is None if "error" in r else True'
    want_printable .checks/stdout .checks/stderr out/llavamed-manifest.json out/README.md out/SHA256SUMS \
        out/NOTICE-research-only.md
}

test_hostile_names_of_files_print()
{
    local odd
    for odd in $'d\e[2J\a' $'d\xff\xfe' $'d\nllavamed-apply: done' $'d\xc2\x9b31m' $'d\u202e\u2066\u200b\u2028'; do
        rm -rf d* out
        cp -r "$DATA/delta" "$odd"
        apply_soon --base "$DATA/base" --delta "$odd" --out out --json -v
        want_status 0
        want_printable .checks/stdout .checks/stderr out/llavamed-manifest.json out/README.md
        want_lines stderr 1 '^llavamed-apply: done'
        : >"$odd/pytorch_model-00001-of-00002.bin"
        apply_soon --base "$DATA/base" --delta "$odd" --out again --json -v
        want_status 3
        want_printable .checks/stdout .checks/stderr
        apply_soon --base "$DATA/base" --delta "$odd/$odd" --out "$odd.out/$odd" --json -v
        want_status 3
        want_printable .checks/stdout .checks/stderr
        apply_soon "--$odd" --out "$odd"
        want_status 2
        want_printable .checks/stdout .checks/stderr
    done
}

test_hostile_unseen_characters()
{
    local odd
    while IFS= read -r odd; do
        apply_soon --base "$DATA/base$odd" --delta "$DATA/delta" --out "$odd" --json -v
        want_status 3
        want_printable .checks/stdout .checks/stderr
        # No byte of the name is lost in what another program reads.
        want_json "r['out'].encode() == bytes.fromhex('$(printf '%s' "$odd" | od -An -tx1 | tr -d ' \n')')"
        apply_soon --base "$DATA/base" --delta "$DATA/delta" --out "$odd" -n
        want_status 0
        want_printable .checks/stdout .checks/stderr
        apply_soon "--$odd" --out "$odd"
        want_status 2
        want_printable .checks/stdout .checks/stderr
    done < <(unseen_characters)
}

# Of files, not of folders: the card and the list of hashes have them too.
test_hostile_names_of_files_in_out_print()
{
    local odd
    for odd in $'\xe2\x80\xaetxt' $'\xc2\x9b31m' $'\xe2\x80\xa8# x' $'\xff\xfe' $'\xf3\xa0\x80\x81' $'\e[2J' \
        $'\n# x'; do
        rm -rf base delta out log
        mkdir base
        cp "$DATA/base/model.safetensors" "base/a$odd.safetensors"
        cp -r "$DATA/delta" .
        cp delta/LICENSE "delta/LICENSE$odd"
        apply_soon --base base --delta delta --out out --json -v --allow-unknown-base --log-json log
        want_status 0
        want_printable .checks/stdout .checks/stderr log out/llavamed-manifest.json out/README.md out/SHA256SUMS
        want grep -q '^| base | a.*\.safetensors | safetensors | ' out/README.md
        want test "$(find out -name 'LICENSE*' | wc -l)" -eq 1
    done
    # Nor are there addresses that readers of Markdown make links of.
    rm -rf base/a* out
    cp "$DATA/base/model.safetensors" 'base/www.evil.example@x.safetensors'
    apply_soon --base base --delta delta --out out --allow-unknown-base
    want_status 0
    want grep -qF '| base | www&#46;evil.example&#64;x.safetensors |' out/README.md
}
