# SPDX-License-Identifier: Apache-2.0
"""Spack recipe: `spack repo add contrib/spack && spack install llavamed-apply` builds the source that it lies in."""

import os

try:
    from spack_repo.builtin.build_systems.makefile import MakefilePackage
except ImportError:
    # Before Spack 1.0 this came with the next line.
    pass
from spack.package import *


class LlavamedApply(MakefilePackage):
    """OUT = BASE + DELTA for checkpoints released as delta weights: makes the LLaVA-Med v1 model out of the original LLaMA
    weights and the published delta, bit for bit as PyTorch does on a CPU. Merged weights are for research only."""

    homepage = "https://github.com/microsoft/LLaVA-Med"
    # The clone that holds this recipe. Copied elsewhere, it wants the address of the repository here.
    git = "file://" + os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))

    license("Apache-2.0")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("cjson")
    depends_on("openssl@3:")
    depends_on("zlib-api")

    requires("platform=linux")

    def build(self, spec, prefix):
        make("all", "libs")

    def install(self, spec, prefix):
        make("install", f"PREFIX={prefix}")

    # `make check` would look for Debian's packages.
    def check(self):
        make("suite")
