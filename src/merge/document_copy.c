/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/document_copy.h"

#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "io/input_file.h"

#define COPY_BYTES ((size_t)256 << 10)

void document_copy_deinit(struct document_copy *copy)
{
    free(copy->target);
    *copy = (struct document_copy){0};
}

/* ---- While planning ---- */

static enum llavamed_status look_in_archive(struct document_copy *copy, uint64_t max_bytes,
                                            struct llavamed_error *error)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = source_small_file_read(copy->file, max_bytes, &bytes, &n_bytes, error);
    free(bytes);
    copy->n_bytes = n_bytes;
    return status;
}

static enum llavamed_status look_on_disk(struct document_copy *copy, struct llavamed_error *error)
{
    struct input_file *opened = NULL;
    enum llavamed_status status = input_file_open(copy->file->path, &opened, error);
    if (status == LLAVAMED_OK) {
        status = input_identity_check_file(&copy->file->seen, opened, error);
    }
    if (status == LLAVAMED_OK) {
        copy->n_bytes = input_file_bytes(opened);
        copy->seen = input_identity_of_file(opened);
    }
    input_file_close(opened);
    return status;
}

enum llavamed_status document_copy_look(const struct source_small_file *file, const char *target, uint64_t max_bytes,
                                        struct document_copy *copy, struct llavamed_error *error)
{
    *copy = (struct document_copy){.file = file, .target = strdup(target)};
    if (copy->target == NULL) {
        return llavamed_fail_memory(error, strlen(target), "a path");
    }
    enum llavamed_status status =
        file->archive != NULL ? look_in_archive(copy, max_bytes, error) : look_on_disk(copy, error);
    if (status == LLAVAMED_OK && copy->n_bytes > max_bytes) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                               "%s: too large for a file beside the weights (got %llu bytes, want at most %llu)",
                               file->path, (unsigned long long)copy->n_bytes, (unsigned long long)max_bytes);
    }
    return status;
}

enum llavamed_status document_copy_check(const struct document_copy *copy, struct llavamed_error *error)
{
    return input_identity_check(&copy->seen, copy->file->path, error);
}

/* ---- At the end ---- */

/* In pieces: a tokenizer of tens of megabytes must not count against the memory that was promised. */
static enum llavamed_status copy_bytes(struct input_file *input, const struct document_place *place,
                                       struct document_file *document, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    uint64_t n_bytes = input_file_bytes(input);
    char *piece = malloc(COPY_BYTES);
    if (piece == NULL) {
        return llavamed_fail_memory(error, COPY_BYTES, "copying a file");
    }
    for (uint64_t pos = 0; pos < n_bytes && status == LLAVAMED_OK; pos += COPY_BYTES) {
        size_t n = n_bytes - pos < COPY_BYTES ? (size_t)(n_bytes - pos) : COPY_BYTES;
        status = stop_signal_check(place->stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = input_file_read(input, pos, piece, n, error);
        }
        if (status == LLAVAMED_OK) {
            status = document_write(document, piece, n, error);
        }
    }
    free(piece);
    return status;
}

static enum llavamed_status copy_from_disk(const struct document_copy *copy, const struct document_place *place,
                                           struct document_file *document, struct llavamed_error *error)
{
    struct input_file *input = NULL;
    enum llavamed_status status = document_copy_check(copy, error); /* one that is gone has changed, too */
    if (status == LLAVAMED_OK) {
        status = input_file_open(copy->file->path, &input, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_identity_check_file(&copy->seen, input, error);
    }
    if (status == LLAVAMED_OK) {
        status = copy_bytes(input, place, document, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_file_check_unchanged(input, error);
    }
    input_file_close(input);
    return status;
}

/* A member of an archive comes all at once. */
static enum llavamed_status copy_from_archive(const struct document_copy *copy, struct document_file *document,
                                              struct llavamed_error *error)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = source_small_file_read(copy->file, (size_t)copy->n_bytes, &bytes, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = document_write(document, bytes, n_bytes, error);
    }
    free(bytes);
    return status;
}

enum llavamed_status document_copy_make(const struct document_copy *copy, const struct document_place *place,
                                        struct document_list *list, struct llavamed_error *error)
{
    struct document_file *document = NULL;
    enum llavamed_status status = document_create(place, copy->target, &document, error);
    if (status == LLAVAMED_OK) {
        status = copy->file->archive != NULL ? copy_from_archive(copy, document, error)
                                             : copy_from_disk(copy, place, document, error);
    }
    if (status == LLAVAMED_OK) {
        status = document_finish(document, DOCUMENT_COPIED, list, error);
        document = NULL;
    }
    document_close(document);
    return status;
}
