/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a delta is beside its base: sums of squares of both, tensor by tensor, made of the elements that a merge
 * adds while it adds them, in the dtype in which it does. Elements that the delta alone has are summed apart: they are
 * no differences. NaN and infinities are left out.
 *
 * Squares of blocks of RELATIVE_SIZE_BLOCK elements are added as doubles in a fixed order, the blocks in fixed point
 * (square_sum.h): tiles may come in any order, from any worker. Blocks are counted from the start of a tile, or of a
 * run of a tile where the base has fewer columns, so that figures differ in the last bits of a double only where tiles
 * are cut elsewhere than at whole blocks.
 */
#ifndef MERGE_RELATIVE_SIZE_H
#define MERGE_RELATIVE_SIZE_H

#include <pthread.h>

#include "core/error.h"
#include "kernel/kernel.h"
#include "merge/square_sum.h"

#define RELATIVE_SIZE_BLOCK 512

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
