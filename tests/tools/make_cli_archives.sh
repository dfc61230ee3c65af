#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make_cli_archives.sh
# Makes tests/data/cli_archives: the deltas of tests/data/cli as people pack them, with the tools they use
# (zip, 7z, bsdtar, Python's zipfile). Needs these; the result is committed. Entries keep today's times, so that the
# bytes differ from run to run.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/tests/data/cli_archives
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"
cp -r "$root/tests/data/cli/delta" "$work/llava_med_delta"
cp -r "$root/tests/data/cli/delta-safetensors" "$work/llava_med_safetensors"
cp -r "$root/tests/data/cli/base-sharded" "$work/llama"
cp -r "$root/tests/data/cli/base-wrong" "$work/wrong"
cd "$work"

zip -qr "$out/delta-deflated.zip" llava_med_delta
zip -qr -0 "$out/delta-stored.zip" llava_med_delta
zip -qr -9 -fz "$out/delta-zip64.zip" llava_med_delta
zip -qr - llava_med_safetensors >"$out/delta-safetensors-streamed.zip"
zip -qr -0 "$out/delta-safetensors-stored.zip" llava_med_safetensors
(cd llava_med_delta && zip -q "$out/delta-flat.zip" ./*)
7z a -tzip -mx=9 "$out/delta-7z.zip" llava_med_delta >"$work/log"
bsdtar --format zip -cf "$out/delta-bsdtar.zip" llava_med_delta
zip -qr "$out/base-deflated.zip" llama
zip -qr "$out/base-wrong-deflated.zip" wrong
cp llava_med_delta/pytorch_model-00001-of-00002.bin alone.bin
zip -q "$out/half.zip" alone.bin

python3 - "$out" <<'PYTHON'
import os
import sys
import zipfile

out = sys.argv[1]
delta = "llava_med_delta"
names = sorted(os.listdir(delta))

# One shard stored and one deflated: all of it is then read from front to back.
with zipfile.ZipFile(f"{out}/delta-mixed.zip", "w") as archive:
    for name in names:
        method = zipfile.ZIP_STORED if "00001" in name else zipfile.ZIP_DEFLATED
        archive.write(f"{delta}/{name}", f"{delta}/{name}", method)
with zipfile.ZipFile(f"{out}/delta-macos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name in names:
        archive.write(f"{delta}/{name}", f"{delta}/{name}")
        archive.writestr(f"__MACOSX/{delta}/._{name}", b"Mac OS X")
    archive.writestr(f"{delta}/.DS_Store", b"Bud1")
with zipfile.ZipFile(f"{out}/two-folders.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for folder in "a", "b":
        archive.write(f"{delta}/pytorch_model-00001-of-00002.bin", f"{folder}/pytorch_model.bin")
with zipfile.ZipFile(f"{out}/leads-out.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write(f"{delta}/pytorch_model-00001-of-00002.bin", "../pytorch_model.bin")
with zipfile.ZipFile(f"{out}/no-weights.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write(f"{delta}/tokenizer.model", "delta/tokenizer.model")
with zipfile.ZipFile(f"{out}/bzip2.zip", "w", zipfile.ZIP_BZIP2) as archive:
    archive.write(f"{delta}/pytorch_model-00001-of-00002.bin", "delta/pytorch_model.bin")
with zipfile.ZipFile(f"{out}/meta.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("7B/consolidated.00.pth", b"PK")
    archive.writestr("7B/params.json", b"{}")
forms = f"{out}/../cli_forms"
for name, form in (("legacy", "delta-legacy.bin"), ("transposed", "delta-transposed.bin")):
    with zipfile.ZipFile(f"{out}/delta-{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(f"{forms}/{form}", "delta/pytorch_model.bin")
PYTHON

# A flipped byte in the compressed data of a shard, and an archive that is cut short.
python3 - "$out" <<'PYTHON'
import sys
import zipfile

out = sys.argv[1]
with open(f"{out}/delta-deflated.zip", "rb") as file:
    data = bytearray(file.read())
with zipfile.ZipFile(f"{out}/delta-deflated.zip") as archive:
    info = next(i for i in archive.infolist() if "00002" in i.filename)
with open(f"{out}/truncated.zip", "wb") as file:
    file.write(data[:len(data) * 2 // 3])
data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0x10
with open(f"{out}/damaged.zip", "wb") as file:
    file.write(data)
with zipfile.ZipFile(f"{out}/delta-safetensors-stored.zip") as archive:
    info = next(i for i in archive.infolist() if i.filename.endswith(".safetensors"))
with open(f"{out}/delta-safetensors-stored.zip", "rb") as file:
    data = bytearray(file.read())
data[info.header_offset + 30 + len(info.filename) + info.compress_size - 100] ^= 0x01
with open(f"{out}/damaged-stored.zip", "wb") as file:
    file.write(data)
PYTHON
