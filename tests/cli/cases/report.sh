# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Pages of --report: by Python's own parser, with figures that Python computes; where they may be and what they leave.

ROOT=$DATA/../../..
BASE=$DATA/base/model.safetensors
DELTA=$DATA/delta-safetensors/model.safetensors

inspect()
{
    run timeout 60 "$SCRATCH/llavamed-inspect" "$@"
}

# want_page KIND FILE.html ...: what tests/cli/page.py wants of it
want_page()
{
    local holds=0
    python3 -B "$ROOT/tests/cli/page.py" "$@" >.checks/page 2>&1 && holds=1
    note_check $holds "page $*: $(head -c 600 .checks/page)"
}

# want_in_page FILE.html TEXT
want_in_page()
{
    local holds=0
    grep -qF -- "$2" "$1" && holds=1
    note_check $holds "$1 does not have '$2'"
}

# make_named BASE DELTA: files whose tensors have names that mean something to a browser or a terminal
make_named()
{
    python3 - "$@" <<'PYTHON'
import json, random, struct, sys
rng = random.Random(5)
names = ["<script>alert(1)</script>\"'&", "model.layers.0.<img src=x onerror=alert(1)>", "<!-- ",
         "model.layers.1.\" onclick=\"a", "]]></style></title><h1>", "&lt;&amp;&#60;", "esc\u001b[31m",
         "model.layers.0.\u202eexe.weight", "http://example.org/<link href=\"//example.org\">", "a'b",
         "model.layers.2.caf\u00e9 \u2713", "javascript:alert(1)", "<SCRIPT SRC=//example.org/x.js>"]
for path, scale in ((sys.argv[1], 0.02), (sys.argv[2], 0.001)):
    header, data = {}, b""
    for name in names:
        raw = struct.pack("<64e", *(rng.gauss(0, scale) for _ in range(64)))
        header[name] = {"dtype": "F16", "shape": [8, 8], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
PYTHON
}

test_report_of_a_merge()
{
    apply_pair base delta-safetensors --report page.html
    want_status 0
    want_page apply page.html "$BASE" "$DELTA"
    want_in_page page.html 'Complete: the output is base + delta'
    want_in_page page.html "$(sha256sum <out/model.safetensors | cut -c 1-64)"
    want_in_page page.html "$(sha256sum <out/llavamed-manifest.json | cut -c 1-64)"
    want_in_page page.html "$(sed -n 's/^\([0-9a-f]*\)  model.safetensors$/\1/p' "$DATA/delta-safetensors/SHA256SUMS")"
    want test "$(stat -c %a page.html)" = "$(printf %o $((0666 & ~$(umask))))"
    want_expected delta
}

# What is in the page is a function of what was merged alone, and what is merged is the same without one.
test_report_is_the_same_on_every_run()
{
    apply_pair base delta-safetensors --report page.html
    mv page.html first.html
    mv out plain
    local options
    for options in '-j 1' '-j 3 --max-memory 1MiB' '--cpu ref' '--verify none -q' '--no-resume --progress always'; do
        # shellcheck disable=SC2086
        apply_pair base delta-safetensors --report page.html $options
        want_status 0
        want_same page.html first.html
        rm -rf out
    done
    apply_pair base delta-safetensors
    want diff -r out plain
}

# Archives and torch's files bring elements in other ways; a delta in another dtype is converted first.
test_report_of_other_forms()
{
    local delta
    for delta in cli/delta cli_archives/delta-deflated.zip cli_archives/delta-stored.zip; do
        rm -rf out
        apply --base "$DATA/base-sharded" --delta "$DATA/../$delta" --out out --report page.html
        want_status 0
        want_page apply page.html "$BASE" "$DELTA"
    done
    apply_pair base delta-safetensors --dtype float32 --report page.html --force
    want_page apply page.html "$BASE" "$DELTA"
}

test_report_of_several_outputs()
{
    apply --base "$DATA/base" --delta "$DATA/delta-safetensors" --out out --delta "$DATA/delta" --out out2 \
        --report page.html
    want_status 0
    want_in_page page.html "<p>out2</p>"
    want test "$(grep -c 'Complete: the output is base + delta' page.html)" = 2
}

test_report_of_names_that_mean_something()
{
    make_named base.safetensors delta.safetensors
    apply --base base.safetensors --delta delta.safetensors --out out --report page.html
    want_status 0
    want_page apply page.html base.safetensors delta.safetensors
    want test "$(grep -ci '<script\|<img\|<link href="/' page.html)" = 0
    inspect out --stats --report stats.html
    want_status 0
    want_page stats stats.html out/model.safetensors
    touch 'out/<script>alert(1)' $'out/\e[31m\xff"'
    verify out --report verify.html
    want_status 1
    want_page verify verify.html 13 0 0
    want_in_page verify.html '&lt;script&gt;alert(1)'
}

test_report_of_statistics()
{
    inspect "$DATA/base" --stats --report page.html
    want_status 0
    want_page stats page.html "$BASE"
    want_in_page page.html 'All values are finite'
    inspect "$DATA/base-nan" --stats --json --digests --report page.html
    want_status 0
    want_page stats page.html "$DATA/base-nan/model.safetensors"
    want_in_page page.html 'Some values are NaN or infinite'
    want_json "r['model_sha256'] in open('page.html').read()" \
        "all(t['sha256'] in open('page.html').read() for t in r['tensors'])"
    inspect "$DATA/base" --report page.html
    want_status 2
    want_stderr '*--report needs --stats'
}

# A checkpoint of very many tensors has a page that a browser can show.
test_report_is_bounded()
{
    python3 -c 'import json, struct
header, data = {}, struct.pack("<2e", 0.5, -0.25)
for i in range(20000):
    name = f"stack{i % 7}.layers.{i // 7 % 400}.part{i % 31}"
    header[name + f".{i}"] = {"dtype": "F16", "shape": [1], "data_offsets": [2 * i, 2 * i + 2]}
text = json.dumps(header).encode()
open("many.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data * 10000)'
    inspect many.safetensors --stats --report page.html
    want_status 0
    want_page stats page.html many.safetensors
    want_in_page page.html '... and 18,000 more tensors, which this page leaves out.'
    want test "$(wc -c <page.html)" -lt 2000000
}

test_report_of_what_is_intact()
{
    apply_pair base delta-safetensors --max-shard-size 2KB
    verify out --report page.html
    want_status 0
    want_page verify page.html 25 0 0
    want_in_page page.html 'Intact: the directory is what its records say'
    mv page.html first.html
    verify out --report page.html -j 1
    want_same page.html first.html
}

test_report_of_damage()
{
    apply_pair base delta-safetensors
    python3 -c 'import json, struct
data = bytearray(open("out/model.safetensors", "rb").read())
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + n])
for name in ("model.layers.1.mlp.up_proj.weight", "lm_head.weight"):
    data[8 + n + header[name]["data_offsets"][0] + 3] ^= 1
open("out/model.safetensors", "wb").write(data)'
    verify out --report page.html
    want_status 1
    want_page verify page.html 23 2 0
    want_in_page page.html 'Not intact'
    want_in_page page.html '<td class="t bad" title="model.layers.1.mlp.up_proj.weight: damaged, in model.safetensors">'
    want_in_page page.html '<td class="t bad" title="lm_head.weight: damaged, in model.safetensors">'
    # Without the manifest nothing tells which tensor it is.
    rm out/llavamed-manifest.json
    verify out --report page.html
    want_status 1
    want_page verify page.html 0 0 25
    # A shard that is gone.
    rm -rf out
    apply_pair base delta-safetensors --max-shard-size 3KB
    rm out/model-00001-of-*
    verify out --report page.html
    want_status 1
    want test "$(grep -c 'class="t bad"' page.html)" -ge 1
    want_in_page page.html 'FILE_MISSING'
}

# want_refused FILE.html STATUS GLOB: nothing is done, and what is there stays
want_refused()
{
    apply_pair base delta-safetensors --report "$1"
    want_status "$2"
    want_error "$3"
    want test ! -e out -a ! -e out.partial
    inspect "$DATA/base" --stats --report "$1"
    want_status "$2"
    want_empty stdout
    [ -d some ] || apply --base "$DATA/base" --delta "$DATA/delta-safetensors" --out some
    verify some --report "$1"
    want_status "$2"
    want_empty stdout
}

test_report_where_it_cannot_be()
{
    mkdir folder
    echo mine >mine.txt
    want_refused folder 5 '*exists, and is no report*'
    want_refused folder/ 5 '*needs the name of a file'
    want_refused missing/page.html 5 '*cannot be written*'
    want_refused mine.txt/page.html 5 '*cannot be written*'
    want_refused mine.txt 5 '*exists, and is no report*'
    want_refused /dev/full 5 '*exists, and is no report*'
    want test "$(cat mine.txt)" = mine
    ln -s mine.txt link.html
    want_refused link.html 5 '*exists, and is no report*'
    want_refused "$(printf 'x%.0s' {1..255})" 5 '*cannot be written*'
    want test -z "$(find . -name '*.tmp')"
    : >empty.html
    inspect "$DATA/base" --stats --report empty.html
    want_status 0
    apply_pair base delta-safetensors --report page.html -n
    want_status 2
    want_error '-n contradicts --report'
}

test_report_in_a_folder_that_is_not_ours()
{
    mkdir closed
    cp -R "$DATA/base" "$DATA/delta-safetensors" .
    chmod 555 closed
    run_unprivileged "$PROGRAM" --base base --delta delta-safetensors --out out --report closed/page.html
    chmod 755 closed
    want_status 5
    want_error '*closed/page.html: the report cannot be written (Permission denied)'
    want_nothing_left
}

test_report_apart_from_what_is_read_and_written()
{
    cp -R "$DATA/base" "$DATA/delta-safetensors" .
    local file
    for file in out out.partial base/page.html delta-safetensors/page.html ./base/../base/page.html; do
        apply --base base --delta delta-safetensors --out out --report "$file"
        want_status 5
        want_error '*the report would be inside or in place of*'
        want_nothing_left
    done
    ln -s base linked
    apply --base linked --delta delta-safetensors --out ./out/ --report "$PWD/base/x.html"
    want_status 5
    apply --base base --delta delta-safetensors --out out --report page.html
    want_status 0
    mv page.html out/
    apply --base base --delta delta-safetensors --out out --force --report out/page.html
    want_status 5
    verify out --report out/page.html
    want_status 5
    mv out/page.html .
    inspect out --stats --report out/page.html
    want_status 5
    verify out --report page.html
    want_status 0
    inspect out/model.safetensors --stats --report out/model.safetensors
    want_status 5
    cp page.html sums
    verify out --sums sums --report sums
    want_status 5
    want_same sums page.html
}

test_report_of_a_run_that_failed()
{
    apply_pair base delta-safetensors --report page.html
    want_status 0
    cp page.html before.html
    rm -rf out
    apply_pair base-with-projector delta-safetensors --report page.html
    want_status 4
    want_same page.html before.html
    apply_pair base-with-projector delta-safetensors --report other.html
    want_status 4
    want test ! -e other.html
    inspect missing --stats --report page.html
    want_status 3
    want_same page.html before.html
    verify missing --report page.html
    want_status 3
    want_same page.html before.html
    want test -z "$(find . -name '*.tmp')"
}

# The system lets files grow to 8 KiB alone, which is less than a page.
test_report_that_cannot_be_written_to_its_end()
{
    inspect "$DATA/base" --stats --report page.html
    cp page.html before.html
    want test "$(wc -c <page.html)" -gt 8192
    run bash -c "trap '' XFSZ; ulimit -f 8; exec \"\$@\"" limited "$SCRATCH/llavamed-inspect" "$DATA/base" --stats \
        --report page.html
    want_status 5
    want_stderr '*page.html: the report cannot be written (File too large)'
    want_same page.html before.html
    want test -z "$(find . -name '*.tmp')"
}

# What an interrupted run has written is made again: nobody noted how large the delta was.
test_report_after_an_interrupted_run()
{
    local i=0 pid
    synth m --scale 0.006
    apply --base m/base --delta m/delta --out out --report page.html
    want_status 0
    mv page.html first.html
    mv out want
    "$PROGRAM" --base m/base --delta m/delta --out out --cpu ref -j 2 --max-memory 2MiB >/dev/null 2>&1 &
    pid=$!
    while [ "$(stat -c %s out.partial/.llavamed-journal 2>/dev/null || echo 0)" -lt 12000 ] && [ $i -lt 3000 ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    want test -s out.partial/.llavamed-journal
    apply --base m/base --delta m/delta --out out --report page.html --json
    want_status 0
    want_json 'r["bytes"]["reused"] == 0'
    want_same page.html first.html
    want diff -r out want
}
