/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, and what both directions share; reading is in oms_statement_read.c. */
#include "integrity/oms_statement.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "integrity/oms_statement_parts.h"

static const char *const git_files[] = {".git", ".gitattributes", ".github", ".gitignore", NULL};

const char *const oms_ignored_usually[] = {OMS_FILE_NAME, ".git", ".gitattributes", ".github", ".gitignore", NULL};

void oms_statement_deinit(struct oms_statement *statement)
{
    free(statement->files);
    free(statement->ignored);
    free(statement->texts);
    *statement = (struct oms_statement){0};
}

/* ---- The root ---- */

static unsigned hex_value(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'a') + 10;
}

static enum llavamed_status hash_digest(struct sha256_stream *stream, const char *hex, struct llavamed_error *error)
{
    unsigned char raw[(SHA256_HEX_BYTES - 1) / 2];
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (unsigned char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    }
    return sha256_update(stream, raw, sizeof raw, error);
}

enum llavamed_status oms_root_of(const struct oms_file *files, size_t n_files, char hex[SHA256_HEX_BYTES],
                                 struct llavamed_error *error)
{
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = sha256_create(&stream, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_files; i++) {
        status = hash_digest(stream, files[i].sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(stream, hex, error);
    }
    sha256_free(stream);
    return status;
}

/* ---- Writing ---- */

static void append_resource(struct buffer *out, const struct oms_file *file, bool is_last)
{
    buffer_append_text(out, "      {\n        \"algorithm\": \"sha256\",\n        \"digest\": \"");
    buffer_append_text(out, file->sha256);
    buffer_append_text(out, "\",\n        \"name\": ");
    json_append_ascii(out, file->name);
    buffer_append_text(out, is_last ? "\n      }\n" : "\n      },\n");
}

static void append_serialization(struct buffer *out, const struct oms_statement *statement)
{
    buffer_append_text(out, "    \"serialization\": {\n      \"method\": \"files\",\n      \"hash_type\": \"sha256\",\n"
                            "      \"allow_symlinks\": false");
    if (statement->n_ignored > 0) {
        buffer_append_text(out, ",\n      \"ignore_paths\": [\n");
    }
    for (size_t i = 0; i < statement->n_ignored; i++) {
        buffer_append_text(out, "        ");
        json_append_ascii(out, statement->ignored[i]);
        buffer_append_text(out, i + 1 == statement->n_ignored ? "\n      ]" : ",\n");
    }
    buffer_append_text(out, "\n    },\n");
}

enum llavamed_status oms_statement_append(struct buffer *out, struct oms_statement *statement,
                                          struct llavamed_error *error)
{
    enum llavamed_status status = oms_root_of(statement->files, statement->n_files, statement->root_sha256, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    buffer_append_text(out, "{\n  \"_type\": \"" OMS_STATEMENT_TYPE "\",\n  \"subject\": [\n    {\n      \"name\": ");
    json_append_ascii(out, statement->model_name);
    buffer_append_text(out, ",\n      \"digest\": {\n        \"sha256\": \"");
    buffer_append_text(out, statement->root_sha256);
    buffer_append_text(out, "\"\n      }\n    }\n  ],\n  \"predicateType\": \"" OMS_PREDICATE_TYPE
                            "\",\n  \"predicate\": {\n");
    append_serialization(out, statement);
    buffer_append_text(out, "    \"resources\": [\n");
    for (size_t i = 0; i < statement->n_files; i++) {
        append_resource(out, &statement->files[i], i + 1 == statement->n_files);
    }
    buffer_append_text(out, "    ]\n  }\n}");
    return buffer_status(out, "a signature", error);
}

/* ---- Asking ---- */

const struct oms_file *oms_statement_find(const struct oms_statement *statement, const char *path)
{
    size_t low = 0;
    size_t high = statement->n_files;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(statement->files[middle].name, path);
        if (order == 0) {
            return &statement->files[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static bool is_at_or_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool oms_statement_ignores(const struct oms_statement *statement, const char *path)
{
    bool is_ignored = false;
    for (size_t i = 0; git_files[i] != NULL; i++) {
        is_ignored = is_ignored || is_at_or_below(path, git_files[i]);
    }
    for (size_t i = 0; i < statement->n_ignored && !is_ignored; i++) {
        is_ignored = is_at_or_below(path, statement->ignored[i]);
    }
    return is_ignored;
}
