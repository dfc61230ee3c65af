/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/bit_difference.h"

#include <string.h>

static const struct {
    enum dtype values;
    enum dtype difference;
} dtypes[] = {
    {DTYPE_F16, DTYPE_I16},
    {DTYPE_BF16, DTYPE_U16},
    {DTYPE_F32, DTYPE_I32},
    {DTYPE_F64, DTYPE_I64},
};

enum dtype bit_difference_dtype(enum dtype values)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].values == values) {
            return dtypes[i].difference;
        }
    }
    return values;
}

bool bit_difference_values(enum dtype difference, enum dtype *values)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].difference == difference) {
            *values = dtypes[i].values;
            return true;
        }
    }
    return false;
}

/* out = other + sign * base, where sign is 1 or -1. Inlined with constants, so that each call is one plain loop. */
static inline __attribute__((always_inline)) void combine(uint8_t *out, const uint8_t *base, const uint8_t *other,
                                                          size_t n_elems, size_t element_bytes, uint64_t sign)
{
    for (size_t i = 0; i < n_elems * element_bytes; i += element_bytes) {
        uint64_t a = 0;
        uint64_t b = 0;
        memcpy(&a, other + i, element_bytes);
        memcpy(&b, base + i, element_bytes);
        a += sign * b;
        memcpy(out + i, &a, element_bytes);
    }
}

static void combine_any(uint8_t *out, const uint8_t *base, const uint8_t *other, size_t n_elems, size_t element_bytes,
                        uint64_t sign)
{
    switch (element_bytes) {
    case 2:
        combine(out, base, other, n_elems, 2, sign);
        break;
    case 4:
        combine(out, base, other, n_elems, 4, sign);
        break;
    default:
        combine(out, base, other, n_elems, 8, sign);
        break;
    }
}

void bit_difference_subtract(void *out, const void *base, const void *target, size_t n_elems, size_t element_bytes)
{
    combine_any(out, base, target, n_elems, element_bytes, UINT64_MAX);
}

void bit_difference_add(void *out, const void *base, const void *difference, size_t n_elems, size_t element_bytes)
{
    combine_any(out, base, difference, n_elems, element_bytes, 1);
}
