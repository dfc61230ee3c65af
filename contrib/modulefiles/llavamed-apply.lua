-- SPDX-License-Identifier: Apache-2.0
-- For Lmod. `make install` fills in the paths; `module use PREFIX/share/modulefiles && module load llavamed-apply`.
help([[
llavamed-apply @VERSION@: makes the LLaVA-Med v1 model out of the original LLaMA weights and the published delta.
llavamed-verify, llavamed-inspect and llavamed-make-delta go with it; `llavamed-apply --help` lists the options.
Merged weights are for research only: see NOTICE-research-only.md.
]])
whatis("Name: llavamed-apply")
whatis("Version: @VERSION@")
whatis("Category: machine learning, data management")
whatis("Description: OUT = BASE + DELTA for checkpoints released as delta weights")

conflict("llavamed-apply")

prepend_path("PATH", "@BINDIR@")
-- For programs that use the library.
prepend_path("PKG_CONFIG_PATH", "@LIBDIR@/pkgconfig")
prepend_path("LD_LIBRARY_PATH", "@LIBDIR@")
setenv("LLAVAMED_ROOT", "@PREFIX@")
