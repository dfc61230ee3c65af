/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "source/hub_cache.h"
#include "source/meta.h"
#include "source/source_parts.h"

/* ---- The layout of plain weights files ---- */

static enum llavamed_status plain_read(void *state, size_t index, uint64_t first_elem, uint64_t n_elems, void *buffer,
                                       struct llavamed_error *error)
{
    return weights_read(state, index, first_elem, n_elems, buffer, error);
}

static enum llavamed_status plain_peek(void *state, size_t index, uint64_t first_elem, uint64_t n_elems, void *buffer,
                                       struct llavamed_error *error)
{
    return weights_peek(state, index, first_elem, n_elems, buffer, error);
}

static enum llavamed_status plain_finish(void *state, void *scratch, size_t scratch_bytes, struct llavamed_error *error)
{
    return weights_finish(state, scratch, scratch_bytes, error);
}

static uint64_t plain_bytes_read(const void *state)
{
    const struct weights *weights = state;
    return atomic_load_explicit(&weights->bytes_read, memory_order_relaxed);
}

static void plain_close(void *state)
{
    weights_deinit(state);
    free(state);
}

static const struct source_layout plain_layout = {
    .read = plain_read,
    .peek = plain_peek,
    .finish = plain_finish,
    .bytes_read = plain_bytes_read,
    .close = plain_close,
};

/* ---- Opening ---- */

enum llavamed_status source_remark(struct source *source, bool is_warning, struct llavamed_error *error,
                                   const char *format, ...)
{
    struct source_remark *remarks = reallocarray(source->remarks, source->n_remarks + 1, sizeof *remarks);
    if (remarks == NULL) {
        return llavamed_fail_memory(error, (source->n_remarks + 1) * sizeof *remarks, "a remark");
    }
    source->remarks = remarks;
    char line[LLAVAMED_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    text_make_printable(line);
    char *text = strdup(line);
    if (text == NULL) {
        return llavamed_fail_memory(error, sizeof line, "a remark");
    }
    remarks[source->n_remarks++] = (struct source_remark){.is_warning = is_warning, .text = text};
    return LLAVAMED_OK;
}

enum llavamed_status source_reserve_files(struct source *source, size_t n, struct llavamed_error *error)
{
    assert(n > 0 && source->files == NULL);
    source->files = calloc(n, sizeof *source->files);
    source->file_paths = calloc(n, sizeof *source->file_paths);
    if (source->files == NULL || source->file_paths == NULL) {
        return llavamed_fail_memory(error, n * sizeof *source->files, "the list of files");
    }
    return LLAVAMED_OK;
}

enum llavamed_status source_add_file(struct source *source, struct weights *weights, const char *path,
                                     struct llavamed_error *error)
{
    char *path_copy = strdup(path);
    char *name = path_base_name(path);
    if (path_copy == NULL || name == NULL) {
        free(path_copy);
        free(name);
        return llavamed_fail_memory(error, strlen(path), "the name of a file");
    }
    source->file_paths[source->n_files] = path_copy;
    source->files[source->n_files] = (struct source_file){.name = name};
    struct source_file *file = &source->files[source->n_files++];
    enum llavamed_status status = weights_add_file(weights, path, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct weights_file *added = &weights->files[weights->n_files - 1];
    file->n_bytes = input_file_bytes(added->file);
    if (weights->check_crc && added->n_without_crc > 0) {
        return source_remark(source, true, error, "%s: %s: %zu of %zu records carry no CRC-32 and cannot be checked",
                             source->role, name, added->n_without_crc, added->n_records);
    }
    return LLAVAMED_OK;
}

/* Opens n weights files, at least one; names are relative to `directory`, or paths when that is NULL. */
static enum llavamed_status open_files(struct source *source, const char *directory, const char *const *names, size_t n,
                                       struct llavamed_error *error)
{
    struct weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL) {
        return llavamed_fail_memory(error, sizeof *weights, "a source");
    }
    enum llavamed_status status = source_reserve_files(source, n, error);
    if (status == LLAVAMED_OK) {
        status = weights_init(weights, &source->set, source->check_crc, error);
    }
    if (status != LLAVAMED_OK) {
        free(weights);
        return status;
    }
    weights->stop_signal = source->stop_signal;
    source->layout = &plain_layout;
    source->state = weights;
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        char *path = directory == NULL ? path_join(names[i], NULL) : path_join(directory, names[i]);
        status = path == NULL ? llavamed_fail_memory(error, strlen(names[i]), "a path")
                              : source_add_file(source, weights, path, error);
        free(path);
    }
    if (status == LLAVAMED_OK) {
        source->format = weights_format_name(weights->files[0].format);
    }
    return status;
}

static enum llavamed_status open_sharded(struct source *source, const struct directory_listing *listing,
                                         const char *index_name, struct llavamed_error *error)
{
    struct shard_index index = {0};
    char *index_path = path_join(source->spec, index_name);
    if (index_path == NULL) {
        return llavamed_fail_memory(error, strlen(index_name), "a path");
    }
    enum llavamed_status status = directory_read_index(source, listing, index_path, &index, error);
    if (status == LLAVAMED_OK) {
        status = open_files(source, source->spec, (const char *const *)index.files, index.n_files, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_check_index(index_path, &index, source->state, error);
    }
    shard_index_deinit(&index);
    free(index_path);
    return status;
}

static enum llavamed_status open_directory(struct source *source, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    struct directory_choice choice = {0};
    enum llavamed_status status = directory_list(source->spec, &listing, error);
    if (status == LLAVAMED_OK) {
        status = directory_check_links(source, &listing, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_choose(source, &listing, &choice, error);
    }
    if (status == LLAVAMED_OK && choice.is_meta) {
        status = meta_open(source, &listing, error);
    } else if (status == LLAVAMED_OK) {
        status = choice.index_name != NULL ? open_sharded(source, &listing, choice.index_name, error)
                                           : open_files(source, source->spec, &choice.file_name, 1, error);
        if (status == LLAVAMED_OK) {
            status = directory_find_small_files(source, source->spec, &listing, error);
        }
    }
    if (status == LLAVAMED_STATUS_INPUT_MISSING && source->repository != NULL) {
        hub_cache_hint(source->repository, error);
    }
    directory_listing_deinit(&listing);
    return status;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes > suffix_bytes && strcasecmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

static enum llavamed_status open_single(struct source *source, struct llavamed_error *error)
{
    const char *spec = source->spec;
    enum llavamed_status status = source_check_link(source, error);
    if (status == LLAVAMED_OK) {
        status = open_files(source, NULL, &spec, 1, error);
    }
    bool not_torch = status == LLAVAMED_STATUS_ZIP_COMPRESSED || status == LLAVAMED_STATUS_ZIP_INVALID ||
                     status == LLAVAMED_STATUS_ZIP_DISAGREES || status == LLAVAMED_STATUS_TORCH_INVALID;
    if (not_torch && has_suffix(spec, ".zip")) {
        status = llavamed_fail(error, LLAVAMED_STATUS_NOT_SUPPORTED_YET,
                               "%s: reading a checkpoint inside a zip archive is not supported yet", spec);
        llavamed_hint(error, "unpack it and give the directory");
    }
    return status;
}

/* Nothing is at `spec`: the hub cache may know the name. From then on the source is at the snapshot's path. */
static enum llavamed_status find_elsewhere(struct source *source, struct llavamed_error *error)
{
    if (!hub_cache_is_name(source->spec)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: no such file or directory (wanted for the %s)",
                             source->spec, source->role);
    }
    char *snapshot = NULL;
    enum llavamed_status status = hub_cache_find(source->spec, source->role, &snapshot, error);
    if (status == LLAVAMED_OK) {
        status = source_remark(source, false, error, "%s: %s found in the Hugging Face cache: %s", source->role,
                               source->spec, snapshot);
        free(source->spec);
        source->spec = snapshot;
    }
    return status;
}

static enum llavamed_status open_spec(struct source *source, struct llavamed_error *error)
{
    enum path_kind kind;
    enum llavamed_status status = path_kind_of(source->spec, &kind, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (kind == PATH_MISSING) {
        status = find_elsewhere(source, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        kind = PATH_DIRECTORY;
    }
    status = kind == PATH_DIRECTORY ? open_directory(source, error) : open_single(source, error);
    if (status == LLAVAMED_OK) {
        status = tensor_set_seal(&source->set, source->spec, error);
    }
    if (status == LLAVAMED_OK && source->set.n_tensors == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: the checkpoint holds no tensors",
                               source->spec);
    }
    if (status == LLAVAMED_OK && tensor_set_find(&source->set, "tok_embeddings.weight") != TENSOR_NOT_FOUND) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: weights of Meta's original release without their params.json", source->spec);
        llavamed_hint(error, "give the directory that holds consolidated.00.pth and params.json");
    }
    if (status == LLAVAMED_OK) {
        status = source_check_kind(source, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_find_recorded(source, error);
    }
    return status;
}

enum llavamed_status source_open(const char *spec, const struct source_options *options, struct source **out,
                                 struct llavamed_error *error)
{
    struct source *source = calloc(1, sizeof *source);
    char *spec_copy = strdup(spec);
    if (source == NULL || spec_copy == NULL) {
        free(source);
        free(spec_copy);
        return llavamed_fail_memory(error, sizeof *source + strlen(spec), "a source");
    }
    source->spec = spec_copy;
    source->role = options->role;
    source->check_crc = options->check_crc;
    source->stop_signal = options->stop_signal;
    source->observer = options->observer;
    tensor_set_init(&source->set);
    enum llavamed_status status = open_spec(source, error);
    if (status == LLAVAMED_OK) {
        *out = source;
    } else {
        source_close(source);
    }
    return status;
}

void source_close(struct source *source)
{
    if (source == NULL) {
        return;
    }
    if (source->layout != NULL) {
        source->layout->close(source->state);
    }
    for (size_t i = 0; i < source->n_files; i++) {
        free(source->files[i].name);
        free(source->file_paths[i]);
    }
    for (size_t i = 0; i < source->n_small_files; i++) {
        free(source->small_files[i].name);
        free(source->small_files[i].path);
    }
    for (size_t i = 0; i < source->n_remarks; i++) {
        free(source->remarks[i].text);
    }
    free(source->files);
    free(source->file_paths);
    free(source->small_files);
    free(source->remarks);
    free(source->spec);
    free(source->repository);
    tensor_set_deinit(&source->set);
    free(source);
}

/* ---- What it is ---- */

const struct tensor_set *source_tensors(const struct source *source)
{
    return &source->set;
}

const char *source_spec(const struct source *source)
{
    return source->spec;
}

const char *source_format(const struct source *source)
{
    return source->format;
}

size_t source_files(const struct source *source, const struct source_file **files)
{
    *files = source->files;
    return source->n_files;
}

const char *source_file_path(const struct source *source, size_t i)
{
    assert(i < source->n_files);
    return source->file_paths[i];
}

size_t source_small_files(const struct source *source, const struct source_small_file **files)
{
    *files = source->small_files;
    return source->n_small_files;
}

size_t source_remarks(const struct source *source, const struct source_remark **remarks)
{
    *remarks = source->remarks;
    return source->n_remarks;
}

/* ---- Elements ---- */

/* Ranges come from the plan, so a wrong one is a bug of this library and not of a file. */
static void assert_range(const struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems)
{
    assert(index < source->set.n_tensors);
    const struct tensor *tensor = &source->set.tensors[index];
    assert(dtype_bytes(tensor->dtype) > 0);
    assert(first_elem <= tensor->n_elems && n_elems <= tensor->n_elems - first_elem);
}

enum llavamed_status source_read(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error)
{
    assert_range(source, index, first_elem, n_elems);
    return source->layout->read(source->state, index, first_elem, n_elems, buffer, error);
}

enum llavamed_status source_peek(struct source *source, size_t index, uint64_t first_elem, uint64_t n_elems,
                                 void *buffer, struct llavamed_error *error)
{
    assert_range(source, index, first_elem, n_elems);
    const struct source_layout *layout = source->layout;
    return (layout->peek != NULL ? layout->peek : layout->read)(source->state, index, first_elem, n_elems, buffer,
                                                                error);
}

enum llavamed_status source_finish(struct source *source, void *scratch, size_t scratch_bytes,
                                   struct llavamed_error *error)
{
    return source->layout->finish(source->state, scratch, scratch_bytes, error);
}

uint64_t source_bytes_read(const struct source *source)
{
    return source->layout->bytes_read(source->state);
}
