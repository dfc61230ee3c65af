/* SPDX-License-Identifier: Apache-2.0 */
/* The config, and what is odd about a checkpoint beside the names of its tensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/warnings.h"
#include "inspect/inspect_names.h"
#include "inspect/inspect_parts.h"
#include "source/config_check.h"
#include "source/model_config.h"
#include "source/place.h"
#include "tensor/model_order.h"

#define DTYPES_TEXT_BYTES 500
#define SHOWN_NAME_BYTES 200

struct remarks {
    const struct source *source;
    struct llavamed_inspect_result *result;
    struct warnings notes;
    struct llavamed_error failure; /* of reading a small file, LLAVAMED_OK until then */
};

/* ---- Config ---- */

static bool keep_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text == NULL || *to != NULL;
}

static enum llavamed_status keep_config(const struct model_config *config, struct llavamed_inspect_config *to,
                                        struct llavamed_error *error)
{
    to->file_name = config->file_name;
    to->n_rows = config->rows;
    to->hidden_size = config->hidden;
    to->n_layers = config->layers;
    to->n_heads = config->heads;
    to->n_key_value_heads = config->key_value_heads;
    to->context = config->positions;
    bool kept = keep_text(&to->model_type, config->model_type) &&
                keep_text(&to->architecture, config->architecture) && keep_text(&to->dtype, config->dtype);
    return kept ? LLAVAMED_OK : llavamed_fail_memory(error, MODEL_CONFIG_BYTES_MAX, "a text of the config");
}

static const struct source_small_file *find_file(const struct remarks *remarks, const char *name)
{
    const struct source_small_file *files;
    size_t n_files = source_small_files(remarks->source, &files);
    return model_config_find(files, n_files, name);
}

/* Of a file that is there and of no use: whoever needs it words its faults. */
static void note_useless(struct remarks *remarks, const char *name)
{
    warnings_add(&remarks->notes, "%s: not a JSON object of at most %d bytes", name, MODEL_CONFIG_BYTES_MAX);
}

static void note_config(struct remarks *remarks, const struct model_config *config, const struct model_facts *facts)
{
    enum source_kind kind = source_kind_of(remarks->source);
    bool has_file = find_file(remarks, "config.json") != NULL;
    if (config->json != NULL && strcmp(config->file_name, "config.json") == 0) {
        config_check("config.json", json_root(config->json), facts, &remarks->notes);
    } else if (has_file) {
        note_useless(remarks, "config.json");
    } else if (kind == SOURCE_DIRECTORY || kind == SOURCE_ARCHIVE) {
        warnings_add(&remarks->notes, "there is no config.json");
    }
}

static void note_added_tokens(struct remarks *remarks, const struct model_facts *facts)
{
    const struct source_small_file *file = find_file(remarks, "added_tokens.json");
    if (file == NULL) {
        return;
    }
    struct json *json = model_config_object(file, &remarks->failure);
    if (json != NULL) {
        added_tokens_check("added_tokens.json", json_root(json), facts, &remarks->notes);
    } else {
        note_useless(remarks, "added_tokens.json");
    }
    json_free(json);
}

static enum llavamed_status remark_config(struct remarks *remarks, struct llavamed_error *error)
{
    const struct llavamed_inspect_result *result = remarks->result;
    const struct model_facts facts = {result->n_rows, result->hidden_size, result->n_layers};
    const struct source_small_file *files;
    size_t n_files = source_small_files(remarks->source, &files);
    struct model_config config = model_config_read(files, n_files, &remarks->failure);
    enum llavamed_status status = LLAVAMED_OK;
    if (config.json != NULL) {
        status = keep_config(&config, &remarks->result->config, error);
    }
    note_config(remarks, &config, &facts);
    note_added_tokens(remarks, &facts);
    model_config_deinit(&config);
    return status;
}

/* ---- Dtypes ---- */

/* Of the weights, without buffers: rotary frequencies are F32 wherever they are kept. */
struct weight_dtype {
    size_t n_tensors;
    uint64_t n_bytes;
    const char *first; /* name of the first tensor */
};

static size_t main_dtype(const struct weight_dtype dtypes[DTYPE_COUNT])
{
    size_t most = 0;
    for (size_t i = 1; i < DTYPE_COUNT; i++) {
        most = dtypes[i].n_bytes > dtypes[most].n_bytes ? i : most;
    }
    return most;
}

static void note_dtypes(struct remarks *remarks)
{
    const struct tensor_set *set = source_tensors(remarks->source);
    struct weight_dtype dtypes[DTYPE_COUNT] = {0};
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        if (dtype_is_integral(tensor->dtype) || model_role_of(tensor->name) == MODEL_INV_FREQ) {
            continue;
        }
        struct weight_dtype *dtype = &dtypes[tensor->dtype];
        dtype->first = dtype->n_tensors++ == 0 ? tensor->name : dtype->first;
        dtype->n_bytes += tensor->n_bytes;
    }
    size_t most = main_dtype(dtypes);
    if (dtypes[most].n_tensors == 0) {
        return;
    }
    char others[DTYPES_TEXT_BYTES] = "";
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        size_t used = strlen(others);
        if (i != most && dtypes[i].n_tensors > 0) {
            (void)snprintf(others + used, sizeof others - used, ", %zu of %s (first %.*s)", dtypes[i].n_tensors,
                           dtype_name((enum dtype)i), SHOWN_NAME_BYTES, dtypes[i].first);
        }
    }
    if (others[0] != '\0') {
        warnings_add(&remarks->notes, "weights of several dtypes: %zu of %s%s", dtypes[most].n_tensors,
                     dtype_name((enum dtype)most), others);
    }
    const struct llavamed_inspect_config *config = &remarks->result->config;
    if (config->dtype != NULL && strcmp(config->dtype, dtype_torch_name((enum dtype)most)) != 0) {
        warnings_add(&remarks->notes, "%s speaks of %.*s, the weights are %s", config->file_name, SHOWN_NAME_BYTES,
                     config->dtype, dtype_torch_name((enum dtype)most));
    }
}

/* ---- Files ---- */

static void note_source(struct remarks *remarks)
{
    const struct source_remark *texts;
    size_t n_texts = source_remarks(remarks->source, &texts);
    for (size_t i = 0; i < n_texts; i++) {
        warnings_add(&remarks->notes, "%s", texts[i].text);
    }
}

static void note_index(struct remarks *remarks)
{
    const struct source_index *index = source_index_of(remarks->source);
    if (index != NULL && index->has_total && index->total_bytes != remarks->result->n_bytes) {
        warnings_add(&remarks->notes, "%s: its total_size is not that of the tensors (got %llu, want %llu)",
                     index->name, (unsigned long long)index->total_bytes, (unsigned long long)remarks->result->n_bytes);
    }
}

static void note_releases(struct remarks *remarks)
{
    const struct llavamed_inspect_result *result = remarks->result;
    size_t n_known = 0;
    const char *first = NULL;
    for (size_t i = 0; i < result->n_shards; i++) {
        const char *release = result->shards[i].release;
        n_known += release == NULL ? 0 : 1;
        if (release != NULL && first != NULL && strcmp(release, first) != 0) {
            warnings_add(&remarks->notes, "recorded hashes name shards of different releases (%s and %s)", first,
                         release);
            return;
        }
        first = first == NULL ? release : first;
    }
    if (n_known > 0 && n_known < result->n_shards) {
        warnings_add(&remarks->notes, "recorded hashes name %zu of %zu shards as of %s, the others as of no release",
                     n_known, result->n_shards, first);
    }
}

static int compare_numbers(const void *a, const void *b)
{
    size_t x = *(const size_t *)a;
    size_t y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Tensors that are views of a storage of torch together with others, and those that do not lie row by row. */
static enum llavamed_status note_views(struct remarks *remarks, struct llavamed_error *error)
{
    size_t n = source_tensors(remarks->source)->n_tensors;
    size_t *storages = calloc(n + 1, sizeof *storages);
    if (storages == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *storages, "the list of storages");
    }
    size_t n_views = 0;
    size_t n_strided = 0;
    for (size_t i = 0; i < n; i++) {
        struct source_place place;
        if (source_place(remarks->source, i, &place)) {
            storages[n_views++] = place.storage;
            n_strided += place.row_major ? 0 : 1;
        }
    }
    qsort(storages, n_views, sizeof *storages, compare_numbers);
    size_t n_shared = 0;
    for (size_t i = 0; i < n_views; i++) {
        bool as_before = i > 0 && storages[i - 1] == storages[i];
        bool as_behind = i + 1 < n_views && storages[i + 1] == storages[i];
        n_shared += as_before || as_behind ? 1 : 0;
    }
    free(storages);
    if (n_shared > 0) {
        warnings_add(&remarks->notes, "%zu tensors are views of storages that they share", n_shared);
    }
    if (n_strided > 0) {
        warnings_add(&remarks->notes, "%zu tensor%s saved as %s with strides (transposed, sliced or expanded)",
                     n_strided, n_strided == 1 ? "" : "s", n_strided == 1 ? "a view" : "views");
    }
    return LLAVAMED_OK;
}

/* ---- All of it ---- */

static enum llavamed_status remark_all(struct remarks *remarks, struct llavamed_error *error)
{
    note_source(remarks);
    enum llavamed_status status = inspect_names(source_tensors(remarks->source), &remarks->notes, error);
    if (status == LLAVAMED_OK) {
        status = note_views(remarks, error);
    }
    if (status == LLAVAMED_OK) {
        status = remark_config(remarks, error);
    }
    if (status == LLAVAMED_OK) {
        note_dtypes(remarks);
        note_index(remarks);
        note_releases(remarks);
        status = warnings_status(&remarks->notes, error);
    }
    if (status == LLAVAMED_OK && remarks->failure.status != LLAVAMED_OK) {
        *error = remarks->failure;
        status = remarks->failure.status;
    }
    return status;
}

enum llavamed_status inspect_remark(const struct source *source, struct llavamed_inspect_result *result,
                                    struct llavamed_error *error)
{
    struct remarks remarks = {.source = source, .result = result, .failure = {.status = LLAVAMED_OK}};
    enum llavamed_status status = remark_all(&remarks, error);
    if (status == LLAVAMED_OK) {
        result->notes = remarks.notes.texts;
        result->n_notes = remarks.notes.n_texts;
        remarks.notes = (struct warnings){0};
    }
    warnings_deinit(&remarks.notes);
    return status;
}
