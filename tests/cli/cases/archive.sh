# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A checkpoint inside a zip archive, read in place: as the tools of people pack it, deflated or stored.

ARCHIVES=$DATA/../cli_archives

# merge_archive DELTA EXPECTED [OPTION...]: of tests/data/cli_archives; the sum is that of the directory
merge_archive()
{
    local delta=$1 expected=$2
    shift 2
    rm -rf out
    apply --base "$DATA/base" --delta "$ARCHIVES/$delta" --out out "$@"
    want_status 0
    want_expected "$expected"
    want test ! -e out.partial
}

test_archive_deflated()
{
    local name
    for name in deflated zip64 flat 7z bsdtar mixed macos; do
        merge_archive "delta-$name.zip" delta
    done
    merge_archive delta-safetensors-streamed.zip delta
}

test_archive_stored()
{
    merge_archive delta-stored.zip delta
    merge_archive delta-safetensors-stored.zip delta
}

test_archive_any_threads_and_memory()
{
    local threads
    for threads in 1 2 3 16; do
        merge_archive delta-deflated.zip delta -j "$threads" --max-memory 16MiB
    done
    merge_archive delta-deflated.zip delta -j 1 --max-memory 320KiB
    merge_archive delta-deflated.zip delta --verify full -v
    want_stderr '*note: reading back from storage what was not yet'
}

test_archive_small_files()
{
    merge_archive delta-deflated.zip delta
    want cmp out/tokenizer.model "$DATA/delta/tokenizer.model"
    want cmp out/README.delta.md "$DATA/delta/README.md"
    want test ! -e out/train.py
    want grep -q '"delta-deflated.zip"' out/llavamed-manifest.json
}

test_archive_name_does_not_matter()
{
    cp "$ARCHIVES/delta-deflated.zip" delta.dat
    apply --base "$DATA/base" --delta delta.dat --out out
    want_status 0
    want_expected delta
}

test_archive_as_base()
{
    apply --base "$ARCHIVES/base-deflated.zip" --delta "$DATA/delta" --out out
    want_status 0
    want_expected delta
}

test_archive_both_compressed()
{
    apply --base "$ARCHIVES/base-deflated.zip" --delta "$ARCHIVES/delta-deflated.zip" --out out
    want_failure 3 '*base and delta are both*'
    want_stderr '*hint: unpack it and give the directory'
    apply --base "$ARCHIVES/base-deflated.zip" --delta "$ARCHIVES/delta-stored.zip" --out out
    want_status 0
    want_expected delta
}

test_archive_dry_run()
{
    apply --base "$DATA/base" --delta "$ARCHIVES/delta-deflated.zip" --out out --dry-run
    want_status 0
    want test ! -e out
    want test ! -e out.partial
}

test_archive_wrong_base()
{
    apply --base "$DATA/base-wrong" --delta "$ARCHIVES/delta-deflated.zip" --out out
    want_failure 4 '*base*'
}

test_archive_damaged()
{
    apply --base "$DATA/base" --delta "$ARCHIVES/damaged.zip" --out out
    want_failure 3 '*damaged.zip/llava_med_delta/pytorch_model-00002-of-00002.bin: zip: damaged deflate data*'
    apply --base "$DATA/base" --delta "$ARCHIVES/damaged-stored.zip" --out out
    want_failure 1 "*model.safetensors: the file is damaged: its CRC-32 differs from the archive's*"
    apply --base "$DATA/base" --delta "$ARCHIVES/truncated.zip" --out out
    want_failure 3 '*truncated.zip: zip: no end record: the file is cut short*'
}

test_archive_recorded_hash()
{
    cp "$ARCHIVES/delta-deflated.zip" delta.zip
    sha256sum delta.zip >SHA256SUMS
    apply --base "$DATA/base" --delta delta.zip --out out
    want_status 0
    rm -r out
    apply --base "$DATA/base" --delta delta.zip --out out --dry-run -v
    want_status 0
    want_stderr '*note: 1 files (*) with recorded hashes are checked by the run itself, not by --dry-run'
    sed -i 's/^...../00000/' SHA256SUMS
    apply --base "$DATA/base" --delta delta.zip --out out
    want_failure 1 '*delta.zip: the SHA-256 differs from *'
}

test_archive_refused()
{
    apply --base "$DATA/base" --delta "$ARCHIVES/delta-legacy.zip" --out out
    want_failure 3 '*legacy*'
    want_stderr '*hint: unpack the archive *'
    apply --base "$DATA/base" --delta "$ARCHIVES/delta-transposed.zip" --out out
    want_failure 3 '*cannot be read from front to back inside an archive: it is a view with strides*'
    apply --base "$DATA/base" --delta "$ARCHIVES/two-folders.zip" --out out
    want_failure 3 '*several folders of the archive hold weights (a/ and b/)'
    apply --base "$DATA/base" --delta "$ARCHIVES/leads-out.zip" --out out
    want_failure 3 "*an entry's name leads out of the archive*"
    apply --base "$DATA/base" --delta "$ARCHIVES/no-weights.zip" --out out
    want_failure 3 '*'
    apply --base "$DATA/base" --delta "$ARCHIVES/bzip2.zip" --out out
    want_failure 3 '*compressed (got method 12, want 0*'
    apply --base "$ARCHIVES/meta.zip" --delta "$DATA/delta" --out out
    want_failure 3 '*'
    apply --base "$DATA/base" --delta "$ARCHIVES/half.zip" --out out
    want_failure 4 '*'
}

test_archive_comment()
{
    cp "$ARCHIVES/delta-deflated.zip" delta.zip
    python3 -c 'import zipfile
with zipfile.ZipFile("delta.zip", "a") as archive:
    archive.comment = b"fetched in June\n"'
    apply --base "$DATA/base" --delta delta.zip --out out
    want_status 0
    want_expected delta
}

# What is no archive that can be read as it is says so, and what to do.
test_archive_of_other_kinds()
{
    python3 - "$ARCHIVES/delta-deflated.zip" <<'PYTHON'
import struct
import sys

with open(sys.argv[1], "rb") as file:
    data = file.read()
end = data.rindex(b"PK\5\6")
directory, = struct.unpack_from("<L", data, end + 16)
volume = bytearray(data[1000:])
struct.pack_into("<2H", volume, end - 1000 + 4, 1, 1)
secret = bytearray(data)
secret[6] |= 1
secret[directory + 8] |= 1
for name, content in ("last.zip", volume), ("secret.zip", secret), ("sfx.exe", b"MZ" + bytes(5000) + data), (
        "empty.zip", b"PK\5\6" + bytes(18)), ("first.z01", b"PK\7\10" + data[:5000]):
    with open(name, "wb") as file:
        file.write(content)
PYTHON
    apply --base "$DATA/base" --delta secret.zip --out out
    want_failure 3 '*is encrypted'
    want_stderr '*hint: unpack the archive with its password*'
    apply --base "$DATA/base" --delta last.zip --out out
    want_failure 3 '*last.zip: zip: the archive is one of several volumes'
    want_stderr '*hint: join them with*'
    apply --base "$DATA/base" --delta first.z01 --out out
    want_failure 3 '*first.z01: a volume of a split zip archive*'
    want_stderr '*hint: join them with*'
    apply --base "$DATA/base" --delta empty.zip --out out
    want_failure 3 '*empty.zip: zip: the archive is empty'
    apply --base "$DATA/base" --delta sfx.exe --out out
    want_failure 3 '*sfx.exe: zip: the archive begins with something else*'
    want_stderr '*hint: unpack it and give the directory'
}

test_archive_inside_something()
{
    mkdir packed
    cp "$ARCHIVES/delta-deflated.zip" packed/weights.zip
    apply --base "$DATA/base" --delta packed --out out
    want_failure 3 '*packed: no weights for the delta in this directory, but an archive (weights.zip)'
    want_stderr '*hint: give the archive itself: packed/weights.zip'
    python3 -m zipfile -c nested.zip packed/weights.zip
    apply --base "$DATA/base" --delta nested.zip --out out
    want_failure 3 '*nested.zip: no weights for the delta in this archive, but an archive (weights.zip)'
    want_stderr '*hint: unpack the outer archive and give weights.zip'
}

test_archive_of_links()
{
    python3 -c 'import zipfile
with zipfile.ZipFile("links.zip", "w") as archive:
    link = zipfile.ZipInfo("delta/pytorch_model.bin")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    archive.writestr(link, "../../blobs/0123")'
    apply --base "$DATA/base" --delta links.zip --out out
    want_failure 3 '*links.zip/delta/pytorch_model.bin: a symbolic link, not the file itself'
}

test_archive_choice_is_told()
{
    merge_archive delta-deflated.zip delta -v
    want_stderr '*note: *delta-deflated.zip/llava_med_delta/pytorch_model.bin.index.json: read in place'
}

# zip_directory DIRECTORY: DIRECTORY.zip, deflated, as anybody's tool does it
zip_directory()
{
    python3 -c 'import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1] + ".zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name in sorted(os.listdir(sys.argv[1])):
        archive.write(f"{sys.argv[1]}/{name}", f"delta/{name}")' "$1"
}

# Those of the same model as unpacked, the figures in the manifest among them.
test_archive_contents_judged()
{
    synth a
    zip_directory a/delta
    apply --base a/base --delta a/delta --out plain -q
    apply --base a/base --delta a/delta.zip --out out -v
    want_status 0
    want_lines stderr 0 'warning: .*\(fit\|contents\|not equal\)'
    want_stderr '*note: content test: [1-9]* matrices judged, 100.000 % of the sums*'
    want cmp plain/model.safetensors out/model.safetensors
    want python3 -c 'import json
plain, packed = (json.load(open(f"{d}/llavamed-manifest.json")) for d in ("plain", "out"))
assert plain["tensors"] == packed["tensors"] and plain["result"] == packed["result"]'
}

# A base that is wrong everywhere shows in the first part of the archive: nothing is written for it.
test_archive_wrong_base_early()
{
    synth a
    synth b --seed 77
    zip_directory a/delta
    mkdir watched
    apply --base b/base --delta a/delta.zip --out watched/out --json
    want_status 4
    want_json 'r["code"] == "PAIR_WRONG_BASE"' 'r["bytes"]["written"] == 0'
    want test -z "$(ls watched)"
    apply --base b/base --delta a/delta.zip --out out --allow-unknown-base
    want_status 0
    want_stderr 'llavamed-apply: warning: *'
}

# One that is wrong in a late tensor alone shows before OUT exists: in a look, since the archive is small, also in a dry
# run.
test_archive_wrong_base_late()
{
    synth a
    rearrange a/base tensor
    zip_directory a/delta
    mkdir watched
    apply --base a/base --delta a/delta.zip --out watched/out --json
    want_status 4
    want_json 'r["code"] == "PAIR_WRONG_BASE"' 'r["bytes"]["written"] == 0'
    want test -z "$(ls watched)"
    apply --base a/base --delta a/delta.zip --out out
    want_failure 4 '*1 of [0-9]* matrices of the base are not those*'
    want_lines stderr 1 '^llavamed-apply: problem: .*layers.1.self_attn.v_proj'
    apply --base a/base --delta a/delta.zip --out out --dry-run
    want_status 4
    want_lines stderr 1 '^llavamed-apply: problem: .*layers.1.self_attn.v_proj'
}

# want_member_hashes DIRECTORY: those of its weights files are in the manifest, computed, as of members of an archive
want_member_hashes()
{
    want python3 -c 'import glob, hashlib, json, os, sys
first, *members = json.load(open("out/llavamed-manifest.json"))["inputs"]["delta"]["files"]
want = [
    {"name": os.path.basename(path), "archive": first["name"], "bytes": os.path.getsize(path),
     "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "sha256_is": "computed"}
    for path in sorted(glob.glob(sys.argv[1] + "/pytorch_model-*.bin"))]
assert len(want) == 2 and members == want and "archive" not in first' "$1"
}

# A list made inside the directory, before it was packed, or one of the archive.
test_archive_sums_given()
{
    local name zip zeros
    zeros=$(printf '%064d' 0)
    (cd "$DATA/delta" && sha256sum -- *.bin) >bins
    for name in deflated stored mixed; do
        zip=$ARCHIVES/delta-$name.zip
        merge_archive "delta-$name.zip" delta --sums bins -v
        want_lines stderr 1 'is not named in the file given by --sums'
        want_stderr '*base: model.safetensors is not named in the file given by --sums*'
        want_stderr '*checking the hashes of 2 input files*'
        want_member_hashes "$DATA/delta"
        sha256sum "$zip" >sums
        merge_archive "delta-$name.zip" delta --sums sums
        want_lines stderr 1 'is not named in the file given by --sums'
        printf '%s  pytorch_model-00002-of-00002.bin\n' "$zeros" >sums
        rm -rf out
        apply --base "$DATA/base" --delta "$zip" --out out --sums sums
        want_failure 1 "*delta-$name.zip/*/pytorch_model-00002-of-00002.bin: the SHA-256 differs from the file given*"
        want_stderr '*delta: pytorch_model-00001-of-00002.bin is not named*'
    done
    # The directory lies there too, and the list in it: what was packed from it has its sums.
    cp -r "$DATA/delta" delta
    mv bins delta/bins
    merge_archive delta-deflated.zip delta --sums delta/bins
    want_member_hashes delta
}

test_archive_sums_inside()
{
    local part
    cp -r "$DATA/delta" delta
    (cd delta && sha256sum -- *.bin config.json tokenizer.model README.md >SHA256SUMS)
    zip_directory delta
    apply --base "$DATA/base" --delta delta.zip --out out -v
    want_status 0
    want_expected delta
    want_stderr '*checking the hashes of 5 input files*'
    want_member_hashes delta
    # Weights and small files: none differs unnoticed.
    for part in pytorch_model-00001-of-00002.bin config.json tokenizer.model; do
        rm -rf out delta.zip
        printf '%064d  ./%s\n' 0 "$part" >delta/SHA256SUMS
        zip_directory delta
        apply --base "$DATA/base" --delta delta.zip --out out
        want_failure 1 "*delta.zip/delta/$part: the SHA-256 differs from the SHA256SUMS beside it*"
        apply --base "$DATA/base" --delta delta.zip --out out --json
        want_json 'r["code"] == "HASH_MISMATCH"'
        apply --base "$DATA/base" --delta delta.zip --out out --verify none
        want_status 0
    done
}

# What a release holds is known whether it is packed or not.
test_archive_identified()
{
    cp -r "$DATA/delta" delta
    printf '%s  pytorch_model-%05d-of-00002.bin\n' \
        09431ba834a30e9c5d86ef2bf0765cd64f852f4a351bcc0976ba9f3df320de2b 1 \
        41d5c871c253afbee3eb6dcb389f9248c5b2e53162a45c068337f7824aac81cd 2 >sums
    cp sums delta/SHA256SUMS
    zip_directory delta
    apply --base "$DATA/base" --delta delta.zip --out out -n -v
    want_status 0
    want_stderr '*the delta is LLaVA-Med v1 7B delta (*) by its recorded SHA-256*'
    # It only claims to be.
    apply --base "$DATA/base" --delta delta.zip --out out
    want_failure 1 '*delta.zip/delta/pytorch_model-0000*: the SHA-256 differs from the SHA256SUMS beside it*'
    apply --base "$DATA/base" --delta "$ARCHIVES/delta-deflated.zip" --out out -n -v --sums sums
    want_stderr '*the delta is LLaVA-Med v1 7B delta (*) by its recorded SHA-256*'
    printf '%s  llama/model-00001-of-00002.safetensors\n' \
        5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1 >sums
    apply --base "$ARCHIVES/base-deflated.zip" --delta "$DATA/delta" --out out --sums sums
    want_failure 4 '*base-deflated.zip/llama/model-00001-*: the base is Vicuna 7B v1.1, not the original LLaMA*'
}

# Everything that is used is hashed, the archive too, stored or deflated.
test_archive_verify_full()
{
    local name
    for name in deflated stored mixed; do
        merge_archive "delta-$name.zip" delta --verify full -v -j 4
        want_member_hashes "$DATA/delta"
        want_stderr '*checking the hashes of 13 input files*'
        want grep -q "$(sha256sum <"$ARCHIVES/delta-$name.zip" | cut -d' ' -f1)" out/llavamed-manifest.json
    done
    apply --base "$DATA/base" --delta "$ARCHIVES/damaged.zip" --out other --verify full
    want_status 3
    want test ! -e other
}

# want_stopped SIGNAL STATUS COMMAND...: a second after it began the signal ends it, and not the KILL some seconds later
want_stopped()
{
    local signal=$1 wanted=$2
    shift 2
    run timeout --preserve-status -s "$signal" -k 4 1 "$@"
    want_status "$wanted"
    want_stderr "*interrupted by signal $((wanted - 128))*"
}

# Four gigabytes in four megabytes, in which nothing comes that anybody asks for.
test_archive_stops_at_a_signal()
{
    local byte inspect=${PROGRAM%apply}inspect
    for byte in P Q; do
        python3 -B "$DATA/../../tools/make_endless.py" "$DATA/base/model.safetensors" endless.zip $byte 4000
        want_stopped TERM 143 "$inspect" endless.zip --stats
        want_stopped TERM 143 "$PROGRAM" --base "$DATA/base" --delta endless.zip --out out
        want test ! -e out
    done
    want_stopped HUP 129 "$inspect" endless.zip --stats
    want_stopped TERM 143 "$PROGRAM" --base endless.zip --delta "$DATA/delta" --out out
}
