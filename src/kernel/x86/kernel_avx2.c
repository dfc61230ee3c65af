/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX2 with F16C: 32 bytes of the result per step.
 *
 * How n_rounded is found. Let a, b be finite and r their sum rounded to nearest, ties to even, in p bits. The sum is
 * exact if and only if r - a == b and r - b == a, both computed in floating point with at least p bits:
 *   exact => r - a = b is a number of the format, so the subtraction returns it; the same for r - b = a.
 *   not exact => the difference with the larger operand tells. Let |a| >= |b| and u the unit in the last place of b.
 *     a + b is a multiple of u. Were |a + b| < 2^p u, it would be a number of the format; so |a + b| >= 2^p u, and r is
 *     a multiple of 2u. Also |r - (a + b)| <= |b|, since a is a candidate for r, so |r - a| <= 2|b| < 2^(p+1) u.
 *     If a is a multiple of 2u, so is r - a: fewer than 2^p of them, a number of the format. If it is not, then
 *     |a| < 2^p u, |a + b| < 2^(p+1) u, r is off by at most u, and |r - a| <= |b| + u <= 2^p u, again a number of it.
 *     So the subtraction r - a is exact, and returns something other than b.
 * With subnormals nothing changes, u is then the smallest of them. When the sum overflows, r - a is infinite and b is
 * not: counted, as it should be. When a or b is infinite or NaN, each comparison sees either a NaN, for which the
 * ordered "not equal" is false, or equal infinities: not counted. F16 and BF16 are subtracted in fp32, with r widened
 * again.
 *
 * A difference target - base is the sum of target and -base, exact or not as that sum is. Whether the sum of base and
 * difference gives the target again is tried: one more addition, and a comparison of bits.
 *
 * NaN is made canonical in the result's bits. For BF16 that is after the rounding, which is safe there: a NaN that the
 * addition returns comes from a widened operand or is the default one, its low 16 bits are zero, and adding less than
 * 2^16 leaves its upper half alone.
 */
#if defined(__x86_64__)

#include "kernel/kernel_sets.h"

#include <immintrin.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VECTOR_BYTES = 32 };

/* Steps between two readings of a tally, so that its lanes, which grow by at most 1 a step, stay below 2^15. */
enum { BLOCK_STEPS = 32767 };

/* Lanes of 16, 32 or 64 bits, that count up where a mask of such lanes is all ones. */
struct tally {
    __m256i nan;
    __m256i infinite;
    __m256i rounded;
    __m256i delta_zero;
    __m256i lossy;
};

struct pair {
    __m256 first;
    __m256 second;
};

/* Sum of the lanes, whatever their width: each is below 2^15, so the upper words of the wider ones are zero. */
ALWAYS_INLINE uint64_t lanes_sum(__m256i lanes)
{
    __m256i by_two = _mm256_madd_epi16(lanes, _mm256_set1_epi16(1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(by_two), _mm256_extracti128_si256(by_two, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return (uint32_t)_mm_cvtsi128_si32(two) + (uint64_t)(uint32_t)_mm_extract_epi32(two, 1);
}

ALWAYS_INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

ALWAYS_INLINE void store(uint8_t *p, __m256i value)
{
    _mm256_storeu_si256((void *)p, value);
}

/* ---- Addition and subtraction ---- */

typedef void step_fn(uint8_t *dst, const uint8_t *base, const uint8_t *other, struct tally *tally);

ALWAYS_INLINE void all_steps(uint8_t *dst, const uint8_t *base, const uint8_t *other, size_t n_steps, step_fn *step,
                             struct kernel_counts *counts)
{
    const __m256i zero = _mm256_setzero_si256();
    while (n_steps > 0) {
        size_t n_block = n_steps < BLOCK_STEPS ? n_steps : BLOCK_STEPS;
        struct tally tally = {zero, zero, zero, zero, zero};
        for (size_t i = 0; i < n_block; i++) {
            step(dst, base, other, &tally);
            dst += VECTOR_BYTES;
            base += VECTOR_BYTES;
            other += VECTOR_BYTES;
        }
        counts->n_nan += lanes_sum(tally.nan);
        counts->n_infinite += lanes_sum(tally.infinite);
        counts->n_rounded += lanes_sum(tally.rounded);
        counts->n_delta_zero += lanes_sum(tally.delta_zero);
        counts->n_lossy += lanes_sum(tally.lossy);
        n_steps -= n_block;
    }
}

/* The elements behind the last whole vector. */
ALWAYS_INLINE void add_rest(enum kernel_type type, void *dst, const void *base, const void *delta, size_t n_elems,
                            struct kernel_counts *counts)
{
    static const size_t n_bytes_of[KERNEL_TYPE_COUNT] = {2, 2, 4, 8};
    size_t n_bytes = n_elems * n_bytes_of[type];
    size_t done = n_bytes - n_bytes % VECTOR_BYTES;
    kernel_ref.add[type]((uint8_t *)dst + done, (const uint8_t *)base + done, (const uint8_t *)delta + done,
                         n_bytes % VECTOR_BYTES / n_bytes_of[type], counts);
}

ALWAYS_INLINE void subtract_rest(enum kernel_type type, void *dst, const void *base, const void *target, size_t n_elems,
                                 struct kernel_counts *counts)
{
    static const size_t n_bytes_of[KERNEL_TYPE_COUNT] = {2, 2, 4, 8};
    size_t n_bytes = n_elems * n_bytes_of[type];
    size_t done = n_bytes - n_bytes % VECTOR_BYTES;
    kernel_ref.subtract[type]((uint8_t *)dst + done, (const uint8_t *)base + done, (const uint8_t *)target + done,
                              n_bytes % VECTOR_BYTES / n_bytes_of[type], counts);
}

/* All ones where the finite a + b is not exactly `sum`; see the top. */
ALWAYS_INLINE __m256i inexact_ps(__m256 sum, __m256 a, __m256 b)
{
    __m256 not_b = _mm256_cmp_ps(_mm256_sub_ps(sum, a), b, _CMP_NEQ_OQ);
    __m256 not_a = _mm256_cmp_ps(_mm256_sub_ps(sum, b), a, _CMP_NEQ_OQ);
    return _mm256_castps_si256(_mm256_or_ps(not_b, not_a));
}

ALWAYS_INLINE __m256i canonical_16(__m256i bits, __m256i is_nan, short infinity)
{
    const short quiet_nan = (short)(infinity | (infinity == 0x7c00 ? 0x0200 : 0x0040));
    return _mm256_blendv_epi8(bits, _mm256_set1_epi16(quiet_nan), is_nan);
}

/* Makes NaN canonical, stores, counts. `infinity` is that of F16 or BF16; `rounded` has 16-bit lanes in any order. */
ALWAYS_INLINE void finish_16(uint8_t *dst, __m256i sum, __m256i delta, short infinity, __m256i rounded,
                             struct tally *tally)
{
    const __m256i infinity_16 = _mm256_set1_epi16(infinity);
    __m256i magnitude = _mm256_and_si256(sum, _mm256_set1_epi16(0x7fff));
    __m256i is_nan = _mm256_cmpgt_epi16(magnitude, infinity_16);
    __m256i is_infinite = _mm256_cmpeq_epi16(magnitude, infinity_16);
    __m256i delta_is_zero = _mm256_cmpeq_epi16(_mm256_slli_epi16(delta, 1), _mm256_setzero_si256());
    store(dst, canonical_16(sum, is_nan, infinity));
    tally->nan = _mm256_sub_epi16(tally->nan, is_nan);
    tally->infinite = _mm256_sub_epi16(tally->infinite, is_infinite);
    tally->rounded = _mm256_sub_epi16(tally->rounded, rounded);
    tally->delta_zero = _mm256_sub_epi16(tally->delta_zero, delta_is_zero);
}

ALWAYS_INLINE struct pair widen_f16(__m256i bits)
{
    return (struct pair){_mm256_cvtph_ps(_mm256_castsi256_si128(bits)),
                         _mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1))};
}

ALWAYS_INLINE void add_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    __m256i delta_bits = load(delta);
    struct pair a = widen_f16(load(base));
    struct pair b = widen_f16(delta_bits);
    __m128i low = _mm256_cvtps_ph(_mm256_add_ps(a.first, b.first), _MM_FROUND_TO_NEAREST_INT);
    __m128i high = _mm256_cvtps_ph(_mm256_add_ps(a.second, b.second), _MM_FROUND_TO_NEAREST_INT);
    __m256i rounded = _mm256_packs_epi32(inexact_ps(_mm256_cvtph_ps(low), a.first, b.first),
                                         inexact_ps(_mm256_cvtph_ps(high), a.second, b.second));
    finish_16(dst, _mm256_set_m128i(high, low), delta_bits, 0x7c00, rounded, tally);
}

/* Rounded to BF16, in the upper half of each lane, the lower half zero. Not for a NaN with bits in its lower half. */
ALWAYS_INLINE __m256i round_to_bf16(__m256 value)
{
    __m256i bits = _mm256_castps_si256(value);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i carried = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    return _mm256_and_si256(carried, _mm256_set1_epi32((int)0xffff0000u));
}

/* Unpacking to and packing from 32 bits both work within 128-bit halves, so the order comes out right. */
ALWAYS_INLINE void add_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i base_bits = load(base);
    __m256i delta_bits = load(delta);
    __m256 a_low = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, base_bits));
    __m256 a_high = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, base_bits));
    __m256 b_low = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, delta_bits));
    __m256 b_high = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, delta_bits));
    __m256i low = round_to_bf16(_mm256_add_ps(a_low, b_low));
    __m256i high = round_to_bf16(_mm256_add_ps(a_high, b_high));
    __m256i rounded = _mm256_packs_epi32(inexact_ps(_mm256_castsi256_ps(low), a_low, b_low),
                                         inexact_ps(_mm256_castsi256_ps(high), a_high, b_high));
    __m256i sum = _mm256_packus_epi32(_mm256_srli_epi32(low, 16), _mm256_srli_epi32(high, 16));
    finish_16(dst, sum, delta_bits, 0x7f80, rounded, tally);
}

ALWAYS_INLINE void add_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    const __m256i infinity = _mm256_set1_epi32(0x7f800000);
    __m256i delta_bits = load(delta);
    __m256 a = _mm256_castsi256_ps(load(base));
    __m256 b = _mm256_castsi256_ps(delta_bits);
    __m256 sum = _mm256_add_ps(a, b);
    __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(sum), _mm256_set1_epi32(0x7fffffff));
    __m256i is_nan = _mm256_cmpgt_epi32(magnitude, infinity);
    __m256i is_infinite = _mm256_cmpeq_epi32(magnitude, infinity);
    __m256i delta_is_zero = _mm256_cmpeq_epi32(_mm256_slli_epi32(delta_bits, 1), _mm256_setzero_si256());
    store(dst, _mm256_blendv_epi8(_mm256_castps_si256(sum), _mm256_set1_epi32(0x7fc00000), is_nan));
    tally->nan = _mm256_sub_epi32(tally->nan, is_nan);
    tally->infinite = _mm256_sub_epi32(tally->infinite, is_infinite);
    tally->rounded = _mm256_sub_epi32(tally->rounded, inexact_ps(sum, a, b));
    tally->delta_zero = _mm256_sub_epi32(tally->delta_zero, delta_is_zero);
}

ALWAYS_INLINE void add_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    const __m256i infinity = _mm256_set1_epi64x(0x7ff0000000000000);
    __m256i delta_bits = load(delta);
    __m256d a = _mm256_castsi256_pd(load(base));
    __m256d b = _mm256_castsi256_pd(delta_bits);
    __m256d sum = _mm256_add_pd(a, b);
    __m256d not_b = _mm256_cmp_pd(_mm256_sub_pd(sum, a), b, _CMP_NEQ_OQ);
    __m256d not_a = _mm256_cmp_pd(_mm256_sub_pd(sum, b), a, _CMP_NEQ_OQ);
    __m256i rounded = _mm256_castpd_si256(_mm256_or_pd(not_b, not_a));
    __m256i magnitude = _mm256_and_si256(_mm256_castpd_si256(sum), _mm256_set1_epi64x(INT64_MAX));
    __m256i is_nan = _mm256_cmpgt_epi64(magnitude, infinity);
    __m256i is_infinite = _mm256_cmpeq_epi64(magnitude, infinity);
    __m256i delta_is_zero = _mm256_cmpeq_epi64(_mm256_slli_epi64(delta_bits, 1), _mm256_setzero_si256());
    store(dst, _mm256_blendv_epi8(_mm256_castpd_si256(sum), _mm256_set1_epi64x(0x7ff8000000000000), is_nan));
    tally->nan = _mm256_sub_epi64(tally->nan, is_nan);
    tally->infinite = _mm256_sub_epi64(tally->infinite, is_infinite);
    tally->rounded = _mm256_sub_epi64(tally->rounded, rounded);
    tally->delta_zero = _mm256_sub_epi64(tally->delta_zero, delta_is_zero);
}

static void add_f16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 16, add_step_f16, counts);
    add_rest(KERNEL_F16, dst, base, delta, n_elems, counts);
}

static void add_bf16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 16, add_step_bf16, counts);
    add_rest(KERNEL_BF16, dst, base, delta, n_elems, counts);
}

static void add_f32(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 8, add_step_f32, counts);
    add_rest(KERNEL_F32, dst, base, delta, n_elems, counts);
}

static void add_f64(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 4, add_step_f64, counts);
    add_rest(KERNEL_F64, dst, base, delta, n_elems, counts);
}

/* ---- Subtraction: `delta` of finish_16() is the difference itself ---- */

/* Base plus difference, as it comes out of the rounding, against the target. */
ALWAYS_INLINE void compare_16(__m256i again, __m256i target, short infinity, struct tally *tally)
{
    __m256i magnitude = _mm256_and_si256(again, _mm256_set1_epi16(0x7fff));
    __m256i is_nan = _mm256_cmpgt_epi16(magnitude, _mm256_set1_epi16(infinity));
    __m256i is_same = _mm256_cmpeq_epi16(canonical_16(again, is_nan, infinity), target);
    tally->lossy = _mm256_add_epi16(tally->lossy, _mm256_add_epi16(_mm256_set1_epi16(1), is_same));
}

ALWAYS_INLINE __m256 negated(__m256 value)
{
    return _mm256_xor_ps(value, _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MIN)));
}

ALWAYS_INLINE __m128i sum_f16(__m256 a, __m256 b)
{
    return _mm256_cvtps_ph(_mm256_add_ps(a, b), _MM_FROUND_TO_NEAREST_INT);
}

ALWAYS_INLINE void subtract_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    __m256i target_bits = load(target);
    struct pair b = widen_f16(load(base));
    struct pair t = widen_f16(target_bits);
    struct pair minus_b = {negated(b.first), negated(b.second)};
    __m256i difference = _mm256_set_m128i(sum_f16(t.second, minus_b.second), sum_f16(t.first, minus_b.first));
    struct pair d = widen_f16(difference);
    __m256i rounded =
        _mm256_packs_epi32(inexact_ps(d.first, t.first, minus_b.first), inexact_ps(d.second, t.second, minus_b.second));
    __m256i again = _mm256_set_m128i(sum_f16(b.second, d.second), sum_f16(b.first, d.first));
    compare_16(again, target_bits, 0x7c00, tally);
    finish_16(dst, difference, difference, 0x7c00, rounded, tally);
}

/* Sixteen values in fp32 with a lower half of zeros, in the order of unpacking. */
ALWAYS_INLINE struct pair unpack_bf16(__m256i bits)
{
    const __m256i zero = _mm256_setzero_si256();
    return (struct pair){_mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, bits)),
                         _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, bits))};
}

ALWAYS_INLINE __m256i pack_bf16(struct pair values)
{
    return _mm256_packus_epi32(_mm256_srli_epi32(_mm256_castps_si256(values.first), 16),
                               _mm256_srli_epi32(_mm256_castps_si256(values.second), 16));
}

ALWAYS_INLINE struct pair sum_bf16(struct pair a, struct pair b)
{
    return (struct pair){_mm256_castsi256_ps(round_to_bf16(_mm256_add_ps(a.first, b.first))),
                         _mm256_castsi256_ps(round_to_bf16(_mm256_add_ps(a.second, b.second)))};
}

ALWAYS_INLINE void subtract_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    __m256i target_bits = load(target);
    struct pair b = unpack_bf16(load(base));
    struct pair t = unpack_bf16(target_bits);
    struct pair minus_b = {negated(b.first), negated(b.second)};
    struct pair d = sum_bf16(t, minus_b);
    __m256i rounded =
        _mm256_packs_epi32(inexact_ps(d.first, t.first, minus_b.first), inexact_ps(d.second, t.second, minus_b.second));
    __m256i difference = pack_bf16(d);
    compare_16(pack_bf16(sum_bf16(b, d)), target_bits, 0x7f80, tally);
    finish_16(dst, difference, difference, 0x7f80, rounded, tally);
}

ALWAYS_INLINE void subtract_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    const __m256i infinity = _mm256_set1_epi32(0x7f800000);
    const __m256 quiet_nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    __m256i target_bits = load(target);
    __m256 b = _mm256_castsi256_ps(load(base));
    __m256 t = _mm256_castsi256_ps(target_bits);
    __m256 d = _mm256_add_ps(t, negated(b));
    __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(d), _mm256_set1_epi32(0x7fffffff));
    __m256i is_nan = _mm256_cmpgt_epi32(magnitude, infinity);
    __m256 again = _mm256_add_ps(b, d);
    again = _mm256_blendv_ps(again, quiet_nan, _mm256_cmp_ps(again, again, _CMP_UNORD_Q));
    __m256i is_same = _mm256_cmpeq_epi32(_mm256_castps_si256(again), target_bits);
    store(dst, _mm256_castps_si256(_mm256_blendv_ps(d, quiet_nan, _mm256_castsi256_ps(is_nan))));
    tally->nan = _mm256_sub_epi32(tally->nan, is_nan);
    tally->infinite = _mm256_sub_epi32(tally->infinite, _mm256_cmpeq_epi32(magnitude, infinity));
    tally->rounded = _mm256_sub_epi32(tally->rounded, inexact_ps(d, t, negated(b)));
    tally->delta_zero = _mm256_sub_epi32(tally->delta_zero, _mm256_cmpeq_epi32(magnitude, _mm256_setzero_si256()));
    tally->lossy = _mm256_add_epi32(tally->lossy, _mm256_add_epi32(_mm256_set1_epi32(1), is_same));
}

ALWAYS_INLINE void subtract_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    const __m256i infinity = _mm256_set1_epi64x(0x7ff0000000000000);
    const __m256d quiet_nan = _mm256_castsi256_pd(_mm256_set1_epi64x(0x7ff8000000000000));
    __m256i target_bits = load(target);
    __m256d b = _mm256_castsi256_pd(load(base));
    __m256d t = _mm256_castsi256_pd(target_bits);
    __m256d minus_b = _mm256_xor_pd(b, _mm256_castsi256_pd(_mm256_set1_epi64x(INT64_MIN)));
    __m256d d = _mm256_add_pd(t, minus_b);
    __m256d not_b = _mm256_cmp_pd(_mm256_sub_pd(d, t), minus_b, _CMP_NEQ_OQ);
    __m256d not_t = _mm256_cmp_pd(_mm256_sub_pd(d, minus_b), t, _CMP_NEQ_OQ);
    __m256i magnitude = _mm256_and_si256(_mm256_castpd_si256(d), _mm256_set1_epi64x(INT64_MAX));
    __m256i is_nan = _mm256_cmpgt_epi64(magnitude, infinity);
    __m256d again = _mm256_add_pd(b, d);
    again = _mm256_blendv_pd(again, quiet_nan, _mm256_cmp_pd(again, again, _CMP_UNORD_Q));
    __m256i is_same = _mm256_cmpeq_epi64(_mm256_castpd_si256(again), target_bits);
    store(dst, _mm256_castpd_si256(_mm256_blendv_pd(d, quiet_nan, _mm256_castsi256_pd(is_nan))));
    tally->nan = _mm256_sub_epi64(tally->nan, is_nan);
    tally->infinite = _mm256_sub_epi64(tally->infinite, _mm256_cmpeq_epi64(magnitude, infinity));
    tally->rounded = _mm256_sub_epi64(tally->rounded, _mm256_castpd_si256(_mm256_or_pd(not_b, not_t)));
    tally->delta_zero = _mm256_sub_epi64(tally->delta_zero, _mm256_cmpeq_epi64(magnitude, _mm256_setzero_si256()));
    tally->lossy = _mm256_add_epi64(tally->lossy, _mm256_add_epi64(_mm256_set1_epi64x(1), is_same));
}

static void subtract_f16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 16, subtract_step_f16, counts);
    subtract_rest(KERNEL_F16, dst, base, target, n_elems, counts);
}

static void subtract_bf16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 16, subtract_step_bf16, counts);
    subtract_rest(KERNEL_BF16, dst, base, target, n_elems, counts);
}

static void subtract_f32(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 8, subtract_step_f32, counts);
    subtract_rest(KERNEL_F32, dst, base, target, n_elems, counts);
}

static void subtract_f64(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 4, subtract_step_f64, counts);
    subtract_rest(KERNEL_F64, dst, base, target, n_elems, counts);
}

/* ---- Conversion: 16 elements a step, read as fp32, written from fp32 ---- */

enum { CONVERT_ELEMS = 16 };

/* The smallest fp32 magnitude that rounds to infinity, as bits. */
enum { OVERFLOW_F16 = 0x477ff000, OVERFLOW_BF16 = 0x7f7f8000, OVERFLOW_NEVER = 0x7f800000 };

typedef struct pair read_fn(const uint8_t *src);
typedef void write_fn(uint8_t *dst, struct pair values);

ALWAYS_INLINE struct pair read_f16(const uint8_t *src)
{
    return widen_f16(load(src));
}

ALWAYS_INLINE struct pair read_bf16(const uint8_t *src)
{
    __m256i bits = load(src);
    __m256i first = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(bits));
    __m256i second = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(bits, 1));
    return (struct pair){_mm256_castsi256_ps(_mm256_slli_epi32(first, 16)),
                         _mm256_castsi256_ps(_mm256_slli_epi32(second, 16))};
}

ALWAYS_INLINE struct pair read_f32(const uint8_t *src)
{
    return (struct pair){_mm256_castsi256_ps(load(src)), _mm256_castsi256_ps(load(src + VECTOR_BYTES))};
}

ALWAYS_INLINE void write_f16(uint8_t *dst, struct pair values)
{
    __m128i low = _mm256_cvtps_ph(values.first, _MM_FROUND_TO_NEAREST_INT);
    __m128i high = _mm256_cvtps_ph(values.second, _MM_FROUND_TO_NEAREST_INT);
    store(dst, _mm256_set_m128i(high, low));
}

ALWAYS_INLINE void write_bf16(uint8_t *dst, struct pair values)
{
    __m256i first = _mm256_srli_epi32(round_to_bf16(values.first), 16);
    __m256i second = _mm256_srli_epi32(round_to_bf16(values.second), 16);
    store(dst, _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), _MM_SHUFFLE(3, 1, 2, 0)));
}

ALWAYS_INLINE void write_f32(uint8_t *dst, struct pair values)
{
    store(dst, _mm256_castps_si256(values.first));
    store(dst + VECTOR_BYTES, _mm256_castps_si256(values.second));
}

/* A NaN becomes the canonical one of fp32, which narrows to the canonical one of either 16-bit type. */
ALWAYS_INLINE __m256 canonical(__m256 value)
{
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_blendv_ps(value, nan, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
}

/* All ones where the value is finite and its magnitude at least `overflow_from`. */
ALWAYS_INLINE __m256i overflows(__m256 value, int overflow_from)
{
    __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0x7fffffff));
    __m256i large = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(overflow_from - 1));
    return _mm256_and_si256(large, _mm256_cmpgt_epi32(_mm256_set1_epi32(0x7f800000), magnitude));
}

ALWAYS_INLINE void convert_all(uint8_t *dst, const uint8_t *src, size_t n_steps, read_fn *read, write_fn *write,
                               uint64_t *n_overflow)
{
    const size_t src_bytes = read == read_f32 ? 2 * VECTOR_BYTES : VECTOR_BYTES;
    const size_t dst_bytes = write == write_f32 ? 2 * VECTOR_BYTES : VECTOR_BYTES;
    const int overflow_from = write == write_f16 ? OVERFLOW_F16 : write == write_bf16 ? OVERFLOW_BF16 : OVERFLOW_NEVER;
    while (n_steps > 0) {
        size_t n_block = n_steps < BLOCK_STEPS ? n_steps : BLOCK_STEPS;
        __m256i tally = _mm256_setzero_si256();
        for (size_t i = 0; i < n_block; i++) {
            struct pair values = read(src);
            if (overflow_from != OVERFLOW_NEVER) {
                tally = _mm256_sub_epi16(tally, _mm256_packs_epi32(overflows(values.first, overflow_from),
                                                                   overflows(values.second, overflow_from)));
            }
            write(dst, (struct pair){canonical(values.first), canonical(values.second)});
            src += src_bytes;
            dst += dst_bytes;
        }
        *n_overflow += lanes_sum(tally);
        n_steps -= n_block;
    }
}

/* The elements behind the last whole step. */
ALWAYS_INLINE void convert_rest(enum kernel_type from, enum kernel_type to, void *dst, const void *src, size_t n_elems,
                                uint64_t *n_overflow)
{
    static const size_t n_bytes_of[KERNEL_TYPE_COUNT] = {2, 2, 4, 8};
    size_t done = n_elems - n_elems % CONVERT_ELEMS;
    kernel_ref.convert[from][to]((uint8_t *)dst + done * n_bytes_of[to], (const uint8_t *)src + done * n_bytes_of[from],
                                 n_elems - done, n_overflow);
}

static void f16_to_bf16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_f16, write_bf16, n_overflow);
    convert_rest(KERNEL_F16, KERNEL_BF16, dst, src, n_elems, n_overflow);
}

static void f16_to_f32(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_f16, write_f32, n_overflow);
    convert_rest(KERNEL_F16, KERNEL_F32, dst, src, n_elems, n_overflow);
}

static void bf16_to_f16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_bf16, write_f16, n_overflow);
    convert_rest(KERNEL_BF16, KERNEL_F16, dst, src, n_elems, n_overflow);
}

static void bf16_to_f32(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_bf16, write_f32, n_overflow);
    convert_rest(KERNEL_BF16, KERNEL_F32, dst, src, n_elems, n_overflow);
}

static void f32_to_f16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_f32, write_f16, n_overflow);
    convert_rest(KERNEL_F32, KERNEL_F16, dst, src, n_elems, n_overflow);
}

static void f32_to_bf16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems / CONVERT_ELEMS, read_f32, write_bf16, n_overflow);
    convert_rest(KERNEL_F32, KERNEL_BF16, dst, src, n_elems, n_overflow);
}

const struct kernel_set kernel_avx2 = {
    .name = "avx2",
    .add = {[KERNEL_F16] = add_f16, [KERNEL_BF16] = add_bf16, [KERNEL_F32] = add_f32, [KERNEL_F64] = add_f64},
    .subtract = {[KERNEL_F16] = subtract_f16,
                 [KERNEL_BF16] = subtract_bf16,
                 [KERNEL_F32] = subtract_f32,
                 [KERNEL_F64] = subtract_f64},
    .convert =
        {
            [KERNEL_F16] = {NULL, f16_to_bf16, f16_to_f32, kernel_ref_f16_to_f64},
            [KERNEL_BF16] = {bf16_to_f16, NULL, bf16_to_f32, kernel_ref_bf16_to_f64},
            [KERNEL_F32] = {f32_to_f16, f32_to_bf16, NULL, kernel_ref_f32_to_f64},
            [KERNEL_F64] = {kernel_ref_f64_to_f16, kernel_ref_f64_to_bf16, kernel_ref_f64_to_f32, NULL},
        },
};

#endif
