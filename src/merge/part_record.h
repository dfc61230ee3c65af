/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a part leaves when it is done: all that finishing needs of its shards, of the inputs that it has hashed and, of
 * the first part, of the small files that it has copied. One line of JSON (merge/part_text.h):
 *
 *   {"format": "llavamed-part", "version": 1, "plan": SHA-256 of the plan's line, "part": K,
 *    "shards": [[NAME, BYTES, MODIFIED, SHA-256]...],
 *    "tensors": [[CRC-32, "NAN INFINITE ROUNDED DELTA_ZERO LOSSY ADDED OVERFLOW", SHA-256 or ""]...],
 *    "inputs": [["base" or "delta", FILE, SHA-256]...],
 *    "documents": [[NAME, BYTES, SHA-256, "copied" or "edited"]...],
 *    "crc32": of all before it}
 *
 * Shards and tensors are those of the part's own plan (part_share.h), in its order: which they are is not said but
 * known. Times are in nanoseconds since 1970.
 */
#ifndef MERGE_PART_RECORD_H
#define MERGE_PART_RECORD_H

#include "format/shard_index.h"
#include "merge/document_file.h"
#include "merge/pipeline.h"
#include "merge/plan.h"

#define PART_RECORD_FORMAT "llavamed-part"
#define PART_RECORD_VERSION 1
#define PART_RECORD_BYTES_MAX ((size_t)256 << 20)
#define PART_RECORD_INPUTS_MAX (2 * ((size_t)SHARD_COUNT_MAX + 1)) /* the files of both inputs (part_plan.h) */
#define PART_RECORD_DOCUMENTS_MAX 101 /* what may be copied (documents.h), and config.json */

struct part_shard {
    uint64_t modified_ns;
    char sha256[SHA256_HEX_BYTES];
};

/* The SHA-256 of a weights file of an input, as computed. */
struct part_input_hash {
    size_t role; /* enum input_role */
    size_t file; /* index into source_files() */
    char sha256[SHA256_HEX_BYTES];
};

struct part_record {
    unsigned part;               /* from 0 */
    struct part_shard *shards;   /* owned, as the shards of the part's plan */
    size_t n_shards;
    struct pipeline_tensor *tensors; /* owned, as its tensors; `front` is 0 */
    char (*tensor_sha256)[SHA256_HEX_BYTES]; /* owned; NULL without digests */
    size_t n_tensors;
    struct part_input_hash *inputs; /* owned */
    size_t n_inputs;
    struct document_list documents;
};

/* What a record is held against; all borrowed. */
struct part_record_frame {
    const char *plan_sha256;
    const struct plan *plan; /* of the part */
    unsigned part;           /* from 0 */
    bool digests;
};

/* Appends the line. What is wrong with the buffer stays there. */
void part_record_append(const struct part_record_frame *frame, const struct part_record *record, struct buffer *out);

/* The "plan" and the part (from 0) that a line says to be of; false when it is none. The rest may be anything. */
bool part_record_peek(const char *text, size_t n_bytes, char plan_sha256[SHA256_HEX_BYTES], unsigned *part);

/*
 * Reads the line, all of `text`, from whoever wrote it; `path` is for messages. PARTS_DIFFER when it is none, is
 * damaged, or is of another plan or part; NO_MEMORY. *record is the caller's to part_record_deinit().
 */
enum llavamed_status part_record_read(const char *path, const char *text, size_t n_bytes,
                                      const struct part_record_frame *frame, struct part_record *record,
                                      struct llavamed_error *error) LLAVAMED_CHECK;
void part_record_deinit(struct part_record *record);

#endif
