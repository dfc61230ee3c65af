/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a delta is beside its base: sums of squares of both, tensor by tensor, made of the elements that a merge
 * adds while it adds them, in the dtype in which it does. Elements that the delta alone has are summed apart: they are
 * no differences. NaN and infinities are left out.
 *
 * Squares of blocks of RELATIVE_SIZE_BLOCK elements are added as floats in a fixed order, or as doubles where floats
 * would not do; the blocks in fixed point (square_sum.h), so that tiles may come in any order, from any worker. Blocks
 * are counted from the start of a tile, or of a run of a tile where the base has fewer columns. Tiles are cut at whole
 * blocks, or at whole rows, which for every LLaMA are whole blocks. With other widths figures can differ, in the sixth
 * digit, between runs whose tiles are not the same.
 */
#ifndef MERGE_RELATIVE_SIZE_H
#define MERGE_RELATIVE_SIZE_H

#include <pthread.h>

#include "core/error.h"
#include "kernel/kernel.h"
#include "merge/square_sum.h"

#define RELATIVE_SIZE_BLOCK 256

struct size_sum {
    struct square_sum squares;
    uint64_t n_finite;
};

/* Of one tensor, or of a tile of it. Zeroed it is empty. */
struct relative_size {
    struct size_sum base; /* of the elements that are added, as delta */
    struct size_sum delta;
    struct size_sum alone; /* of those that the delta alone has */
};

/* Adds elements of this type, any alignment. */
void size_sum_feed(struct size_sum *sum, const struct kernel_set *kernels, enum kernel_type type, const void *elems,
                   size_t n_elems);

/* Root of the mean square; 0 of nothing, infinite when it is too large to be told. */
double size_sum_rms(const struct size_sum *sum);

/* Of all tensors of a plan. */
struct relative_sizes {
    struct relative_size *tensors; /* owned, as plan->tensors */
    pthread_mutex_t lock;
};

/* NO_MEMORY. *out is owned by the caller. */
enum llavamed_status relative_sizes_create(size_t n_tensors, struct relative_sizes **out,
                                           struct llavamed_error *error) LLAVAMED_CHECK;
void relative_sizes_free(struct relative_sizes *sizes); /* NULL is fine */

/* Adds what a tile had. Thread-safe. */
void relative_sizes_join(struct relative_sizes *sizes, size_t tensor, const struct relative_size *tile);

#endif
