/* SPDX-License-Identifier: Apache-2.0 */
/* That the pieces in which elements come change no bit; values are compared with Python's in tests/cli/cases. */
#include "inspect/tensor_stats.h"

#include <math.h>

#include "unit/harness.h"

#define N_ELEMS 20011

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 32;
}

static struct llavamed_inspect_stats of_pieces(const struct kernel_set *kernels, enum dtype dtype,
                                               const uint8_t *elems, size_t n_elems, uint64_t seed)
{
    struct tensor_stats stats;
    tensor_stats_begin(&stats, kernels, dtype);
    for (size_t at = 0; at < n_elems;) {
        size_t n = seed == 0 ? n_elems : next_random(&seed) % (seed % 3 == 0 ? 10 : 6000);
        n = n < n_elems - at ? n : n_elems - at;
        tensor_stats_feed(&stats, elems + at * dtype_bytes(dtype), n);
        at += n;
    }
    return tensor_stats_end(&stats);
}

static void expect_same(const struct llavamed_inspect_stats *got, const struct llavamed_inspect_stats *want)
{
    EXPECT_U64(got->n_zero, want->n_zero);
    EXPECT_U64(got->n_subnormal, want->n_subnormal);
    EXPECT_U64(got->n_nan, want->n_nan);
    EXPECT_U64(got->n_infinite, want->n_infinite);
    EXPECT_U64(got->n_finite, want->n_finite);
    EXPECT(memcmp(&got->min, &want->min, sizeof got->min) == 0);
    EXPECT(memcmp(&got->max, &want->max, sizeof got->max) == 0);
    EXPECT(memcmp(&got->mean, &want->mean, sizeof got->mean) == 0);
    EXPECT(memcmp(&got->rms, &want->rms, sizeof got->rms) == 0);
}

static void pieces_and_kernels_do_not_matter(void)
{
    static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
    static uint8_t elems[N_ELEMS * 8];
    for (size_t k = 0; k < sizeof dtypes / sizeof dtypes[0]; k++) {
        uint64_t state = k + 1;
        size_t element_bytes = dtype_bytes(dtypes[k]);
        for (size_t i = 0; i < N_ELEMS * element_bytes; i++) {
            elems[i] = (uint8_t)next_random(&state);
            if (i % element_bytes == element_bytes - 1 && (i % 977 != 0 || element_bytes == 8)) {
                elems[i] &= 0xbf; /* no NaN or infinity but sometimes; of doubles none, as their squares overflow */
            }
        }
        struct llavamed_inspect_stats want = of_pieces(kernel_get(KERNEL_ISA_REF), dtypes[k], elems, N_ELEMS, 0);
        EXPECT(want.is_known && want.n_finite > N_ELEMS - 100);
        EXPECT(want.rms > 0 && want.min < 0 && want.max > 0);
        for (uint64_t seed = 1; seed < 12; seed++) {
            struct llavamed_inspect_stats got = of_pieces(kernel_best(), dtypes[k], elems, N_ELEMS, seed);
            expect_same(&got, &want);
        }
    }
}

static void what_is_lost_is_kept(void)
{
    /* 1e16, then 4096 blocks' worth of ones, then -1e16: plain sums lose every one of them. */
    static double values[4096 * 3];
    values[0] = 1e16;
    for (size_t i = 4096; i < 8192; i++) {
        values[i] = i % 8 == 0 ? 1.0 : 0.0;
    }
    values[8192] = -1e16;
    struct llavamed_inspect_stats got =
        of_pieces(kernel_best(), DTYPE_F64, (const uint8_t *)values, sizeof values / sizeof values[0], 0);
    EXPECT(fabs(got.mean * (4096 * 3) - 512) < 1e-9);
    EXPECT_U64(got.n_zero, 4096 * 3 - 2 - 512);
}

static void edges(void)
{
    static const uint16_t f16[] = {0x0001, 0x03ff, 0x0400, 0x8000, 0x0000, 0x7bff,
                                   0xfbff, 0x7c00, 0xfc00, 0x7c01, 0xffff};
    struct llavamed_inspect_stats got =
        of_pieces(kernel_best(), DTYPE_F16, (const uint8_t *)f16, sizeof f16 / sizeof f16[0], 0);
    EXPECT_U64(got.n_subnormal, 2);
    EXPECT_U64(got.n_zero, 2);
    EXPECT_U64(got.n_infinite, 2);
    EXPECT_U64(got.n_nan, 2);
    EXPECT_U64(got.n_finite, 7);
    EXPECT(got.min == -65504 && got.max == 65504);
    got = of_pieces(kernel_best(), DTYPE_F16, (const uint8_t *)(f16 + 7), 4, 0);
    EXPECT(got.is_known && got.n_finite == 0 && got.min == 0 && got.max == 0 && got.mean == 0 && got.rms == 0);
    got = of_pieces(kernel_best(), DTYPE_F32, NULL, 0, 0);
    EXPECT(got.is_known && got.n_finite == 0 && got.min == 0);
    EXPECT(!tensor_stats_fits(DTYPE_I64) && !tensor_stats_fits(DTYPE_F8_E4M3) && tensor_stats_fits(DTYPE_BF16));
}

int main(void)
{
    CASE(pieces_and_kernels_do_not_matter);
    CASE(what_is_lost_is_kept);
    CASE(edges);
    return harness_end();
}
