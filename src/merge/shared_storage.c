/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/shared_storage.h"

#include <stdlib.h>

#include "source/place.h"

#define SHOWN_NAME_BYTES 200
/* Pairs of tensors that lie between each other, and steps to tell what they have in common; no real file comes near. */
#define PAIRS_MAX 1000000
#define STEPS_MAX 20000000

/* A tensor of the result whose delta is a view of a storage. */
struct view {
    const struct plan_tensor *tensor;
    size_t storage;
    uint64_t begin; /* bytes of the storage */
    uint64_t end;
    bool in_place;     /* the delta's dtype is the result's */
    size_t next_added; /* the next view that the base is added to, or n_views */
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
    uint64_t steps_left;
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

static void hint_at_clones(struct llavamed_error *error)
{
    llavamed_hint(error, "if the base is to be added once to each, load the delta in Python and save a clone() of each "
                         "tensor");
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
    hint_at_clones(error);
    return status;
}

/* What took too long is not told apart by the pair at which it was noticed. */
static enum llavamed_status refuse_unknown(const struct check *check, struct llavamed_error *error)
{
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                      "%s: whether its tensors share memory takes too long to tell (want at most %d pairs of views "
                      "that lie between each other, and %d steps)",
                      check->delta_spec, PAIRS_MAX, STEPS_MAX);
    hint_at_clones(error);
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
    if (!source_place_overlaps_itself(&place, &check->steps_left)) {
        return LLAVAMED_OK;
    }
    return check->steps_left == 0 ? refuse_unknown(check, error)
                                  : refuse(check, view->tensor->out.name, view->tensor->out.name, error);
}

/* Leaves the views that can have something in common which matters. */
static void keep_in_place(struct check *check)
{
    size_t n = 0;
    for (size_t i = 0; i < check->n_views; i++) {
        if (check->views[i].in_place && check->views[i].begin < check->views[i].end) {
            check->views[n++] = check->views[i];
        }
    }
    check->n_views = n;
    size_t next_added = n;
    for (size_t i = n; i > 0; i--) {
        check->views[i - 1].next_added = next_added;
        next_added = is_added_to(check->views[i - 1].tensor) ? i - 1 : next_added;
    }
}

/* A view and those behind it that begin before it ends: all of them, or those added to when it is only copied. */
static enum llavamed_status check_pairs(struct check *check, size_t i, struct llavamed_error *error)
{
    const struct view *view = &check->views[i];
    bool added = is_added_to(view->tensor);
    struct source_place place;
    if (!source_place(check->delta, view->tensor->delta_index, &place)) {
        return LLAVAMED_OK;
    }
    for (size_t j = added ? i + 1 : view->next_added; j < check->n_views;
         j = added ? j + 1 : check->views[j].next_added) {
        const struct view *other = &check->views[j];
        struct source_place other_place;
        if (other->storage != view->storage || other->begin >= view->end) {
            break;
        }
        if (check->n_pairs++ == PAIRS_MAX) {
            return refuse_unknown(check, error);
        }
        if (!source_place(check->delta, other->tensor->delta_index, &other_place) ||
            !source_place_overlap(&place, &other_place, &check->steps_left)) {
            continue;
        }
        if (check->steps_left == 0) {
            return refuse_unknown(check, error);
        }
        bool in_order = view->tensor < other->tensor;
        return refuse(check, (in_order ? view : other)->tensor->out.name, (in_order ? other : view)->tensor->out.name,
                      error);
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
    struct check check = {.delta = delta, .delta_spec = delta_spec, .steps_left = STEPS_MAX};
    enum llavamed_status status = find_views(plan, &check, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < check.n_views; i++) {
        status = check_view(&check, i, error);
    }
    keep_in_place(&check);
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
