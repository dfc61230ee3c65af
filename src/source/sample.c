/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling one content of a file from another without reading it. A file that was exchanged for one of the same size and
 * time is another release, another download, another training: it differs nearly everywhere, and so in some of a few
 * blocks. Where checksums of the whole are at hand, as in zip archives and so in most torch files, one byte is enough.
 */
#include <assert.h>

#include "core/bytes.h"
#include "core/stop_signal.h"
#include "source/archive.h"
#include "source/sample.h"
#include "source/source_parts.h"

/* Of file_bytes, which are more than all blocks. */
static uint64_t offset_of_block(uint64_t file_bytes, uint64_t block)
{
    /* In two steps, so that nothing overflows. */
    uint64_t last = file_bytes - SAMPLE_BLOCK_BYTES;
    uint64_t n_steps = SAMPLE_BLOCKS - 1;
    return last / n_steps * block + last % n_steps * block / n_steps;
}

enum llavamed_status sample_feed_file(struct input_file *file, const volatile int *stop_signal,
                                      struct sha256_stream *sha256, struct llavamed_error *error)
{
    uint8_t block[SAMPLE_BLOCK_BYTES];
    uint64_t file_bytes = input_file_bytes(file);
    bool is_whole = file_bytes <= (uint64_t)SAMPLE_BLOCKS * SAMPLE_BLOCK_BYTES;
    enum llavamed_status status = LLAVAMED_OK;
    for (uint64_t i = 0; status == LLAVAMED_OK && i < SAMPLE_BLOCKS; i++) {
        uint64_t offset = is_whole ? i * SAMPLE_BLOCK_BYTES : offset_of_block(file_bytes, i);
        uint64_t n_left = offset < file_bytes ? file_bytes - offset : 0;
        size_t n_bytes = n_left < SAMPLE_BLOCK_BYTES ? (size_t)n_left : SAMPLE_BLOCK_BYTES;
        if (n_bytes == 0) {
            break;
        }
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK) {
            /* Not counted as read: a block of the file is given back to the system when the merge has read it. */
            status = input_file_read_near(file, offset, block, n_bytes, error);
        }
        if (status == LLAVAMED_OK) {
            status = sha256_update(sha256, block, n_bytes, error);
        }
    }
    return status;
}

enum llavamed_status sample_feed_crc32(struct sha256_stream *sha256, uint32_t crc32, struct llavamed_error *error)
{
    uint8_t bytes[4];
    store_le32(bytes, crc32);
    return sha256_update(sha256, bytes, sizeof bytes, error);
}

/* The first record that is not of a file before this one: they come file by file. */
static size_t first_record(const struct weights *weights, size_t file)
{
    size_t low = 0;
    size_t high = weights->n_records;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (weights->records[middle].file < file) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

enum llavamed_status sample_feed_weights(const struct weights *weights, size_t i, struct sha256_stream *sha256,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = sample_feed_file(weights->files[i].file, weights->stop_signal, sha256, error);
    for (size_t k = first_record(weights, i);
         status == LLAVAMED_OK && k < weights->n_records && weights->records[k].file == i; k++) {
        const struct weights_record *record = &weights->records[k];
        status = sample_feed_crc32(sha256, record->has_crc ? record->crc32 : 0, error);
    }
    return status;
}

enum llavamed_status source_sample(const struct source *source, size_t i, char hex[SHA256_HEX_BYTES],
                                   struct llavamed_error *error)
{
    assert(i < source->n_files);
    struct sha256_stream *sha256 = NULL;
    enum llavamed_status status = sha256_create(&sha256, error);
    if (status == LLAVAMED_OK && source->archive != NULL && i == 0) {
        status = sample_feed_file(archive_file(source->archive), source->stop_signal, sha256, error);
    } else if (status == LLAVAMED_OK && source->layout->sample != NULL) {
        status = source->layout->sample(source->state, source->archive != NULL ? i - 1 : i, sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(sha256, hex, error);
    }
    sha256_free(sha256);
    return status;
}
