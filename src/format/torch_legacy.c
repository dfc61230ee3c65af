/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing tells where a pickle ends but reading it, and behind the last one may lie 13 GB. So the front of the file is
 * read in steps, each four times as large as the one before, and the pickle that did not end in it is begun anew: that
 * costs a third more than knowing the size.
 */
#include "format/torch_legacy.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"

/* PROTO 2, LONG1 of ten bytes, STOP; then PROTO 2, BININT2 1001, STOP. Every version of Python pickles them so. */
static const uint8_t front[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a,
                                0xa8, 0x50, 0x19, 0x2e, 0x80, 0x02, 0x4d, 0xe9, 0x03, 0x2e};

#define FRONT_BYTES_FIRST 65536
#define FRONT_BYTES_FACTOR 4
#define COUNT_BYTES 8

struct legacy_reader {
    struct input_file *file;
    const char *path; /* borrowed from file */
    uint8_t *bytes;   /* owned: the first n_bytes of the file */
    size_t n_bytes;
    size_t position; /* where the next pickle begins; at last where the storages do */
    size_t *order;   /* owned: storages in the order of the file */
    struct torch_file made;
};

bool torch_legacy_looks_like(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= TORCH_LEGACY_MAGIC_BYTES && memcmp(bytes, front, TORCH_LEGACY_MAGIC_BYTES) == 0;
}

/* Reads more of the file's front. `status` is why; it stays when there is no more to read. */
static enum llavamed_status read_more(struct legacy_reader *reader, enum llavamed_status status,
                                      struct llavamed_error *error)
{
    uint64_t file_bytes = input_file_bytes(reader->file);
    if (reader->n_bytes == file_bytes) {
        return status;
    }
    if (reader->n_bytes >= PICKLE_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: its pickles are too large (they do not end in the first %d bytes)", reader->path,
                             PICKLE_BYTES_MAX);
    }
    uint64_t want = reader->n_bytes == 0 ? FRONT_BYTES_FIRST : (uint64_t)reader->n_bytes * FRONT_BYTES_FACTOR;
    size_t n_bytes = (size_t)min_u64(min_u64(want, PICKLE_BYTES_MAX), file_bytes);
    uint8_t *bytes = realloc(reader->bytes, n_bytes + 1);
    if (bytes == NULL) {
        return llavamed_fail_memory(error, n_bytes + 1, "the pickles of a PyTorch checkpoint");
    }
    reader->bytes = bytes;
    status = input_file_read(reader->file, reader->n_bytes, bytes + reader->n_bytes, n_bytes - reader->n_bytes, error);
    if (status == LLAVAMED_OK) {
        reader->n_bytes = n_bytes;
    }
    return status;
}

static enum llavamed_status check_front(struct legacy_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = read_more(reader, LLAVAMED_OK, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (!torch_legacy_looks_like(reader->bytes, reader->n_bytes)) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                             "%s: not a PyTorch checkpoint: it does not begin with the magic number", reader->path);
    }
    if (reader->n_bytes < sizeof front) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED, "%s: the file ends inside its version",
                             reader->path);
    }
    if (memcmp(reader->bytes, front, sizeof front) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                             "%s: unknown version of the legacy file format (want 1001)", reader->path);
    }
    reader->position = sizeof front;
    return LLAVAMED_OK;
}

/* ---- Pickles ---- */

typedef enum llavamed_status read_pickle(struct legacy_reader *reader, const struct pickle_span *span, size_t *used,
                                         struct llavamed_error *error);

static enum llavamed_status read_system(struct legacy_reader *reader, const struct pickle_span *span, size_t *used,
                                        struct llavamed_error *error)
{
    (void)reader;
    return pickle_read_legacy_system(span, used, error);
}

static enum llavamed_status read_dict(struct legacy_reader *reader, const struct pickle_span *span, size_t *used,
                                      struct llavamed_error *error)
{
    return pickle_read_legacy_dict(span, &reader->made.dict, used, error);
}

static enum llavamed_status read_keys(struct legacy_reader *reader, const struct pickle_span *span, size_t *used,
                                      struct llavamed_error *error)
{
    return pickle_read_legacy_keys(span, &reader->made.dict, reader->order, used, error);
}

/* Reads the next pickle, with as much of the file as that takes. */
static enum llavamed_status next_pickle(struct legacy_reader *reader, read_pickle *read, struct llavamed_error *error)
{
    for (;;) {
        struct pickle_span span = {reader->path, reader->bytes + reader->position, reader->n_bytes - reader->position};
        struct llavamed_error failed = {0}; /* of no concern when it worked in the end */
        size_t used = 0;
        enum llavamed_status status = read(reader, &span, &used, &failed);
        if (status == LLAVAMED_OK) {
            reader->position += used;
            return LLAVAMED_OK;
        }
        size_t had = reader->n_bytes;
        if (status == LLAVAMED_STATUS_INPUT_TRUNCATED) {
            status = read_more(reader, status, &failed);
        }
        if (status != LLAVAMED_OK || reader->n_bytes == had) {
            if (error != NULL) {
                *error = failed;
            }
            return status;
        }
    }
}

static enum llavamed_status read_pickles(struct legacy_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = next_pickle(reader, read_system, error);
    if (status == LLAVAMED_OK) {
        status = next_pickle(reader, read_dict, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    size_t n = reader->made.dict.n_storages;
    reader->order = calloc(n + 1, sizeof *reader->order);
    reader->made.records = calloc(n + 1, sizeof *reader->made.records);
    if (reader->order == NULL || reader->made.records == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *reader->made.records,
                                    "the storages of a PyTorch checkpoint");
    }
    return next_pickle(reader, read_keys, error);
}

/* ---- Storages ---- */

static enum llavamed_status fail_short(const struct legacy_reader *reader, const struct pickle_storage *storage,
                                       struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                         "%s: the file ends inside storage %s (it has %llu bytes, the storage %llu elements of %s)",
                         reader->path, storage->key, (unsigned long long)input_file_bytes(reader->file),
                         (unsigned long long)storage->n_elems, dtype_name(storage->dtype));
}

/* The storage whose number of elements stands at *offset; moves *offset behind it. */
static enum llavamed_status find_storage(struct legacy_reader *reader, const struct pickle_storage *storage,
                                         uint64_t *offset, struct torch_record *record, struct llavamed_error *error)
{
    uint8_t count[COUNT_BYTES];
    uint64_t file_bytes = input_file_bytes(reader->file);
    uint64_t n_bytes = 0;
    if (file_bytes - *offset < COUNT_BYTES) {
        return fail_short(reader, storage, error);
    }
    enum llavamed_status status = input_file_read(reader->file, *offset, count, sizeof count, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (load_le64(count) != storage->n_elems) {
        return llavamed_fail(
            error, LLAVAMED_STATUS_TORCH_STORAGE,
            "%s: storage %s does not have the size that its pickle says (got %lld elements, want %llu)", reader->path,
            storage->key, (long long)load_le64(count), (unsigned long long)storage->n_elems);
    }
    *offset += COUNT_BYTES;
    if (!checked_mul_u64(storage->n_elems, dtype_bytes(storage->dtype), &n_bytes) || n_bytes > file_bytes - *offset) {
        return fail_short(reader, storage, error);
    }
    *record = (struct torch_record){.file_offset = *offset, .n_bytes = n_bytes};
    *offset += n_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status find_storages(struct legacy_reader *reader, struct llavamed_error *error)
{
    uint64_t offset = reader->position;
    uint64_t file_bytes = input_file_bytes(reader->file);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < reader->made.dict.n_storages && status == LLAVAMED_OK; i++) {
        size_t at = reader->order[i];
        status = find_storage(reader, &reader->made.dict.storages[at], &offset, &reader->made.records[at], error);
    }
    if (status == LLAVAMED_OK && offset != file_bytes) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRAILING,
                               "%s: bytes follow the last storage (got %llu bytes, want %llu)", reader->path,
                               (unsigned long long)file_bytes, (unsigned long long)offset);
    }
    return status;
}

enum llavamed_status torch_legacy_read(struct input_file *file, struct torch_file *out, struct llavamed_error *error)
{
    struct legacy_reader reader = {.file = file, .path = input_file_path(file)};
    enum llavamed_status status = check_front(&reader, error);
    if (status == LLAVAMED_OK) {
        status = read_pickles(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = find_storages(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        *out = reader.made;
        memset(&reader.made, 0, sizeof reader.made);
    }
    torch_file_deinit(&reader.made);
    free(reader.order);
    free(reader.bytes);
    return status;
}
