#!/usr/bin/env python2.7
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/torch/good/legacy-python2: the legacy form as torch wrote it under Python 2.

No torch for Python 2 is needed: Python 2's own cPickle pickles stand-ins for torch's objects, which name themselves and
reduce as those of torch 1.4 do (torch/serialization.py, torch/tensor.py, torch/nn/parameter.py).
"""

import collections
import cPickle
import os
import struct
import sys
import types

GOOD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "torch", "good")


def module(name):
    sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]


torch, utils = module("torch"), module("torch._utils")


class HalfStorage(object):
    def __init__(self, key, values):
        self.key, self.data = key, struct.pack("<%dH" % len(values), *values)
        self.numel = len(values)


def _rebuild_tensor_v2(*args):
    raise NotImplementedError


def _rebuild_parameter(*args):
    raise NotImplementedError


HalfStorage.__module__ = "torch"
torch.HalfStorage = HalfStorage
for function in _rebuild_tensor_v2, _rebuild_parameter:
    function.__module__ = "torch._utils"
    setattr(utils, function.__name__, function)


class Tensor(object):
    def __init__(self, storage, offset, sizes, strides):
        self.args = (storage, offset, sizes, strides, False)

    def __reduce_ex__(self, protocol):
        return _rebuild_tensor_v2, self.args + (collections.OrderedDict(),)


class Parameter(object):
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return _rebuild_parameter, (self.tensor, True, collections.OrderedDict())


def save(value, name):
    storages = {}

    def persistent_id(item):
        if not isinstance(item, HalfStorage):
            return None
        storages[str(item.key)] = item
        return "storage", HalfStorage, str(item.key), "cpu", item.numel, None

    with open(os.path.join(GOOD, "legacy-python2", name), "wb") as out:
        cPickle.dump(0x1950A86A20F9469CFC6C, out, protocol=2)
        cPickle.dump(1001, out, protocol=2)
        system = dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4))
        cPickle.dump(system, out, protocol=2)
        pickler = cPickle.Pickler(out, protocol=2)
        pickler.persistent_id = persistent_id
        pickler.dump(value)
        keys = sorted(storages)
        cPickle.dump(keys, out, protocol=2)
        for key in keys:
            out.write(struct.pack("<q", storages[key].numel) + storages[key].data)


def main():
    if not os.path.isdir(os.path.join(GOOD, "legacy-python2")):
        os.makedirs(os.path.join(GOOD, "legacy-python2"))
    one = HalfStorage(94021, range(0x3C00, 0x3C06))
    two = HalfStorage(7, [0x3800, 0xBC00])
    plain = {"w": Tensor(one, 0, (2, 3), (3, 1)), "b" * 300: Tensor(two, 0, (2,), (1,))}
    state = collections.OrderedDict()
    state["layer.weight"] = Parameter(Tensor(one, 0, (3, 2), (1, 3)))
    state[u"layer.bias"] = Tensor(two, 1, (1,), (1,))
    save(plain, "plain.pt")
    save(state, "ordered.pt")
    state._metadata = collections.OrderedDict([("", dict(version=1)), ("layer", dict(version=1))])
    save(state, "metadata.pt")
    save({"epoch": 3, "loss": 0.5, "state_dict": state, "names": ["a", (1, None)]}, "nested.pt")


main()
