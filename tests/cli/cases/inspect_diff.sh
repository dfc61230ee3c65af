# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Two checkpoints compared: to the last bit what Python finds.

ROOT=$DATA/../../..

inspect()
{
    run timeout 60 "$SCRATCH/llavamed-inspect" "$@"
}

# want_diff_of SOURCE OTHER: stdout, a document, is of these two safetensors files
want_diff_of()
{
    local holds=0
    python3 -B "$ROOT/tests/cli/diff.py" "$1" "$2" <.checks/stdout >.checks/differs 2>&1 && holds=1
    note_check $holds "not the differences of $1 and $2: $(head -c 600 .checks/differs)"
}

# make_pair A B SEED: two files with tensors that are equal, near, far, of another dtype or shape, or only in one
make_pair()
{
    python3 - "$@" <<'PYTHON'
import json, random, struct, sys
rng = random.Random(int(sys.argv[3]))
SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I32": 4, "U8": 1, "BOOL": 1}
LETTERS = {"F16": "e", "F32": "f", "F64": "d"}
def bits(dtype, n):
    return rng.randbytes(n * SIZES[dtype])
def near(data, dtype):
    out, size = bytearray(data), SIZES[dtype]
    for i in range(0, len(out), size):
        if rng.random() < 0.3:
            word = int.from_bytes(out[i:i + size], "little") ^ rng.choice([1, 2, 3, 7, 1 << (8 * size - 1)])
            out[i:i + size] = word.to_bytes(size, "little")
    return bytes(out)
def write(path, tensors):
    header, data = {}, b""
    for name in rng.sample(list(tensors), len(tensors)):
        dtype, shape, raw = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
a, b = {}, {}
for dtype in SIZES:
    for n in (1, 9, 4096, 8200):
        name = f"{dtype}.{n}"
        raw = bits(dtype, n)
        a[name + ".equal"] = b[name + ".equal"] = (dtype, [n], raw)
        a[name + ".near"], b[name + ".near"] = (dtype, [n], raw), (dtype, [n], near(raw, dtype))
        a[name + ".far"], b[name + ".far"] = (dtype, [n], raw), (dtype, [n], bits(dtype, n))
        other = rng.choice([d for d in SIZES if d != dtype])
        a[name + ".dtype"], b[name + ".dtype"] = (dtype, [n], raw), (other, [n], bits(other, n))
values = [rng.choice([0.0, -0.0, 1.5, -2.25, 65504.0, float("inf"), float("nan"), rng.randint(-9, 9) / 8])
          for _ in range(5000)]
a["same values"] = ("F16", [5000], struct.pack("<5000e", *values))
b["same values"] = ("F64", [5000], struct.pack("<5000d", *values))
a["zeros"], b["zeros"] = ("F32", [3], struct.pack("<3f", 0.0, -0.0, 1)), ("F32", [3], struct.pack("<3f", -0.0, 0.0, 1))
a["shape"], b["shape"] = ("F16", [2, 3], bytes(12)), ("F16", [3, 2], bytes(12))
a["nothing"], b["nothing"] = ("F16", [0, 3], b""), ("F16", [0, 3], b"")
a["only a"], b["only b"] = ("F16", [1], bytes(2)), ("I32", [2], bytes(8))
write(sys.argv[1], a)
write(sys.argv[2], b)
PYTHON
}

test_diff_to_the_last_bit()
{
    local seed
    for seed in 1 2 3; do
        make_pair a.safetensors b.safetensors $seed
        inspect a.safetensors --diff b.safetensors --json
        want_status 1
        want_diff_of a.safetensors b.safetensors
        inspect a.safetensors --diff b.safetensors --json -j 3 --max-memory 300000 -q
        want_diff_of a.safetensors b.safetensors
        inspect b.safetensors --diff a.safetensors --json -j 1 --max-memory 128KiB
        want_diff_of b.safetensors a.safetensors
        inspect a.safetensors --diff a.safetensors --json
        want_status 0
        want_diff_of a.safetensors a.safetensors
        want_empty stderr
    done
}

# Whatever form either has; a compressed archive leads, on either side.
test_diff_of_all_forms()
{
    local source other
    for source in "$DATA/delta" "$DATA/delta-safetensors" "$DATA/../cli_forms/delta-transposed.bin" \
        "$DATA/../cli_archives/delta-stored.zip" "$DATA/../cli_archives/delta-deflated.zip"; do
        for other in "$DATA/delta-safetensors" "$DATA/../cli_forms/delta-legacy.bin" \
            "$DATA/../cli_archives/delta-mixed.zip"; do
            [[ $source == *deflated* && $other == *mixed* ]] && continue
            inspect "$source" --diff "$other" --json
            want_status 0
            want_diff_of "$DATA/delta-safetensors/model.safetensors" "$DATA/delta-safetensors/model.safetensors"
        done
        inspect "$DATA/base-bin" --diff "$source" --json
        want_diff_of "$DATA/base/model.safetensors" "$DATA/delta-safetensors/model.safetensors"
        inspect "$source" --diff "$DATA/base" --json
        want_diff_of "$DATA/delta-safetensors/model.safetensors" "$DATA/base/model.safetensors"
    done
    inspect "$DATA/../meta/two" --diff "$DATA/../meta/hf-base" -q
    want_status 0
    want_empty stdout
    want_empty stderr
    inspect "$DATA/../cli_archives/delta-deflated.zip" --diff "$DATA/../cli_archives/base-deflated.zip"
    want_status 3
    want_stderr 'llavamed-inspect: error: *: both checkpoints are compressed archives, which are read from front *'
    want_empty stdout
}

# What a merge wrote, with one bit of it flipped: found, named, counted.
test_diff_names_the_flipped_bit()
{
    apply_pair base delta -q
    cp -r out other
    chmod -R u+w other
    python3 - <<'PYTHON'
import json, struct
path = "other/model.safetensors"
data = bytearray(open(path, "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:start])["model.layers.1.mlp.down_proj.weight"]["data_offsets"][0]
data[start + begin + 2 * 77] ^= 1
open(path, "wb").write(data)
PYTHON
    inspect out --diff other
    want_status 1
    want_stderr 'llavamed-inspect: error: other: 1 of 25 tensors are not as in out (first *.1.mlp.down_proj.weight: *)'
    want_lines stdout 1 '^bits  *1  *77 .* model.layers.1.mlp.down_proj.weight$'
    want_lines stdout 1 '^  1  *1$'
    want_lines stdout 1 '^equal  *24$'
    inspect out --diff other --tensors
    want_lines stdout 24 '^equal  *0  *-  *0  *0 '
    want test "$(awk 'length($0) > 100' .checks/stdout | wc -l)" -eq 0
}

test_diff_refusals()
{
    inspect "$DATA/base" --diff missing --json
    want_status 3
    want_json 'r["code"] == "INPUT_MISSING"' 'r["tensors"] == []' 'r["other"] == "missing"' 'r["counts"]["equal"] == 0'
    inspect "$DATA/base" --diff
    want_status 2
    inspect --diff "$DATA/base" --json
    want_status 2
    want_json 'r["code"] == "USAGE"' 'r["source"] is None'
    inspect "$DATA/base" --diff "$DATA/base" --digests
    want_status 2
    want_stderr 'llavamed-inspect: error: --diff contradicts --digests'
    inspect "$DATA/base" --diff "$DATA/base" --max-memory 100KB
    want_status 2
    want_stderr 'llavamed-inspect: error: the memory allowed is too small (got 100000 bytes, want at least 131072)'
    cp -r "$DATA/base-bin" model
    chmod -R u+w model
    python3 - <<'PYTHON'
import zipfile
path = "model/pytorch_model.bin"
with zipfile.ZipFile(path) as archive:
    info = max(archive.infolist(), key=lambda info: info.file_size if "/data/" in info.filename else 0)
data = bytearray(open(path, "rb").read())
start = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26:info.header_offset + 28], "little") + \
    int.from_bytes(data[info.header_offset + 28:info.header_offset + 30], "little")
data[start + 3] ^= 1
open(path, "wb").write(data)
PYTHON
    inspect model --diff "$DATA/base"
    want_status 1
    want_stderr 'llavamed-inspect: error: *pytorch_model.bin: *CRC-32*'
    want_empty stdout
    inspect "$DATA/base" --diff model
    want_status 1
    want_stderr 'llavamed-inspect: error: *pytorch_model.bin: *CRC-32*'
}
