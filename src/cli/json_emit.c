/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_emit.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"
#include "llavamed.h"

void json_emit_init(struct json_emit *emit, FILE *stream)
{
    memset(emit, 0, sizeof *emit);
    emit->stream = stream;
}

void json_emit_init_line(struct json_emit *emit, FILE *stream)
{
    json_emit_init(emit, stream);
    emit->is_line = true;
}

/* \uXXXX of the character that is these bytes of UTF-8; two of them where it does not fit one. */
static void put_escape(FILE *stream, const char *sequence, size_t n_bytes)
{
    unsigned char first = (unsigned char)sequence[0];
    unsigned character = n_bytes == 1 ? first : first & (0x7fu >> n_bytes);
    for (size_t i = 1; i < n_bytes; i++) {
        character = character << 6 | ((unsigned char)sequence[i] & 0x3fu);
    }
    if (character >= 0x10000) {
        unsigned offset = character - 0x10000;
        (void)fprintf(stream, "\\u%04x", 0xd800 + (offset >> 10));
        character = 0xdc00 + (offset & 0x3ff);
    }
    (void)fprintf(stream, "\\u%04x", character);
}

static void put_string(FILE *stream, const char *text)
{
    (void)fputc('"', stream);
    while (*text != '\0') {
        size_t n = cli_utf8_bytes(text);
        char shown[5] = "";
        memcpy(shown, text, n);
        llavamed_make_printable(shown);
        if (n == 0) {
            (void)fputc('?', stream);
            n = 1;
        } else if (*text == '"' || *text == '\\') {
            (void)fprintf(stream, "\\%c", *text);
        } else if (memcmp(shown, text, n) != 0) { /* JSON allows most of these, terminals obey them */
            put_escape(stream, text, n);
        } else {
            (void)fwrite(text, 1, n, stream);
        }
        text += n;
    }
    (void)fputc('"', stream);
}

/* A new line for the next member or closing bracket. */
static void put_line_start(struct json_emit *emit)
{
    if (emit->is_line) {
        return;
    }
    (void)fprintf(emit->stream, "\n%*s", (int)(2 * emit->depth), "");
}

static void start_member(struct json_emit *emit, const char *key)
{
    if (emit->depth > 0) {
        if (emit->has_member[emit->depth]) {
            (void)fputs(emit->is_line ? ", " : ",", emit->stream);
        }
        put_line_start(emit);
    }
    emit->has_member[emit->depth] = true;
    if (key != NULL) {
        put_string(emit->stream, key);
        (void)fputs(": ", emit->stream);
    }
}

void json_emit_begin(struct json_emit *emit, const char *key, char bracket)
{
    assert(emit->depth < JSON_EMIT_DEPTH_MAX);
    start_member(emit, key);
    (void)fputc(bracket, emit->stream);
    emit->depth++;
    emit->has_member[emit->depth] = false;
}

void json_emit_end(struct json_emit *emit, char bracket)
{
    assert(emit->depth > 0);
    bool was_empty = !emit->has_member[emit->depth];
    emit->depth--;
    if (!was_empty) {
        put_line_start(emit);
    }
    (void)fputc(bracket, emit->stream);
    if (emit->depth == 0) {
        (void)fputc('\n', emit->stream);
    }
}

void json_emit_text(struct json_emit *emit, const char *key, const char *text)
{
    start_member(emit, key);
    if (text == NULL) {
        (void)fputs("null", emit->stream);
    } else {
        put_string(emit->stream, text);
    }
}

void json_emit_number(struct json_emit *emit, const char *key, uint64_t number)
{
    start_member(emit, key);
    (void)fprintf(emit->stream, "%" PRIu64, number);
}

void json_emit_bool(struct json_emit *emit, const char *key, bool value)
{
    start_member(emit, key);
    (void)fputs(value ? "true" : "false", emit->stream);
}

void json_emit_double(struct json_emit *emit, const char *key, double number)
{
    char text[40];
    start_member(emit, key);
    if (!isfinite(number)) {
        (void)fputs("null", emit->stream);
        return;
    }
    int digits = 1;
    do {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
    } while (digits++ < 17 && strtod(text, NULL) != number);
    (void)fputs(text, emit->stream);
}

void json_emit_seconds(struct json_emit *emit, const char *key, uint64_t elapsed_ns)
{
    start_member(emit, key);
    (void)fprintf(emit->stream, "%" PRIu64 ".%09" PRIu64, elapsed_ns / 1000000000, elapsed_ns % 1000000000);
}
