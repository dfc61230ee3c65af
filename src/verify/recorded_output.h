/* SPDX-License-Identifier: Apache-2.0 */
/* What a llavamed-manifest.json says about the directory it lies in: its files, its tensors. */
#ifndef VERIFY_RECORDED_OUTPUT_H
#define VERIFY_RECORDED_OUTPUT_H

#include "integrity/digest.h"
#include "tensor/tensor.h"

#define RECORDED_OUTPUT_BYTES_MAX ((size_t)256 << 20)

struct recorded_file {
    char *name; /* owned; a plain file name */
    char sha256[SHA256_HEX_BYTES];
    uint64_t n_bytes;
    bool is_shard;
};

struct recorded_tensor {
    struct tensor tensor; /* owned */
    size_t file;          /* index into files: its shard */
    uint32_t crc32;
    char *sha256;           /* owned: its digest; NULL: none is recorded */
    const char *got_sha256; /* set by who compares: that of its bytes, borrowed; NULL: it is not known */
    bool is_seen;  /* set by who compares: one of this name is where it should be */
    bool is_wrong; /* and its bytes, or it, are not as recorded */
};

struct recorded_output {
    bool has_dtype; /* the options of the merge that determine its elements are recorded */
    enum llavamed_result_dtype dtype;
    bool has_inv_freq;
    enum llavamed_inv_freq inv_freq;
    struct recorded_file *files; /* owned, sorted by name, none twice */
    size_t n_files;
    struct recorded_tensor *tensors; /* owned, in the manifest's order */
    size_t n_tensors;
    size_t n_digests; /* tensors that have one */
    char model_sha256[SHA256_HEX_BYTES]; /* the digest of the model; empty: none is recorded */
    struct recorded_tensor **by_name; /* owned; none twice */
    struct recorded_tensor **by_crc;  /* owned; by CRC-32, then by bytes, then by name */
    struct recorded_tensor **by_digest; /* owned: those that have one, by digest, then by name */
};

void recorded_output_deinit(struct recorded_output *recorded);

/*
 * `name` is the manifest's, for messages. JSON_INVALID, JSON_DUPLICATE_KEY, INPUT_LIMIT, INPUT_UNSUPPORTED (another
 * format or version), TENSOR_NAME, TENSOR_DUPLICATE, SHAPE_INVALID, DTYPE_UNKNOWN; NO_MEMORY. O(n log n).
 */
enum llavamed_status recorded_output_parse(const char *name, const char *text, size_t n_bytes,
                                           struct recorded_output *recorded,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/* The tensor of this name, or NULL. O(log n). */
struct recorded_tensor *recorded_output_find(const struct recorded_output *recorded, const char *name);

/*
 * A tensor other than `than` (may be NULL) whose recorded bytes these are, by number and CRC-32, preferably one that is
 * wrong itself; NULL when there is none.
 */
const struct recorded_tensor *recorded_output_find_bytes(const struct recorded_output *recorded, uint32_t crc32,
                                                         uint64_t n_bytes, const struct recorded_tensor *than);

/* The same for the digest. */
const struct recorded_tensor *recorded_output_find_digest(const struct recorded_output *recorded, const char *sha256,
                                                          const struct recorded_tensor *than);

#endif
