/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/records.h"

#include <stdlib.h>
#include <string.h>

#include "io/directory.h"
#include "merge/manifest.h"
#include "verify/document_text.h"

const char *const records_index_names[INDEX_KINDS] = {"model.safetensors.index.json", "pytorch_model.bin.index.json"};

struct record_reader {
    const char *dir;
    struct file_table *table;
    struct findings *findings;
    uint64_t *read_bytes;
};

void records_deinit(struct records *records)
{
    sums_list_deinit(&records->given);
    sums_list_deinit(&records->sums);
    recorded_output_deinit(&records->manifest);
    for (int i = 0; i < INDEX_KINDS; i++) {
        if (records->has_index[i]) {
            shard_index_deinit(&records->indices[i]);
        }
    }
    *records = (struct records){0};
}

static bool is_fatal(enum llavamed_status status)
{
    return status == LLAVAMED_STATUS_NO_MEMORY || status == LLAVAMED_STATUS_INTERNAL;
}

/* A record is no record: the finding says why. Fails only for what happened to this run. */
static enum llavamed_status tell_invalid(const struct record_reader *reader, const char *name,
                                         enum llavamed_status status, const struct llavamed_error *error)
{
    if (is_fatal(status)) {
        return status;
    }
    const struct finding_place place = {.file = name};
    findings_add(reader->findings, LLAVAMED_FINDING_RECORD_INVALID, &place, "%s",
                 findings_words(error->message, name));
    return LLAVAMED_OK;
}

/* The text of a plain file of the table; text->bytes is NULL when there is none, or it cannot be read. */
static enum llavamed_status read_text(const struct record_reader *reader, const char *name, size_t max_bytes,
                                      struct document_text *text, struct llavamed_error *error)
{
    struct table_file *file = file_table_find(reader->table, name);
    *text = (struct document_text){0};
    if (file == NULL || file->kind != FILE_KIND_PLAIN || file->failure != LLAVAMED_OK) {
        return LLAVAMED_OK;
    }
    char *path = path_join(reader->dir, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = document_text_read(path, name, false, max_bytes, text, error);
    free(path);
    if (status == LLAVAMED_OK) {
        *reader->read_bytes += text->n_bytes;
        memcpy(file->sha256, text->sha256, sizeof file->sha256);
        file->n_bytes = text->n_bytes;
        file->is_read = true;
        return LLAVAMED_OK;
    }
    if (status == LLAVAMED_STATUS_INPUT_LIMIT) { /* too large for a record, not to be hashed */
        return tell_invalid(reader, name, status, error);
    }
    if (is_fatal(status)) {
        return status;
    }
    file->failure = status;
    file->failure_words = strdup(findings_words(error->message, name));
    return file->failure_words != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, LLAVAMED_MESSAGE_BYTES, "a message");
}

static enum llavamed_status read_sums(const struct record_reader *reader, struct records *records,
                                      struct llavamed_error *error)
{
    struct document_text text;
    enum llavamed_status status = read_text(reader, SUMS_FILE_NAME, SUMS_LIST_BYTES_MAX, &text, error);
    if (status == LLAVAMED_OK && text.bytes != NULL) {
        status = sums_list_parse(text.bytes, text.n_bytes, SUMS_FILE_NAME, &records->sums, reader->findings, error);
        records->is_there[CLAIMANT_SUMS] = true;
    }
    document_text_deinit(&text);
    return status;
}

/* The list may lie in the directory itself. */
static enum llavamed_status mark_given(const struct record_reader *reader, const char *given,
                                       struct llavamed_error *error)
{
    struct path_identity identity;
    enum llavamed_status status = path_identity_of(given, &identity, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < reader->table->n_files; i++) {
        struct table_file *file = &reader->table->files[i];
        file->is_given_list = file->kind == FILE_KIND_PLAIN && file->device == identity.device &&
                              file->inode == identity.inode;
    }
    return status;
}

static enum llavamed_status read_given(const struct record_reader *reader, const char *given, struct records *records,
                                       struct llavamed_error *error)
{
    struct document_text text = {0};
    records->names[CLAIMANT_GIVEN] = given;
    enum llavamed_status status = document_text_read(given, given, true, SUMS_LIST_BYTES_MAX, &text, error);
    if (status == LLAVAMED_OK) {
        status = sums_list_parse(text.bytes, text.n_bytes, given, &records->given, reader->findings, error);
        records->is_there[CLAIMANT_GIVEN] = true;
    }
    document_text_deinit(&text);
    return status == LLAVAMED_OK ? mark_given(reader, given, error) : status;
}

static enum llavamed_status read_manifest(const struct record_reader *reader, struct records *records,
                                          struct llavamed_error *error)
{
    struct document_text text;
    enum llavamed_status status = read_text(reader, MANIFEST_FILE_NAME, RECORDED_OUTPUT_BYTES_MAX, &text, error);
    if (status == LLAVAMED_OK && text.bytes != NULL) {
        status = recorded_output_parse(MANIFEST_FILE_NAME, text.bytes, text.n_bytes, &records->manifest, error);
        records->is_there[CLAIMANT_MANIFEST] = status == LLAVAMED_OK;
        status = status == LLAVAMED_OK ? LLAVAMED_OK : tell_invalid(reader, MANIFEST_FILE_NAME, status, error);
    }
    document_text_deinit(&text);
    return status;
}

static enum llavamed_status read_index(const struct record_reader *reader, int kind, struct records *records,
                                       struct llavamed_error *error)
{
    const char *name = records_index_names[kind];
    struct document_text text;
    enum llavamed_status status = read_text(reader, name, SHARD_INDEX_BYTES_MAX, &text, error);
    if (status == LLAVAMED_OK && text.bytes != NULL) {
        status = shard_index_parse(name, text.bytes, text.n_bytes, &records->indices[kind], error);
        records->has_index[kind] = status == LLAVAMED_OK;
        status = status == LLAVAMED_OK ? LLAVAMED_OK : tell_invalid(reader, name, status, error);
    }
    document_text_deinit(&text);
    return status;
}

enum llavamed_status records_read(const char *dir, const char *given, struct file_table *table,
                                  struct records *records, struct findings *findings, uint64_t *read_bytes,
                                  struct llavamed_error *error)
{
    const struct record_reader reader = {dir, table, findings, read_bytes};
    *records = (struct records){.names = {NULL, SUMS_FILE_NAME, MANIFEST_FILE_NAME}};
    enum llavamed_status status = LLAVAMED_OK;
    if (given != NULL) {
        status = read_given(&reader, given, records, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_sums(&reader, records, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_manifest(&reader, records, error);
    }
    for (int i = 0; i < INDEX_KINDS && status == LLAVAMED_OK; i++) {
        status = read_index(&reader, i, records, error);
    }
    return status;
}

/* ---- Claims ---- */

static enum llavamed_status add_rows(const struct records *records, struct file_table *table,
                                     struct llavamed_error *error)
{
    size_t n = records->given.n_entries + records->sums.n_entries + records->manifest.n_files;
    for (int i = 0; i < INDEX_KINDS; i++) {
        n += records->indices[i].n_files;
    }
    const char **names = calloc(n + 1, sizeof *names);
    if (names == NULL) {
        return llavamed_fail_memory(error, n * sizeof *names, "the list of files");
    }
    n = 0;
    for (size_t i = 0; i < records->given.n_entries; i++) {
        names[n++] = records->given.entries[i].name;
    }
    for (size_t i = 0; i < records->sums.n_entries; i++) {
        names[n++] = records->sums.entries[i].name;
    }
    for (size_t i = 0; i < records->manifest.n_files; i++) {
        names[n++] = records->manifest.files[i].name;
    }
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        for (size_t i = 0; i < records->indices[kind].n_files; i++) {
            names[n++] = records->indices[kind].files[i];
        }
    }
    enum llavamed_status status = file_table_add(table, names, n, error);
    free(names);
    return status;
}

static void claim_sums(const struct sums_list *list, enum claimant claimant, struct file_table *table)
{
    for (size_t i = 0; i < list->n_entries; i++) {
        const struct sums_entry *entry = &list->entries[i];
        file_table_find(table, entry->name)->claims[claimant] = (struct file_claim){entry->sha256, entry->line};
    }
}

enum llavamed_status records_claim(const struct records *records, struct file_table *table,
                                   struct llavamed_error *error)
{
    enum llavamed_status status = add_rows(records, table, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    claim_sums(&records->given, CLAIMANT_GIVEN, table);
    claim_sums(&records->sums, CLAIMANT_SUMS, table);
    for (size_t i = 0; i < records->manifest.n_files; i++) {
        const struct recorded_file *recorded = &records->manifest.files[i];
        struct table_file *file = file_table_find(table, recorded->name);
        file->claims[CLAIMANT_MANIFEST].sha256 = recorded->sha256;
        file->recorded = recorded;
    }
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        for (size_t i = 0; i < records->indices[kind].n_files; i++) {
            file_table_find(table, records->indices[kind].files[i])->is_indexed[kind] = true;
        }
    }
    return LLAVAMED_OK;
}

enum claimant records_authority(const struct records *records)
{
    int claimant = 0;
    while (claimant < CLAIMANTS && !records->is_there[claimant]) {
        claimant++;
    }
    return (enum claimant)claimant;
}
