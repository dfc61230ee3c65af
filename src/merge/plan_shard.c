/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts the result into shards, greedily and in model order, exactly as the writers of the two formats do:
 *
 * - safetensors: huggingface_hub's split_state_dict_into_shards_factory. A tensor larger than the limit becomes a shard
 *   of its own at once, numbered before the one still being filled. Tensors without bytes all have the storage at
 *   address 0 in torch: it takes them for views of one, and puts them behind the others of the first one's shard.
 * - torch: shard_checkpoint() of transformers 4.28. Such a tensor ends the shard being filled, even an empty one.
 *   Sizes are what that function takes for them (reference_size.h).
 */
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/shard_index.h"
#include "merge/plan_parts.h"

static size_t assign_torch_shards(uint64_t limit, struct plan *plan)
{
    size_t shard = 0;
    struct reference_size open = {0};
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct tensor *tensor = &plan->tensors[i].out;
        struct reference_size filled = reference_size_plus(open, tensor);
        if (reference_size_above(&filled, limit)) {
            shard++;
            filled = reference_size_plus((struct reference_size){0}, tensor);
        }
        plan->tensors[i].shard = shard;
        open = filled;
        plan->reference_total = reference_size_plus(plan->reference_total, tensor);
    }
    return shard + 1;
}

/* The first tensor without bytes; n_tensors without one, and in torch shards, where they are nothing special. */
static size_t first_without_bytes(const struct plan *plan)
{
    size_t i = 0;
    while (i < plan->n_tensors && (plan->format != SHARD_SAFETENSORS || plan->tensors[i].out.n_bytes > 0)) {
        i++;
    }
    return i;
}

/* Whether a tensor only follows that one into its shard. */
static bool is_follower(const struct plan *plan, size_t index, size_t first)
{
    return first < plan->n_tensors && index != first && plan->tensors[index].out.n_bytes == 0;
}

/* Sets .shard of every tensor and returns the number of shards. `open_at` is room for n_tensors indices. */
static size_t assign_shards(uint64_t limit, struct plan *plan, size_t *open_at)
{
    size_t first = first_without_bytes(plan);
    size_t n_shards = 0;
    size_t n_open = 0; /* tensors of the shard being filled: plan->tensors[open_at[0 .. n_open)] */
    uint64_t open_bytes = 0;
    for (size_t i = 0; i <= plan->n_tensors; i++) {
        bool at_end = i == plan->n_tensors;
        uint64_t n_bytes = at_end ? 0 : plan->tensors[i].out.n_bytes;
        if (!at_end && is_follower(plan, i, first)) {
            continue;
        }
        if (!at_end && n_bytes > limit) {
            plan->tensors[i].shard = n_shards++;
            continue;
        }
        if (n_open > 0 && (at_end || n_bytes > limit - open_bytes)) {
            for (size_t k = 0; k < n_open; k++) {
                plan->tensors[open_at[k]].shard = n_shards;
            }
            n_shards++;
            n_open = 0;
            open_bytes = 0;
        }
        if (!at_end) {
            open_at[n_open++] = i;
            open_bytes += n_bytes;
        }
    }
    for (size_t i = first; i < plan->n_tensors; i++) {
        if (is_follower(plan, i, first)) {
            plan->tensors[i].shard = plan->tensors[first].shard;
        }
    }
    return n_shards;
}

/* Appends to each shard its tensors in model order: those that only follow another one, or all else. */
static void fill_shards(struct plan *plan, bool followers)
{
    size_t first = first_without_bytes(plan);
    for (size_t i = 0; i < plan->n_tensors; i++) {
        struct plan_shard *shard = &plan->shards[plan->tensors[i].shard];
        if (is_follower(plan, i, first) == followers) {
            shard->tensors[shard->n_tensors++] = i;
        }
    }
}

/* Allocates plan->shards with room for each one's tensors and fills them in the order that their writer gives them. */
static enum llavamed_status collect_shards(size_t n_shards, struct plan *plan, struct llavamed_error *error)
{
    plan->shards = calloc(n_shards + 1, sizeof *plan->shards);
    if (plan->shards == NULL) {
        return llavamed_fail_memory(error, (n_shards + 1) * sizeof *plan->shards, "the list of shards");
    }
    plan->n_shards = n_shards;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        plan->shards[plan->tensors[i].shard].n_tensors++;
    }
    for (size_t i = 0; i < n_shards; i++) {
        struct plan_shard *shard = &plan->shards[i];
        shard->tensors = calloc(shard->n_tensors + 1, sizeof *shard->tensors);
        if (shard->tensors == NULL) {
            return llavamed_fail_memory(error, (shard->n_tensors + 1) * sizeof *shard->tensors, "a shard's tensors");
        }
        shard->n_tensors = 0;
    }
    fill_shards(plan, false);
    fill_shards(plan, true);
    return LLAVAMED_OK;
}

static enum llavamed_status name_shard(struct plan *plan, size_t index, struct llavamed_error *error)
{
    struct buffer text;
    buffer_init(&text, 128);
    bool torch = shard_format_is_torch(plan->format);
    buffer_append_text(&text, torch ? "pytorch_model" : "model");
    if (plan->n_shards > 1) {
        buffer_printf(&text, "-%05zu-of-%05zu", index + 1, plan->n_shards);
    }
    buffer_append_text(&text, torch ? ".bin" : ".safetensors");
    enum llavamed_status status = buffer_status(&text, "the name of a shard", error);
    if (status == LLAVAMED_OK) {
        plan->shards[index].name = buffer_take(&text);
    }
    buffer_deinit(&text);
    return status;
}

static enum llavamed_status lay_out_shard(struct plan *plan, size_t index, const struct tensor **borrowed,
                                          struct llavamed_error *error)
{
    struct plan_shard *shard = &plan->shards[index];
    for (size_t i = 0; i < shard->n_tensors; i++) {
        borrowed[i] = &plan->tensors[shard->tensors[i]].out;
    }
    enum llavamed_status status = name_shard(plan, index, error);
    return status == LLAVAMED_OK
               ? shard_layout_build(plan->format, shard->name, borrowed, shard->n_tensors, &shard->layout, error)
               : status;
}

static enum llavamed_status lay_out_shards(struct plan *plan, struct llavamed_error *error)
{
    const struct tensor **borrowed = calloc(plan->n_tensors + 1, sizeof *borrowed);
    if (borrowed == NULL) {
        return llavamed_fail_memory(error, (plan->n_tensors + 1) * sizeof *borrowed, "the layout of shards");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_shards; i++) {
        status = lay_out_shard(plan, i, borrowed, error);
        if (status == LLAVAMED_OK &&
            !checked_add_u64(plan->file_bytes, plan->shards[i].layout.file_bytes, &plan->file_bytes)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                                   "the sizes of all shards together do not fit 64 bits");
        }
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        plan->data_bytes += plan->tensors[i].out.n_bytes; /* no more than file_bytes */
    }
    free(borrowed);
    return status;
}

enum llavamed_status plan_cut_shards(const struct plan_options *options, struct plan *plan,
                                     struct llavamed_error *error)
{
    uint64_t max_shard_bytes = options->max_shard_bytes;
    plan->format = options->format;
    size_t *open_at = calloc(plan->n_tensors + 1, sizeof *open_at);
    if (open_at == NULL) {
        return llavamed_fail_memory(error, (plan->n_tensors + 1) * sizeof *open_at, "the plan of shards");
    }
    bool torch = shard_format_is_torch(plan->format);
    size_t n_shards =
        torch ? assign_torch_shards(max_shard_bytes, plan) : assign_shards(max_shard_bytes, plan, open_at);
    free(open_at);
    if (n_shards > SHARD_COUNT_MAX) {
        enum llavamed_status status = llavamed_fail(
            error, LLAVAMED_STATUS_USAGE, "shards of at most %llu bytes would be too many (got %zu, want at most %d)",
            (unsigned long long)max_shard_bytes, n_shards, SHARD_COUNT_MAX);
        llavamed_hint(error, "allow larger shards with --max-shard-size");
        return status;
    }
    enum llavamed_status status = collect_shards(n_shards, plan, error);
    if (status == LLAVAMED_OK) {
        status = lay_out_shards(plan, error);
    }
    if (status == LLAVAMED_OK && n_shards > 1) {
        plan->index_name = strdup(torch ? "pytorch_model.bin.index.json" : "model.safetensors.index.json");
        if (plan->index_name == NULL) {
            status = llavamed_fail_memory(error, 64, "the name of the index");
        }
    }
    return status;
}
