/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRC-32 of many runs of one file, and the digests of those that are tensors, from a single reading of it from
 * front to back. Runs may overlap (tensors of a torch file that share a storage), so that the sum of their bytes, not
 * that of the file, is what they cost: it is bounded before anything is read. O(n log n) for the runs, then O(their
 * bytes).
 */
#ifndef VERIFY_SPAN_CRC_H
#define VERIFY_SPAN_CRC_H

#include "integrity/digest.h"
#include "tensor/tensor.h"

struct crc_span {
    uint64_t begin; /* in the file */
    uint64_t n_bytes;
    uint32_t crc32;
    bool is_done;  /* all of its bytes were fed; crc32 is theirs */
    bool is_alike; /* the same bytes as the one before it */
    size_t owner;  /* the caller's number for it */
    const struct tensor *tensor;  /* borrowed: the digest is wanted too, of its bytes as this tensor's; else NULL */
    char *sha256;                 /* borrowed: gets it, SHA256_HEX_BYTES, once the span is done */
    struct sha256_stream *stream; /* owned: of that, while the reading is inside of it */
};

struct span_crc {
    struct crc_span *spans; /* owned; by where they begin once started */
    size_t n_spans;
    size_t capacity;
    size_t *active; /* owned: indices of those that the reading is inside of */
    size_t n_active;
    size_t next; /* the first that it has not come to */
    uint64_t offset;
    bool failed; /* out of memory for a digest: sticky, check once with span_crc_status() */
};

void span_crc_deinit(struct span_crc *crc);

/* NO_MEMORY; INPUT_LIMIT, without a message, when the run does not fit 64 bits. */
enum llavamed_status span_crc_add(struct span_crc *crc, uint64_t begin, uint64_t n_bytes, size_t owner,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Of the run that was added last the digest is wanted too (integrity/tensor_digest.h). Both are borrowed; sha256 has
 * SHA256_HEX_BYTES.
 */
void span_crc_want_digest(struct span_crc *crc, const struct tensor *tensor, char *sha256);

/*
 * After all of them, before the first byte. INPUT_LIMIT, with words that follow the name of the file, when the runs
 * repeat its bytes more often than strided_size_is_sane() allows; NO_MEMORY. Runs that are alike count once, but those
 * whose digests are wanted each time: the same bytes have another digest as another tensor.
 */
enum llavamed_status span_crc_start(struct span_crc *crc, uint64_t file_bytes,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* The next bytes of the file. */
void span_crc_feed(struct span_crc *crc, const uint8_t *bytes, size_t n_bytes);

/* After the last: what is alike is alike. */
void span_crc_finish(struct span_crc *crc);

/* NO_MEMORY: digests that were wanted are not there. */
enum llavamed_status span_crc_status(const struct span_crc *crc, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
