/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/part_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integrity/crc32.h"
#include "merge/part_text.h"
#include "merge/small_files.h"

#define END_FORMAT ",\"crc32\":\"%08x\"}\n"
#define END_BYTES 21

static const char *const roles[] = {"base", "delta"};

/* ---- Writing ---- */

static void append_comma(struct buffer *out, size_t i)
{
    buffer_append_text(out, i == 0 ? "" : ",");
}

static void append_tensor(const struct pipeline_tensor *tensor, const char *sha256, struct buffer *out)
{
    const uint64_t counts[] = {tensor->counts.n_nan,        tensor->counts.n_infinite, tensor->counts.n_rounded,
                               tensor->counts.n_delta_zero, tensor->counts.n_lossy,    tensor->n_added,
                               tensor->n_overflow};
    buffer_printf(out, "[\"%08x\",\"", (unsigned)tensor->crc32);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        buffer_append_text(out, i == 0 ? "" : " ");
        buffer_append_decimal(out, counts[i]);
    }
    buffer_printf(out, "\",\"%s\"]", sha256);
}

static void append_documents(const struct document_list *documents, struct buffer *out)
{
    for (size_t i = 0; i < documents->n_entries; i++) {
        const struct document_entry *entry = &documents->entries[i];
        append_comma(out, i);
        buffer_append_text(out, "[");
        part_append_text(out, entry->name);
        buffer_printf(out, ",\"%llu\",\"%s\",\"%s\"]", (unsigned long long)entry->n_bytes, entry->sha256,
                      entry->origin == DOCUMENT_EDITED ? "edited" : "copied");
    }
}

void part_record_append(const struct part_record_frame *frame, const struct part_record *record, struct buffer *out)
{
    size_t begin = out->n_bytes;
    buffer_printf(out, "{\"format\":\"" PART_RECORD_FORMAT "\",\"version\":%d,\"plan\":\"%s\",\"part\":%u,\"shards\":[",
                  PART_RECORD_VERSION, frame->plan_sha256, record->part + 1);
    for (size_t i = 0; i < record->n_shards; i++) {
        append_comma(out, i);
        buffer_append_text(out, "[");
        part_append_text(out, frame->plan->shards[i].name);
        buffer_printf(out, ",\"%llu\",\"%llu\",\"%s\"]",
                      (unsigned long long)frame->plan->shards[i].layout.file_bytes,
                      (unsigned long long)record->shards[i].modified_ns, record->shards[i].sha256);
    }
    buffer_append_text(out, "],\"tensors\":[");
    for (size_t i = 0; i < record->n_tensors; i++) {
        append_comma(out, i);
        append_tensor(&record->tensors[i], record->tensor_sha256 == NULL ? "" : record->tensor_sha256[i], out);
    }
    buffer_append_text(out, "],\"inputs\":[");
    for (size_t i = 0; i < record->n_inputs; i++) {
        append_comma(out, i);
        buffer_printf(out, "[\"%s\",\"%zu\",\"%s\"]", roles[record->inputs[i].role], record->inputs[i].file,
                      record->inputs[i].sha256);
    }
    buffer_append_text(out, "],\"documents\":[");
    append_documents(&record->documents, out);
    buffer_append_text(out, "]");
    if (!out->failed) {
        buffer_printf(out, END_FORMAT, (unsigned)crc32_update(0, out->data + begin, out->n_bytes - begin));
    }
}

/* ---- Reading ---- */

static bool is_undamaged(const char *text, size_t n_bytes)
{
    char end[END_BYTES + 1];
    if (n_bytes < END_BYTES || memchr(text, '\n', n_bytes) != text + n_bytes - 1) {
        return false;
    }
    (void)snprintf(end, sizeof end, END_FORMAT, (unsigned)crc32_update(0, text, n_bytes - END_BYTES));
    return memcmp(text + n_bytes - END_BYTES, end, END_BYTES) == 0;
}

static bool read_head(const struct json_value *root, char plan_sha256[SHA256_HEX_BYTES], unsigned *part)
{
    const char *format = part_member_string(root, "format");
    const struct json_value *version = format == NULL ? NULL : json_member(root, "version");
    const struct json_value *number = format == NULL ? NULL : json_member(root, "part");
    uint64_t value = 0;
    uint64_t k = 0;
    if (version == NULL || number == NULL || strcmp(format, PART_RECORD_FORMAT) != 0 ||
        !json_integer(version, &value) || value != PART_RECORD_VERSION || !json_integer(number, &k) || k < 1 ||
        k > LLAVAMED_PARTS_MAX ||
        !part_read_hex(json_member(root, "plan"), SHA256_HEX_BYTES - 1, false, plan_sha256)) {
        return false;
    }
    *part = (unsigned)k - 1;
    return true;
}

bool part_record_peek(const char *text, size_t n_bytes, char plan_sha256[SHA256_HEX_BYTES], unsigned *part)
{
    struct json *json = NULL;
    bool is_one = is_undamaged(text, n_bytes) &&
                  json_parse("a record", text, n_bytes, false, &json, NULL) == LLAVAMED_OK &&
                  read_head(json_root(json), plan_sha256, part);
    json_free(json);
    return is_one;
}

static bool read_shards(const struct json_value *root, const struct part_record_frame *frame,
                        struct part_record *record)
{
    const struct json_value *value = NULL;
    size_t n = 0;
    bool good = part_member_array(root, "shards", &value, &n) && n == record->n_shards;
    for (size_t i = 0; good && i < n; i++, value = json_next(value)) {
        const struct plan_shard *shard = &frame->plan->shards[i];
        const struct json_value *row[4];
        uint64_t n_bytes = 0;
        good = part_read_row(value, row, 4) && json_string(row[0]) != NULL &&
               strcmp(json_string(row[0]), shard->name) == 0 && part_read_number(row[1], &n_bytes) &&
               n_bytes == shard->layout.file_bytes && part_read_number(row[2], &record->shards[i].modified_ns) &&
               part_read_hex(row[3], SHA256_HEX_BYTES - 1, false, record->shards[i].sha256);
    }
    return good;
}

/* Whether a tensor of so many elements can have these counts. */
static bool is_possible(const struct pipeline_tensor *tensor, uint64_t n)
{
    uint64_t n_of_each = tensor->n_overflow / 2 + tensor->n_overflow % 2; /* each operand can overflow */
    return tensor->counts.n_nan <= n && tensor->counts.n_infinite <= n && tensor->counts.n_rounded <= n &&
           tensor->counts.n_delta_zero <= n && tensor->counts.n_lossy <= n && tensor->n_added <= n && n_of_each <= n;
}

static bool read_counts(const struct json_value *value, struct pipeline_tensor *tensor)
{
    uint64_t *const counts[] = {&tensor->counts.n_nan,        &tensor->counts.n_infinite, &tensor->counts.n_rounded,
                                &tensor->counts.n_delta_zero, &tensor->counts.n_lossy,    &tensor->n_added,
                                &tensor->n_overflow};
    const size_t n = sizeof counts / sizeof counts[0];
    const char *at = json_string(value);
    for (size_t i = 0; i < n; i++) {
        if (at == NULL || !part_take_number(&at, i + 1 < n ? ' ' : '\0', counts[i])) {
            return false;
        }
    }
    return true;
}

static bool read_tensors(const struct json_value *root, const struct part_record_frame *frame,
                         struct part_record *record)
{
    const struct json_value *value = NULL;
    size_t n = 0;
    bool good = part_member_array(root, "tensors", &value, &n) && n == record->n_tensors;
    for (size_t i = 0; good && i < n; i++, value = json_next(value)) {
        const struct json_value *row[3];
        char crc32[9];
        char none[SHA256_HEX_BYTES];
        good = part_read_row(value, row, 3) && part_read_hex(row[0], 8, false, crc32) &&
               read_counts(row[1], &record->tensors[i]) &&
               is_possible(&record->tensors[i], frame->plan->tensors[i].out.n_elems) &&
               part_read_hex(row[2], SHA256_HEX_BYTES - 1, !frame->digests,
                             frame->digests ? record->tensor_sha256[i] : none);
        record->tensors[i].crc32 = good ? (uint32_t)strtoul(crc32, NULL, 16) : 0;
    }
    return good;
}

static enum llavamed_status read_inputs(const struct json_value *root, struct part_record *record, bool *good,
                                        struct llavamed_error *error)
{
    const struct json_value *value = NULL;
    size_t n = 0;
    *good = part_member_array(root, "inputs", &value, &n) && n <= PART_RECORD_INPUTS_MAX;
    if (!*good) {
        return LLAVAMED_OK;
    }
    record->inputs = calloc(n + 1, sizeof *record->inputs);
    if (record->inputs == NULL) {
        return llavamed_fail_memory(error, n * sizeof *record->inputs, "the hashes of inputs");
    }
    for (; *good && value != NULL; value = json_next(value)) {
        const struct json_value *row[3];
        struct part_input_hash *input = &record->inputs[record->n_inputs++];
        uint64_t file = 0;
        const char *role = part_read_row(value, row, 3) ? json_string(row[0]) : NULL;
        input->role = role != NULL && strcmp(role, roles[1]) == 0;
        *good = role != NULL && strcmp(role, roles[input->role]) == 0 && part_read_number(row[1], &file) &&
                file <= SIZE_MAX && part_read_hex(row[2], SHA256_HEX_BYTES - 1, false, input->sha256);
        input->file = (size_t)file;
    }
    return LLAVAMED_OK;
}

/* A name that a part copies to: that of a small file, of which each comes once. */
static bool is_copied_name(const struct document_list *documents, const char *name)
{
    const char *target = small_file_target(name);
    bool good = strcmp(name, "config.json") == 0 || strcmp(name, "README.delta.md") == 0 ||
                (strcmp(name, "README.md") != 0 && target != NULL && strcmp(target, name) == 0);
    for (size_t i = 0; good && i < documents->n_entries; i++) {
        const char *other = documents->entries[i].name;
        good = other != NULL && strcmp(other, name) != 0;
    }
    return good;
}

static enum llavamed_status read_document(const struct json_value *value, struct document_list *documents, bool *good,
                                          struct llavamed_error *error)
{
    const struct json_value *row[4];
    struct document_entry entry = {.origin = DOCUMENT_COPIED};
    const char *origin = part_read_row(value, row, 4) ? json_string(row[3]) : NULL;
    *good = origin != NULL && (strcmp(origin, "copied") == 0 || strcmp(origin, "edited") == 0) &&
            part_read_number(row[1], &entry.n_bytes) &&
            part_read_hex(row[2], SHA256_HEX_BYTES - 1, false, entry.sha256);
    enum llavamed_status status = *good ? part_take_text(row[0], &entry.name, error) : LLAVAMED_OK;
    *good = entry.name != NULL && is_copied_name(documents, entry.name);
    if (!*good) {
        free(entry.name);
        return status;
    }
    entry.origin = origin[0] == 'e' ? DOCUMENT_EDITED : DOCUMENT_COPIED;
    documents->entries[documents->n_entries++] = entry;
    return status;
}

static enum llavamed_status read_documents(const struct json_value *root, struct document_list *documents, bool *good,
                                           struct llavamed_error *error)
{
    const struct json_value *value = NULL;
    size_t n = 0;
    *good = part_member_array(root, "documents", &value, &n) && n <= PART_RECORD_DOCUMENTS_MAX;
    if (!*good) {
        return LLAVAMED_OK;
    }
    documents->entries = calloc(n + 1, sizeof *documents->entries);
    if (documents->entries == NULL) {
        return llavamed_fail_memory(error, n * sizeof *documents->entries, "the list of files");
    }
    documents->capacity = n + 1;
    enum llavamed_status status = LLAVAMED_OK;
    for (; status == LLAVAMED_OK && *good && value != NULL; value = json_next(value)) {
        status = read_document(value, documents, good, error);
    }
    return status;
}

static enum llavamed_status fail(const char *path, const char *what, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: %s", path, what);
    llavamed_hint(error, "remove this file and run that part again");
    return LLAVAMED_STATUS_PARTS_DIFFER;
}

static enum llavamed_status allocate(const struct part_record_frame *frame, struct part_record *record,
                                     struct llavamed_error *error)
{
    record->part = frame->part;
    record->n_shards = frame->plan->n_shards;
    record->n_tensors = frame->plan->n_tensors;
    record->shards = calloc(record->n_shards + 1, sizeof *record->shards);
    record->tensors = calloc(record->n_tensors + 1, sizeof *record->tensors);
    record->tensor_sha256 = frame->digests ? calloc(record->n_tensors + 1, sizeof *record->tensor_sha256) : NULL;
    return record->shards != NULL && record->tensors != NULL && (!frame->digests || record->tensor_sha256 != NULL)
               ? LLAVAMED_OK
               : llavamed_fail_memory(error, record->n_tensors * sizeof *record->tensors, "the record of a part");
}

enum llavamed_status part_record_read(const char *path, const char *text, size_t n_bytes,
                                      const struct part_record_frame *frame, struct part_record *record,
                                      struct llavamed_error *error)
{
    struct part_record made = {0};
    struct json *json = NULL;
    char plan_sha256[SHA256_HEX_BYTES];
    unsigned part = 0;
    if (!is_undamaged(text, n_bytes)) {
        return fail(path, "damaged, or not the record of a part", error);
    }
    enum llavamed_status status = json_parse(path, text, n_bytes, false, &json, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        return fail(path, "damaged, or not the record of a part", error);
    }
    const struct json_value *root = status == LLAVAMED_OK ? json_root(json) : NULL;
    bool good = root != NULL && read_head(root, plan_sha256, &part);
    if (good && (strcmp(plan_sha256, frame->plan_sha256) != 0 || part != frame->part)) {
        status = fail(path, "the record of another part, or of another merge", error);
    }
    if (status == LLAVAMED_OK && good) {
        status = allocate(frame, &made, error);
    }
    if (status == LLAVAMED_OK && good) {
        good = read_shards(root, frame, &made) && read_tensors(root, frame, &made);
    }
    if (status == LLAVAMED_OK && good) {
        status = read_inputs(root, &made, &good, error);
    }
    if (status == LLAVAMED_OK && good) {
        status = read_documents(root, &made.documents, &good, error);
    }
    json_free(json);
    if (status == LLAVAMED_OK && !good) {
        status = fail(path, "not a record that this part can have left", error);
    }
    if (status != LLAVAMED_OK) {
        part_record_deinit(&made);
        return status;
    }
    *record = made;
    return LLAVAMED_OK;
}

void part_record_deinit(struct part_record *record)
{
    free(record->shards);
    free(record->tensors);
    free(record->tensor_sha256);
    free(record->inputs);
    document_list_deinit(&record->documents);
    memset(record, 0, sizeof *record);
}
