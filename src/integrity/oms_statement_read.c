/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/sort.h"
#include "integrity/oms_statement_parts.h"

/* Ignored paths are held against every file. */
#define IGNORED_MAX 1000

struct statement_reader {
    const char *name;
    struct oms_statement *made;
    size_t n_used; /* of made->texts */
    struct llavamed_error *error;
};

static enum llavamed_status fail_statement(const struct statement_reader *reader, const char *what)
{
    return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID, "%s: its payload is no model signature: %s",
                         reader->name, what);
}

static enum llavamed_status fail_unsupported(const struct statement_reader *reader, const char *what, const char *got,
                                             const char *want)
{
    return llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: %s (got %.100s, want %s)", reader->name,
                         what, got, want);
}

static const struct json_value *member(const struct json_value *object, const char *key, enum json_kind kind)
{
    const struct json_value *value =
        object != NULL && json_kind_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;
    return value != NULL && json_kind_of(value) == kind ? value : NULL;
}

static const char *text_member(const struct json_value *object, const char *key)
{
    const struct json_value *value = member(object, key, JSON_STRING);
    return value == NULL ? NULL : json_string(value);
}

static size_t count_items(const struct json_value *array)
{
    size_t n = 0;
    for (const struct json_value *item = array == NULL ? NULL : json_first(array); item != NULL;
         item = json_next(item)) {
        n++;
    }
    return n;
}

/* The texts together are shorter than the JSON that they stand in, of which each takes two quotes besides. */
static const char *keep_text(struct statement_reader *reader, const char *text)
{
    size_t n = strlen(text) + 1;
    char *kept = reader->made->texts + reader->n_used;
    memcpy(kept, text, n);
    reader->n_used += n;
    return kept;
}

/* In any case of letters, as Python reads it. */
static bool read_digest(const char *text, char hex[SHA256_HEX_BYTES])
{
    if (text == NULL || strlen(text) != SHA256_HEX_BYTES - 1 ||
        strspn(text, "0123456789abcdefABCDEF") != SHA256_HEX_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < SHA256_HEX_BYTES; i++) {
        hex[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    }
    return true;
}

/* ---- Parts ---- */

static enum llavamed_status read_subject(struct statement_reader *reader, const struct json_value *root)
{
    const struct json_value *subjects = member(root, "subject", JSON_ARRAY);
    const struct json_value *subject = count_items(subjects) == 1 ? json_first(subjects) : NULL;
    const char *name = text_member(subject, "name");
    if (name == NULL ||
        !read_digest(text_member(member(subject, "digest", JSON_OBJECT), "sha256"), reader->made->root_sha256)) {
        return fail_statement(reader, "want one subject with its name and SHA-256");
    }
    reader->made->model_name = keep_text(reader, name);
    return LLAVAMED_OK;
}

static enum llavamed_status read_ignored(struct statement_reader *reader, const struct json_value *array)
{
    struct oms_statement *made = reader->made;
    size_t n = count_items(array);
    if (n > IGNORED_MAX) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: too many ignored paths (got %zu, want at most %d)", reader->name, n, IGNORED_MAX);
    }
    made->ignored = calloc(n + 1, sizeof *made->ignored);
    if (made->ignored == NULL) {
        return llavamed_fail_memory(reader->error, n * sizeof *made->ignored, "a signature");
    }
    for (const struct json_value *item = array == NULL ? NULL : json_first(array); item != NULL;
         item = json_next(item)) {
        const char *path = json_string(item);
        if (path == NULL) {
            return fail_statement(reader, "an ignored path that is no text");
        }
        made->ignored[made->n_ignored++] = keep_text(reader, path);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_serialization(struct statement_reader *reader, const struct json_value *predicate)
{
    const struct json_value *serialization = member(predicate, "serialization", JSON_OBJECT);
    const char *method = text_member(serialization, "method");
    const char *hash = text_member(serialization, "hash_type");
    if (method == NULL || hash == NULL) {
        return fail_statement(reader, "no 'serialization' with its 'method' and 'hash_type'");
    }
    if (strcmp(method, "files") != 0) {
        return fail_unsupported(reader, "signed by pieces of files, not by files", method, "files");
    }
    if (strcmp(hash, "sha256") != 0) {
        return fail_unsupported(reader, "signed by another hash", hash, "sha256");
    }
    return read_ignored(reader, member(serialization, "ignore_paths", JSON_ARRAY));
}

static enum llavamed_status read_resource(struct statement_reader *reader, const struct json_value *item)
{
    struct oms_statement *made = reader->made;
    struct oms_file *file = &made->files[made->n_files];
    const char *name = text_member(item, "name");
    const char *algorithm = text_member(item, "algorithm");
    if (name == NULL || name[0] == '\0' || algorithm == NULL) {
        return fail_statement(reader, "a resource without its name or algorithm");
    }
    if (strcmp(algorithm, "sha256") != 0) {
        return fail_unsupported(reader, "a file is signed by another hash", algorithm, "sha256");
    }
    if (!read_digest(text_member(item, "digest"), file->sha256)) {
        return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                             "%s: its payload is no model signature: no SHA-256 of '%.200s'", reader->name, name);
    }
    file->name = keep_text(reader, name);
    made->n_files++;
    return LLAVAMED_OK;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct oms_file *)a)->name, ((const struct oms_file *)b)->name);
}

/* The root is over the digests as they are listed; after that they are sorted. */
static enum llavamed_status check_resources(const struct statement_reader *reader)
{
    struct oms_statement *made = reader->made;
    char root[SHA256_HEX_BYTES];
    enum llavamed_status status = oms_root_of(made->files, made->n_files, root, reader->error);
    if (status == LLAVAMED_OK && strcmp(root, made->root_sha256) != 0) {
        status = llavamed_fail(reader->error, LLAVAMED_STATUS_HASH_MISMATCH,
                               "%s: its payload contradicts itself: the digest of all resources differs (got %s, want "
                               "%s)",
                               reader->name, root, made->root_sha256);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    sort_array(made->files, made->n_files, sizeof *made->files, compare_files);
    for (size_t i = 1; i < made->n_files; i++) {
        if (compare_files(&made->files[i - 1], &made->files[i]) == 0) {
            return llavamed_fail(reader->error, LLAVAMED_STATUS_JSON_INVALID,
                                 "%s: its payload is no model signature: it names '%.200s' twice", reader->name,
                                 made->files[i].name);
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_resources(struct statement_reader *reader, const struct json_value *predicate)
{
    const struct json_value *resources = member(predicate, "resources", JSON_ARRAY);
    if (resources == NULL) {
        return fail_statement(reader, "no 'resources'");
    }
    size_t n = count_items(resources);
    reader->made->files = calloc(n + 1, sizeof *reader->made->files);
    if (reader->made->files == NULL) {
        return llavamed_fail_memory(reader->error, n * sizeof *reader->made->files, "a signature");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (const struct json_value *item = json_first(resources); item != NULL && status == LLAVAMED_OK;
         item = json_next(item)) {
        status = read_resource(reader, item);
    }
    return status == LLAVAMED_OK ? check_resources(reader) : status;
}

static enum llavamed_status read_root(struct statement_reader *reader, const struct json_value *root)
{
    const char *type = text_member(root, "_type");
    const char *predicate_type = text_member(root, "predicateType");
    if (type == NULL || predicate_type == NULL) {
        return fail_statement(reader, "no '_type' or no 'predicateType'");
    }
    if (strcmp(type, OMS_STATEMENT_TYPE) != 0) {
        return fail_unsupported(reader, "its payload is another kind of statement", type, OMS_STATEMENT_TYPE);
    }
    if (strcmp(predicate_type, OMS_PREDICATE_TYPE) != 0) {
        return fail_unsupported(reader,
                                strcmp(predicate_type, OMS_PREDICATE_TYPE_OLD) == 0
                                    ? "made by a model_signing before 1.0: sign it again"
                                    : "its payload states something else",
                                predicate_type, OMS_PREDICATE_TYPE);
    }
    const struct json_value *predicate = member(root, "predicate", JSON_OBJECT);
    enum llavamed_status status = read_subject(reader, root);
    if (status == LLAVAMED_OK) {
        status = read_serialization(reader, predicate);
    }
    return status == LLAVAMED_OK ? read_resources(reader, predicate) : status;
}

enum llavamed_status oms_statement_read(const char *name, const char *text, size_t n_bytes,
                                        struct oms_statement *statement, struct llavamed_error *error)
{
    struct json *json = NULL;
    struct oms_statement made = {0};
    struct statement_reader reader = {.name = name, .made = &made, .error = error};
    enum llavamed_status status = json_parse(name, text, n_bytes, false, &json, error);
    if (status == LLAVAMED_OK) {
        made.texts = calloc(n_bytes + 1, 1);
        status = made.texts != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, n_bytes, "a signature");
    }
    if (status == LLAVAMED_OK) {
        status = read_root(&reader, json_root(json));
    }
    json_free(json);
    if (status == LLAVAMED_OK) {
        *statement = made;
    } else {
        oms_statement_deinit(&made);
    }
    return status;
}
