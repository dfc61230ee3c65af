/* SPDX-License-Identifier: Apache-2.0 */
#include "format/zip_member.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/phase.h"
#include "core/stop_signal.h"
#include "integrity/crc32.h"
#include "integrity/inflate.h"

/* Content is made in steps of so many bytes: their CRC is taken while they are in the processor's cache. */
#define STEP_BYTES ((size_t)262144)

struct zip_member {
    struct input_file *archive;
    const struct zip_entry *entry;
    char *name;                     /* owned */
    struct inflate_stream *inflate; /* owned; NULL for a stored entry */
    uint8_t *input;                 /* owned; likewise */
    size_t input_begin;             /* bytes [input_begin, input_end) of `input` are still to be inflated */
    size_t input_end;
    uint64_t bytes_read;             /* of the entry's data */
    uint64_t position;               /* of the content's next byte */
    uint32_t crc32;                  /* of the content before it */
    bool ended;                      /* the deflate data said so */
    const volatile int *stop_signal; /* borrowed; may be NULL */
};

enum llavamed_status zip_member_open(struct input_file *archive, const struct zip_entry *entry, const char *name,
                                     struct zip_member **out, struct llavamed_error *error)
{
    enum llavamed_status status;
    struct zip_member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        return llavamed_fail_memory(error, sizeof *member, "an archive's member");
    }
    member->archive = archive;
    member->entry = entry;
    member->name = strdup(name);
    if (member->name == NULL) {
        status = llavamed_fail_memory(error, strlen(name) + 1, "the name of an archive's member");
        goto out;
    }
    if (entry->deflated) {
        member->input = malloc(ZIP_MEMBER_INPUT_BYTES);
        if (member->input == NULL) {
            status = llavamed_fail_memory(error, ZIP_MEMBER_INPUT_BYTES, "an archive's member");
            goto out;
        }
        status = inflate_create(&member->inflate, error);
        if (status != LLAVAMED_OK) {
            goto out;
        }
    }
    *out = member;
    member = NULL;
    status = LLAVAMED_OK;
out:
    zip_member_close(member);
    return status;
}

void zip_member_close(struct zip_member *member)
{
    if (member != NULL) {
        inflate_free(member->inflate);
        free(member->input);
        free(member->name);
        free(member);
    }
}

void zip_member_heed(struct zip_member *member, const volatile int *stop_signal)
{
    member->stop_signal = stop_signal;
}

const char *zip_member_name(const struct zip_member *member)
{
    return member->name;
}

uint64_t zip_member_bytes(const struct zip_member *member)
{
    return member->entry->n_bytes;
}

uint64_t zip_member_position(const struct zip_member *member)
{
    return member->position;
}

uint64_t zip_member_bytes_read(const struct zip_member *member)
{
    return member->bytes_read;
}

/* `done`: bytes of the content that came after member->position. */
static enum llavamed_status fail_data(const struct zip_member *member, const char *what, size_t done,
                                      struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %s (after %llu of %llu bytes)", member->name, what,
                      (unsigned long long)(member->position + done), (unsigned long long)member->entry->n_bytes);
    llavamed_hint(error, "download or copy the archive again");
    return status;
}

/* Content may be a thousand times as large as its data, and whoever reads over it may ask for it for minutes. */
static enum llavamed_status check_signal(const struct zip_member *member, struct llavamed_error *error)
{
    return stop_signal_check(member->stop_signal, error);
}

/* Makes input hold something, unless all of the entry's data was taken. */
static enum llavamed_status refill(struct zip_member *member, struct llavamed_error *error)
{
    const struct zip_entry *entry = member->entry;
    if (member->input_begin < member->input_end || member->bytes_read == entry->stored_bytes) {
        return LLAVAMED_OK;
    }
    size_t n_bytes = (size_t)min_u64(ZIP_MEMBER_INPUT_BYTES, entry->stored_bytes - member->bytes_read);
    enum llavamed_status status =
        input_file_read(member->archive, entry->data_offset + member->bytes_read, member->input, n_bytes, error);
    if (status == LLAVAMED_OK) {
        member->input_begin = 0;
        member->input_end = n_bytes;
        member->bytes_read += n_bytes;
    }
    return status;
}

/*
 * Inflates up to n_bytes (at least 1) to `to`; not after the end. *done is what came of it: 0 only at the end, or when
 * all input was taken and held no content.
 */
static enum llavamed_status inflate_some(struct zip_member *member, uint8_t *to, size_t n_bytes, size_t *done,
                                         struct llavamed_error *error)
{
    *done = 0;
    enum llavamed_status status = refill(member, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    size_t before = member->input_end - member->input_begin;
    struct inflate_io io = {member->input + member->input_begin, before, to, n_bytes};
    enum llavamed_phase phase_before = phase_change(LLAVAMED_PHASE_INFLATE);
    enum inflate_result result = inflate_step(member->inflate, &io);
    (void)phase_change(phase_before);
    member->input_begin = member->input_end - io.in_bytes;
    *done = n_bytes - io.out_bytes;
    phase_count(LLAVAMED_PHASE_INFLATE, *done);
    switch (result) {
    case INFLATE_MORE:
        if (before == 0 && *done == 0) {
            return fail_data(member, "the deflate data ends too early", 0, error);
        }
        return LLAVAMED_OK;
    case INFLATE_END:
        member->ended = true;
        return LLAVAMED_OK;
    case INFLATE_DAMAGED:
        return fail_data(member, "damaged deflate data", *done, error);
    case INFLATE_NO_MEMORY:
        break;
    }
    return llavamed_fail_memory(error, 32768, "the window of inflate");
}

/* The next bytes of the content, *done of at most n_bytes; their CRC is not yet taken. */
static enum llavamed_status read_some(struct zip_member *member, uint8_t *to, size_t n_bytes, size_t *done,
                                      struct llavamed_error *error)
{
    const struct zip_entry *entry = member->entry;
    *done = 0;
    enum llavamed_status status = check_signal(member, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (entry->deflated) {
        if (member->ended) {
            return fail_data(member, "the deflate data is shorter than the directory says", 0, error);
        }
        return inflate_some(member, to, n_bytes, done, error);
    }
    status = input_file_read(member->archive, entry->data_offset + member->position, to, n_bytes, error);
    *done = status == LLAVAMED_OK ? n_bytes : 0;
    member->bytes_read += *done;
    return status;
}

enum llavamed_status zip_member_read(struct zip_member *member, void *buffer, size_t n_bytes, uint32_t *crc32,
                                     struct llavamed_error *error)
{
    uint64_t left = member->entry->n_bytes - member->position;
    if (n_bytes > left) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                             "%s: the file ends too early (it has %llu bytes, want %zu at offset %llu)", member->name,
                             (unsigned long long)member->entry->n_bytes, n_bytes, (unsigned long long)member->position);
    }
    uint8_t *to = buffer;
    uint32_t piece_crc = 0;
    size_t piece_bytes = 0;
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && piece_bytes < n_bytes) {
        size_t done;
        status = read_some(member, to + piece_bytes, (size_t)min_u64(n_bytes - piece_bytes, STEP_BYTES), &done, error);
        piece_crc = crc32_update(piece_crc, to + piece_bytes, done);
        piece_bytes += done;
        member->position += done;
    }
    member->crc32 = crc32_join(member->crc32, piece_crc, piece_bytes);
    if (status == LLAVAMED_OK && crc32 != NULL) {
        *crc32 = piece_crc;
    }
    return status;
}

/* That deflate data ends with the last byte of the content and of the entry. */
static enum llavamed_status check_end(struct zip_member *member, struct llavamed_error *error)
{
    while (!member->ended) {
        uint8_t spare;
        size_t done;
        enum llavamed_status status = check_signal(member, error);
        if (status == LLAVAMED_OK) {
            status = inflate_some(member, &spare, 1, &done, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (done > 0) {
            return fail_data(member, "the deflate data is longer than the directory says", 0, error);
        }
    }
    if (member->input_begin < member->input_end || member->bytes_read < member->entry->stored_bytes) {
        return fail_data(member, "something follows the deflate data", 0, error);
    }
    return LLAVAMED_OK;
}

enum llavamed_status zip_member_finish(struct zip_member *member, bool check_crc, struct llavamed_error *error)
{
    const struct zip_entry *entry = member->entry;
    assert(member->position == entry->n_bytes);
    enum llavamed_status status = entry->deflated ? check_end(member, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK && check_crc && member->crc32 != entry->crc32) {
        status = llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                               "%s: CRC-32 differs from the one in the archive (got %08x, want %08x)", member->name,
                               member->crc32, entry->crc32);
        llavamed_hint(error, "download or copy the archive again");
    }
    return status;
}

enum llavamed_status zip_member_read_whole(struct input_file *archive, const struct zip_entry *entry, const char *name,
                                           size_t max_bytes, char **bytes, struct llavamed_error *error)
{
    struct zip_member *member = NULL;
    char *content = NULL;
    enum llavamed_status status;
    if (entry->n_bytes > max_bytes || entry->n_bytes >= SIZE_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: the file is too large (got %llu bytes, want at most %zu)", name,
                             (unsigned long long)entry->n_bytes, max_bytes);
    }
    size_t n_bytes = (size_t)entry->n_bytes;
    content = malloc(n_bytes + 1);
    if (content == NULL) {
        return llavamed_fail_memory(error, n_bytes + 1, "a small file of an archive");
    }
    status = zip_member_open(archive, entry, name, &member, error);
    if (status == LLAVAMED_OK) {
        status = zip_member_read(member, content, n_bytes, NULL, error);
    }
    if (status == LLAVAMED_OK) {
        status = zip_member_finish(member, true, error);
    }
    if (status == LLAVAMED_OK) {
        content[n_bytes] = '\0';
        *bytes = content;
        content = NULL;
    }
    zip_member_close(member);
    free(content);
    return status;
}
