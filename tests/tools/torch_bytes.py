# SPDX-License-Identifier: Apache-2.0
"""Pickles and archives as torch.save writes them, with any part of them set to something else. For make_torch_bad.py."""

import struct
import zlib

# ---- Pickles ----


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return b"X" + struct.pack("<I", len(b)) + b


def integer(v):
    if 0 <= v < 256:
        return b"K" + bytes([v])
    if -(2**31) <= v < 2**31:
        return b"J" + struct.pack("<i", v)
    b = v.to_bytes((v.bit_length() >> 3) + 1, "little", signed=True)
    return b"\x8a" + bytes([len(b)]) + b


def glob(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def ints(values):
    return b"(" + b"".join(integer(v) for v in values) + b"t"


ORDERED = glob("collections", "OrderedDict") + b")R"


def persid(key="0", cls=("torch", "HalfStorage"), numel=4, location="cpu"):
    return b"(" + text("storage") + glob(*cls) + text(key) + text(location) + integer(numel) + b"tQ"


def tensor(storage=None, offset=0, sizes=(4,), strides=(1,), hooks=ORDERED, grad=b"\x89", **named):
    storage = persid(**named) if storage is None else storage
    args = b"(" + storage + integer(offset) + ints(sizes) + ints(strides) + grad + hooks + b"t"
    return glob("torch._utils", "_rebuild_tensor_v2") + args + b"R"


def pickle_of(*items, proto=b"\x80\x02", stop=b"."):
    """A dictionary of (key, pickled value)."""
    return proto + b"}(" + b"".join((text(k) if not isinstance(k, bytes) else k) + v for k, v in items) + b"u" + stop


GOOD_PICKLE = pickle_of(("w", tensor()))
STORAGE = bytes(range(8))

# ---- Archives ----


class Entry:
    """A stored record as torch writes it; every field of its headers can be set to something else."""

    def __init__(self, name, data, **other):
        self.name = name if isinstance(name, bytes) else name.encode()
        self.data = data
        self.crc = zlib.crc32(data)
        self.flags = 0x0808 if data else 0x0800
        self.method = 0
        self.size = self.stored = len(data)
        self.central_extra = b""
        self.comment = b""
        self.disk = 0
        self.before = b""
        self.after = b""
        self.offset = None
        self.local_signature = b"PK\3\4"
        self.central_signature = b"PK\1\2"
        self.local_name = self.local_flags = self.local_method = self.descriptor = None
        self.local_crc = self.local_stored = self.local_size = 0
        self.local_extra_added = 0
        self.__dict__.update(other)

    def local(self, at):
        name = self.name if self.local_name is None else self.local_name
        flags = self.flags if self.local_flags is None else self.local_flags
        method = self.method if self.local_method is None else self.local_method
        pad = -(at + 30 + len(name) + 4) % 16  # torch aligns to 64; 16 keeps these files small
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        sizes = (self.local_crc, self.local_stored, self.local_size, len(name), len(extra) + self.local_extra_added)
        head = struct.pack("<4s5H3I2H", self.local_signature, 0, flags, method, 0, 0, *sizes) + name + extra
        descriptor = self.descriptor
        if descriptor is None:
            descriptor = struct.pack("<4s3I", b"PK\7\x08", self.crc, self.stored, self.size) if flags & 8 else b""
        return head + self.data + descriptor

    def central(self, at):
        at = at if self.offset is None else self.offset
        fields = (len(self.name), len(self.central_extra), len(self.comment), self.disk, 0, 0, at)
        head = (self.central_signature, 0, 0, self.flags, self.method, 0, 0, self.crc, self.stored, self.size)
        return struct.pack("<4s6H3I5H2I", *head, *fields) + self.name + self.central_extra + self.comment


class CutEntry(Entry):
    """The archive's last entry, without most of its local header."""

    def local(self, at):
        return super().local(at)[:20]


def archive(entries, prefix=b"", suffix=b"", zip64=True, **end):
    """`end` overrides count, size, offset, comment_length, disk; with 64: the zip64 record's; locator, volumes."""
    out = bytearray(prefix)
    directory = bytearray()
    for entry in entries:
        out += entry.before
        directory += entry.central(len(out))
        out += entry.local(len(out)) + entry.after
    at = len(out)
    out += directory + end.get("directory_added", b"")
    count, size, offset = end.get("count", len(entries)), end.get("size", len(directory)), end.get("offset", at)
    count64, size64, offset64 = end.get("count64", count), end.get("size64", size), end.get("offset64", offset)
    if zip64:
        at64 = len(out)
        record = (end.get("signature64", b"PK\6\6"), end.get("size_of_64", 44), 0x31E, 0x2D, end.get("disk64", 0), 0)
        out += struct.pack("<4sQHHIIQQQQ", *record, end.get("disk_count64", count64), count64, size64, offset64)
        out += struct.pack("<4sIQI", b"PK\6\7", 0, end.get("locator", at64), end.get("volumes", 1))
    head = (b"PK\5\6", end.get("disk", 0), 0, min(end.get("disk_count", count), 0xFFFF), min(count, 0xFFFF))
    out += struct.pack("<4s4H2IH", *head, min(size, 2**32 - 1), min(offset, 2**32 - 1), end.get("comment_length", 0))
    return bytes(out + suffix)


def entries(pickle=GOOD_PICKLE, version=b"3\n", storages=None, **more):
    """`more`: further records, "/" written as "__"; None drops a record."""
    records = {"data.pkl": pickle, **({"data/0": STORAGE} if storages is None else storages), "version": version}
    records.update({k.replace("__", "/"): v for k, v in more.items()})
    return {name: Entry("a/" + name, data) for name, data in records.items() if data is not None}


# ---- The legacy form ----

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
LEGACY_VERSION = b"\x80\x02M\xe9\x03."


def legacy_persid(key="7", cls=("torch", "HalfStorage"), numel=4, location="cpu", view=b"N", string=text):
    member = string("storage") + glob(*cls) + string(key) + string(location) + integer(numel) + view
    return b"(" + member + b"tQ"


def legacy_system(little=b"\x88"):
    sizes = b"}(" + b"".join(text(k) + integer(v) for k, v in (("short", 2), ("int", 4), ("long", 4))) + b"u"
    items = text("protocol_version") + integer(1001) + text("little_endian") + little + text("type_sizes") + sizes
    return b"\x80\x02}(" + items + b"u."


def legacy_keys(*keys):
    return b"\x80\x02](" + b"".join(text(k) if isinstance(k, str) else k for k in keys) + b"e."


def legacy_storage(data=STORAGE, count=4):
    return struct.pack("<q", count) + data


LEGACY_PICKLE = pickle_of(("w", tensor(legacy_persid())))


def legacy(pickle=LEGACY_PICKLE, keys=None, data=None, magic=LEGACY_MAGIC, version=LEGACY_VERSION, system=None):
    system = legacy_system() if system is None else system
    keys = legacy_keys("7") if keys is None else keys
    data = legacy_storage() if data is None else data
    return magic + version + system + pickle + keys + data
