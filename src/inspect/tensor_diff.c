/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/tensor_diff.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"

bool tensor_diff_fits(enum dtype a, enum dtype b)
{
    enum kernel_type type;
    return a == b || (kernel_type_of(a, &type) && kernel_type_of(b, &type));
}

void tensor_diff_begin(struct tensor_diff *diff, const struct kernel_set *kernels, enum dtype a, enum dtype b)
{
    memset(diff, 0, sizeof *diff);
    diff->kernels = kernels;
    diff->a.dtype = a;
    diff->b.dtype = b;
    diff->found.is_compared = true;
    diff->found.has_values = kernel_type_of(a, &diff->a.type) && kernel_type_of(b, &diff->b.type);
    diff->found.has_ulps = diff->found.has_values && a == b;
}

/* ---- Elements ---- */

static uint64_t bits_at(const struct diff_side *side, size_t i)
{
    uint64_t bits = 0; /* little-endian hosts only, as kernel.c sees to */
    size_t n_bytes = dtype_bytes(side->dtype);
    memcpy(&bits, side->elems + i * n_bytes, n_bytes);
    return bits;
}

static double value_at(const struct diff_side *side, size_t i)
{
    double value;
    if (side->type != KERNEL_F64) {
        return (double)side->values[i];
    }
    memcpy(&value, side->elems + i * sizeof value, sizeof value);
    return value;
}

size_t tensor_diff_bucket(uint64_t ulps)
{
    if (ulps < 2) {
        return (size_t)ulps;
    }
    size_t n_bits = 64 - (size_t)__builtin_clzll(ulps - 1); /* the least power of two that is not below it */
    return n_bits + 1 < LLAVAMED_ULP_BUCKETS ? n_bits + 1 : LLAVAMED_ULP_BUCKETS - 1;
}

/* Numbers between two of one dtype, which bits of sign and magnitude order as integers do. */
static uint64_t distance(const struct tensor_diff *diff, size_t i)
{
    const unsigned sign_bit = dtype_bits(diff->a.dtype) - 1;
    const uint64_t mask = (UINT64_C(1) << sign_bit) - 1;
    uint64_t a = bits_at(&diff->a, i);
    uint64_t b = bits_at(&diff->b, i);
    uint64_t low = min_u64(a & mask, b & mask);
    uint64_t high = max_u64(a & mask, b & mask);
    return (a >> sign_bit) == (b >> sign_bit) ? high - low : high + low;
}

static void note_different(struct llavamed_diff_figures *found, uint64_t index)
{
    found->first = found->n_different == 0 ? index : found->first;
    found->n_different++;
}

/* Two elements with values. `lane` is that of the sum of squares. */
static void compare_values(struct tensor_diff *diff, size_t i, size_t lane)
{
    struct llavamed_diff_figures *found = &diff->found;
    double a = value_at(&diff->a, i);
    double b = value_at(&diff->b, i);
    bool is_same = found->has_ulps ? bits_at(&diff->a, i) == bits_at(&diff->b, i) : a == b || (isnan(a) && isnan(b));
    bool is_finite = isfinite(a) && isfinite(b);
    found->n_finite += is_finite;
    if (is_same) {
        return;
    }
    note_different(found, diff->n_elems + i);
    if (isnan(a) || isnan(b)) {
        found->n_nan++;
        return;
    }
    if (found->has_ulps) {
        found->ulps[tensor_diff_bucket(distance(diff, i))]++;
    }
    if (!is_finite) {
        found->n_infinite++;
        return;
    }
    double difference = fabs(a - b);
    found->max = difference > found->max ? difference : found->max;
    diff->squares.lanes[lane] += difference * difference;
}

/* ---- Pieces ---- */

static void make_values(const struct tensor_diff *diff, struct diff_side *side, size_t n_elems)
{
    uint64_t n_overflow = 0;
    if (side->type == KERNEL_F32) {
        memcpy(side->values, side->elems, n_elems * sizeof *side->values);
    } else if (side->type != KERNEL_F64) {
        diff->kernels->convert[side->type][KERNEL_F32](side->values, side->elems, n_elems, &n_overflow);
    }
}

/* Elements of one block, of which a whole run is equal more often than not. */
static void compare_piece(struct tensor_diff *diff, size_t n_elems)
{
    struct llavamed_diff_figures *found = &diff->found;
    size_t n_bytes = n_elems * dtype_bytes(diff->a.dtype);
    if (diff->a.dtype == diff->b.dtype && memcmp(diff->a.elems, diff->b.elems, n_bytes) == 0) {
        if (found->has_values) {
            struct kernel_counts counts = {0};
            kernel_scan(diff->a.type)(diff->a.elems, n_elems, &counts);
            found->n_finite += n_elems - counts.n_nan - counts.n_infinite;
        }
        return;
    }
    if (found->has_values) {
        make_values(diff, &diff->a, n_elems);
        make_values(diff, &diff->b, n_elems);
    }
    for (size_t i = 0; i < n_elems; i++) {
        if (found->has_values) {
            compare_values(diff, i, (diff->n_in_block + i) % ORDERED_SUM_LANES);
        } else if (bits_at(&diff->a, i) != bits_at(&diff->b, i)) {
            note_different(found, diff->n_elems + i);
        }
    }
}

void tensor_diff_feed(struct tensor_diff *diff, const void *a, const void *b, size_t n_elems)
{
    diff->a.elems = a;
    diff->b.elems = b;
    while (n_elems > 0) {
        size_t n = (size_t)min_u64(n_elems, ORDERED_SUM_BLOCK - diff->n_in_block);
        compare_piece(diff, n);
        diff->a.elems += n * dtype_bytes(diff->a.dtype);
        diff->b.elems += n * dtype_bytes(diff->b.dtype);
        diff->n_elems += n;
        diff->n_in_block += n;
        if (diff->n_in_block == ORDERED_SUM_BLOCK) {
            ordered_sum_end_block(&diff->squares);
            diff->n_in_block = 0;
        }
        n_elems -= n;
    }
}

struct llavamed_diff_figures tensor_diff_end(struct tensor_diff *diff)
{
    double squares = ordered_sum_end(&diff->squares);
    if (diff->found.n_finite > 0) {
        diff->found.rms = sqrt(squares / (double)diff->found.n_finite);
    }
    return diff->found;
}
