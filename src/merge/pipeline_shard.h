/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard that is hashed while it is written: its segments, its SHA-256 and the digests of its tensors, from its data
 * in file order; for pipeline_lanes.c alone. One thread at a time.
 */
#ifndef MERGE_PIPELINE_SHARD_H
#define MERGE_PIPELINE_SHARD_H

#include "merge/pipeline_parts.h"
#include "merge/shard_digests.h"
#include "merge/shard_segments.h"

struct pipeline_shard {
    struct pipeline_frame *frame;
    size_t shard;             /* index into the plan's */
    struct output_file *file; /* owned, as what follows; from start to finish */
    struct sha256_stream *sha256;
    struct shard_segments segments;
    struct shard_digests digests;
};

/* Creates the file and writes what stands before its data. `frame` and `shard` are set, the rest is zero. */
enum llavamed_status pipeline_shard_start(struct pipeline_shard *shard, struct llavamed_error *error) LLAVAMED_CHECK;

/* Hashes a tile, the next one in file order, whose bytes in the output these are: they are written already. */
enum llavamed_status pipeline_shard_hash(struct pipeline_shard *shard, const struct tile *tile, const uint8_t *bytes,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* After the last one. Its SHA-256 is in the outcome then, and it is on storage. */
enum llavamed_status pipeline_shard_finish(struct pipeline_shard *shard, struct llavamed_error *error) LLAVAMED_CHECK;

void pipeline_shard_deinit(struct pipeline_shard *shard); /* at any time */

#endif
