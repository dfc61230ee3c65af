/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tile: a run of elements of one tensor of the plan, and its computation. A cursor walks the tiles of a shard in
 * file order.
 */
#ifndef MERGE_TILE_H
#define MERGE_TILE_H

#include "merge/pipeline.h"

struct tile {
    size_t tensor;       /* index into plan->tensors */
    uint64_t first_elem;
    uint64_t n_elems;
    uint64_t file_offset;
    size_t n_bytes;      /* of the result */
};

struct tile_cursor {
    const struct plan *plan;
    const struct source *base;
    const struct source *delta;
    size_t tile_bytes;
    size_t shard;
    size_t position;     /* tensor in the shard's file order */
    uint64_t next_elem;
};

/*
 * How large tiles should be at least, in bytes of the widest dtype that takes part, so that both sources are read at
 * their grain (source_grain()); 0 when they do not care.
 */
uint64_t tile_bytes_wanted(const struct plan *plan, const struct source *base, const struct source *delta);

/* The next tile of the cursor's shard; false at its end. Tensors without elements have none. */
bool tile_next(struct tile_cursor *cursor, struct tile *tile);

/* Two buffers of tile_bytes each, private to a worker. */
struct tile_scratch {
    void *source;
    void *converted;
};

/* Reads both operands of a tile and computes its result into `out` (tile_bytes). Adds to *tally. Thread-safe. */
enum llavamed_status tile_compute(const struct pipeline_job *job, const struct tile *tile,
                                  const struct tile_scratch *scratch, void *out, struct pipeline_tensor *tally,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
