# SPDX-License-Identifier: Apache-2.0
"""A volume in memory: plays back the calls that crash_shim.c has written down, and says what a power failure may leave.

What is on storage for certain is what POSIX and the common file systems promise, and no more: the bytes of a file after its
fsync, the names in a directory after the directory's. Of everything since, any part may be there:

- bytes: each sector of 512 bytes of each write by itself, the length by itself;
- names: each change by itself, but for one that a later change of the same name rests on. A rename within a directory, and
  an exchange, are there as a whole or not. A rename between directories may be found half done: under both names, never under
  none.
"""
import collections
import hashlib
import os

SECTOR = 512
OLD_TIME_NS = 1600000000 * 10**9


class File:
    """A plain file: its bytes, those on storage, and what happened since."""

    def __init__(self, data=b""):
        self.data, self.synced, self.pending = bytearray(data), bytes(data), []

    def write(self, offset, data):
        put(self.data, offset, data)
        self.pending.append((offset, data))

    def resize(self, n_bytes, may_shrink):
        if n_bytes > len(self.data):
            self.data.extend(bytes(n_bytes - len(self.data)))
        elif may_shrink:
            del self.data[n_bytes:]
        self.pending.append((n_bytes, None if may_shrink else b""))

    def sync(self):
        self.synced, self.pending = bytes(self.data), []

    def after(self, loss):
        """Its bytes after a power failure."""
        data = bytearray(self.synced)
        for offset, piece in self.pending:
            if piece is None or piece == b"":
                if loss.keeps_size():
                    if offset > len(data):
                        data.extend(bytes(offset - len(data)))
                    elif piece is None:
                        del data[offset:]
                continue
            for at in range(0, len(piece), SECTOR):
                if loss.keeps_bytes():
                    put(data, offset + at, piece[at:at + SECTOR])
        return bytes(data)


def put(data, offset, piece):
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset:offset + len(piece)] = piece


class Directory:
    """Names; `synced` is what they are on storage."""

    def __init__(self):
        self.names, self.synced = {}, {}


class Change:
    """A change of names that is on storage as a whole or not: [(directory, name, what is there then or None)]."""

    def __init__(self, parts, rests_on=()):
        self.parts, self.rests_on = parts, set(rests_on)


class Loss:
    """What a power failure leaves of what was not synced."""

    def __init__(self, name, generator, names, sizes, data):
        self.name, self.generator = name, generator
        self.share_names, self.share_sizes, self.share_data = names, sizes, data

    def chance(self, share):
        return share == 1 or (share > 0 and self.generator.random() < share)

    def keeps_size(self):
        return self.chance(self.share_sizes)

    def keeps_bytes(self):
        return self.chance(self.share_data)

    def kept_changes(self, changes):
        """Those that are there, in order. A negative share: the first ones, as a journal of the file system leaves them."""
        if self.share_names < 0:
            return changes[:self.generator.randint(0, len(changes))]
        every, kept = set(changes), set()
        for change in changes:
            if self.chance(self.share_names) and (change.rests_on & every) <= kept:
                kept.add(change)
        return [change for change in changes if change in kept]


def losses(generator, n_random):
    """All manners of losing at one moment."""
    yield Loss("nothing more", generator, 0, 0, 0)
    yield Loss("everything", generator, 1, 1, 1)
    yield Loss("names alone", generator, 1, 0, 0)
    yield Loss("names and lengths", generator, 1, 1, 0)
    yield Loss("bytes alone", generator, 0, 1, 1)
    for _ in range(n_random):
        yield Loss("first names, some bytes", generator, -1, 0.7, 0.5)
        yield Loss("some names, all bytes", generator, 0.5, 1, 1)
        yield Loss("some names, some bytes", generator, 0.5, 0.5, 0.5)
        yield Loss("most names, most bytes", generator, 0.9, 0.9, 0.9)


class Volume:
    """One directory and what lies in it, at most one level deeper."""

    def __init__(self, place):
        self.place = str(place)
        self.root = self.load(place)
        self.open_files = {}
        self.changes = []  # of names, that are not on storage

    def load(self, place):
        directory = Directory()
        for path in place.iterdir():
            directory.names[path.name] = self.load(path) if path.is_dir() else File(path.read_bytes())
        directory.synced = dict(directory.names)
        return directory

    # ---- Playing back ----

    def relative(self, path):
        """The directory that holds `path`, and its name there; (None, None) for the root."""
        parts = [part for part in path.removeprefix(self.place).split("/") if part not in ("", ".")]
        directory = self.root
        for part in parts[:-1]:
            directory = directory.names[part]
        return (directory, parts[-1]) if parts else (None, None)

    def find(self, path):
        directory, name = self.relative(path)
        return self.root if directory is None else directory.names.get(name)

    def change(self, *parts, after=()):
        touched = {(id(directory), name) for directory, name, _ in parts}
        rests_on = set(after) | {change for change in self.changes
                                 if any((id(directory), name) in touched for directory, name, _ in change.parts)}
        made = Change(list(parts), rests_on)
        self.changes.append(made)
        for directory, name, what in parts:
            if what is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = what
        return made

    def sync_directory(self, directory):
        """What rests on nothing that is not synced by then is on storage, in the order of the changes."""
        wanted = set()
        for change in self.changes:
            if any(part[0] is directory for part in change.parts):
                wanted.add(change)
        for change in reversed(self.changes):
            if change in wanted:
                wanted |= change.rests_on & set(self.changes)
        for change in self.changes:
            if change in wanted:
                apply(change, "synced")
        self.changes = [change for change in self.changes if change not in wanted]

    def play(self, record):
        call, result, args, data = record
        if result < 0:
            return
        if call == "open":
            self.play_open(result, *args)
        elif call in ("pwrite", "ftruncate", "fallocate", "fsync", "sync_file_range", "close"):
            self.play_on_file(call, self.open_files.get(int(args[0])), args, data)
        else:
            self.play_on_names(call, args[0], args[1])

    def play_open(self, fd, creates, path):
        what = self.find(path)
        if what is None and int(creates):
            directory, name = self.relative(path)
            what = File()
            self.change((directory, name, what))
        self.open_files[fd] = what

    def play_on_file(self, call, what, args, data):
        if call == "pwrite":
            what.write(int(args[1]), data)
        elif call == "ftruncate":
            what.resize(int(args[1]), True)
        elif call == "fallocate":
            what.resize(int(args[1]), False)
        elif call == "fsync" and isinstance(what, Directory):
            self.sync_directory(what)
        elif call == "fsync":
            what.sync()
        elif call == "close":
            self.open_files.pop(int(args[0]), None)

    def play_on_names(self, call, a, b):
        from_directory, from_name = self.relative(a)
        to_directory, to_name = self.relative(b) if b else (None, None)
        what = self.find(a)
        if call == "mkdir":
            self.change((from_directory, from_name, Directory()))
        elif call in ("unlink", "rmdir"):
            self.change((from_directory, from_name, None))
        elif call == "link":
            self.change((to_directory, to_name, what))
        elif call == "exchange":
            self.change((from_directory, from_name, self.find(b)), (to_directory, to_name, what))
        elif call == "rename" and from_directory is to_directory:
            self.change((from_directory, from_name, None), (to_directory, to_name, what))
        elif call == "rename":
            made = self.change((to_directory, to_name, what))
            self.change((from_directory, from_name, None), after=[made])

    # ---- What a power failure leaves ----

    def after(self, loss):
        """{path below the root: bytes, None for a directory, or the path that it is another name of}."""
        names = {}

        def names_of(directory):
            return names.setdefault(id(directory), dict(directory.synced))

        for change in loss.kept_changes(self.changes):
            for directory, name, what in change.parts:
                if what is None:
                    names_of(directory).pop(name, None)
                else:
                    names_of(directory)[name] = what
        tree, seen = {}, {}

        def walk(directory, prefix):
            for name, what in sorted(names_of(directory).items()):
                path = prefix + name
                if isinstance(what, Directory):
                    tree[path] = None
                    walk(what, path + "/")
                elif id(what) in seen:
                    tree[path] = seen[id(what)]
                else:
                    tree[path] = what.after(loss)
                    seen[id(what)] = path
        walk(self.root, "")
        return tree


def apply(change, which):
    for directory, name, what in change.parts:
        names = getattr(directory, which)
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


def digest(tree):
    total = hashlib.sha256()
    for path, what in sorted(tree.items()):
        kind = b"d" if what is None else b"l" + what.encode() if isinstance(what, str) else b"f" + what
        total.update(path.encode() + b"\0" + hashlib.sha256(kind).digest())
    return total.hexdigest()


def make(tree, place):
    """Puts a tree into an empty directory. All of it is old, as after the time that a machine takes to come up again."""
    for path, what in sorted(tree.items()):
        if what is None:
            (place / path).mkdir()
        elif not isinstance(what, str):
            (place / path).write_bytes(what)
    for path, what in tree.items():
        if isinstance(what, str):
            os.link(place / what, place / path)
    for path in tree:
        os.utime(place / path, ns=(OLD_TIME_NS, OLD_TIME_NS))


Record = collections.namedtuple("Record", "call result args data")


def read_log(path):
    """The records of a log, and how many of them are changes."""
    text = path.read_bytes()
    records, n_changes, at = [], 0, 0
    while at < len(text):
        end = text.index(b"\t\n", at)
        number, call, result, *args, n_bytes = text[at:end].decode().split("\t")
        at = end + 2 + int(n_bytes)
        records.append((int(number), Record(call, int(result), args, text[end + 2:at])))
        n_changes = max(n_changes, int(number))
    return records, n_changes
