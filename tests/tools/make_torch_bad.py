#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/torch/bad: one small file per way in which a PyTorch checkpoint can be wrong or hostile.

bad/expected.tsv says, for each file, the status and a part of the message that reading it must give. None of them does
harm when read by llavamed; do not load them with torch. Also written: tests/data/torch/good/handmade, unusual files
that torch.load accepts. No torch is needed, except for the files named torch_*.
"""

import argparse
import io
import os
import struct
import zipfile
import zlib

from torch_bytes import (
    GOOD_PICKLE,
    LEGACY_MAGIC,
    LEGACY_PICKLE,
    LEGACY_VERSION,
    ORDERED,
    STORAGE,
    CutEntry,
    Entry,
    archive,
    entries,
    glob,
    integer,
    legacy,
    legacy_keys,
    legacy_persid,
    legacy_storage,
    legacy_system,
    persid,
    pickle_of,
    tensor,
    text,
)

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "torch")
CASES = {}  # name -> (bytes, status, part of the message)


def bad(name, status, message, content):
    assert name not in CASES, name
    CASES[name] = (content, status, message)


def bad_pickle(name, status, message, pickle, **more):
    bad("pickle_" + name, status, message, archive(entries(pickle, **more).values()))


def bad_value(name, status, message, value, **more):
    """The dictionary's one value."""
    bad_pickle(name, status, message, pickle_of(("w", value)), **more)


def bad_entry(label, status, message, which="data/0", **other):
    """A good archive with some fields of one entry changed."""
    made = entries()
    made[which].__dict__.update(other)
    bad("zip_" + label, status, message, archive(made.values()))


def pickle_cases():
    call = text("echo executed") + b"\x85R"
    executed = "which is not part of a state dict; nothing was executed"
    for module, name in [
        ("os", "system"),
        ("posix", "system"),
        ("__builtin__", "eval"),
        ("__builtin__", "set"),
        ("torch", "storage.os.system"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("builtins", "exec"),
        ("torch.storage", "_load_from_bytes"),
        ("torch", "Size"),
        ("torch", "device"),
        ("torch", "float16"),
        ("torch.storage", "TypedStorage"),
        ("torch.serialization", "_get_layout"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
        ("argparse", "Namespace"),
        ("collections", "OrderedDict.__class__"),
        ("torch", "HalfStorage\r"),
    ]:
        label = f"global_{module}_{name}".replace(".", "_").replace("\r", "_cr").lower()
        shown = f"data.pkl names {module}.{name}, ".replace("\r", "?")
        bad_value(label, "PICKLE_GLOBAL", shown + executed, glob(module, name) + call)
    yet = "which is not supported yet"
    bad_value(
        "untyped",
        "PICKLE_GLOBAL",
        "torch.storage.UntypedStorage: a tensor of a newer dtype, " + yet,
        tensor(cls=("torch.storage", "UntypedStorage")),
    )
    bad_value(
        "rebuild_v3",
        "PICKLE_GLOBAL",
        "torch._utils._rebuild_tensor_v3: a tensor of a newer dtype, " + yet,
        glob("torch._utils", "_rebuild_tensor_v3") + b")R",
    )
    bad_value(
        "rebuild_v1",
        "PICKLE_GLOBAL",
        "torch._utils._rebuild_tensor: a tensor as written before torch 0.4, " + yet,
        glob("torch._utils", "_rebuild_tensor") + b")R",
    )
    bad_value(
        "complex",
        "PICKLE_GLOBAL",
        "torch.ComplexFloatStorage: complex numbers, which are not supported",
        tensor(cls=("torch", "ComplexFloatStorage")),
    )
    bad_value(
        "qint8",
        "PICKLE_GLOBAL",
        "torch.QInt8Storage: quantized numbers, which are not supported",
        tensor(cls=("torch", "QInt8Storage")),
    )
    bad_value(
        "global_endless",
        "PICKLE_MALFORMED",
        "a global name does not end, is too long or holds a NUL",
        b"c" + b"m" * 300,
    )
    bad_value(
        "global_nul", "PICKLE_MALFORMED", "a global name does not end, is too long or holds a NUL", b"cos\0\nsystem\n"
    )

    part = "is not part of a state dict; nothing was executed"
    for name, code, rest in [
        ("STACK_GLOBAL", b"\x93", b""),
        ("INST", b"i", b"os\nsystem\n"),
        ("OBJ", b"o", b""),
        ("NEWOBJ", b"\x81", b""),
        ("NEWOBJ_EX", b"\x92", b""),
        ("EXT1", b"\x82", b"\1"),
        ("EXT2", b"\x83", b"\1\0"),
        ("EXT4", b"\x84", b"\1\0\0\0"),
        ("PERSID", b"P", b"0\n"),
        ("NEXT_BUFFER", b"\x97", b""),
        ("READONLY_BUFFER", b"\x98", b""),
        ("BINSTRING", b"T", b"\xff\xff\xff\xff"),
        ("SHORT_BINSTRING", b"U", b"\1x"),
        ("LONG4", b"\x8b", b"\xff\xff\xff\x7f"),
        ("BINUNICODE8", b"\x8d", b"\xff" * 8),
        ("SHORT_BINUNICODE", b"\x8c", b"\1x"),
        ("FRAME", b"\x95", b"\0" * 8),
        ("MEMOIZE", b"\x94", b""),
        ("POP", b"0", b""),
        ("DUP", b"2", b""),
        ("INT", b"I", b"1\n"),
        ("DICT", b"d", b""),
        ("EMPTY_SET", b"\x8f", b""),
        ("BYTEARRAY8", b"\x96", b"\xff" * 8),
    ]:
        shown = f"opcode {name} (0x{code[0]:02x}) at byte 10 {part}"
        bad_value("op_" + name.lower(), "PICKLE_OPCODE", shown, code + rest)
    for name, code, rest in [
        ("BINSTRING", b"T", b"\0\0\0\x80"),
        ("LONG4", b"\x8b", b"\xff\xff\xff\xff"),
        ("BINBYTES8", b"\x8e", b"\xff" * 7 + b"\x7f"),
        ("LONG", b"L", b"9" * 300 + b"L\n"),
        ("UNICODE", b"V", b"w\n"),
    ]:
        shown = f"opcode {name} (0x{code[0]:02x}) at byte 10 {part}"
        bad_value(f"op_{name.lower()}_far", "PICKLE_OPCODE", shown, code + rest)
    bad_value("op_unknown", "PICKLE_OPCODE", f"opcode unknown (0xff) at byte 10 {part}", b"\xff")

    bad_pickle("empty", "PICKLE_MALFORMED", "it does not begin with a protocol", b"")
    bad_pickle("no_proto", "PICKLE_MALFORMED", "it does not begin with a protocol", GOOD_PICKLE[2:])
    bad_pickle(
        "proto_twice",
        "PICKLE_MALFORMED",
        "the protocol is stated twice (opcode PROTO at byte 2)",
        b"\x80\x02" + GOOD_PICKLE,
    )
    bad_pickle("proto_4", "PICKLE_OPCODE", "pickle protocol 4 is not supported (want 2", b"\x80\x04" + GOOD_PICKLE[2:])
    bad_pickle("proto_1", "PICKLE_OPCODE", "pickle protocol 1 is not supported (want 2", b"\x80\x01" + GOOD_PICKLE[2:])
    bad_pickle("no_stop", "PICKLE_MALFORMED", "the pickle has no end", GOOD_PICKLE[:-1])
    bad_pickle(
        "cut", "PICKLE_MALFORMED", "the pickle ends inside an opcode (opcode BINUNICODE at byte 4)", GOOD_PICKLE[:9]
    )
    bad_pickle("trailing", "PICKLE_MALFORMED", "bytes follow the end of the pickle", GOOD_PICKLE + b".")
    bad_pickle(
        "mark_left", "PICKLE_MALFORMED", "the stack does not hold one value at the end", b"\x80\x02(" + GOOD_PICKLE[2:]
    )
    bad_pickle(
        "value_left", "PICKLE_MALFORMED", "the stack does not hold one value at the end", b"\x80\x02N" + GOOD_PICKLE[2:]
    )
    bad_pickle("stop_alone", "PICKLE_MALFORMED", "the stack does not hold one value at the end", b"\x80\x02.")
    bad_pickle("stop_on_mark", "PICKLE_MALFORMED", "the stack does not hold one value at the end", b"\x80\x02(.")
    bad_value(
        "unicode_huge", "PICKLE_MALFORMED", "the pickle ends inside an opcode (opcode BINUNICODE", b"X\xff\xff\xff\xff"
    )
    bad_value(
        "unicode_negative", "PICKLE_MALFORMED", "the pickle ends inside an opcode (opcode BINUNICODE", b"X\0\0\0\x80"
    )
    bad_value("long1_cut", "PICKLE_MALFORMED", "the pickle ends inside an opcode (opcode LONG1", b"\x8a\xff\1")
    bad_value("put_2_30", "INPUT_LIMIT", "memo index too large (want at most ", b"Nr\0\0\0\x40")
    bad_value("put_2_32", "INPUT_LIMIT", "memo index too large (want at most ", b"Nr\xff\xff\xff\xff")
    bad_value("put_on_mark", "PICKLE_MALFORMED", "there is no value on the stack to work on (opcode BINPUT", b"(q\0")
    bad_value("get_unwritten", "PICKLE_MALFORMED", "a memo index was never written (opcode BINGET", b"h\5")
    bad_value("get_hole", "PICKLE_MALFORMED", "a memo index was never written (opcode LONG_BINGET", b"Nq\3j\1\0\0\0")
    bad_value(
        "memo_bomb",
        "INPUT_UNSUPPORTED",
        "entry w is a tuple, not a tensor",
        b")q\0" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)),
    )
    bad_value("deep_tuples", "INPUT_LIMIT", "tuples nest too deep (want at most 64", b"N" + b"\x85" * 70)
    bad_value("deep_lists", "INPUT_UNSUPPORTED", "entry w is a list, not a tensor", b"]" * 500 + b"a" * 499)
    bad_value("list_in_itself", "INPUT_UNSUPPORTED", "entry w is a list, not a tensor", b"]q\0h\0a")
    bad_value("deep_dicts", "INPUT_UNSUPPORTED", "entry w is a dictionary, not", (b"}" + text("w")) * 300 + b"N" + b"s" * 300)
    bad_value("deep_marks", "INPUT_LIMIT", "too many open marks (want at most 64", b"(" * 70)
    bad_pickle(
        "key_twice",
        "TENSOR_DUPLICATE",
        "data.pkl: tensor w is there twice",
        pickle_of(("w", tensor()), ("w", tensor())),
    )
    bad_pickle(
        "inner_key_twice",
        "PICKLE_MALFORMED",
        "dictionary key k is there twice",
        pickle_of(("w", b"}(" + text("k") + b"N" + text("k") + b"Nu")),
    )
    bad_pickle(
        "key_none", "PICKLE_MALFORMED", "neither a string nor an integer", pickle_of((b"N", tensor()))
    )
    bad_pickle(
        "key_int",
        "INPUT_UNSUPPORTED",
        "entry 1 has a number for a name: not a state dict",
        pickle_of((b"K\1", tensor())),
    )
    twice = b"}(K\1NK\2NK\1Nu"
    bad_pickle("inner_int_twice", "PICKLE_MALFORMED", "dictionary key 1 is there twice", pickle_of(("w", twice)))
    bad_pickle("key_nul", "TENSOR_NAME", "is not UTF-8 text without NUL", pickle_of(("a\0b", tensor())))
    bad_pickle(
        "key_surrogate", "PICKLE_MALFORMED", "a string is not UTF-8", pickle_of((text(b"\xed\xa0\x80"), tensor()))
    )
    bad_pickle("key_empty", "TENSOR_NAME", "a tensor has an empty name", pickle_of(("", tensor())))
    bad_pickle(
        "key_long",
        "TENSOR_NAME",
        "a tensor name is too long (got 1025 bytes, want at most 1024)",
        pickle_of(("n" * 1025, tensor())),
    )
    bad_pickle("self", "PICKLE_MALFORMED", "a dictionary holds itself", b"\x80\x02}q\0" + text("w") + b"h\0s.")
    bad_pickle("setitems_odd", "PICKLE_MALFORMED", "a key has no value", b"\x80\x02}(" + text("w") + b"u.")
    bad_pickle(
        "setitem_tuple",
        "PICKLE_MALFORMED",
        "items are set on something that is not a dictionary",
        b"\x80\x02)" + text("w") + b"Ns.",
    )
    bad_pickle("append_dict", "PICKLE_MALFORMED", "a value is appended to no list", b"\x80\x02}Na.")
    bad_value("tuple_no_mark", "PICKLE_MALFORMED", "there is no mark on the stack (opcode TUPLE ", b"tt")
    bad_pickle(
        "underflow", "PICKLE_MALFORMED", "there is no value on the stack to work on (opcode TUPLE2", b"\x80\x02N\x86."
    )

    bad_value("persid_int", "PICKLE_MALFORMED", "a persistent id is not that of a storage", b"K\1Q")
    module = b"(" + text("module") + glob("torch", "HalfStorage") + text("0") + text("cpu") + b"K\4tQ"
    bad_value("persid_module", "PICKLE_MALFORMED", "a persistent id is not that of a storage", module)
    six = b"(" + text("storage") + glob("torch", "HalfStorage") + text("0") + text("cpu") + b"K\4NtQ"
    bad_value("persid_six", "PICKLE_MALFORMED", "a persistent id is not that of a storage", six)
    bad_value(
        "persid_class",
        "PICKLE_MALFORMED",
        "a storage is of no storage class",
        persid(cls=("collections", "OrderedDict")),
    )
    size_text = b"(" + text("storage") + glob("torch", "HalfStorage") + text("0") + text("cpu") + text("4") + b"tQ"
    bad_value("persid_size", "PICKLE_MALFORMED", "location or size of a storage has the wrong type", size_text)
    for label, key in [("path", "../data/0"), ("empty", ""), ("long", "0" * 21), ("letters", "x1"), ("sign", "+0")]:
        bad_value(
            "key_" + label + "_storage",
            "PICKLE_MALFORMED",
            "the key of a storage is not a number of 1 to 20 digits",
            persid(key=key),
        )

    bad_value(
        "reduce_storage",
        "PICKLE_MALFORMED",
        "something is called that is no function of a state dict",
        glob("torch", "HalfStorage") + b")R",
    )
    bad_value("reduce_dict", "PICKLE_MALFORMED", "something is called that is no function of a state dict", b"})R")
    bad_value(
        "ordered_args",
        "PICKLE_MALFORMED",
        "the arguments of OrderedDict have the wrong types",
        glob("collections", "OrderedDict") + b"]\x85R",
    )
    wrong = "the arguments of _rebuild_tensor_v2 have the wrong types"
    bad_value("rebuild_no_args", "PICKLE_MALFORMED", wrong, glob("torch._utils", "_rebuild_tensor_v2") + b")R")
    bad_value("rebuild_storage", "PICKLE_MALFORMED", wrong, tensor(storage=b"N"))
    bad_value("rebuild_grad", "PICKLE_MALFORMED", wrong, tensor(grad=b"K\0"))
    bad_value("rebuild_hooks", "PICKLE_MALFORMED", wrong, tensor(hooks=ORDERED + text("h") + b"Ns"))
    bad_value("rebuild_hooks_dict", "PICKLE_MALFORMED", wrong, tensor(hooks=b"}"))
    bad_value(
        "parameter_args",
        "PICKLE_MALFORMED",
        "the arguments of _rebuild_parameter have the wrong types",
        glob("torch._utils", "_rebuild_parameter") + persid() + b"\x89" + ORDERED + b"\x87R",
    )
    with_state = glob("torch._utils", "_rebuild_parameter_with_state") + b"("
    plain = "a parameter has attributes that are not plain values"
    for label, state in [
        ("tensor", b"}" + text("a") + tensor() + b"s"),
        ("list", b"}" + text("a") + b"]s"),
        ("data", b"}" + text("data") + b"Ns"),
        ("slots", b"N}\x86"),
        ("int_key", b"}K\1Ns"),
        ("none", b"N"),
    ]:
        value = with_state + tensor() + b"\x89" + ORDERED + state + b"tR"
        bad_value("parameter_state_" + label, "PICKLE_MALFORMED", plain, value)
    wrong = "the arguments of _rebuild_parameter_with_state have the wrong types"
    bad_value("parameter_state_args", "PICKLE_MALFORMED", wrong, with_state + tensor() + b"\x89" + ORDERED + b"tR")
    bad_value(
        "parameter_state_storage", "PICKLE_MALFORMED", wrong, with_state + persid() + b"\x89" + ORDERED + b"}tR"
    )
    attributes = "attributes other than _metadata are set"
    bad_value(
        "build_function",
        "PICKLE_MALFORMED",
        attributes,
        glob("torch._utils", "_rebuild_tensor_v2") + b"}" + text("_metadata") + ORDERED + b"sb",
    )
    bad_value("build_slots", "PICKLE_MALFORMED", attributes, ORDERED + b"N}\x86b")
    bad_value("build_other", "PICKLE_MALFORMED", attributes, ORDERED + b"}" + text("__class__") + ORDERED + b"sb")
    bad_value(
        "build_two", "PICKLE_MALFORMED", attributes, ORDERED + b"}(" + text("_metadata") + ORDERED + text("x") + b"Nub"
    )
    bad_value("build_plain", "PICKLE_MALFORMED", attributes, b"}}" + text("_metadata") + ORDERED + b"sb")

    unsupported = [("dict", b"}", "entry w is a dictionary, not a tensor: not a state dict (one inside")]
    for label, value, kind in [
        ("int", b"K\1", "an integer"),
        ("large_int", integer(2**63), "an integer"),
        ("none", b"N", "None"),
        ("bool", b"\x88", "a bool"),
        ("string", text("x"), "a string"),
        ("float", b"G" + b"\0" * 8, "a float"),
        ("list", b"](NNe", "a list"),
        ("storage", persid(), "a storage"),
        ("global", glob("torch", "HalfStorage"), "a global name"),
    ]:
        unsupported.append((label, value, f"entry w is {kind}, not a tensor"))
    for label, value, message in unsupported:
        bad_pickle("holds_" + label, "INPUT_UNSUPPORTED", message, pickle_of(("ok", tensor()), ("w", value)))
    inner = b"}" + text("w") + tensor() + b"s"
    not_tensor = "entry lr is a float, not a tensor"
    mixed = b"}(" + text("w") + tensor() + text("lr") + b"G" + b"\0" * 8 + b"u"
    two = "it holds two state dicts, under 'state_dict' and under 'model'"
    for label, status, message, items in [
        ("two", "INPUT_UNSUPPORTED", two, [("model", inner), ("state_dict", inner)]),
        ("mixed", "INPUT_UNSUPPORTED", not_tensor, [("state_dict", mixed)]),
        ("other_name", "INPUT_UNSUPPORTED", "entry module is a dictionary", [("module", inner), ("epoch", b"K\3")]),
        ("beside_tensor", "INPUT_UNSUPPORTED", "entry model is a dictionary", [("model", inner), ("w", tensor())]),
        ("two_levels", "INPUT_UNSUPPORTED", "entry model is a", [("model", b"}" + text("state_dict") + inner + b"s")]),
        ("empty", "INPUT_UNSUPPORTED", "entry state_dict is a dictionary", [("state_dict", b"}")]),
        ("name_twice", "TENSOR_DUPLICATE", "tensor w is there twice", [("model", inner + text("w") + b"Ns")]),
        ("int_name", "INPUT_UNSUPPORTED", "entry 7 has a number", [("model", b"}(K\7" + tensor() + b"u")]),
        ("global", "PICKLE_GLOBAL", "numpy.core.multiarray.scalar", [
            ("model", inner), ("best", glob("numpy.core.multiarray", "scalar") + b")R"),
        ]),
    ]:
        bad_pickle("nested_" + label, status, message, pickle_of(*items))
    bad_pickle("top_list", "INPUT_UNSUPPORTED", "it holds a list, not a state dict", b"\x80\x02].")
    bad_pickle("top_tensor", "INPUT_UNSUPPORTED", "it holds a tensor, not a state dict", b"\x80\x02" + tensor() + b".")


def view_cases():
    leaves = "tensor w: the view leaves its storage (storage 0 has 4 elements)"
    for label, view in [
        ("size", dict(sizes=(5,))),
        ("offset", dict(offset=1)),
        ("stride", dict(sizes=(2, 2), strides=(3, 1))),
        ("scalar_offset", dict(offset=4, sizes=(), strides=())),
        ("overflow_stride", dict(sizes=(4,), strides=(2**62 + 1,))),
        ("overflow_sum", dict(offset=2**63 - 1, sizes=(2, 2, 2), strides=(2**62, 2**62, 2**62))),
    ]:
        bad_value("view_" + label, "TORCH_VIEW", leaves, tensor(**view))
    integers = "tensor w: offset, sizes or strides are not integers from 0 to 2^63-1"
    for label, view in [
        ("negative_size", dict(sizes=(-1,))),
        ("negative_stride", dict(strides=(-1,))),
        ("negative_offset", dict(offset=-1)),
        ("large_size", dict(sizes=(2**63,))),
        ("large_offset", dict(offset=2**64)),
    ]:
        bad_value("view_" + label, "TORCH_VIEW", integers, tensor(**view))
    bad_value("view_text_size", "TORCH_VIEW", integers, tensor().replace(b"(K\4t", b"(" + text("4") + b"t", 1))
    bad_value("view_ranks", "TORCH_VIEW", "tensor w: it has not as many strides as dimensions", tensor(sizes=(4, 1)))
    bad_value(
        "view_rank17",
        "SHAPE_INVALID",
        "tensor w: too many dimensions (got 17, want at most 16)",
        tensor(sizes=(1,) * 17, strides=(1,) * 17),
    )
    bad_value(
        "view_elems",
        "SHAPE_INVALID",
        "w: the number of elements does not fit 64 bits",
        tensor(sizes=(2**62, 4), strides=(0, 0)),
    )
    got8 = "record a/data/0 does not hold its storage (got 8 bytes, want "
    bad_value("numel_1000", "TORCH_STORAGE", got8 + "1000 elements of F16)", tensor(numel=1000, sizes=(1000,)))
    bad_value("numel_10_7", "TORCH_STORAGE", got8 + "10000000 elements of F16)", tensor(numel=10**7, sizes=(10**7,)))
    bad_value("numel_2_62", "TORCH_STORAGE", got8 + "4611686018427387904 elements of F16)", tensor(numel=2**62))
    bad_value(
        "numel_2_63_minus", "TORCH_STORAGE", got8 + "9223372036854775807 elements of F16)", tensor(numel=2**63 - 1)
    )
    bad_value("numel_3", "TORCH_STORAGE", got8 + "3 elements of F16)", tensor(numel=3, sizes=(3,)))
    bad_value("numel_negative", "TORCH_STORAGE", "storage 0 has an impossible number of elements", tensor(numel=-1))
    bad_value("numel_2_63", "TORCH_STORAGE", "storage 0 has an impossible number of elements", tensor(numel=2**63))
    bad_value(
        "record_odd",
        "TORCH_STORAGE",
        "(got 7 bytes, want 3 elements of F16)",
        tensor(numel=3, sizes=(3,)),
        storages={"data/0": STORAGE[:7]},
    )
    bad_value("record_missing", "TORCH_STORAGE", "storage 1 has no record data/1", tensor(key="1"))
    bad_value(
        "record_other_case", "TORCH_STORAGE", "storage 0 has no record data/0", tensor(), storages={"DATA/0": STORAGE}
    )
    bad_value("record_zeros", "TORCH_STORAGE", "storage 00 has no record data/00", tensor(key="00"))
    twice = "storage 0 is described twice, with another dtype, size or location"
    for label, second in [
        ("dtype", dict(cls=("torch", "BFloat16Storage"))),
        ("size", dict(numel=5)),
        ("location", dict(location="cuda:0")),
    ]:
        bad_pickle("conflict_" + label, "TORCH_STORAGE", twice, pickle_of(("w", tensor()), ("x", tensor(**second))))


def torch_cases():
    def one(name, status, message, **records):
        bad("record_" + name, status, message, archive(entries(**records).values()))

    for label, version in [
        ("0", b"0\n"),
        ("11", b"11\n"),
        ("x", b"x"),
        ("empty", b""),
        ("two_lines", b"3\n\n"),
        ("plus", b"+3"),
        ("huge", b"4294967299"),
    ]:
        one("version_" + label, "TORCH_INVALID", "unknown version of the file format (got '", version=version)
    one(
        "version_long",
        "INPUT_LIMIT",
        "record a/version is too large (got 17 bytes, want at most 16)",
        version=b"3" * 17,
    )
    one("version_missing", "TORCH_INVALID", "it has no version record", version=None)
    one(
        "version_dotdata", "TORCH_INVALID", "unknown version of the file format (got '99", **{".data__version": b"99\n"}
    )
    one("constants", "INPUT_UNSUPPORTED", "a TorchScript program", **{"constants.pkl": b"\x80\x02)."})
    one("byteorder_big", "TORCH_BYTE_ORDER", "unsupported byte order (got 'big', want 'little')", byteorder=b"big")
    one(
        "byteorder_nul",
        "TORCH_BYTE_ORDER",
        "unsupported byte order (got 'little', want 'little')",
        byteorder=b"little\0",
    )
    one("pickle_missing", "TORCH_INVALID", "it has no data.pkl record", pickle=None)
    two = entries()
    two["data/0"].name = b"b/data/0"
    bad(
        "record_two_folders",
        "TORCH_INVALID",
        "entries a/data.pkl and b/data/0 are not in one folder",
        archive(two.values()),
    )
    flat = [Entry("data.pkl", GOOD_PICKLE), Entry("data/0", STORAGE), Entry("version", b"3\n")]
    bad("record_no_folder", "TORCH_INVALID", "entry data.pkl is not in a folder", archive(flat))
    root = [Entry("/data.pkl", GOOD_PICKLE), Entry("/data/0", STORAGE), Entry("/version", b"3\n")]
    bad("record_empty_folder", "TORCH_INVALID", "entry /data.pkl is not in a folder", archive(root))
    neither = "it begins with neither a zip entry nor the magic number"
    bad("form_safetensors", "TORCH_INVALID", neither, struct.pack("<Q", 8) + b"{}      ")
    bad("form_short", "TORCH_INVALID", "it begins with neither a zip entry nor the magic number", b"PK\3")
    bad("form_empty", "INPUT_TRUNCATED", "the file is empty", b"")


def legacy_cases():
    def one(name, status, message, content=None, **parts):
        bad("legacy_" + name, status, message, legacy(**parts) if content is None else content)

    def value(name, status, message, storage, **parts):
        one(name, status, message, pickle=pickle_of(("w", tensor(storage))), **parts)

    good = legacy()
    starts = {}
    at = len(LEGACY_MAGIC)
    parts = [LEGACY_VERSION, legacy_system(), LEGACY_PICKLE, legacy_keys("7"), legacy_storage()]
    for name, part in zip(["version", "system", "pickle", "keys", "storage"], parts):
        starts[name] = at
        at += len(part)
    inside = {
        "version": "ends inside its version",
        "system": "ends inside its description of the system",
        "pickle": "ends inside its pickle",
        "keys": "ends inside its list of storages",
        "storage": "ends inside storage 7 (it has",
    }
    for name, start in starts.items():
        one("cut_at_" + name, "INPUT_TRUNCATED", inside[name], good[:start])
        one("cut_in_" + name, "INPUT_TRUNCATED", inside[name], good[: start + 3])
    one("cut_in_global", "INPUT_TRUNCATED", inside["pickle"], good[: starts["pickle"] + 20])
    one("cut_in_data", "INPUT_TRUNCATED", inside["storage"], good[:-1])
    one("trailing", "INPUT_TRAILING", f"(got {len(good) + 1} bytes, want {len(good)})", good + b"\0")
    one("magic", "TORCH_INVALID", "it begins with neither", magic=LEGACY_MAGIC.replace(b"\x6c", b"\x6d"))
    one("version", "TORCH_INVALID", "unknown version of the legacy file format (want 1001)", version=b"\x80\2M\xe8\3.")
    one("big_endian", "TORCH_BYTE_ORDER", "(little_endian is not True)", system=legacy_system(b"\x89"))
    one("endian_type", "TORCH_BYTE_ORDER", "(little_endian is not True)", system=legacy_system(b"K\1"))
    one("system_list", "PICKLE_MALFORMED", "its description of the system is a list", system=b"\x80\2].")
    one("system_global", "PICKLE_GLOBAL", "system names os.system", system=b"\x80\2" + glob("os", "system") + b".")
    one("global", "PICKLE_GLOBAL", "its pickle names os.system", pickle=b"\x80\2" + glob("os", "system") + b")R.")
    one("opcode", "PICKLE_OPCODE", "its pickle: opcode INST (0x69) at byte 2", pickle=b"\x80\2ios\nsystem\n.")
    one("protocol_4", "PICKLE_OPCODE", "its pickle: pickle protocol 4", pickle=b"\x80\4" + LEGACY_PICKLE[2:])
    one("no_protocol", "PICKLE_MALFORMED", "it does not begin with a protocol", pickle=LEGACY_PICKLE[2:])
    one("top_list", "INPUT_UNSUPPORTED", "it holds a list, not a state dict", pickle=b"\x80\2].")
    for label, length in ("huge", b"\xff\xff\xff\x7f"), ("negative", b"\xff\xff\xff\xff"):
        one("binstring_" + label, "INPUT_TRUNCATED", "ends inside its pickle", pickle=b"\x80\2}T" + length + b"wNs.")
    one("memo_huge", "INPUT_LIMIT", "memo index too large", pickle=b"\x80\2}r\xff\xff\xff\xff.")
    one("next_buffer", "PICKLE_OPCODE", "opcode NEXT_BUFFER (0x97)", pickle=b"\x80\2\x97.")
    one("reduce", "PICKLE_GLOBAL", "names posix.system", pickle=b"\x80\2" + glob("posix", "system") + text("id") + b"\x85R.")
    value("persid_five", "PICKLE_MALFORMED", "a persistent id is not that of a storage", persid(key="7"))
    module = b"(" + text("module") + glob("torch", "HalfStorage") + text("file") + text("source") + b"tQ"
    value("persid_module", "PICKLE_MALFORMED", "a persistent id is not that of a storage", module)

    one("keys_dict", "PICKLE_MALFORMED", "its list of storages is a dictionary (want a list)", keys=b"\x80\2}.")
    one("keys_int", "PICKLE_MALFORMED", "its list of storages holds an integer", keys=legacy_keys(b"K\7"))
    one("keys_none", "TORCH_STORAGE", "its list of storages lacks storage 7", keys=b"\x80\2].", data=b"")
    one("keys_other", "TORCH_STORAGE", "its list of storages lacks storage 7", keys=legacy_keys("8"))
    one("keys_twice", "TORCH_STORAGE", "its list of storages has twice storage 7", keys=legacy_keys("7", "7"))
    unused = legacy_keys("7", "8")
    one("keys_unused", "TORCH_STORAGE", "has what no tensor uses, storage 8", keys=unused, data=legacy_storage() * 2)
    one("keys_global", "PICKLE_GLOBAL", "names os.system", keys=b"\x80\2]" + glob("os", "system") + b"a.")

    size = "storage 7 does not have the size that its pickle says (got "
    one("count_less", "TORCH_STORAGE", size + "3 elements, want 4)", data=legacy_storage(count=3))
    one("count_negative", "TORCH_STORAGE", size + "-1 elements, want 4)", data=legacy_storage(count=-1))
    one("count_huge", "TORCH_STORAGE", size + "4611686018427387904 elements", data=legacy_storage(count=2**62))
    two = pickle_of(("w", tensor(legacy_persid())), ("v", tensor(legacy_persid("8", numel=2), sizes=(2,))))
    both = legacy_storage() + legacy_storage(STORAGE[:4], 2)
    one("order", "TORCH_STORAGE", "storage 8 does not have the size", pickle=two, keys=legacy_keys("8", "7"), data=both)
    shorter = legacy_storage() + legacy_storage(b"", 2)
    one("second_cut", "INPUT_TRUNCATED", "ends inside storage 8", pickle=two, keys=legacy_keys("7", "8"), data=shorter)
    for numel in 2**62, 2**63 - 1:
        value(f"numel_{numel}", "INPUT_TRUNCATED", "ends inside storage 7", legacy_persid(numel=numel),
              data=legacy_storage(count=numel))
    value("numel_negative", "TORCH_STORAGE", "storage 7 has an impossible number", legacy_persid(numel=-1))

    def view(*values):
        return b"(" + b"".join(values) + b"t"

    neither = "the view of a storage is neither None nor a key and two integers"
    outside = "the view of storage 7 leaves it"
    for label, status, message, metadata in [
        ("none", "PICKLE_MALFORMED", neither, b"K\0"),
        ("two", "PICKLE_MALFORMED", neither, view(text("9"), b"K\0")),
        ("key", "PICKLE_MALFORMED", neither, view(text("x"), b"K\0", b"K\4")),
        ("text", "PICKLE_MALFORMED", neither, view(text("9"), text("0"), b"K\4")),
        ("offset", "TORCH_STORAGE", outside, view(text("9"), b"K\1", b"K\4")),
        ("far", "TORCH_STORAGE", outside, view(text("9"), integer(2**63 - 1), b"K\4")),
        ("negative", "TORCH_STORAGE", outside, view(text("9"), integer(-1), b"K\4")),
        ("size", "TORCH_STORAGE", outside, view(text("9"), b"K\0", b"K\5")),
        ("root", "TORCH_STORAGE", "the view of a storage 7 is described twice", view(text("7"), b"K\0", b"K\4")),
        ("small", "TORCH_VIEW", "(storage 7 has 3 elements)", view(text("9"), b"K\1", b"K\3")),
    ]:
        value("view_" + label, status, message, legacy_persid(view=metadata))
    places = [view(text("9"), integer(at), b"K\2") for at in (0, 2)]
    both = pickle_of(*((name, tensor(legacy_persid(view=v), sizes=(2,))) for name, v in zip("ab", places)))
    one("view_twice", "TORCH_STORAGE", "the view of a storage 9 is described twice, in another place", pickle=both)
    listed = b"]" + b"(" + text("a") + tensor(legacy_persid()) + b"e"
    ordered = glob("collections", "OrderedDict")
    wrong = "the arguments of OrderedDict have the wrong types"
    one("pair_flat", "PICKLE_MALFORMED", wrong, pickle=b"\x80\2" + ordered + listed + b"\x85R.")
    one("pair_three", "PICKLE_MALFORMED", wrong, pickle=b"\x80\2" + ordered + b"]](NNNea\x85R.")
    again = b"\x80\2" + ordered + b"]q\0\x85R" + text("x") + ordered + b"h\0\x85Rs."
    one("pairs_twice", "PICKLE_MALFORMED", "a list is made into an OrderedDict twice", pickle=again)
    none = b"\x80\2" + ordered + b"]](NNea\x85R."
    one("pair_key", "PICKLE_MALFORMED", "neither a string nor an integer", pickle=none)


def zip_cases():
    good = archive(entries().values())

    def patch(name, status, message, at, new):
        bad("zip_" + name, status, message, good[:at] + new + good[at + len(new) :])

    pickle_at = good.index(GOOD_PICKLE)
    version_at = good.index(b"3\nPK")
    patch("flip_pickle", "CRC_MISMATCH", "record a/data.pkl is damaged (got CRC-32 ", pickle_at + 5, b"\xff")
    patch("flip_version", "CRC_MISMATCH", "record a/version is damaged", version_at, b"4")
    bad_entry("crc_pickle", "CRC_MISMATCH", "record a/data.pkl is damaged", "data.pkl", crc=1)
    wrong = struct.pack("<4s3I", b"PK\7\x08", 1, 8, 8)
    descriptor = "entry a/data/0: the descriptor after the data and the directory disagree"
    bad_entry("descriptor_crc", "ZIP_DISAGREES", descriptor, descriptor=wrong)
    bad_entry("descriptor_zero", "ZIP_DISAGREES", descriptor, descriptor=bytes(16))
    bad_entry(
        "descriptor_size",
        "ZIP_DISAGREES",
        descriptor,
        descriptor=struct.pack("<4s3I", b"PK\7\x08", zlib.crc32(STORAGE), 8, 9),
    )
    bad_entry(
        "descriptor_no_signature",
        "ZIP_INVALID",
        "12 bytes follow the data of entry a/data/0 (want a descriptor of 16 or 24)",
        descriptor=struct.pack("<3I", zlib.crc32(STORAGE), 8, 8),
    )
    bad_entry("descriptor_missing", "ZIP_INVALID", "0 bytes follow the data of entry a/data/0", descriptor=b"")

    disagree = "entry a/data/0: local header and directory disagree on the "
    bad_entry("local_name", "ZIP_DISAGREES", disagree + "name", local_name=b"a/data/1")
    bad_entry("local_name_longer", "ZIP_DISAGREES", disagree + "name", local_name=b"a/data/00")
    bad_entry("local_method", "ZIP_DISAGREES", disagree + "compression method", local_method=8)
    bad_entry("local_encrypted", "ZIP_DISAGREES", disagree + "flags", local_flags=0x0809)
    bad_entry("local_flags", "ZIP_DISAGREES", disagree + "flags", local_flags=0x0008)
    bad_entry("local_crc", "ZIP_DISAGREES", disagree + "CRC-32", local_crc=7)
    bad_entry("local_size", "ZIP_DISAGREES", disagree + "size", local_size=4)
    bad_entry("local_stored", "ZIP_DISAGREES", disagree + "size", local_stored=4)
    bad_entry("local_zero_sizes", "ZIP_DISAGREES", disagree + "CRC-32", flags=0x0800)
    bad_entry("local_extra_more", "ZIP_INVALID", "12 bytes follow the data of entry a/data/0", local_extra_added=4)
    bad_entry("local_extra_huge", "ZIP_OVERLAP", "entry a/data/0 runs into the directory", local_extra_added=60000)
    bad_entry("local_signature", "ZIP_INVALID", "no local header for entry a/data/0", local_signature=b"PK\3\5")
    bad_entry("method_8", "ZIP_COMPRESSED", "entry a/data/0 is compressed (got method 8, want 0, stored)", method=8)
    bad_entry("method_12", "ZIP_COMPRESSED", "entry a/data/0 is compressed (got method 12, want 0, stored)", method=12)
    bad_entry("encrypted", "ZIP_ENCRYPTED", "entry a/data/0 is encrypted", flags=0x0809)
    bad_entry("encrypted_strong", "ZIP_ENCRYPTED", "entry a/data/0 is encrypted", flags=0x0848)
    bad_entry("encrypted_directory", "ZIP_ENCRYPTED", "entry a/data/0 is encrypted", flags=0x2808)
    bad_entry("flags", "ZIP_INVALID", "entry a/data/0 has unknown flags (got 0x0828)", flags=0x0828)
    bad_entry("entry_comment", "ZIP_INVALID", "entry a/data/0 has a comment or is on another volume", comment=b"c")
    bad_entry("entry_volume", "ZIP_INVALID", "entry a/data/0 has a comment or is on another volume", disk=1)
    bad_entry(
        "stored_size", "ZIP_INVALID", "is stored in another size than its own (got 4, want 8)", stored=4, descriptor=b""
    )
    bad_entry("central_signature", "ZIP_INVALID", "an entry of the directory is not one", central_signature=b"PK\1\3")
    bad_entry("size_past", "ZIP_OVERLAP", "entry a/data/0 runs into the directory", size=5000, stored=5000)
    bad_entry("size_into_next", "ZIP_OVERLAP", "entry a/data/0 overlaps what follows it", size=40, stored=40)
    bad_entry("offset_past", "ZIP_INVALID", "an entry begins behind the start of the directory", offset=2**31)
    bad_entry("offset_same", "ZIP_OVERLAP", "overlaps what follows it", offset=0)
    bad_entry("name_nul", "ZIP_INVALID", "an entry name holds a NUL", name=b"a/data\0/0")
    bad_entry("name_empty", "ZIP_INVALID", "an entry name has 0 bytes (want 1 to 1024)", name=b"")
    bad_entry("name_long", "INPUT_LIMIT", "an entry name has 1025 bytes (want 1 to 1024)", name=b"a/" + b"n" * 1023)
    bad_entry("hole", "ZIP_INVALID", "20 bytes follow the data of entry a/data/0", after=b"four")
    bad_entry(
        "hole_hidden_entry",
        "ZIP_INVALID",
        "bytes follow the data of entry a/data/0",
        after=Entry("a/data/0", b"hidden..").local(0),
    )
    bad_entry(
        "before_first",
        "ZIP_INVALID",
        "64 bytes before the first entry (want 0)",
        "data.pkl",
        before=b"PK\3\4" + bytes(60),
    )

    extra = "entry a/data/0 has malformed extra fields or a wrong zip64 field"
    z64 = lambda *v: struct.pack("<HH", 1, 8 * len(v)) + b"".join(struct.pack("<Q", x) for x in v)
    big = 2**32 - 1
    bad_entry("zip64_short", "ZIP_INVALID", extra, size=big, stored=big, central_extra=z64(8))
    bad_entry("zip64_missing", "ZIP_INVALID", extra, size=big, stored=big)
    bad_entry("zip64_leftover", "ZIP_INVALID", extra, central_extra=z64(8))
    bad_entry("zip64_twice", "ZIP_INVALID", extra, size=big, stored=big, central_extra=z64(8, 8) + z64(8, 8))
    bad_entry("zip64_odd", "ZIP_INVALID", extra, offset=big, central_extra=b"\1\0\4\0\0\0\0\0")
    bad_entry("extra_cut", "ZIP_INVALID", extra, central_extra=b"FB\x10\0ZZ")
    bad_entry("extra_stub", "ZIP_INVALID", extra, central_extra=b"FB\0")
    bad_entry(
        "zip64_size_past",
        "ZIP_OVERLAP",
        "entry a/data/0 runs into the directory",
        size=big,
        stored=big,
        central_extra=z64(2**63, 2**63),
        descriptor=b"",
    )
    bad_entry(
        "zip64_size_max",
        "ZIP_OVERLAP",
        "entry a/data/0 runs into the directory",
        size=big,
        stored=big,
        central_extra=z64(2**64 - 1, 2**64 - 1),
        descriptor=b"",
    )
    bad_entry(
        "zip64_offset_max",
        "ZIP_INVALID",
        "an entry begins behind the start of the directory",
        offset=big,
        central_extra=z64(2**64 - 1),
    )

    made = list(entries().values())
    bad(
        "zip_crc_empty",
        "ZIP_INVALID",
        "entry a/none is empty and has a CRC-32 (got 00000007, want 0)",
        archive(made + [Entry("a/none", b"", crc=7)]),
    )
    bad(
        "zip_duplicate",
        "ZIP_DUPLICATE",
        "entry a/data/0 is there twice",
        archive(made + [Entry("a/data/0", b"8 bytes!")]),
    )
    bad(
        "zip_duplicate_case",
        "ZIP_DUPLICATE",
        "is there twice, in different letter case",
        archive(made + [Entry("a/DATA/0", b"8 bytes!")]),
    )
    cut = made + [CutEntry("a/last", b"")]
    bad("zip_local_cut", "ZIP_INVALID", "the local header of entry a/last runs into the directory", archive(cut))
    bad(
        "zip_before_offsets",
        "ZIP_INVALID",
        "64 bytes before the first entry (want 0)",
        archive(made, prefix=b"PK\3\4" + bytes(60)),
    )
    bad("zip_after", "INPUT_TRAILING", "100 bytes after the end record (want 0)", archive(made, suffix=bytes(100)))
    bad(
        "zip_comment",
        "INPUT_TRAILING",
        "5 bytes after the end record (want 0)",
        archive(made, suffix=b"hello", comment_length=5),
    )
    bad(
        "zip_comment_cut",
        "ZIP_INVALID",
        "the archive has a comment, or its comment is cut off",
        archive(made, comment_length=5),
    )
    bad(
        "zip_before",
        "ZIP_INVALID",
        "the zip64 locator does not point at the record before it",
        b"PK\3\4" + bytes(60) + good,
    )
    bad("zip_cut_1", "INPUT_TRUNCATED", "no end record: the file is cut short", good[:-1])
    bad("zip_cut_half", "INPUT_TRUNCATED", "no end record: the file is cut short", good[: len(good) // 2])
    bad("zip_cut_10", "INPUT_TRUNCATED", "too short for a zip archive (got 10 bytes, want at least 22)", good[:10])
    bad("zip_empty", "TORCH_INVALID", "it begins with neither a zip entry nor", archive([], zip64=False))
    bad("zip_no_entries", "ZIP_INVALID", "the archive is empty", b"PK\3\4" + archive([], zip64=False, offset=4))
    both = "the end record and the zip64 end record disagree"
    bad("zip_end_count", "ZIP_DISAGREES", both, archive(made, count64=2))
    bad("zip_end_size", "ZIP_DISAGREES", both, archive(made, size64=100))
    bad("zip_end_offset", "ZIP_DISAGREES", both, archive(made, offset64=100))
    bad("zip_end_volume", "ZIP_INVALID", "one of several volumes", archive(made, disk=1))
    bad("zip_end_disk_count", "ZIP_INVALID", "one of several volumes", archive(made, disk_count=2))
    bad("zip_end64_volume", "ZIP_INVALID", "one of several volumes", archive(made, disk64=1))
    bad("zip_end64_disk_count", "ZIP_INVALID", "one of several volumes", archive(made, disk_count64=2))
    bad("zip_end64_signature", "ZIP_INVALID", "the zip64 end record is not one", archive(made, signature64=b"PK\6\5"))
    bad("zip_end64_size", "ZIP_INVALID", "the zip64 end record is not one", archive(made, size_of_64=45))
    bad(
        "zip_locator",
        "ZIP_INVALID",
        "the zip64 locator does not point at the record before it",
        archive(made, locator=0),
    )
    bad(
        "zip_locator_volumes",
        "ZIP_INVALID",
        "the zip64 locator does not point at the record before it",
        archive(made, volumes=2),
    )
    tile = "does not end at the end record"
    at = good.index(b"PK\1\2")
    size = good.index(b"PK\6\6") - at
    bad("zip_directory_short", "ZIP_INVALID", tile, archive(made, size=size - 1))
    bad("zip_directory_offset", "ZIP_INVALID", tile, archive(made, offset=at + 1))
    bad("zip_directory_wraps", "ZIP_INVALID", tile, archive(made, offset=2**64 - 1, size=2**64 - 1))
    longer = made + [Entry("a/" + "n" * 100, b"")]
    bad("zip_count_more", "ZIP_INVALID", "the directory ends inside an entry", archive(longer, count=5))
    bad("zip_count_more_still", "ZIP_INVALID", "4 entries do not fit the file", archive(made, count=4))
    bad("zip_count_less", "ZIP_INVALID", "the directory holds more than its entries", archive(made, count=2))
    bad("zip_count_million", "ZIP_INVALID", "1000000 entries do not fit the file", archive(made, count=10**6))
    bad(
        "zip_count_huge",
        "INPUT_LIMIT",
        "the directory is too large (got 1099511627776 entries",
        archive(made, count=2**40),
    )
    bad(
        "zip_directory_added",
        "ZIP_INVALID",
        "the directory holds more than its entries",
        archive(made, directory_added=b"more", size=size + 4),
    )


def deflated_case():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for entry in entries().values():
            file.writestr(
                zipfile.ZipInfo(entry.name.decode(), (2023, 7, 1, 12, 0, 0)), entry.data, zipfile.ZIP_DEFLATED
            )
    bad(
        "zip_deflated",
        "ZIP_COMPRESSED",
        "entry a/data.pkl is compressed (got method 8, want 0, stored)",
        out.getvalue(),
    )


def real_cases():
    """What real torch writes and this version does not read."""
    import torch

    def save(name, status, message, value, **options):
        out = io.BytesIO()
        torch.save(value, out, **options)
        bad("torch_" + name, status, message, out.getvalue())

    torch.manual_seed(0)
    half = torch.ones(2, dtype=torch.float16)
    odd = torch.arange(7, dtype=torch.uint8)[:6].view(torch.float16)
    tagged = torch.ones(2)
    tagged.note = "x"
    save("bare_tensor", "INPUT_UNSUPPORTED", "it holds a tensor, not a state dict", half)
    nested = {"module": {"w": half}, "epoch": 3}
    save("nested", "INPUT_UNSUPPORTED", "entry module is a dictionary, not a tensor", nested)
    save("training", "INPUT_UNSUPPORTED", "entry epoch is an integer, not a tensor", {"w": half, "epoch": 3})
    save("odd_storage", "TORCH_STORAGE", "(got 7 bytes, want 3 elements of F16)", {"x": odd})
    save("tensor_attr", "PICKLE_GLOBAL", "torch._tensor._rebuild_from_type_v2", {"w": tagged})
    save("uint16", "PICKLE_GLOBAL", "torch._utils._rebuild_tensor_v3", {"w": torch.ones(2, dtype=torch.uint16)})
    save("complex", "PICKLE_GLOBAL", "torch.ComplexFloatStorage", {"w": torch.ones(2, dtype=torch.complex64)})
    save("sparse", "PICKLE_GLOBAL", "torch._utils._rebuild_sparse_tensor", {"w": torch.eye(2).to_sparse()})
    save("protocol4", "PICKLE_OPCODE", "pickle protocol 4 is not supported", {"w": half}, pickle_protocol=4)
    save("module", "PICKLE_GLOBAL", "torch.nn.modules.linear.Linear, which is not part", torch.nn.Linear(1, 1))


def handmade():
    out = os.path.join(DATA, "good", "handmade")
    os.makedirs(out, exist_ok=True)
    local = entries()
    for entry in local.values():
        entry.flags, entry.local_crc, entry.local_stored, entry.local_size = 0, entry.crc, entry.size, entry.size
    far = tensor(numel=0, key="1", offset=9, sizes=(0, 2**62), strides=(2**62, 2**62))
    overlap = tensor(sizes=(2, 3), strides=(1, 1))
    metadata = b"}" + text("_metadata") + ORDERED + b"sb"
    ordered = b"\x80\x02" + ORDERED + text("w") + tensor() + b"s" + metadata + b"."
    plain = b"]](" + text("x") + b"K\1G" + b"\0" * 8 + b"N\x88))\x86ea" + b"}(K\1](NNeK\2" + text("y") + b"ua"
    state = b"}(" + text("w") + tensor() + text("x") + tensor(offset=2, sizes=(2,)) + b"u"
    beside = [("epoch", b"K\3"), ("lr", b"G" + b"?" * 8), ("note", b"N"), ("args", plain), ("state_dict", state)]
    attributes = b"}(" + text("is_hf_initialized") + b"\x88" + text("r") + b"K\2" + text("x") + b"G" + b"?" * 8 + b"u"
    parameter = glob("torch._utils", "_rebuild_parameter_with_state") + b"(" + tensor() + b"\x88" + ORDERED + attributes
    files = {
        "nested": entries(pickle_of(*beside)),
        "nested_model": entries(pickle_of(("state_dict", b"}"), ("model", state))),
        "parameter_state": entries(pickle_of(("w", parameter + b"tR"))),
        "version_1": entries(version=b"1\n"),
        "version_10": entries(version=b"10\n"),
        "version_no_newline": entries(version=b"3"),
        "version_dotdata": entries(version=None, **{".data__version": b"6\n"}),
        "version_first": dict(sorted(entries().items(), reverse=True)),
        "local_sizes": local,
        "extra_records": entries(notes__readme=b"nobody refers to this", **{"data/7": b"nor to this"}),
        "protocol_3": entries(b"\x80\x03" + GOOD_PICKLE[2:]),
        "cuda": entries(pickle_of(("w", tensor(location="cuda:0")))),
        "empty_far_away": entries(pickle_of(("w", tensor()), ("e", far)), storages={"data/0": STORAGE, "data/1": b""}),
        "overlapping": entries(pickle_of(("w", overlap))),
        "ordered": entries(ordered),
    }
    for name, made in files.items():
        with open(os.path.join(out, name + ".pt"), "wb") as file:
            file.write(archive(made.values(), zip64=name != "local_sizes"))
    with open(os.path.join(out, "legacy.pt"), "wb") as file:
        file.write(legacy())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-torch", action="store_true", help="keep the torch_* files as they are")
    keep = parser.parse_args().without_torch
    for make in pickle_cases, view_cases, torch_cases, legacy_cases, zip_cases, deflated_case, handmade:
        make()
    out = os.path.join(DATA, "bad")
    os.makedirs(out, exist_ok=True)
    kept = []
    if keep:
        with open(os.path.join(out, "expected.tsv")) as file:
            kept = [line for line in file if line.startswith("torch_")]
    else:
        real_cases()
    for name in os.listdir(out):
        if not (keep and name.startswith("torch_")):
            os.remove(os.path.join(out, name))
    rows = kept
    for name, (content, status, message) in CASES.items():
        with open(os.path.join(out, name + ".pt"), "wb") as file:
            file.write(content)
        rows.append(f"{name}.pt\t{status}\t{message}\n")
    with open(os.path.join(out, "expected.tsv"), "w", newline="\n") as file:
        file.writelines(sorted(rows))


if __name__ == "__main__":
    main()
