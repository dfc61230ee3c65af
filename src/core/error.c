/* SPDX-License-Identifier: Apache-2.0 */
#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length in bytes of the UTF-8 sequence at p (n bytes left), 0 when it is not one. */
static size_t utf8_sequence_bytes(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t need = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || need > n) {
        return 0;
    }
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_large = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || too_large ? 0 : need;
}

bool text_is_utf8(const char *bytes, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t pos = 0;
    while (pos < n_bytes) {
        if (p[pos] < 0x80) {
            pos++;
            continue;
        }
        size_t step = utf8_sequence_bytes(p + pos, n_bytes - pos);
        if (step == 0) {
            return false;
        }
        pos += step;
    }
    return true;
}

/*
 * Characters that are not seen, end a line, or change the order in which others are seen: what Unicode calls controls,
 * separators of lines and paragraphs, default ignorable (the marks of direction are among these), and marks of
 * annotations.
 */
static const struct {
    uint32_t first;
    uint32_t last;
} unseen[] = {
    {0x0000, 0x001f}, {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},   {0x061c, 0x061c},
    {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static bool is_unseen(const unsigned char *sequence, size_t n_bytes)
{
    uint32_t character = n_bytes == 1 ? sequence[0] : sequence[0] & (0x7fu >> n_bytes);
    for (size_t i = 1; i < n_bytes; i++) {
        character = character << 6 | (sequence[i] & 0x3fu);
    }
    bool found = false;
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++) {
        found = found || (character >= unseen[i].first && character <= unseen[i].last);
    }
    return found;
}

void llavamed_make_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0) {
        size_t step = utf8_sequence_bytes(p, left);
        if (step == 0 || is_unseen(p, step)) {
            step = step == 0 ? 1 : step;
            memset(p, '?', step);
        }
        p += step;
        left -= step;
    }
}

static void __attribute__((format(printf, 3, 0))) format_text(char *text, size_t capacity, const char *format,
                                                             va_list args)
{
    (void)vsnprintf(text, capacity, format, args);
    llavamed_make_printable(text);
}

enum llavamed_status llavamed_fail(struct llavamed_error *error, enum llavamed_status status, const char *format, ...)
{
    if (error != NULL) {
        memset(error, 0, sizeof *error);
        error->status = status;
        va_list args;
        va_start(args, format);
        format_text(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return status;
}

enum llavamed_status llavamed_fail_errno(struct llavamed_error *error, enum llavamed_status status, int errno_value,
                                         const char *format, ...)
{
    if (error != NULL) {
        memset(error, 0, sizeof *error);
        error->status = status;
        va_list args;
        va_start(args, format);
        format_text(error->message, sizeof error->message, format, args);
        va_end(args);
        /* strerror and not strerror_r, of which there are two; in glibc (2.32) and musl it is safe between threads. */
        const char *reason = strerror(errno_value); /* NOLINT(concurrency-mt-unsafe) */
        size_t used = strlen(error->message);
        (void)snprintf(error->message + used, sizeof error->message - used, ": %s", reason);
        if (errno_value == EMFILE) {
            llavamed_hint(error, "allow more open files: ulimit -n");
        }
    }
    return status;
}

void llavamed_hint(struct llavamed_error *error, const char *format, ...)
{
    if (error == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    format_text(error->hint, sizeof error->hint, format, args);
    va_end(args);
}

void llavamed_problem(struct llavamed_error *error, const char *format, ...)
{
    if (error == NULL) {
        return;
    }
    if (error->n_problems < LLAVAMED_PROBLEMS_MAX) {
        va_list args;
        va_start(args, format);
        format_text(error->problems[error->n_problems], LLAVAMED_PROBLEM_BYTES, format, args);
        va_end(args);
    }
    error->n_problems++;
}

enum llavamed_status llavamed_fail_memory(struct llavamed_error *error, uint64_t bytes, const char *what)
{
    return llavamed_fail(error, LLAVAMED_STATUS_NO_MEMORY, "out of memory (wanted %llu bytes for %s)",
                         (unsigned long long)bytes, what);
}

struct status_row {
    const char *name;
    int exit_status;
};

static const struct status_row status_rows[] = {
    [LLAVAMED_OK] = {"ok", 0},
#define STATUS_ROW(name, exit_status) [LLAVAMED_STATUS_##name] = {#name, exit_status},
    LLAVAMED_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

#define STATUS_COUNT (sizeof status_rows / sizeof status_rows[0])

const char *llavamed_status_name(enum llavamed_status status)
{
    return (size_t)status < STATUS_COUNT ? status_rows[status].name : "unknown";
}

int llavamed_exit_status(const struct llavamed_error *error)
{
    int exit_status = (size_t)error->status < STATUS_COUNT ? status_rows[error->status].exit_status : 70;
    return error->status == LLAVAMED_STATUS_INTERRUPTED ? exit_status + error->signal_number : exit_status;
}
