/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two views have an element in common when
 *
 *     offset_a + i0 * a0 + i1 * a1 + ... == offset_b + j0 * b0 + j1 * b1 + ...       0 <= i < shape_a, 0 <= j < shape_b
 *
 * has a solution: one linear equation with a bounded integer for each dimension. It is searched from the largest stride
 * to the smallest; what the smaller ones can still add up to, and what divides them, leaves one or two values each in
 * nested views.
 */
#include "source/place.h"

#include "core/checked.h"
#include "source/source_parts.h"

#define TERMS_MAX (2 * TENSOR_RANK_MAX)
#define STEPS_MAX 100000
#define TERM_STEPS 4 /* what a term costs before the search */
/* Sums of the strides of two views stay far inside 64 bits. */
#define STORAGE_BYTES_MAX ((uint64_t)INT64_MAX / 4)

/* stride * x, low <= x <= high */
struct term {
    int64_t stride; /* above 0 */
    int64_t low;
    int64_t high;
};

struct equation {
    struct term terms[TERMS_MAX]; /* by descending stride */
    unsigned n_terms;
};

/* Where the search is: term k and what it may be, given those before it. */
struct level {
    int64_t left; /* of the target, for terms k and on */
    int64_t value;
    int64_t last;
};

/* What terms k and on can add up to. */
struct reach {
    int64_t low;
    int64_t high;
    int64_t divisor; /* of all their sums; 0 for no terms */
};

bool source_place(const struct source *source, size_t index, struct source_place *place)
{
    return source->layout->place != NULL && source->layout->place(source->state, index, place);
}

static bool is_empty(const struct source_place *place)
{
    for (unsigned i = 0; i < place->view.rank; i++) {
        if (place->view.shape[i] == 0) {
            return true;
        }
    }
    return false;
}

uint64_t source_place_end(const struct source_place *place)
{
    uint64_t last = 0;
    if (is_empty(place)) {
        return place->view.offset;
    }
    for (unsigned i = 0; i < place->view.rank; i++) {
        last += (place->view.shape[i] - 1) * place->view.strides[i];
    }
    return place->view.offset + (last + 1) * place->view.elem_bytes;
}

bool source_place_repeats(const struct source_place *place)
{
    for (unsigned i = 0; i < place->view.rank; i++) {
        if (place->view.strides[i] == 0 && place->view.shape[i] > 1) {
            return true;
        }
    }
    return false;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void add_term(struct equation *equation, struct term term)
{
    unsigned at = equation->n_terms++;
    for (; at > 0 && equation->terms[at - 1].stride < term.stride; at--) {
        equation->terms[at] = equation->terms[at - 1];
    }
    equation->terms[at] = term;
}

static void find_reach(const struct equation *equation, unsigned first, struct reach reach[TERMS_MAX + 1])
{
    reach[equation->n_terms] = (struct reach){0};
    for (unsigned k = equation->n_terms; k > first; k--) {
        const struct term *term = &equation->terms[k - 1];
        reach[k - 1] = (struct reach){
            .low = reach[k].low + term->stride * term->low,
            .high = reach[k].high + term->stride * term->high,
            .divisor = greatest_divisor(term->stride, reach[k].divisor),
        };
    }
}

/* The values of a term after which the others can still make up what is left. */
static struct level begin_level(const struct term *term, int64_t left, const struct reach *all,
                                const struct reach *others)
{
    struct level level = {.left = left, .value = 1, .last = 0};
    if (left % all->divisor == 0) {
        int64_t least = -floor_divide(others->high - left, term->stride);
        int64_t most = floor_divide(left - others->low, term->stride);
        level.value = least > term->low ? least : term->low;
        level.last = most < term->high ? most : term->high;
    }
    return level;
}

/* Whether terms `first` and on can add up to the target; *steps of `most` are taken. To begin costs as much as some. */
static bool search(const struct equation *equation, unsigned first, int64_t target, uint64_t most, uint64_t *steps)
{
    struct reach reach[TERMS_MAX + 1];
    struct level levels[TERMS_MAX + 1];
    unsigned n = equation->n_terms;
    *steps = 1 + (uint64_t)TERM_STEPS * (n - first);
    if (first == n) {
        return target == 0;
    }
    find_reach(equation, first, reach);
    unsigned k = first;
    levels[k] = begin_level(&equation->terms[k], target, &reach[k], &reach[k + 1]);
    for (; *steps < most; ++*steps) {
        if (levels[k].value > levels[k].last) {
            if (k == first) {
                return false;
            }
            k--;
            levels[k].value++;
            continue;
        }
        if (k + 1 == n) {
            return true; /* its bounds were those of an exact division */
        }
        int64_t left = levels[k].left - equation->terms[k].stride * levels[k].value;
        k++;
        levels[k] = begin_level(&equation->terms[k], left, &reach[k], &reach[k + 1]);
    }
    return true;
}

static bool is_solvable(const struct equation *equation, unsigned first, int64_t target, uint64_t *steps_left)
{
    uint64_t steps;
    bool found = search(equation, first, target, min_u64(*steps_left, STEPS_MAX), &steps);
    *steps_left -= min_u64(steps, *steps_left);
    return found;
}

bool source_place_overlaps_itself(const struct source_place *place, uint64_t *steps_left)
{
    const struct strided_view *view = &place->view;
    struct equation equation = {.n_terms = 0};
    if (is_empty(place)) {
        return false;
    }
    if (place->storage_bytes > STORAGE_BYTES_MAX) {
        return true;
    }
    for (unsigned i = 0; i < view->rank; i++) {
        int64_t most = (int64_t)view->shape[i] - 1;
        if (view->strides[i] > 0) {
            add_term(&equation, (struct term){(int64_t)view->strides[i], -most, most});
        }
    }
    /* Two elements differ in some index: the first of these, say, is larger in one of them. */
    for (unsigned i = 0; i < equation.n_terms; i++) {
        equation.terms[i].low = 1;
        if (is_solvable(&equation, i, 0, steps_left)) {
            return true;
        }
    }
    return false;
}

bool source_place_overlap(const struct source_place *a, const struct source_place *b, uint64_t *steps_left)
{
    struct equation equation = {.n_terms = 0};
    if (a->storage != b->storage || is_empty(a) || is_empty(b)) {
        return false;
    }
    if (a->storage_bytes > STORAGE_BYTES_MAX) {
        return true;
    }
    const struct strided_view *views[] = {&a->view, &b->view};
    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < views[side]->rank; i++) {
            int64_t most = (int64_t)views[side]->shape[i] - 1;
            int64_t stride = (int64_t)views[side]->strides[i];
            if (stride > 0) {
                add_term(&equation, side == 0 ? (struct term){stride, 0, most} : (struct term){stride, -most, 0});
            }
        }
    }
    int64_t apart = (int64_t)(b->view.offset / b->view.elem_bytes) - (int64_t)(a->view.offset / a->view.elem_bytes);
    return is_solvable(&equation, 0, apart, steps_left);
}
