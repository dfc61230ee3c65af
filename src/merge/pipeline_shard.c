/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/pipeline_shard.h"

/* Writes and hashes what stands before data `until` and is not written yet. */
static enum llavamed_status write_segments(struct pipeline_shard *shard, size_t until, struct llavamed_error *error)
{
    uint64_t n_bytes = 0;
    enum llavamed_status status =
        shard_segments_write(&shard->segments, until, shard->file, shard->sha256, &n_bytes, error);
    atomic_fetch_add(&shard->frame->written_bytes, n_bytes);
    atomic_fetch_add(&shard->frame->hashed_bytes, n_bytes);
    return status;
}

enum llavamed_status pipeline_shard_start(struct pipeline_shard *shard, struct llavamed_error *error)
{
    const struct plan *plan = shard->frame->job->plan;
    const struct pipeline_outcome *outcome = shard->frame->outcome;
    enum llavamed_status status = pipeline_create_shard(shard->frame, shard->shard, &shard->file, error);
    if (status == LLAVAMED_OK) {
        status = sha256_create(&shard->sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = shard_segments_init(&shard->segments, &plan->shards[shard->shard], outcome->tensors, error);
    }
    if (status == LLAVAMED_OK) {
        status = shard_digests_init(&shard->digests, plan, shard->shard, outcome->tensor_sha256, error);
    }
    return status == LLAVAMED_OK ? write_segments(shard, 0, error) : status;
}

enum llavamed_status pipeline_shard_hash(struct pipeline_shard *shard, const struct tile *tile, const uint8_t *bytes,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = write_segments(shard, tile->position, error);
    if (status == LLAVAMED_OK) {
        status = sha256_update(shard->sha256, bytes, tile->n_bytes, error);
    }
    return status == LLAVAMED_OK ? shard_digests_feed(&shard->digests, tile->tensor, bytes, tile->n_bytes, error)
                                 : status;
}

enum llavamed_status pipeline_shard_finish(struct pipeline_shard *shard, struct llavamed_error *error)
{
    const struct pipeline_frame *frame = shard->frame;
    enum llavamed_status status =
        write_segments(shard, frame->job->plan->shards[shard->shard].layout.n_data, error);
    if (status == LLAVAMED_OK) {
        status = sha256_finish(shard->sha256, frame->outcome->shard_sha256[shard->shard], error);
    }
    if (status == LLAVAMED_OK) {
        struct output_file *file = shard->file;
        shard->file = NULL;
        status = pipeline_finish_shard(shard->frame, file, error);
    }
    pipeline_shard_deinit(shard);
    return status;
}

void pipeline_shard_deinit(struct pipeline_shard *shard)
{
    output_file_close(shard->file);
    sha256_free(shard->sha256);
    shard_segments_deinit(&shard->segments);
    shard_digests_deinit(&shard->digests);
    shard->file = NULL;
    shard->sha256 = NULL;
}
