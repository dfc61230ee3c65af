/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two tensors of one shape, told in order. A function of the elements alone, to the last bit: the
 * sum of squares is in the order of ordered_sum.h.
 */
#ifndef INSPECT_TENSOR_DIFF_H
#define INSPECT_TENSOR_DIFF_H

#include "inspect/ordered_sum.h"
#include "kernel/kernel.h"
#include "llavamed_diff.h"

/* One of the two. */
struct diff_side {
    enum dtype dtype;
    enum kernel_type type; /* where the figures are of values */
    const uint8_t *elems;  /* of the piece at work: as in the file, and */
    float values[ORDERED_SUM_BLOCK]; /* as floats, but for F64 */
};

struct tensor_diff {
    const struct kernel_set *kernels; /* borrowed */
    struct diff_side a;
    struct diff_side b;
    uint64_t n_elems;
    size_t n_in_block;
    struct ordered_sum squares;
    struct llavamed_diff_figures found; /* but for rms */
};

/* Whether elements of these dtypes can be compared: equal ones, or two of F16, BF16, F32 and F64. */
bool tensor_diff_fits(enum dtype a, enum dtype b);

/* The dtypes fit and are of whole bytes. The calling thread is in the default floating-point environment. */
void tensor_diff_begin(struct tensor_diff *diff, const struct kernel_set *kernels, enum dtype a, enum dtype b);

/* The next elements of both, as they are in files. */
void tensor_diff_feed(struct tensor_diff *diff, const void *a, const void *b, size_t n_elems);

struct llavamed_diff_figures tensor_diff_end(struct tensor_diff *diff);

/* The bucket of struct llavamed_diff_figures for a distance. */
size_t tensor_diff_bucket(uint64_t ulps);

#endif
