/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing here looks at a file: the same descriptors always give the same plan. */
#include "merge/plan.h"

#include <stdlib.h>
#include <string.h>

#include "merge/plan_parts.h"

const char *plan_action_name(enum plan_operation operation, enum plan_action action)
{
    static const char *const names[][PLAN_ACTION_COUNT] = {
        [PLAN_MERGE] =
            {
                [PLAN_ADD] = "add",
                [PLAN_ADD_TOP_LEFT] = "add-top-left",
                [PLAN_COPY_DELTA] = "copy-delta",
                [PLAN_INV_FREQ] = "inv-freq",
            },
        [PLAN_MAKE_DELTA] =
            {
                [PLAN_ADD] = "subtract",
                [PLAN_ADD_TOP_LEFT] = "subtract-top-left",
                [PLAN_COPY_DELTA] = "copy-target",
                [PLAN_INV_FREQ] = "inv-freq",
            },
    };
    return names[operation][action];
}

const char *plan_other_name(enum plan_operation operation)
{
    return operation == PLAN_MAKE_DELTA ? "target" : "delta";
}

enum llavamed_status plan_build(const struct tensor_set *base, const char *base_spec, const struct tensor_set *delta,
                                const char *delta_spec, const struct plan_options *options, struct plan *plan,
                                struct llavamed_error *error)
{
    const struct plan_input input = {
        .base = base,
        .base_spec = base_spec,
        .delta = delta,
        .delta_spec = delta_spec,
        .options = options,
    };
    struct plan made = {.operation = options->operation};
    enum llavamed_status status = plan_pair(&input, &made, error);
    if (status == LLAVAMED_OK) {
        status = plan_cut_shards(options, &made, error);
    }
    if (status == LLAVAMED_OK) {
        status = plan_warn(&input, &made, error);
    }
    if (status == LLAVAMED_OK) {
        *plan = made;
    } else {
        plan_deinit(&made);
    }
    return status;
}

bool plan_makes_bits(const struct plan *plan, size_t tensor)
{
    return plan->operation == PLAN_MAKE_DELTA && plan->tensors[tensor].by_bits;
}

void plan_deinit(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        tensor_deinit(&plan->tensors[i].out);
    }
    free(plan->tensors);
    for (size_t i = 0; i < plan->n_shards; i++) {
        free(plan->shards[i].name);
        free(plan->shards[i].tensors);
        shard_layout_deinit(&plan->shards[i].layout);
    }
    free(plan->shards);
    free(plan->index_name);
    for (size_t i = 0; i < plan->n_warnings; i++) {
        free(plan->warnings[i]);
    }
    free(plan->warnings);
    memset(plan, 0, sizeof *plan);
}
