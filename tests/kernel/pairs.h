/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands for the kernel tests: special values, and pseudo-random pairs that meet each other. Two random fp32 values
 * are mostly so far apart that the larger is the sum, so most pairs here have exponents near each other, few set bits
 * (ties), almost cancel, or lie at the ends of the range.
 *
 * tests/tools/make_kernel_data.py computes the same pairs with numpy: change both or neither.
 */
#ifndef KERNEL_PAIRS_H
#define KERNEL_PAIRS_H

#include "kernel/kernel.h"

#include <string.h>

struct type_info {
    const char *name;
    size_t n_bytes;
    unsigned fraction_bits;
    unsigned exponent_bits;
};

static const struct type_info type_infos[KERNEL_TYPE_COUNT] = {
    [KERNEL_F16] = {"f16", 2, 10, 5},
    [KERNEL_BF16] = {"bf16", 2, 7, 8},
    [KERNEL_F32] = {"f32", 4, 23, 8},
    [KERNEL_F64] = {"f64", 8, 52, 11},
};

/* The finaliser of splitmix64 over a counter: any element of the sequence on its own. */
static inline uint64_t random_bits(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t type_mask(enum kernel_type type)
{
    return UINT64_MAX >> (64 - 8 * type_infos[type].n_bytes);
}

static inline uint64_t type_sign(enum kernel_type type)
{
    return type_mask(type) ^ (type_mask(type) >> 1);
}

static inline uint64_t type_exponent_max(enum kernel_type type)
{
    return (UINT64_C(1) << type_infos[type].exponent_bits) - 1;
}

static inline uint64_t type_infinity(enum kernel_type type)
{
    return type_exponent_max(type) << type_infos[type].fraction_bits;
}

struct pair_bits {
    uint64_t a;
    uint64_t b;
};

static inline uint64_t with_exponent(uint64_t bits, uint64_t exponent, enum kernel_type type)
{
    return (bits & ~type_infinity(type)) | (exponent << type_infos[type].fraction_bits);
}

static inline struct pair_bits pair_make(enum kernel_type type, uint64_t seed, uint64_t index)
{
    const uint64_t fraction_bits = type_infos[type].fraction_bits;
    const uint64_t exponent_max = type_exponent_max(type);
    const uint64_t control = random_bits(seed, 3 * index + 2);
    uint64_t a = random_bits(seed, 3 * index) & type_mask(type);
    uint64_t b = random_bits(seed, 3 * index + 1) & type_mask(type);
    const uint64_t mode = control & 7;

    if (mode >= 1 && mode <= 5) {
        /* b's exponent within p + 3 of a's. */
        const uint64_t reach = fraction_bits + 4;
        uint64_t exponent = ((a >> fraction_bits) & exponent_max) + (control >> 8) % (2 * reach + 1);
        exponent = exponent > reach ? exponent - reach : 0;
        b = with_exponent(b, exponent < exponent_max ? exponent : exponent_max, type);
    }
    if (mode == 5) {
        /* Trailing zeros in both: exact sums and ties. */
        a &= ~((UINT64_C(1) << ((control >> 16) % (fraction_bits + 1))) - 1);
        b &= ~((UINT64_C(1) << ((control >> 24) % (fraction_bits + 1))) - 1);
    }
    if (mode == 6) {
        /* Almost -a. */
        b = a ^ type_sign(type) ^ ((control >> 16) & 3);
    }
    if (mode == 7) {
        /* Both ends of the range. */
        const uint64_t near_a = (control >> 16) & 3;
        const uint64_t near_b = (control >> 18) & 3;
        const bool top = ((control >> 20) & 1) != 0;
        a = with_exponent(a, top ? exponent_max - near_a : near_a, type);
        b = with_exponent(b, top ? exponent_max - near_b : near_b, type);
    }
    return (struct pair_bits){a, b};
}

static inline void put_bits(void *array, size_t index, uint64_t bits, enum kernel_type type)
{
    const size_t n_bytes = type_infos[type].n_bytes;
    memcpy((uint8_t *)array + index * n_bytes, &bits, n_bytes);
}

static inline uint64_t get_bits(const void *array, size_t index, enum kernel_type type)
{
    const size_t n_bytes = type_infos[type].n_bytes;
    uint64_t bits = 0;
    memcpy(&bits, (const uint8_t *)array + index * n_bytes, n_bytes);
    return bits;
}

enum { SPECIALS_MAX = 96 };

/*
 * The magnitudes in `type` from which on values become infinite in the narrower type, and up to which they become zero.
 * The latter is 0 when `type` cannot hold it as a normal number.
 */
static inline void narrowing_edges(enum kernel_type type, enum kernel_type narrow, uint64_t edges[2])
{
    const uint64_t bias = type_exponent_max(type) >> 1;
    const uint64_t narrow_bias = type_exponent_max(narrow) >> 1;
    const uint64_t narrow_fraction_bits = type_infos[narrow].fraction_bits;
    const uint64_t implicit = UINT64_C(1) << type_infos[type].fraction_bits;
    edges[0] = (bias + narrow_bias + 1) * implicit - (implicit >> (narrow_fraction_bits + 1));
    edges[1] = bias > narrow_bias + narrow_fraction_bits ? (bias - narrow_bias - narrow_fraction_bits) * implicit : 0;
}

/*
 * Zeros, ends of the subnormals and normals, one and its neighbours, halves of their last places, infinity, quiet and
 * signalling NaN, and the edges of narrower types with their neighbours; each with both signs.
 */
static inline size_t specials_make(enum kernel_type type, uint64_t specials[SPECIALS_MAX])
{
    const uint64_t fraction_bits = type_infos[type].fraction_bits;
    const uint64_t implicit = UINT64_C(1) << fraction_bits;
    const uint64_t infinity = type_infinity(type);
    const uint64_t one = (type_exponent_max(type) >> 1) << fraction_bits;
    const uint64_t half_ulp = one - (fraction_bits + 1) * implicit;
    const uint64_t magnitudes[] = {
        0,
        1,
        2,
        3,
        implicit - 1,
        implicit,
        implicit + 1,
        2 * implicit,
        one - 1,
        one,
        one + 1,
        one + 2,
        one + (implicit >> 1),
        one + 3 * (implicit >> 2),
        half_ulp - implicit,
        half_ulp,
        half_ulp + 1,
        half_ulp + implicit,
        infinity - implicit,
        infinity - implicit + 1,
        infinity - 2,
        infinity - 1,
        infinity,
        infinity + 1,
        infinity + (implicit >> 1),
        infinity + implicit - 1,
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof magnitudes / sizeof magnitudes[0]; i++) {
        specials[n++] = magnitudes[i];
    }
    for (int narrow = 0; narrow < KERNEL_TYPE_COUNT && type_infos[narrow].n_bytes < type_infos[type].n_bytes;
         narrow++) {
        uint64_t edges[2];
        narrowing_edges(type, (enum kernel_type)narrow, edges);
        for (uint64_t near = 0; near < 3; near++) {
            specials[n++] = edges[0] - 1 + near;
            specials[n++] = edges[1] + near;
        }
    }
    for (size_t i = n; i > 0; i--) {
        specials[n++] = specials[i - 1] | type_sign(type);
    }
    return n;
}

#endif
