/* SPDX-License-Identifier: Apache-2.0 */
/* What the two ways to run a plan share; for pipeline*.c alone. */
#ifndef MERGE_PIPELINE_PARTS_H
#define MERGE_PIPELINE_PARTS_H

#include <stdatomic.h>

#include "core/phase.h"
#include "io/output_file.h"
#include "merge/pipeline.h"
#include "merge/tile.h"

/* Tiles of the pool that a worker has when one output is made, whichever way it works. */
#define TILES_PER_WORKER 4

/* How these are cut where sources are read in any order: results for each output; scratch, and one more for the base
   where it is shared. */
#define BUFFERS_PER_WORKER 2
#define SCRATCH_PER_WORKER 2

_Static_assert(BUFFERS_PER_WORKER + SCRATCH_PER_WORKER == TILES_PER_WORKER, "the pool is cut into both");

/* One job of a run. */
struct pipeline_frame {
    const struct pipeline_job *job;
    struct pipeline_outcome *outcome; /* its lists are there, all zero */
    uint8_t *pool;                    /* geometry.pool_bytes; of all jobs together */
    struct phase_clock *clocks;       /* of each worker; of all jobs together */
    uint64_t started_ns;
    atomic_uint_fast64_t written_bytes; /* of the shards */
    atomic_uint_fast64_t reused_bytes;  /* of tiles that were there */
    atomic_uint_fast64_t hashed_bytes;
    atomic_bool *begun; /* of each shard: its file is there */
    bool *told_begun;   /* of each shard; of the observer's thread */
};

/* Creates a shard, empty, or goes on with what an interrupted run left. *out is owned by the caller. */
enum llavamed_status pipeline_create_shard(struct pipeline_frame *frame, size_t shard, struct output_file **out,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/* Makes a complete shard durable, and what the journal says of it; `file` is closed then, on failure too. */
enum llavamed_status pipeline_finish_shard(struct pipeline_frame *frame, struct output_file *file,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Adds the counts of a finished tile, and what is in its bytes of the tensor's front, to those of its tensor; the
 * CRC-32 is the caller's. `bytes` are the tile's in the output.
 */
void pipeline_add_tile(struct pipeline_tensor *total, const struct tile *tile, const uint8_t *bytes,
                       const struct pipeline_tensor *tally);

/* What the observer is told, on its thread: of all jobs together, and of a shard of one of them. */
void pipeline_tell_progress(const struct pipeline_frame *frames, size_t n_frames, uint64_t done_bytes);
void pipeline_tell_shard(const struct pipeline_frame *frame, size_t shard, size_t n_told, size_t n_shards);

/* For pipeline_run_jobs() alone, where all sources are read in any order. */
enum llavamed_status pipeline_run_lanes(struct pipeline_frame *frames, size_t n_frames,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

#endif
