/* SPDX-License-Identifier: Apache-2.0 */
#include "format/torch_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/torch.h"
#include "format/torch_stream_parts.h"
#include "integrity/crc32.h"

/* The largest of the small records that the final reading looks into. */
#define SMALL_RECORD_MAX 4096

void torch_stream_close(struct torch_stream *stream)
{
    if (stream != NULL) {
        pickle_state_dict_deinit(&stream->dict);
        buffer_deinit(&stream->kept);
        free(stream->storages);
        free(stream->runs);
        free(stream);
    }
}

const struct pickle_state_dict *torch_stream_dict(const struct torch_stream *stream)
{
    return &stream->dict;
}

/* ---- The pickle ---- */

static int compare_storages(const void *a, const void *b)
{
    return strcmp(((const struct streamed_storage *)a)->key, ((const struct streamed_storage *)b)->key);
}

static int compare_key(const void *key, const void *storage)
{
    return strcmp(key, ((const struct streamed_storage *)storage)->key);
}

static enum llavamed_status sort_storages(struct torch_stream *stream, struct llavamed_error *error)
{
    size_t n = stream->dict.n_storages;
    stream->storages = calloc(n + 1, sizeof *stream->storages);
    if (stream->storages == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *stream->storages, "the records of a PyTorch checkpoint");
    }
    for (size_t i = 0; i < n; i++) {
        stream->storages[i] = (struct streamed_storage){.key = stream->dict.storages[i].key, .index = i};
    }
    qsort(stream->storages, n, sizeof *stream->storages, compare_storages);
    return LLAVAMED_OK;
}

/* As the final reading would, but before sense is made of damaged bytes. */
static enum llavamed_status check_pickle_crc(const struct torch_stream *stream,
                                             const struct torch_stream_record *header, size_t at, size_t n_bytes,
                                             struct llavamed_error *error)
{
    const uint8_t *bytes = torch_stream_kept_at(stream, at);
    uint32_t want = header->has_descriptor ? load_le32(bytes + n_bytes + 4) : header->crc32;
    uint32_t got = crc32_update(0, bytes, n_bytes);
    if (!stream->check_crc || want == 0 || got == want) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                        "%s: record data.pkl is damaged (got CRC-32 %08x, want %08x)", stream->path, (unsigned)got,
                        (unsigned)want);
    return torch_stream_damaged(LLAVAMED_STATUS_CRC_MISMATCH, error);
}

static enum llavamed_status read_pickle(struct torch_stream *stream, struct llavamed_error *error)
{
    struct torch_stream_record header;
    size_t at;
    uint64_t n_bytes;
    enum llavamed_status status = torch_stream_keep(stream, 4, &at, error);
    if (status == LLAVAMED_OK && load_le32(torch_stream_kept_at(stream, at)) != TORCH_STREAM_LOCAL_SIGNATURE) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: no local header at 0", stream->path);
        status = torch_stream_damaged(LLAVAMED_STATUS_ZIP_INVALID, error);
    }
    if (status == LLAVAMED_OK) {
        status = torch_stream_read_header(stream, &header, error);
    }
    if (status == LLAVAMED_OK) {
        status = torch_stream_pass_record(stream, &header, ZIP_MEMBER_KEPT_BYTES_MAX, &at, &n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_pickle_crc(stream, &header, at, (size_t)n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = pickle_read_state_dict(stream->path, torch_stream_kept_at(stream, at), (size_t)n_bytes, &stream->dict,
                                        error);
    }
    return status == LLAVAMED_OK ? sort_storages(stream, error) : status;
}

enum llavamed_status torch_stream_open(struct zip_member *member, bool check_crc, struct torch_stream **out,
                                       struct llavamed_error *error)
{
    struct torch_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return llavamed_fail_memory(error, sizeof *stream, "a PyTorch checkpoint");
    }
    stream->member = member;
    stream->path = zip_member_name(member);
    stream->check_crc = check_crc;
    buffer_init(&stream->kept, TORCH_STREAM_KEPT_MAX);
    enum llavamed_status status = read_pickle(stream, error);
    if (status == LLAVAMED_OK) {
        *out = stream;
    } else {
        torch_stream_close(stream);
    }
    return status;
}

/* ---- The storages ---- */

/* Whether torch_file_read() reads what is in the record. */
static bool is_looked_into(const char *name)
{
    return strcmp(name, "version") == 0 || strcmp(name, ".data/version") == 0 || strcmp(name, "byteorder") == 0;
}

/* Starts the storage that a record holds, if it holds one. */
static enum llavamed_status begin_storage(struct torch_stream *stream, const struct torch_stream_record *header,
                                          struct llavamed_error *error)
{
    size_t prefix = strlen(TORCH_STREAM_STORAGE_FOLDER);
    if (strncmp(header->name, TORCH_STREAM_STORAGE_FOLDER, prefix) != 0 || stream->dict.n_storages == 0) {
        return LLAVAMED_OK;
    }
    struct streamed_storage *storage = bsearch(header->name + prefix, stream->storages, stream->dict.n_storages,
                                               sizeof *stream->storages, compare_key);
    if (storage == NULL) {
        return LLAVAMED_OK;
    }
    const struct pickle_storage *described = &stream->dict.storages[storage->index];
    char place[TORCH_STREAM_PLACE_BYTES];
    if (storage->seen) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DUPLICATE, "%s: zip: entry %s is there twice", stream->path,
                             header->name);
    }
    if (!checked_mul_u64(described->n_elems, dtype_bytes(described->dtype), &stream->left) ||
        stream->left > zip_member_bytes(stream->member) - torch_stream_position(stream)) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_TORCH_STORAGE,
                            "%s: %s does not hold its storage (the file ends before its %llu elements of %s)",
                            stream->path, torch_stream_place(stream, place), (unsigned long long)described->n_elems,
                            dtype_name(described->dtype));
        return torch_stream_damaged(LLAVAMED_STATUS_TORCH_STORAGE, error);
    }
    if (!header->has_descriptor && header->size_known && header->size != stream->left) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_TORCH_STORAGE,
                            "%s: %s does not hold its storage (got %llu bytes, want %llu elements of %s)", stream->path,
                            torch_stream_place(stream, place), (unsigned long long)header->size,
                            (unsigned long long)described->n_elems, dtype_name(described->dtype));
        return torch_stream_damaged(LLAVAMED_STATUS_TORCH_STORAGE, error);
    }
    storage->seen = true;
    storage->file_offset = torch_stream_position(stream);
    stream->current = storage;
    stream->current_has_descriptor = header->has_descriptor;
    return LLAVAMED_OK;
}

static enum llavamed_status end_storage(struct torch_stream *stream, struct llavamed_error *error)
{
    const struct streamed_storage *storage = stream->current;
    assert(stream->left == 0);
    stream->current = NULL;
    return stream->current_has_descriptor
               ? torch_stream_read_descriptor(stream, torch_stream_position(stream) - storage->file_offset, error)
               : LLAVAMED_OK;
}

enum llavamed_status torch_stream_read(struct torch_stream *stream, void *buffer, size_t n_bytes,
                                       struct llavamed_error *error)
{
    assert(stream->current != NULL && n_bytes <= stream->left);
    uint32_t crc32;
    enum llavamed_status status = torch_stream_take(stream, buffer, n_bytes, &crc32, error);
    if (status == LLAVAMED_OK) {
        stream->left -= n_bytes;
        stream->current->crc32 = crc32_join(stream->current->crc32, crc32, n_bytes);
    }
    return status;
}

/* ---- The end ---- */

static enum llavamed_status open_kept(const struct torch_stream *stream, struct input_file **file,
                                      struct llavamed_error *error)
{
    struct input_run *runs = calloc(stream->n_runs, sizeof *runs);
    if (runs == NULL) {
        return llavamed_fail_memory(error, stream->n_runs * sizeof *runs, "the headers of a PyTorch checkpoint");
    }
    for (size_t i = 0; i < stream->n_runs; i++) {
        const struct kept_run *run = &stream->runs[i];
        runs[i] = (struct input_run){run->file_offset, torch_stream_kept_at(stream, run->at), run->n_bytes};
    }
    enum llavamed_status status =
        input_file_open_memory(stream->path, zip_member_bytes(stream->member), runs, stream->n_runs, file, error);
    free(runs);
    return status;
}

/* The pickle is the same bytes, so its storages are the same ones in the same order. */
static enum llavamed_status compare_records(const struct torch_stream *stream, const struct torch_file *whole,
                                            struct llavamed_error *error)
{
    assert(whole->dict.n_storages == stream->dict.n_storages);
    for (size_t i = 0; i < stream->dict.n_storages; i++) {
        const struct streamed_storage *storage = &stream->storages[i];
        const struct torch_record *record = &whole->records[storage->index];
        if (!storage->seen || record->file_offset != storage->file_offset) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                                "%s: zip: record data/%s is not where the directory says it is", stream->path,
                                storage->key);
            return torch_stream_damaged(LLAVAMED_STATUS_ZIP_DISAGREES, error);
        }
        if (stream->check_crc && record->has_crc && record->crc32 != storage->crc32) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                                "%s: record data/%s is damaged: its CRC-32 differs (got %08x, want %08x)", stream->path,
                                storage->key, (unsigned)storage->crc32, (unsigned)record->crc32);
            return torch_stream_damaged(LLAVAMED_STATUS_CRC_MISMATCH, error);
        }
    }
    return LLAVAMED_OK;
}

/* Reads all that was kept again, as a whole file. */
static enum llavamed_status read_kept(struct torch_stream *stream, struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct torch_file whole = {0};
    enum llavamed_status status = open_kept(stream, &file, error);
    if (status == LLAVAMED_OK) {
        status = torch_file_read(file, stream->check_crc, &whole, error);
    }
    if (status == LLAVAMED_OK) {
        status = compare_records(stream, &whole, error);
    }
    torch_file_deinit(&whole);
    input_file_close(file);
    return status;
}

/* The signature of the directory's first entry is read: keeps the rest, and checks it all. */
static enum llavamed_status finish(struct torch_stream *stream, struct llavamed_error *error)
{
    uint64_t left = zip_member_bytes(stream->member) - torch_stream_position(stream);
    size_t at;
    enum llavamed_status status = torch_stream_keep(stream, (size_t)min_u64(left, SIZE_MAX), &at, error);
    if (status == LLAVAMED_OK) {
        status = zip_member_finish(stream->member, stream->check_crc, error);
    }
    if (status == LLAVAMED_OK) {
        return read_kept(stream, error);
    }
    /* The archive's CRC-32 covers the whole file; the file's own tell in which record the damage is. */
    struct llavamed_error named = {0};
    if (status == LLAVAMED_STATUS_CRC_MISMATCH && error != NULL &&
        read_kept(stream, &named) == LLAVAMED_STATUS_CRC_MISMATCH) {
        *error = named;
    }
    return status;
}

enum llavamed_status torch_stream_next(struct torch_stream *stream, size_t *storage, struct llavamed_error *error)
{
    enum llavamed_status status = stream->current != NULL ? end_storage(stream, error) : LLAVAMED_OK;
    while (status == LLAVAMED_OK) {
        struct torch_stream_record header;
        size_t at;
        uint64_t n_bytes;
        status = torch_stream_keep(stream, 4, &at, error);
        if (status != LLAVAMED_OK) {
            break;
        }
        uint32_t signature = load_le32(torch_stream_kept_at(stream, at));
        if (signature == TORCH_STREAM_CENTRAL_SIGNATURE) {
            *storage = TORCH_STREAM_END;
            return finish(stream, error);
        }
        if (signature != TORCH_STREAM_LOCAL_SIGNATURE) {
            char place[TORCH_STREAM_PLACE_BYTES];
            (void)llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: no local header at %llu, behind %s",
                                stream->path, (unsigned long long)torch_stream_position(stream) - 4,
                                torch_stream_place(stream, place));
            return torch_stream_damaged(LLAVAMED_STATUS_ZIP_INVALID, error);
        }
        status = torch_stream_read_header(stream, &header, error);
        if (status == LLAVAMED_OK) {
            status = begin_storage(stream, &header, error);
        }
        if (status == LLAVAMED_OK && stream->current != NULL) {
            *storage = stream->current->index;
            return LLAVAMED_OK;
        }
        if (status == LLAVAMED_OK) {
            size_t max_bytes = is_looked_into(header.name) ? SMALL_RECORD_MAX : 0;
            status = torch_stream_pass_record(stream, &header, max_bytes, &at, &n_bytes, error);
        }
    }
    return status;
}
