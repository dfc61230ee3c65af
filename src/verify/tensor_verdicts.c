/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/tensor_verdicts.h"

#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "llavamed_reports.h"

_Static_assert(LLAVAMED_RANK_MAX == TENSOR_RANK_MAX, "reports have room for every shape");

struct verdicts {
    const struct judge *judge;
    const char **named; /* owned: tensors that findings name, sorted */
    size_t n_named;
    struct llavamed_verify_result *result;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* That a tensor is not checked is no damage to it. */
static void list_named(struct verdicts *verdicts)
{
    const struct findings *findings = verdicts->judge->findings;
    for (size_t i = 0; i < findings->n_listed; i++) {
        const struct llavamed_finding *finding = &findings->list[i];
        if (finding->tensor != NULL && finding->code != LLAVAMED_FINDING_TENSOR_UNCHECKED) {
            verdicts->named[verdicts->n_named++] = finding->tensor;
        }
    }
    qsort(verdicts->named, verdicts->n_named, sizeof *verdicts->named, compare_names);
}

static bool is_named(const struct verdicts *verdicts, const char *name)
{
    return bsearch(&name, verdicts->named, verdicts->n_named, sizeof name, compare_names) != NULL;
}

static bool is_summed(const struct table_file *file, const struct shard_place *place)
{
    return file->is_summed && place->is_contiguous && place->is_read;
}

static enum llavamed_verdict verdict_of(const struct verdicts *verdicts, const struct table_file *file, size_t index)
{
    const struct records *records = verdicts->judge->records;
    const struct shard_place *place = &file->view->places[index];
    const char *name = file->view->set.tensors[index].name;
    const struct recorded_tensor *recorded = NULL;
    if (records->is_there[CLAIMANT_MANIFEST] && file->recorded != NULL && file->recorded->is_shard) {
        recorded = recorded_output_find(&records->manifest, name);
        bool is_in_place = recorded != NULL && &records->manifest.files[recorded->file] == file->recorded;
        recorded = is_in_place ? recorded : NULL;
    }
    if (is_named(verdicts, name) || (recorded != NULL && recorded->is_wrong)) {
        return LLAVAMED_VERDICT_DAMAGED;
    }
    bool is_intact = file->is_read && ((recorded != NULL && is_summed(file, place)) || table_file_is_as_claimed(file));
    return is_intact ? LLAVAMED_VERDICT_INTACT : LLAVAMED_VERDICT_UNCHECKED;
}

static enum llavamed_status add(struct llavamed_verify_result *result, const struct tensor *tensor, const char *file,
                                struct llavamed_error *error)
{
    struct llavamed_verified_tensor *made = &result->tensors[result->n_listed_tensors++];
    *made = (struct llavamed_verified_tensor){
        .dtype = dtype_name(tensor->dtype),
        .rank = tensor->rank,
        .n_bytes = tensor->n_bytes,
    };
    memcpy(made->shape, tensor->shape, sizeof made->shape);
    made->name = strdup(tensor->name);
    made->file = strdup(file);
    return made->name != NULL && made->file != NULL ? LLAVAMED_OK
                                                    : llavamed_fail_memory(error, strlen(tensor->name), "a name");
}

static enum llavamed_status add_held(const struct verdicts *verdicts, const struct table_file *file,
                                     struct llavamed_error *error)
{
    struct llavamed_verify_result *result = verdicts->result;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < file->view->set.n_tensors; i++) {
        status = add(result, &file->view->set.tensors[i], file->name, error);
        struct llavamed_verified_tensor *made = &result->tensors[result->n_listed_tensors - 1];
        made->verdict = verdict_of(verdicts, file, i);
        made->has_crc32 = is_summed(file, &file->view->places[i]);
        made->crc32 = made->has_crc32 ? file->view->places[i].crc32 : 0;
    }
    return status;
}

/* What should be in a file that could not be read may be there. */
static enum llavamed_status add_missing(const struct verdicts *verdicts, struct llavamed_error *error)
{
    const struct recorded_output *manifest = &verdicts->judge->records->manifest;
    struct llavamed_verify_result *result = verdicts->result;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < manifest->n_tensors; i++) {
        const struct recorded_tensor *recorded = &manifest->tensors[i];
        const char *name = manifest->files[recorded->file].name;
        if (!recorded->is_seen) {
            const struct table_file *file = file_table_find(verdicts->judge->table, name);
            bool is_gone = file == NULL || file->kind != FILE_KIND_PLAIN || file->view != NULL;
            status = add(result, &recorded->tensor, name, error);
            result->tensors[result->n_listed_tensors - 1].verdict =
                is_gone ? LLAVAMED_VERDICT_DAMAGED : LLAVAMED_VERDICT_UNCHECKED;
        }
    }
    return status;
}

enum llavamed_status tensor_verdicts_fill(const struct judge *judge, struct llavamed_verify_result *result,
                                          struct llavamed_error *error)
{
    const struct file_table *table = judge->table;
    struct verdicts verdicts = {.judge = judge, .result = result};
    size_t n_most = judge->records->is_there[CLAIMANT_MANIFEST] ? judge->records->manifest.n_tensors : 0;
    for (size_t i = 0; i < table->n_files; i++) {
        n_most += table->files[i].view == NULL ? 0 : table->files[i].view->set.n_tensors;
    }
    result->tensors = calloc(n_most + 1, sizeof *result->tensors);
    verdicts.named = calloc(judge->findings->n_listed + 1, sizeof *verdicts.named);
    enum llavamed_status status = LLAVAMED_OK;
    if (result->tensors == NULL || verdicts.named == NULL) {
        status = llavamed_fail_memory(error, n_most * sizeof *result->tensors, "the reports of tensors");
    } else {
        list_named(&verdicts);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < table->n_files; i++) {
        status = stop_signal_check(judge->stop_signal, error);
        if (status == LLAVAMED_OK && table->files[i].view != NULL) {
            status = add_held(&verdicts, &table->files[i], error);
        }
    }
    if (status == LLAVAMED_OK && judge->records->is_there[CLAIMANT_MANIFEST]) {
        status = add_missing(&verdicts, error);
    }
    free(verdicts.named);
    return status;
}

void tensor_verdicts_free(struct llavamed_verify_result *result)
{
    for (size_t i = 0; i < result->n_listed_tensors; i++) {
        free(result->tensors[i].name);
        free(result->tensors[i].file);
    }
    free(result->tensors);
}
