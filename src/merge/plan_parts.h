/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of plan_build(); for plan*.c alone. Each appends to a plan that plan_deinit() can free at any time. */
#ifndef MERGE_PLAN_PARTS_H
#define MERGE_PLAN_PARTS_H

#include "merge/plan.h"
#include "tensor/model_order.h"

/* Both sides of the merge as the caller gave them; all borrowed. */
struct plan_input {
    const struct tensor_set *base;
    const char *base_spec;
    const struct tensor_set *delta;
    const char *delta_spec;
    const struct plan_options *options;
};

/*
 * Fills plan->tensors (without shards), model_dtype, n_dropped and the bytes to read; or fails with PAIR_BASE_MERGED,
 * or with PAIR_MISMATCH and every problem.
 */
enum llavamed_status plan_pair(const struct plan_input *input, struct plan *plan,
                               struct llavamed_error *error) LLAVAMED_CHECK;

/* Cuts plan->tensors into shards, lays out and names them and the index. USAGE: more shards than an index may name. */
enum llavamed_status plan_cut_shards(const struct plan_options *options, struct plan *plan,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/* Appends to plan->warnings whatever about a pair that fits is still worth telling. */
enum llavamed_status plan_warn(const struct plan_input *input, struct plan *plan,
                               struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The dtype that holds most elements among those tensors that can be added, inv_freq aside; F32 when there are none.
 * That is "the dtype of the model".
 */
enum dtype plan_main_dtype(const struct tensor_set *set);

#endif
