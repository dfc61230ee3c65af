/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of squares: the same in any order, and right. */
#include <math.h>

#include "merge/relative_size.h"
#include "unit/harness.h"

static void sums_do_not_depend_on_the_order(void)
{
    static const double values[] = {1e30, 3.5e-30, 0, 1.0 / 3, 7e-12, 123456789.125, 0.1, 5e17, 2.3e-308};
    enum { N = sizeof values / sizeof values[0] };
    struct square_sum first = {0};
    for (size_t i = 0; i < N; i++) {
        square_sum_add(&first, values[i]);
    }
    for (size_t turn = 1; turn < N; turn++) {
        struct square_sum a = {0};
        struct square_sum b = {0};
        for (size_t i = 0; i < N; i++) {
            square_sum_add(i < turn ? &a : &b, values[(i + turn) % N]);
        }
        square_sum_join(&b, &a);
        EXPECT(memcmp(b.limbs, first.limbs, sizeof b.limbs) == 0 && !b.is_huge);
    }
    EXPECT(fabs(square_sum_value(&first) - (1e30 + 5e17)) <= ldexp(1, 47)); /* a unit in the last place */
}

static void sums_are_exact(void)
{
    struct square_sum sum = {0};
    for (int i = 0; i < 1000; i++) {
        square_sum_add(&sum, ldexp(1, -60));
        square_sum_add(&sum, ldexp(1, 70));
    }
    EXPECT(sum.limbs[0] == 0 && sum.limbs[1] == 16000 && sum.limbs[2] == 0 && sum.limbs[3] == 64000);
    EXPECT(square_sum_value(&sum) == ldexp(1000, 70) + ldexp(1000, -60));
    struct square_sum carried = {.limbs = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}};
    square_sum_add(&carried, ldexp(1, -128));
    EXPECT(carried.limbs[0] == 0 && carried.limbs[2] == 0 && carried.limbs[3] == 1 && !carried.is_huge);
    square_sum_add(&carried, ldexp(1, -129));
    EXPECT(carried.limbs[0] == 0);
}

static void what_is_too_large_is_told(void)
{
    struct square_sum sum = {0};
    square_sum_add(&sum, ldexp(1, 126));
    EXPECT(square_sum_value(&sum) == ldexp(1, 126));
    square_sum_add(&sum, ldexp(1, 128));
    EXPECT(square_sum_value(&sum) == INFINITY);
    struct square_sum full = {.limbs = {0, 0, 0, UINT64_MAX}};
    struct square_sum other = {.limbs = {0, 0, 0, 1}};
    square_sum_join(&full, &other);
    EXPECT(full.is_huge);
    struct square_sum infinite = {0};
    square_sum_add(&infinite, INFINITY);
    EXPECT(infinite.is_huge);
}

/* 1, 2, 3... of the type, with a NaN and an infinity among them. */
static void what_is_not_finite_is_left_out(void)
{
    const struct kernel_set *kernels = kernel_get(KERNEL_ISA_REF);
    float floats[1300];
    double doubles[1300];
    uint16_t halves[1300];
    double want = 0;
    for (size_t i = 0; i < 1300; i++) {
        bool is_odd = i == 3 || i == 1299;
        floats[i] = i == 3 ? NAN : is_odd ? -INFINITY : (float)(i % 100);
        doubles[i] = (double)floats[i];
        want += is_odd ? 0 : doubles[i] * doubles[i];
    }
    uint64_t n_overflow = 0;
    kernels->convert[KERNEL_F32][KERNEL_F16](halves, floats, 1300, &n_overflow);
    struct size_sum sums[3] = {0};
    size_sum_feed(&sums[0], kernels, KERNEL_F32, floats, 1300);
    size_sum_feed(&sums[1], kernels, KERNEL_F64, doubles, 1300);
    size_sum_feed(&sums[2], kernels, KERNEL_F16, halves, 1300);
    for (int i = 0; i < 3; i++) {
        EXPECT_U64(sums[i].n_finite, 1298);
        EXPECT(square_sum_value(&sums[i].squares) == want);
        EXPECT(size_sum_rms(&sums[i]) == sqrt(want / 1298));
    }
    const struct size_sum nothing = {0};
    EXPECT(size_sum_rms(&nothing) == 0);
}

static void tiles_join(void)
{
    struct relative_sizes *sizes = NULL;
    struct llavamed_error error = {0};
    EXPECT(relative_sizes_create(2, &sizes, &error) == LLAVAMED_OK);
    if (sizes == NULL) {
        return;
    }
    struct relative_size tile = {.delta = {.n_finite = 4}, .alone = {.n_finite = 1}};
    square_sum_add(&tile.delta.squares, 16);
    relative_sizes_join(sizes, 1, &tile);
    relative_sizes_join(sizes, 1, &tile);
    EXPECT(size_sum_rms(&sizes->tensors[1].delta) == 2);
    EXPECT_U64(sizes->tensors[1].delta.n_finite, 8);
    EXPECT_U64(sizes->tensors[1].alone.n_finite, 2);
    EXPECT_U64(sizes->tensors[0].delta.n_finite, 0);
    relative_sizes_free(sizes);
}

int main(void)
{
    CASE(sums_do_not_depend_on_the_order);
    CASE(sums_are_exact);
    CASE(what_is_too_large_is_told);
    CASE(what_is_not_finite_is_left_out);
    CASE(tiles_join);
    return harness_end();
}
