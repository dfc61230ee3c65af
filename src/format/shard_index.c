/* SPDX-License-Identifier: Apache-2.0 */
#include "format/shard_index.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/sort.h"
#include "tensor/tensor.h"

#define FILE_NAME_BYTES_MAX 255 /* what file systems take */

/* A member of the weight_map, borrowed from the document. */
struct row {
    const char *tensor;
    const char *file;
};

void shard_index_deinit(struct shard_index *index)
{
    for (size_t i = 0; i < index->n_files; i++) {
        free(index->files[i]);
    }
    for (size_t i = 0; i < index->n_entries; i++) {
        free(index->entries[i].tensor);
    }
    free(index->files);
    free(index->entries);
    memset(index, 0, sizeof *index);
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *row_a = a;
    const struct row *row_b = b;
    return strcmp(row_a->tensor, row_b->tensor);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A shard must be a plain file beside the index, and not a hidden one. */
static bool is_plain_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strlen(name) <= FILE_NAME_BYTES_MAX && strpbrk(name, "/\\") == NULL;
}

static enum llavamed_status read_row(const char *path, const struct json_value *member, struct row *row,
                                     struct llavamed_error *error)
{
    const char *tensor = json_key(member);
    const char *file = json_string(member);
    size_t tensor_bytes = strlen(tensor);
    if (tensor_bytes == 0 || tensor_bytes > TENSOR_NAME_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_TENSOR_NAME,
                             "%s: a tensor name is empty or too long (got %zu bytes, want 1 to %d)", path, tensor_bytes,
                             TENSOR_NAME_BYTES_MAX);
    }
    if (file == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID, "%s: %s: the shard's name is not text", path,
                             tensor);
    }
    if (!is_plain_file_name(file)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID,
                             "%s: %s: '%s' is not a plain file name in the index's directory", path, tensor, file);
    }
    *row = (struct row){tensor, file};
    return LLAVAMED_OK;
}

/* Finds the weight_map and checks the shape of the document around it. */
static enum llavamed_status find_weight_map(const char *path, const struct json_value *root,
                                            const struct json_value **weight_map, struct llavamed_error *error)
{
    if (json_kind_of(root) != JSON_OBJECT) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID, "%s: the shard index is not an object", path);
    }
    const struct json_value *metadata = json_member(root, "metadata");
    if (metadata != NULL && json_kind_of(metadata) != JSON_OBJECT) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID, "%s: metadata is not an object", path);
    }
    const struct json_value *map = json_member(root, "weight_map");
    if (map == NULL || json_kind_of(map) != JSON_OBJECT) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID, "%s: there is no weight_map object", path);
    }
    if (json_first(map) == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_INDEX_INVALID, "%s: the weight_map is empty", path);
    }
    *weight_map = map;
    return LLAVAMED_OK;
}

/* The rows of the weight_map, sorted by tensor; *rows is the caller's to free, on failure too. */
static enum llavamed_status read_rows(const char *path, const struct json_value *weight_map, struct row **rows,
                                      size_t *n_rows, struct llavamed_error *error)
{
    size_t n = 0;
    for (const struct json_value *member = json_first(weight_map); member != NULL; member = json_next(member)) {
        n++;
    }
    if (n > TENSOR_COUNT_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too many tensors (got %zu, want at most %d)",
                             path, n, TENSOR_COUNT_MAX);
    }
    struct row *made = calloc(n, sizeof *made);
    if (made == NULL) {
        return llavamed_fail_memory(error, n * sizeof *made, "the shard index");
    }
    *rows = made;
    *n_rows = n;
    for (const struct json_value *member = json_first(weight_map); member != NULL; member = json_next(member)) {
        enum llavamed_status status = read_row(path, member, made++, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    sort_array(*rows, n, sizeof **rows, compare_rows);
    return LLAVAMED_OK;
}

/* Fills index->files with each file once, sorted. */
static enum llavamed_status collect_files(const char *path, const struct row *rows, size_t n_rows,
                                          struct shard_index *index, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    const char **names = calloc(n_rows, sizeof *names);
    if (names == NULL) {
        return llavamed_fail_memory(error, n_rows * sizeof *names, "the shard index");
    }
    for (size_t i = 0; i < n_rows; i++) {
        names[i] = rows[i].file;
    }
    sort_array(names, n_rows, sizeof *names, compare_texts);
    size_t n_files = 0;
    for (size_t i = 0; i < n_rows; i++) {
        if (n_files == 0 || strcmp(names[n_files - 1], names[i]) != 0) {
            names[n_files++] = names[i];
        }
    }
    if (n_files > SHARD_COUNT_MAX) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too many shards (got %zu, want at most %d)",
                               path, n_files, SHARD_COUNT_MAX);
        goto out;
    }
    index->files = calloc(n_files, sizeof *index->files);
    while (index->files != NULL && index->n_files < n_files) {
        char *name = strdup(names[index->n_files]);
        if (name == NULL) {
            break;
        }
        index->files[index->n_files++] = name;
    }
    if (index->n_files < n_files) {
        status = llavamed_fail_memory(error, n_files * sizeof *index->files, "the shard index");
    }
out:
    free(names);
    return status;
}

static enum llavamed_status collect_entries(const struct row *rows, size_t n_rows, struct shard_index *index,
                                            struct llavamed_error *error)
{
    index->entries = calloc(n_rows, sizeof *index->entries);
    while (index->entries != NULL && index->n_entries < n_rows) {
        const struct row *row = &rows[index->n_entries];
        char *tensor = strdup(row->tensor);
        if (tensor == NULL) {
            break;
        }
        char *const *file = bsearch(&row->file, index->files, index->n_files, sizeof *index->files, compare_texts);
        index->entries[index->n_entries++] = (struct shard_index_entry){tensor, (size_t)(file - index->files)};
    }
    if (index->n_entries < n_rows) {
        return llavamed_fail_memory(error, n_rows * sizeof *index->entries, "the shard index");
    }
    return LLAVAMED_OK;
}

enum llavamed_status shard_index_parse(const char *path, const char *json, size_t json_bytes, struct shard_index *index,
                                       struct llavamed_error *error)
{
    if (json_bytes > SHARD_INDEX_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: the shard index is too large (got %zu bytes, want at most %d)", path, json_bytes,
                             SHARD_INDEX_BYTES_MAX);
    }
    struct json *document = NULL;
    struct row *rows = NULL;
    size_t n_rows = 0;
    struct shard_index made = {0};
    const struct json_value *weight_map = NULL;
    enum llavamed_status status = json_parse(path, json, json_bytes, false, &document, error);
    if (status == LLAVAMED_OK) {
        status = find_weight_map(path, json_root(document), &weight_map, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_rows(path, weight_map, &rows, &n_rows, error);
    }
    if (status == LLAVAMED_OK) {
        status = collect_files(path, rows, n_rows, &made, error);
    }
    if (status == LLAVAMED_OK) {
        status = collect_entries(rows, n_rows, &made, error);
    }
    if (status == LLAVAMED_OK) {
        const struct json_value *metadata = json_member(json_root(document), "metadata");
        const struct json_value *total = metadata == NULL ? NULL : json_member(metadata, "total_size");
        made.has_total = total != NULL && json_integer(total, &made.total_bytes);
        *index = made;
        memset(&made, 0, sizeof made);
    }
    free(rows);
    json_free(document);
    shard_index_deinit(&made);
    return status;
}

static void write_index(struct buffer *out, const struct reference_size *total, const struct shard_index_row *rows,
                        size_t n_rows)
{
    buffer_append_text(out, "{\n  \"metadata\": {\n    \"total_size\": ");
    reference_size_write(out, total);
    buffer_append_text(out, "\n  },\n  \"weight_map\": {");
    for (size_t i = 0; i < n_rows; i++) {
        buffer_append_text(out, i == 0 ? "\n    " : ",\n    ");
        json_append_ascii(out, rows[i].tensor);
        buffer_append_text(out, ": ");
        json_append_ascii(out, rows[i].file);
    }
    buffer_append_text(out, n_rows == 0 ? "}\n}" : "\n  }\n}");
}

void shard_index_write_hub(struct buffer *out, uint64_t total_bytes, const struct shard_index_row *rows, size_t n_rows)
{
    const struct reference_size total = {.integer = total_bytes};
    write_index(out, &total, rows, n_rows);
}

void shard_index_write_reference(struct buffer *out, const struct reference_size *total,
                                 const struct shard_index_row *rows, size_t n_rows)
{
    /* "metadata" sorts before "weight_map", and it has one member. */
    write_index(out, total, rows, n_rows);
    buffer_append_text(out, "\n");
}
