/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/documents.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/stop_signal.h"
#include "core/warnings.h"
#include "format/shard_index.h"
#include "integrity/sums.h"
#include "merge/config_edit.h"
#include "merge/document_copy.h"
#include "merge/manifest.h"
#include "merge/model_card.h"
#include "merge/notice_text.h"
#include "merge/signature_file.h"
#include "merge/small_files.h"
#include "source/config_check.h"

/* Fixed texts, the card and the frame of the manifest, generously. */
#define FIXED_TEXT_BYTES 65536
/* A tensor's line in the manifest beside its names, and its shape. */
#define TENSOR_LINE_BYTES 896

struct documents {
    const struct plan *plan;
    struct document_copy *files; /* owned */
    size_t n_files;
    struct document_copy config_input; /* what `config` was read from */
    char config_sha256[SHA256_HEX_BYTES]; /* as it was read */
    char *config; /* owned; NULL when the delta has none */
    size_t config_bytes;
    bool config_edited;
    struct warnings warnings;
};

void documents_free(struct documents *documents)
{
    if (documents != NULL) {
        for (size_t i = 0; i < documents->n_files; i++) {
            document_copy_deinit(&documents->files[i]);
        }
        document_copy_deinit(&documents->config_input);
        free(documents->files);
        free(documents->config);
        warnings_deinit(&documents->warnings);
        free(documents);
    }
}

size_t documents_warnings(const struct documents *documents, char *const **warnings)
{
    *warnings = documents->warnings.texts;
    return documents->warnings.n_texts;
}

/* ---- While planning ---- */

static enum llavamed_status prepare_copy(struct documents *documents, const struct source_small_file *file,
                                         const char *target, struct llavamed_error *error)
{
    if (documents->n_files == DOCUMENTS_COPIED_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: too many files beside the weights to copy (want at most %d)", file->path,
                             DOCUMENTS_COPIED_MAX);
    }
    struct document_copy *copy = &documents->files[documents->n_files++];
    return document_copy_look(file, target, DOCUMENTS_FILE_BYTES_MAX, copy, error);
}

static enum llavamed_status prepare_config(struct documents *documents, const struct source_small_file *file,
                                           const struct model_facts *facts, struct llavamed_error *error)
{
    const char *path = file->path;
    char *text = NULL;
    size_t n_bytes = 0;
    struct json *json = NULL;
    struct buffer edited;
    buffer_init(&edited, (size_t)DOCUMENTS_CONFIG_BYTES_MAX * 2);
    struct document_copy *input = &documents->config_input;
    enum llavamed_status status = document_copy_look(file, "config.json", DOCUMENTS_CONFIG_BYTES_MAX, input, error);
    if (status == LLAVAMED_OK) {
        status = source_small_file_read(file, DOCUMENTS_CONFIG_BYTES_MAX, &text, &n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_of(text, n_bytes, documents->config_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = json_parse(path, text, n_bytes, false, &json, error);
    }
    if (status != LLAVAMED_OK) {
        goto out;
    }
    const struct json_value *root = json_root(json);
    if (json_kind_of(root) != JSON_OBJECT) {
        status = llavamed_fail(error, LLAVAMED_STATUS_JSON_INVALID, "%s: not a JSON object", path);
        goto out;
    }
    config_check("config.json", root, facts, &documents->warnings);
    const char *dtype = dtype_torch_name(documents->plan->model_dtype);
    config_edit_dtype(text, n_bytes, root, dtype, &edited, &documents->config_edited);
    status = buffer_status(&edited, "config.json", error);
    if (status == LLAVAMED_OK) {
        documents->config_bytes = edited.n_bytes;
        documents->config = buffer_take(&edited);
    }
out:
    buffer_deinit(&edited);
    json_free(json);
    free(text);
    return status;
}

/* Only looked at: a file that is wrong is copied all the same, with a warning. */
static enum llavamed_status look_at_added_tokens(struct documents *documents, const struct source_small_file *file,
                                                 const struct model_facts *facts, struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    struct json *json = NULL;
    enum llavamed_status status = source_small_file_read(file, DOCUMENTS_CONFIG_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = json_parse(file->path, text, n_bytes, false, &json, error);
    }
    bool is_wrong = status == LLAVAMED_STATUS_JSON_INVALID || status == LLAVAMED_STATUS_JSON_DUPLICATE_KEY ||
                    status == LLAVAMED_STATUS_INPUT_LIMIT;
    if (status == LLAVAMED_OK && json_kind_of(json_root(json)) == JSON_OBJECT) {
        added_tokens_check("added_tokens.json", json_root(json), facts, &documents->warnings);
    } else if (status == LLAVAMED_OK || is_wrong) {
        warnings_add(&documents->warnings, "added_tokens.json: not a JSON object of at most %d bytes",
                     DOCUMENTS_CONFIG_BYTES_MAX);
    }
    json_free(json);
    free(text);
    return is_wrong ? LLAVAMED_OK : status;
}

/* What a small file is called in the result; NULL: it has no place there. */
static const char *target_name(const struct plan *plan, const char *name)
{
    bool is_readme = strcmp(name, "README.md") == 0;
    return is_readme && plan->operation == PLAN_MAKE_DELTA ? "README.target.md" : small_file_target(name);
}

static enum llavamed_status prepare_file(struct documents *documents, const struct source_small_file *file,
                                         const struct model_facts *facts, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    const char *target = target_name(documents->plan, file->name);
    if (strcmp(file->name, "config.json") == 0) {
        return prepare_config(documents, file, facts, error);
    }
    if (target != NULL) {
        status = prepare_copy(documents, file, target, error);
    }
    bool is_looked_at = status == LLAVAMED_OK && strcmp(file->name, "added_tokens.json") == 0;
    return is_looked_at ? look_at_added_tokens(documents, file, facts, error) : status;
}

static enum llavamed_status prepare_files(struct documents *documents, const struct source_small_file *small_files,
                                          size_t n_small_files, const volatile int *stop_signal,
                                          struct llavamed_error *error)
{
    struct model_facts facts = {0};
    for (size_t i = 0; i < documents->plan->n_tensors; i++) {
        model_facts_note(&facts, &documents->plan->tensors[i].out);
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_small_files; i++) {
        status = stop_signal_check(stop_signal, error); /* one in an archive is inflated, which takes time */
        if (status == LLAVAMED_OK) {
            status = prepare_file(documents, &small_files[i], &facts, error);
        }
    }
    return status;
}

enum llavamed_status documents_prepare(const struct source_small_file *small_files, size_t n_small_files,
                                       const struct plan *plan, const volatile int *stop_signal,
                                       struct documents **out, struct llavamed_error *error)
{
    struct documents *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->plan = plan;
        made->files = calloc(DOCUMENTS_COPIED_MAX, sizeof *made->files);
    }
    if (made == NULL || made->files == NULL) {
        documents_free(made);
        return llavamed_fail_memory(error, DOCUMENTS_COPIED_MAX * sizeof *made->files, "the small files");
    }
    enum llavamed_status status = prepare_files(made, small_files, n_small_files, stop_signal, error);
    if (status == LLAVAMED_OK && made->config == NULL) {
        warnings_add(&made->warnings, "the %s has no config.json, so the result has none either",
                     plan_other_name(plan->operation));
    }
    if (status == LLAVAMED_OK) {
        status = warnings_status(&made->warnings, error);
    }
    if (status != LLAVAMED_OK) {
        documents_free(made);
        return status;
    }
    *out = made;
    return LLAVAMED_OK;
}

uint64_t documents_planned_bytes(const struct documents *documents)
{
    const struct plan *plan = documents->plan;
    uint64_t total = FIXED_TEXT_BYTES + documents->config_bytes;
    for (size_t i = 0; i < documents->n_files; i++) {
        total += documents->files[i].n_bytes + 1024; /* and its lines in manifest and SHA256SUMS */
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        total += 4 * strlen(plan->shards[i].name) + 512;
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        /* An escape makes at most six bytes of one; the name stands in the manifest and in the index. */
        total += TENSOR_LINE_BYTES + 12 * strlen(plan->tensors[i].out.name);
    }
    return total;
}

/* ---- At the end ---- */

static enum llavamed_status write_bytes(const struct document_place *place, const char *name, const void *bytes,
                                        size_t n_bytes, enum document_origin origin, struct document_list *list,
                                        struct llavamed_error *error)
{
    struct document_file *document = NULL;
    enum llavamed_status status = document_create(place, name, &document, error);
    if (status == LLAVAMED_OK) {
        status = document_write(document, bytes, n_bytes, error);
        if (status == LLAVAMED_OK) {
            return document_finish(document, origin, list, error);
        }
    }
    document_close(document);
    return status;
}

static int compare_index_rows(const void *a, const void *b)
{
    return strcmp(((const struct shard_index_row *)a)->tensor, ((const struct shard_index_row *)b)->tensor);
}

static enum llavamed_status write_index(const struct plan *plan, const struct document_place *place,
                                        struct document_list *list, struct llavamed_error *error)
{
    struct document_file *document = NULL;
    struct shard_index_row *rows = calloc(plan->n_tensors + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *rows, "the shard index");
    }
    size_t n_rows = 0;
    for (size_t i = 0; i < plan->n_shards; i++) {
        const struct plan_shard *shard = &plan->shards[i];
        for (size_t j = 0; j < shard->n_tensors; j++) {
            rows[n_rows++] = (struct shard_index_row){plan->tensors[shard->tensors[j]].out.name, shard->name};
        }
    }
    enum llavamed_status status = document_create(place, plan->index_name, &document, error);
    if (status == LLAVAMED_OK) {
        if (shard_format_is_torch(plan->format)) {
            qsort(rows, n_rows, sizeof *rows, compare_index_rows);
            shard_index_write_reference(document_text(document), &plan->reference_total, rows, n_rows);
        } else {
            shard_index_write_hub(document_text(document), plan->data_bytes, rows, n_rows);
        }
        status = document_finish(document, DOCUMENT_MADE, list, error);
    }
    free(rows);
    return status;
}

static enum llavamed_status write_card(const struct plan *plan, const struct documents_job *job,
                                       const struct document_place *place, struct document_list *list,
                                       struct llavamed_error *error)
{
    struct document_file *document = NULL;
    enum llavamed_status status = document_create(place, "README.md", &document, error);
    if (status == LLAVAMED_OK) {
        model_card_append(document_text(document), plan, job);
        status = document_finish(document, DOCUMENT_MADE, list, error);
    }
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    const struct document_entry *entry_a = a;
    const struct document_entry *entry_b = b;
    return strcmp(entry_a->name, entry_b->name);
}

static enum llavamed_status write_manifest(const struct plan *plan, const struct documents_job *job,
                                           const struct document_place *place, struct document_list *list,
                                           char manifest_sha256[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    struct document_file *document = NULL;
    qsort(list->entries, list->n_entries, sizeof *list->entries, compare_entries);
    enum llavamed_status status = document_create(place, MANIFEST_FILE_NAME, &document, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = manifest_write(document, plan, job, list, error);
    if (status != LLAVAMED_OK) {
        document_close(document);
        return status;
    }
    status = document_finish(document, DOCUMENT_MADE, list, error);
    if (status == LLAVAMED_OK) {
        memcpy(manifest_sha256, list->entries[list->n_entries - 1].sha256, SHA256_HEX_BYTES);
    }
    return status;
}

struct sums_row {
    const char *name;
    const char *hex;
};

static int compare_rows(const void *a, const void *b)
{
    const struct sums_row *row_a = a;
    const struct sums_row *row_b = b;
    return strcmp(row_a->name, row_b->name);
}

static enum llavamed_status write_sums(const struct plan *plan, const struct documents_job *job,
                                       const struct document_place *place, struct document_list *list,
                                       struct llavamed_error *error)
{
    struct document_file *document = NULL;
    size_t n_rows = 0;
    struct sums_row *rows = calloc(plan->n_shards + list->n_entries + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, (plan->n_shards + list->n_entries) * sizeof *rows, SUMS_FILE_NAME);
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        rows[n_rows++] = (struct sums_row){plan->shards[i].name, job->outcome->shard_sha256[i]};
    }
    for (size_t i = 0; i < list->n_entries; i++) {
        rows[n_rows++] = (struct sums_row){list->entries[i].name, list->entries[i].sha256};
    }
    qsort(rows, n_rows, sizeof *rows, compare_rows);
    enum llavamed_status status = document_create(place, SUMS_FILE_NAME, &document, error);
    if (status == LLAVAMED_OK) {
        for (size_t i = 0; i < n_rows; i++) {
            sums_append(document_text(document), rows[i].hex, rows[i].name);
        }
        status = document_finish(document, DOCUMENT_MADE, list, error);
    }
    free(rows);
    return status;
}

const char *documents_copy_name(const struct documents *documents, size_t i)
{
    bool is_config = i == documents->n_files && documents->config != NULL;
    return i < documents->n_files ? documents->files[i].target : is_config ? "config.json" : NULL;
}

/* What was read of a file for the result, against what its hashes are known to be. */
static enum llavamed_status check_hash(const struct document_copy *copy, const struct input_hashes *hashes,
                                       const char *sha256, struct llavamed_error *error)
{
    return hashes == NULL ? LLAVAMED_OK : input_hashes_check_copied(hashes, copy->file->path, sha256, error);
}

enum llavamed_status documents_write_copies(const struct documents *documents, const struct document_place *place,
                                            const struct input_hashes *hashes, struct document_list *list,
                                            struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < documents->n_files && status == LLAVAMED_OK; i++) {
        status = document_copy_make(&documents->files[i], place, list, error);
        if (status == LLAVAMED_OK) {
            status = check_hash(&documents->files[i], hashes, list->entries[list->n_entries - 1].sha256, error);
        }
    }
    if (status == LLAVAMED_OK && documents->config != NULL) {
        status = check_hash(&documents->config_input, hashes, documents->config_sha256, error);
    }
    if (status == LLAVAMED_OK && documents->config != NULL) {
        enum document_origin origin = documents->config_edited ? DOCUMENT_EDITED : DOCUMENT_COPIED;
        status = write_bytes(place, "config.json", documents->config, documents->config_bytes, origin, list, error);
    }
    return status;
}

enum llavamed_status documents_check_inputs(const struct documents *documents, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < documents->n_files && status == LLAVAMED_OK; i++) {
        status = document_copy_check(&documents->files[i], error);
    }
    return status == LLAVAMED_OK && documents->config != NULL ? document_copy_check(&documents->config_input, error)
                                                              : status;
}

static bool is_recorded(const struct document_list *recorded, const char *name, const char *sha256)
{
    bool is_same = false;
    for (size_t i = 0; i < recorded->n_entries && !is_same; i++) {
        is_same = strcmp(recorded->entries[i].name, name) == 0 && strcmp(recorded->entries[i].sha256, sha256) == 0;
    }
    return is_same;
}

enum llavamed_status documents_compare_copies(const struct documents *documents, const struct document_list *recorded,
                                              const struct hash_files_options *options, const char **differs,
                                              struct llavamed_error *error)
{
    char hexes[DOCUMENTS_COPIED_MAX][SHA256_HEX_BYTES] = {{0}};
    struct hash_files_task tasks[DOCUMENTS_COPIED_MAX];
    char config_sha256[SHA256_HEX_BYTES];
    for (size_t i = 0; i < documents->n_files; i++) {
        const struct source_small_file *file = documents->files[i].file;
        tasks[i] = (struct hash_files_task){file->path, file->archive, file->name, hexes[i], NULL};
    }
    *differs = NULL;
    enum llavamed_status status = hash_files(tasks, documents->n_files, options, error);
    if (status == LLAVAMED_OK && documents->config != NULL) {
        status = sha256_of(documents->config, documents->config_bytes, config_sha256, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    for (size_t i = 0; i < documents->n_files && *differs == NULL; i++) {
        const char *name = documents->files[i].target;
        *differs = is_recorded(recorded, name, hexes[i]) ? NULL : name;
    }
    if (documents->config != NULL && *differs == NULL) {
        *differs = is_recorded(recorded, "config.json", config_sha256) ? NULL : "config.json";
    }
    return LLAVAMED_OK;
}

enum llavamed_status documents_write_made(const struct plan *plan, const struct documents_job *job,
                                          struct document_list *list, struct documents_result *result,
                                          struct llavamed_error *error)
{
    const struct document_place place = {job->directory, job->guard, job->stop_signal};
    struct documents_result made = {0};
    enum llavamed_status status = LLAVAMED_OK;
    if (plan->index_name != NULL) {
        status = write_index(plan, &place, list, error);
    }
    if (status == LLAVAMED_OK) {
        const char *notice = plan->operation == PLAN_MAKE_DELTA ? notice_text_of_delta : notice_text;
        status = write_bytes(&place, NOTICE_FILE_NAME, notice, strlen(notice), DOCUMENT_MADE, list, error);
    }
    if (status == LLAVAMED_OK) {
        status = write_card(plan, job, &place, list, error);
    }
    if (status == LLAVAMED_OK) {
        status = write_manifest(plan, job, &place, list, made.manifest_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = write_sums(plan, job, &place, list, error);
    }
    if (status == LLAVAMED_OK && job->signing_key != NULL) {
        const struct signature_job signing = {job->signing_key, job->model_name, plan, job->outcome};
        status = signature_file_write(&signing, &place, list, made.subject_sha256, error);
    }
    if (status == LLAVAMED_OK) {
        for (size_t i = 0; i < list->n_entries; i++) {
            made.written_bytes += list->entries[i].n_bytes;
        }
        *result = made;
    }
    return status;
}

enum llavamed_status documents_write(const struct documents *documents, const struct documents_job *job,
                                     struct documents_result *result, struct llavamed_error *error)
{
    const struct document_place place = {job->directory, job->guard, job->stop_signal};
    struct document_list list = {0};
    enum llavamed_status status = documents_write_copies(documents, &place, job->hashes, &list, error);
    if (status == LLAVAMED_OK) {
        status = documents_write_made(documents->plan, job, &list, result, error);
    }
    document_list_deinit(&list);
    return status;
}
