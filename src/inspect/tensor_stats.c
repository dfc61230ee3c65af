/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not finite counts as 0 in a sum. Squares of F16, BF16 and F32 are exact in a double; -ffp-contract=off keeps
 * products and sums apart.
 */
#include "inspect/tensor_stats.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"

bool tensor_stats_fits(enum dtype dtype)
{
    enum kernel_type type;
    return kernel_type_of(dtype, &type);
}

void tensor_stats_begin(struct tensor_stats *stats, const struct kernel_set *kernels, enum dtype dtype)
{
    *stats = (struct tensor_stats){.kernels = kernels};
    (void)kernel_type_of(dtype, &stats->type);
    stats->found.min = INFINITY;
    stats->found.max = -INFINITY;
}

/* ---- Counting ---- */

/* Elements of 16 bits with this pattern of exponent bits. */
static void count_16(struct llavamed_inspect_stats *found, const uint8_t *elems, size_t n_elems, unsigned exponent)
{
    uint32_t n_zero = 0; /* of at most a block */
    uint32_t n_subnormal = 0;
    uint32_t n_nan = 0;
    uint32_t n_infinite = 0;
    const unsigned lowest = exponent & (0u - exponent); /* of the normal numbers */
    for (size_t i = 0; i < n_elems; i++) {
        uint16_t bits;
        memcpy(&bits, elems + i * sizeof bits, sizeof bits);
        unsigned magnitude = bits & 0x7fffu;
        n_zero += magnitude == 0;
        n_subnormal += magnitude != 0 && magnitude < lowest;
        n_nan += magnitude > exponent;
        n_infinite += magnitude == exponent;
    }
    found->n_zero += n_zero;
    found->n_subnormal += n_subnormal;
    found->n_nan += n_nan;
    found->n_infinite += n_infinite;
}

static void count_32(struct llavamed_inspect_stats *found, const uint8_t *elems, size_t n_elems)
{
    uint32_t n_zero = 0;
    uint32_t n_subnormal = 0;
    uint32_t n_nan = 0;
    uint32_t n_infinite = 0;
    for (size_t i = 0; i < n_elems; i++) {
        uint32_t bits;
        memcpy(&bits, elems + i * sizeof bits, sizeof bits);
        uint32_t magnitude = bits & 0x7fffffffu;
        n_zero += magnitude == 0;
        n_subnormal += magnitude != 0 && magnitude < 0x00800000u;
        n_nan += magnitude > 0x7f800000u;
        n_infinite += magnitude == 0x7f800000u;
    }
    found->n_zero += n_zero;
    found->n_subnormal += n_subnormal;
    found->n_nan += n_nan;
    found->n_infinite += n_infinite;
}

static void count_64(struct llavamed_inspect_stats *found, const uint8_t *elems, size_t n_elems)
{
    const uint64_t infinity = UINT64_C(0x7ff0000000000000);
    for (size_t i = 0; i < n_elems; i++) {
        uint64_t bits;
        memcpy(&bits, elems + i * sizeof bits, sizeof bits);
        uint64_t magnitude = bits & (UINT64_MAX >> 1);
        found->n_zero += magnitude == 0;
        found->n_subnormal += magnitude != 0 && magnitude < UINT64_C(0x0010000000000000);
        found->n_nan += magnitude > infinity;
        found->n_infinite += magnitude == infinity;
    }
}

/* ---- Sums ---- */

static void add_value(struct tensor_stats *stats, size_t lane, double value)
{
    if (!isfinite(value)) {
        return;
    }
    stats->sum.lanes[lane] += value;
    stats->squares.lanes[lane] += value * value;
    stats->found.min = value < stats->found.min ? value : stats->found.min;
    stats->found.max = value > stats->found.max ? value : stats->found.max;
}

/* Whole groups of eight, all finite, which begin at a lane of 0: what nearly all elements are in. */
static void add_groups(struct tensor_stats *stats, const float *values, size_t n_groups)
{
    float low[ORDERED_SUM_LANES];
    float high[ORDERED_SUM_LANES];
    double sum[ORDERED_SUM_LANES];
    double squares[ORDERED_SUM_LANES];
    memcpy(sum, stats->sum.lanes, sizeof sum);
    memcpy(squares, stats->squares.lanes, sizeof squares);
    for (size_t k = 0; k < ORDERED_SUM_LANES; k++) {
        low[k] = INFINITY;
        high[k] = -INFINITY;
    }
    for (size_t i = 0; i < n_groups; i++) {
        for (size_t k = 0; k < ORDERED_SUM_LANES; k++) {
            float value = values[i * ORDERED_SUM_LANES + k];
            low[k] = value < low[k] ? value : low[k];
            high[k] = value > high[k] ? value : high[k];
            sum[k] += (double)value;
            squares[k] += (double)value * (double)value;
        }
    }
    memcpy(stats->sum.lanes, sum, sizeof sum);
    memcpy(stats->squares.lanes, squares, sizeof squares);
    for (size_t k = 0; k < ORDERED_SUM_LANES && n_groups > 0; k++) {
        stats->found.min = (double)low[k] < stats->found.min ? (double)low[k] : stats->found.min;
        stats->found.max = (double)high[k] > stats->found.max ? (double)high[k] : stats->found.max;
    }
}

/* Elements of one block: `values` are the same as floats, unless they are doubles. */
static void add_elements(struct tensor_stats *stats, const uint8_t *elems, const float *values, size_t n_elems,
                         bool all_finite)
{
    size_t i = 0;
    if (values != NULL && all_finite && stats->n_in_block % ORDERED_SUM_LANES == 0) {
        size_t n_groups = n_elems / ORDERED_SUM_LANES;
        add_groups(stats, values, n_groups);
        i = n_groups * ORDERED_SUM_LANES;
    }
    for (; i < n_elems; i++) {
        double value;
        if (values != NULL) {
            value = (double)values[i];
        } else {
            memcpy(&value, elems + i * sizeof value, sizeof value);
        }
        add_value(stats, (stats->n_in_block + i) % ORDERED_SUM_LANES, value);
    }
    stats->n_in_block += n_elems;
    if (stats->n_in_block == ORDERED_SUM_BLOCK) {
        ordered_sum_end_block(&stats->sum);
        ordered_sum_end_block(&stats->squares);
        stats->n_in_block = 0;
    }
}

void tensor_stats_feed(struct tensor_stats *stats, const void *elems, size_t n_elems)
{
    static const size_t sizes[] = {[KERNEL_F16] = 2, [KERNEL_BF16] = 2, [KERNEL_F32] = 4, [KERNEL_F64] = 8};
    const size_t element_bytes = sizes[stats->type];
    const uint8_t *next = elems;
    struct llavamed_inspect_stats *found = &stats->found;
    float values[ORDERED_SUM_BLOCK];
    stats->n_elems += n_elems;
    while (n_elems > 0) {
        size_t n = (size_t)min_u64(n_elems, ORDERED_SUM_BLOCK - stats->n_in_block);
        uint64_t n_odd = found->n_nan + found->n_infinite;
        uint64_t n_overflow = 0;
        switch (stats->type) {
        case KERNEL_F16:
            count_16(found, next, n, 0x7c00u);
            break;
        case KERNEL_BF16:
            count_16(found, next, n, 0x7f80u);
            break;
        case KERNEL_F32:
            count_32(found, next, n);
            memcpy(values, next, n * sizeof *values);
            break;
        case KERNEL_F64:
        case KERNEL_TYPE_COUNT:
            count_64(found, next, n);
            break;
        }
        if (stats->type == KERNEL_F16 || stats->type == KERNEL_BF16) {
            stats->kernels->convert[stats->type][KERNEL_F32](values, next, n, &n_overflow);
        }
        bool all_finite = found->n_nan + found->n_infinite == n_odd;
        add_elements(stats, next, stats->type == KERNEL_F64 ? NULL : values, n, all_finite);
        next += n * element_bytes;
        n_elems -= n;
    }
}

struct llavamed_inspect_stats tensor_stats_end(struct tensor_stats *stats)
{
    struct llavamed_inspect_stats found = stats->found;
    uint64_t n_finite = stats->n_elems - found.n_nan - found.n_infinite;
    found.is_known = true;
    found.n_finite = n_finite;
    if (n_finite == 0) {
        found.min = 0;
        found.max = 0;
        return found;
    }
    found.min += 0.0; /* of zeros of both signs which came first depends on the pieces: +0 then */
    found.max += 0.0;
    found.mean = ordered_sum_end(&stats->sum) / (double)n_finite;
    found.rms = sqrt(ordered_sum_end(&stats->squares) / (double)n_finite);
    return found;
}
