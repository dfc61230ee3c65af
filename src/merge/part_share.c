/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/part_share.h"

#include <stdlib.h>
#include <string.h>

#include "core/checked.h"

struct item {
    uint64_t n_bytes;
    size_t index;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *item_a = a;
    const struct item *item_b = b;
    if (item_a->n_bytes != item_b->n_bytes) {
        return item_a->n_bytes > item_b->n_bytes ? -1 : 1;
    }
    return item_a->index < item_b->index ? -1 : item_a->index > item_b->index;
}

/* Sums of what is far beyond any disk stay where they are. */
static uint64_t add_capped(uint64_t a, uint64_t b)
{
    uint64_t sum = UINT64_MAX;
    (void)checked_add_u64(a, b, &sum);
    return sum;
}

enum llavamed_status part_share_items(struct part_share *share, const uint64_t *sizes, size_t n_items, unsigned *owners,
                                      struct llavamed_error *error)
{
    struct item *items = calloc(n_items + 1, sizeof *items);
    if (items == NULL) {
        return llavamed_fail_memory(error, (n_items + 1) * sizeof *items, "sharing out the work");
    }
    for (size_t i = 0; i < n_items; i++) {
        items[i] = (struct item){sizes[i], i};
    }
    qsort(items, n_items, sizeof *items, compare_items);
    for (size_t i = 0; i < n_items; i++) {
        unsigned least = 0;
        for (unsigned part = 1; part < share->n_parts; part++) {
            least = share->loads[part] < share->loads[least] ? part : least;
        }
        owners[items[i].index] = least;
        share->loads[least] = add_capped(share->loads[least], items[i].n_bytes);
    }
    free(items);
    return LLAVAMED_OK;
}

/* Once for all parts: looking through all tensors for each would take a product of two numbers that a file gives. */
static enum llavamed_status sort_tensors(struct part_share *share, const struct plan *plan,
                                         struct llavamed_error *error)
{
    share->tensors = calloc(plan->n_tensors + 1, sizeof *share->tensors);
    share->places = calloc(plan->n_tensors + 1, sizeof *share->places);
    share->firsts = calloc(share->n_parts + 1, sizeof *share->firsts);
    if (share->tensors == NULL || share->places == NULL || share->firsts == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *share->tensors, "sharing out the tensors");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        unsigned part = share->owners[plan->tensors[i].shard];
        share->places[i] = share->firsts[part + 1]++;
    }
    for (unsigned part = 0; part < share->n_parts; part++) {
        share->firsts[part + 1] += share->firsts[part];
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        share->tensors[share->firsts[share->owners[plan->tensors[i].shard]] + share->places[i]] = i;
    }
    return LLAVAMED_OK;
}

enum llavamed_status part_share_init(struct part_share *share, const struct plan *plan, unsigned n_parts,
                                     struct llavamed_error *error)
{
    *share = (struct part_share){.n_parts = n_parts, .n_shards = plan->n_shards};
    share->loads = calloc(n_parts, sizeof *share->loads);
    share->owners = calloc(plan->n_shards + 1, sizeof *share->owners);
    uint64_t *sizes = calloc(plan->n_shards + 1, sizeof *sizes);
    enum llavamed_status status = share->loads != NULL && share->owners != NULL && sizes != NULL
                                      ? LLAVAMED_OK
                                      : llavamed_fail_memory(error, n_parts * sizeof *sizes, "sharing out the work");
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_shards; i++) {
        uint64_t n_bytes = UINT64_MAX;
        (void)checked_mul_u64(plan->shards[i].layout.file_bytes, PART_SHARE_MOVES, &n_bytes);
        sizes[i] = n_bytes;
    }
    if (status == LLAVAMED_OK) {
        status = part_share_items(share, sizes, plan->n_shards, share->owners, error);
    }
    if (status == LLAVAMED_OK) {
        status = sort_tensors(share, plan, error);
    }
    free(sizes);
    if (status != LLAVAMED_OK) {
        part_share_deinit(share);
    }
    return status;
}

void part_share_deinit(struct part_share *share)
{
    free(share->loads);
    free(share->owners);
    free(share->tensors);
    free(share->places);
    free(share->firsts);
    *share = (struct part_share){0};
}

/* ---- The plan of a part ---- */

static enum llavamed_status copy_tensor(const struct plan_tensor *from, struct plan_tensor *to,
                                        struct llavamed_error *error)
{
    *to = *from;
    to->out.name = strdup(from->out.name);
    return to->out.name != NULL ? LLAVAMED_OK
                                : llavamed_fail_memory(error, strlen(from->out.name), "the name of a tensor");
}

static enum llavamed_status copy_shard(const struct plan *plan, const struct plan_shard *from, const size_t *places,
                                       struct plan_shard *to, struct llavamed_error *error)
{
    const struct tensor **borrowed = calloc(from->n_tensors + 1, sizeof *borrowed);
    to->name = strdup(from->name);
    to->tensors = calloc(from->n_tensors + 1, sizeof *to->tensors);
    if (borrowed == NULL || to->name == NULL || to->tensors == NULL) {
        free(borrowed);
        return llavamed_fail_memory(error, (from->n_tensors + 1) * sizeof *borrowed, "a shard's tensors");
    }
    for (size_t i = 0; i < from->n_tensors; i++) {
        to->tensors[i] = places[from->tensors[i]];
        borrowed[i] = &plan->tensors[to->tensors[i]].out;
    }
    to->n_tensors = from->n_tensors;
    enum llavamed_status status =
        shard_layout_build(plan->format, to->name, borrowed, to->n_tensors, &to->layout, error);
    free(borrowed);
    return status;
}

static enum llavamed_status copy_tensors(const struct plan *whole, const size_t *tensor_of, size_t n,
                                         struct plan *plan, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        status = copy_tensor(&whole->tensors[tensor_of[i]], &plan->tensors[plan->n_tensors++], error);
    }
    return status;
}

static enum llavamed_status copy_shards(const struct part_share *share, const struct plan *whole, unsigned part,
                                        struct plan *plan, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < whole->n_shards; i++) {
        if (share->owners[i] != part) {
            continue;
        }
        struct plan_shard *shard = &plan->shards[plan->n_shards++];
        status = copy_shard(plan, &whole->shards[i], share->places, shard, error);
        for (size_t k = 0; status == LLAVAMED_OK && k < shard->n_tensors; k++) {
            plan->tensors[shard->tensors[k]].shard = plan->n_shards - 1;
            plan->data_bytes += plan->tensors[shard->tensors[k]].out.n_bytes;
        }
        plan->file_bytes += status == LLAVAMED_OK ? shard->layout.file_bytes : 0;
    }
    return status;
}

enum llavamed_status part_share_plan(const struct part_share *share, const struct plan *whole, unsigned part,
                                     struct plan *plan, size_t **tensor_of, struct llavamed_error *error)
{
    struct plan made = {.operation = whole->operation, .format = whole->format, .model_dtype = whole->model_dtype};
    size_t n = share->firsts[part + 1] - share->firsts[part];
    size_t *map = calloc(n + 1, sizeof *map);
    made.tensors = calloc(n + 1, sizeof *made.tensors);
    made.shards = calloc(whole->n_shards + 1, sizeof *made.shards);
    enum llavamed_status status =
        map != NULL && made.tensors != NULL && made.shards != NULL
            ? LLAVAMED_OK
            : llavamed_fail_memory(error, n * sizeof *made.tensors, "the plan of a part");
    if (status == LLAVAMED_OK) {
        (void)memcpy(map, share->tensors + share->firsts[part], n * sizeof *map);
        status = copy_tensors(whole, map, n, &made, error);
    }
    if (status == LLAVAMED_OK) {
        status = copy_shards(share, whole, part, &made, error);
    }
    if (status != LLAVAMED_OK) {
        free(map);
        plan_deinit(&made);
        return status;
    }
    *plan = made;
    *tensor_of = map;
    return LLAVAMED_OK;
}
