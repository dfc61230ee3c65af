# SPDX-License-Identifier: Apache-2.0
"""ORG/NAME[@REVISION] means the same files to llavamed-apply as to huggingface_hub, wherever the cache is.

Caches are built without network by huggingface_hub's own functions, with links, without, and with blobs shared between
repositories. Each name is then resolved twice: by snapshot_download(local_files_only=True) and try_to_load_from_cache()
in a process with the same environment, and by the program, whose note of the snapshot and whose hashes of the files
must agree with the library's; what the library does not find the program must not find either.

Usage: hub_cache.py --program PATH [--data DIR]
Ends with "N passed, N failed".
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from huggingface_hub import _local_folder, file_download, scan_cache_dir

COMMIT, OLDER = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"
VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")
FILES = ("config.json", "model.safetensors")

# Run by a new interpreter, as the library reads the environment when it is imported.
RESOLVE = """
import json, sys
from huggingface_hub import snapshot_download, try_to_load_from_cache
repo, revision = sys.argv[1], sys.argv[2] or None
try:
    folder = snapshot_download(repo, revision=revision, local_files_only=True)
except Exception as error:
    folder = None
files = [try_to_load_from_cache(repo, name, revision=revision) for name in sys.argv[3:]]
print(json.dumps({"folder": folder, "files": [f if isinstance(f, str) else None for f in files]}))
"""

# The same for making a cache, as its links depend on the environment too.
BUILD = """
import os, shutil, sys
from huggingface_hub import file_download
root, repo, folder, commit, sharing = sys.argv[1:6]
storage = os.path.join(root, file_download.repo_folder_name(repo_id=repo, repo_type="model"))
os.makedirs(os.path.join(storage, "blobs"), exist_ok=True)
for spec in sys.argv[6:]:
    name, etag = spec.split("=")
    pointer = file_download._get_pointer_path(storage, commit, name)
    os.makedirs(os.path.dirname(pointer), exist_ok=True)
    blob = os.path.join(storage, "blobs", etag)
    shutil.copyfile(os.path.join(folder, name), blob)
    is_shared = False
    if sharing == "shared" and len(etag) == 64:
        from huggingface_hub.utils import _shared_blobs
        xet = etag[::-1]  # any other hash
        is_shared = _shared_blobs.publish_blob_to_shared_store(
            blob_path=blob, xet_hash=xet, cache_dir=root, expected_size=os.path.getsize(blob))
        assert is_shared and os.path.islink(blob)
    file_download._create_symlink(blob, pointer, new_blob=not is_shared)
"""


class Mismatch(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Mismatch(text)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def git_blob(path):
    with open(path, "rb") as file:
        data = file.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def environment(values):
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**env, **values, "HF_HUB_OFFLINE": "1"}


def run_python(code, arguments, env):
    result = subprocess.run([sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False)
    expect(result.returncode == 0, f"python: {result.stderr[-2000:]}")
    return result.stdout


class Tests:
    def __init__(self, program, data, directory):
        self.program, self.data, self.directory = program, data, directory
        self.n_passed = self.n_failed = self.n_runs = 0

    def build(self, root, repo, commit, refs, form="links", folder=None):
        """A repository as a download leaves it: blobs, snapshot, refs."""
        folder = folder or os.path.join(self.data, "base")
        # The hub's etag: the SHA-256 of what is in Git LFS, the git blob of the rest.
        specs = [f"{name}={(sha256 if name.endswith('.safetensors') else git_blob)(os.path.join(folder, name))}"
                 for name in FILES]
        env = environment({"HOME": self.directory})
        if form == "plain":
            env["HF_HUB_DISABLE_SYMLINKS"] = "1"
        os.makedirs(root, exist_ok=True)
        run_python(BUILD, [root, repo, folder, commit, form, *specs], env)
        storage = os.path.join(root, file_download.repo_folder_name(repo_id=repo, repo_type="model"))
        for revision in refs:
            file_download._cache_commit_hash_for_specific_revision(storage, revision, commit)
        snapshot = os.path.join(storage, "snapshots", commit)
        for name in FILES:
            path = os.path.join(snapshot, name)
            expect(os.path.islink(path) == (form != "plain"), f"{path} is not of the form {form}")
            expect(sha256(path) == sha256(os.path.join(folder, name)), f"{path} does not hold the file")
        expect(not scan_cache_dir(root).warnings, f"the library calls the cache {form} damaged")
        return snapshot

    def merge(self, base, env, arguments=()):
        self.n_runs += 1
        out = os.path.join(self.directory, f"out-{self.n_runs}")
        result = subprocess.run([self.program, "--base", base, "--delta", os.path.join(self.data, "delta"), "--out", out,
                                 "-v", *arguments],
                                env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return result, out

    def compare(self, repo, revision, values, found=True):
        env = environment(values)
        theirs = json.loads(run_python(RESOLVE, [repo, revision or "", *FILES], env))
        spec = repo if revision is None else f"{repo}@{revision}"
        result, out = self.merge(spec, env)
        expect((theirs["folder"] is not None) == found, f"the library finds {theirs['folder']} for {spec}")
        if not found:
            expect(result.returncode == 3 and not os.path.exists(out), f"exit status {result.returncode} for {spec}, "
                   f"which the library does not find: {result.stderr}")
            return
        expect(result.returncode == 0, f"exit status {result.returncode} for {spec}: {result.stderr}")
        ours = re.search(r"found in the Hugging Face cache: (.*)", result.stderr)
        expect(ours is not None, f"no word of the cache: {result.stderr}")
        expect(os.path.realpath(ours[1]) == os.path.realpath(theirs["folder"]),
               f"{spec} is {ours[1]}, for the library {theirs['folder']}")
        with open(os.path.join(out, "llavamed-manifest.json"), encoding="utf-8") as file:
            files = json.load(file)["inputs"]["base"]["files"]
        expect([f["name"] for f in files] == ["model.safetensors"], f"files {files}")
        weights = theirs["files"][FILES.index("model.safetensors")]
        expect(files[0].get("sha256") in (None, sha256(weights)), f"{spec}: another hash than {weights}: {files}")
        expect(os.path.samefile(os.path.join(ours[1], "model.safetensors"), weights), f"{spec}: another file")

    def run(self, name, function, *arguments):
        try:
            function(*arguments)
            self.n_passed += 1
        except Mismatch as error:
            self.n_failed += 1
            print(f"{name}: {error}", flush=True)
        except Exception:
            self.n_failed += 1
            print(f"{name}: {traceback.format_exc()}", flush=True)


def test_places(tests, values, below):
    """`values`: the environment; `below`: where its cache is, under a directory that is HOME too."""
    home = tempfile.mkdtemp(dir=tests.directory)
    values = {name: value.replace("{home}", home) for name, value in {"HOME": home, **values}.items()}
    tests.build(os.path.join(home, below), "org/base", COMMIT, ["main"])
    tests.compare("org/base", None, values)


PLACES = [
    ({}, ".cache/huggingface/hub"),
    ({"XDG_CACHE_HOME": "{home}/xdg"}, "xdg/huggingface/hub"),
    ({"XDG_CACHE_HOME": "{home}/nowhere", "HF_HOME": "{home}/hf"}, "hf/hub"),
    ({"HF_HOME": "~/hf"}, "hf/hub"),
    ({"HF_HOME": "$HOME/hf"}, "hf/hub"),
    ({"HF_HOME": "{home}/nowhere", "HF_HUB_CACHE": "{home}/a cache"}, "a cache"),
    ({"HF_HUB_CACHE": "${HOME}/c"}, "c"),
    ({"HF_HUB_CACHE": "~/c"}, "c"),
    ({"HF_HUB_CACHE": "~/c", "HUGGINGFACE_HUB_CACHE": "{home}/nowhere"}, "c"),
    ({"HF_HOME": "{home}/nowhere", "HUGGINGFACE_HUB_CACHE": "{home}/old"}, "old"),
]


def test_revisions(tests, form):
    root = os.path.join(tests.directory, f"revisions-{form}")
    values = {"HF_HUB_CACHE": root}
    tests.build(root, "org/base-1.0", COMMIT, ["main", "v1.0", "feature/x", "refs/pr/4"], form)
    tests.build(root, "org/base-1.0", OLDER, ["old"], form)
    for revision in (None, "main", "v1.0", "feature/x", "refs/pr/4", "old", COMMIT, OLDER):
        tests.compare("org/base-1.0", revision, values)
    for revision in ("absent", COMMIT[:7], "9" * 40, "feature"):
        tests.compare("org/base-1.0", revision, values, found=False)
    tests.compare("org/other", None, values, found=False)
    # A ref whose snapshot is gone.
    shutil.rmtree(os.path.join(root, "models--org--base-1.0", "snapshots", OLDER))
    tests.compare("org/base-1.0", "old", values, found=False)


def test_recorded(tests, form):
    """The name of a blob tells the file's hash: a damaged blob is found. Without links nothing is recorded."""
    root = os.path.join(tests.directory, f"recorded-{form}")
    snapshot = tests.build(root, "org/base", COMMIT, ["main"], form)
    weights = os.path.realpath(os.path.join(snapshot, "model.safetensors"))
    os.chmod(weights, 0o644)
    with open(weights, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    result, out = tests.merge("org/base", environment({"HF_HUB_CACHE": root}))
    if form == "plain":
        expect(result.returncode == 0, f"exit status {result.returncode}: {result.stderr}")
    else:
        expect(result.returncode == 1 and "the name of its blob" in result.stderr and not os.path.exists(out),
               f"exit status {result.returncode}: {result.stderr}")


def test_local_dir(tests):
    """`hf download --local-dir`: the hash in the .metadata counts as long as the library trusts it itself."""
    folder = os.path.join(tests.directory, "local")
    shutil.copytree(os.path.join(tests.data, "base"), folder)
    weights = pathlib.Path(folder, "model.safetensors")
    _local_folder.write_download_metadata(pathlib.Path(folder), weights.name, COMMIT, "0" * 64)
    for changed, trusted in ((time.time() - 100, True), (time.time() + 100, False)):
        os.utime(weights, (changed, changed))
        metadata = _local_folder.read_download_metadata(pathlib.Path(folder), weights.name)
        expect((metadata is not None) == trusted, f"the library gives {metadata}")
        result, _ = tests.merge(folder, environment({"HOME": folder}))
        expect(result.returncode == (1 if trusted else 0), f"exit status {result.returncode}: {result.stderr}")
        expect(not trusted or "the record of its download" in result.stderr, result.stderr)
        if not os.path.exists(os.path.join(folder, ".cache/huggingface/download/model.safetensors.metadata")):
            _local_folder.write_download_metadata(pathlib.Path(folder), weights.name, COMMIT, "0" * 64)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--data", default="tests/data/cli", help="where base and delta are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        tests = Tests(os.path.abspath(options.program), os.path.abspath(options.data), directory)
        for values, below in PLACES:
            tests.run(f"place {values}", test_places, tests, values, below)
        for form in ("links", "plain", "shared"):
            tests.run(f"revisions, {form}", test_revisions, tests, form)
            tests.run(f"recorded, {form}", test_recorded, tests, form)
        tests.run("local directory", test_local_dir, tests)
        print(f"{tests.n_passed} passed, {tests.n_failed} failed")
    return 0 if tests.n_failed == 0 and tests.n_passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
