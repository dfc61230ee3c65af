/* SPDX-License-Identifier: Apache-2.0 */
/* The law of kernel.h by hand: small cases whose answers can be checked with a pencil, for every set of kernels. */
#include "kernel/cpu.h"
#include "kernel/kernel.h"
#include "unit/harness.h"

static const struct kernel_set *set;

struct sum_16 {
    uint16_t a;
    uint16_t b;
    uint16_t sum;
    bool rounded;
};

/*
 * Repeats the one pair for longer than a vector and its rest, so that both paths give it, and counts: `rounded` per
 * element, NaN, infinity and zero deltas as the bits say.
 */
static void check_sum_16(enum kernel_type type, const struct sum_16 *c, uint16_t infinity)
{
    enum { N = 67 };
    uint16_t base[N];
    uint16_t delta[N];
    uint16_t sums[N];
    for (size_t i = 0; i < N; i++) {
        base[i] = c->a;
        delta[i] = c->b;
    }
    struct kernel_counts counts = {0};
    set->add[type](sums, base, delta, N, &counts);
    bool ok = true;
    for (size_t i = 0; i < N; i++) {
        ok = sums[i] == c->sum && ok;
    }
    if (!EXPECT(ok)) {
        printf("    %#x + %#x gave %#x and %#x, want %#x\n", c->a, c->b, sums[0], sums[N - 1], c->sum);
    }
    EXPECT_U64(counts.n_rounded, c->rounded ? N : 0);
    EXPECT_U64(counts.n_nan, (c->sum & 0x7fff) > infinity ? N : 0);
    EXPECT_U64(counts.n_infinite, (c->sum & 0x7fff) == infinity ? N : 0);
    EXPECT_U64(counts.n_delta_zero, (c->b & 0x7fff) == 0 ? N : 0);
}

static void test_f16_sums(void)
{
    static const struct sum_16 cases[] = {
        {0x3c00, 0x3c00, 0x4000, false}, /* 1 + 1 */
        {0x3c00, 0xbc00, 0x0000, false}, /* 1 - 1 is +0 */
        {0x8000, 0x8000, 0x8000, false}, /* -0 + -0 */
        {0x8000, 0x0000, 0x0000, false}, /* -0 + +0 */
        {0x3c00, 0x0000, 0x3c00, false},
        {0x3c00, 0x1000, 0x3c00, true},  /* 1 + 2^-11: a tie, to even, down */
        {0x3c01, 0x1000, 0x3c02, true},  /* the next one: to even, up */
        {0x3c00, 0x1001, 0x3c01, true},  /* just above the tie */
        {0x0001, 0x0001, 0x0002, false}, /* smallest subnormals */
        {0x03ff, 0x0001, 0x0400, false}, /* into the normals */
        {0x0400, 0x8001, 0x03ff, false}, /* and back */
        {0x7800, 0x0001, 0x7800, true},  /* 32768 + 2^-24: further apart than fp32 can hold */
        {0x7bff, 0x4c00, 0x7c00, true},  /* 65504 + 16: the tie above the largest overflows */
        {0x7bff, 0x4bff, 0x7bff, true},  /* just below it does not */
        {0x7bff, 0x7bff, 0x7c00, true},
        {0x7c00, 0xfbff, 0x7c00, false}, /* an infinite operand is not a rounding */
        {0xfc00, 0xfc00, 0xfc00, false},
        {0x7c00, 0xfc00, 0x7e00, false}, /* inf - inf */
        {0xfe01, 0x3c00, 0x7e00, false}, /* NaN is canonical, whatever sign and payload */
        {0x3c00, 0x7c01, 0x7e00, false}, /* signalling, as delta */
        {0xffff, 0x0000, 0x7e00, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_sum_16(KERNEL_F16, &cases[i], 0x7c00);
    }
}

static void test_bf16_sums(void)
{
    static const struct sum_16 cases[] = {
        {0x3f80, 0x3f80, 0x4000, false}, /* 1 + 1 */
        {0x3f80, 0x3b80, 0x3f80, true},  /* 1 + 2^-8: a tie, to even, down */
        {0x3f81, 0x3b80, 0x3f82, true},  /* to even, up */
        {0x0001, 0x0001, 0x0002, false}, /* subnormals of BF16 are subnormals of fp32: not flushed */
        {0x0080, 0x8001, 0x007f, false},
        {0x7f7f, 0x7b00, 0x7f80, true},  /* half a last place above the largest */
        {0x7f7f, 0x7aff, 0x7f7f, true},
        {0x7f7f, 0x7f7f, 0x7f80, true},
        {0x7f80, 0xff80, 0x7fc0, false},
        {0xffff, 0x3f80, 0x7fc0, false},
        {0x7f81, 0x3f80, 0x7fc0, false},
        {0x8000, 0x8000, 0x8000, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_sum_16(KERNEL_BF16, &cases[i], 0x7f80);
    }
}

struct difference_16 {
    uint16_t base;
    uint16_t target;
    uint16_t difference;
    bool rounded;
    bool lossy;
};

static void check_difference_16(enum kernel_type type, const struct difference_16 *c)
{
    enum { N = 67 };
    uint16_t base[N];
    uint16_t target[N];
    uint16_t differences[N];
    for (size_t i = 0; i < N; i++) {
        base[i] = c->base;
        target[i] = c->target;
    }
    struct kernel_counts counts = {0};
    set->subtract[type](differences, base, target, N, &counts);
    bool ok = true;
    for (size_t i = 0; i < N; i++) {
        ok = differences[i] == c->difference && ok;
    }
    bool same = counts.n_rounded == (c->rounded ? N : 0) && counts.n_lossy == (c->lossy ? N : 0) &&
                counts.n_delta_zero == ((c->difference & 0x7fff) == 0 ? N : 0);
    if (!EXPECT(ok && same)) {
        printf("    %#x - %#x gave %#x and %#x, want %#x\n", c->target, c->base, differences[0], differences[N - 1],
               c->difference);
    }
}

static void test_differences(void)
{
    static const struct difference_16 f16_cases[] = {
        {0x3c00, 0x3c00, 0x0000, false, false}, /* 1 - 1 */
        {0x3c00, 0x4000, 0x3c00, false, false},
        {0x0001, 0x3c00, 0x3c00, true, false},  /* 1 - 2^-24 is 1, and 2^-24 + 1 is 1 again */
        {0x3c00, 0x0001, 0xbc00, true, true},   /* 2^-24 - 1 is -1: the target is lost */
        {0xbc00, 0x3c01, 0x4000, true, true},   /* 1 + 2^-10 + 1: a tie */
        {0x0000, 0x8000, 0x8000, false, true},  /* -0 - +0 is -0, but +0 + -0 is +0 */
        {0x8000, 0x8000, 0x0000, false, true},  /* -0 - -0 is +0, and so is -0 + +0 */
        {0x8000, 0x0000, 0x0000, false, false},
        {0xfbff, 0x7bff, 0x7c00, true, true},   /* overflow */
        {0x3c00, 0x7c00, 0x7c00, false, false}, /* infinity comes back */
        {0x7c00, 0x7c00, 0x7e00, false, true},  /* unless the base has it */
        {0x7c00, 0x3c00, 0xfc00, false, true},
        {0x3c00, 0x7e00, 0x7e00, false, false}, /* so does the canonical NaN */
        {0x3c00, 0xfe01, 0x7e00, false, true},  /* and no other */
        {0x7e00, 0x3c00, 0x7e00, false, true},
    };
    static const struct difference_16 bf16_cases[] = {
        {0x3f80, 0x4000, 0x3f80, false, false},
        {0x3f80, 0x0001, 0xbf80, true, true},
        {0x0002, 0x0001, 0x8001, false, false}, /* subnormals are kept */
        {0xbf80, 0x3f81, 0x4000, true, true},
        {0x7f80, 0x7f80, 0x7fc0, false, true},
        {0x3f80, 0xffff, 0x7fc0, false, true},
        {0x3f80, 0x7fc0, 0x7fc0, false, false},
    };
    for (size_t i = 0; i < sizeof f16_cases / sizeof f16_cases[0]; i++) {
        check_difference_16(KERNEL_F16, &f16_cases[i]);
    }
    for (size_t i = 0; i < sizeof bf16_cases / sizeof bf16_cases[0]; i++) {
        check_difference_16(KERNEL_BF16, &bf16_cases[i]);
    }
}

static void test_f32_sums(void)
{
    enum { N = 21 };
    static const struct {
        uint32_t a, b, sum;
        bool rounded;
    } cases[] = {
        {0x3f800000, 0x33800000, 0x3f800000, true},  /* 1 + 2^-24: a tie */
        {0x3f800001, 0x33800000, 0x3f800002, true},
        {0x00000001, 0x80000002, 0x80000001, false}, /* subnormals */
        {0x00800000, 0x80000001, 0x007fffff, false},
        {0x7f7fffff, 0x73000000, 0x7f800000, true},  /* half a last place above the largest */
        {0x7f7fffff, 0xff7fffff, 0x00000000, false},
        {0x7f7fffff, 0x7f7fffff, 0x7f800000, true},
        {0x7f800000, 0xff800000, 0x7fc00000, false},
        {0xff800001, 0x00000000, 0x7fc00000, false},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        uint32_t base[N];
        uint32_t delta[N];
        for (size_t i = 0; i < N; i++) {
            base[i] = cases[k].a;
            delta[i] = cases[k].b;
        }
        struct kernel_counts counts = {0};
        set->add[KERNEL_F32](delta, base, delta, N, &counts);
        for (size_t i = 0; i < N; i += N - 1) {
            EXPECT_U64(delta[i], cases[k].sum);
        }
        EXPECT_U64(counts.n_rounded, cases[k].rounded ? N : 0);
    }
}

static void test_narrowing(void)
{
    enum { N = 19 };
    static const struct {
        uint32_t from;
        uint16_t f16, bf16;
        bool f16_overflows, bf16_overflows;
    } cases[] = {
        {0x3f801000, 0x3c00, 0x3f80, false, false}, /* 1 + 2^-11: tie for F16 */
        {0x3f803000, 0x3c02, 0x3f80, false, false},
        {0x3f808000, 0x3c04, 0x3f80, false, false}, /* 1 + 2^-8: tie for BF16 */
        {0x3f818000, 0x3c0c, 0x3f82, false, false},
        {0x477fefff, 0x7bff, 0x4780, false, false}, /* just below 65520 */
        {0x477ff000, 0x7c00, 0x4780, true, false},
        {0x7f7f7fff, 0x7c00, 0x7f7f, true, false},
        {0xff7f8000, 0xfc00, 0xff80, true, true},
        {0x7f800000, 0x7c00, 0x7f80, false, false}, /* an infinite source does not overflow */
        {0x33000000, 0x0000, 0x3300, false, false}, /* 2^-25: tie with zero */
        {0x33000001, 0x0001, 0x3300, false, false},
        {0x00400000, 0x0000, 0x0040, false, false}, /* a subnormal that one x86 instruction would flush */
        {0x00008001, 0x0000, 0x0001, false, false},
        {0x80000001, 0x8000, 0x8000, false, false},
        {0xffffffff, 0x7e00, 0x7fc0, false, false}, /* rounding must not carry a NaN into zero */
        {0x7f800001, 0x7e00, 0x7fc0, false, false},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        uint32_t src[N];
        uint16_t dst[N];
        for (size_t i = 0; i < N; i++) {
            src[i] = cases[k].from;
        }
        uint64_t n_overflow = 1;
        set->convert[KERNEL_F32][KERNEL_F16](dst, src, N, &n_overflow);
        EXPECT_U64(dst[0], cases[k].f16);
        EXPECT_U64(dst[N - 1], cases[k].f16);
        EXPECT_U64(n_overflow, 1 + (cases[k].f16_overflows ? N : 0));
        n_overflow = 1;
        set->convert[KERNEL_F32][KERNEL_BF16](dst, src, N, &n_overflow);
        EXPECT_U64(dst[0], cases[k].bf16);
        EXPECT_U64(dst[N - 1], cases[k].bf16);
        EXPECT_U64(n_overflow, 1 + (cases[k].bf16_overflows ? N : 0));
    }
}

/* 1 + 2^-11 + 2^-40 is above the F16 tie, but fp32 drops the 2^-40 first and the tie goes to even. */
static void test_f64_to_f16_rounds_twice(void)
{
    const uint64_t src = UINT64_C(0x3ff0020000001000);
    uint16_t dst = 0;
    uint64_t n_overflow = 0;
    set->convert[KERNEL_F64][KERNEL_F16](&dst, &src, 1, &n_overflow);
    EXPECT_U64(dst, 0x3c00);
}

static void test_no_elements(void)
{
    struct kernel_counts counts = {1, 2, 3, 4, 5};
    uint64_t n_overflow = 5;
    for (int from = 0; from < KERNEL_TYPE_COUNT; from++) {
        uint8_t byte = 0xaa;
        set->add[from](&byte, &byte, &byte, 0, &counts);
        set->subtract[from](&byte, &byte, &byte, 0, &counts);
        for (int to = 0; to < KERNEL_TYPE_COUNT; to++) {
            EXPECT((set->convert[from][to] == NULL) == (from == to));
            if (from != to) {
                set->convert[from][to](&byte, &byte, 0, &n_overflow);
            }
        }
        EXPECT_U64(byte, 0xaa);
    }
    EXPECT(counts.n_nan == 1 && counts.n_infinite == 2 && counts.n_rounded == 3 && counts.n_delta_zero == 4);
    EXPECT_U64(counts.n_lossy, 5);
    EXPECT_U64(n_overflow, 5);
}

static void test_scan(void)
{
    struct kernel_counts counts = {10, 20, 30, 40, 50};
    const uint16_t f16[] = {0x7c00, 0xfc00, 0x7c01, 0xffff, 0x7bff, 0x0000, 0x7f80};
    const uint16_t bf16[] = {0x7f80, 0xff80, 0x7f81, 0xffff, 0x7f7f, 0x0000, 0x7c00};
    const uint32_t f32[] = {0x7f800000, 0xff800000, 0x7f800001, 0xffffffff, 0x7f7fffff, 0};
    const uint64_t f64[] = {0x7ff0000000000000, 0xfff0000000000000, 0x7ff0000000000001, UINT64_MAX, 0x7fefffffffffffff};
    kernel_scan(KERNEL_F16)(f16, 7, &counts);
    EXPECT(counts.n_nan == 13 && counts.n_infinite == 22);
    kernel_scan(KERNEL_BF16)(bf16, 7, &counts);
    EXPECT(counts.n_nan == 15 && counts.n_infinite == 24);
    kernel_scan(KERNEL_F32)(f32, 6, &counts);
    EXPECT(counts.n_nan == 17 && counts.n_infinite == 26);
    uint8_t shifted[sizeof f64 + 1];
    memcpy(shifted + 1, f64, sizeof f64);
    kernel_scan(KERNEL_F64)(shifted + 1, 5, &counts);
    EXPECT(counts.n_nan == 19 && counts.n_infinite == 28);
    EXPECT(counts.n_rounded == 30 && counts.n_delta_zero == 40 && counts.n_lossy == 50);
}

static void test_types(void)
{
    enum kernel_type type = KERNEL_F64;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
        EXPECT(kernel_type_of((enum dtype)dtype, &type) == dtype_is_addable((enum dtype)dtype));
    }
    EXPECT(kernel_type_of(DTYPE_BF16, &type) && type == KERNEL_BF16);
    EXPECT(!kernel_type_of(DTYPE_I64, &type) && type == KERNEL_BF16);
    EXPECT(kernel_type_of(DTYPE_F16, &type) && type == KERNEL_F16);
    EXPECT(kernel_type_of(DTYPE_F32, &type) && type == KERNEL_F32);
    EXPECT(kernel_type_of(DTYPE_F64, &type) && type == KERNEL_F64);
}

static void test_choice(void)
{
    static const char *const names[KERNEL_ISA_COUNT] = {"ref", "avx2", "avx512", "neon"};
    EXPECT(kernel_get(KERNEL_ISA_REF) != NULL);
    bool best_is_offered = false;
    for (int isa = 0; isa < KERNEL_ISA_COUNT; isa++) {
        const struct kernel_set *offered = kernel_get((enum kernel_isa)isa);
        EXPECT((offered != NULL) == cpu_has((enum kernel_isa)isa));
        if (offered != NULL) {
            EXPECT_TEXT(offered->name, names[isa]);
        }
        best_is_offered = best_is_offered || offered == kernel_best();
    }
    EXPECT(best_is_offered);
    EXPECT(kernel_best() != kernel_get(KERNEL_ISA_REF) ||
           (!cpu_has(KERNEL_ISA_AVX2) && !cpu_has(KERNEL_ISA_AVX512) && !cpu_has(KERNEL_ISA_NEON)));
}

int main(void)
{
    for (int isa = 0; isa < KERNEL_ISA_COUNT; isa++) {
        set = kernel_get((enum kernel_isa)isa);
        if (set != NULL) {
            CASE(test_f16_sums);
            CASE(test_bf16_sums);
            CASE(test_f32_sums);
            CASE(test_differences);
            CASE(test_narrowing);
            CASE(test_f64_to_f16_rounds_twice);
            CASE(test_no_elements);
        }
    }
    CASE(test_scan);
    CASE(test_types);
    CASE(test_choice);
    return harness_end();
}
