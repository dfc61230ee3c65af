/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before every file that clang-tidy reads: tells the static analyser what it cannot see across files, that
 * these functions return the status they are given, which is never LLAVAMED_OK.
 */
#ifndef LINT_ANALYZER_H
#define LINT_ANALYZER_H

#include "core/error.h"

#define llavamed_fail(error, status, ...) ((void)(llavamed_fail)(error, status, __VA_ARGS__), (status))
#define llavamed_fail_errno(error, status, ...) ((void)(llavamed_fail_errno)(error, status, __VA_ARGS__), (status))
#define llavamed_fail_memory(...) ((void)(llavamed_fail_memory)(__VA_ARGS__), LLAVAMED_STATUS_NO_MEMORY)

#endif
