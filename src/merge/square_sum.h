/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sum of doubles that are not negative, in fixed point: the same whatever the order in which they come. Its unit is
 * 2^-128, what is less of a value is cut off; from 2^127 on it is too large to be told.
 */
#ifndef MERGE_SQUARE_SUM_H
#define MERGE_SQUARE_SUM_H

#include <stdbool.h>
#include <stdint.h>

#define SQUARE_SUM_LIMBS 4

/* Zeroed it is the empty sum. */
struct square_sum {
    uint64_t limbs[SQUARE_SUM_LIMBS]; /* the least first */
    bool is_huge;
};

/* An infinite value makes the sum huge; NaN and what is negative must not come. */
void square_sum_add(struct square_sum *sum, double value);

void square_sum_join(struct square_sum *sum, const struct square_sum *other);

/* Infinite when it is huge. */
double square_sum_value(const struct square_sum *sum);

#endif
