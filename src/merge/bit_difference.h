/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact deltas. A floating-point difference is rounded; the difference of two numbers' bits, taken as unsigned integers
 * modulo 2^16, 2^32 or 2^64, is not, and added to the base's bits it gives the target's, whatever they mean. It needs
 * no more room than a rounded one. Its dtype tells the one that it belongs to:
 *
 *     F16: I16    BF16: U16    F32: I32    F64: I64
 */
#ifndef MERGE_BIT_DIFFERENCE_H
#define MERGE_BIT_DIFFERENCE_H

#include "tensor/dtype.h"

/* The integers that hold differences of an addable dtype. */
enum dtype bit_difference_dtype(enum dtype values);

/* The other way round; false, and *values untouched, for a dtype that holds none. */
bool bit_difference_values(enum dtype difference, enum dtype *values);

/*
 * out = target - base, or out = base + difference: integers of element_bytes (2, 4 or 8), modulo their range. Any
 * alignment; `out` may be either operand.
 */
void bit_difference_subtract(void *out, const void *base, const void *target, size_t n_elems, size_t element_bytes);
void bit_difference_add(void *out, const void *base, const void *difference, size_t n_elems, size_t element_bytes);

#endif
