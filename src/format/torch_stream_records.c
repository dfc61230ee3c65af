/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/torch_stream_parts.h"
#include "integrity/crc32.h"

#define LOCAL_BYTES 30
#define DESCRIPTOR_SIGNATURE 0x08074b50u
#define DESCRIPTOR_BYTES 16
#define DESCRIPTOR64_BYTES 24
#define FLAG_DESCRIPTOR 0x0008u
#define EXTRA_ZIP64 0x0001u
#define SATURATED32 0xffffffffu

/* ---- Messages ---- */

/* The first tensor of the storage that the record holds; NULL when it is another record. */
static const char *tensor_of_record(const struct torch_stream *stream)
{
    const struct pickle_state_dict *dict = &stream->dict;
    size_t prefix = strlen(TORCH_STREAM_STORAGE_FOLDER);
    if (strncmp(stream->record, TORCH_STREAM_STORAGE_FOLDER, prefix) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < dict->n_tensors; i++) {
        if (strcmp(dict->storages[dict->tensors[i].storage].key, stream->record + prefix) == 0) {
            return dict->tensors[i].tensor.name;
        }
    }
    return NULL;
}

const char *torch_stream_place(const struct torch_stream *stream, char place[TORCH_STREAM_PLACE_BYTES])
{
    const char *tensor = tensor_of_record(stream);
    if (stream->record[0] == '\0') {
        (void)snprintf(place, TORCH_STREAM_PLACE_BYTES, "the first record");
    } else if (tensor == NULL) {
        (void)snprintf(place, TORCH_STREAM_PLACE_BYTES, "record %.200s", stream->record);
    } else {
        (void)snprintf(place, TORCH_STREAM_PLACE_BYTES, "record %.200s (tensor %.200s)", stream->record, tensor);
    }
    return place;
}

enum llavamed_status torch_stream_damaged(enum llavamed_status status, struct llavamed_error *error)
{
    llavamed_hint(error, "the archive is damaged: download or copy it again");
    return status;
}

/* ---- Bytes ---- */

uint64_t torch_stream_position(const struct torch_stream *stream)
{
    return zip_member_position(stream->member) - (stream->ahead_end - stream->ahead_at);
}

enum llavamed_status torch_stream_take(struct torch_stream *stream, uint8_t *to, size_t n_bytes, uint32_t *crc32,
                                       struct llavamed_error *error)
{
    size_t n_ahead = (size_t)min_u64(n_bytes, stream->ahead_end - stream->ahead_at);
    memcpy(to, stream->ahead + stream->ahead_at, n_ahead);
    stream->ahead_at += n_ahead;
    *crc32 = crc32_update(0, to, n_ahead);
    if (n_ahead == n_bytes) {
        return LLAVAMED_OK;
    }
    uint32_t rest = 0;
    enum llavamed_status status = zip_member_read(stream->member, to + n_ahead, n_bytes - n_ahead, &rest, error);
    *crc32 = crc32_join(*crc32, rest, n_bytes - n_ahead);
    return status;
}

/* Reads ahead as far as there is room and the file goes. */
static enum llavamed_status fill_ahead(struct torch_stream *stream, struct llavamed_error *error)
{
    size_t have = stream->ahead_end - stream->ahead_at;
    memmove(stream->ahead, stream->ahead + stream->ahead_at, have);
    stream->ahead_at = 0;
    stream->ahead_end = have;
    uint64_t left = zip_member_bytes(stream->member) - zip_member_position(stream->member);
    size_t n = (size_t)min_u64(TORCH_STREAM_AHEAD_BYTES - have, left);
    if (n == 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = zip_member_read(stream->member, stream->ahead + have, n, NULL, error);
    if (status == LLAVAMED_OK) {
        stream->ahead_end += n;
    }
    return status;
}

/* Notes that the next n_bytes of the file, which were or will be appended to `kept`, are there. */
static enum llavamed_status note_run(struct torch_stream *stream, size_t n_bytes, struct llavamed_error *error)
{
    uint64_t at = torch_stream_position(stream);
    struct kept_run *last = stream->runs != NULL && stream->n_runs > 0 ? &stream->runs[stream->n_runs - 1] : NULL;
    if (last != NULL && last->file_offset + last->n_bytes == at) {
        last->n_bytes += n_bytes;
        return LLAVAMED_OK;
    }
    if (stream->n_runs == stream->runs_capacity) {
        size_t capacity = stream->runs_capacity == 0 ? 64 : stream->runs_capacity * 2;
        struct kept_run *runs = reallocarray(stream->runs, capacity, sizeof *runs);
        if (runs == NULL) {
            return llavamed_fail_memory(error, capacity * sizeof *runs, "the headers of a PyTorch checkpoint");
        }
        stream->runs = runs;
        stream->runs_capacity = capacity;
    }
    assert(stream->runs != NULL);
    stream->runs[stream->n_runs++] = (struct kept_run){at, stream->kept.n_bytes, n_bytes};
    return LLAVAMED_OK;
}

enum llavamed_status torch_stream_keep(struct torch_stream *stream, size_t n_bytes, size_t *at,
                                       struct llavamed_error *error)
{
    uint8_t piece[TORCH_STREAM_AHEAD_BYTES];
    enum llavamed_status status = LLAVAMED_OK;
    *at = stream->kept.n_bytes;
    if (n_bytes > TORCH_STREAM_KEPT_MAX - stream->kept.n_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: its headers and its pickle are too large (want at most %zu bytes)", stream->path,
                             TORCH_STREAM_KEPT_MAX);
    }
    while (status == LLAVAMED_OK && n_bytes > 0) {
        size_t n = (size_t)min_u64(n_bytes, sizeof piece);
        uint32_t crc32;
        status = note_run(stream, n, error);
        if (status == LLAVAMED_OK) {
            status = torch_stream_take(stream, piece, n, &crc32, error);
        }
        if (status == LLAVAMED_OK) {
            buffer_append(&stream->kept, piece, n);
            status = buffer_status(&stream->kept, "the headers of a PyTorch checkpoint", error);
        }
        n_bytes -= n;
    }
    return status;
}

/* Reads over the next n_bytes. */
static enum llavamed_status skip(struct torch_stream *stream, uint64_t n_bytes, struct llavamed_error *error)
{
    uint8_t piece[TORCH_STREAM_AHEAD_BYTES];
    uint32_t crc32;
    enum llavamed_status status = LLAVAMED_OK;
    for (; status == LLAVAMED_OK && n_bytes > 0; n_bytes -= min_u64(n_bytes, sizeof piece)) {
        status = torch_stream_take(stream, piece, (size_t)min_u64(n_bytes, sizeof piece), &crc32, error);
    }
    return status;
}

const uint8_t *torch_stream_kept_at(const struct torch_stream *stream, size_t at)
{
    return (const uint8_t *)stream->kept.data + at;
}

/* ---- Records ---- */

/* The folder is that of the first record. What is not in it is not torch's; the final reading words that. */
static enum llavamed_status take_folder(struct torch_stream *stream, const char *full, struct llavamed_error *error)
{
    const char *slash = strchr(full, '/');
    if (slash == NULL || slash == full || strcmp(slash, TORCH_STREAM_PICKLE_NAME) != 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: its records lie in an order that cannot be read from front to back (the first is %s, "
                            "want FOLDER" TORCH_STREAM_PICKLE_NAME ")",
                            stream->path, full);
        llavamed_hint(error, "unpack the archive and give the directory");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    stream->folder_bytes = (size_t)(slash - full) + 1;
    memcpy(stream->folder, full, stream->folder_bytes);
    return LLAVAMED_OK;
}

static enum llavamed_status take_name(struct torch_stream *stream, const uint8_t *bytes, size_t n_bytes,
                                      struct torch_stream_record *header, struct llavamed_error *error)
{
    char full[ZIP_NAME_BYTES_MAX + 1];
    memcpy(full, bytes, n_bytes);
    full[n_bytes] = '\0';
    if (strlen(full) != n_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: an entry name holds a NUL", stream->path);
    }
    enum llavamed_status status = stream->folder_bytes == 0 ? take_folder(stream, full, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK && strncmp(full, stream->folder, stream->folder_bytes) != 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                               "%s: not a PyTorch checkpoint: entry %s is not in the folder of the others (%.*s)",
                               stream->path, full, (int)stream->folder_bytes, stream->folder);
    }
    if (status == LLAVAMED_OK) {
        memcpy(header->name, full + stream->folder_bytes, n_bytes - stream->folder_bytes + 1);
        memcpy(stream->record, header->name, sizeof stream->record);
    }
    return status;
}

/* What the header says of the size: in its zip64 field when it is saturated, 0 when the descriptor has it. */
static void take_size(struct torch_stream_record *header, uint32_t size32, const uint8_t *extra, size_t extra_bytes)
{
    header->size = size32;
    header->size_known = size32 != SATURATED32;
    for (size_t field; size32 == SATURATED32 && extra_bytes >= 4; extra += field, extra_bytes -= field) {
        field = (size_t)min_u64(extra_bytes, (uint64_t)load_le16(extra + 2) + 4);
        if (load_le16(extra) == EXTRA_ZIP64 && field >= 12) {
            header->size = load_le64(extra + 4);
            header->size_known = true;
        }
    }
    if (header->has_descriptor && (size32 == 0 || size32 == SATURATED32)) {
        header->size_known = false; /* writers of descriptors put anything into the zip64 field */
    }
}

enum llavamed_status torch_stream_read_header(struct torch_stream *stream, struct torch_stream_record *header,
                                              struct llavamed_error *error)
{
    size_t at;
    enum llavamed_status status = torch_stream_keep(stream, LOCAL_BYTES - 4, &at, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *local = torch_stream_kept_at(stream, at) - 4;
    size_t name_bytes = load_le16(local + 26);
    size_t extra_bytes = load_le16(local + 28);
    unsigned method = load_le16(local + 8);
    header->has_descriptor = (load_le16(local + 6) & FLAG_DESCRIPTOR) != 0;
    header->crc32 = load_le32(local + 14);
    uint32_t size = load_le32(local + 22);
    if (method != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_COMPRESSED,
                             "%s: zip: a record is compressed (got method %u, want 0, stored)", stream->path, method);
    }
    if (name_bytes == 0 || name_bytes > ZIP_NAME_BYTES_MAX) {
        return llavamed_fail(error, name_bytes == 0 ? LLAVAMED_STATUS_ZIP_INVALID : LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: zip: an entry name has %zu bytes (want 1 to %d)", stream->path, name_bytes,
                             ZIP_NAME_BYTES_MAX);
    }
    status = torch_stream_keep(stream, name_bytes + extra_bytes, &at, error);
    if (status == LLAVAMED_OK) {
        take_size(header, size, torch_stream_kept_at(stream, at) + name_bytes, extra_bytes);
        status = take_name(stream, torch_stream_kept_at(stream, at), name_bytes, header, error);
    }
    return status;
}

enum llavamed_status torch_stream_read_descriptor(struct torch_stream *stream, uint64_t n_bytes,
                                                  struct llavamed_error *error)
{
    size_t at;
    enum llavamed_status status = fill_ahead(stream, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *ahead = stream->ahead + stream->ahead_at;
    size_t n_ahead = stream->ahead_end - stream->ahead_at;
    if (n_ahead < DESCRIPTOR_BYTES || load_le32(ahead) != DESCRIPTOR_SIGNATURE) {
        char place[TORCH_STREAM_PLACE_BYTES];
        (void)llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                            "%s: zip: no descriptor at %llu, behind the %llu bytes of %s", stream->path,
                            (unsigned long long)torch_stream_position(stream), (unsigned long long)n_bytes,
                            torch_stream_place(stream, place));
        return torch_stream_damaged(LLAVAMED_STATUS_ZIP_INVALID, error);
    }
    bool is_short = load_le32(ahead + 8) == n_bytes && load_le32(ahead + 12) == n_bytes;
    if (is_short && n_bytes == 0 && n_ahead >= DESCRIPTOR_BYTES + 4) {
        uint32_t next = load_le32(ahead + DESCRIPTOR_BYTES);
        is_short = next == TORCH_STREAM_LOCAL_SIGNATURE || next == TORCH_STREAM_CENTRAL_SIGNATURE;
    }
    return torch_stream_keep(stream, is_short ? DESCRIPTOR_BYTES : DESCRIPTOR64_BYTES, &at, error);
}

/*
 * Whether a descriptor of n_bytes of data begins here. Signature and sizes are 96 bits that say so; the CRC-32 is for
 * those who want to know whether the data is damaged.
 */
static bool is_descriptor(const uint8_t *bytes, size_t n_there, uint64_t n_bytes)
{
    if (n_there < DESCRIPTOR_BYTES || load_le32(bytes) != DESCRIPTOR_SIGNATURE) {
        return false;
    }
    bool is_short = load_le32(bytes + 8) == n_bytes && load_le32(bytes + 12) == n_bytes;
    bool is_long = n_there >= DESCRIPTOR64_BYTES && load_le64(bytes + 8) == n_bytes && load_le64(bytes + 16) == n_bytes;
    return is_short || is_long;
}

static enum llavamed_status fail_record_size(const struct torch_stream *stream,
                                             const struct torch_stream_record *header, size_t max_bytes,
                                             struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: record %s is too large (want at most %zu bytes)",
                         stream->path, header->name, max_bytes);
}

/* Where after its first byte a descriptor's signature begins, or may begin if it goes on behind the end; or the end. */
static size_t next_signature(const uint8_t *bytes, size_t n_bytes)
{
    static const uint8_t signature[] = {'P', 'K', 7, 8};
    const uint8_t *whole = n_bytes > 1 ? memmem(bytes + 1, n_bytes - 1, signature, sizeof signature) : NULL;
    if (whole != NULL) {
        return (size_t)(whole - bytes);
    }
    size_t at = n_bytes < sizeof signature ? 1 : n_bytes - sizeof signature + 1;
    while (at < n_bytes && memcmp(bytes + at, signature, n_bytes - at) != 0) {
        at++;
    }
    return n_bytes == 0 ? 0 : at;
}

/*
 * Goes to where a descriptor says that the record ends; keeps what comes before when max_bytes is not 0. What is not
 * kept is stepped over where it lies: a record may be gigabytes of what looks like signatures.
 */
static enum llavamed_status find_descriptor(struct torch_stream *stream, const struct torch_stream_record *header,
                                            size_t max_bytes, uint64_t *n_bytes, struct llavamed_error *error)
{
    uint64_t n = 0;
    for (;;) {
        enum llavamed_status status = LLAVAMED_OK;
        if (stream->ahead_end - stream->ahead_at < DESCRIPTOR64_BYTES) {
            status = fill_ahead(stream, error);
        }
        const uint8_t *ahead = stream->ahead + stream->ahead_at;
        size_t n_ahead = stream->ahead_end - stream->ahead_at;
        if (status != LLAVAMED_OK || is_descriptor(ahead, n_ahead, n)) {
            *n_bytes = n;
            return status;
        }
        size_t step = next_signature(ahead, n_ahead);
        if (step == 0) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED, "%s: zip: the file ends inside record %s",
                                stream->path, header->name);
            return torch_stream_damaged(LLAVAMED_STATUS_INPUT_TRUNCATED, error);
        }
        if (max_bytes > 0 && step > max_bytes - n) {
            return fail_record_size(stream, header, max_bytes, error);
        }
        size_t at;
        if (max_bytes > 0) {
            status = torch_stream_keep(stream, step, &at, error);
        } else {
            stream->ahead_at += step;
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
        n += step;
    }
}

enum llavamed_status torch_stream_pass_record(struct torch_stream *stream, const struct torch_stream_record *header,
                                              size_t max_bytes, size_t *at, uint64_t *n_bytes,
                                              struct llavamed_error *error)
{
    enum llavamed_status status;
    *at = stream->kept.n_bytes;
    *n_bytes = header->size;
    if (!header->size_known && !header->has_descriptor) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: the size of record %s is in the directory alone, at the end of the file", stream->path,
                            header->name);
        llavamed_hint(error, "unpack the archive and give the directory");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    if (!header->size_known) {
        status = find_descriptor(stream, header, max_bytes, n_bytes, error);
    } else if (max_bytes == 0) {
        status = skip(stream, header->size, error);
    } else if (header->size > max_bytes) {
        status = fail_record_size(stream, header, max_bytes, error);
    } else {
        status = torch_stream_keep(stream, (size_t)header->size, at, error);
    }
    return status == LLAVAMED_OK && header->has_descriptor ? torch_stream_read_descriptor(stream, *n_bytes, error)
                                                           : status;
}
