# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# llavamed-verify: what llavamed-apply wrote is intact; every damage is found, and named with file and tensor. The
# damages, and where which tensor lies, are Python's (tests/tools/verify_damage.py); sums are those of sha256sum.

DAMAGE=$DATA/../../tools/verify_damage.py

# make_out OPTION...: a small merge in ./out
make_out()
{
    apply_pair base delta -q "$@"
    want_status 0
}

# want_finding FILE TENSOR GLOB: such a line is on stdout (TENSOR may be empty)
want_finding()
{
    local line holds=0 start="$1: ${2:+$2: }"
    while IFS= read -r line; do
        # shellcheck disable=SC2053
        [[ ${line:0:${#start}} == "$start" && ${line:${#start}} == $3 ]] && holds=1
    done <.checks/stdout
    note_check $holds "no finding '$start$3': $(head -n 4 .checks/stdout | tr '\n' ' ')"
}

# want_findings N: that many, and a status that says so
want_findings()
{
    want_status 1
    want_lines stdout "$1" .
    want_stderr "llavamed-verify: error: out: not intact ($1 finding*)"
}

# want_all_named KIND: all damages of that kind are found and named
want_all_named()
{
    local holds=0
    python3 -B "$DAMAGE" "$VERIFY" out "$1" >damage.txt 2>&1 && holds=1
    note_check $holds "$1: $(tail -n 3 damage.txt | cut -c 1-600)"
    want grep -q '^[1-9][0-9]* damaged, 0 not named$' damage.txt
}

test_verify_intact()
{
    local options
    for options in '' '--max-shard-size 2KB' '--format torch' '--format torch --max-shard-size 4KB' \
        '--format torch --torch-profile 2.13' '--dtype float32 --inv-freq drop'; do
        rm -rf out
        # shellcheck disable=SC2086
        make_out $options
        verify out
        want_status 0
        want_empty stdout
        want_stderr 'llavamed-verify: done: out: intact, *'
        verify out --json -q
        want_status 0
        want_empty stderr
        want_json 'r["intact"] is True and r["code"] == "ok" and r["n_findings"] == 0 and r["notes"] == []' \
            'sorted(os.listdir("out")) == [f["name"] for f in r["files"]]' \
            'all(f["sha256"] == hashlib.sha256(open("out/" + f["name"], "rb").read()).hexdigest()
                 for f in r["files"])' \
            'r["tensors_checked"] == len(json.load(open("out/llavamed-manifest.json"))["tensors"]) >= 23' \
            'r["bytes"]["read"] == sum(os.path.getsize("out/" + n) for n in os.listdir("out"))'
    done
    touch -d '1960-01-01 12:00:00.5' out/*
    verify out
    want_status 0
}

test_verify_flipped_bits()
{
    make_out --max-shard-size 4KB
    want_all_named flips
    want test "$(sed -n 's/ damaged, .*//p' damage.txt)" -ge 300
}

test_verify_flipped_bits_torch()
{
    make_out --format torch --max-shard-size 4KB
    want_all_named flips
    want test "$(sed -n 's/ damaged, .*//p' damage.txt)" -ge 300
}

test_verify_files()
{
    make_out --max-shard-size 4KB
    want_all_named files
    rm -rf out
    make_out --format torch --max-shard-size 4KB
    want_all_named files
}

test_verify_tensors()
{
    make_out --max-shard-size 3KB
    want_all_named tensors
    rm -rf out
    make_out --format torch --max-shard-size 3KB
    want_all_named tensors
}

# Of two records that contradict each other the one is told that the file does not agree with.
test_verify_records_contradict()
{
    local sum
    make_out
    cp -r out whole
    sum=$(sha256sum out/config.json | cut -c 1-64)
    sed -i "s/$sum\",/$(printf %064d 7)\",/" out/llavamed-manifest.json
    verify out
    want_finding llavamed-manifest.json '' \
        "records another SHA-256 for config.json than SHA256SUMS (line *), which the file agrees with (got 0*7, want *)"
    want_finding llavamed-manifest.json '' 'its SHA-256 is not the recorded one (got *, want * of SHA256SUMS (line *))'
    want_findings 2
    rm -r out && cp -r whole out
    sed -i "/ config.json$/s/^./0/;/ config.json$/s/^0\(.\)../0\1ff/" out/SHA256SUMS
    verify out
    want_finding SHA256SUMS '' \
        'line *: records another SHA-256 for config.json than llavamed-manifest.json, which the file agrees with *'
    want_findings 1
    # One digit of a digest that nothing else records: it is the list that is damaged.
    rm -r out && cp -r whole out
    sed -i '/llavamed-manifest/y/0123456789abcdef/1123456789abcdef/' out/SHA256SUMS
    verify out
    want_finding SHA256SUMS '' 'line *: is damaged: the SHA-256 that it records for llavamed-manifest.json differs *'
    want_findings 1
    # Neither is right, and they differ.
    rm -r out && cp -r whole out
    echo >>out/config.json
    sed -i "/ config.json$/s/^.*  /$(printf %064d 1)  /" out/SHA256SUMS
    verify out
    want_finding config.json '' "its SHA-256 is not *, want 0*1 of SHA256SUMS *, or $sum of llavamed-manifest.json)"
    # A tensor's checksum in the manifest is wrong, and the file is not.
    rm -r out && cp -r whole out
    sed -i '/"lm_head.weight"/s/"crc32": "......../"crc32": "00000000/' out/llavamed-manifest.json
    verify out
    want_finding llavamed-manifest.json lm_head.weight \
        'the recorded CRC-32 is not that of its bytes in model.safetensors, which is as recorded (got *, want 00000000)'
}

test_verify_extra_files()
{
    make_out
    echo x >out/notes.txt
    cp out/config.json out/second.json
    verify out
    want_finding notes.txt '' 'is extra: not named by SHA256SUMS'
    want_finding second.json '' 'is extra: not named by SHA256SUMS'
    want_findings 2
    want_stderr 'llavamed-verify: hint: --ignore-extra *'
    verify out --ignore-extra -v
    want_status 0
    want_empty stdout
    want_stderr 'llavamed-verify: note: notes.txt: extra, not named by SHA256SUMS'
    verify out --ignore-extra --json -q
    want_json 'r["intact"] and len(r["notes"]) == 2'
    # Named by the sums alone: the manifest names all files but two.
    sha256sum out/notes.txt out/second.json | sed 's# out/# #' >>out/SHA256SUMS
    verify out --ignore-extra
    want_finding llavamed-manifest.json '' 'does not name notes.txt, which is named by SHA256SUMS'
    want_finding SHA256SUMS '' 'line *: not as llavamed-apply writes it'
    want_findings 3
    # What is missing is looked for under other names, unless they are to be ignored.
    rm -r out && make_out
    mv out/tokenizer.model out/renamed
    verify out
    want_finding renamed '' 'is extra: not named by SHA256SUMS; it has the bytes of tokenizer.model, renamed'
    want_finding tokenizer.model '' 'is missing, named by SHA256SUMS (line *) and llavamed-manifest.json'
    want_findings 2
    verify out --ignore-extra
    want_findings 1
}

test_verify_what_is_no_file()
{
    make_out
    mkfifo out/fifo
    ln -s config.json out/link
    mkdir out/folder
    ln -s nowhere out/dangling
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("out/socket")'
    mv out/tokenizer.model elsewhere && ln -s ../elsewhere out/tokenizer.model
    rm out/LICENSE && mkfifo out/LICENSE
    rm out/SHA256SUMS && ln -s ../nothing out/SHA256SUMS
    run timeout 20 "$VERIFY" out
    want_finding fifo '' 'is a device, a FIFO or a socket *'
    want_finding LICENSE '' 'is a device, a FIFO or a socket *'
    want_finding socket '' 'is a device, a FIFO or a socket *'
    want_finding link '' 'is a symbolic link *'
    want_finding dangling '' 'is a symbolic link *'
    want_finding tokenizer.model '' 'is a symbolic link *'
    want_finding SHA256SUMS '' 'is a symbolic link *'
    want_finding folder '' 'is a directory *'
    want_findings 8
}

test_verify_names_are_printable()
{
    local odd
    make_out
    odd=$(printf 'a\033[2Jb\nc\342\200\256\377')
    echo >"out/$odd"
    verify out
    want_findings 1
    want_lines stdout 1 '^a?\[2Jb?c????: is extra'
    want_lines stdout 0 "$(printf '\033')"
    verify out --json -q
    want_json 'r["findings"][0]["file"] == "a\x1b[2Jb\nc\u202e?"'
    want_lines stdout 0 "$(printf '\033')"
    (cd out && sha256sum -- "$odd" >>SHA256SUMS)
    verify out --json -q
    want_json 'any("a?[2Jb?c" in f["what"] for f in r["findings"])'
}

# Lists as others write them, of a directory that has no manifest.
make_foreign()
{
    rm -rf out
    mkdir out
    cp "$DATA/base-sharded/"* out/
    echo '{}' >out/config.json
    rm -f out/SHA256SUMS
    (cd out && sha256sum -- *) >sums
}

want_foreign_intact()
{
    verify out -j 3 "$@"
    want_status 0
    want_empty stdout
    want_stderr 'llavamed-verify: warning: no valid llavamed-manifest.json: *'
}

test_verify_foreign_lists()
{
    make_foreign
    cp sums out/SHA256SUMS
    want_foreign_intact
    sed 's/  / */' sums >out/SHA256SUMS
    want_foreign_intact
    sed 's/$/\r/' sums >out/SHA256SUMS
    want_foreign_intact
    sed 's#  #  ./#' sums | sort -r >out/SHA256SUMS
    want_foreign_intact
    sed 's/^[0-9a-f]*/\U&/' sums >out/SHA256SUMS
    want_foreign_intact
    printf %s "$(cat sums)" >out/SHA256SUMS
    want_foreign_intact
    printf 'x\n' >"out/$(printf 'odd\\name\nhere')"
    (cd out && rm SHA256SUMS && sha256sum -- *) >sums
    want grep -q '^[\]' sums
    cp sums out/SHA256SUMS
    want_foreign_intact
    # Read from elsewhere, and from beside the files.
    rm out/SHA256SUMS
    want_foreign_intact --sums sums
    cp sums out/list.txt
    want_foreign_intact --sums out/list.txt
}

test_verify_lines_that_are_none()
{
    make_foreign
    {
        echo '# made by hand'
        sed 1d sums
        echo
        printf 'SHA256 (config.json) = %064d\n' 1
        printf '%064d  ../outside\n%064d  /etc/passwd\n%064d  sub/file\n%064d  .\n' 1 2 3 4
        printf '%064d  model.safetensors.index.json\n%063d  short\n%064d  \n' 5 6 7
    } >out/SHA256SUMS
    n=$(wc -l <sums)
    verify out
    want_finding SHA256SUMS '' "line 1: not a line of a SHA256SUMS (got '# made by hand')"
    want_finding SHA256SUMS '' "line $((n + 1)): not a line of a SHA256SUMS (got '')"
    want_finding SHA256SUMS '' "line $((n + 2)): not a line of a SHA256SUMS (got 'SHA256 (config.json) = *')"
    want_finding SHA256SUMS '' "line $((n + 3)): not the name of a file in the directory itself (got '../outside')"
    want_finding SHA256SUMS '' "line $((n + 4)): not the name of a file in the directory itself (got '/etc/passwd')"
    want_finding SHA256SUMS '' "line $((n + 5)): not the name of a file in the directory itself (got 'sub/file')"
    want_finding SHA256SUMS '' "line $((n + 6)): not the name of a file in the directory itself (got '.')"
    want_finding SHA256SUMS '' "line $((n + 8)): not a line of a SHA256SUMS (got '*  short')"
    want_finding SHA256SUMS '' "line $((n + 9)): not a line of a SHA256SUMS (got '*')"
    want_finding SHA256SUMS '' "line $((n + 7)): a name that another line has already (got 'model.*.index.json')"
    want_finding config.json '' 'is extra: not named by SHA256SUMS'
    want_status 1
}

# Another list says what belongs there: what DIR's own list says more does not.
test_verify_given_list()
{
    make_foreign
    cp sums out/SHA256SUMS
    want_foreign_intact --sums sums
    echo evil >out/evil.py
    (cd out && sha256sum evil.py >>SHA256SUMS)
    want_foreign_intact
    verify out --sums sums
    want_finding evil.py '' 'is extra: not named by sums (but by SHA256SUMS (line *))'
    want_findings 1
    rm out/evil.py
    sed -i '/ config.json/s/^./z/' sums
    verify out --sums sums
    want_finding sums '' 'line *: not a line of a SHA256SUMS *'
    verify out --sums nothing
    want_status 3
    want_empty stdout
    want_stderr 'llavamed-verify: error: nothing: *'
}

test_verify_foreign_directory()
{
    local shard
    make_foreign
    cp sums out/SHA256SUMS
    # The index against the headers, where the sums agree with all files.
    sed -i 's/"lm_head.weight"/"lm_tail.weight"/' out/model.safetensors.index.json
    (cd out && rm SHA256SUMS && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
    verify out
    want_finding model.safetensors.index.json lm_tail.weight 'is not in model-*, where * has it'
    want_finding model.safetensors.index.json lm_head.weight 'is in model-*, and * does not *'
    want_status 1
    # A shard that the index names.
    make_foreign
    shard=model-00001-of-00002.safetensors
    rm "out/$shard"
    grep -v "$shard" sums >out/SHA256SUMS
    verify out
    want_finding "$shard" '' 'is missing, named by model.safetensors.index.json'
    want_findings 1
    # A weights file of a form that is not read here, and one that says that it is a shard.
    make_foreign
    echo 'no weights' >out/pytorch_model.bin
    (cd out && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
    verify out
    want_status 0
    want_stderr 'llavamed-verify: warning: pytorch_model.bin: its header is not checked: *'
    cp out/pytorch_model.bin "out/$shard"
    (cd out && rm SHA256SUMS && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
    verify out
    want_finding "$shard" '' '*'
    want_status 1
    # Nothing at all.
    rm out/SHA256SUMS
    verify out
    want_finding SHA256SUMS '' 'nothing that can be read records what the directory should hold: *'
    want_status 1
    mkdir empty
    verify empty
    want_lines stdout 1 '^SHA256SUMS: nothing that can be read'
    want_status 1
}

# The CRC-32 that a torch file has of its records, where no manifest names tensors.
test_verify_torch_records()
{
    mkdir out
    cp "$DATA/base-bin/"* out/
    (cd out && rm -f SHA256SUMS && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
    verify out
    want_status 0
    python3 - <<'PYTHON'
import zipfile
path = "out/pytorch_model.bin"
data = bytearray(open(path, "rb").read())
with zipfile.ZipFile(path) as archive:
    info = [i for i in archive.infolist() if i.filename.endswith("data/3")][0]
    content = archive.read(info)
at = data.index(content)
data[at + 5] ^= 16
open(path, "wb").write(data)
PYTHON
    verify out
    want_finding pytorch_model.bin '' 'the record data/3 in it is damaged: its CRC-32 differs (got *, want *)'
    want_finding pytorch_model.bin '' 'its SHA-256 is not the recorded one *'
    want_findings 2
}

test_verify_broken_manifest()
{
    make_out
    cp out/llavamed-manifest.json whole.json
    sed 's/"version": 1/"version": 2/' whole.json >out/llavamed-manifest.json
    verify out
    want_finding llavamed-manifest.json '' 'a version that this program does not know (got 2, want 1)'
    sed 's/"crc32": "./"crc32": "x/' whole.json >out/llavamed-manifest.json
    verify out
    want_finding llavamed-manifest.json '' "not a manifest of llavamed-apply: the 'crc32' of tensor * is missing *"
    head -c 1000 whole.json >out/llavamed-manifest.json
    verify out
    want_finding llavamed-manifest.json '' 'not valid JSON*'
    want_finding llavamed-manifest.json '' 'its SHA-256 is not the recorded one *'
    echo '{}' >out/llavamed-manifest.json
    rm out/SHA256SUMS
    verify out
    want_finding SHA256SUMS '' 'nothing that can be read records *'
    cp whole.json out/llavamed-manifest.json
    verify out
    want_finding SHA256SUMS '' 'is missing: what llavamed-apply writes has one*'
    want_findings 1
}

# A file that nobody may read is a finding, and hides nothing.
test_verify_unreadable()
{
    make_out
    chmod 755 out
    chmod 0 out/config.json
    echo >>out/README.md
    run_unprivileged "$VERIFY" out
    want_finding config.json '' 'cannot open for reading: Permission denied'
    want_finding README.md '' 'its SHA-256 is not the recorded one *'
    want_status 1
    chmod 644 out
    run_unprivileged "$VERIFY" out
    want_finding README.md '' 'cannot look at it: Permission denied'
    want_finding model.safetensors '' 'cannot look at it: Permission denied'
    want_status 1
    chmod 0 out
    run_unprivileged "$VERIFY" out
    want_status 3
    want_stderr 'llavamed-verify: error: out: cannot list the directory: Permission denied'
    chmod 755 out
}

test_verify_usage()
{
    verify
    want_status 2
    want_stderr 'llavamed-verify: error: argument missing (want DIR)'
    want_stderr 'llavamed-verify: hint: *--help*'
    verify a b
    want_status 2
    want_stderr "llavamed-verify: error: unexpected argument (got 'b' after 'a')"
    verify a --ignore
    want_status 2
    want_stderr 'llavamed-verify: hint: did you mean --ignore-extra?'
    verify a --identify x
    want_status 2
    want_stderr 'llavamed-verify: error: --identify goes without a directory'
    verify a -qv
    want_status 2
    mkdir a
    verify a --max-memory 1KB
    want_status 2
    want_stderr 'llavamed-verify: error: too little memory allowed (got 1000 bytes, want at least 16384)'
    verify nothing
    want_status 3
    want_stderr 'llavamed-verify: error: nothing: no such directory'
    verify /dev/null
    want_status 3
    want_stderr 'llavamed-verify: error: /dev/null: not a directory'
    verify nothing --json
    want_status 3
    want_json 'r["status"] == 3 and r["code"] == "INPUT_MISSING" and r["intact"] is None and r["findings"] == []'
    verify --help
    want_status 0
    want_lines stdout 1 '^Usage: llavamed-verify DIR'
    verify --version
    want_status 0
    want_lines stdout 1 '^llavamed-verify [0-9]'
}

test_verify_output()
{
    make_out
    verify out -q
    want_status 0
    want_empty stderr
    want_empty stdout
    verify out --progress always
    want_status 0
    want_lines stderr 1 '100%'
    verify out --progress never
    want_lines stderr 1 .
    echo >>out/config.json
    verify out -q
    want_lines stderr 1 .
    want_lines stdout 2 '^config.json: '
    run sh -c '"$0" out >/dev/full' "$VERIFY"
    want_status 1
    want_stderr 'llavamed-verify: error: standard output: cannot write: *'
    # Many findings: a list that ends with a count.
    python3 -c 'for i in range(10050): print("%064x  file-%05d" % (i, i))' >out/SHA256SUMS
    verify out
    want_status 1
    want_lines stdout 10001 .
    want_lines stdout 1 '^\.\.\. and [0-9]* more findings$'
    verify out --json -q
    want_json 'len(r["findings"]) == 10000 and r["n_findings"] > 10050'
}

# The order of findings, and all else, is the same with any number of threads and any memory.
test_verify_threads()
{
    local threads memory
    make_out --max-shard-size 1KB
    python3 -c 'import os
for name in os.listdir("out"):
    if name.endswith((".safetensors", ".md")):
        data = bytearray(open("out/" + name, "rb").read())
        data[-1] ^= 1
        open("out/" + name, "wb").write(data)'
    verify out -j 1
    want_status 1
    cp .checks/stdout first
    want test -s first
    for threads in 2 7 64; do
        for memory in 16KiB 100KB 1GiB; do
            verify out -j "$threads" --max-memory "$memory"
            want_same first .checks/stdout
        done
    done
}

test_verify_interrupted()
{
    local pid
    mkdir out
    make_large out/model.safetensors 8192
    printf '%064d  model.safetensors\n' 0 >out/SHA256SUMS
    "$VERIFY" out >.checks/stdout 2>.checks/stderr &
    pid=$!
    sleep 0.5
    kill -INT "$pid"
    wait "$pid"
    status=$?
    # A background job of a shell without job control ignores SIGINT, so another signal, too.
    if [ "$status" != 130 ]; then
        "$VERIFY" out >.checks/stdout 2>.checks/stderr &
        pid=$!
        sleep 0.5
        kill -TERM "$pid"
        wait "$pid"
        status=$?
    fi
    want_status_in 130 143
    want_stderr 'llavamed-verify: error: interrupted by signal *'
    want_empty stdout
}
