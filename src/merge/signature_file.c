/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/signature_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/sort.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/documents.h"

/* Of a name of 255 bytes, each escaped, with its digest, in base64. */
#define RESOURCE_BYTES_MAX 2400
#define DOCUMENTS_MADE_MAX 8
#define IGNORED_MAX 8

uint64_t signature_file_planned_bytes(size_t n_shards)
{
    return (n_shards + DOCUMENTS_COPIED_MAX + DOCUMENTS_MADE_MAX) * (uint64_t)RESOURCE_BYTES_MAX;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct oms_file *)a)->name, ((const struct oms_file *)b)->name);
}

/* The names are borrowed from plan and list. *files is the caller's. */
static enum llavamed_status list_signed(const struct signature_job *job, const struct document_list *list,
                                        struct oms_file **files, size_t *n_files, struct llavamed_error *error)
{
    size_t n = 0;
    size_t n_max = job->plan->n_shards + list->n_entries;
    struct oms_file *made = calloc(n_max + 1, sizeof *made);
    if (made == NULL) {
        return llavamed_fail_memory(error, n_max * sizeof *made, OMS_FILE_NAME);
    }
    for (size_t i = 0; i < job->plan->n_shards; i++) {
        made[n].name = job->plan->shards[i].name;
        memcpy(made[n++].sha256, job->outcome->shard_sha256[i], SHA256_HEX_BYTES);
    }
    for (size_t i = 0; i < list->n_entries; i++) {
        made[n].name = list->entries[i].name;
        memcpy(made[n++].sha256, list->entries[i].sha256, SHA256_HEX_BYTES);
    }
    sort_array(made, n, sizeof *made, compare_files);
    *files = made;
    *n_files = n;
    return LLAVAMED_OK;
}

static enum llavamed_status sign(const struct signature_job *job, struct oms_file *files, size_t n_files,
                                 struct buffer *text, char subject_sha256[SHA256_HEX_BYTES],
                                 struct llavamed_error *error)
{
    const char *ignored[IGNORED_MAX];
    struct oms_statement statement = {
        .model_name = job->model_name, .files = files, .n_files = n_files, .ignored = ignored};
    while (statement.n_ignored < IGNORED_MAX && oms_ignored_usually[statement.n_ignored] != NULL) {
        ignored[statement.n_ignored] = oms_ignored_usually[statement.n_ignored];
        statement.n_ignored++;
    }
    enum llavamed_status status = model_signature_make(job->key, &statement, text, error);
    memcpy(subject_sha256, statement.root_sha256, SHA256_HEX_BYTES);
    return status;
}

enum llavamed_status signature_file_write(const struct signature_job *job, const struct document_place *place,
                                          struct document_list *list, char subject_sha256[SHA256_HEX_BYTES],
                                          struct llavamed_error *error)
{
    struct oms_file *files = NULL;
    size_t n_files = 0;
    struct document_file *document = NULL;
    enum llavamed_status status = list_signed(job, list, &files, &n_files, error);
    if (status == LLAVAMED_OK) {
        status = document_create(place, OMS_FILE_NAME, &document, error);
    }
    if (status == LLAVAMED_OK) {
        status = sign(job, files, n_files, document_text(document), subject_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = document_finish(document, DOCUMENT_MADE, list, error);
        document = NULL;
    }
    document_close(document);
    free(files);
    return status;
}

enum llavamed_status signature_file_look(const char *directory, const struct ec_key *key, bool *is_signed,
                                         struct llavamed_error *error)
{
    struct sigstore_bundle bundle = {0};
    char *text = NULL;
    size_t n_bytes = 0;
    *is_signed = key == NULL;
    if (key == NULL) {
        return LLAVAMED_OK;
    }
    char *path = path_join(directory, OMS_FILE_NAME);
    enum llavamed_status status =
        path == NULL ? llavamed_fail_memory(error, strlen(directory), "a path")
                     : input_file_read_whole(path, SIGSTORE_BUNDLE_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = sigstore_bundle_read(path, text, n_bytes, &bundle, error);
    }
    *is_signed = status == LLAVAMED_OK && bundle.hint != NULL && strcmp(bundle.hint, ec_key_hint(key)) == 0;
    sigstore_bundle_deinit(&bundle);
    free(text);
    free(path);
    return input_file_is_failure(status) ? status : LLAVAMED_OK;
}
