/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON document written straight to a stream: commas, indentation and escapes. Every member function takes the key,
 * NULL inside an array. Write errors are left on the stream; the nesting is the caller's to get right (asserted).
 */
#ifndef CLI_JSON_EMIT_H
#define CLI_JSON_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_EMIT_DEPTH_MAX 8

struct json_emit {
    FILE *stream;
    bool is_line; /* all on one line */
    unsigned depth;
    bool has_member[JSON_EMIT_DEPTH_MAX + 1];
};

void json_emit_init(struct json_emit *emit, FILE *stream);

/* The same for a document on a single line, which its end ends. */
void json_emit_init_line(struct json_emit *emit, FILE *stream);

/* `bracket` is '{' or '['; the end takes the closing one, and ends the line after the outermost. */
void json_emit_begin(struct json_emit *emit, const char *key, char bracket);
void json_emit_end(struct json_emit *emit, char bracket);

/*
 * NULL becomes null; bytes that are not valid UTF-8 become '?'. What llavamed_make_printable() would replace is written
 * as \uXXXX: the text stays what it is, and a terminal is told nothing.
 */
void json_emit_text(struct json_emit *emit, const char *key, const char *text);
void json_emit_number(struct json_emit *emit, const char *key, uint64_t number);
void json_emit_bool(struct json_emit *emit, const char *key, bool value);

/* The shortest of at most 17 digits that reads back as the same double; null for what is not finite. */
void json_emit_double(struct json_emit *emit, const char *key, double number);

/* Nanoseconds as decimal seconds. */
void json_emit_seconds(struct json_emit *emit, const char *key, uint64_t elapsed_ns);

#endif
