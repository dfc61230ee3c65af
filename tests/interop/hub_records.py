# SPDX-License-Identifier: Apache-2.0
"""The hashes that huggingface_hub records beside what it downloads are found and checked.

A server on this machine answers as the hub does: large files carry their SHA-256, small ones git's SHA-1 of them. The
real library downloads from it, into a cache and into a directory; then every file is damaged in turn, which must be
refused where the merge uses the file, and must not matter where it does not.

Usage: hub_records.py --program PATH
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

os.environ["HF_HUB_OFFLINE"] = "0"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import huggingface_hub  # noqa: E402
from huggingface_hub.utils import sha  # noqa: E402

DATA = "tests/data/cli"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LEFT_OUT = ("SHA256SUMS",)
UNUSED = {"delta": ("train.py", "pytorch_model.bin.index.json"), "base": ()}


class Hub(http.server.BaseHTTPRequestHandler):
    """ORG/NAME/resolve/REVISION/FILE, where NAME is a folder of the data."""

    protocol_version = "HTTP/1.1"

    def answer(self, with_body):
        _, _, name, _, _, file_name = self.path.split("?")[0].split("/", 5)
        with open(os.path.join(DATA, name, file_name), "rb") as file:
            content = file.read()
        self.send_response(200)
        if file_name.endswith((".bin", ".safetensors", ".model")):
            digest = hashlib.sha256(content).hexdigest()
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("X-Linked-Etag", f'"{digest}"')
        else:
            digest = sha.git_hash(content)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def log_message(self, *arguments):
        pass


def files_of(name):
    return sorted(file for file in os.listdir(os.path.join(DATA, name)) if file not in LEFT_OUT)


def merge(program, cache, base, delta, out):
    """(exit status, code) of a merge, which leaves nothing."""
    result = subprocess.run([program, "-q", "--json", "--base", base, "--delta", delta, "--out", out],
                            capture_output=True, timeout=300, check=False, env={**os.environ, "HF_HUB_CACHE": cache})
    shutil.rmtree(out, ignore_errors=True)
    report = json.loads(result.stdout)
    return report["status"], report["code"], report["message"]


def damage(path):
    """Some byte, with the time of the last change kept; returns what undoes it."""
    real = os.path.realpath(path)
    info = os.stat(real)
    with open(real, "rb") as file:
        whole = file.read()
    if whole.endswith((b"}", b"}\n")):
        changed = whole + b" "  # JSON as before
    else:
        # In a zip this is the time in the first entry's header, which nothing else looks at.
        at = 10 if whole.startswith(b"PK") else len(whole) - 1
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]

    def write(content):
        os.chmod(real, 0o644)
        with open(real, "wb") as file:
            file.write(content)
        os.utime(real, ns=(info.st_atime_ns, info.st_mtime_ns))

    write(changed)
    return lambda: write(whole)


def check(program, scratch, form, places, sources):
    """places[name][file] is where it was downloaded to; yields (what, problem or None)."""
    cache, out = os.path.join(scratch, "hub"), os.path.join(scratch, "out")
    status, code, message = merge(program, cache, sources["base"], sources["delta"], out)
    yield f"{form}: whole", None if status == 0 else f"{code}: {message}"
    for name, files in places.items():
        for file, path in files.items():
            undo = damage(path)
            status, code, message = merge(program, cache, sources["base"], sources["delta"], out)
            undo()
            wanted = "ok" if file in UNUSED[name] else "HASH_MISMATCH"
            right = code == wanted and (wanted == "ok" or f"/{file}: the SHA-" in message)
            yield f"{form}: {name}/{file}", None if right else f"got {code} ({message}), want {wanted}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    program = os.path.abspath(parser.parse_args().program)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        cached, local = {}, {}
        for name in ("base", "delta"):
            cached[name] = {file: huggingface_hub.hf_hub_download(f"org/{name}", file, endpoint=endpoint,
                                                                  cache_dir=os.path.join(scratch, "hub"))
                            for file in files_of(name)}
            local[name] = {file: huggingface_hub.hf_hub_download(f"org/{name}", file, endpoint=endpoint,
                                                                 local_dir=os.path.join(scratch, name))
                           for file in files_of(name)}
        forms = [("cache", cached, {"base": "org/base", "delta": "org/delta"}),
                 ("directory", local, {name: os.path.join(scratch, name) for name in local})]
        for form, places, sources in forms:
            for what, problem in check(program, scratch, form, places, sources):
                passed += problem is None
                failed += problem is not None
                if problem is not None:
                    print(f"FAILED {what}: {problem}")
    server.shutdown()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
