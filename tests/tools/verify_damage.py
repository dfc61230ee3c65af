# SPDX-License-Identifier: Apache-2.0
"""Damages a directory that llavamed-apply wrote, one thing at a time, and holds what llavamed-verify says against it.

Where which tensor lies is found out here, with struct, json, zipfile and pickle alone. After each damage the program is
to end with exit status 1 and to name, in a finding, the file, and the tensor where a tensor's bytes were touched.

Usage: verify_damage.py PROGRAM DIR KIND, KIND one of flips, files, tensors. Prints a line for each thing that was not
found, then "N damaged, N not named". DIR is as it was afterwards.
"""

import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
import zlib


def run(program, directory, *options):
    process = subprocess.run([program, directory, "--json", "-q", *options], capture_output=True, text=True, check=False)
    return process.returncode, json.loads(process.stdout)


# ---- Where tensors are ----


class Tensors(pickle.Unpickler):
    """The state dict as {name: (storage key, first element, elements, bytes of an element)}."""

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, *_: (*storage, offset, shape)
        if name == "OrderedDict":
            return dict
        return {"HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4, "DoubleStorage": 8, "LongStorage": 8,
                "BoolStorage": 1}[name]

    def persistent_load(self, pid):
        return pid[2], pid[1]


def spans(path):
    """{tensor: (begin, end)} of a weights file."""
    if path.endswith(".safetensors"):
        with open(path, "rb") as file:
            n, = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(n))
        return {name: tuple(8 + n + at for at in entry["data_offsets"]) for name, entry in header.items()
                if name != "__metadata__"}
    found = {}
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename.split("/", 1)[1]: info for info in archive.infolist()}
        with archive.open(entries["data.pkl"]) as file:
            state = Tensors(file).load()
    with open(path, "rb") as file:
        for name, (key, size, offset, shape) in state.items():
            entry = entries["data/" + key]
            file.seek(entry.header_offset + 26)
            lengths = struct.unpack("<HH", file.read(4))
            n_elements = 1
            for dimension in shape:
                n_elements *= dimension
            begin = entry.header_offset + 30 + sum(lengths) + offset * size
            found[name] = (begin, begin + n_elements * size)
    return found


def is_weights(name):
    return name.endswith((".safetensors", ".bin"))


# ---- The check ----


class Check:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.n_damaged = self.n_bad = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)

    def expect(self, what, files, tensors=(), options=()):
        """The status is 1; each file is that of a finding, or named in one; each tensor is that of a finding."""
        self.n_damaged += 1
        status, report = run(self.program, self.directory, *options)
        findings = report["findings"]
        missing = [name for name in files if not any(name == f["file"] or name in f["what"] for f in findings)]
        missing += [name for name in tensors if not any(name == f["tensor"] for f in findings)]
        if status != 1 or report["intact"] is not False or missing:
            self.n_bad += 1
            print("%s: status %d, not named: %s; findings: %s" % (what, status, missing, findings))

    def damaged(self, name, content, what, files=None, tensors=()):
        before = self.read(name)
        self.write(name, content)
        self.expect(what, files or [name], tensors)
        self.write(name, before)


def flips(check, per_file):
    """Single bits all over every file, the first and last bytes and every tensor among them."""
    dice = random.Random(7)
    for name in sorted(os.listdir(check.directory)):
        content = check.read(name)
        inside = spans(check.path(name)) if is_weights(name) else {}
        places = {0, len(content) - 1} | {dice.randrange(len(content)) for _ in range(per_file)}
        for begin, end in inside.values():
            places |= {begin, end - 1, dice.randrange(begin, end)} if end > begin else set()
        for place in sorted(places):
            bit = dice.randrange(8)
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            hit = [tensor for tensor, (begin, end) in inside.items() if begin <= place < end]
            check.damaged(name, bytes(flipped), "%s: bit %d of byte %d" % (name, bit, place), None, hit)


def files(check):
    """Files missing, renamed, cut, longer, added, exchanged."""
    names = sorted(os.listdir(check.directory))
    for name in names:
        content = check.read(name)
        os.remove(check.path(name))
        check.expect("%s removed" % name, [name])
        check.write(name + ".renamed", content)
        check.expect("%s renamed" % name, [name, name + ".renamed"])
        os.remove(check.path(name + ".renamed"))
        check.write(name, content)
        for cut in {1, len(content) // 2, len(content)}:
            check.damaged(name, content[:len(content) - cut], "%s cut by %d" % (name, cut))
        for more in (b"\0", b"\n", content):
            check.damaged(name, content + more, "%s longer by %d" % (name, len(more)))
    check.write("added file", b"x")
    check.expect("a file added", ["added file"])
    os.remove(check.path("added file"))
    weights = [name for name in names if is_weights(name)]
    for first, second in zip(weights, weights[1:]):
        contents = check.read(first), check.read(second)
        check.write(first, contents[1])
        check.write(second, contents[0])
        check.expect("%s and %s exchanged" % (first, second), [first, second])
        check.write(first, contents[0])
        check.write(second, contents[1])


def rename_in_header(content, old, new):
    """A safetensors file with one name in place of another, and the header as long as before."""
    n, = struct.unpack("<Q", content[:8])
    header = content[8:8 + n].replace(b'"%s"' % old.encode(), b'"%s"' % new.encode()).rstrip()
    return content[:8] + header + b" " * (n - len(header)) + content[8 + n:]


def tensors(check):
    """Tensors of one form with each other's bytes or names, in one file and in two; a tensor renamed; then the same
    with a SHA256SUMS that was made after it."""
    shards = {name: spans(check.path(name)) for name in sorted(os.listdir(check.directory)) if is_weights(name)}
    manifest = json.loads(check.read("llavamed-manifest.json"))
    form = {tensor["name"]: (tensor["dtype"], tensor["shape"]) for tensor in manifest["tensors"]}
    sums = check.read("SHA256SUMS")
    places = [(file, name, *span) for file, inside in shards.items() for name, span in inside.items()]
    n_pairs = 0
    for i, (file_a, a, begin_a, end_a) in enumerate(places):
        for file_b, b, begin_b, end_b in places[i + 1:]:
            contents = {file_a: check.read(file_a), file_b: check.read(file_b)}
            bytes_a, bytes_b = contents[file_a][begin_a:end_a], contents[file_b][begin_b:end_b]
            if form[a] != form[b] or bytes_a == bytes_b:
                continue
            n_pairs += 1
            changed = {name: bytearray(content) for name, content in contents.items()}
            changed[file_a][begin_a:end_a] = bytes_b
            changed[file_b][begin_b:end_b] = bytes_a
            for name, content in changed.items():
                check.write(name, content)
            check.expect("the bytes of %s and %s exchanged" % (a, b), {file_a, file_b}, [a, b])
            resum(check, sums, set(changed))
            check.expect("the same, SHA256SUMS made again", {file_a, file_b}, [a, b])
            check.write("SHA256SUMS", sums)
            for name, content in contents.items():
                check.write(name, content)
            if file_a == file_b and file_a.endswith(".safetensors"):
                swapped = rename_in_header(rename_in_header(rename_in_header(contents[file_a], a, "\x01"), b, a), "\x01", b)
                check.damaged(file_a, swapped, "the names of %s and %s exchanged" % (a, b), None, [a, b])
    for file, inside in shards.items():
        for name in list(inside)[:6] if file.endswith(".safetensors") else []:
            new = name[:-1] + ("u" if name[-1] != "u" else "v")
            check.damaged(file, rename_in_header(check.read(file), name, new), "%s renamed" % name, None, [name, new])
    if n_pairs == 0:
        check.n_bad += 1
        print("no two tensors to exchange")


def resum(check, sums, changed):
    """SHA256SUMS with the digests that the changed files have now."""
    lines = []
    for line in sums.decode().splitlines():
        name = line[66:]
        lines.append("%s  %s\n" % (hashlib.sha256(check.read(name)).hexdigest(), name) if name in changed else line + "\n")
    check.write("SHA256SUMS", "".join(lines).encode())


def check_manifest(check):
    """The CRC-32s that damage is told by, by zlib."""
    manifest = json.loads(check.read("llavamed-manifest.json"))
    inside = {name: spans(check.path(name)) for name in os.listdir(check.directory) if is_weights(name)}
    for tensor in manifest["tensors"]:
        begin, end = inside[tensor["shard"]][tensor["name"]]
        if zlib.crc32(check.read(tensor["shard"])[begin:end]) != int(tensor["crc32"], 16):
            check.n_bad += 1
            print("%s: not the CRC-32 of its bytes" % tensor["name"])


def main():
    program, directory, kind = sys.argv[1:]
    check = Check(program, directory)
    check_manifest(check)
    if kind == "flips":
        flips(check, 24)
    elif kind == "files":
        files(check)
    else:
        tensors(check)
    status, report = run(program, directory)
    if status != 0 or report["intact"] is not True:
        check.n_bad += 1
        print("what was damaged is not as it was: %s" % report["findings"])
    print("%d damaged, %d not named" % (check.n_damaged, check.n_bad))
    return 1 if check.n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
