/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every shard is a queue of its tensors. A step can come when it is at the head of all queues it is in (Kahn's
 * topological order); steps that can come wait in the order in which they could, so that shards take turns.
 */
#include "merge/schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* All plans' shards and tensors, numbered through. */
struct maker {
    const struct plan *const *plans;
    size_t n_plans;
    size_t n_tensors;
    size_t n_shards;
    size_t n_steps;
    size_t *first_tensor; /* of each plan */
    size_t *first_shard;
    size_t *step_of;    /* of each tensor */
    size_t *step_parts; /* of each step: how many tensors it has */
    size_t *step_plan;  /* of each step: the last plan that has part in it */
    size_t *step_ready; /* of each step: in how many queues it is at the head */
    size_t *step_list;  /* the first tensor of each step... */
    size_t *next_part;  /* ...and of each tensor the next of its step, or NONE */
    size_t *root;       /* of each shard: union-find */
    size_t *head;       /* of each shard: position in file order */
    size_t *plan_of;    /* of each shard */
    size_t *order;      /* steps in the order in which they come */
};

#define NONE SIZE_MAX

bool schedule_can_share(const struct plan *plan, const struct tensor_set *base)
{
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        if (tensor->action == PLAN_ADD_TOP_LEFT &&
            base->tensors[tensor->base_index].shape[1] != tensor->out.shape[1]) {
            return false;
        }
    }
    return true;
}

static bool takes_base(const struct plan_tensor *tensor)
{
    return tensor->base_index != TENSOR_NOT_FOUND && tensor->action != PLAN_COPY_DELTA;
}

static const struct plan_shard *shard_at(const struct maker *maker, size_t shard)
{
    size_t plan = maker->plan_of[shard];
    return &maker->plans[plan]->shards[shard - maker->first_shard[plan]];
}

/* The tensor at a position of a shard, numbered through. */
static size_t tensor_at(const struct maker *maker, size_t shard, size_t position)
{
    const struct plan_shard *planned = shard_at(maker, shard);
    return maker->first_tensor[maker->plan_of[shard]] + planned->tensors[planned->layout.order[position]];
}

static size_t find_root(const struct maker *maker, size_t shard)
{
    while (maker->root[shard] != shard) {
        maker->root[shard] = maker->root[maker->root[shard]];
        shard = maker->root[shard];
    }
    return shard;
}

static void maker_deinit(struct maker *maker)
{
    free(maker->first_tensor);
    free(maker->first_shard);
    free(maker->step_of);
    free(maker->step_parts);
    free(maker->step_plan);
    free(maker->step_ready);
    free(maker->step_list);
    free(maker->next_part);
    free(maker->root);
    free(maker->head);
    free(maker->plan_of);
    free(maker->order);
}

static enum llavamed_status maker_init(struct maker *maker, struct llavamed_error *error)
{
    for (size_t i = 0; i < maker->n_plans; i++) {
        maker->n_tensors += maker->plans[i]->n_tensors;
        maker->n_shards += maker->plans[i]->n_shards;
    }
    size_t **of_plans[] = {&maker->first_tensor, &maker->first_shard};
    size_t **of_shards[] = {&maker->root, &maker->head, &maker->plan_of};
    size_t **of_tensors[] = {&maker->step_of,   &maker->step_parts, &maker->step_plan, &maker->step_ready,
                             &maker->step_list, &maker->next_part,  &maker->order};
    bool all = true;
    for (size_t i = 0; i < sizeof of_plans / sizeof of_plans[0]; i++) {
        all = (*of_plans[i] = calloc(maker->n_plans + 1, sizeof(size_t))) != NULL && all;
    }
    for (size_t i = 0; i < sizeof of_shards / sizeof of_shards[0]; i++) {
        all = (*of_shards[i] = calloc(maker->n_shards + 1, sizeof(size_t))) != NULL && all;
    }
    for (size_t i = 0; i < sizeof of_tensors / sizeof of_tensors[0]; i++) {
        all = (*of_tensors[i] = calloc(maker->n_tensors + 1, sizeof(size_t))) != NULL && all;
    }
    if (!all) {
        return llavamed_fail_memory(error, maker->n_tensors * sizeof(size_t), "the schedule");
    }
    size_t n_tensors = 0;
    size_t n_shards = 0;
    for (size_t i = 0; i < maker->n_plans; i++) {
        maker->first_tensor[i] = n_tensors;
        maker->first_shard[i] = n_shards;
        for (size_t k = 0; k < maker->plans[i]->n_shards; k++, n_shards++) {
            maker->plan_of[n_shards] = i;
            maker->root[n_shards] = n_shards;
        }
        n_tensors += maker->plans[i]->n_tensors;
    }
    return LLAVAMED_OK;
}

/* ---- Steps ---- */

static void add_to_step(struct maker *maker, size_t step, size_t plan, size_t tensor)
{
    maker->step_of[tensor] = step;
    maker->next_part[tensor] = maker->step_parts[step] == 0 ? NONE : maker->step_list[step];
    maker->step_list[step] = tensor;
    maker->step_parts[step]++;
    maker->step_plan[step] = plan;
}

static enum llavamed_status make_steps(struct maker *maker, struct llavamed_error *error)
{
    size_t n_base = 0;
    for (size_t i = 0; i < maker->n_plans; i++) {
        for (size_t k = 0; k < maker->plans[i]->n_tensors; k++) {
            const struct plan_tensor *tensor = &maker->plans[i]->tensors[k];
            n_base = takes_base(tensor) && tensor->base_index >= n_base ? tensor->base_index + 1 : n_base;
        }
    }
    size_t *of_base = calloc(n_base + 1, sizeof *of_base); /* one more than the step of a base tensor */
    if (of_base == NULL) {
        return llavamed_fail_memory(error, (n_base + 1) * sizeof *of_base, "the schedule");
    }
    for (size_t i = 0; i < maker->n_plans; i++) {
        for (size_t k = 0; k < maker->plans[i]->n_tensors; k++) {
            const struct plan_tensor *tensor = &maker->plans[i]->tensors[k];
            size_t *known = takes_base(tensor) ? &of_base[tensor->base_index] : NULL;
            bool joins = known != NULL && *known > 0 && maker->step_plan[*known - 1] != i;
            size_t step = joins ? *known - 1 : maker->n_steps++;
            if (known != NULL && *known == 0) {
                *known = step + 1;
            }
            add_to_step(maker, step, i, maker->first_tensor[i] + k);
        }
    }
    free(of_base);
    return LLAVAMED_OK;
}

static size_t shard_of(const struct maker *maker, size_t tensor)
{
    size_t plan = maker->n_plans - 1;
    while (maker->first_tensor[plan] > tensor) {
        plan--;
    }
    return maker->first_shard[plan] + maker->plans[plan]->tensors[tensor - maker->first_tensor[plan]].shard;
}

static void join_shards(struct maker *maker)
{
    for (size_t step = 0; step < maker->n_steps; step++) {
        size_t first = find_root(maker, shard_of(maker, maker->step_list[step]));
        for (size_t at = maker->step_list[step]; at != NONE; at = maker->next_part[at]) {
            size_t other = find_root(maker, shard_of(maker, at));
            maker->root[first > other ? first : other] = first > other ? other : first;
            first = first > other ? other : first;
        }
    }
}

/* ---- Their order ---- */

/* A step has come to the head of a shard's queue: it may be that it can come now. */
static void note_head(struct maker *maker, size_t shard, size_t *n_ordered)
{
    if (maker->head[shard] < shard_at(maker, shard)->n_tensors) {
        size_t step = maker->step_of[tensor_at(maker, shard, maker->head[shard])];
        if (++maker->step_ready[step] == maker->step_parts[step]) {
            maker->order[(*n_ordered)++] = step;
        }
    }
}

/* Puts the steps of a group in order; `schedule` gets its shards. */
static void order_group(struct maker *maker, size_t root, struct schedule *schedule, size_t *n_ordered)
{
    struct schedule_group *group = &schedule->groups[schedule->n_groups++];
    *group = (struct schedule_group){.first_step = *n_ordered, .first_shard = schedule->n_shards};
    for (size_t shard = root; shard < maker->n_shards; shard++) {
        if (find_root(maker, shard) == root) {
            size_t plan = maker->plan_of[shard];
            schedule->shards[schedule->n_shards++] = (struct schedule_shard){
                .plan = plan, .shard = shard - maker->first_shard[plan], .n_steps = shard_at(maker, shard)->n_tensors};
            note_head(maker, shard, n_ordered);
        }
    }
    for (size_t i = group->first_step; i < *n_ordered; i++) {
        for (size_t at = maker->step_list[maker->order[i]]; at != NONE; at = maker->next_part[at]) {
            size_t shard = shard_of(maker, at);
            maker->head[shard]++;
            note_head(maker, shard, n_ordered);
        }
    }
    group->n_steps = *n_ordered - group->first_step;
    group->n_shards = schedule->n_shards - group->first_shard;
}

/* ---- What comes of it ---- */

static void note_first_steps(const struct maker *maker, struct schedule *schedule, const size_t *rank)
{
    for (size_t i = 0; i < schedule->n_groups; i++) {
        const struct schedule_group *group = &schedule->groups[i];
        for (size_t k = 0; k < group->n_shards; k++) {
            struct schedule_shard *shard = &schedule->shards[group->first_shard + k];
            if (shard->n_steps > 0) {
                size_t first = tensor_at(maker, maker->first_shard[shard->plan] + shard->shard, 0);
                shard->first_step = rank[maker->step_of[first]] - group->first_step;
            }
        }
    }
}

/* step_ready is of no more use: it becomes each step's place in the order, step_plan how many parts it has by now. */
static void fill_schedule(struct maker *maker, struct schedule *schedule)
{
    size_t *rank = maker->step_ready;
    size_t n_parts = 0;
    schedule->n_steps = maker->n_steps;
    for (size_t i = 0; i < maker->n_steps; i++) {
        size_t step = maker->order[i];
        rank[step] = i;
        schedule->steps[i] = (struct schedule_step){n_parts, maker->step_parts[step]};
        n_parts += maker->step_parts[step];
        maker->step_plan[step] = 0;
    }
    for (size_t shard = 0; shard < maker->n_shards; shard++) {
        size_t plan = maker->plan_of[shard];
        for (size_t position = 0; position < shard_at(maker, shard)->n_tensors; position++) {
            size_t tensor = tensor_at(maker, shard, position);
            size_t step = maker->step_of[tensor];
            schedule->parts[schedule->steps[rank[step]].first_part + maker->step_plan[step]++] =
                (struct schedule_part){plan, tensor - maker->first_tensor[plan], position};
        }
    }
    note_first_steps(maker, schedule, rank);
}

enum llavamed_status schedule_build(const struct plan *const *plans, size_t n_plans, struct schedule *schedule,
                                    bool *fits, struct llavamed_error *error)
{
    struct maker maker = {.plans = plans, .n_plans = n_plans};
    struct schedule made = {0};
    enum llavamed_status status = maker_init(&maker, error);
    if (status == LLAVAMED_OK) {
        status = make_steps(&maker, error);
    }
    if (status != LLAVAMED_OK) {
        goto out;
    }
    made.parts = calloc(maker.n_tensors + 1, sizeof *made.parts);
    made.steps = calloc(maker.n_steps + 1, sizeof *made.steps);
    made.groups = calloc(maker.n_shards + 1, sizeof *made.groups);
    made.shards = calloc(maker.n_shards + 1, sizeof *made.shards);
    if (made.parts == NULL || made.steps == NULL || made.groups == NULL || made.shards == NULL) {
        status = llavamed_fail_memory(error, maker.n_tensors * sizeof *made.parts, "the schedule");
        goto out;
    }
    join_shards(&maker);
    size_t n_ordered = 0;
    for (size_t shard = 0; shard < maker.n_shards; shard++) {
        if (find_root(&maker, shard) == shard) {
            order_group(&maker, shard, &made, &n_ordered);
        }
    }
    *fits = n_ordered == maker.n_steps;
    if (*fits) {
        fill_schedule(&maker, &made);
        *schedule = made;
        made = (struct schedule){0};
    }
out:
    schedule_deinit(&made);
    maker_deinit(&maker);
    return status;
}

void schedule_deinit(struct schedule *schedule)
{
    free(schedule->parts);
    free(schedule->steps);
    free(schedule->groups);
    free(schedule->shards);
    memset(schedule, 0, sizeof *schedule);
}
