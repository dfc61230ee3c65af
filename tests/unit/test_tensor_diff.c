/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets, and that pieces and kernels change nothing; figures are compared with Python's in tests/cli/cases. */
#include "inspect/tensor_diff.h"

#include "unit/harness.h"

#define N_ELEMS 20011

static void buckets(void)
{
    static const struct {
        uint64_t ulps;
        size_t bucket;
    } rows[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 3}, {5, 4}, {8, 4}, {9, 5}, {32768, 16}, {32769, 17},
                {65536, 17}, {65537, 18}, {UINT64_C(1) << 40, 18}, {UINT64_MAX, 18}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EXPECT_U64(tensor_diff_bucket(rows[i].ulps), rows[i].bucket);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 32;
}

static uint8_t bytes_a[N_ELEMS * 8];
static uint8_t bytes_b[N_ELEMS * 8];

static struct llavamed_diff_figures of_pieces(const struct kernel_set *kernels, enum dtype a, enum dtype b,
                                              uint64_t seed)
{
    static struct tensor_diff diff;
    tensor_diff_begin(&diff, kernels, a, b);
    for (size_t at = 0; at < N_ELEMS;) {
        size_t n = seed == 0 ? N_ELEMS : next_random(&seed) % 6000;
        n = n < N_ELEMS - at ? n : N_ELEMS - at;
        tensor_diff_feed(&diff, bytes_a + at * dtype_bytes(a), bytes_b + at * dtype_bytes(b), n);
        at += n;
    }
    return tensor_diff_end(&diff);
}

static void pieces_and_kernels_do_not_matter(void)
{
    static const enum dtype pairs[][2] = {{DTYPE_F16, DTYPE_F16}, {DTYPE_BF16, DTYPE_BF16}, {DTYPE_F32, DTYPE_F32},
                                          {DTYPE_F64, DTYPE_F64}, {DTYPE_F16, DTYPE_F32},   {DTYPE_F64, DTYPE_BF16},
                                          {DTYPE_I16, DTYPE_I16}, {DTYPE_C64, DTYPE_C64}};
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        uint64_t state = k + 1;
        for (size_t i = 0; i < sizeof bytes_a; i++) {
            bytes_a[i] = i % 2 == 1 ? (uint8_t)next_random(&state) & 0xbfu : (uint8_t)next_random(&state);
            bytes_b[i] = i / 8192 % 2 == 0 || next_random(&state) % 4 > 0 ? bytes_a[i] : (uint8_t)(bytes_a[i] ^ 1);
        }
        struct llavamed_diff_figures want = of_pieces(kernel_get(KERNEL_ISA_REF), pairs[k][0], pairs[k][1], 0);
        EXPECT(want.n_different > 1000);
        EXPECT(want.has_values == (k < 6) && want.has_ulps == (k < 4));
        for (uint64_t seed = 1; seed < 9; seed++) {
            struct llavamed_diff_figures got = of_pieces(kernel_best(), pairs[k][0], pairs[k][1], seed);
            EXPECT(memcmp(&got.max, &want.max, sizeof got.max) == 0);
            EXPECT(memcmp(&got.rms, &want.rms, sizeof got.rms) == 0);
            EXPECT_U64(got.n_different, want.n_different);
            EXPECT_U64(got.first, want.first);
            EXPECT_U64(got.n_finite, want.n_finite);
            EXPECT_U64(got.n_nan, want.n_nan);
            EXPECT_U64(got.n_infinite, want.n_infinite);
            EXPECT(memcmp(got.ulps, want.ulps, sizeof got.ulps) == 0);
        }
    }
}

static void which_dtypes_are_compared(void)
{
    EXPECT(tensor_diff_fits(DTYPE_I64, DTYPE_I64));
    EXPECT(tensor_diff_fits(DTYPE_F16, DTYPE_F64));
    EXPECT(!tensor_diff_fits(DTYPE_F16, DTYPE_I16));
    EXPECT(!tensor_diff_fits(DTYPE_F8_E4M3, DTYPE_F16));
}

int main(void)
{
    CASE(buckets);
    CASE(pieces_and_kernels_do_not_matter);
    CASE(which_dtypes_are_compared);
    return harness_end();
}
