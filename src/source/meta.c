/* SPDX-License-Identifier: Apache-2.0 */
#include "source/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/meta_parts.h"
#include "source/sample.h"

#define SHARD_NAME_BYTES 48

/* ---- The layout ---- */

static enum llavamed_status meta_finish(void *state, void *scratch, size_t scratch_bytes, struct llavamed_error *error)
{
    struct meta *meta = state;
    enum llavamed_status status = input_file_check_unchanged(meta->params_file, error);
    if (status == LLAVAMED_OK) {
        status = weights_finish(&meta->weights, scratch, scratch_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = meta_check_shards(meta, error);
    }
    /* Its hashes are of files opened anew, by their names: they have to be the files that were merged. */
    if (status == LLAVAMED_OK && meta->md5 != NULL) {
        status = weights_check_unchanged(&meta->weights, error);
    }
    return status;
}

static void meta_take_share(void *state, const bool *tensors, const bool *files)
{
    struct meta *meta = state;
    size_t n_tensors = meta_tensor_count(&meta->params);
    weights_take_files(&meta->weights, files);
    for (int takes = 0; takes <= 1; takes++) {
        for (size_t i = 0; i < n_tensors; i++) {
            for (size_t k = 0; tensors[i] >= (takes != 0) && k < meta->n_shards; k++) {
                weights_take_record(&meta->weights, meta->tensors[i].parts[k], takes != 0);
            }
        }
    }
    for (size_t i = 0; meta->md5 != NULL && i < meta->n_shards; i++) {
        if (!files[i]) {
            meta->md5[i][0] = '\0';
        }
    }
}

static enum llavamed_status meta_sample(const void *state, size_t i, struct sha256_stream *sha256,
                                        struct llavamed_error *error)
{
    const struct meta *meta = state;
    return sample_feed_weights(&meta->weights, i, sha256, error);
}

static uint64_t meta_bytes_read(const void *state)
{
    const struct meta *meta = state;
    return atomic_load_explicit(&meta->weights.bytes_read, memory_order_relaxed);
}

static void meta_close(void *state)
{
    struct meta *meta = state;
    if (meta->weights_ready) {
        weights_deinit(&meta->weights);
    }
    input_file_close(meta->params_file);
    tensor_set_deinit(&meta->pieces);
    free(meta->tensors);
    free(meta->md5);
    free(meta->directory);
    free(meta);
}

static const struct source_layout meta_layout = {
    .read = meta_read,
    .note = meta_note,
    .grain = meta_grain,
    .take_share = meta_take_share,
    .finish = meta_finish,
    .sample = meta_sample,
    .bytes_read = meta_bytes_read,
    .close = meta_close,
};

/* ---- Which folder, which files ---- */

static void shard_name(size_t shard, char name[SHARD_NAME_BYTES])
{
    (void)snprintf(name, SHARD_NAME_BYTES, "consolidated.%02zu.pth", shard);
}

/* One more than the highest number of a shard in the listing, 0 without any. */
static size_t count_shards(const struct directory_listing *listing)
{
    for (size_t n = META_SHARDS_MAX; n > 0; n--) {
        char name[SHARD_NAME_BYTES];
        shard_name(n - 1, name);
        if (directory_listing_holds(listing, name)) {
            return n;
        }
    }
    return 0;
}

static enum llavamed_status fail_no_shards(const struct source *source, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING,
                      "%s: no shards of Meta's original release in it (wanted for the %s)", source->spec, source->role);
    llavamed_hint(error, "give the directory that holds consolidated.00.pth and params.json");
    return status;
}

static enum llavamed_status fail_several(const struct source *source, const char *names, const char *last,
                                         struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: holds several sizes of the model (got %s, want one)",
                      source->spec, names);
    llavamed_hint(error, "give the folder of the delta's size, such as %s/%s", source->spec, last);
    return status;
}

/* The folder of the only size below the source, and what it holds. */
static enum llavamed_status find_size(struct source *source, const struct directory_listing *listing, char **directory,
                                      struct directory_listing *own, struct llavamed_error *error)
{
    static const char *const sizes[] = {"7B", "13B", "30B", "65B"};
    char names[32] = "";
    const char *last = NULL;
    size_t n_found = 0;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < sizeof sizes / sizeof sizes[0]; i++) {
        if (!directory_listing_holds(listing, sizes[i])) {
            continue;
        }
        struct directory_listing found = {0};
        enum path_kind kind = PATH_MISSING;
        char *path = path_join(source->spec, sizes[i]);
        status = path == NULL ? llavamed_fail_memory(error, strlen(source->spec), "a path")
                              : path_kind_of(path, &kind, error);
        if (status == LLAVAMED_OK && kind == PATH_DIRECTORY) {
            status = directory_list(path, &found, error);
        }
        if (status == LLAVAMED_OK && count_shards(&found) > 0) {
            size_t used = strlen(names);
            (void)snprintf(names + used, sizeof names - used, "%s%s", n_found == 0 ? "" : ", ", sizes[i]);
            last = sizes[i];
            n_found++;
        }
        if (status == LLAVAMED_OK && count_shards(&found) > 0 && n_found == 1) {
            *directory = path;
            *own = found;
        } else {
            directory_listing_deinit(&found);
            free(path);
        }
    }
    if (status == LLAVAMED_OK && n_found != 1) {
        status = n_found == 0 ? fail_no_shards(source, error) : fail_several(source, names, last, error);
    }
    return status;
}

static enum llavamed_status fail_missing_file(const struct meta *meta, const char *name, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: %s is missing", meta->directory, name);
    llavamed_hint(error, "complete the download of %s", meta->directory);
    return status;
}

/* Every file up to the last, and a number of them that cuts every tensor into equal parts of whole heads. */
static enum llavamed_status check_files(struct meta *meta, const struct directory_listing *listing,
                                        struct llavamed_error *error)
{
    meta->n_shards = count_shards(listing);
    for (size_t i = 0; i < meta->n_shards; i++) {
        char name[SHARD_NAME_BYTES];
        shard_name(i, name);
        if (!directory_listing_holds(listing, name)) {
            return fail_missing_file(meta, name, error);
        }
    }
    if (!directory_listing_holds(listing, "params.json")) {
        return fail_missing_file(meta, "params.json", error);
    }
    char *path = path_join(meta->directory, "params.json");
    enum llavamed_status status = path == NULL ? llavamed_fail_memory(error, strlen(meta->directory), "a path")
                                               : input_file_open(path, &meta->params_file, error);
    free(path);
    if (status == LLAVAMED_OK) {
        status = meta_params_read(meta->params_file, &meta->params, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    size_t n = meta->n_shards;
    if (meta->params.n_heads % n != 0 || meta->params.ffn % n != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: %zu shards cannot share %llu heads and a feed-forward width of %llu", meta->directory,
                             n, (unsigned long long)meta->params.n_heads, (unsigned long long)meta->params.ffn);
    }
    return LLAVAMED_OK;
}

/* ---- Tensors ---- */

static const char *path_of_shard(const struct meta *meta, size_t shard)
{
    return input_file_path(meta->weights.files[shard].file);
}

/* Sorts the pieces of all shards by tensor. */
static enum llavamed_status map_pieces(struct meta *meta, struct llavamed_error *error)
{
    size_t n_tensors = meta_tensor_count(&meta->params);
    meta->tensors = calloc(n_tensors, sizeof *meta->tensors);
    if (meta->tensors == NULL) {
        return llavamed_fail_memory(error, n_tensors * sizeof *meta->tensors, "the tensors of a model");
    }
    for (size_t i = 0; i < n_tensors; i++) {
        for (size_t shard = 0; shard < meta->n_shards; shard++) {
            meta->tensors[i].parts[shard] = TENSOR_NOT_FOUND;
        }
    }
    for (size_t i = 0; i < meta->pieces.n_tensors; i++) {
        const char *name = meta->pieces.tensors[i].name;
        size_t shard = meta->weights.spans[i].file;
        size_t index = meta_find_name(&meta->params, name);
        if (index == META_NAME_UNKNOWN) {
            return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                                 "%s: tensor %.200s is not one of a LLaMA of %llu layers", path_of_shard(meta, shard),
                                 name, (unsigned long long)meta->params.n_layers);
        }
        if (index != META_NAME_DROPPED) {
            meta->tensors[index].parts[shard] = i;
        }
    }
    return LLAVAMED_OK;
}

static struct tensor describe_part(const struct meta_shape *shape, uint64_t n_shards)
{
    uint64_t n_rows = shape->join == META_JOIN_ROWS ? shape->n_rows / n_shards : shape->n_rows;
    uint64_t n_columns = shape->join == META_JOIN_COLUMNS ? shape->n_columns / n_shards : shape->n_columns;
    return (struct tensor){.rank = n_columns == 0 ? 1 : 2, .shape = {n_rows, n_columns}};
}

/* A part that would be right in a larger set of shards: the last of them are missing. */
static bool fits_more_shards(const struct meta_shape *shape, const struct tensor *part, size_t n_shards, uint64_t *n)
{
    if (part->rank != 2 || shape->join == META_REPLICATED || part->n_elems == 0) {
        return false;
    }
    *n = shape->join == META_JOIN_ROWS ? shape->n_rows / part->shape[0] : shape->n_columns / part->shape[1];
    struct tensor want = describe_part(shape, *n == 0 ? 1 : *n);
    return *n > n_shards && tensor_same_shape(&want, part);
}

static enum llavamed_status check_part(const struct meta *meta, const struct meta_tensor *tensor, size_t shard,
                                       struct llavamed_error *error)
{
    const struct tensor *first = &meta->pieces.tensors[tensor->parts[0]];
    const struct tensor *part = &meta->pieces.tensors[tensor->parts[shard]];
    struct tensor want = describe_part(&tensor->shape, meta->n_shards);
    uint64_t n_wanted = 0;
    if (shard == 0 && fits_more_shards(&tensor->shape, part, meta->n_shards, &n_wanted)) {
        enum llavamed_status status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: shards are missing (got %zu, want %llu)",
                          meta->directory, meta->n_shards, (unsigned long long)n_wanted);
        llavamed_hint(error, "complete the download of %s", meta->directory);
        return status;
    }
    if (!tensor_same_shape(&want, part)) {
        char got_text[TENSOR_SHAPE_TEXT_BYTES];
        char want_text[TENSOR_SHAPE_TEXT_BYTES];
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: %.200s has not the shape that params.json tells (got %s, want %s)",
                             path_of_shard(meta, shard), part->name, tensor_shape_text(part, got_text),
                             tensor_shape_text(&want, want_text));
    }
    if (dtype_bytes(part->dtype) == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: %.200s has a dtype of less than a byte (got %s)",
                             path_of_shard(meta, shard), part->name, dtype_name(part->dtype));
    }
    if (part->dtype != first->dtype) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: %.200s has another dtype than in the first shard (got %s, want %s)",
                             path_of_shard(meta, shard), part->name, dtype_name(part->dtype), dtype_name(first->dtype));
    }
    return LLAVAMED_OK;
}

/* The vocabulary is told by the embeddings, of which every shard holds all rows, and may be by params.json. */
static enum llavamed_status find_vocabulary(const struct meta *meta, uint64_t *vocab, struct llavamed_error *error)
{
    size_t part = meta->tensors[0].parts[0];
    const struct tensor *embeddings = part == TENSOR_NOT_FOUND ? NULL : &meta->pieces.tensors[part];
    uint64_t n_rows = embeddings == NULL || embeddings->rank != 2 ? 0 : embeddings->shape[0];
    if (embeddings == NULL) {
        return LLAVAMED_OK; /* told as missing later */
    }
    bool known = meta->params.vocab == 0 || meta->params.vocab == n_rows;
    if (n_rows == 0 || n_rows > META_DIM_MAX || n_rows % meta->n_shards != 0 || !known) {
        char text[TENSOR_SHAPE_TEXT_BYTES];
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: %s has the wrong number of rows for %zu shards and params.json (got %s)",
                             path_of_shard(meta, 0), embeddings->name, meta->n_shards,
                             tensor_shape_text(embeddings, text));
    }
    *vocab = n_rows;
    return LLAVAMED_OK;
}

static enum llavamed_status add_tensor(struct source *source, struct meta *meta, size_t index,
                                       struct llavamed_error *error)
{
    struct meta_tensor *tensor = &meta->tensors[index];
    char name[META_NAME_BYTES];
    for (size_t shard = 0; shard < meta->n_shards; shard++) {
        if (tensor->parts[shard] == TENSOR_NOT_FOUND) {
            meta_own_name(&meta->params, index, name);
            return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: tensor %s is missing",
                                 path_of_shard(meta, shard), name);
        }
        enum llavamed_status status = check_part(meta, tensor, shard, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    meta_hf_name(&meta->params, index, name);
    const uint64_t shape[2] = {tensor->shape.n_rows, tensor->shape.n_columns};
    struct tensor whole = {0};
    enum llavamed_status status =
        tensor_init(&whole, meta->directory, name, strlen(name), meta->pieces.tensors[tensor->parts[0]].dtype, shape,
                    tensor->shape.n_columns == 0 ? 1 : 2, error);
    if (status == LLAVAMED_OK) {
        status = tensor_set_add(&source->set, &whole, error);
    }
    tensor_deinit(&whole);
    return status;
}

static enum llavamed_status add_tensors(struct source *source, struct meta *meta, struct llavamed_error *error)
{
    uint64_t vocab = 0;
    enum llavamed_status status = map_pieces(meta, error);
    if (status == LLAVAMED_OK) {
        status = find_vocabulary(meta, &vocab, error);
    }
    size_t n_tensors = meta_tensor_count(&meta->params);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_tensors; i++) {
        meta->tensors[i].shape = meta_tensor_shape(&meta->params, i, vocab);
        status = add_tensor(source, meta, i, error);
    }
    return status;
}

/* ---- Opening ---- */

static enum llavamed_status open_shards(struct source *source, struct meta *meta, struct llavamed_error *error)
{
    enum llavamed_status status = source_reserve_files(source, meta->n_shards, error);
    if (status == LLAVAMED_OK) {
        status = weights_init(&meta->weights, &meta->pieces, source->check_crc, error);
        meta->weights.stop_signal = source->stop_signal;
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    meta->weights_ready = true;
    for (size_t i = 0; status == LLAVAMED_OK && i < meta->n_shards; i++) {
        char name[SHARD_NAME_BYTES];
        shard_name(i, name);
        char *path = path_join(meta->directory, name);
        status = path == NULL ? llavamed_fail_memory(error, strlen(meta->directory), "a path")
                              : source_add_file(source, &meta->weights, path, error);
        free(path);
        if (status == LLAVAMED_OK && meta->md5 != NULL) {
            memcpy(source->files[i].recorded.md5, meta->md5[i], MD5_HEX_BYTES);
        }
    }
    return status;
}

static enum llavamed_status check_recorded(const struct source *source, struct meta *meta, struct llavamed_error *error)
{
    enum llavamed_status status = meta_read_checklist(meta, error);
    if (status == LLAVAMED_OK) {
        status = meta_check_tokenizer(source->spec, error);
    }
    if (status == LLAVAMED_OK && strcmp(source->spec, meta->directory) != 0) {
        status = meta_check_tokenizer(meta->directory, error);
    }
    return status;
}

static enum llavamed_status open_folder(struct source *source, struct meta *meta,
                                        const struct directory_listing *listing, struct llavamed_error *error)
{
    enum llavamed_status status = check_files(meta, listing, error);
    source->n_heads = meta->params.n_heads;
    if (status == LLAVAMED_OK && source->check_md5) {
        status = check_recorded(source, meta, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_shards(source, meta, error);
    }
    if (status == LLAVAMED_OK) {
        status = add_tensors(source, meta, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_find_small_files(source, meta->directory, listing, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_remark(source, false, error, "%s: Meta's original layout in %zu shard%s", meta->directory,
                               meta->n_shards, meta->n_shards == 1 ? "" : "s");
    }
    return status;
}

enum llavamed_status meta_open(struct source *source, const struct directory_listing *listing,
                               struct llavamed_error *error)
{
    struct meta *meta = calloc(1, sizeof *meta);
    if (meta == NULL) {
        return llavamed_fail_memory(error, sizeof *meta, "a source");
    }
    tensor_set_init(&meta->pieces);
    meta->stop_signal = source->stop_signal;
    meta->observer = source->observer;
    source->layout = &meta_layout;
    source->state = meta;
    source->format = "meta";
    struct directory_listing own = {0};
    enum llavamed_status status = LLAVAMED_OK;
    if (count_shards(listing) > 0) {
        meta->directory = path_join(source->spec, NULL);
        status = meta->directory == NULL ? llavamed_fail_memory(error, strlen(source->spec), "a path") : LLAVAMED_OK;
    } else {
        status = find_size(source, listing, &meta->directory, &own, error);
    }
    if (status == LLAVAMED_OK && own.n_names > 0) {
        status = directory_check_links_in(source, meta->directory, &own, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_folder(source, meta, own.n_names > 0 ? &own : listing, error);
    }
    directory_listing_deinit(&own);
    return status;
}
