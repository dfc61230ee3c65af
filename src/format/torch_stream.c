/* SPDX-License-Identifier: Apache-2.0 */
#include "format/torch_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"
#include "core/bytes.h"
#include "core/checked.h"
#include "format/torch.h"
#include "integrity/crc32.h"

#define LOCAL_BYTES 30
#define LOCAL_SIGNATURE 0x04034b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define DESCRIPTOR_SIGNATURE 0x08074b50u
#define DESCRIPTOR_BYTES 16
#define DESCRIPTOR64_BYTES 24
#define FLAG_DESCRIPTOR 0x0008u
#define SATURATED32 0xffffffffu

#define PICKLE_NAME "/data.pkl"
#define STORAGE_FOLDER "data/"

/* Read ahead while the end of a record is looked for. */
#define AHEAD_BYTES 4096

#define KEPT_BYTES_MAX ((size_t)PICKLE_BYTES_MAX + 2 * (size_t)ZIP_DIRECTORY_BYTES_MAX)

/* A run of the file in `kept`. */
struct kept_run {
    uint64_t file_offset;
    size_t at; /* in kept.data */
    size_t n_bytes;
};

struct streamed_storage {
    const char *key; /* borrowed from the dict */
    size_t index;    /* in dict.storages */
    bool seen;
    uint64_t file_offset;
    uint32_t crc32;
};

struct torch_stream {
    struct zip_member *member; /* borrowed */
    const char *path;          /* borrowed from member */
    bool check_crc;
    struct pickle_state_dict dict;
    struct streamed_storage *storages; /* owned, by key */
    struct streamed_storage *current;  /* NULL: none is being read */
    uint64_t left;                     /* bytes of the current one */
    bool current_has_descriptor;
    struct buffer kept; /* all but the storages */
    struct kept_run *runs; /* owned */
    size_t n_runs;
    size_t runs_capacity;
    uint8_t ahead[AHEAD_BYTES]; /* bytes of the member that were read too early: [ahead_at, ahead_end) */
    size_t ahead_at;
    size_t ahead_end;
    size_t folder_bytes; /* of "FOLDER/", with which every name begins; 0: not known yet */
    char folder[ZIP_NAME_BYTES_MAX + 1];
};

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

/* ---- Bytes ---- */

static uint64_t position(const struct torch_stream *stream)
{
    return zip_member_position(stream->member) - (stream->ahead_end - stream->ahead_at);
}

static enum llavamed_status read_bytes(struct torch_stream *stream, uint8_t *to, size_t n_bytes, uint32_t *crc32,
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
    enum llavamed_status status =
        zip_member_read(stream->member, to + n_ahead, n_bytes - n_ahead, &rest, error);
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
    size_t n = (size_t)min_u64(AHEAD_BYTES - have, left);
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
    uint64_t at = position(stream);
    struct kept_run *last = stream->n_runs > 0 ? &stream->runs[stream->n_runs - 1] : NULL;
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
    stream->runs[stream->n_runs++] = (struct kept_run){at, stream->kept.n_bytes, n_bytes};
    return LLAVAMED_OK;
}

/* Reads and keeps the next n_bytes; *at is where in stream->kept.data they are. */
static enum llavamed_status keep(struct torch_stream *stream, size_t n_bytes, size_t *at, struct llavamed_error *error)
{
    uint8_t piece[AHEAD_BYTES];
    enum llavamed_status status = LLAVAMED_OK;
    *at = stream->kept.n_bytes;
    while (status == LLAVAMED_OK && n_bytes > 0) {
        size_t n = (size_t)min_u64(n_bytes, sizeof piece);
        uint32_t crc32;
        status = note_run(stream, n, error);
        if (status == LLAVAMED_OK) {
            status = read_bytes(stream, piece, n, &crc32, error);
        }
        if (status == LLAVAMED_OK) {
            buffer_append(&stream->kept, piece, n);
            status = buffer_status(&stream->kept, "the headers of a PyTorch checkpoint", error);
        }
        n_bytes -= n;
    }
    return status;
}

static const uint8_t *kept_at(const struct torch_stream *stream, size_t at)
{
    return (const uint8_t *)stream->kept.data + at;
}

/* ---- Records ---- */

/* A local header that was read: its name is the last thing in kept.data but the extra field. */
struct record_header {
    char name[ZIP_NAME_BYTES_MAX + 1]; /* without the folder */
    uint32_t size;                     /* as the header tells: 0 or SATURATED32 may mean "elsewhere" */
    bool has_descriptor;
};

/* The folder is that of the first record. What is not in it is not torch's; the final reading words that. */
static enum llavamed_status take_folder(struct torch_stream *stream, const char *full, struct llavamed_error *error)
{
    const char *slash = strchr(full, '/');
    if (slash == NULL || slash == full || strcmp(slash, PICKLE_NAME) != 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: its records lie in an order that cannot be read from front to back (the first is %s, "
                            "want FOLDER" PICKLE_NAME ")",
                            stream->path, full);
        llavamed_hint(error, "unpack the archive and give the directory");
        return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    stream->folder_bytes = (size_t)(slash - full) + 1;
    memcpy(stream->folder, full, stream->folder_bytes);
    return LLAVAMED_OK;
}

static enum llavamed_status take_name(struct torch_stream *stream, const uint8_t *bytes, size_t n_bytes,
                                      struct record_header *header, struct llavamed_error *error)
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
    }
    return status;
}

/* The signature of the header is read already. */
static enum llavamed_status read_header(struct torch_stream *stream, struct record_header *header,
                                        struct llavamed_error *error)
{
    size_t at;
    enum llavamed_status status = keep(stream, LOCAL_BYTES - 4, &at, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *local = kept_at(stream, at) - 4;
    size_t name_bytes = load_le16(local + 26);
    size_t extra_bytes = load_le16(local + 28);
    unsigned method = load_le16(local + 8);
    header->has_descriptor = (load_le16(local + 6) & FLAG_DESCRIPTOR) != 0;
    header->size = load_le32(local + 22);
    if (method != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_COMPRESSED,
                             "%s: zip: a record is compressed (got method %u, want 0, stored)", stream->path, method);
    }
    if (name_bytes == 0 || name_bytes > ZIP_NAME_BYTES_MAX) {
        return llavamed_fail(error, name_bytes == 0 ? LLAVAMED_STATUS_ZIP_INVALID : LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: zip: an entry name has %zu bytes (want 1 to %d)", stream->path, name_bytes,
                             ZIP_NAME_BYTES_MAX);
    }
    status = keep(stream, name_bytes + extra_bytes, &at, error);
    return status == LLAVAMED_OK ? take_name(stream, kept_at(stream, at), name_bytes, header, error) : status;
}

/*
 * A descriptor of 16 or 24 bytes behind n_bytes of data: with data the first form shows itself, without any both begin
 * with the same bytes and the next signature tells. Only lengths are looked at: the final reading compares the rest.
 */
static enum llavamed_status read_descriptor(struct torch_stream *stream, uint64_t n_bytes, struct llavamed_error *error)
{
    size_t at;
    enum llavamed_status status = fill_ahead(stream, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *ahead = stream->ahead + stream->ahead_at;
    size_t n_ahead = stream->ahead_end - stream->ahead_at;
    bool is_short = n_ahead >= DESCRIPTOR_BYTES && load_le32(ahead + 8) == n_bytes && load_le32(ahead + 12) == n_bytes;
    if (is_short && n_bytes == 0 && n_ahead >= DESCRIPTOR_BYTES + 4) {
        uint32_t next = load_le32(ahead + DESCRIPTOR_BYTES);
        is_short = next == LOCAL_SIGNATURE || next == CENTRAL_SIGNATURE;
    }
    return keep(stream, is_short ? DESCRIPTOR_BYTES : DESCRIPTOR64_BYTES, &at, error);
}

/* Whether a descriptor of n_bytes of data begins here; `crc32` is that of the data. */
static bool is_descriptor(const uint8_t *bytes, size_t n_there, uint64_t n_bytes, uint32_t crc32)
{
    if (n_there < DESCRIPTOR_BYTES || load_le32(bytes) != DESCRIPTOR_SIGNATURE) {
        return false;
    }
    uint32_t said = load_le32(bytes + 4);
    bool is_short = load_le32(bytes + 8) == n_bytes && load_le32(bytes + 12) == n_bytes;
    bool is_long = n_there >= DESCRIPTOR64_BYTES && load_le64(bytes + 8) == n_bytes && load_le64(bytes + 16) == n_bytes;
    return (said == crc32 || said == 0) && (is_short || is_long);
}

/* Keeps bytes up to where a descriptor says that they end. */
static enum llavamed_status keep_to_descriptor(struct torch_stream *stream, const struct record_header *header,
                                               size_t max_bytes, size_t *n_bytes, struct llavamed_error *error)
{
    size_t n = 0;
    size_t at;
    uint32_t crc32 = 0;
    for (;;) {
        enum llavamed_status status = LLAVAMED_OK;
        if (stream->ahead_end - stream->ahead_at < DESCRIPTOR64_BYTES) {
            status = fill_ahead(stream, error);
        }
        const uint8_t *ahead = stream->ahead + stream->ahead_at;
        size_t n_ahead = stream->ahead_end - stream->ahead_at;
        if (status != LLAVAMED_OK || is_descriptor(ahead, n_ahead, n, crc32)) {
            *n_bytes = n;
            return status;
        }
        /* As far as no signature can begin: to the next 'P', or so that one at the end is seen whole. */
        const uint8_t *next = n_ahead > 1 ? memchr(ahead + 1, DESCRIPTOR_SIGNATURE & 0xff, n_ahead - 1) : NULL;
        size_t step = next != NULL ? (size_t)(next - ahead) : n_ahead;
        if (step == 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                                 "%s: zip: the file ends inside record %s", stream->path, header->name);
        }
        if (step > max_bytes - n) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                                "%s: record %s does not tell its size and is too large (want at most %zu bytes)",
                                stream->path, header->name, max_bytes);
            llavamed_hint(error, "unpack the archive and give the directory");
            return LLAVAMED_STATUS_INPUT_LIMIT;
        }
        crc32 = crc32_update(crc32, ahead, step);
        status = keep(stream, step, &at, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        n += step;
    }
}

/* The data of a record that is kept, and its descriptor; *at is where the data is in stream->kept.data. */
static enum llavamed_status keep_record(struct torch_stream *stream, const struct record_header *header,
                                        size_t max_bytes, size_t *at, size_t *n_bytes, struct llavamed_error *error)
{
    bool size_known = header->size != 0 && header->size != SATURATED32;
    size_t n = size_known || !header->has_descriptor ? header->size : 0;
    enum llavamed_status status = LLAVAMED_OK;
    *at = stream->kept.n_bytes;
    if (n > max_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: record %s is too large (got %zu bytes, want at most %zu)", stream->path,
                             header->name, n, max_bytes);
    }
    if (n > 0) {
        size_t begin;
        status = keep(stream, n, &begin, error);
    } else if (header->has_descriptor) {
        status = keep_to_descriptor(stream, header, max_bytes, &n, error);
    }
    if (status == LLAVAMED_OK && header->has_descriptor) {
        status = read_descriptor(stream, n, error);
    }
    *n_bytes = n;
    return status;
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

static enum llavamed_status read_pickle(struct torch_stream *stream, struct llavamed_error *error)
{
    struct record_header header;
    size_t at;
    size_t n_bytes;
    enum llavamed_status status = keep(stream, 4, &at, error);
    if (status == LLAVAMED_OK) {
        status = read_header(stream, &header, error);
    }
    if (status == LLAVAMED_OK) {
        status = keep_record(stream, &header, PICKLE_BYTES_MAX, &at, &n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = pickle_read_state_dict(stream->path, kept_at(stream, at), n_bytes, &stream->dict, error);
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
    buffer_init(&stream->kept, KEPT_BYTES_MAX);
    enum llavamed_status status = read_pickle(stream, error);
    if (status == LLAVAMED_OK) {
        *out = stream;
    } else {
        torch_stream_close(stream);
    }
    return status;
}

/* ---- The storages ---- */

/* Starts the storage that a record holds, if it holds one. */
static enum llavamed_status begin_storage(struct torch_stream *stream, const struct record_header *header,
                                          struct llavamed_error *error)
{
    size_t prefix = strlen(STORAGE_FOLDER);
    if (strncmp(header->name, STORAGE_FOLDER, prefix) != 0 || stream->dict.n_storages == 0) {
        return LLAVAMED_OK;
    }
    struct streamed_storage *storage = bsearch(header->name + prefix, stream->storages, stream->dict.n_storages,
                                               sizeof *stream->storages, compare_key);
    if (storage == NULL) {
        return LLAVAMED_OK;
    }
    const struct pickle_storage *described = &stream->dict.storages[storage->index];
    if (storage->seen) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DUPLICATE, "%s: zip: entry %s is there twice", stream->path,
                             header->name);
    }
    if (!checked_mul_u64(described->n_elems, dtype_bytes(described->dtype), &stream->left) ||
        stream->left > zip_member_bytes(stream->member) - position(stream)) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_STORAGE,
                             "%s: record %s does not hold its storage (the file ends before its %llu elements of %s)",
                             stream->path, header->name, (unsigned long long)described->n_elems,
                             dtype_name(described->dtype));
    }
    storage->seen = true;
    storage->file_offset = position(stream);
    stream->current = storage;
    stream->current_has_descriptor = header->has_descriptor;
    return LLAVAMED_OK;
}

static enum llavamed_status end_storage(struct torch_stream *stream, struct llavamed_error *error)
{
    const struct streamed_storage *storage = stream->current;
    assert(stream->left == 0);
    stream->current = NULL;
    return stream->current_has_descriptor ? read_descriptor(stream, position(stream) - storage->file_offset, error)
                                          : LLAVAMED_OK;
}

enum llavamed_status torch_stream_read(struct torch_stream *stream, void *buffer, size_t n_bytes,
                                       struct llavamed_error *error)
{
    assert(stream->current != NULL && n_bytes <= stream->left);
    uint32_t crc32;
    enum llavamed_status status = read_bytes(stream, buffer, n_bytes, &crc32, error);
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
        runs[i] = (struct input_run){run->file_offset, kept_at(stream, run->at), run->n_bytes};
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
            return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                                 "%s: zip: record data/%s is not where the directory says it is", stream->path,
                                 storage->key);
        }
        if (stream->check_crc && record->has_crc && record->crc32 != storage->crc32) {
            return llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                                 "%s: record data/%s is damaged: its CRC-32 differs (got %08x, want %08x)",
                                 stream->path, storage->key, (unsigned)storage->crc32, (unsigned)record->crc32);
        }
    }
    return LLAVAMED_OK;
}

/* The signature of the directory's first entry is read: keeps the rest, then reads all again as a whole file. */
static enum llavamed_status finish(struct torch_stream *stream, struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct torch_file whole = {0};
    uint64_t left = zip_member_bytes(stream->member) - position(stream);
    size_t at;
    if (left > ZIP_DIRECTORY_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: zip: the directory is too large (got %llu bytes, want at most %d)", stream->path,
                             (unsigned long long)left, ZIP_DIRECTORY_BYTES_MAX);
    }
    enum llavamed_status status = keep(stream, (size_t)left, &at, error);
    if (status == LLAVAMED_OK) {
        status = zip_member_finish(stream->member, stream->check_crc, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_kept(stream, &file, error);
    }
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

enum llavamed_status torch_stream_next(struct torch_stream *stream, size_t *storage, struct llavamed_error *error)
{
    enum llavamed_status status = stream->current != NULL ? end_storage(stream, error) : LLAVAMED_OK;
    while (status == LLAVAMED_OK) {
        struct record_header header;
        size_t at;
        size_t n_bytes;
        status = keep(stream, 4, &at, error);
        if (status != LLAVAMED_OK) {
            break;
        }
        uint32_t signature = load_le32(kept_at(stream, at));
        if (signature == CENTRAL_SIGNATURE) {
            *storage = TORCH_STREAM_END;
            return finish(stream, error);
        }
        if (signature != LOCAL_SIGNATURE) {
            return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: no local header at %llu", stream->path,
                                 (unsigned long long)position(stream) - 4);
        }
        status = read_header(stream, &header, error);
        if (status == LLAVAMED_OK) {
            status = begin_storage(stream, &header, error);
        }
        if (status == LLAVAMED_OK && stream->current != NULL) {
            *storage = stream->current->index;
            return LLAVAMED_OK;
        }
        if (status == LLAVAMED_OK) {
            status = keep_record(stream, &header, TORCH_STREAM_RECORD_MAX, &at, &n_bytes, error);
        }
    }
    return status;
}
