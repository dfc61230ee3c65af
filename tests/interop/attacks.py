# SPDX-License-Identifier: Apache-2.0
"""What others have published against readers of weights, given as a base and as a delta: nothing runs, nothing passes.

The source packages of picklescan and fickling are downloaded and read as text, never imported: their tests and tables
name hundreds of globals that run code. (The files that picklescan's tests scan are not part of its package; whatever
files a package does hold are tried as they are.) Each global is put into pickles of every protocol, into torch's two
forms, into NumPy's and Meta's. The archives that picklescan's tests name, fickling's injections and polyglots, and the
attacks of the safetensors repository (attacks/) are built here from their descriptions.

No file is ever loaded by Python. A run has to end with exit status 3, or 1 where only a CRC-32 is wrong, with one error
and no OUT, within a bound on memory and on processor time; the command of a payload, which would leave a file, must not
have run. That the program has no means to start another one is looked up in its imports.

Usage: attacks.py --program PATH [--data DIRECTORY] [--packages DIRECTORY]
Ends with "N passed, N failed".
"""

import argparse
import ast
import collections
import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools"))

import torch_bytes as tb

PACKAGES = ["picklescan==1.0.5", "fickling==0.1.12"]
FILES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".npz", ".zip", ".7z", ".safetensors", ".h5", ".dat")
MEMORY_MAX = 160 << 20
CPU_SECONDS_MAX = 5.0

# ---- What is published ----


def download(directory):
    """The pinned source packages, as archives."""
    os.makedirs(directory, exist_ok=True)
    names = [package.split("==")[0] for package in PACKAGES]
    paths = [os.path.join(directory, package.replace("==", "-") + ".tar.gz") for package in PACKAGES]
    if not all(os.path.exists(path) for path in paths):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--no-binary", ",".join(names), "--dest", directory, *PACKAGES], check=True)
    return paths


def members(path):
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member).read()


def constant(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def globals_of(source):
    """(module, name) of every Global("module", "name", ...) and of every table {"module": {"name", ...} or "*"}."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Global" and len(node.args) >= 2:
            module, name = constant(node.args[0]), constant(node.args[1])
            if isinstance(module, str) and isinstance(name, str):
                yield module, name
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                module = constant(key) if key is not None else None
                if not isinstance(module, str) or not re.fullmatch(r"[\w.]+", module):
                    continue
                names = constant(value)
                if isinstance(names, (set, frozenset, dict, list, tuple)) and all(isinstance(n, str) for n in names):
                    yield from ((module, name) for name in names)
                elif isinstance(names, str):
                    yield module, "run" if names == "*" else names
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "frozenset" and node.args:
            for module in constant(node.args[0]) or ():
                if isinstance(module, str) and re.fullmatch(r"[\w.]+", module):
                    yield module, "run"


# What a state dict is made of, and therefore no attack.
HARMLESS = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state")}


def is_attack(module, name):
    return re.fullmatch(r"[\w.]{1,200}", name) and (module, name) not in HARMLESS and not (module == "torch" and name.endswith("Storage"))


# ---- Pickles that call something ----


def short(s):
    return b"\x8c" + bytes([len(s)]) + s.encode()


def pickles(module, name, command):
    """The call, by what each protocol has for it."""
    argument = tb.text(command)
    call = tb.glob(module, name) + argument + b"\x85R"
    yield "global", b"\x80\x02" + call + b"."
    yield "stack_global", b"\x80\x04" + short(module) + short(name) + b"\x93" + argument + b"\x85R."
    yield "inst", b"(S" + repr(command).encode() + b"\n" + b"i" + f"{module}\n{name}\n".encode() + b"."
    yield "newobj", b"\x80\x02" + tb.glob(module, name) + argument + b"\x85\x81."
    yield "obj", b"(" + tb.glob(module, name) + argument + b"o."
    yield "in_dict", tb.pickle_of(("w", tb.tensor()), ("x", call))
    yield "build", tb.pickle_of(("w", tb.glob(module, name) + b"}b"))
    # fickling's way: a call before a state dict that is otherwise whole.
    yield "injected", b"\x80\x02" + call + b"0" + tb.GOOD_PICKLE[2:]
    yield "left_below", b"\x80\x02" + call + tb.GOOD_PICKLE[2:]


def forms(label, pickle):
    """Name of the file in a directory of weights -> its bytes."""
    yield f"{label}, zip", {"pytorch_model.bin": tb.archive(tb.entries(pickle).values())}
    yield f"{label}, legacy", {"pytorch_model.bin": tb.legacy(pickle)}
    yield f"{label}, bare", {"pytorch_model.bin": pickle}


def npy(pickle):
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + pickle


def plain_zip(names, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return out.getvalue()


def patched(archive, central, local=None):
    """Fields of the first entry set to other 16-bit values: {offset: value} in its central and its local header."""
    out = bytearray(archive)
    for signature, fields in ((b"PK\1\2", central), (b"PK\3\4", local or {})):
        at = out.index(signature)
        for offset, value in fields.items():
            struct.pack_into("<H", out, at + offset, value)
    return bytes(out)


def scanner_cases(command):
    """The files that picklescan's tests name, built from what they are called and what is asserted of them."""
    call = tb.glob("builtins", "eval") + tb.text(command) + b"\x85R"
    evil = b"\x80\x02" + call + b"."
    whole = plain_zip({"data.pkl": evil})
    torch_like = plain_zip({"archive/data.pkl": evil, "archive/version": b"3\n", "archive/data/0": tb.STORAGE})
    for flags in 0x1, 0x20, 0x40, 0x2000:
        for name, archive in ("zip", whole), ("torch", torch_like):
            yield f"flags {flags:#x}, {name}", archive, {}
            yield f"flags {flags:#x}, {name}, both", patched(archive, {8: flags}, {6: flags}), {}
            yield f"flags {flags:#x}, {name}, local", patched(archive, {}, {6: flags}), {}
            yield f"flags {flags:#x}, {name}, central", patched(archive, {8: flags}), {}
    at = torch_like.index(b"PK\1\2")
    renamed = torch_like[:at] + torch_like[at:].replace(b"archive/data.pkl", b"archive/data.txt", 1)
    yield "central directory of another name", renamed, {}
    yield "wrong CRC-32", patched(torch_like, {16: 0xDEAD}), {}
    yield "wrong extension", plain_zip({"data.txt": evil}), {}
    yield "deflated", plain_zip({"archive/data.pkl": evil, "archive/version": b"3\n"}, zipfile.ZIP_DEFLATED), {}
    yield "an archive in an archive", plain_zip({"archive/data.pkl": torch_like, "archive/version": b"3\n"}), {}
    yield "7z", b"7z\xbc\xaf\x27\x1c\0\4" + evil, {}
    yield "PNG", b"\x89PNG\r\n\x1a\n" + evil, {}
    yield "bytes behind", evil + b"\xff\xfe not a pickle", {}
    yield "npy", npy(evil), {}
    yield "npz", plain_zip({"a.npy": npy(evil)}), {}
    magic = b"\x80\x02" + tb.glob("__builtin__", "eval") + tb.text("0x1950A86A20F9469CFC6C") + b"\x85R."
    system = b"\x80\x02" + tb.glob("posix", "system") + tb.text(command) + b"\x85R."
    yield "magic number by eval", tb.legacy(system, magic=magic), {}
    yield "magic number by eval, weights behind", tb.legacy(magic=magic), {}
    yield "memo of a key that is missing", tb.archive(tb.entries(b"\x80\x02h\x05" + call + b".").values()), {}
    yield "STACK_GLOBAL of no strings", tb.archive(tb.entries(b"\x80\x04K\1K\2\x93" + call + b".").values()), {}
    yield "STACK_GLOBAL through the memo", tb.archive(
        tb.entries(b"\x80\x04" + short("os") + b"\x94" + short("system") + b"\x94h\0h\1\x93.").values()), {}
    yield "two pickles in one record", tb.archive(tb.entries(tb.GOOD_PICKLE + evil).values()), {}


def injection_cases(command):
    """fickling's injections into torch files, its polyglots, and the forms that it identifies."""
    call = tb.glob("builtins", "exec") + tb.text(command) + b"\x85R"
    evil = b"\x80\x02" + call + b"."
    good = tb.archive(tb.entries().values())
    bad = tb.archive(tb.entries(evil).values())
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in "pickle", "storages", "tensors", "sys_info":
            info = tarfile.TarInfo(name)
            info.size = len(evil)
            archive.addfile(info, io.BytesIO(evil))
    tar = tar.getvalue()
    yield "pickle before zip", evil + good
    yield "zip before pickle", good + evil
    yield "zip before zip", good + bad
    yield "zip after zip", bad + good
    yield "zip before tar", good + tar
    yield "tar", tar
    yield "tar before zip", tar + good
    yield "legacy before zip", tb.legacy() + bad
    yield "zip in the storage of a legacy file", tb.legacy(data=tb.legacy_storage(bad[:8])) + bad[8:]
    yield "zip in the end record's comment", good[:-2] + struct.pack("<H", len(bad)) + bad
    yield "TorchScript 1.0", plain_zip({"m/model.json": b"{}", "m/constants.pkl": evil, "m/data.pkl": evil})
    yield "TorchScript 1.4", tb.archive(tb.entries(evil, constants__pkl=evil, **{"constants.pkl": evil}).values())
    yield "model archive", plain_zip({"MAR-INF/MANIFEST.json": b"{}", "model.pt": bad})
    yield "two data.pkl", tb.archive([*tb.entries().values(), tb.Entry("a/data.pkl", evil)])
    yield "data.pkl in another case", tb.archive([*tb.entries().values(), tb.Entry("a/DATA.PKL", evil)])
    yield "a second folder", tb.archive([*tb.entries().values(), tb.Entry("b/data.pkl", evil)])
    yield "STOP in the middle", tb.archive(tb.entries(evil + tb.GOOD_PICKLE[2:]).values())
    yield "PROTO twice", tb.archive(tb.entries(b"\x80\x02" + tb.GOOD_PICKLE[:-1] + call + b"0.").values())
    yield "EXT", tb.archive(tb.entries(b"\x80\x02\x82\x01.").values())


def header(tensors, data=b"", length=None):
    text = json.dumps(tensors).encode() if not isinstance(tensors, bytes) else tensors
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def safetensors_cases():
    """The abuse attempts and proposals of the safetensors repository."""
    def one(**fields):
        return {"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4], **fields}}

    for length in 2**64 - 1, 2**63, 2**40, 100_000_001, 1000:
        yield f"1: a header of {length} bytes", header(one(), b"\0" * 4, length)
    many = {f"w{i}": {"dtype": "F32", "shape": [500, 500], "data_offsets": [0, 1000000]} for i in range(2000)}
    yield "2: many tensors in one place", header(many, bytes(1000000))
    yield "2: a long header of nothing", header(b"{" + b" " * 1000000 + b"}")
    yield "2: many keys", header({f"k{i}": 1 for i in range(100000)})
    yield "3: negative offsets", header(one(data_offsets=[-4, 0]), b"\0" * 4)
    yield "3: offsets out of the file", header(one(data_offsets=[0, 2**53 - 1]), b"\0" * 4)
    yield "3: offsets beyond 64 bits", header(b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,18446744073709551620]}}')
    yield "3: the end before the beginning", header(one(data_offsets=[4, 0]), b"\0" * 4)
    yield "4: overlap", header({**one(), "v": one()["w"]}, b"\0" * 4)
    yield "4: a hole", header(one(data_offsets=[4, 8]), b"\0" * 8)
    yield "5: another shape", header(one(shape=[3]), b"\0" * 4)
    yield "5: a shape that overflows", header(one(shape=[2**32, 2**32]), b"\0" * 4)
    yield "5: a shape of ones", header(one(shape=[1] * 100 + [2]), b"\0" * 4)
    yield "6: bytes behind", header(one(), b"\0" * 5)
    yield "7: deep arrays", header(b'{"w":' + b"[" * 100000)
    yield "7: deep objects", header(b'{"w":' * 20000)
    yield "7: a duplicate key", header(b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},'
                                       b'"w":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}', b"\0" * 4)
    yield "7: a number of a megabyte", header(b'{"w":' + b"9" * 1000000 + b"}")
    yield "7: a BOM, a NUL, no UTF-8", header(b'\xef\xbb\xbf{"\0\xff":1}')


def other_cases(command):
    """The attacks that safetensors' directory shows on other formats."""
    evil = b"\x80\x02" + tb.glob("os", "system") + tb.text(command) + b"\x85R."
    zeros = bytes(64 << 20)
    bomb = plain_zip({"archive/data.pkl": tb.pickle_of(("w", tb.tensor(numel=len(zeros) // 2, sizes=(len(zeros) // 2,)))),
                      "archive/data/0": zeros, "archive/version": b"3\n"}, zipfile.ZIP_DEFLATED)
    yield "torch_ace", {"pytorch_model.bin": tb.archive(tb.entries(evil).values())}
    yield "torch_dos", {"pytorch_model.bin": bomb}
    yield "paddle_ace", {"model.pdparams": evil}
    yield "tf_ace", {"tf_model.h5": b"\x89HDF\r\n\x1a\n" + evil}
    yield "numpy_dos", {"weights.npz": plain_zip({"w.npy": npy(b"")[:-1] + zeros[:1 << 20]}, zipfile.ZIP_DEFLATED)}
    yield "Meta's layout", {"params.json": b'{"dim":8,"n_heads":2,"n_layers":1,"multiple_of":4,"norm_eps":1e-6,'
                                           b'"vocab_size":-1}', "consolidated.00.pth": tb.archive(tb.entries(evil).values())}


# ---- Trying ----


class Attempts:
    def __init__(self, program, data, directory):
        self.program, self.data, self.directory = program, data, directory
        self.canary = os.path.join(directory, "executed")
        self.place = os.path.join(directory, "place")
        self.counts = collections.Counter()
        self.statuses = collections.Counter()
        self.peak = 0

    def fail(self, label, why):
        self.counts["failed"] += 1
        print(f"{label}: {why}")

    def run(self, label, arguments, statuses):
        out = os.path.join(self.place, "out")
        with tempfile.TemporaryFile() as stderr:
            child = subprocess.Popen([self.program, *arguments, "--out", out, "--progress", "never"], cwd=self.place,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            stderr.seek(0)
            text = stderr.read().decode("utf-8", "replace")
        self.statuses[child.returncode] += 1
        self.peak = max(self.peak, usage.ru_maxrss << 10)
        if child.returncode not in statuses:
            return self.fail(label, f"exit status {child.returncode}: {text}")
        if text.count("llavamed-apply: error: ") != 1 or re.search(r"[\0-\x09\x0b-\x1f\x7f]", text):
            return self.fail(label, f"not one clean error: {text!r}")
        if os.path.exists(self.canary):
            os.remove(self.canary)
            return self.fail(label, "its command was executed")
        if [name for name in os.listdir(self.place) if name.startswith("out")]:
            shutil.rmtree(self.place)
            return self.fail(label, "it left an output")
        if usage.ru_maxrss << 10 > MEMORY_MAX or usage.ru_utime + usage.ru_stime > CPU_SECONDS_MAX:
            return self.fail(label, f"{usage.ru_maxrss} KiB, {usage.ru_utime + usage.ru_stime} s")
        self.counts["passed"] += 1
        return None

    def weights(self, label, files, roles=("delta", "base"), statuses=(3,)):
        """A directory of weights beside a good one, in either role."""
        where = os.path.join(self.place, "weights")
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(where)
        for name, content in files.items():
            with open(os.path.join(where, name), "wb") as file:
                file.write(content)
        for role in roles:
            pair = {"base": os.path.join(self.data, "base"), "delta": os.path.join(self.data, "delta")}
            pair[role] = where
            self.run(f"{label} as {role}", ["--base", pair["base"], "--delta", pair["delta"]], statuses)

    def file(self, label, name, content, statuses=(3,)):
        """One file, given itself."""
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(self.place)
        path = os.path.join(self.place, name)
        with open(path, "wb") as file:
            file.write(content)
        self.run(f"{label}, given itself", ["--base", os.path.join(self.data, "base"), "--delta", path], statuses)


def check_imports(attempts):
    """No call by which a program could be started or code be loaded."""
    listing = subprocess.run(["nm", "-D", "--undefined-only", attempts.program], check=True, capture_output=True, text=True)
    names = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}
    found = sorted(n for n in names if re.fullmatch(r"_*(v?fork|clone[0-9]*|exec[a-z]*|fexecve|system|popen|posix_spawnp?|"
                                                    r"dlm?open|forkpty)", n))
    attempts.counts["passed" if not found and any(name.startswith("pread") for name in names) else "failed"] += 1
    if found:
        print(f"the program imports {found}")


def published(attempts, packages, command):
    """Returns how many globals and files the packages named and held."""
    wanted = set()
    n_files = 0
    for path in packages:
        for name, content in members(path):
            if name.endswith(".py"):
                wanted |= {pair for pair in globals_of(content.decode()) if is_attack(*pair)}
            elif name.lower().endswith(FILES):
                n_files += 1
                attempts.weights(name, {"pytorch_model.bin": content})
                attempts.file(name, os.path.basename(name), content)
    # Each in torch's own form, and by turns in one other protocol and form: all pairs would be minutes.
    for i, (module, name) in enumerate(sorted(wanted)):
        made = [(label, *form) for label, pickle in pickles(module, name, command) for form in forms(label, pickle)]
        for label, form, files in (made[0], made[1 + i % (len(made) - 1)]):
            attempts.weights(f"{module}.{name} by {form}", files, roles=("delta", "base") if label == "global" else ("delta",))
    return len(wanted), n_files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--data", default="tests/data/cli", help="where a good base and delta are")
    parser.add_argument("--packages", default="build/attacks", help="where the source packages are kept")
    options = parser.parse_args()
    packages = download(options.packages)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as directory:
        attempts = Attempts(os.path.abspath(options.program), os.path.abspath(options.data), directory)
        command = f"touch {attempts.canary}"
        check_imports(attempts)
        n_globals, n_files = published(attempts, packages, command)
        for label, content, _ in scanner_cases(command):
            statuses = (3, 1) if "CRC-32" in label else (3,)
            attempts.weights(label, {"pytorch_model.bin": content}, statuses=statuses)
            attempts.file(label, "model.zip", content, statuses)
            attempts.file(label, "model.pt", content, statuses)
        for label, content in injection_cases(command):
            attempts.weights(label, {"pytorch_model.bin": content})
            attempts.file(label, "model.pt", content)
        for label, content in safetensors_cases():
            attempts.weights(label, {"model.safetensors": content})
        for label, files in other_cases(command):
            attempts.weights(label, files)
        print(f"{n_globals} globals and {n_files} files of {', '.join(PACKAGES)}; exit statuses "
              f"{dict(attempts.statuses)}; at most {attempts.peak >> 20} MiB")
    print(f"{attempts.counts['passed']} passed, {attempts.counts['failed']} failed")
    return 0 if attempts.counts["failed"] == 0 and attempts.counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
