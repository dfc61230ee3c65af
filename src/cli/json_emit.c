/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_emit.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli/text.h"

void json_emit_init(struct json_emit *emit, FILE *stream)
{
    memset(emit, 0, sizeof *emit);
    emit->stream = stream;
}

static void put_string(FILE *stream, const char *text)
{
    (void)fputc('"', stream);
    while (*text != '\0') {
        size_t n = cli_utf8_bytes(text);
        unsigned char first = (unsigned char)*text;
        if (n == 0) {
            (void)fputc('?', stream);
            n = 1;
        } else if (first == '"' || first == '\\') {
            (void)fprintf(stream, "\\%c", first);
        } else if (first < 0x20 || first == 0x7f) {
            (void)fprintf(stream, "\\u%04x", first);
        } else if (first == 0xc2 && (unsigned char)text[1] < 0xa0) { /* C1: JSON allows it, terminals obey it */
            (void)fprintf(stream, "\\u%04x", (unsigned char)text[1]);
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
    (void)fprintf(emit->stream, "\n%*s", (int)(2 * emit->depth), "");
}

static void start_member(struct json_emit *emit, const char *key)
{
    if (emit->depth > 0) {
        if (emit->has_member[emit->depth]) {
            (void)fputc(',', emit->stream);
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

void json_emit_seconds(struct json_emit *emit, const char *key, uint64_t elapsed_ns)
{
    start_member(emit, key);
    (void)fprintf(emit->stream, "%" PRIu64 ".%09" PRIu64, elapsed_ns / 1000000000, elapsed_ns % 1000000000);
}
