/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which order the tensors of one plan, or of several with one base, are made, so that every shard is filled from
 * front to back and every base tensor is read once, for all results that take it.
 *
 * A step is one base tensor with all the results it goes into, or one result that the base has no part in. Shards that
 * share a step belong to one group, whose steps follow each other; groups have nothing to do with each other. A plan
 * alone has a group for each shard, and so have plans whose shards are cut alike; where cuts differ, a group is more.
 */
#ifndef MERGE_SCHEDULE_H
#define MERGE_SCHEDULE_H

#include "merge/plan.h"

/* One result tensor. */
struct schedule_part {
    size_t plan;     /* index into the plans */
    size_t tensor;   /* of that plan */
    size_t position; /* in its shard's file order */
};

struct schedule_step {
    size_t first_part; /* into parts: by plan, each once */
    size_t n_parts;    /* at least one */
};

struct schedule_shard {
    size_t plan;
    size_t shard;      /* of that plan */
    size_t first_step; /* of its group, counted from the group's first: where it is needed first */
    size_t n_steps;    /* how many it has part in: its tensors */
};

struct schedule_group {
    size_t first_step;
    size_t n_steps;
    size_t first_shard; /* into shards */
    size_t n_shards;
};

struct schedule {
    struct schedule_part *parts; /* owned, as all lists */
    struct schedule_step *steps; /* by group, in the order of the work */
    size_t n_steps;
    struct schedule_group *groups;
    size_t n_groups;
    struct schedule_shard *shards; /* by group */
    size_t n_shards;
};

/* Whether a plan can share the base with others at all: its base elements are, row by row, those of the result. */
bool schedule_can_share(const struct plan *plan, const struct tensor_set *base);

/*
 * Makes the schedule. *fits is false, and there is none, when the plans have their tensors in orders that contradict
 * each other; a plan alone always fits. *schedule is owned by the caller. NO_MEMORY.
 */
enum llavamed_status schedule_build(const struct plan *const *plans, size_t n_plans, struct schedule *schedule,
                                    bool *fits, struct llavamed_error *error) LLAVAMED_CHECK;

void schedule_deinit(struct schedule *schedule);

#endif
