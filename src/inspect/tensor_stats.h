/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of one tensor's elements, told in order. They are a function of the elements alone, to the last bit,
 * however many come at a time and on any machine: sums are of doubles, in the order of ordered_sum.h.
 */
#ifndef INSPECT_TENSOR_STATS_H
#define INSPECT_TENSOR_STATS_H

#include "inspect/ordered_sum.h"
#include "kernel/kernel.h"
#include "llavamed.h"

struct tensor_stats {
    enum kernel_type type;
    const struct kernel_set *kernels; /* borrowed */
    size_t n_in_block;
    uint64_t n_elems;
    struct ordered_sum sum;
    struct ordered_sum squares;
    struct llavamed_inspect_stats found; /* but for mean and rms */
};

/* Whether statistics are made of this dtype: F16, BF16, F32, F64. */
bool tensor_stats_fits(enum dtype dtype);

/* dtype must fit. The calling thread, here and below, is in the default floating-point environment. */
void tensor_stats_begin(struct tensor_stats *stats, const struct kernel_set *kernels, enum dtype dtype);

/* The next elements, as they are in files. */
void tensor_stats_feed(struct tensor_stats *stats, const void *elems, size_t n_elems);

struct llavamed_inspect_stats tensor_stats_end(struct tensor_stats *stats);

#endif
