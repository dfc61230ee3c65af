/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable run of bytes with a mandatory maximum. Errors are sticky: after a failed append every later one fails
 * too, so that a caller may append many times and check once with buffer_status().
 */
#ifndef CORE_BUFFER_H
#define CORE_BUFFER_H

#include "core/error.h"

struct buffer {
    char *data;      /* owned; NUL-terminated whenever it is not NULL, the NUL not counted in n_bytes */
    size_t n_bytes;
    size_t capacity;
    size_t max_bytes;
    bool failed;     /* out of memory or above max_bytes */
};

/* No allocation yet. max_bytes is the most that n_bytes may become. */
void buffer_init(struct buffer *buffer, size_t max_bytes);

/* Frees the memory and makes it as after buffer_init(). */
void buffer_deinit(struct buffer *buffer);

void buffer_append(struct buffer *buffer, const void *bytes, size_t n_bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_decimal(struct buffer *buffer, uint64_t number);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* LLAVAMED_OK, or NO_MEMORY naming `what` when any append failed. */
enum llavamed_status buffer_status(const struct buffer *buffer, const char *what, struct llavamed_error *error)
    LLAVAMED_CHECK;

/* Hands the bytes to the caller (free() them; never NULL on success of buffer_status) and leaves it empty. */
char *buffer_take(struct buffer *buffer);

#endif
