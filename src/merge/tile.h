/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tile: a run of elements of one tensor of the plan, how it is cut, and its computation.
 */
#ifndef MERGE_TILE_H
#define MERGE_TILE_H

#include "merge/pipeline.h"

struct tile {
    size_t tensor;   /* index into plan->tensors */
    size_t position; /* of the tensor, in its shard's file order */
    uint64_t first_elem;
    uint64_t n_elems;
    uint64_t file_offset;
    size_t n_bytes;         /* of the result */
    const void *base_elems; /* borrowed: the base's elements of this range, in their own dtype, when a stream brought */
    const void *delta_elems; /* them, or the delta's; NULL: to be read from the source */
    const struct journal_entry *kept; /* borrowed: of an interrupted run's tile of these elements; NULL: none */
};

/* A tensor of a plan, where its tiles go. */
struct tile_place {
    const struct pipeline_job *job;
    size_t tensor;
    size_t position; /* in its shard's file order */
};

/*
 * How large tiles should be at least, in bytes of the widest dtype that takes part, so that both sources are read at
 * their grain (source_grain()); 0 when they do not care.
 */
uint64_t tile_bytes_wanted(const struct plan *plan, const struct source *base, const struct source *delta);

/*
 * Cuts one tile of each place, at least one, all of the same elements: from first_elem on, which is inside all of the
 * tensors. They end where the first of the tensors does, at the latest. Jobs of one run, with one base.
 */
void tile_cut(const struct tile_place *places, size_t n_places, uint64_t first_elem, struct tile *tiles);

/* The most elements of a tensor that a tile may have, so that it fits every buffer; all of a rotary buffer. */
uint64_t tile_elems_max(const struct pipeline_job *job, const struct plan_tensor *tensor);

struct tile_notes; /* merge/tile_keep.h */

/* Two buffers of tile_bytes each, private to a worker. */
struct tile_scratch {
    void *source;
    void *converted;
    struct tile_notes *notes; /* NULL, or gets what the reads tell of the inputs' checksums; the caller empties it */
};

/*
 * Brings both operands of a tile and computes its result into `out` (tile_bytes, apart from the elements given with the
 * tile). Adds to *tally. Base elements are given only where they map one to one: not for an embedding that grew in
 * width. Thread-safe.
 */
enum llavamed_status tile_compute(const struct pipeline_job *job, const struct tile *tile,
                                  const struct tile_scratch *scratch, void *out, struct pipeline_tensor *tally,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
