# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Statistics: to the last bit those that Python computes in the order that is promised.

ROOT=$DATA/../../..

inspect()
{
    run timeout 60 "$SCRATCH/llavamed-inspect" "$@"
}

# want_stats_of FILE: stdout, a document, has the statistics of the tensors of a safetensors file
want_stats_of()
{
    local holds=0
    python3 "$ROOT/tests/cli/stats.py" "$1" <.checks/stdout >.checks/differs 2>&1 && holds=1
    note_check $holds "not the statistics of $1: $(tail -c 400 .checks/differs)"
}

# make_hard FILE SEED: tensors of all four dtypes with values of every kind, of lengths around blocks and buffers
make_hard()
{
    python3 -c 'import json, random, struct, sys
rng = random.Random(int(sys.argv[2]))
header, data = {}, b""
for dtype, size in (("F16", 2), ("BF16", 2), ("F32", 4), ("F64", 8)):
    for n in (1, 7, 8, 9, 4095, 4096, 4097, 8200, 20011):
        kind = rng.choice(["bits", "weights", "finite"])
        if kind == "bits":
            raw = rng.randbytes(n * size)
        elif kind == "finite" or dtype == "BF16":
            raw = bytearray(rng.randbytes(n * size))
            for i in range(size - 1, n * size, size):
                raw[i] &= 0xbf
        else:
            letter = {"F16": "e", "F32": "f", "F64": "d"}[dtype]
            raw = struct.pack(f"<{n}{letter}", *(rng.gauss(0, 0.02) for _ in range(n)))
        place = [len(data), len(data) + len(raw)]
        header[f"{dtype}.{n}.{kind}"] = {"dtype": dtype, "shape": [n], "data_offsets": place}
        data += raw
odd = struct.pack("<8e", float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 6e-8, -65504.0, 1.0)
header["odd"] = {"dtype": "F16", "shape": [2, 4], "data_offsets": [len(data), len(data) + 16]}
header["nothing"] = {"dtype": "F32", "shape": [0], "data_offsets": [len(data) + 16] * 2}
header["nan"] = {"dtype": "F16", "shape": [1], "data_offsets": [len(data) + 16, len(data) + 18]}
header["integers"] = {"dtype": "I32", "shape": [1], "data_offsets": [len(data) + 18, len(data) + 22]}
data += odd + odd[:2] + bytes(4)
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)' "$1" "$2"
}

test_stats_to_the_last_bit()
{
    local seed
    for seed in 1 2 3; do
        make_hard x.safetensors $seed
        inspect x.safetensors --stats --json
        want_status 0
        want_empty stderr
        want_stats_of x.safetensors
        want_json '[t["stats"] for t in r["tensors"] if t["name"] == "odd"] ==
            [{"min": -65504, "max": 1, "mean": -13100.599999988079, "rms": 29294.27936304288, "zeros": 2,
              "subnormals": 1, "nan": 1, "infinite": 2}]'
        # In other pieces, by more workers.
        cp .checks/stdout first
        inspect x.safetensors --stats --json -j 3 --max-memory 200000 -q
        want_stats_of x.safetensors
        inspect x.safetensors --json --stats --digests
        want_stats_of x.safetensors
        want_json 'len(r["model_sha256"]) == 64'
    done
}

test_stats_of_fixtures()
{
    local source
    for source in base base-nan delta-safetensors; do
        inspect "$DATA/$source" --stats --json
        want_status 0
        want_stats_of "$DATA/$source/model.safetensors"
    done
    for source in "$DATA/delta" "$DATA/../cli_archives/delta-deflated.zip" "$DATA/../cli_forms/delta-transposed.bin"; do
        inspect "$source" --stats --json
        want_stats_of "$DATA/delta-safetensors/model.safetensors"
        want_json 'r["model_sha256"] is None'
    done
    inspect "$DATA/../meta/two" --stats --json
    want_stats_of "$DATA/../meta/hf-base/model.safetensors"
    inspect "$DATA/delta" --json
    want_json 'all(t["stats"] is None for t in r["tensors"])'
}

test_stats_table()
{
    make_hard x.safetensors 1
    inspect x.safetensors --stats
    want_status 0
    want_empty stderr
    want_lines stdout 1 '^      min       max      mean       rms zero subn  nan  inf tensor$'
    want_lines stdout 1 '^-6.55e+04         1 -1.31e+04  2.93e+04    2    1    1    2 odd$'
    want_lines stdout 1 '^        -         -         -         -    0    0    1    0 nan$'
    want_lines stdout 1 '^        -         -         -         -    -    -    -    - integers$'
    want test "$(awk 'length($0) > 100' .checks/stdout | wc -l)" -eq 0
    inspect x.safetensors --stats --tensors
    want_status 2
    want_stderr 'llavamed-inspect: error: only one of --tensors, --digests and --stats can be printed'
    inspect x.safetensors --stats -q
    want_status 2
}
