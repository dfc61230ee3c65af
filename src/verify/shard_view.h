/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A weights file as its own header or directory describes it: which tensors it holds, where their bytes are, and what a
 * torch file records of itself. Filled with the CRC-32 of those bytes, and with digests of tensors, while the file is
 * read.
 */
#ifndef VERIFY_SHARD_VIEW_H
#define VERIFY_SHARD_VIEW_H

#include "io/input_file.h"
#include "tensor/tensor.h"
#include "verify/recorded_output.h"
#include "verify/span_crc.h"

/* Where a tensor is, as the set has it. */
struct shard_place {
    uint64_t offset;    /* in the file */
    bool is_contiguous; /* row-major without gaps: its bytes are one run of the file */
    bool is_read;       /* all of it */
    uint32_t crc32;     /* of its bytes, then */
    char *sha256;       /* of the view: its digest, then; empty before; NULL where it is not wanted */
};

/* A storage of a torch file in zip form. */
struct shard_record {
    char *key; /* owned */
    uint64_t offset; /* in the file */
    uint64_t n_bytes;
    uint32_t want;
    uint32_t got;
    bool is_read;
};

struct shard_view {
    struct tensor_set set; /* sealed */
    struct shard_place *places; /* owned, one per tensor of the set */
    char (*digests)[SHA256_HEX_BYTES]; /* owned: those that are wanted */
    struct shard_record *records; /* owned: those that carry a CRC-32 */
    size_t n_records;
    struct span_crc crc; /* between shard_view_start() and _finish() */
};

void shard_view_deinit(struct shard_view *view);

/*
 * Reads the header. When a safetensors file is not as long as its header says, `recorded_bytes` (0: none) is the length
 * that somebody recorded: the header of a file that was cut or became longer is read by that, and `is_cut` set.
 * What weights_probe(), safetensors_parse() and torch_file_read() give. `view` is filled on success, or when *is_cut is
 * set: then there is an error to tell, too.
 */
enum llavamed_status shard_view_read(struct input_file *file, uint64_t recorded_bytes, struct shard_view *view,
                                     bool *is_cut, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Before the file is read, from front to back, through shard_view_feed(). Digests are wanted of the tensors of which
 * the manifest has some. What span_crc_start() gives.
 */
enum llavamed_status shard_view_start(struct shard_view *view, uint64_t file_bytes,
                                      const struct recorded_output *manifest,
                                      struct llavamed_error *error) LLAVAMED_CHECK;
static inline void shard_view_feed(struct shard_view *view, const uint8_t *bytes, size_t n_bytes)
{
    span_crc_feed(&view->crc, bytes, n_bytes);
}

/* After its last byte: the sums are in `places` and `records`. NO_MEMORY. */
enum llavamed_status shard_view_finish(struct shard_view *view, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
