/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST_BYTES 256

void buffer_init(struct buffer *buffer, size_t max_bytes)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->max_bytes = max_bytes;
}

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer, buffer->max_bytes);
}

/* Makes room for n_bytes more and the NUL. */
static bool buffer_reserve(struct buffer *buffer, size_t n_bytes)
{
    if (buffer->failed || n_bytes > buffer->max_bytes - buffer->n_bytes) {
        buffer->failed = true;
        return false;
    }
    size_t need = buffer->n_bytes + n_bytes + 1;
    if (need <= buffer->capacity) {
        return true;
    }
    size_t capacity = buffer->capacity < BUFFER_FIRST_BYTES ? BUFFER_FIRST_BYTES : buffer->capacity;
    while (capacity < need) {
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t n_bytes)
{
    if (!buffer_reserve(buffer, n_bytes)) {
        return;
    }
    if (n_bytes > 0) {
        memcpy(buffer->data + buffer->n_bytes, bytes, n_bytes);
    }
    buffer->n_bytes += n_bytes;
    buffer->data[buffer->n_bytes] = '\0';
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_decimal(struct buffer *buffer, uint64_t number)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(buffer, digits + first, sizeof digits - first);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        buffer->failed = true;
    } else if (buffer_reserve(buffer, (size_t)n)) {
        (void)vsnprintf(buffer->data + buffer->n_bytes, (size_t)n + 1, format, again);
        buffer->n_bytes += (size_t)n;
    }
    va_end(again);
}

enum llavamed_status buffer_status(const struct buffer *buffer, const char *what, struct llavamed_error *error)
{
    if (buffer->failed || buffer->data == NULL) {
        return llavamed_fail_memory(error, buffer->max_bytes, what);
    }
    return LLAVAMED_OK;
}

char *buffer_take(struct buffer *buffer)
{
    char *data = buffer->data;
    buffer_init(buffer, buffer->max_bytes);
    return data;
}
