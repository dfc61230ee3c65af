/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/shared_storage.h"

#include <stdlib.h>

#include "source/place.h"

#define SHOWN_NAME_BYTES 200
/* Comparisons of two tensors; no real file comes near it, a made one is refused as if they all overlapped. */
#define PAIRS_MAX 1000000

/* A tensor of the result whose delta is a view of a storage. */
struct view {
    const struct plan_tensor *tensor;
    size_t storage;
    uint64_t begin; /* bytes of the storage */
    uint64_t end;
    bool in_place; /* the delta's dtype is the result's */
};

/* Tensors of one kind: how many, and the first of them. */
struct count {
    size_t n;
    const char *first;
};

struct check {
    const struct source *delta;
    const char *delta_spec;
    struct view *views; /* owned, by storage and place */
    size_t n_views;
    size_t n_pairs;
    struct count repeating;
    struct count saved_otherwise;
};

static void count_one(struct count *count, const struct plan_tensor *tensor)
{
    count->first = count->n == 0 ? tensor->out.name : count->first;
    count->n++;
}

static bool is_added_to(const struct plan_tensor *tensor)
{
    return tensor->action == PLAN_ADD || tensor->action == PLAN_ADD_TOP_LEFT;
}

static int compare_views(const void *a, const void *b)
{
    const struct view *left = a;
    const struct view *right = b;
    if (left->storage != right->storage) {
        return left->storage < right->storage ? -1 : 1;
    }
    if (left->begin != right->begin) {
        return left->begin < right->begin ? -1 : 1;
    }
    return (left->tensor > right->tensor) - (left->tensor < right->tensor);
}

static enum llavamed_status find_views(const struct plan *plan, struct check *check, struct llavamed_error *error)
{
    check->views = calloc(plan->n_tensors + 1, sizeof *check->views);
    if (check->views == NULL) {
        return llavamed_fail_memory(error, (plan->n_tensors + 1) * sizeof *check->views, "the list of views");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        struct source_place place;
        if (source_place(check->delta, tensor->delta_index, &place)) {
            check->views[check->n_views++] = (struct view){
                .tensor = tensor,
                .storage = place.storage,
                .begin = place.view.offset,
                .end = source_place_end(&place),
                /* The reference brings rotary buffers to float16 and back: copies. */
                .in_place = tensor->action != PLAN_INV_FREQ &&
                            tensor->out.dtype == source_tensors(check->delta)->tensors[tensor->delta_index].dtype,
            };
        }
    }
    qsort(check->views, check->n_views, sizeof *check->views, compare_views);
    return LLAVAMED_OK;
}

static enum llavamed_status refuse(const struct check *check, const char *a, const char *b,
                                   struct llavamed_error *error)
{
    enum llavamed_status status =
        a == b ? llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: elements of tensor %.*s share memory: the reference would add several of the base "
                               "to one",
                               check->delta_spec, SHOWN_NAME_BYTES, a)
               : llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: tensors %.*s and %.*s share memory: the reference would add to it for both",
                               check->delta_spec, SHOWN_NAME_BYTES, a, SHOWN_NAME_BYTES, b);
    llavamed_hint(error, "if the base is to be added once to each, load the delta in Python and save a clone() of each "
                         "tensor");
    return status;
}

/* One view alone. */
static enum llavamed_status check_view(struct check *check, size_t i, struct llavamed_error *error)
{
    const struct view *view = &check->views[i];
    struct source_place place;
    if (!source_place(check->delta, view->tensor->delta_index, &place)) {
        return LLAVAMED_OK;
    }
    bool shared = (i > 0 && check->views[i - 1].storage == view->storage) ||
                  (i + 1 < check->n_views && check->views[i + 1].storage == view->storage);
    bool all_of_it = view->begin == 0 && view->end == place.storage_bytes && !shared;
    if (!place.row_major || (view->in_place && !all_of_it)) {
        count_one(&check->saved_otherwise, view->tensor);
    }
    if (!view->in_place || !is_added_to(view->tensor)) {
        return LLAVAMED_OK;
    }
    if (source_place_repeats(&place)) {
        count_one(&check->repeating, view->tensor);
    }
    return source_place_overlaps_itself(&place) ? refuse(check, view->tensor->out.name, view->tensor->out.name, error)
                                                : LLAVAMED_OK;
}

/* A view and those behind it that begin before it ends. */
static enum llavamed_status check_pairs(struct check *check, size_t i, struct llavamed_error *error)
{
    const struct view *view = &check->views[i];
    struct source_place place;
    if (!view->in_place || !source_place(check->delta, view->tensor->delta_index, &place)) {
        return LLAVAMED_OK;
    }
    for (size_t j = i + 1; j < check->n_views; j++) {
        const struct view *other = &check->views[j];
        struct source_place other_place;
        if (other->storage != view->storage || other->begin >= view->end) {
            break;
        }
        if (!other->in_place || !(is_added_to(view->tensor) || is_added_to(other->tensor)) ||
            !source_place(check->delta, other->tensor->delta_index, &other_place)) {
            continue;
        }
        if (check->n_pairs++ == PAIRS_MAX || source_place_overlap(&place, &other_place)) {
            bool in_order = view->tensor < other->tensor;
            return refuse(check, (in_order ? view : other)->tensor->out.name,
                          (in_order ? other : view)->tensor->out.name, error);
        }
    }
    return LLAVAMED_OK;
}

static void warn(const struct check *check, const struct plan *plan, struct warnings *warnings)
{
    const struct count *repeating = &check->repeating;
    const struct count *otherwise = &check->saved_otherwise;
    if (repeating->n > 0) {
        warnings_add(
            warnings,
            "delta: %zu tensor%s (first %.*s) with a stride of 0, to which the reference cannot add: here each "
            "element gets its own of the base",
            repeating->n, repeating->n == 1 ? "" : "s", SHOWN_NAME_BYTES, repeating->first);
    }
    if (otherwise->n > 0 && plan->format != SHARD_SAFETENSORS) {
        warnings_add(warnings,
                     "delta: %zu tensor%s (first %.*s) saved as %s of a storage, which the reference keeps: the values "
                     "are the same, the hashes of its shards may be others",
                     otherwise->n, otherwise->n == 1 ? "" : "s", SHOWN_NAME_BYTES, otherwise->first,
                     otherwise->n == 1 ? "a view" : "views");
    }
}

enum llavamed_status shared_storage_check(const struct plan *plan, const struct source *delta, const char *delta_spec,
                                          struct warnings *warnings, struct llavamed_error *error)
{
    struct check check = {.delta = delta, .delta_spec = delta_spec};
    enum llavamed_status status = find_views(plan, &check, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < check.n_views; i++) {
        status = check_view(&check, i, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < check.n_views; i++) {
        status = check_pairs(&check, i, error);
    }
    if (status == LLAVAMED_OK) {
        warn(&check, plan, warnings);
        status = warnings_status(warnings, error);
    }
    free(check.views);
    return status;
}
