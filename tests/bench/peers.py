#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peers.py [options]: llavamed-apply against what people use to merge a delta, in one run, in turns.

  script    the reference: apply_delta of LLaVA and FastChat on transformers 4.28 (tests/interop/reference_apply_delta.py)
  core      its bare core: torch.load of both, an addition for each tensor, torch.save
  mergekit  its linear merge of both with weight 1 (no normalising); its environment is made when it is not there, beside
            that of --python, whose torch and transformers it uses. It refuses embeddings that grew ("Tensor size
            mismatch"), and knows no projector: its pair is one without both, as safetensors

Inputs are .bin files made by synth_to_bin.py (7B shrunken by --scale; 0.25 is what the limits are meant for). The clock
stops when the disk has it all, for every program. Limits: the script takes at least 5 times our wall time with inputs
in the page cache and 3 times cold, the core at least twice, cached; we take at most a 20th of the script's memory.
Exit status 1 when one is missed, else 3 when a program could not be run here, else 0.
"""
import argparse
import os
import shutil
import subprocess
import sys

import bench

HERE = os.path.dirname(os.path.abspath(__file__))

SCRIPT = """
import sys
sys.path.insert(0, {interop!r})
import reference_apply_delta
reference_apply_delta.apply_delta({base!r}, {delta!r}, {out!r}, "10GB")
"""
CORE = """
import glob, os, torch
def load(directory):
    tensors = {{}}
    for file in sorted(glob.glob(directory + "/*.bin")):
        tensors.update(torch.load(file, map_location="cpu"))
    return tensors
base, delta = load({base!r}), load({delta!r})
for name, tensor in delta.items():
    if name in base and base[name].shape == tensor.shape:
        tensor += base[name]
    elif name in base:
        tensor[: base[name].shape[0], : base[name].shape[1]] += base[name]
os.mkdir({out!r})
torch.save(delta, {out!r} + "/pytorch_model.bin")
"""
MERGEKIT = """
models:
  - model: {base}
    parameters: {{weight: 1.0}}
  - model: {delta}
    parameters: {{weight: 1.0}}
merge_method: linear
parameters: {{normalize: false}}
dtype: float16
"""


class Peers(bench.Bench):
    def peer(self, pair, cold, command):
        shutil.rmtree(self.out, ignore_errors=True)
        self.settle(pair, cold)
        done = subprocess.run([self.tool("timed"), self.directory, *command], capture_output=True, text=True, check=False)
        shutil.rmtree(self.out, ignore_errors=True)
        if done.returncode != 0:
            return None, (done.stderr.strip().splitlines() or ["it failed"])[-1]
        fields = dict(field.split("=") for field in done.stdout.split())
        return (float(fields["seconds"]), float(fields["peak_kib"])), ""

    def make_mergekit(self):
        """As tests/interop/run.sh makes environments. What fails is seen when mergekit is run."""
        python, directory = self.options.python, os.path.dirname(os.path.dirname(self.options.mergekit))
        if os.path.exists(self.options.mergekit):
            return
        found = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
                               capture_output=True, text=True, check=True).stdout
        made = subprocess.run([python, "-m", "venv", directory], check=False).returncode == 0
        if made:
            inside = subprocess.run([self.options.mergekit, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
                                    capture_output=True, text=True, check=True).stdout.strip()
            with open(os.path.join(inside, "interop.pth"), "w", encoding="utf-8") as file:
                file.write(found)
            requirements = os.path.join(HERE, "requirements-mergekit.txt")
            made = subprocess.run([self.options.mergekit, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                                   "-r", requirements], check=False).returncode == 0
        if not made:
            shutil.rmtree(directory, ignore_errors=True)

    def peers(self, pair, plain):
        """(name, inputs, command of the peer, options of ours)"""
        places = {"base": pair.base, "delta": pair.delta, "out": self.out,
                  "interop": os.path.join(bench.ROOT, "tests", "interop")}
        config = os.path.join(self.directory, "mergekit.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(MERGEKIT.format(base=plain.base, delta=plain.delta))
        python = self.options.reference
        yield "script", pair, [python, "-B", "-c", SCRIPT.format(**places)], ("--format", "torch")
        yield "core", pair, [python, "-B", "-c", CORE.format(**places)], ("--format", "torch")
        mergekit = os.path.join(os.path.dirname(self.options.mergekit), "mergekit-yaml")
        yield "mergekit", plain, ["env", "HF_HUB_OFFLINE=1", mergekit, config, self.out], ()

    def against(self, name, pair, command, form, cold):
        """Pairs of the peer and us: ratios of wall time and of memory, or None."""
        times, peaks = [], []
        for i in range(self.options.pairs):
            if i % 2:
                ours = self.merge(pair, cold, *form)
            theirs, why = self.peer(pair, cold, command)
            if theirs is None:
                return None, why
            if i % 2 == 0:
                ours = self.merge(pair, cold, *form)
            times.append((ours[0], theirs[0]))
            peaks.append((ours[2], theirs[1]))
        state = "cold" if cold else "cached"
        self.table.row(f"{name}, {state}: seconds", [b for _, b in times])
        self.table.row(f"{name}, {state}: ours, seconds", [a for a, _ in times])
        self.table.row(f"{name}, {state}: peak MiB", [b / 1024 for _, b in peaks])
        self.table.row(f"{name}, {state}: ours, peak MiB", [a / 1024 for a, _ in peaks])
        return ([a / b for a, b in times], [a / b for a, b in peaks]), ""

    def run(self):
        print(f"load of the machine {os.getloadavg()[0]:.1f}, {self.n_cores} cores, scale {self.options.scale}")
        name = os.path.join(self.directory, f"7b-{self.options.scale}")
        pair, why = self.torch_pair(self.synth(self.size(), name), name + "-torch")
        if pair is None:
            sys.exit(f"peers.py: no .bin inputs: {why}")
        if "mergekit" in self.options.only:
            self.make_mergekit()
        self.checked = True  # by make bench: the check reads safetensors
        self.merge(pair, True, "--format", "torch")
        self.table = bench.Table()
        limits = {("script", False): 1 / 5, ("script", True): 1 / 3, ("core", False): 1 / 2}
        plain = self.synth([*self.size(), "--variant", "vicuna", "--vocab-rows", "32000", "--projector", "none",
                            "--inv-freq", "none"], name + "-plain")
        for name, inputs, command, form in self.peers(pair, plain):
            if name not in self.options.only:
                continue
            for cold in (False, True):
                limit = limits.get((name, cold))
                ratios, why = self.against(name, inputs, command, form, cold)
                what = f"ours / {name}, {'cold' if cold else 'cached'}: wall"
                if ratios is None:
                    self.table.absent(what, why)
                    continue
                self.table.row(what, ratios[0], limit)
                self.table.row(what.replace("wall", "memory"), ratios[1], 1 / 20 if name == "script" else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--program")
    parser.add_argument("--dir", help="for models and results (BUILD/bench-data)")
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--python", default=os.environ.get("PYTHON", "python3"), help="one that has torch")
    parser.add_argument("--reference", default="build/venv-reference/bin/python", help="torch 1.13, transformers 4.28")
    parser.add_argument("--mergekit", default="build/venv-mergekit/bin/python", help="one that has mergekit beside it")
    parser.add_argument("--only", type=lambda text: text.split(","), default=("script", "core", "mergekit"), metavar="PEERS",
                        help="some of script,core,mergekit")
    parser.add_argument("--keep", action="store_true", help="leave the models there")
    peers = Peers(parser.parse_args())
    try:
        peers.run()
    finally:
        peers.clean()
    return peers.table.end()


if __name__ == "__main__":
    sys.exit(main())
