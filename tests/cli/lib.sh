# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of tests/cli/cases call. The current directory is the test's own; $DATA is tests/data/cli, $PROGRAM
# llavamed-apply, $VERIFY llavamed-verify. run, apply and verify leave $status, .checks/stdout and .checks/stderr; every
# want_* notes one check.

status=0

# note_check HOLDS(0|1) TEXT
note_check()
{
    if [ "$1" = 1 ]; then
        echo "$2" >>.checks/ok
    else
        local i=0
        while [ $i -lt ${#FUNCNAME[@]} ] && [[ ${FUNCNAME[$i]} != test_* ]]; do
            i=$((i + 1))
        done
        printf '    line %s: %s\n' "${BASH_LINENO[$((i - 1))]}" "$2" >>.checks/bad
    fi
}

run()
{
    "$@" >.checks/stdout 2>.checks/stderr </dev/null
    status=$?
}

apply()
{
    run "$PROGRAM" "$@"
}

verify()
{
    run "$VERIFY" "$@"
}

# apply_pair BASE DELTA OPTION...: of $DATA, to ./out
apply_pair()
{
    local base=$1 delta=$2
    shift 2
    apply --base "$DATA/$base" --delta "$DATA/$delta" --out out "$@"
}

# As a user without privileges, also when the tests run as root (whom no permission stops).
run_unprivileged()
{
    if [ "$(id -u)" = 0 ]; then
        chown -R 65534:65534 .
        run python3 -c 'import os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
    else
        run "$@"
    fi
}

want_status()
{
    local holds=0
    [ "$status" = "$1" ] && holds=1
    note_check $holds "exit status (got $status, want $1): $(tail -n 3 .checks/stderr | tr '\n' ' ')"
}

# want_status_in STATUS...: one of these
want_status_in()
{
    local one holds=0
    for one in "$@"; do
        [ "$status" = "$one" ] && holds=1
    done
    note_check $holds "exit status (got $status, want one of $*): $(tail -n 3 .checks/stderr | tr '\n' ' ')"
}

# want COMMAND...: it succeeds
want()
{
    local holds=0
    "$@" >/dev/null 2>&1 && holds=1
    note_check $holds "want $*"
}

# want_stderr GLOB: a line of stderr matches
want_stderr()
{
    local line holds=0
    while IFS= read -r line; do
        # shellcheck disable=SC2053
        if [[ $line == $1 ]]; then
            holds=1
        fi
    done <.checks/stderr
    note_check $holds "no line of stderr matches '$1': $(head -n 3 .checks/stderr | tr '\n' ' ')"
}

# want_error GLOB: the error line, after "llavamed-apply: error: "
want_error()
{
    want_stderr "llavamed-apply: error: $1"
}

# want_lines STREAM N PATTERN: N lines of stdout or stderr match a basic regular expression
want_lines()
{
    local n holds=0
    n=$(grep -c -- "$3" ".checks/$1")
    [ "$n" = "$2" ] && holds=1
    note_check $holds "lines of $1 with '$3' (got $n, want $2)"
}

want_empty()
{
    local holds=0
    [ ! -s ".checks/$1" ] && holds=1
    note_check $holds "$1 is not empty: $(head -n 2 ".checks/$1" | tr '\n' ' ')"
}

# Nothing of the output is there, whole or in part, and no stray file beside it.
want_nothing_left()
{
    local left
    left=$(find . -path ./.checks -prune -o -name '*out*' -print)
    note_check "$([ -z "$left" ] && echo 1 || echo 0)" "left behind: $left"
}

# A failed run: exit status, error message (a glob), nothing on stdout, nothing left.
want_failure()
{
    want_status "$1"
    want_error "$2"
    want_empty stdout
    want_nothing_left
}

want_same()
{
    want cmp "$1" "$2"
}

# want_expected CASE: the weights and index in ./out are those that torch and safetensors made
want_expected()
{
    local holds=0 want got
    want=$(sed -n "s#^\([0-9a-f]*\)  $1/#\1  #p" "$DATA/expected.sha256")
    got=$(cd out && sha256sum model*.safetensors* 2>/dev/null)
    [ -n "$want" ] && [ "$got" = "$want" ] && holds=1
    note_check $holds "out is not the expected '$1': got $got, want $want"
}

# want_json EXPRESSION...: python3 parses stdout as one JSON document r, for which each expression is true
want_json()
{
    local expression holds
    for expression in "$@"; do
        holds=0
        python3 -c 'import hashlib, json, os, sys
r = json.load(open(".checks/stdout", encoding="utf-8"))
sys.exit(not eval("(" + sys.argv[1] + ")"))' "$expression" 2>/dev/null && holds=1
        note_check $holds "json: not true: $expression"
    done
}

# make_large FILE MIB: a sparse safetensors file with one F16 tensor of zeros
make_large()
{
    python3 -c 'import json, struct, sys
size = int(sys.argv[2]) << 20
name = "model.embed_tokens.weight"
header = json.dumps({name: {"dtype": "F16", "shape": [size // 2048, 1024], "data_offsets": [0, size]}}).encode()
header += b" " * (-len(header) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header)
    file.truncate(8 + len(header) + size)' "$1" "$2"
}

# synth NAME OPTION...: makes ./NAME/base and ./NAME/delta
synth()
{
    local name=$1
    shift
    "$BUILD/tools/synth" --out "$name" --scale 0.0003 "$@" >/dev/null
}

# rearrange BASE HOW: rewrites BASE/model.safetensors: "rotary" takes the rotary permutation of the Hugging Face form
# out of q and k, "layers" exchanges the layers 0 and 1, "tensor" takes another layer's v_proj for one
rearrange()
{
    python3 - "$1" "$2" <<'PYTHON'
import json, struct, sys
path = sys.argv[1] + "/model.safetensors"
heads = json.load(open(sys.argv[1] + "/config.json"))["num_attention_heads"]
data = open(path, "rb").read()
start = 8 + struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:start])
names = [name for name in header if name != "__metadata__"]
def get(name):
    begin, end = header[name]["data_offsets"]
    return data[start + begin:start + end]
new = {}
for name in names:
    if sys.argv[2] == "rotary" and (".q_proj." in name or ".k_proj." in name):
        rows, columns = header[name]["shape"]
        old, row, half = get(name), columns * 2, rows // heads // 2
        order = [h * 2 * half + j * half + i for h in range(heads) for i in range(half) for j in range(2)]
        new[name] = b"".join(old[r * row:(r + 1) * row] for r in order)
    elif sys.argv[2] == "layers" and ("layers.0." in name or "layers.1." in name):
        new[name] = get(name.replace("layers.0.", "layers.1.") if "layers.0." in name else
                        name.replace("layers.1.", "layers.0."))
    elif sys.argv[2] == "tensor" and "layers.1.self_attn.v_proj" in name:
        new[name] = get(name.replace("layers.1.", "layers.0."))
out = bytearray(data)
for name, value in new.items():
    begin, end = header[name]["data_offsets"]
    out[start + begin:start + end] = value
open(path, "wb").write(out)
PYTHON
}
