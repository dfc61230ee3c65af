#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_analyzer.sh: GCC's static analyser over the program's own files, every warning an error, JOBS at a time.
# Intrinsics differ by machine: the kernels of one are left out, as for clang-tidy.
#
# What is not asked, of which file, and why:
# - malloc-leak: GCC 12 takes memory for lost that a function hands to a structure of its caller, which frees it, by an
#   index or a copy of the structure. Who frees it: directory_listing_deinit() (directory.c), zip_directory_deinit()
#   (zip.c), safetensors_header_deinit() (safetensors.c), tensor_deinit() (tensor.c), documents_free()
#   (documents.c), llavamed_result_free() (merge_resume.c, result.c), pipeline_outcome_deinit() (pipeline.c),
#   plan_deinit() (plan_shard.c, part_share.c), warnings_deinit() (warnings.c), file_table_deinit() (file_table.c,
#   read_files.c),
#   sums_list_deinit() (sums_list.c), llavamed_inspect_result_free() (inspect_list.c, inspect_notes.c),
#   llavamed_diff_result_free() and run_pass() (inspect_diff.c), tensor_pass_run() (tensor_pass.c).
#   That nothing leaks is asked of the program itself: by LeakSanitizer (make sanitize), valgrind, and torture.py.
set -u

cd "$(dirname "$0")/../.." || exit 2
# Not -O2: what is inlined is looked at again in every caller.
analyze="${ANALYZER_CC:-gcc} -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc -Itests -pthread -O1
    -fanalyzer -Werror -c -o /dev/null"
export analyze

# An analyser that finds nothing here finds nothing at all.
# shellcheck disable=SC2086
if printf '#include <stdlib.h>\nvoid f(char *p) { free(p); free(p); }\n' | $analyze -x c - 2>/dev/null ||
    ! printf '#include <stdlib.h>\nvoid f(char *p) { free(p); }\n' | $analyze -x c -; then
    echo 'check_analyzer.sh: no compiler with a static analyser' >&2
    exit 2
fi

# shellcheck disable=SC2016
tests/lint/files.sh c | grep '^src/.*\.c$' | grep -Ev '^src/kernel/(x86|arm)/' |
    xargs -P "${JOBS:-$(nproc)}" -n 1 sh -c '
    flags=
    case $1 in
    src/io/directory.c | src/format/zip.c | src/format/safetensors.c | src/tensor/tensor.c)
        flags=-Wno-analyzer-malloc-leak ;;
    src/inspect/inspect_diff.c | src/inspect/inspect_list.c | src/inspect/inspect_notes.c | \
        src/inspect/tensor_pass.c) flags=-Wno-analyzer-malloc-leak ;;
    src/merge/documents.c | src/merge/merge_resume.c | src/merge/part_share.c | src/merge/pipeline.c | \
        src/merge/plan_shard.c | src/merge/result.c | src/merge/result_tensors.c | \
        src/core/warnings.c) flags=-Wno-analyzer-malloc-leak ;;
    src/verify/file_table.c | src/verify/read_files.c | src/verify/sums_list.c | \
        src/verify/tensor_verdicts.c) flags=-Wno-analyzer-malloc-leak ;;
    src/source/source_listing.c | src/verify/identify.c) flags=-Wno-analyzer-malloc-leak ;;
    *_pclmul.c) flags=-mpclmul ;;
    esac
    [ "$1" = src/core/error.c ] || flags="$flags -include tests/lint/analyzer.h"
    exec timeout 300 $analyze $flags "$1"' analyzer
