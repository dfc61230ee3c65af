# SPDX-License-Identifier: Apache-2.0
"""An input of N bytes costs O(N) memory and time: hostile inputs of growing size, each read by the programs themselves.

Every kind of input is made at sizes N and 4 N. What the larger one costs above an empty run, in processor time and peak
memory, may be at most GROWTH times what the smaller one does (linear is 4, quadratic 16), and the memory at most so many
times its bytes. Bombs, whose cost should not depend on what they claim, have absolute bounds. Ratios of processor time
hold on a loaded machine too; each is the least of several runs.

Usage: bounds.py --program PATH --verify PATH --timed PATH [--table] [--only WORD]
--table prints a row for each, as in docs/hostile-input.md. Ends with "N passed, N failed".
"""

import argparse
import io
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools"))

import bounds_files as files
import bounds_pickles as pickles
import torch_bytes as tb
from bounds_pickles import DATA, torch_file, write

GROWTH = 9
NOISE_SECONDS = 0.03
NOISE_BYTES = 8 << 20
PER_SHARD = 80
FLAT_SECONDS = 1.0
FLAT_BYTES = 24 << 20
ARCHIVE_BYTES = 160 << 20


class Case:
    """make(directory, n) fills a directory of weights; `times` is the memory allowed for each byte of input, `flat` the
    memory allowed at any size. `verified`: llavamed-verify reads it, not llavamed-apply; `more` are its options.
    command(directory) gives what is run instead of a look at these weights; `wall` is for one that changes the
    directory, and so is run once: the seconds that may go by at any size."""

    def __init__(self, name, make, n, status, times=16, flat=0, verified=False, more=(), command=None, wall=0):
        self.name, self.make, self.n, self.status, self.times, self.flat = name, make, n, status, times, flat
        self.verified, self.more, self.command, self.wall = verified, more, command, wall


# ---- JSON ----


def shard(directory, text, data=b""):
    write(directory, "model.safetensors", struct.pack("<Q", len(text)) + text + data)


def rows(names, begin=0):
    """Tensors of one element, one after the other."""
    return b"{" + b",".join(b'"%s":{"dtype":"F16","shape":[1],"data_offsets":[%d,%d]}' % (name, 2 * i, 2 * i + 2)
                            for i, name in enumerate(names, begin)) + b"}"


def many_names(directory, n):
    shard(directory, rows(b"t%d" % i for i in range(n)), bytes(2 * n))


def reversed_names(directory, n):
    shard(directory, rows(b"t%07d" % (n - i) for i in range(n)), bytes(2 * n))


def long_names(directory, n):
    shard(directory, rows(b"x" * 1000 + b"%d" % i for i in range(n)), bytes(2 * n))


def reversed_offsets(directory, n):
    text = b",".join(b'"t%d":{"dtype":"F16","shape":[1],"data_offsets":[%d,%d]}' % (i, 2 * (n - 1 - i), 2 * (n - i))
                     for i in range(n))
    shard(directory, b"{" + text + b"}", bytes(2 * n))


def one_name(directory, n):
    shard(directory, rows([b"t"] * n), bytes(2 * n))


def one_place(directory, n):
    text = b",".join(b'"t%d":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}' % i for i in range(n))
    shard(directory, b"{" + text + b"}", bytes(2))


def metadata(directory, n):
    pairs = b",".join(b'"k%d":"v"' % i for i in range(n))
    shard(directory, b'{"__metadata__":{' + pairs + b'},"t":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}', bytes(2))


def keys_of_one_tensor(directory, n):
    shard(directory, b'{"t":{' + b",".join(b'"k%d":1' % i for i in range(n)) + b"}}")


def deep_arrays(directory, n):
    shard(directory, b'{"t":' + b"[" * n)


def deep_objects(directory, n):
    shard(directory, b'{"t":' * n)


def escapes(directory, n):
    shard(directory, b'{"' + b"\\u0041" * n + b'":1}')


def long_number(directory, n):
    shard(directory, b'{"t":' + b"9" * n + b"}")


def index(directory, pairs):
    text = b'{"metadata":{},"weight_map":{' + b",".join(b'"%s":"%s"' % pair for pair in pairs) + b"}}"
    write(directory, "model.safetensors.index.json", text)


def index_names(directory, n):
    index(directory, ((b"t%d" % i, b"model.safetensors") for i in range(n)))
    shard(directory, rows([b"u"]), bytes(2))


def index_files(directory, n):
    index(directory, ((b"t%d" % i, b"f%d.safetensors" % (n - i)) for i in range(n)))


def index_duplicates(directory, n):
    index(directory, ((b"t", b"f%d.safetensors" % i) for i in range(n)))


# ---- Archives ----


def many_entries(directory, n):
    torch_file(directory, tb.archive([*tb.entries().values(), *(tb.Entry("a/x/%d" % i, b"") for i in range(n))]))


def same_entries(directory, n):
    torch_file(directory, tb.archive([*tb.entries().values(), *(tb.Entry("a/data/0", b"") for _ in range(n))]))


def overlapping_entries(directory, n):
    torch_file(directory, tb.archive([*tb.entries().values(),
                                      *(tb.Entry("a/x/%d" % i, b"", offset=0) for i in range(n))]))


def headers_that_disagree(directory, n):
    torch_file(directory, tb.archive([*tb.entries().values(),
                                      *(tb.Entry("a/x/%d" % i, b"", local_name=b"a/y/%d" % i) for i in range(n))]))


def bytes_behind(directory, n):
    torch_file(directory, tb.archive(tb.entries().values(), suffix=bytes(n)))


def end_records(directory, n):
    torch_file(directory, tb.archive(tb.entries().values(), suffix=b"PK\5\6" * n))


def given_archive(names, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in names.items():
            archive.writestr("m/" + name, content)
    return out.getvalue()


def archive_bomb_config(directory, n):
    weights = open(os.path.join(DATA, "base", "model.safetensors"), "rb").read()
    content = given_archive({"model.safetensors": weights, "config.json": b"{" + b" " * (n << 20) + b"}"})
    write(directory, "bomb.zip", content)


def archive_bomb_header(directory, n):
    write(directory, "bomb.zip", given_archive({"model.safetensors": struct.pack("<Q", n << 20) + b"{" + b" " * (n << 20)}))


def archive_bomb_nodes(directory, n):
    text = b'{"t":[' + b"0," * (n << 16) + b"0]}"
    write(directory, "bomb.zip", given_archive({"model.safetensors": struct.pack("<Q", len(text)) + text}))


def archive_bomb_index(directory, n):
    text = b'{"metadata":[' + b"0," * (n << 16) + b"0]}"
    write(directory, "bomb.zip", given_archive({"model.safetensors.index.json": text, "model.safetensors": b""}))


def archive_bomb_pickle(directory, n):
    names = b"\x80\2}" + b"X\4\0\0\0abcdNs" * (n << 15) + b"."
    write(directory, "bomb.zip", given_archive({"pytorch_model.bin": tb.archive(tb.entries(names).values())}))


def archive_bomb_storage(directory, n):
    elems = n << 19
    pickle = tb.pickle_of(("w", tb.tensor(numel=elems, sizes=(elems,))))
    shard = tb.archive(tb.entries(pickle, storages={"data/0": bytes(2 * elems)}).values())
    write(directory, "bomb.zip", given_archive({"pytorch_model.bin": shard}))


def archive_many_members(directory, n):
    write(directory, "bomb.zip", given_archive({"f%d.txt" % i: b"" for i in range(n)}, zipfile.ZIP_STORED))


# ---- Lists of other kinds ----


def good(directory):
    shutil.copytree(os.path.join(DATA, "delta"), directory, dirs_exist_ok=True)
    os.remove(os.path.join(directory, "SHA256SUMS"))


def sums_lines(directory, n):
    good(directory)
    write(directory, "SHA256SUMS", b"".join(b"%064x  f%d\n" % (i, i) for i in range(n)))


def sums_and_files(directory, n):
    good(directory)
    names = [b"tokenizer_%d.json" % i for i in range(n // 32)]
    for name in names:
        write(directory, name.decode(), b"{}")
    write(directory, "SHA256SUMS", b"".join(b"%064x  f%d\n" % (i, i) for i in range(n)))


def many_files(directory, n):
    good(directory)
    for i in range(n):
        write(directory, "f%d" % i, b"")


def config_keys(directory, n):
    good(directory)
    write(directory, "config.json", b"{" + b",".join(b'"k%d":1' % i for i in range(n)) + b"}")


def added_tokens(directory, n):
    good(directory)
    write(directory, "added_tokens.json", json.dumps({"t%d" % i: i for i in range(n)}).encode())


def params(directory, n):
    write(directory, "params.json", b'{"dim":' + b"[" * n)
    write(directory, "consolidated.00.pth", tb.archive(tb.entries().values()))


def checklist(directory, n):
    shutil.copytree("tests/data/meta/one", directory, dirs_exist_ok=True)
    write(directory, "checklist.chk", b"".join(b"%032x  f%d\n" % (i, i) for i in range(n)))


def checklist_of_one_file(directory, n):
    shutil.copytree("tests/data/meta/one", directory, dirs_exist_ok=True)
    content = bytes(10000 * n)
    write(directory, "tokenizer.model", content)
    write(directory, "checklist.chk", b"%s  tokenizer.model\n" % hashlib.md5(content).hexdigest().encode() * n)


# ---- What llavamed-verify reads ----


def sums_of_nothing(directory, n):
    write(directory, "SHA256SUMS", b"".join(b"%064x  f%d\n" % (i, n - i) for i in range(n)))


def sums_of_one_file(directory, n):
    write(directory, "f", b"")
    write(directory, "SHA256SUMS", b"".join(b"%064x  f\n" % i for i in range(n)))


def sums_that_are_none(directory, n):
    write(directory, "SHA256SUMS", b"\n" * n)


def sums_of_long_names(directory, n):
    write(directory, "SHA256SUMS", b"".join(b"%064x  %s%d\n" % (i, b"x" * 1000, i) for i in range(n)))


def extra_files(directory, n):
    write(directory, "SHA256SUMS", b"%064x  missing\n" % 0)
    for i in range(n):
        write(directory, "f%d" % i, b"x")


def manifest(directory, tensors, shards=("model.safetensors",), documents=()):
    files = [[{"name": name, "bytes": 1, "sha256": "%064x" % i} for i, name in enumerate(names)]
             for names in (shards, documents)]
    rows = ['{"name":"%s","dtype":"F16","shape":[1],"shard":"%s","crc32":"%08x"}' % row for row in tensors]
    text = '{"format":"llavamed-manifest","version":1,"shards":%s,"documents":%s,"tensors":[%s]}'
    write(directory, "llavamed-manifest.json", (text % (*map(json.dumps, files), ",".join(rows))).encode())


def wrong_tensors(directory, n):
    """All alike, none as recorded: whose bytes they are is asked for each."""
    many_names(directory, n)
    manifest(directory, (("t%d" % i, "model.safetensors", 0x41D912FF if i % 2 else 7) for i in range(n)))


def renamed_tensors(directory, n):
    many_names(directory, n)
    manifest(directory, (("u%d" % (n - i), "model.safetensors", 0x41D912FF) for i in range(n)))


def tensors_of_many_shards(directory, n):
    manifest(directory, (("t%d" % i, "s%d" % (n - 1 - i), 0) for i in range(n)), ["s%d" % i for i in range(n)])


def recorded_documents(directory, n):
    manifest(directory, (), documents=["d%d" % (n - i) for i in range(n)])


def one_recorded_tensor(directory, n):
    many_names(directory, n)
    manifest(directory, (("t", "model.safetensors", 0) for _ in range(n)))


def index_of_others(directory, n):
    index(directory, ((b"u%d" % i, b"model.safetensors") for i in range(n)))
    many_names(directory, n)


def shards_of_others(directory, n):
    """PER_SHARD tensors in each of n shards, none of them in another checkpoint: for each it is asked where it lies."""
    names = [[b"t%d.%d" % (i, k) for k in range(PER_SHARD)] for i in range(n)]
    index(directory, ((name, b"s%d.safetensors" % i) for i in range(n) for name in names[i]))
    for i in range(n):
        text = rows(names[i])
        write(directory, "s%d.safetensors" % i, struct.pack("<Q", len(text)) + text + bytes(2 * PER_SHARD))


def views(directory, n, shape_of):
    """n tensors that are views of one storage of n elements."""
    hooks = tb.glob("collections", "OrderedDict")
    rebuild = tb.glob("torch._utils", "_rebuild_tensor_v2")
    first = rebuild + b"q\2(" + tb.persid(numel=n) + b"q\3" + b"K\0(K\1t(K\1t\x89" + hooks + b"q\0)RtR"
    rest = b"".join(tb.text("t%d" % i) + b"h\2(h\3" + tb.integer(offset) + tb.ints((size,)) + b"(K\1t\x89h\0)RtR"
                    for i, (offset, size) in enumerate(map(shape_of, range(n))))
    pickles.pickle(directory, b"\x80\2}(" + tb.text("t") + first + rest + b"u.", storages={"data/0": bytes(2 * n)})
    manifest(directory, (("t%d" % i, "pytorch_model.bin", 1) for i in range(n)), ["pytorch_model.bin"])


def one_over_many(directory, n):
    views(directory, n, lambda i: (0, n) if i == 0 else (i, 1))


def longer_and_longer(directory, n):
    views(directory, n, lambda i: (0, i))


CASES = [
    Case("safetensors: names", many_names, 10000, 4, 24),
    Case("safetensors: names backwards", reversed_names, 10000, 4, 24),
    Case("safetensors: names of 1000 bytes that differ at the end", long_names, 2000, 4),
    Case("safetensors: data backwards", reversed_offsets, 10000, 4, 24),
    Case("safetensors: one name", one_name, 15000, 3, 24),
    Case("safetensors: one place", one_place, 15000, 3, 24),
    Case("safetensors: metadata", metadata, 40000, 4, 16),
    Case("safetensors: keys of one tensor", keys_of_one_tensor, 40000, 3, 16),
    Case("safetensors: escapes", escapes, 500000, 3),
    Case("safetensors: a long number", long_number, 500000, 3),
    Case("JSON: deep arrays", deep_arrays, 250000, 3, flat=FLAT_BYTES),
    Case("JSON: deep objects", deep_objects, 200000, 3, flat=FLAT_BYTES),
    Case("index: names", index_names, 15000, 3, 24),
    Case("index: files", index_files, 15000, 3, 24),
    Case("index: one name", index_duplicates, 20000, 3, 24),
    Case("index: links to one file", files.links, 50, 3, flat=FLAT_BYTES),
    Case("zip: entries", many_entries, 20000, 4),
    Case("zip: one name", same_entries, 20000, 3),
    Case("zip: entries in one place", overlapping_entries, 20000, 3),
    Case("zip: local headers that disagree", headers_that_disagree, 20000, 3),
    Case("zip: bytes behind", bytes_behind, 70000, 3, flat=FLAT_BYTES),
    Case("zip: end records", end_records, 16000, 3, flat=FLAT_BYTES),
    Case("archive: members", archive_many_members, 4000, 3),
    Case("archive: bomb in config.json", archive_bomb_config, 32, 3, flat=FLAT_BYTES),
    Case("archive: bomb in a header", archive_bomb_header, 32, 3, flat=FLAT_BYTES),
    Case("archive: bomb in the values of a header", archive_bomb_nodes, 7, 3, flat=ARCHIVE_BYTES),
    Case("archive: bomb in an index", archive_bomb_index, 7, 3, flat=ARCHIVE_BYTES),
    Case("archive: bomb in a pickle", archive_bomb_pickle, 2, 3, flat=ARCHIVE_BYTES),
    Case("archive: bomb in a storage", archive_bomb_storage, 32, 4, flat=FLAT_BYTES),
    Case("pickle: tensors of one storage", pickles.many_tensors, 10000, 4, 32),
    Case("pickle: one name", pickles.one_tensor_name, 100000, 3, 32),
    Case("pickle: storages", pickles.many_storages, 5000, 4),
    Case("pickle: tuples in tuples", pickles.nested_tuples, 250000, 3, flat=FLAT_BYTES),
    Case("pickle: lists in lists", pickles.nested_lists, 250000, 3, 64),
    Case("pickle: dictionaries in dictionaries", pickles.nested_dicts, 250000, 3, 64),
    Case("pickle: marks", pickles.nested_marks, 250000, 3, flat=FLAT_BYTES),
    Case("pickle: a list in itself", pickles.list_in_itself, 250000, 3, 64),
    Case("pickle: memo bomb", pickles.memo_bomb, 1, 3, flat=FLAT_BYTES),
    Case("pickle: a long tuple again and again", pickles.long_tuple_again, 250000, 3, 64),
    Case("pickle: a far memo index", pickles.memo_far, 1, 3, flat=FLAT_BYTES),
    Case("pickle: memo", pickles.memo_puts, 250000, 3, 64),
    Case("pickle: integers of 255 bytes", pickles.long_integers, 4000, 3),
    Case("pickle: strings that claim 2 GiB", pickles.strings_that_claim, 1, 3, flat=FLAT_BYTES),
    Case("pickle: dimensions", pickles.wide_shape, 100000, 3, 64),
    Case("pickle: a stride of 0", pickles.stride_bomb, 1, 3, flat=FLAT_BYTES),
    Case("pickle: a long key again and again", pickles.long_key, 100000, 3, 32),
    Case("pickle: two long keys by turns", pickles.long_keys_by_turns, 50000, 3, 64),
    Case("pickle: one long key, written twice, by turns", pickles.long_key_twice_by_turns, 50000, 3, 64),
    Case("pickle: a long location again and again", pickles.long_location, 100000, 3, 64),
    Case("pickle: attributes of many parameters", pickles.attributes, 50000, 3, 32),
    Case("legacy: a long key again and again", pickles.legacy_long_key, 100000, 3, 64),
    Case("views: many of one storage", pickles.views_of_one_storage, 10000, 0, 32),
    Case("views: that overlap or not, who can tell", pickles.hard_views, 5000, 3),
    Case("legacy: keys", pickles.legacy_keys, 50000, 3, 32),
    Case("legacy: storages", pickles.legacy_storages, 5000, 4, 32),
    Case("SHA256SUMS: lines", sums_lines, 50000, 0),
    Case("SHA256SUMS: lines and files", sums_and_files, 10000, 3),
    Case("--sums: lines of one file of many names", files.sums_of_one_file, 5000, 3, command=files.sums),
    Case("--sums: lines of names", files.sums_of_names, 5000, 3, command=files.sums),
    Case("parts: files of both inputs", files.many_inputs, 2500, 0, 24, command=files.finish),
    Case("parts: more files than an input has", files.too_many_inputs, 25000, 5, 32, command=files.finish),
    Case("parts: one input again and again", files.one_input_again, 25000, 5, 24, command=files.finish),
    Case("parts: many without work", files.many_parts, 1000, 0, 24, command=files.finish),
    Case("claims: old ones of others", files.old_claims, 500, 0, command=files.run_whole, wall=10),
    Case("directory: files", many_files, 1000, 0, 4096),
    Case("config.json: keys", config_keys, 20000, 0),
    Case("added_tokens.json: tokens", added_tokens, 20000, 0),
    Case("params.json: deep", params, 100000, 3, flat=FLAT_BYTES),
    Case("checklist.chk: lines", checklist, 380, 4),
    Case("checklist.chk: lines of one file", checklist_of_one_file, 300, 4),
    Case("verify: sums of files that are missing", sums_of_nothing, 50000, 1, verified=True),
    Case("verify: sums of one file", sums_of_one_file, 50000, 1, verified=True),
    Case("verify: lines that are none", sums_that_are_none, 500000, 1, verified=True),
    Case("verify: sums of long names", sums_of_long_names, 4000, 1, verified=True),
    Case("verify: extra files", extra_files, 1000, 1, 4096, verified=True),
    Case("verify: tensors that are wrong", wrong_tensors, 15000, 1, 24, verified=True),
    Case("verify: tensors with other names", renamed_tensors, 15000, 1, 24, verified=True),
    Case("verify: tensors of many shards", tensors_of_many_shards, 10000, 1, 24, verified=True),
    Case("verify: recorded files", recorded_documents, 20000, 1, 24, verified=True),
    Case("verify: one recorded tensor", one_recorded_tensor, 15000, 1, 24, verified=True),
    Case("verify: an index of others", index_of_others, 15000, 1, 24, verified=True),
    Case("verify: shards without a tensor of another checkpoint", shards_of_others, 200, 1, 64, verified=True,
         more=("--against", os.path.join(DATA, "base"))),
    Case("verify: one view over many", one_over_many, 10000, 1, 32, verified=True),
    Case("verify: longer and longer views", longer_and_longer, 10000, 1, 32, verified=True),
]


class Cost:
    def __init__(self, seconds, n_bytes, status, text, wall):
        self.seconds, self.n_bytes, self.status, self.text, self.wall = seconds, n_bytes, status, text, wall


def measure(tools, directory, place, verified=False, more=(), command=None):
    weights = os.path.join(directory, "bomb.zip") if os.path.exists(os.path.join(directory, "bomb.zip")) else directory
    argv = files.apply("--delta", weights, "--out", os.path.join(place, "out"), "-n")
    if command is not None:
        argv = command(directory)
    if verified:
        argv = ["sh", "-c", 'exec "$0" "$@" >/dev/null', tools.verify, directory, *more]
    # A child's peak memory begins with that of whoever started it, so a small program does. /proc: nothing to sync.
    run = subprocess.run([tools.timed, "/proc", *argv, "-j", "2"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    told = dict(pair.split("=") for pair in run.stdout.split())
    return Cost(float(told["user"]) + float(told["system"]), int(told["peak_kib"]) << 10, int(told["exit"]), run.stderr,
                float(told["seconds"]))


def least(times, *what):
    costs = [measure(*what) for _ in range(times)]
    return Cost(min(c.seconds for c in costs), min(c.n_bytes for c in costs), costs[0].status, costs[0].text,
                min(c.wall for c in costs))


def size_of(directory):
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(directory) for name in names)


def judge(case, empty, costs, sizes):
    """What is wrong, or None; and the row of the table."""
    seconds = [max(c.seconds - empty.seconds, 0) for c in costs]
    memory = [max(c.n_bytes - empty.n_bytes, 0) for c in costs]
    row = (case.name, sizes[1], costs[1].status, seconds[1], memory[1],
           seconds[1] / seconds[0] if seconds[0] > NOISE_SECONDS else None)
    for cost in costs:
        if cost.status != case.status:
            return f"exit status {cost.status}, want {case.status}: {cost.text[:300]}", row
        if cost.status != 0 and cost.text.count(": error: ") != 1:
            return f"not one error: {cost.text[:300]!r}", row
    if case.wall and costs[1].wall > case.wall:
        return f"{costs[1].wall:.1f} s went by (want at most {case.wall})", row
    if case.flat:
        if seconds[1] > FLAT_SECONDS or memory[1] > case.flat:
            return f"{seconds[1]:.2f} s and {memory[1]} bytes for {sizes[1]} bytes", row
        return None, row
    if seconds[1] > GROWTH * max(seconds[0], NOISE_SECONDS):
        return f"time grows too fast: {seconds[0]:.3f} s, then {seconds[1]:.3f} s at four times the size", row
    if memory[1] > GROWTH * max(memory[0], NOISE_BYTES) or memory[1] > NOISE_BYTES + case.times * sizes[1]:
        return f"{memory[0]} bytes for {sizes[0]}, {memory[1]} for {sizes[1]} (want at most {case.times} each)", row
    return None, row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True, type=os.path.abspath)
    parser.add_argument("--verify", required=True, type=os.path.abspath, help="llavamed-verify")
    parser.add_argument("--timed", required=True, type=os.path.abspath, help="tests/bench/timed.c")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    files.program = options.program
    passed = failed = 0
    with tempfile.TemporaryDirectory() as place:
        nothing = os.path.join(place, "nothing")
        os.mkdir(nothing)
        shard(nothing, rows([b"t"]), bytes(2))
        empty = [least(5, options, nothing, place, verified) for verified in (False, True)]
        for case in CASES:
            if options.only not in case.name:
                continue
            costs, sizes = [], []
            for n in case.n, 4 * case.n:
                directory = os.path.join(place, "weights")
                os.mkdir(directory)
                case.make(directory, n)
                sizes.append(size_of(directory))
                costs.append(least(1 if case.wall else 2, options, directory, place, case.verified, case.more,
                                   case.command))
                shutil.rmtree(directory)
            wrong, row = judge(case, empty[case.verified], costs, sizes)
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            if wrong is not None:
                print(f"FAILED {case.name}: {wrong}")
            if options.table:
                growth = "" if row[5] is None else f"{row[5]:.1f}"
                print(f"| {row[0]} | {row[1]:,} | {row[2]} | {row[3]:.2f} | {row[4] / row[1]:.2f} | {growth} |", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
