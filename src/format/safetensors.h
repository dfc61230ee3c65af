/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors: bytes <-> tensor descriptors. No files here.
 *
 *   file   = u64 little-endian N | N bytes of UTF-8 JSON, padded with spaces to a multiple of 8 | data
 *   header = {"__metadata__":{text:text,...},"NAME":{"dtype":"F16","shape":[2,3],"data_offsets":[begin,end]},...}
 *
 * Offsets count from the start of the data. Format: https://github.com/huggingface/safetensors (README, "Format");
 * the rules are those of safetensors/src/tensor.rs, checked against release 0.8.0: tensors of any order and alignment,
 * tensors of zero bytes anywhere between two others, fields of an entry that nobody knows, white space around the
 * header, "__metadata__" absent, null or anywhere in the header. Refused here although that library reads it:
 *   - a name twice, and any other key twice in one object, also in two spellings (the library keeps the last one);
 *   - a tensor name that is empty, above TENSOR_NAME_BYTES_MAX or holds NUL, \u0000 anywhere;
 *   - rank above TENSOR_RANK_MAX, a dimension above 2^53 - 1 (possible beside a dimension of 0 only);
 *   - more than TENSOR_COUNT_MAX tensors, and the limits of core/json.h on depth, values and length of numbers;
 *   - a number that is not a plain integer, in an unknown field too;
 *   - an entry as an array, a dtype as an object {"F32":null}: spellings of serde that nobody writes.
 */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

#include "core/buffer.h"
#include "tensor/tensor.h"

#define SAFETENSORS_HEADER_BYTES_MAX 100000000
#define SAFETENSORS_PREFIX_BYTES 8

/*
 * "__metadata__"."format" of a file whose integers are differences of bits: its tensors are in_exact_delta. No other
 * program knows it; those that look at it (transformers 4.28) refuse such a file, which they could only misread.
 */
#define SAFETENSORS_FORMAT_EXACT_DELTA "llavamed-exact-delta"

struct safetensors_header {
    struct tensor_set set;  /* sorted by data offset, then (zero bytes) by name; not sealed: the caller does */
    uint64_t *data_offsets; /* owned, one per tensor of the set: from the start of the data */
    uint64_t data_start;    /* file offset of the data: 8 + N */
    char *metadata_format;  /* owned: "__metadata__"."format", NULL when absent */
};

void safetensors_header_deinit(struct safetensors_header *header);

/*
 * Reads N from the first 8 bytes of a file of file_bytes bytes. INPUT_TRUNCATED (fewer than 8 bytes or N leaves the
 * file), HEADER_TOO_LARGE.
 */
enum llavamed_status safetensors_header_bytes(const char *path, const uint8_t prefix[SAFETENSORS_PREFIX_BYTES],
                                              uint64_t file_bytes, uint64_t *header_bytes,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Parses and validates the N header bytes as told above: UTF-8, no key twice, no missing fields, dtype known, metadata
 * values all strings, offsets contiguous from 0 and covering the data exactly to file_bytes, sizes equal to shape times
 * dtype, all in checked arithmetic. Each error names path and tensor, or the byte of the header. *header is filled only
 * on success. JSON_INVALID, JSON_DUPLICATE_KEY, INPUT_LIMIT, DTYPE_UNKNOWN, TENSOR_NAME, SHAPE_INVALID, SIZE_MISMATCH,
 * OFFSET_INVALID, INPUT_TRUNCATED and INPUT_TRAILING (file_bytes against the last offset), HEADER_TOO_LARGE, NO_MEMORY.
 */
enum llavamed_status safetensors_parse(const char *path, const char *json, size_t json_bytes, uint64_t file_bytes,
                                       struct safetensors_header *header, struct llavamed_error *error) LLAVAMED_CHECK;

/* One shard as it will be written. `order[i]` is the index of the i-th tensor in file order. */
struct safetensors_layout {
    size_t *order;          /* owned, n_tensors of them: dtype rank descending, then name ascending */
    uint64_t *file_offsets; /* owned: file offset of the i-th tensor in file order */
    size_t n_tensors;
    char *head; /* owned: the 8-byte length and the padded header, byte for byte what the library writes
                   for metadata {"format":"pt"}, or SAFETENSORS_FORMAT_EXACT_DELTA where a tensor says so */
    size_t head_bytes;
    uint64_t file_bytes;
};

/*
 * Lays a shard out. `tensors` are borrowed for the call, names unique. NO_MEMORY, HEADER_TOO_LARGE, TENSOR_NAME (one
 * is called "__metadata__", which the format cannot hold), SHAPE_INVALID (a file of 2^63 bytes or more).
 */
enum llavamed_status safetensors_layout_build(const struct tensor *const *tensors, size_t n_tensors,
                                              struct safetensors_layout *layout,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

void safetensors_layout_deinit(struct safetensors_layout *layout);

#endif
