/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sharing one merge out among N parts that never speak with each other: a pure function of the plan and of sizes, which
 * every part computes for itself and comes to the same.
 *
 * The unit is an output shard, then a check of a whole input file. The largest goes first, each to the part that has
 * least to do so far, the first of those (longest processing time first: no part has more than 4/3 of what is the least
 * possible for the one that has most). Work is counted in bytes that move: a shard is read twice, from base and delta,
 * and written once; a check reads a file.
 *
 * Parts are numbered from 0 here, from 1 wherever a person sees it.
 */
#ifndef MERGE_PART_SHARE_H
#define MERGE_PART_SHARE_H

#include "merge/plan.h"

#define PART_SHARE_MOVES 3 /* times that the bytes of a shard go by */

struct part_share {
    unsigned n_parts;
    uint64_t *loads;  /* owned: bytes that each part has to move */
    unsigned *owners; /* owned: of each shard of the plan */
    size_t n_shards;
    size_t *tensors;  /* owned: indices of the first part's, then of the second's..., each in the plan's order */
    size_t *places;   /* owned: of each tensor of the plan, where it is among those of its part */
    size_t *firsts;   /* owned: where the tensors of a part begin, and behind the last */
};

/* Shares the shards out. *share is owned by the caller. n_parts is 1 to LLAVAMED_PARTS_MAX. NO_MEMORY. */
enum llavamed_status part_share_init(struct part_share *share, const struct plan *plan, unsigned n_parts,
                                     struct llavamed_error *error) LLAVAMED_CHECK;
void part_share_deinit(struct part_share *share);

/*
 * Shares out what further work there is, of n_items sizes: owners[i] becomes the part of the i-th. In the order of
 * sizes, equal ones in theirs. NO_MEMORY.
 */
enum llavamed_status part_share_items(struct part_share *share, const uint64_t *sizes, size_t n_items,
                                      unsigned *owners, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The plan of one part: the shards it owns, under their names in the whole, and their tensors. tensor_of[i] (owned by
 * the caller) is the index of tensor i in the whole plan. Bytes to read and what the whole drops and warns of are left
 * out. NO_MEMORY, and what shard_layout_build() gives.
 */
enum llavamed_status part_share_plan(const struct part_share *share, const struct plan *whole, unsigned part,
                                     struct plan *plan, size_t **tensor_of,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
