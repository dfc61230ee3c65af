# SPDX-License-Identifier: Apache-2.0
"""The pickles of bounds.py: what is short in the file and could cost much more, each with a size n."""

import json
import math
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools"))

import torch_bytes as tb


DATA = "tests/data/cli"


def write(directory, name, content):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)


def torch_file(directory, content):
    write(directory, "pytorch_model.bin", content)


def pickle(directory, text, **more):
    torch_file(directory, tb.archive(tb.entries(text, **more).values()))


def value(directory, text):
    pickle(directory, b"\x80\2}" + tb.text("w") + text + b"s.")


def many_tensors(directory, n):
    hooks = tb.glob("collections", "OrderedDict")
    first = tb.tensor(hooks=hooks + b"q\0)R")
    rebuild = tb.glob("torch._utils", "_rebuild_tensor_v2") + b"q\2"
    other = b"h\2(h\3K\0(K\4t(K\1t\x89h\0)RtR"
    text = b"\x80\2}(" + tb.text("w") + first + tb.text("g") + rebuild + b"0"
    # No POP in a state dict: the globals and the storage are kept by putting them while they are used.
    opening = b"\x80\2}(" + tb.text("t") + rebuild + b"(" + tb.persid() + b"q\3" + b"K\0(K\4t(K\1t\x89" + hooks + b"q\0)RtR"
    del text, first
    pickle(directory, opening + b"".join(tb.text("t%d" % i) + other for i in range(n)) + b"u.")


def one_tensor_name(directory, n):
    pickle(directory, b"\x80\2}(" + (tb.text("w") + b"N") * n + b"u.")


def many_storages(directory, n):
    pickle(directory, tb.pickle_of(*(("t%d" % i, tb.tensor(key=str(i), numel=0, sizes=(0,))) for i in range(n))),
           storages={"data/%d" % i: b"" for i in range(n)})


def nested_tuples(directory, n):
    value(directory, b"N" + b"\x85" * n)


def nested_lists(directory, n):
    value(directory, b"]" * n + b"a" * (n - 1))


def nested_dicts(directory, n):
    value(directory, (b"}" + tb.text("w")) * n + b"N" + b"s" * n)


def nested_marks(directory, n):
    value(directory, b"(" * n)


def list_in_itself(directory, n):
    value(directory, b"]q\0(" + b"h\0" * n + b"e")


def memo_bomb(directory, n):
    del n
    value(directory, b")q\0" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(250)))


def long_tuple_again(directory, n):
    """A tuple of n, then a tuple of it n times: n * n for whoever walks it."""
    value(directory, b"(" + b"N" * n + b"tq\0" + b"(" + b"h\0" * n + b"t")


def memo_far(directory, n):
    del n
    value(directory, b"Nr\xff\xff\xff\x00")


def memo_puts(directory, n):
    value(directory, b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(n)))


def long_integers(directory, n):
    value(directory, b"](" + (b"\x8a\xff" + b"\x7f" * 255) * n + b"e")


def strings_that_claim(directory, n):
    del n
    value(directory, b"X\xff\xff\xff\x7f")


def wide_shape(directory, n):
    value(directory, tb.tensor(sizes=(1,) * n, strides=(1,) * n))


def stride_bomb(directory, n):
    value(directory, tb.tensor(sizes=(2**40 + n,), strides=(0,)))


def legacy_keys(directory, n):
    torch_file(directory, tb.legacy(keys=tb.legacy_keys(*(str(i) for i in range(n)))))


def legacy_storages(directory, n):
    tensors = (("t%d" % i, tb.tensor(tb.legacy_persid(str(i), numel=0), sizes=(0,))) for i in range(n))
    torch_file(directory, tb.legacy(tb.pickle_of(*tensors), tb.legacy_keys(*sorted(str(i) for i in range(n))),
                                    bytes(8 * n)))


# ---- Used again and again: what it is costs once, each use a few bytes ----


def long_key(directory, n):
    """A key of n bytes in a dictionary n times."""
    pickle(directory, b"\x80\2}" + tb.text(b"k" * n) + b"q\0Ns(" + b"h\0N" * n + b"u.")


def long_keys_by_turns(directory, n):
    """Two keys that differ at their end, both of them in each of n dictionaries."""
    first, second = (b"X" + struct.pack("<I", n) + b"k" * (n - 1) + end for end in (b"1", b"2"))
    value(directory, b"](}(" + first + b"q\0N" + second + b"q\1Nu" + b"}(h\0Nh\1Nu" * n + b"e")


def long_key_twice_by_turns(directory, n):
    """A key that is written twice, both of them in each of n dictionaries: a duplicate wherever one looks."""
    first, second = (b"X" + struct.pack("<I", n) + b"k" * n for _ in range(2))
    value(directory, b"](}(" + first + b"q\0N" + second + b"q\1Nu" + b"}(h\0Nh\1Nu" * n + b"e")


def long_location(directory, n):
    storage = tb.persid(location=b"c" * n)
    value(directory, b"](" + storage[:-1] + b"q\1Q" + b"h\1Q" * n + b"e")


def attributes(directory, n):
    """One dictionary of n attributes, for n parameters."""
    plain = b"}(" + b"".join(tb.text("a%d" % i) + b"N" for i in range(n)) + b"u"
    rebuild = tb.glob("torch._utils", "_rebuild_parameter_with_state")
    value(directory, b"](" + rebuild + b"q\1(" + tb.tensor() + b"\x89" + tb.ORDERED + plain + b"tq\2R"
          + b"h\1h\2R" * n + b"e")


def legacy_long_key(directory, n):
    torch_file(directory, tb.legacy(keys=tb.legacy_keys(b"X" + struct.pack("<I", n) + b"7" * n + b"q\0", b"h\0" * n)))


def copied_views(directory, n, views, elems, norms=None):
    """The base of the tests as its own delta, in one storage; and n views of another, which are copied.

    `views`: offset, sizes and strides of each, pickled. `norms`: where in the other storage the tensors of layer norms
    are, every fourth element of it; or None."""
    with open(os.path.join(DATA, "base", "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    shapes = {name: row["shape"] for name, row in header.items() if name != "__metadata__" and "inv_freq" not in name}
    total = sum(map(math.prod, shapes.values()))
    rebuild = tb.glob("torch._utils", "_rebuild_tensor_v2")
    empty = b"K\0K\0\x85K\1\x85\x89"
    # No POP in a state dict: what is used again is put where it is used first.
    opening = b""
    for i, (name, numel) in enumerate((("model.mm_projector.a", elems), ("model.mm_projector.b", total))):
        storage = tb.persid(key=str(i), numel=numel)[:-1] + b"Qq%c" % (2 * i + 1)
        opening += tb.text(name) + rebuild + b"q%c(" % (2 * i) + storage + empty + tb.ORDERED + b"tR"
    rows, offset = [], 0
    for name, shape in shapes.items():
        strides = [math.prod(shape[i + 1:]) for i in range(len(shape))]
        storage, place = b"h\3", tb.integer(offset)
        if norms is not None and "norm" in name:
            storage, place, strides = b"h\1", tb.integer(norms), [4]
            norms += 4 * shape[0]
        shape_and_strides = tb.ints(shape) + tb.ints(strides)
        rows.append(tb.text(name) + b"h\0(" + storage + place + shape_and_strides + b"\x89" + tb.ORDERED + b"tR")
        offset += math.prod(shape)
    hooks = tb.text("model.mm_projector.c") + b"h\0(h\1" + empty + tb.ORDERED + b"q\5tR"
    more = b"".join(tb.text("model.mm_projector.%d" % i) + b"h\0(h\1" + views + b"\x89h\5tR" for i in range(n))
    pickle(directory, b"\x80\2}(" + opening + b"".join(rows) + hooks + more + b"u.",
           storages={"data/0": bytes(2 * elems), "data/1": bytes(2 * total)})


def views_of_one_storage(directory, n):
    copied_views(directory, n, b"K\0K\2\x85M\xff\x0f\x85", 4096)


def hard_views(directory, n):
    """Of 11 dimensions of 2 with strides of about 400, so that sums of them are far from 2300, where five tensors lie:
    to find out that they have nothing in common takes looking at most of these sums."""
    strides = [400 + 4 * i for i in range(10)] + [1]
    copied_views(directory, n, b"K\0" + tb.ints([2] * 11) + tb.ints(strides), 8192 + 128 * n, 2302)
