/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of plain weights files: of a directory, alone, or stored in an archive. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "source/archive.h"
#include "source/sample.h"
#include "source/source_parts.h"

/* ---- The layout of plain weights files ---- */

static enum llavamed_status plain_read(void *state, const struct source_run *run, void *buffer,
                                       struct source_notes *notes, struct llavamed_error *error)
{
    return weights_read(state, run, buffer, notes, error);
}

static void plain_note(void *state, const struct source_notes *notes)
{
    weights_note(state, notes);
}

static uint64_t plain_grain(const void *state, size_t index)
{
    return weights_grain(state, index);
}

static bool plain_place(const void *state, size_t index, struct source_place *place)
{
    return weights_place(state, index, place);
}

static enum llavamed_status plain_finish(void *state, void *scratch, size_t scratch_bytes, struct llavamed_error *error)
{
    return weights_finish(state, scratch, scratch_bytes, error);
}

static void plain_take_share(void *state, const bool *tensors, const bool *files)
{
    struct weights *weights = state;
    weights_take_files(weights, files);
    /* A record that tensors share is taken when one of them is. */
    for (int takes = 0; takes <= 1; takes++) {
        for (size_t i = 0; i < weights->set->n_tensors; i++) {
            if (tensors[i] >= (takes != 0)) {
                weights_take_record(weights, i, takes != 0);
            }
        }
    }
}

static enum llavamed_status plain_sample(const void *state, size_t i, struct sha256_stream *sha256,
                                         struct llavamed_error *error)
{
    return sample_feed_weights(state, i, sha256, error);
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
    .note = plain_note,
    .grain = plain_grain,
    .place = plain_place,
    .file_of = weights_file_of,
    .take_share = plain_take_share,
    .finish = plain_finish,
    .sample = plain_sample,
    .bytes_read = plain_bytes_read,
    .close = plain_close,
};

/* ---- Opening ---- */

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
    file->modified_ns = input_file_modified_ns(added->file);
    if (weights->check_crc && added->n_without_crc > 0) {
        return source_remark(source, true, error, "%s: %s: %zu of %zu records carry no CRC-32 and cannot be checked",
                             source->role, name, added->n_without_crc, added->n_records);
    }
    return LLAVAMED_OK;
}

/* Makes the state of the layout of plain files. */
static enum llavamed_status begin_plain(struct source *source, struct weights **out, struct llavamed_error *error)
{
    struct weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL) {
        return llavamed_fail_memory(error, sizeof *weights, "a source");
    }
    enum llavamed_status status = weights_init(weights, &source->set, source->check_crc, error);
    if (status != LLAVAMED_OK) {
        free(weights);
        return status;
    }
    weights->stop_signal = source->stop_signal;
    source->layout = &plain_layout;
    source->state = weights;
    *out = weights;
    return LLAVAMED_OK;
}

enum llavamed_status plain_open(struct source *source, const char *directory, const char *const *names, size_t n,
                                struct llavamed_error *error)
{
    struct weights *weights = NULL;
    enum llavamed_status status = source_reserve_files(source, n, error);
    if (status == LLAVAMED_OK) {
        status = begin_plain(source, &weights, error);
    }
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

enum llavamed_status plain_open_stored(struct source *source, const char *const *names, size_t n,
                                       struct llavamed_error *error)
{
    struct weights *weights = NULL;
    enum llavamed_status status = begin_plain(source, &weights, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        struct input_file *file = NULL;
        status = archive_open_stored(source->archive, names[i], &file, error);
        if (status == LLAVAMED_OK) {
            status = weights_add_open(weights, file, &archive_entry(source->archive, names[i])->crc32, error);
        }
        if (status == LLAVAMED_OK && weights->files[i].n_without_crc > 0 && source->check_crc) {
            status = source_remark(source, true, error,
                                   "%s: %s: %zu of %zu records carry no CRC-32 and cannot be checked", source->role,
                                   names[i], weights->files[i].n_without_crc, weights->files[i].n_records);
        }
    }
    if (status == LLAVAMED_OK) {
        source->format = weights_format_name(weights->files[0].format);
    }
    return status;
}
