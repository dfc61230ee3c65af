#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/archive: a small tree (content/), archives of it as real tools pack it (good/), of a small file by
hand in the forms that those tools do not write here (good/hand_*), and broken ones (bad/). Also the seeds of the
fuzzer's corpus, tests/fuzz/corpus/archive.

Needs zip, 7z (p7zip-full), bsdtar (libarchive-tools) and jar (a JDK). Times of the files are fixed, so that only
another version of a tool makes other bytes.
"""

import os
import random
import shutil
import struct
import subprocess
import tempfile
import zipfile
import zlib

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(TESTS, "data", "archive")
CORPUS = os.path.join(TESTS, "fuzz", "corpus", "archive")
MAX32 = 0xFFFFFFFF


# ---- The tree and the tools ----------------------------------------------------------------------------------------


def make_content(folder):
    rng = random.Random(20230601)
    os.makedirs(os.path.join(folder, "llava", "sub"))
    files = {
        "llava/config.json": b'{"model_type": "llava", "mm_hidden_size": 1024}\n' * 20,
        "llava/model.bin": bytes(rng.choice(b"\x00\x01\x02\x3c\x3d\xbc") for _ in range(5000)),
        "llava/noise.bin": rng.randbytes(400),
        "llava/sub/empty": b"",
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    for place, _, names in os.walk(folder):
        for path in [place] + [os.path.join(place, name) for name in names]:
            os.utime(path, (1685577600, 1685577600))


class Pipe:
    """A file that cannot seek: zipfile then writes descriptors."""

    def __init__(self, file):
        self.write = file.write
        self.flush = file.flush


def python_zip(tree, path, seekable, zip64):
    with open(path, "wb") as file:
        with zipfile.ZipFile(file if seekable else Pipe(file), "w") as archive:
            archive.writestr(zipfile.ZipInfo("llava/"), b"")
            for name in ["config.json", "model.bin", "noise.bin", "sub/empty"]:
                info = zipfile.ZipInfo("llava/" + name)
                info.compress_type = zipfile.ZIP_DEFLATED
                with open(os.path.join(tree, info.filename), "rb") as source:
                    with archive.open(info, "w", force_zip64=zip64) as member:
                        member.write(source.read())


def tool_zips(tree, out):
    def run(command):
        subprocess.run(command, shell=True, check=True, cwd=tree, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, TZ="UTC", OUT=out))

    run("zip -qr $OUT/zip.zip llava")
    run("zip -q9r $OUT/zip_best.zip llava")
    run("zip -q1r $OUT/zip_fast.zip llava")
    run("zip -q0r $OUT/zip_stored.zip llava")
    run("zip -qr -fz $OUT/zip_zip64.zip llava")
    run("zip -qr - llava | cat >$OUT/zip_pipe.zip")
    run("cat llava/model.bin | zip -q $OUT/zip_stdin.zip -")
    run("cat llava/model.bin | zip -q - - | cat >$OUT/zip_stdin_pipe.zip")
    run("zip -q -c $OUT/zip_comments.zip llava/config.json llava/model.bin <<END\na comment\nanother\nEND\n")
    run("7z a -tzip $OUT/7z.zip llava")
    run("7z a -tzip -so x llava >$OUT/7z_pipe.zip")
    run("bsdtar --format zip -cf $OUT/bsdtar.zip llava")
    run("bsdtar --format zip --options zip:zip64 -cf $OUT/bsdtar_zip64.zip llava")
    run("jar cf $OUT/jar.zip llava")
    run("jar cMf $OUT/jar_plain.zip llava")
    for seekable in [True, False]:
        for zip64 in [True, False]:
            name = "python" + ("" if seekable else "_pipe") + ("_zip64" if zip64 else "") + ".zip"
            python_zip(tree, os.path.join(out, name), seekable, zip64)


# ---- By hand -------------------------------------------------------------------------------------------------------

CONTENT = b"The same line, a few times over.\n" * 8


def deflate(content):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def entry(name=b"llava/a.txt", content=CONTENT, **changes):
    """One entry as a dictionary; any of its values can be set."""
    data = changes.get("data", deflate(content))
    values = dict(name=name, flags=0, method=8, crc=zlib.crc32(content), stored=len(data), size=len(content), data=data,
                  extra=b"", comment=b"", descriptor=b"", central_stored=None, central_size=None)
    values.update(changes)
    if values["flags"] & 8:
        values.update({key: 0 for key in ["local_crc", "local_stored", "local_size"] if key not in changes})
    for key in ["name", "flags", "method", "crc", "stored", "size"]:
        values.setdefault("local_" + key, values[key])
    return values


def archive(*entries, comment=b""):
    out = b""
    central = b""
    for e in entries:
        offset = len(out)
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, e["local_flags"], e["local_method"], 0, 0x5621, e["local_crc"],
                           min(e["local_stored"], MAX32), min(e["local_size"], MAX32), len(e["local_name"]), 0)
        out += e["local_name"] + e["data"] + e["descriptor"]
        stored = e["stored"] if e["central_stored"] is None else e["central_stored"]
        size = e["size"] if e["central_size"] is None else e["central_size"]
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, e["flags"], e["method"], 0, 0x5621, e["crc"], stored,
                               size, len(e["name"]), len(e["extra"]), len(e["comment"]), 0, 0, 0, offset)
        central += e["name"] + e["extra"] + e["comment"]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(central), len(out), len(comment))
    return out + central + end + comment


def zip64(*values):
    return struct.pack("<HH", 1, 8 * len(values)) + b"".join(struct.pack("<Q", value) for value in values)


def hand_good():
    n, size, crc = len(deflate(CONTENT)), len(CONTENT), zlib.crc32(CONTENT)
    yield "unsigned_descriptor", archive(entry(flags=8, descriptor=struct.pack("<3L", crc, n, size)))
    yield "unsigned_descriptor64", archive(entry(flags=8, descriptor=struct.pack("<LQQ", crc, n, size)))
    yield "archive_comment", archive(entry(), comment=b"with PK\5\6 of no record in it, though it is long enough")
    yield "comments", archive(entry(comment=b"of the first"), entry(b"llava/b.txt", comment=b"of the second"))
    yield "zip64_more", archive(entry(extra=zip64(size, n, 0), central_size=MAX32))
    yield "zip64_unasked", archive(entry(extra=zip64(size, n)))
    yield "empty_blocks", archive(entry(data=b"\0\0\0\xff\xff" * 4 + deflate(CONTENT)))
    yield "stored", archive(entry(method=0, data=CONTENT))
    yield "empty_directory_deflated", archive(entry(), entry(b"llava/", b""))


def hand_bad():
    packed = deflate(CONTENT)
    n, size, crc = len(packed), len(CONTENT), zlib.crc32(CONTENT)
    yield "content_longer", archive(entry(size=size - 1))
    yield "content_shorter", archive(entry(size=size + 1))
    yield "content_empty", archive(entry(size=0, crc=0))
    yield "data_behind", archive(entry(data=packed + b"\0"))
    yield "data_cut", archive(entry(data=packed[:-1]))
    yield "data_none", archive(entry(data=b""))
    yield "data_none_empty", archive(entry(content=b"", data=b""))
    yield "damaged_at_once", archive(entry(data=b"\x07" + packed[1:]))
    # A match before there is anything to match.
    yield "damaged_distance", archive(entry(data=b"\x03\x02\x00"))
    yield "crc", archive(entry(crc=crc ^ 1))
    yield "crc_stored", archive(entry(method=0, data=CONTENT, crc=crc ^ 1))
    yield "bomb", archive(entry(data=packed[:10], size=10**12, central_size=MAX32, extra=zip64(10**12)))
    yield "bomb_all", archive(entry(data=packed[:10], size=2**64 - 1, central_size=MAX32, extra=zip64(2**64 - 1)))
    yield "data_too_long", archive(entry(stored=10**12, central_stored=MAX32, extra=zip64(10**12)))
    yield "data_too_short", archive(entry(stored=n - 1))
    yield "stored_size", archive(entry(method=0, data=CONTENT, size=size - 1))
    yield "method_lzma", archive(entry(method=14))
    yield "encrypted", archive(entry(flags=1))
    yield "flags_unknown", archive(entry(flags=0x10))
    yield "comment_longer", archive(entry(), comment=b"x") + b"y"
    yield "directory_content", archive(entry(b"llava/"))
    yield "twice", archive(entry(), entry(b"LLaVA/a.txt"))
    yield "local_method", archive(entry(local_method=0))
    yield "local_flags", archive(entry(flags=2, local_flags=0))
    yield "local_name", archive(entry(local_name=b"llava/b.txt"))
    yield "local_size", archive(entry(local_size=size + 1))
    yield "local_stored", archive(entry(local_stored=n + 1))
    yield "local_crc", archive(entry(local_crc=1))
    yield "descriptor_swapped", archive(entry(flags=8, descriptor=struct.pack("<4s3L", b"PK\7\x08", crc, size, n)))
    yield "descriptor_size", archive(entry(flags=8, descriptor=struct.pack("<4s3L", b"PK\7\x08", crc, n, size + 1)))
    yield "descriptor_none", archive(entry(flags=8))
    yield "descriptor_unsigned", archive(entry(flags=8, descriptor=struct.pack("<3L", crc, n, size - 1)))
    yield "descriptor_unasked", archive(entry(descriptor=struct.pack("<4s3L", b"PK\7\x08", crc, n, size)))
    yield "zip64_short", archive(entry(central_size=MAX32, central_stored=MAX32, extra=zip64(size)))


def put(folder, name, content):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def main():
    for folder in [DATA, CORPUS]:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    good, bad = os.path.join(DATA, "good"), os.path.join(DATA, "bad")
    os.makedirs(good)
    os.makedirs(bad)
    with tempfile.TemporaryDirectory() as tree:
        make_content(tree)
        tool_zips(tree, good)
        shutil.copytree(tree, os.path.join(DATA, "content"))
    put(os.path.join(DATA, "content", "llava"), "a.txt", CONTENT)
    put(os.path.join(DATA, "content", "llava"), "b.txt", CONTENT)
    for name, content in hand_good():
        put(good, "hand_" + name + ".zip", content)
        put(CORPUS, "hand_" + name, content)
    for name, content in hand_bad():
        put(bad, name + ".zip", content)
    for name in ["content_longer", "data_behind", "damaged_distance", "bomb", "descriptor_swapped"]:
        shutil.copy(os.path.join(bad, name + ".zip"), os.path.join(CORPUS, "bad_" + name))
    for name in ["zip_zip64", "zip_pipe", "zip_stdin_pipe", "7z_pipe", "bsdtar_zip64", "jar", "python_pipe_zip64"]:
        shutil.copy(os.path.join(good, name + ".zip"), os.path.join(CORPUS, name))


if __name__ == "__main__":
    main()
