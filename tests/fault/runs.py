# SPDX-License-Identifier: Apache-2.0
"""What torture.py and changes.py share: the models they merge, a place to work, runs under the shim, and their judgement."""
import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
TIMEOUT_SECONDS = 20
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6}
OLD_TIME = 1600000000  # of every input, so that any change of one has another time


HUB = "torture/"  # the organisation, in the hub's cache, whose models are those of cli/


MAKE_DELTA = "llavamed-make-delta"
KEY = "signature/p256.pem"


class Case:
    """One command: its inputs (paths below the scratch inputs, or ORG/NAME in the hub's cache there), options ("@PATH" is a path
    below the scratch inputs), and whether it replaces an old OUT. For MAKE_DELTA `delta` is the target."""

    def __init__(self, name, base, delta, *options, force=False, resumes=False, program="llavamed-apply"):
        self.name, self.base, self.delta, self.program = name, base, delta, program
        self.options = list(options) + (["--force"] if force else [])
        self.force = force
        self.resumes = resumes  # goes on with an interrupted run
        self.dry = "-n" in options
        self.json = "--json" in options


CASES = [
    Case("safetensors", "cli/base", "cli/delta-safetensors", "--json", "-j2"),
    Case("bin", "cli/base-bin", "cli/delta", "-j1", "--max-shard-size", "4KB"),
    Case("meta", "meta/two/13B", "meta/delta", "-j2", "--json"),
    Case("strided", "cli_forms/base-legacy.bin", "cli_forms/delta-transposed.bin", "-j1"),
    Case("zip", "cli/base", "cli_archives/delta-deflated.zip", "-j2", "--json", "--digests"),
    Case("full", "cli/base", "cli/delta", "-j2", "--verify", "full", "--json"),
    Case("force", "cli/base", "cli/delta", "-j2", force=True),
    Case("torch", "cli/base", "cli/delta", "-j2", "--format", "torch", "--json", "--digests"),
    Case("resumed", "cli/base-bin", "cli/delta", "-j1", "--max-shard-size", "4KB", "--json", resumes=True),
    Case("hub", f"{HUB}base", f"{HUB}delta", "-j2", "--json"),
    Case("dry-run", "cli/base", "cli/delta", "-n", "--json"),
    Case("signed", "cli/base", "cli/delta", "-j2", "--sign", f"@{KEY}", "--json"),
    Case("make-delta", "cli/base", "cli/delta-safetensors", "-j2", "--json", program=MAKE_DELTA),
    Case("exact", "cli/base", "cli/delta-safetensors", "-j1", "--exact", "--max-shard-size", "4KB", "--json", program=MAKE_DELTA),
    Case("large", "large/base", "large/delta", "-j2", "--max-memory", "16MiB"),
]


def digest_tree(directory):
    """One digest of all names and bytes of a directory without directories; None when it does not exist. Of a signature,
    which is another one each time, what is signed counts, and that the document is whole."""
    if not directory.exists():
        return None
    total = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        if path.name == "model.sig":
            envelope = json.loads(content)["dsseEnvelope"]
            assert len(base64.b64decode(envelope["signatures"][0]["sig"], validate=True)) > 60
            content = base64.b64decode(envelope["payload"], validate=True)
        total.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


class Result:
    """How a run ended. `report` is the shim's, empty when the process did not come to its end."""

    def __init__(self, status, stdout, stderr, report):
        self.status, self.stdout, self.stderr, self.report = status, stdout, stderr, report

    @property
    def fired(self):
        return int(self.report.get("fired", 0))

    @property
    def where(self):
        """Function and path of the call that failed."""
        function, _, path = self.report.get("where", "").partition(" ")
        return function, path


class Bench:
    """A scratch directory: copies of the inputs, and per worker a directory in which OUT is made."""

    def __init__(self, program, shim, scratch):
        self.shim = shim
        self.scratch = pathlib.Path(scratch).resolve()
        self.inputs = self.scratch / "inputs"
        for name in ("llavamed-apply", MAKE_DELTA):
            shutil.copy(pathlib.Path(program).with_name(name), self.scratch / name)
        self.copy_input(KEY)
        for case in CASES:
            for name in (case.base, case.delta):
                if name.startswith(HUB):
                    self.make_hub(name)
                else:
                    self.copy_input(name)

    def copy_input(self, name):
        source, target = DATA / name, self.inputs / name
        if target.exists() or not source.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
        self.age(target)

    def make_hub(self, name):
        """What huggingface_hub has after a download: blobs named by their hashes, a snapshot of links to them."""
        repository = self.inputs / "hub" / ("models--" + name.replace("/", "--"))
        snapshot = repository / "snapshots" / ("0" * 40)
        for directory in (snapshot, repository / "blobs", repository / "refs"):
            directory.mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        for path in (DATA / "cli" / name.removeprefix(HUB)).iterdir():
            data = path.read_bytes()
            is_large = path.suffix in (".bin", ".safetensors")
            blob = (hashlib.sha256(data) if is_large else hashlib.sha1(b"blob %d\0" % len(data) + data)).hexdigest()
            (repository / "blobs" / blob).write_bytes(data)
            (snapshot / path.name).symlink_to(f"../../blobs/{blob}")
        self.age(repository)

    @staticmethod
    def age(path):
        for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
            os.utime(each, (OLD_TIME, OLD_TIME), follow_symlinks=False)

    def make_large(self, synth):
        """Large enough that write-back is started early and the page cache is asked about."""
        subprocess.run([synth, "--out", self.inputs / "large", "--scale", "0.003", "--max-shard-size", "1GB"], check=True,
                       stdout=subprocess.DEVNULL)

    def command(self, case, inputs=None):
        inputs = inputs or self.inputs
        base, delta = (name if name.startswith(HUB) else str(inputs / name) for name in (case.base, case.delta))
        # Freed and new memory is filled (MALLOC_PERTURB_): more of it than is needed took most of the time of a run.
        memory = [] if "--max-memory" in case.options else ["--max-memory", "2MiB"]
        options = [str(inputs / option[1:]) if option.startswith("@") else option for option in case.options]
        other = "--target" if case.program == MAKE_DELTA else "--delta"
        return [str(self.scratch / case.program), "--base", base, other, delta, "--out", "out", *memory, *options]

    def environment(self, directory, fault, path=None):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.scratch), "MALLOC_PERTURB_": "165",
                       "HF_HUB_CACHE": str(self.inputs / "hub")}
        if fault is not None:
            environment |= {"LD_PRELOAD": str(self.shim), "FAULT": fault, "FAULT_REPORT": str(directory / "report")}
        if path is not None:
            environment["FAULT_PATH"] = path
        return environment

    def run(self, case, directory, fault=None, path=None, inputs=None):
        """Runs the case in `directory`; `fault` and `path` are what shim.h says. Status None: it did not end in time."""
        (directory / "report").unlink(missing_ok=True)
        try:
            ended = subprocess.run(self.command(case, inputs), cwd=directory, env=self.environment(directory, fault, path),
                                   capture_output=True, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired:
            return Result(None, "", "", {})
        return Result(ended.returncode, ended.stdout.decode(), ended.stderr.decode(), read_report(directory))

    def fresh(self, directory):
        """An empty directory of that name."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory


def write_count(name, passed, failed):
    """For the table of promises; promises.py says more."""
    if os.environ.get("COUNTS"):
        path = pathlib.Path(os.environ["COUNTS"], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{passed} {failed}\n")


def read_report(directory):
    return read_report_file(directory / "report")


def read_report_file(path):
    try:
        text = path.read_text()
    except OSError:
        return {}
    return dict(line.split(" ", 1) for line in text.splitlines())


def complaints_about_messages(case, result):
    """What is wrong with stdout and stderr of a run that ended."""
    bad = []
    lines = result.stderr.splitlines()
    n_errors = sum(line.startswith(f"{case.program}: error: ") for line in lines)
    if n_errors != (0 if result.status == 0 else 1):
        bad.append(f"{n_errors} error lines with status {result.status}")
    bad += [f"a line of stderr that is no message: {line}" for line in lines if not line.startswith(f"{case.program}: ")]
    if case.json:
        try:
            document = json.loads(result.stdout)
            if document["status"] != result.status:
                bad.append(f"--json says status {document['status']}, the exit status is {result.status}")
        except (ValueError, KeyError) as error:
            bad.append(f"--json printed no document: {error}")
    elif result.stdout and not case.dry:
        bad.append("something on stdout")
    return bad


def error_line(result):
    return next((line for line in result.stderr.splitlines() if re.match("llavamed-[a-z-]+: error: ", line)), "")
