/* SPDX-License-Identifier: Apache-2.0 */
/* The reading side is safetensors_parse() and what it calls; the writing side starts at safetensors_layout_build(). */
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/json.h"
#include "core/sort.h"

#define METADATA_KEY "__metadata__"

/* Where the header says that a tensor's data is. */
struct entry {
    const struct tensor *tensor; /* in the header's set */
    uint64_t begin;
    uint64_t end;
};

void safetensors_header_deinit(struct safetensors_header *header)
{
    tensor_set_deinit(&header->set);
    free(header->data_offsets);
    free(header->metadata_format);
    memset(header, 0, sizeof *header);
}

enum llavamed_status safetensors_header_bytes(const char *path, const uint8_t prefix[SAFETENSORS_PREFIX_BYTES],
                                              uint64_t file_bytes, uint64_t *header_bytes, struct llavamed_error *error)
{
    if (file_bytes < SAFETENSORS_PREFIX_BYTES) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                             "%s: too short for a safetensors file (got %llu bytes, want at least %d)", path,
                             (unsigned long long)file_bytes, SAFETENSORS_PREFIX_BYTES);
    }
    uint64_t n = load_le64(prefix);
    if (n > SAFETENSORS_HEADER_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_HEADER_TOO_LARGE,
                             "%s: the safetensors header is too large, or this is another kind of file "
                             "(got %llu bytes, want at most %d)",
                             path, (unsigned long long)n, SAFETENSORS_HEADER_BYTES_MAX);
    }
    if (n > file_bytes - SAFETENSORS_PREFIX_BYTES) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                             "%s: the file ends inside its safetensors header (got %llu bytes, want at least %llu)",
                             path, (unsigned long long)file_bytes, (unsigned long long)n + SAFETENSORS_PREFIX_BYTES);
    }
    *header_bytes = n;
    return LLAVAMED_OK;
}

/* "__metadata__": text to text. Only "format" is of use. */
static enum llavamed_status read_metadata(const char *path, const struct json_value *metadata,
                                          struct safetensors_header *header, struct llavamed_error *error)
{
    if (json_kind_of(metadata) == JSON_NULL) {
        return LLAVAMED_OK;
    }
    if (json_kind_of(metadata) != JSON_OBJECT) {
        return llavamed_fail(error, LLAVAMED_STATUS_JSON_INVALID, "%s: " METADATA_KEY " is not an object", path);
    }
    for (const struct json_value *item = json_first(metadata); item != NULL; item = json_next(item)) {
        const char *text = json_string(item);
        if (text == NULL) {
            return llavamed_fail(error, LLAVAMED_STATUS_JSON_INVALID,
                                 "%s: the value of '%s' in " METADATA_KEY " is not text", path, json_key(item));
        }
        if (strcmp(json_key(item), "format") == 0) {
            header->metadata_format = strdup(text);
            if (header->metadata_format == NULL) {
                return llavamed_fail_memory(error, strlen(text) + 1, "the metadata of a safetensors file");
            }
        }
    }
    return LLAVAMED_OK;
}

/* Copies the first `max` integers of an array; returns how many it has, SIZE_MAX when it is no array of integers. */
static size_t read_integers(const struct json_value *array, uint64_t *integers, size_t max)
{
    if (json_kind_of(array) != JSON_ARRAY) {
        return SIZE_MAX;
    }
    size_t n = 0;
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        uint64_t value;
        if (!json_integer(item, &value)) {
            return SIZE_MAX;
        }
        if (n < max) {
            integers[n] = value;
        }
        n++;
    }
    return n;
}

static enum llavamed_status refuse_entry(const char *path, const char *name, const char *what,
                                         struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_JSON_INVALID, "%s: %s: %s", path, name, what);
}

/* One member of the root object: a tensor, for which the set has room. */
static enum llavamed_status read_entry(const char *path, const struct json_value *value, struct tensor_set *set,
                                       struct entry *entry, struct llavamed_error *error)
{
    const char *name = json_key(value);
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse_entry(path, name, "the entry is not an object", error);
    }
    const struct json_value *dtype_value = json_member(value, "dtype");
    const struct json_value *shape_value = json_member(value, "shape");
    const struct json_value *offsets_value = json_member(value, "data_offsets");
    if (dtype_value == NULL || shape_value == NULL || offsets_value == NULL) {
        return refuse_entry(path, name, "the entry lacks a field (want dtype, shape and data_offsets)", error);
    }
    const char *dtype_text = json_string(dtype_value);
    if (dtype_text == NULL) {
        return refuse_entry(path, name, "dtype is not text", error);
    }
    enum dtype dtype;
    if (!dtype_from_name(dtype_text, strlen(dtype_text), &dtype)) {
        return llavamed_fail(error, LLAVAMED_STATUS_DTYPE_UNKNOWN, "%s: %s: unknown dtype '%s'", path, name,
                             dtype_text);
    }
    uint64_t shape[TENSOR_RANK_MAX];
    size_t rank = read_integers(shape_value, shape, TENSOR_RANK_MAX);
    if (rank == SIZE_MAX) {
        return refuse_entry(path, name, "shape is not an array of integers", error);
    }
    uint64_t offsets[2];
    if (read_integers(offsets_value, offsets, 2) != 2) {
        return refuse_entry(path, name, "data_offsets is not an array of two integers", error);
    }
    struct tensor tensor = {0};
    enum llavamed_status status = tensor_init(&tensor, path, name, strlen(name), dtype, shape, (unsigned)rank, error);
    if (status == LLAVAMED_OK) {
        *entry = (struct entry){&set->tensors[set->n_tensors], offsets[0], offsets[1]};
        status = tensor_set_add(set, &tensor, error);
    }
    return status;
}

/* All members of the root object, in text order; *entries, as many as tensors, is the caller's to free. */
static enum llavamed_status read_entries(const char *path, const struct json_value *root, struct entry **entries,
                                         struct safetensors_header *header, struct llavamed_error *error)
{
    size_t n_members = 0;
    for (const struct json_value *member = json_first(root); member != NULL; member = json_next(member)) {
        n_members++;
    }
    size_t n_tensors = n_members - (json_member(root, METADATA_KEY) != NULL ? 1 : 0);
    if (n_tensors > TENSOR_COUNT_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too many tensors (got %zu, want at most %d)",
                             path, n_tensors, TENSOR_COUNT_MAX);
    }
    *entries = calloc(n_tensors + 1, sizeof **entries);
    if (*entries == NULL) {
        return llavamed_fail_memory(error, (n_tensors + 1) * sizeof **entries, "the tensors of a file");
    }
    struct tensor_set *set = &header->set;
    enum llavamed_status status = tensor_set_reserve(set, n_tensors, error);
    const struct json_value *member = json_first(root);
    for (; status == LLAVAMED_OK && member != NULL; member = json_next(member)) {
        status = strcmp(json_key(member), METADATA_KEY) == 0
                     ? read_metadata(path, member, header, error)
                     : read_entry(path, member, set, &(*entries)[set->n_tensors], error);
    }
    bool is_exact_delta =
        header->metadata_format != NULL && strcmp(header->metadata_format, SAFETENSORS_FORMAT_EXACT_DELTA) == 0;
    for (size_t i = 0; status == LLAVAMED_OK && i < set->n_tensors; i++) {
        set->tensors[i].in_exact_delta = is_exact_delta;
    }
    return status;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* By place in the file; tensors of zero bytes share theirs, so the name decides and the order is always the same. */
static int compare_entries(const void *a, const void *b)
{
    const struct entry *entry_a = a;
    const struct entry *entry_b = b;
    int order = compare_u64(entry_a->begin, entry_b->begin);
    if (order == 0) {
        order = compare_u64(entry_a->end, entry_b->end);
    }
    return order != 0 ? order : strcmp(entry_a->tensor->name, entry_b->tensor->name);
}

static enum llavamed_status check_entry(const char *path, const struct entry *entry, uint64_t expected_begin,
                                        struct llavamed_error *error)
{
    const struct tensor *tensor = entry->tensor;
    if (entry->begin != expected_begin) {
        return llavamed_fail(error, LLAVAMED_STATUS_OFFSET_INVALID, "%s: %s: %s (got data offset %llu, want %llu)",
                             path, tensor->name,
                             entry->begin > expected_begin ? "its data starts behind a hole"
                                                           : "its data overlaps that of another tensor",
                             (unsigned long long)entry->begin, (unsigned long long)expected_begin);
    }
    if (entry->end < entry->begin) {
        return llavamed_fail(error, LLAVAMED_STATUS_OFFSET_INVALID,
                             "%s: %s: its data ends before it begins (got data offsets %llu and %llu)", path,
                             tensor->name, (unsigned long long)entry->begin, (unsigned long long)entry->end);
    }
    if (entry->end - entry->begin != tensor->n_bytes) {
        char shape[TENSOR_SHAPE_TEXT_BYTES];
        return llavamed_fail(error, LLAVAMED_STATUS_SIZE_MISMATCH,
                             "%s: %s: the data offsets do not fit %s of shape %s (got %llu bytes, want %llu)", path,
                             tensor->name, dtype_name(tensor->dtype), tensor_shape_text(tensor, shape),
                             (unsigned long long)(entry->end - entry->begin), (unsigned long long)tensor->n_bytes);
    }
    return LLAVAMED_OK;
}

/* Brings the tensors of the set into the order of the entries. */
static enum llavamed_status reorder_set(const struct entry *entries, struct tensor_set *set,
                                        struct llavamed_error *error)
{
    size_t n = 0;
    while (n < set->n_tensors && entries[n].tensor == &set->tensors[n]) {
        n++;
    }
    if (n == set->n_tensors) {
        return LLAVAMED_OK;
    }
    struct tensor *tensors = calloc(set->n_tensors, sizeof *tensors);
    if (tensors == NULL) {
        return llavamed_fail_memory(error, set->n_tensors * sizeof *tensors, "the tensors of a file");
    }
    for (size_t i = 0; i < set->n_tensors; i++) {
        tensors[i] = *entries[i].tensor;
    }
    free(set->tensors);
    set->tensors = tensors;
    set->capacity = set->n_tensors;
    return LLAVAMED_OK;
}

/* Sorts the entries, checks that they cover the data without holes, and brings the header's set into their order. */
static enum llavamed_status place_entries(const char *path, struct entry *entries, uint64_t data_bytes,
                                          struct safetensors_header *header, struct llavamed_error *error)
{
    size_t n = header->set.n_tensors;
    header->data_offsets = calloc(n + 1, sizeof *header->data_offsets);
    if (header->data_offsets == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *header->data_offsets, "the tensors of a file");
    }
    sort_array(entries, n, sizeof *entries, compare_entries);
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        enum llavamed_status status = check_entry(path, &entries[i], end, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        header->data_offsets[i] = entries[i].begin;
        end = entries[i].end;
    }
    if (end != data_bytes) {
        return llavamed_fail(error, end > data_bytes ? LLAVAMED_STATUS_INPUT_TRUNCATED : LLAVAMED_STATUS_INPUT_TRAILING,
                             "%s: %s (got %llu bytes of data, want %llu)", path,
                             end > data_bytes ? "the file ends before its last tensor does"
                                              : "there are bytes behind the last tensor",
                             (unsigned long long)data_bytes, (unsigned long long)end);
    }
    return reorder_set(entries, &header->set, error);
}

enum llavamed_status safetensors_parse(const char *path, const char *json, size_t json_bytes, uint64_t file_bytes,
                                       struct safetensors_header *header, struct llavamed_error *error)
{
    uint64_t data_start = SAFETENSORS_PREFIX_BYTES + (uint64_t)json_bytes;
    if (json_bytes > SAFETENSORS_HEADER_BYTES_MAX || data_start > file_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_HEADER_TOO_LARGE, "%s: the safetensors header is too large", path);
    }
    struct json *document = NULL;
    struct entry *entries = NULL;
    struct safetensors_header made = {.data_start = data_start};
    tensor_set_init(&made.set);
    enum llavamed_status status = json_parse(path, json, json_bytes, true, &document, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    const struct json_value *root = json_root(document);
    if (json_kind_of(root) != JSON_OBJECT) {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_JSON_INVALID, "%s: the safetensors header is not a JSON object", path);
        goto out;
    }
    status = read_entries(path, root, &entries, &made, error);
    if (status == LLAVAMED_OK) {
        /* The tree is by far the largest thing here, and not needed any more. */
        json_free(document);
        document = NULL;
        status = place_entries(path, entries, file_bytes - data_start, &made, error);
    }
    if (status == LLAVAMED_OK) {
        *header = made;
        memset(&made, 0, sizeof made);
    }
out:
    json_free(document);
    free(entries);
    safetensors_header_deinit(&made);
    return status;
}

/* A tensor to be laid out; qsort() has no context argument, so the index rides along. */
struct layout_row {
    const struct tensor *tensor;
    size_t index;
};

static int compare_layout_rows(const void *a, const void *b)
{
    const struct layout_row *row_a = a;
    const struct layout_row *row_b = b;
    int order = (int)row_b->tensor->dtype - (int)row_a->tensor->dtype;
    return order != 0 ? order : strcmp(row_a->tensor->name, row_b->tensor->name);
}

static void append_entry(struct buffer *head, const struct tensor *tensor, uint64_t begin)
{
    buffer_append(head, ",", 1);
    json_append_utf8(head, tensor->name);
    buffer_append_text(head, ":{\"dtype\":\"");
    buffer_append_text(head, dtype_name(tensor->dtype));
    buffer_append_text(head, "\",\"shape\":[");
    for (unsigned i = 0; i < tensor->rank; i++) {
        buffer_append_text(head, i == 0 ? "" : ",");
        buffer_append_decimal(head, tensor->shape[i]);
    }
    buffer_append_text(head, "],\"data_offsets\":[");
    buffer_append_decimal(head, begin);
    buffer_append_text(head, ",");
    buffer_append_decimal(head, begin + tensor->n_bytes);
    buffer_append_text(head, "]}");
}

/* The largest that one entry can be: each byte of a name may become \u00xx, each number has at most 20 digits. */
#define ENTRY_BYTES_MAX (6 * TENSOR_NAME_BYTES_MAX + 21 * (TENSOR_RANK_MAX + 2) + 64)

/* What a file, whose size is a signed 64-bit number, has room for behind the largest header. */
#define DATA_BYTES_MAX ((uint64_t)INT64_MAX - SAFETENSORS_PREFIX_BYTES - SAFETENSORS_HEADER_BYTES_MAX)

/* Appends the entries in file order, noting in data_offsets where each tensor's data begins. */
static enum llavamed_status append_entries(const struct layout_row *rows, size_t n_rows, struct buffer *head,
                                           uint64_t *data_offsets, struct llavamed_error *error)
{
    uint64_t end = 0;
    for (size_t i = 0; i < n_rows; i++) {
        const struct tensor *tensor = rows[i].tensor;
        if (strcmp(tensor->name, METADATA_KEY) == 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_TENSOR_NAME,
                                 "a safetensors file cannot hold a tensor called " METADATA_KEY);
        }
        if (tensor->n_bytes > DATA_BYTES_MAX - end) {
            return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                                 "%s: the tensors of one file do not fit 2^63 bytes", tensor->name);
        }
        data_offsets[i] = end;
        append_entry(head, tensor, end);
        end += tensor->n_bytes;
        if (head->n_bytes > SAFETENSORS_PREFIX_BYTES + (size_t)SAFETENSORS_HEADER_BYTES_MAX) {
            return llavamed_fail(error, LLAVAMED_STATUS_HEADER_TOO_LARGE,
                                 "%s: too many tensors for one safetensors file (want a header of at most %d bytes)",
                                 tensor->name, SAFETENSORS_HEADER_BYTES_MAX);
        }
    }
    return LLAVAMED_OK;
}

/* The length, the entries and the padding. */
static enum llavamed_status build_head(const struct layout_row *rows, size_t n_rows, struct buffer *head,
                                       uint64_t *data_offsets, struct llavamed_error *error)
{
    static const char no_length_yet[SAFETENSORS_PREFIX_BYTES];
    buffer_append(head, no_length_yet, sizeof no_length_yet);
    bool is_exact_delta = n_rows > 0 && rows[0].tensor->in_exact_delta;
    buffer_printf(head, "{\"" METADATA_KEY "\":{\"format\":\"%s\"}",
                  is_exact_delta ? SAFETENSORS_FORMAT_EXACT_DELTA : "pt");
    enum llavamed_status status = append_entries(rows, n_rows, head, data_offsets, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    static const char padding[] = "       ";
    buffer_append(head, "}", 1);
    buffer_append(head, padding, (8 - head->n_bytes % 8) % 8);
    status = buffer_status(head, "the header of a safetensors file", error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    size_t header_bytes = head->n_bytes - SAFETENSORS_PREFIX_BYTES;
    if (header_bytes > SAFETENSORS_HEADER_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_HEADER_TOO_LARGE,
                             "too many tensors for one safetensors file (got a header of %zu bytes, want at most %d)",
                             header_bytes, SAFETENSORS_HEADER_BYTES_MAX);
    }
    store_le64((uint8_t *)head->data, header_bytes);
    return LLAVAMED_OK;
}

enum llavamed_status safetensors_layout_build(const struct tensor *const *tensors, size_t n_tensors,
                                              struct safetensors_layout *layout, struct llavamed_error *error)
{
    struct safetensors_layout made = {.n_tensors = n_tensors};
    struct buffer head;
    buffer_init(&head, SAFETENSORS_HEADER_BYTES_MAX + (size_t)2 * ENTRY_BYTES_MAX);
    struct layout_row *rows = calloc(n_tensors + 1, sizeof *rows);
    made.order = calloc(n_tensors + 1, sizeof *made.order);
    made.file_offsets = calloc(n_tensors + 1, sizeof *made.file_offsets);
    enum llavamed_status status = LLAVAMED_OK;
    if (rows == NULL || made.order == NULL || made.file_offsets == NULL) {
        status = llavamed_fail_memory(error, (n_tensors + 1) * sizeof *rows, "the layout of a shard");
        goto out;
    }
    for (size_t i = 0; i < n_tensors; i++) {
        rows[i] = (struct layout_row){tensors[i], i};
    }
    sort_array(rows, n_tensors, sizeof *rows, compare_layout_rows);
    status = build_head(rows, n_tensors, &head, made.file_offsets, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    made.head_bytes = head.n_bytes;
    made.file_bytes = made.head_bytes;
    for (size_t i = 0; i < n_tensors; i++) {
        made.order[i] = rows[i].index;
        made.file_offsets[i] += made.head_bytes;
        made.file_bytes += rows[i].tensor->n_bytes;
    }
    made.head = buffer_take(&head);
    *layout = made;
    memset(&made, 0, sizeof made);
out:
    free(rows);
    buffer_deinit(&head);
    safetensors_layout_deinit(&made);
    return status;
}

void safetensors_layout_deinit(struct safetensors_layout *layout)
{
    free(layout->order);
    free(layout->file_offsets);
    free(layout->head);
    memset(layout, 0, sizeof *layout);
}
