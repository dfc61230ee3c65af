/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling struct llavamed_error. The function that knows path, tensor and numbers words the message once; callers
 * pass the status up unchanged. Texts follow docs: "PATH: what is wrong (got X, want Y)", lower case, no full stop.
 */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

#include "llavamed.h"

#define LLAVAMED_CHECK __attribute__((warn_unused_result))

/*
 * Sets status and message (truncated to fit, then llavamed_make_printable()), clears the hint and the list of problems,
 * returns `status`. `error` may be NULL.
 */
enum llavamed_status llavamed_fail(struct llavamed_error *error, enum llavamed_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errno_value)" appended: for failed system calls. Too many open files have a hint. */
enum llavamed_status llavamed_fail_errno(struct llavamed_error *error, enum llavamed_status status, int errno_value,
                                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Sets the hint of an error already filled: the command or option that mends it. `error` may be NULL. */
void llavamed_hint(struct llavamed_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds one line to the list of problems; beyond LLAVAMED_PROBLEMS_MAX only the count grows. `error` may be NULL. */
void llavamed_problem(struct llavamed_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "out of memory (wanted N bytes for WHAT)" with LLAVAMED_STATUS_NO_MEMORY. */
enum llavamed_status llavamed_fail_memory(struct llavamed_error *error, uint64_t bytes, const char *what);

/* Whether the bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). NUL counts as a character. */
bool text_is_utf8(const char *bytes, size_t n_bytes);

#endif
