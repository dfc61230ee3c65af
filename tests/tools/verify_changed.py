# SPDX-License-Identifier: Apache-2.0
"""Changes elements of a directory that llavamed-apply wrote, and makes all of its records anew, so that they agree with
the change: the directory is intact, and only a comparison with what it should be finds it.

Where which element lies, its value and all checksums are found out here, with struct, json, zipfile, pickle, zlib and
hashlib alone.

Usage: verify_changed.py PROGRAM DIR KIND OPTION..., KIND one of elements, exchanged; the options ask for the comparison.
Prints a line for each thing that was not found as it is, then "N changed, N not found". DIR is as it was afterwards.
"""

import hashlib
import json
import os
import random
import re
import struct
import sys
import zipfile
import zlib

from verify_damage import is_weights, run, spans

ELEMENT_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
MANIFEST = "llavamed-manifest.json"


def is_value(text, dtype, raw):
    """Whether a decimal number is that of an element and of no other of its dtype."""
    number = float(text)
    if dtype == "BF16":
        bits, = struct.unpack("<I", struct.pack("<f", number))
        bits += 0x7fff + (bits >> 16 & 1)
        return number != number or struct.pack("<H", bits >> 16) == raw
    return number != number or struct.pack({"F16": "<e", "F32": "<f"}[dtype], number) == raw


def remake_zip(content):
    """A .bin with the CRC-32 of each record that its bytes have now."""
    content = bytearray(content)
    end = content.rindex(b"PK\5\6")
    n_entries, _, at = struct.unpack("<HII", content[end + 10:end + 20])
    for _ in range(n_entries):
        old, size, _, name, extra, comment = struct.unpack("<IIIHHH", content[at + 16:at + 34])
        local, = struct.unpack("<I", content[at + 42:at + 46])
        begin = local + 30 + sum(struct.unpack("<HH", content[local + 26:local + 30]))
        new = zlib.crc32(content[begin:begin + size])
        content[at + 16:at + 20] = struct.pack("<I", new)
        if struct.unpack("<I", content[local + 14:local + 18])[0] == old:
            content[local + 14:local + 18] = struct.pack("<I", new)
        if content[begin + size:begin + size + 8] == b"PK\7\10" + struct.pack("<I", old):
            content[begin + size + 4:begin + size + 8] = struct.pack("<I", new)
        at += 46 + name + extra + comment
    return bytes(content)


class Directory:
    """Its files as they were, and what is claimed of them."""

    def __init__(self, program, path, options):
        self.program, self.path, self.options = program, path, options
        self.files = {name: self.read(name) for name in os.listdir(path)}
        self.manifest = json.loads(self.files[MANIFEST])
        self.form = {tensor["name"]: tensor for tensor in self.manifest["tensors"]}
        self.spans = {name: spans(os.path.join(path, name)) for name in sorted(self.files) if is_weights(name)}
        self.n_changed = self.n_bad = 0

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def write(self, files):
        for name, content in files.items():
            with open(os.path.join(self.path, name), "wb") as file:
                file.write(content)

    def tensors(self):
        return [(file, name, *span) for file, inside in self.spans.items() for name, span in inside.items()]

    def with_records(self, changed):
        """The files that are changed, with all records of them."""
        made = {name: remake_zip(content) if name.endswith(".bin") else content for name, content in changed.items()}
        manifest = json.loads(self.files[MANIFEST])
        text = self.files[MANIFEST]
        for name, content in made.items():
            text = text.replace(hashlib.sha256(self.files[name]).hexdigest().encode(),
                                hashlib.sha256(content).hexdigest().encode())
        lines = text.split(b"\n")
        for tensor in manifest["tensors"]:
            if tensor["shard"] in made:
                begin, end = self.spans[tensor["shard"]][tensor["name"]]
                new = b'"crc32": "%08x"' % zlib.crc32(made[tensor["shard"]][begin:end])
                lines = [line.replace(b'"crc32": "%s"' % tensor["crc32"].encode(), new)
                         if b'"name": "%s"' % tensor["name"].encode() in line else line for line in lines]
        made[MANIFEST] = b"\n".join(lines)
        sums = self.files["SHA256SUMS"]
        for name, content in made.items():
            sums = sums.replace(hashlib.sha256(self.files[name]).hexdigest().encode(),
                                hashlib.sha256(content).hexdigest().encode())
        made["SHA256SUMS"] = sums
        return made

    def changes_of(self, file, name, content):
        """What the one finding about a tensor must be, by its bytes before and after; None: no change."""
        begin, end = self.spans[file][name]
        width = ELEMENT_BYTES[self.form[name]["dtype"]]
        old, new = self.files[file][begin:end], content[begin:end]
        places = [at for at in range(0, len(old), width) if old[at:at + width] != new[at:at + width]]
        if not places:
            return None
        first, flat, index = places[0], places[0] // width, []
        rest = flat
        for dimension in reversed(self.form[name]["shape"]):
            index.insert(0, rest % dimension)
            rest //= dimension
        return {"n": len(places), "of": len(old) // width, "index": str(index), "flat": flat, "offset": begin + first,
                "got": new[first:first + width], "want": old[first:first + width]}

    def is_found(self, finding, file, name, change):
        dtype = self.form[name]["dtype"]
        match = re.search(r" in (\d+) of (\d+) elements, first in (\[[0-9, ]*\]), element (\d+) "
                          r"\(got (\S+) 0x([0-9a-f]+), want (\S+) 0x([0-9a-f]+)\)$", finding["what"])
        return (finding["code"] == "TENSOR_DIFFERS" and finding["file"] == file and finding["tensor"] == name and
                finding["offset"] == change["offset"] and match is not None and
                int(match[1]) == change["n"] and int(match[2]) == change["of"] and match[3] == change["index"] and
                int(match[4]) == change["flat"] and
                is_value(match[5], dtype, change["got"]) and bytes.fromhex(match[6])[::-1] == change["got"] and
                is_value(match[7], dtype, change["want"]) and bytes.fromhex(match[8])[::-1] == change["want"])

    def check(self, what, changed):
        """The records agree; the comparison finds each tensor that is changed, and nothing else."""
        self.n_changed += 1
        made = self.with_records(changed)
        self.write(made)
        alone, _ = run(self.program, self.path)
        status, report = run(self.program, self.path, *self.options)
        self.write({name: self.files[name] for name in made})
        want = {(file, name): change for file, name, _, _ in self.tensors() if file in changed
                for change in [self.changes_of(file, name, made[file])] if change}
        got = {(finding["file"], finding["tensor"]): finding for finding in report["findings"]}
        bad = [name for (file, name), change in want.items()
               if (file, name) not in got or not self.is_found(got[file, name], file, name, change)]
        n_tensors = len(self.form)
        if (alone != 0 or status != 1 or bad or len(report["findings"]) != len(want) or
                report["compared"]["tensors"] != n_tensors or report["compared"]["equal"] != n_tensors - len(want)):
            self.n_bad += 1
            print("%s: without comparing status %d (want 0), with status %d (want 1), not found: %s, findings: %s"
                  % (what, alone, status, bad, report["findings"]))


def elements(directory):
    """In every tensor one element, the first, the last or any, and several."""
    dice = random.Random(11)
    for file, name, begin, end in directory.tensors():
        width = ELEMENT_BYTES[directory.form[name]["dtype"]]
        n = (end - begin) // width
        for places in ([dice.choice((0, n - 1, dice.randrange(n)))], dice.sample(range(n), min(n, 3))):
            content = bytearray(directory.files[file])
            for place in places:
                content[begin + place * width + dice.randrange(width)] ^= 1 << dice.randrange(8)
            directory.check("%s: elements %s" % (name, places), {file: bytes(content)})


def exchanged(directory):
    """Tensors of one form with each other's bytes, in one file and in two."""
    dice = random.Random(12)
    places = directory.tensors()
    n_pairs = 0
    for i, (file_a, a, begin_a, end_a) in enumerate(places):
        for file_b, b, begin_b, end_b in places[i + 1:]:
            form_a, form_b = directory.form[a], directory.form[b]
            if form_a["dtype"] != form_b["dtype"] or form_a["shape"] != form_b["shape"] or dice.randrange(4) > 0:
                continue
            changed = {name: bytearray(directory.files[name]) for name in {file_a, file_b}}
            changed[file_a][begin_a:end_a] = directory.files[file_b][begin_b:end_b]
            changed[file_b][begin_b:end_b] = directory.files[file_a][begin_a:end_a]
            if changed[file_a] != directory.files[file_a]:
                n_pairs += 1
                directory.check("%s and %s exchanged" % (a, b), {name: bytes(made) for name, made in changed.items()})
    if n_pairs == 0:
        directory.n_bad += 1
        print("no two tensors to exchange")


def main():
    directory = Directory(sys.argv[1], sys.argv[2], sys.argv[4:])
    {"elements": elements, "exchanged": exchanged}[sys.argv[3]](directory)
    print("%d changed, %d not found" % (directory.n_changed, directory.n_bad))
    sys.exit(directory.n_bad != 0)


if __name__ == "__main__":
    main()
