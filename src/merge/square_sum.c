/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/square_sum.h"

#include <math.h>

#define UNIT_EXPONENT (-128)
#define MANTISSA_BITS 53
#define SUM_BITS (64 * SQUARE_SUM_LIMBS)

/* Adds to a limb; what does not fit goes on to the next. */
static void add_limb(struct square_sum *sum, unsigned limb, uint64_t bits)
{
    for (; bits != 0 && limb < SQUARE_SUM_LIMBS; limb++) {
        sum->limbs[limb] += bits;
        bits = sum->limbs[limb] < bits; /* the carry */
    }
    sum->is_huge = sum->is_huge || bits != 0;
}

void square_sum_add(struct square_sum *sum, double value)
{
    if (!isfinite(value)) {
        sum->is_huge = true;
        return;
    }
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(value, &exponent), MANTISSA_BITS);
    int shift = exponent - MANTISSA_BITS - UNIT_EXPONENT; /* of the mantissa, in the sum */
    if (shift < 0) {
        mantissa = shift <= -64 ? 0 : mantissa >> -shift;
        shift = 0;
    }
    if (shift + MANTISSA_BITS >= SUM_BITS) {
        sum->is_huge = true;
        return;
    }
    unsigned limb = (unsigned)shift / 64;
    unsigned bits = (unsigned)shift % 64;
    add_limb(sum, limb, mantissa << bits);
    if (bits > 0) {
        add_limb(sum, limb + 1, mantissa >> (64 - bits));
    }
}

void square_sum_join(struct square_sum *sum, const struct square_sum *other)
{
    for (unsigned i = 0; i < SQUARE_SUM_LIMBS; i++) {
        add_limb(sum, i, other->limbs[i]);
    }
    sum->is_huge = sum->is_huge || other->is_huge;
}

double square_sum_value(const struct square_sum *sum)
{
    double value = 0;
    for (int i = 0; i < SQUARE_SUM_LIMBS; i++) {
        value += ldexp((double)sum->limbs[i], 64 * i + UNIT_EXPONENT);
    }
    return sum->is_huge ? INFINITY : value;
}
