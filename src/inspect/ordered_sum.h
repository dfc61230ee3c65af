/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sum of doubles in one order, whatever the pieces in which they come. They are taken in blocks of
 * ORDERED_SUM_BLOCK from the first on; the last one may be shorter. Within a block value i is added to sum i mod 8, so
 * that a machine can do several at a time; these are added as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). The blocks'
 * sums are added in order, with what rounding takes kept apart (Neumaier, ZAMM 54, 1974) and added at the end.
 */
#ifndef INSPECT_ORDERED_SUM_H
#define INSPECT_ORDERED_SUM_H

#include <stddef.h>

#define ORDERED_SUM_LANES 8
#define ORDERED_SUM_BLOCK 4096

/* Zeroed it is the empty sum. Whoever adds to the lanes counts, and ends each block. */
struct ordered_sum {
    double lanes[ORDERED_SUM_LANES]; /* of the block that is not full */
    double total;
    double lost;
};

void ordered_sum_end_block(struct ordered_sum *sum);

/* After the last value. */
double ordered_sum_end(struct ordered_sum *sum);

#endif
