/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/signed_model.h"

#include <stdlib.h>
#include <string.h>

#include "io/directory.h"
#include "merge/key_file.h"
#include "verify/document_text.h"

void signed_model_deinit(struct signed_model *model)
{
    oms_statement_deinit(&model->statement);
    ec_key_free(model->key);
    *model = (struct signed_model){0};
}

enum llavamed_status signed_model_read_key(const char *path, struct signed_model *model, struct llavamed_error *error)
{
    return key_file_read_public(path, &model->key, error);
}

/* ---- The bundle ---- */

static const struct finding_place at_signature = {.file = OMS_FILE_NAME};

/* Fails only for what happened to this run. */
static enum llavamed_status tell(struct findings *findings, enum llavamed_status status,
                                 const struct llavamed_error *error)
{
    if (status == LLAVAMED_STATUS_NO_MEMORY || status == LLAVAMED_STATUS_INTERNAL) {
        return status;
    }
    enum llavamed_finding_code code = status == LLAVAMED_STATUS_IO              ? LLAVAMED_FINDING_FILE_IO
                                      : status == LLAVAMED_STATUS_INPUT_CHANGED ? LLAVAMED_FINDING_FILE_CHANGED
                                                                                : LLAVAMED_FINDING_SIGNATURE_INVALID;
    findings_add(findings, code, &at_signature, "%s", findings_words(error->message, OMS_FILE_NAME));
    return LLAVAMED_OK;
}

static enum llavamed_status read_text(const char *dir, struct document_text *text, struct llavamed_error *error)
{
    char *path = path_join(dir, OMS_FILE_NAME);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(dir), "a path");
    }
    enum llavamed_status status =
        document_text_read(path, OMS_FILE_NAME, false, SIGSTORE_BUNDLE_BYTES_MAX, text, error);
    free(path);
    return status;
}

enum llavamed_status signed_model_read(const char *dir, struct file_table *table, struct signed_model *model,
                                       struct findings *findings, uint64_t *read_bytes, struct llavamed_error *error)
{
    struct table_file *file = file_table_find(table, OMS_FILE_NAME);
    struct document_text text = {0};
    if (model->key == NULL) {
        return LLAVAMED_OK;
    }
    if (file == NULL || file->kind == FILE_KIND_ABSENT) {
        findings_add(findings, LLAVAMED_FINDING_FILE_MISSING, &at_signature, "is missing: nothing is signed");
        return LLAVAMED_OK;
    }
    if (file->kind != FILE_KIND_PLAIN) {
        return LLAVAMED_OK; /* that is a finding of its own */
    }
    enum llavamed_status status = read_text(dir, &text, error);
    if (status == LLAVAMED_OK) {
        *read_bytes += text.n_bytes;
        memcpy(file->sha256, text.sha256, sizeof file->sha256);
        file->n_bytes = text.n_bytes;
        file->is_read = true;
        status = model_signature_open(OMS_FILE_NAME, text.bytes, text.n_bytes, model->key, &model->statement, error);
        model->is_valid = status == LLAVAMED_OK;
    }
    document_text_deinit(&text);
    return status == LLAVAMED_OK ? LLAVAMED_OK : tell(findings, status, error);
}

bool signed_model_names(const struct signed_model *model, const char *name)
{
    return model->is_valid && oms_statement_find(&model->statement, name) != NULL;
}

/* ---- The files ---- */

static void judge_present(const struct signed_model *model, const struct judge *judge, const struct table_file *file)
{
    const struct oms_file *was = oms_statement_find(&model->statement, file->name);
    const struct finding_place place = {.file = file->name};
    if (was != NULL) {
        if (file->is_read && strcmp(file->sha256, was->sha256) != 0) {
            findings_add(judge->findings, LLAVAMED_FINDING_SIGNED_HASH, &place,
                         "its SHA-256 is not the signed one (got %s, want %s of " OMS_FILE_NAME ")", file->sha256,
                         was->sha256);
        }
        return;
    }
    if (judge_is_extra(judge->records, file)) {
        return; /* and told as such */
    }
    if (judge->ignore_extra) {
        warnings_add(judge->ignored, "%.255s: not signed, not named by " OMS_FILE_NAME, file->name);
        return;
    }
    findings_add(judge->findings, LLAVAMED_FINDING_FILE_UNSIGNED, &place, "is not signed: not named by " OMS_FILE_NAME);
}

static void judge_signed(const struct signed_model *model, const struct judge *judge, const struct oms_file *was)
{
    const struct table_file *file = file_table_find(judge->table, was->name);
    const struct finding_place place = {.file = was->name};
    if (oms_statement_ignores(&model->statement, was->name)) {
        findings_add(judge->findings, LLAVAMED_FINDING_SIGNATURE_INVALID, &at_signature,
                     "contradicts itself: it names %.255s, and tells to ignore it", was->name);
    } else if (file == NULL) { /* one that other records name is told by them */
        findings_add(judge->findings, LLAVAMED_FINDING_FILE_MISSING, &place, "is missing, named by " OMS_FILE_NAME);
    }
}

void signed_model_judge(const struct signed_model *model, const struct judge *judge)
{
    if (!model->is_valid) {
        return;
    }
    for (size_t i = 0; i < judge->table->n_files; i++) {
        const struct table_file *file = &judge->table->files[i];
        if (file->kind == FILE_KIND_PLAIN && !oms_statement_ignores(&model->statement, file->name)) {
            judge_present(model, judge, file);
        }
    }
    for (size_t i = 0; i < model->statement.n_files; i++) {
        judge_signed(model, judge, &model->statement.files[i]);
    }
}
