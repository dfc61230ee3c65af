/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a shard beside the data of its tensors (format/shard_layout.h): rendered and written from front to
 * back, each part as soon as the sums of what lies before it are known.
 */
#ifndef MERGE_SHARD_SEGMENTS_H
#define MERGE_SHARD_SEGMENTS_H

#include "integrity/digest.h"
#include "io/output_file.h"
#include "merge/pipeline.h"

/* Of one shard; one thread at a time. */
struct shard_segments {
    const struct plan_shard *shard;        /* borrowed */
    const struct pipeline_tensor *written; /* borrowed: of all tensors of the plan; those before `next` are known */
    size_t next;                           /* the next segment */
    struct torch_layout_sum *sums;         /* owned: of the data in file order */
    uint8_t *bytes;                        /* owned: room for any segment */
};

/* NO_MEMORY. */
enum llavamed_status shard_segments_init(struct shard_segments *segments, const struct plan_shard *shard,
                                         const struct pipeline_tensor *written,
                                         struct llavamed_error *error) LLAVAMED_CHECK;
void shard_segments_deinit(struct shard_segments *segments);

/* The next segment, rendered: its bytes are those of segments->bytes until the next call. 0 bytes are possible. */
size_t shard_segments_render(struct shard_segments *segments);

/*
 * Writes the segments that are not written yet, up to the one before data `until` in file order (the number of all
 * data: the last one too), and hashes them unless sha256 is NULL. *n_bytes grows by what was written.
 */
enum llavamed_status shard_segments_write(struct shard_segments *segments, size_t until, struct output_file *file,
                                          struct sha256_stream *sha256, uint64_t *n_bytes,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

#endif
