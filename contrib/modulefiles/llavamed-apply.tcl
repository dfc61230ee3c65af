#%Module1.0
# SPDX-License-Identifier: Apache-2.0
# For Environment Modules (and Lmod, which prefers the file in Lua beside it). `make install` fills in the paths;
# `module use PREFIX/share/modulefiles && module load llavamed-apply`.
proc ModulesHelp { } {
    puts stderr "llavamed-apply @VERSION@: makes the LLaVA-Med v1 model out of the original LLaMA weights and the
published delta. llavamed-verify, llavamed-inspect and llavamed-make-delta go with it; `llavamed-apply --help` lists
the options. Merged weights are for research only: see NOTICE-research-only.md."
}

module-whatis "Name: llavamed-apply"
module-whatis "Version: @VERSION@"
module-whatis "Category: machine learning, data management"
module-whatis "Description: OUT = BASE + DELTA for checkpoints released as delta weights"

conflict llavamed-apply

prepend-path PATH {@BINDIR@}
# For programs that use the library.
prepend-path PKG_CONFIG_PATH {@LIBDIR@/pkgconfig}
prepend-path LD_LIBRARY_PATH {@LIBDIR@}
setenv LLAVAMED_ROOT {@PREFIX@}
