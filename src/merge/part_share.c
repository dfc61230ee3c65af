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

static enum llavamed_status copy_shard(const struct plan *plan, const struct plan_shard *from, const size_t *index_of,
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
        to->tensors[i] = index_of[from->tensors[i]];
        borrowed[i] = &plan->tensors[to->tensors[i]].out;
    }
    to->n_tensors = from->n_tensors;
    enum llavamed_status status =
        shard_layout_build(plan->format, to->name, borrowed, to->n_tensors, &to->layout, error);
    free(borrowed);
    return status;
}

/* The tensors of the part; index_of[i] becomes where tensor i of the whole is, if it is. */
static enum llavamed_status copy_tensors(const struct part_share *share, const struct plan *whole, unsigned part,
                                         struct plan *plan, size_t *tensor_of, size_t *index_of,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < whole->n_tensors; i++) {
        if (share->owners[whole->tensors[i].shard] == part) {
            index_of[i] = plan->n_tensors;
            tensor_of[plan->n_tensors] = i;
            status = copy_tensor(&whole->tensors[i], &plan->tensors[plan->n_tensors++], error);
        }
    }
    return status;
}

static enum llavamed_status copy_shards(const struct part_share *share, const struct plan *whole, unsigned part,
                                        struct plan *plan, const size_t *index_of, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < whole->n_shards; i++) {
        if (share->owners[i] != part) {
            continue;
        }
        struct plan_shard *shard = &plan->shards[plan->n_shards++];
        status = copy_shard(plan, &whole->shards[i], index_of, shard, error);
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
    size_t *map = calloc(whole->n_tensors + 1, sizeof *map);
    size_t *index_of = calloc(whole->n_tensors + 1, sizeof *index_of);
    made.tensors = calloc(whole->n_tensors + 1, sizeof *made.tensors);
    made.shards = calloc(whole->n_shards + 1, sizeof *made.shards);
    enum llavamed_status status =
        map != NULL && index_of != NULL && made.tensors != NULL && made.shards != NULL
            ? LLAVAMED_OK
            : llavamed_fail_memory(error, whole->n_tensors * sizeof *made.tensors, "the plan of a part");
    if (status == LLAVAMED_OK) {
        status = copy_tensors(share, whole, part, &made, map, index_of, error);
    }
    if (status == LLAVAMED_OK) {
        status = copy_shards(share, whole, part, &made, index_of, error);
    }
    free(index_of);
    if (status != LLAVAMED_OK) {
        free(map);
        plan_deinit(&made);
        return status;
    }
    *plan = made;
    *tensor_of = map;
    return LLAVAMED_OK;
}
