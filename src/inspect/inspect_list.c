/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "inspect/inspect_parts.h"
#include "source/config_check.h"
#include "tensor/model_order.h"

_Static_assert(LLAVAMED_RANK_MAX == TENSOR_RANK_MAX, "a shape is copied whole");

static const char *layout_name(const struct source *source)
{
    switch (source_kind_of(source)) {
    case SOURCE_DIRECTORY:
        return "directory";
    case SOURCE_META:
        return "meta";
    case SOURCE_FILE:
        return "file";
    case SOURCE_ARCHIVE:
        return "archive";
    }
    return NULL;
}

/* *to becomes a copy of `text`. */
static enum llavamed_status copy_text(char **to, const char *text, struct llavamed_error *error)
{
    *to = strdup(text);
    return *to == NULL ? llavamed_fail_memory(error, strlen(text) + 1, "a name") : LLAVAMED_OK;
}

static enum llavamed_status list_shards(const struct source *source, struct llavamed_inspect_result *result,
                                        struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    bool in_archive = source_kind_of(source) == SOURCE_ARCHIVE;
    if (in_archive) {
        result->archive_bytes = files[0].n_bytes;
        files++;
        n_files--;
    }
    result->shards = calloc(n_files + 1, sizeof *result->shards);
    if (result->shards == NULL) {
        return llavamed_fail_memory(error, (n_files + 1) * sizeof *result->shards, "the list of shards");
    }
    for (size_t i = 0; i < n_files; i++) {
        enum llavamed_status status = copy_text(&result->shards[i].name, files[i].name, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        result->shards[i].file_bytes = files[i].n_bytes;
        result->n_shards++;
    }
    return LLAVAMED_OK;
}

/* The shard of a tensor, which counts there. */
static size_t count_in_shard(const struct source *source, size_t index, struct llavamed_inspect_result *result)
{
    size_t file = source_file_of(source, index);
    if (file == SOURCE_FILES_ALL) {
        for (size_t i = 0; i < result->n_shards; i++) {
            result->shards[i].n_tensors++;
        }
        return LLAVAMED_SHARDS_ALL;
    }
    size_t shard = file - (source_kind_of(source) == SOURCE_ARCHIVE ? 1 : 0);
    result->shards[shard].n_tensors++;
    return shard;
}

static enum llavamed_status list_tensors(const struct source *source, struct llavamed_inspect_result *result,
                                         struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(source);
    struct model_facts facts = {0};
    result->tensors = calloc(set->n_tensors + 1, sizeof *result->tensors);
    if (result->tensors == NULL) {
        return llavamed_fail_memory(error, (set->n_tensors + 1) * sizeof *result->tensors, "the list of tensors");
    }
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        struct llavamed_inspect_tensor *row = &result->tensors[i];
        enum llavamed_status status = copy_text(&row->name, tensor->name, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        result->n_tensors++;
        row->dtype = dtype_name(tensor->dtype);
        row->rank = tensor->rank;
        memcpy(row->shape, tensor->shape, tensor->rank * sizeof *tensor->shape);
        row->n_elems = tensor->n_elems;
        row->n_bytes = tensor->n_bytes;
        row->shard = count_in_shard(source, i, result);
        model_facts_note(&facts, tensor);
    }
    result->n_rows = facts.n_rows;
    result->hidden_size = facts.n_hidden;
    result->n_layers = facts.n_layers;
    return LLAVAMED_OK;
}

static int compare_dtypes(const void *a, const void *b)
{
    const struct llavamed_inspect_dtype *x = a;
    const struct llavamed_inspect_dtype *y = b;
    if (x->n_bytes != y->n_bytes) {
        return x->n_bytes > y->n_bytes ? -1 : 1;
    }
    return strcmp(x->dtype, y->dtype);
}

static enum llavamed_status sum_up(const struct source *source, struct llavamed_inspect_result *result,
                                   struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(source);
    struct llavamed_inspect_dtype sums[DTYPE_COUNT] = {0};
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        struct llavamed_inspect_dtype *sum = &sums[tensor->dtype];
        sum->n_tensors++;
        sum->n_elems += tensor->n_elems; /* the tensors lie in files: their sums fit */
        sum->n_bytes += tensor->n_bytes;
        result->n_bytes += tensor->n_bytes;
        if (!dtype_is_integral(tensor->dtype) && model_role_of(tensor->name) != MODEL_INV_FREQ) {
            result->n_parameters += tensor->n_elems;
        }
    }
    result->dtypes = calloc(DTYPE_COUNT, sizeof *result->dtypes);
    if (result->dtypes == NULL) {
        return llavamed_fail_memory(error, DTYPE_COUNT * sizeof *result->dtypes, "the list of dtypes");
    }
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (sums[i].n_tensors > 0) {
            sums[i].dtype = dtype_name((enum dtype)i);
            result->dtypes[result->n_dtypes++] = sums[i];
        }
    }
    qsort(result->dtypes, result->n_dtypes, sizeof *result->dtypes, compare_dtypes);
    return LLAVAMED_OK;
}

enum llavamed_status inspect_list(const struct source *source, struct llavamed_inspect_result *result,
                                  struct llavamed_error *error)
{
    const struct source_index *index = source_index_of(source);
    result->layout = layout_name(source);
    result->format = source_format(source);
    result->in_hub_cache = source_in_hub_cache(source);
    enum llavamed_status status = copy_text(&result->path, source_spec(source), error);
    if (status == LLAVAMED_OK && index != NULL) {
        status = copy_text(&result->index_name, index->name, error);
    }
    if (status == LLAVAMED_OK) {
        status = list_shards(source, result, error);
    }
    if (status == LLAVAMED_OK) {
        status = list_tensors(source, result, error);
    }
    return status == LLAVAMED_OK ? sum_up(source, result, error) : status;
}
