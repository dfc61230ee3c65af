#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""recipes.py spack RECIPE PREFIX | conda RECIPE | apptainer DEFINITION: recipes where their own tools are not to be had.

spack: the recipe is executed with a stand-in for spack.package; what it depends on is looked at, and its build() and
install() run the real make, into PREFIX. conda: meta.yaml as conda-build reads it, selectors, then Jinja, then YAML.
apptainer: by Singularity Python, and what the definition copies is there.
"""

import os
import re
import subprocess
import sys
import types

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ["llavamed-apply", "llavamed-inspect", "llavamed-make-delta", "llavamed-verify"]


def want(holds, what):
    if not holds:
        sys.exit(f"recipes.py: {what}")


def header_version():
    with open(os.path.join(ROOT, "include", "llavamed.h"), encoding="utf-8") as header:
        return re.search(r'#define LLAVAMED_VERSION "(.*)"', header.read()).group(1)


def run_make(*arguments):
    subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, check=True)


def spack(path, prefix):
    said = {}

    def directive(name):
        return lambda *args, **options: said.setdefault(name, []).append((args, options))

    stand_in = types.ModuleType("spack.package")
    for name in ["version", "depends_on", "license", "requires", "variant", "conflicts"]:
        setattr(stand_in, name, directive(name))
    stand_in.MakefilePackage = type("MakefilePackage", (), {})
    stand_in.make = run_make
    stand_in.__all__ = [name for name in vars(stand_in) if not name.startswith("_")]
    sys.modules["spack"] = types.ModuleType("spack")
    sys.modules["spack.package"] = stand_in
    recipe = {"__file__": os.path.abspath(path), "__name__": "package"}
    with open(path, encoding="utf-8") as source:
        exec(compile(source.read(), path, "exec"), recipe)
    package = recipe["LlavamedApply"]
    want(os.path.isdir(os.path.join(package.git[len("file://"):], "src")), f"git is no place of the source: {package.git}")
    needs = {args[0].split("@")[0] for args, _ in said["depends_on"]}
    want({"c", "gmake", "pkgconfig", "cjson", "openssl", "zlib-api"} <= needs, f"depends on {sorted(needs)}")
    want(said["version"], "no version")
    one = package()
    one.build(None, prefix)
    one.install(None, prefix)
    for program in PROGRAMS:
        done = subprocess.run([os.path.join(prefix, "bin", program), "--version"], check=True, stdout=subprocess.PIPE)
        want(done.stdout.startswith(program.encode()), f"{program} is another program")
    want(os.path.exists(os.path.join(prefix, "lib", "libllavamed.so.0")), "no shared library")


def conda(path):
    import jinja2
    import yaml

    def load_file_regex(load_file, regex_pattern, from_recipe_dir=False):
        where = os.path.dirname(path) if from_recipe_dir else ROOT
        with open(os.path.join(where, load_file), encoding="utf-8") as text:
            return re.search(regex_pattern, text.read())

    with open(path, encoding="utf-8") as source:
        lines = source.read().splitlines()
    kept = []
    for line in lines:
        selector = re.search(r"# \[(.*)\]$", line)
        if selector is None or eval(selector.group(1), {"linux": True, "win": False, "osx": False}):
            kept.append(line)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    text = environment.from_string("\n".join(kept)).render(
        load_file_regex=load_file_regex,
        compiler=lambda language: f"{language}-compiler",
        stdlib=lambda language: f"{language}-stdlib",
        pin_subpackage=lambda name, max_pin: f"{name} {max_pin}",
    )
    recipe = yaml.safe_load(text)
    want(recipe["package"] == {"name": "llavamed-apply", "version": header_version()}, f"package: {recipe['package']}")
    source = os.path.join(os.path.dirname(path), recipe["source"]["path"])
    want(os.path.samefile(source, ROOT), f"source: {source}")
    want("skip" not in recipe["build"], "skipped on Linux")
    want({"cjson", "openssl >=3", "zlib"} == set(recipe["requirements"]["host"]), f"host: {recipe['requirements']}")
    for name in recipe["about"]["license_file"]:
        want(os.path.isfile(os.path.join(ROOT, name)), f"no such file: {name}")
    want(recipe["about"]["license"] == "Apache-2.0", "another licence")
    for program in PROGRAMS:
        want(f"{program} --version" in recipe["test"]["commands"], f"{program} is not tested")


def apptainer(path):
    from spython.main.parse.parsers import get_parser

    parser = get_parser("singularity")(path)
    stages = parser.parse()
    want(list(stages) == ["build", "final"] or len(stages) == 2, f"stages: {list(stages)}")
    first, last = stages.values()
    want(first.fromHeader == "debian:bookworm-slim" and last.fromHeader == first.fromHeader, "from another image")
    copied = [pair if isinstance(pair, (list, tuple)) else pair.split() for pair in first.files]
    want(len(copied) >= 8, f"copies {copied}")
    for source, _ in copied:
        want(os.path.exists(os.path.join(ROOT, source)), f"copies what is not there: {source}")
    want(any("make install" in line for line in first.install), "installs nothing")
    want(any("llavamed-apply" in line for line in [last.cmd or "", last.entrypoint or ""]), f"runs {last.cmd}")
    want(any("libcjson1" in line for line in last.install), "has no libraries")


def main():
    commands = {"spack": spack, "conda": conda, "apptainer": apptainer}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit("usage: recipes.py spack RECIPE PREFIX | conda RECIPE | apptainer DEFINITION")
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
