/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512 F, BW, VL, DQ: 64 bytes of the result per step, conditions in mask registers, counted by popcnt. Why the
 * two comparisons find the sums that were rounded, and why NaN can be dealt with after the rounding: kernel_avx2.c.
 *
 * The conversion to BF16 is done with integers. The instruction for it (vcvtneps2bf16 of AVX512-BF16) treats subnormals
 * as zero, which would change results.
 */
#if defined(__x86_64__)

#include "kernel/kernel_sets.h"

#include <immintrin.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VECTOR_BYTES = 64 };

enum { ROUND_NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };

struct pair {
    __m512 first;
    __m512 second;
};

ALWAYS_INLINE uint64_t ones(uint64_t mask)
{
    return (uint64_t)_mm_popcnt_u64(mask);
}

ALWAYS_INLINE __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

ALWAYS_INLINE void store(uint8_t *p, __m512i value)
{
    _mm512_storeu_si512((void *)p, value);
}

/* ---- Addition and subtraction ---- */

typedef void step_fn(uint8_t *dst, const uint8_t *base, const uint8_t *other, struct kernel_counts *counts);

ALWAYS_INLINE void all_steps(uint8_t *dst, const uint8_t *base, const uint8_t *other, size_t n_steps, step_fn *step,
                             struct kernel_counts *counts)
{
    struct kernel_counts seen = {0};
    for (size_t i = 0; i < n_steps; i++) {
        step(dst, base, other, &seen);
        dst += VECTOR_BYTES;
        base += VECTOR_BYTES;
        other += VECTOR_BYTES;
    }
    counts->n_nan += seen.n_nan;
    counts->n_infinite += seen.n_infinite;
    counts->n_rounded += seen.n_rounded;
    counts->n_delta_zero += seen.n_delta_zero;
    counts->n_lossy += seen.n_lossy;
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

/* Set where the finite a + b is not exactly `sum`. */
ALWAYS_INLINE __mmask16 inexact_ps(__m512 sum, __m512 a, __m512 b)
{
    __mmask16 not_b = _mm512_cmp_ps_mask(_mm512_sub_ps(sum, a), b, _CMP_NEQ_OQ);
    __mmask16 not_a = _mm512_cmp_ps_mask(_mm512_sub_ps(sum, b), a, _CMP_NEQ_OQ);
    return _kor_mask16(not_b, not_a);
}

ALWAYS_INLINE __m512i canonical_16(__m512i bits, __mmask32 is_nan, short infinity)
{
    const short quiet_nan = (short)(infinity | (infinity == 0x7c00 ? 0x0200 : 0x0040));
    return _mm512_mask_mov_epi16(bits, is_nan, _mm512_set1_epi16(quiet_nan));
}

/* Makes NaN canonical, stores, counts. `infinity` is that of F16 or BF16; the bits of `rounded` are in any order. */
ALWAYS_INLINE void finish_16(uint8_t *dst, __m512i sum, __m512i delta, short infinity, __mmask32 rounded,
                             struct kernel_counts *counts)
{
    const __m512i infinity_16 = _mm512_set1_epi16(infinity);
    const __m512i magnitude_bits = _mm512_set1_epi16(0x7fff);
    __m512i magnitude = _mm512_and_si512(sum, magnitude_bits);
    __mmask32 is_nan = _mm512_cmpgt_epi16_mask(magnitude, infinity_16);
    store(dst, canonical_16(sum, is_nan, infinity));
    counts->n_nan += ones(is_nan);
    counts->n_infinite += ones(_mm512_cmpeq_epi16_mask(magnitude, infinity_16));
    counts->n_rounded += ones(rounded);
    counts->n_delta_zero += ones(_mm512_testn_epi16_mask(delta, magnitude_bits));
}

ALWAYS_INLINE struct pair widen_f16(__m512i bits)
{
    return (struct pair){_mm512_cvtph_ps(_mm512_castsi512_si256(bits)),
                         _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1))};
}

ALWAYS_INLINE __m512i join(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

ALWAYS_INLINE void add_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct kernel_counts *counts)
{
    __m512i delta_bits = load(delta);
    struct pair a = widen_f16(load(base));
    struct pair b = widen_f16(delta_bits);
    __m256i low = _mm512_cvtps_ph(_mm512_add_ps(a.first, b.first), ROUND_NEAREST);
    __m256i high = _mm512_cvtps_ph(_mm512_add_ps(a.second, b.second), ROUND_NEAREST);
    __mmask32 rounded = _mm512_kunpackw(inexact_ps(_mm512_cvtph_ps(high), a.second, b.second),
                                        inexact_ps(_mm512_cvtph_ps(low), a.first, b.first));
    finish_16(dst, join(low, high), delta_bits, 0x7c00, rounded, counts);
}

/* Rounded to BF16, in the upper half of each lane, the lower half zero. Not for a NaN with bits in its lower half. */
ALWAYS_INLINE __m512i round_to_bf16(__m512 value)
{
    __m512i bits = _mm512_castps_si512(value);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i carried = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    return _mm512_and_si512(carried, _mm512_set1_epi32((int)0xffff0000u));
}

/* Unpacking to and packing from 32 bits both work within 128-bit quarters, so the order comes out right. */
ALWAYS_INLINE void add_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct kernel_counts *counts)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i base_bits = load(base);
    __m512i delta_bits = load(delta);
    __m512 a_low = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, base_bits));
    __m512 a_high = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, base_bits));
    __m512 b_low = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, delta_bits));
    __m512 b_high = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, delta_bits));
    __m512i low = round_to_bf16(_mm512_add_ps(a_low, b_low));
    __m512i high = round_to_bf16(_mm512_add_ps(a_high, b_high));
    __mmask32 rounded = _mm512_kunpackw(inexact_ps(_mm512_castsi512_ps(high), a_high, b_high),
                                        inexact_ps(_mm512_castsi512_ps(low), a_low, b_low));
    __m512i sum = _mm512_packus_epi32(_mm512_srli_epi32(low, 16), _mm512_srli_epi32(high, 16));
    finish_16(dst, sum, delta_bits, 0x7f80, rounded, counts);
}

ALWAYS_INLINE void add_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct kernel_counts *counts)
{
    const __m512i infinity = _mm512_set1_epi32(0x7f800000);
    const __m512i magnitude_bits = _mm512_set1_epi32(0x7fffffff);
    __m512i delta_bits = load(delta);
    __m512 a = _mm512_castsi512_ps(load(base));
    __m512 b = _mm512_castsi512_ps(delta_bits);
    __m512 sum = _mm512_add_ps(a, b);
    __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(sum), magnitude_bits);
    __mmask16 is_nan = _mm512_cmpgt_epi32_mask(magnitude, infinity);
    store(dst, _mm512_mask_mov_epi32(_mm512_castps_si512(sum), is_nan, _mm512_set1_epi32(0x7fc00000)));
    counts->n_nan += ones(is_nan);
    counts->n_infinite += ones(_mm512_cmpeq_epi32_mask(magnitude, infinity));
    counts->n_rounded += ones(inexact_ps(sum, a, b));
    counts->n_delta_zero += ones(_mm512_testn_epi32_mask(delta_bits, magnitude_bits));
}

ALWAYS_INLINE void add_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct kernel_counts *counts)
{
    const __m512i infinity = _mm512_set1_epi64(0x7ff0000000000000);
    const __m512i magnitude_bits = _mm512_set1_epi64(INT64_MAX);
    __m512i delta_bits = load(delta);
    __m512d a = _mm512_castsi512_pd(load(base));
    __m512d b = _mm512_castsi512_pd(delta_bits);
    __m512d sum = _mm512_add_pd(a, b);
    __mmask8 not_b = _mm512_cmp_pd_mask(_mm512_sub_pd(sum, a), b, _CMP_NEQ_OQ);
    __mmask8 not_a = _mm512_cmp_pd_mask(_mm512_sub_pd(sum, b), a, _CMP_NEQ_OQ);
    __m512i magnitude = _mm512_and_si512(_mm512_castpd_si512(sum), magnitude_bits);
    __mmask8 is_nan = _mm512_cmpgt_epi64_mask(magnitude, infinity);
    store(dst, _mm512_mask_mov_epi64(_mm512_castpd_si512(sum), is_nan, _mm512_set1_epi64(0x7ff8000000000000)));
    counts->n_nan += ones(is_nan);
    counts->n_infinite += ones(_mm512_cmpeq_epi64_mask(magnitude, infinity));
    counts->n_rounded += ones(_kor_mask8(not_b, not_a));
    counts->n_delta_zero += ones(_mm512_testn_epi64_mask(delta_bits, magnitude_bits));
}

static void add_f16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 32, add_step_f16, counts);
    add_rest(KERNEL_F16, dst, base, delta, n_elems, counts);
}

static void add_bf16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 32, add_step_bf16, counts);
    add_rest(KERNEL_BF16, dst, base, delta, n_elems, counts);
}

static void add_f32(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 16, add_step_f32, counts);
    add_rest(KERNEL_F32, dst, base, delta, n_elems, counts);
}

static void add_f64(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 8, add_step_f64, counts);
    add_rest(KERNEL_F64, dst, base, delta, n_elems, counts);
}

/* ---- Subtraction: `delta` of finish_16() is the difference itself ---- */

/* Base plus difference, as it comes out of the rounding, against the target. */
ALWAYS_INLINE void compare_16(__m512i again, __m512i target, short infinity, struct kernel_counts *counts)
{
    __m512i magnitude = _mm512_and_si512(again, _mm512_set1_epi16(0x7fff));
    __mmask32 is_nan = _mm512_cmpgt_epi16_mask(magnitude, _mm512_set1_epi16(infinity));
    counts->n_lossy += ones(_mm512_cmpneq_epi16_mask(canonical_16(again, is_nan, infinity), target));
}

ALWAYS_INLINE __m512 negated(__m512 value)
{
    return _mm512_xor_ps(value, _mm512_castsi512_ps(_mm512_set1_epi32(INT32_MIN)));
}

ALWAYS_INLINE __m256i sum_f16(__m512 a, __m512 b)
{
    return _mm512_cvtps_ph(_mm512_add_ps(a, b), ROUND_NEAREST);
}

ALWAYS_INLINE void subtract_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *target,
                                     struct kernel_counts *counts)
{
    __m512i target_bits = load(target);
    struct pair b = widen_f16(load(base));
    struct pair t = widen_f16(target_bits);
    struct pair minus_b = {negated(b.first), negated(b.second)};
    __m512i difference = join(sum_f16(t.first, minus_b.first), sum_f16(t.second, minus_b.second));
    struct pair d = widen_f16(difference);
    __mmask32 rounded = _mm512_kunpackw(inexact_ps(d.second, t.second, minus_b.second),
                                        inexact_ps(d.first, t.first, minus_b.first));
    compare_16(join(sum_f16(b.first, d.first), sum_f16(b.second, d.second)), target_bits, 0x7c00, counts);
    finish_16(dst, difference, difference, 0x7c00, rounded, counts);
}

/* Values in fp32 with a lower half of zeros, in the order of unpacking. */
ALWAYS_INLINE struct pair unpack_bf16(__m512i bits)
{
    const __m512i zero = _mm512_setzero_si512();
    return (struct pair){_mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, bits)),
                         _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, bits))};
}

ALWAYS_INLINE __m512i pack_bf16(struct pair values)
{
    return _mm512_packus_epi32(_mm512_srli_epi32(_mm512_castps_si512(values.first), 16),
                               _mm512_srli_epi32(_mm512_castps_si512(values.second), 16));
}

ALWAYS_INLINE struct pair sum_bf16(struct pair a, struct pair b)
{
    return (struct pair){_mm512_castsi512_ps(round_to_bf16(_mm512_add_ps(a.first, b.first))),
                         _mm512_castsi512_ps(round_to_bf16(_mm512_add_ps(a.second, b.second)))};
}

ALWAYS_INLINE void subtract_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *target,
                                      struct kernel_counts *counts)
{
    __m512i target_bits = load(target);
    struct pair b = unpack_bf16(load(base));
    struct pair t = unpack_bf16(target_bits);
    struct pair minus_b = {negated(b.first), negated(b.second)};
    struct pair d = sum_bf16(t, minus_b);
    __mmask32 rounded = _mm512_kunpackw(inexact_ps(d.second, t.second, minus_b.second),
                                        inexact_ps(d.first, t.first, minus_b.first));
    __m512i difference = pack_bf16(d);
    compare_16(pack_bf16(sum_bf16(b, d)), target_bits, 0x7f80, counts);
    finish_16(dst, difference, difference, 0x7f80, rounded, counts);
}

ALWAYS_INLINE void subtract_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *target,
                                     struct kernel_counts *counts)
{
    const __m512i infinity = _mm512_set1_epi32(0x7f800000);
    const __m512i magnitude_bits = _mm512_set1_epi32(0x7fffffff);
    const __m512i quiet_nan = _mm512_set1_epi32(0x7fc00000);
    __m512i target_bits = load(target);
    __m512 b = _mm512_castsi512_ps(load(base));
    __m512 t = _mm512_castsi512_ps(target_bits);
    __m512 d = _mm512_add_ps(t, negated(b));
    __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(d), magnitude_bits);
    __mmask16 is_nan = _mm512_cmpgt_epi32_mask(magnitude, infinity);
    __m512 sum = _mm512_add_ps(b, d);
    __mmask16 sum_is_nan = _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q);
    __m512i again = _mm512_mask_mov_epi32(_mm512_castps_si512(sum), sum_is_nan, quiet_nan);
    store(dst, _mm512_mask_mov_epi32(_mm512_castps_si512(d), is_nan, quiet_nan));
    counts->n_nan += ones(is_nan);
    counts->n_infinite += ones(_mm512_cmpeq_epi32_mask(magnitude, infinity));
    counts->n_rounded += ones(inexact_ps(d, t, negated(b)));
    counts->n_delta_zero += ones(_mm512_testn_epi32_mask(magnitude, magnitude_bits));
    counts->n_lossy += ones(_mm512_cmpneq_epi32_mask(again, target_bits));
}

ALWAYS_INLINE void subtract_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *target,
                                     struct kernel_counts *counts)
{
    const __m512i infinity = _mm512_set1_epi64(0x7ff0000000000000);
    const __m512i magnitude_bits = _mm512_set1_epi64(INT64_MAX);
    const __m512i quiet_nan = _mm512_set1_epi64(0x7ff8000000000000);
    __m512i target_bits = load(target);
    __m512d b = _mm512_castsi512_pd(load(base));
    __m512d t = _mm512_castsi512_pd(target_bits);
    __m512d minus_b = _mm512_xor_pd(b, _mm512_castsi512_pd(_mm512_set1_epi64(INT64_MIN)));
    __m512d d = _mm512_add_pd(t, minus_b);
    __mmask8 not_b = _mm512_cmp_pd_mask(_mm512_sub_pd(d, t), minus_b, _CMP_NEQ_OQ);
    __mmask8 not_t = _mm512_cmp_pd_mask(_mm512_sub_pd(d, minus_b), t, _CMP_NEQ_OQ);
    __m512i magnitude = _mm512_and_si512(_mm512_castpd_si512(d), magnitude_bits);
    __mmask8 is_nan = _mm512_cmpgt_epi64_mask(magnitude, infinity);
    __m512d sum = _mm512_add_pd(b, d);
    __mmask8 sum_is_nan = _mm512_cmp_pd_mask(sum, sum, _CMP_UNORD_Q);
    __m512i again = _mm512_mask_mov_epi64(_mm512_castpd_si512(sum), sum_is_nan, quiet_nan);
    store(dst, _mm512_mask_mov_epi64(_mm512_castpd_si512(d), is_nan, quiet_nan));
    counts->n_nan += ones(is_nan);
    counts->n_infinite += ones(_mm512_cmpeq_epi64_mask(magnitude, infinity));
    counts->n_rounded += ones(_kor_mask8(not_b, not_t));
    counts->n_delta_zero += ones(_mm512_testn_epi64_mask(magnitude, magnitude_bits));
    counts->n_lossy += ones(_mm512_cmpneq_epi64_mask(again, target_bits));
}

static void subtract_f16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 32, subtract_step_f16, counts);
    subtract_rest(KERNEL_F16, dst, base, target, n_elems, counts);
}

static void subtract_bf16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 32, subtract_step_bf16, counts);
    subtract_rest(KERNEL_BF16, dst, base, target, n_elems, counts);
}

static void subtract_f32(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 16, subtract_step_f32, counts);
    subtract_rest(KERNEL_F32, dst, base, target, n_elems, counts);
}

static void subtract_f64(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 8, subtract_step_f64, counts);
    subtract_rest(KERNEL_F64, dst, base, target, n_elems, counts);
}

/* ---- Conversion: 16 elements a step, read as fp32, written from fp32 ---- */

enum { CONVERT_ELEMS = 16 };

/* The smallest fp32 magnitude that rounds to infinity, as bits. */
enum { OVERFLOW_F16 = 0x477ff000, OVERFLOW_BF16 = 0x7f7f8000, OVERFLOW_NEVER = 0x7f800000 };

typedef __m512 read_fn(const uint8_t *src);
typedef void write_fn(uint8_t *dst, __m512 values);

ALWAYS_INLINE __m512 read_f16(const uint8_t *src)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)src));
}

ALWAYS_INLINE __m512 read_bf16(const uint8_t *src)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)src));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

ALWAYS_INLINE __m512 read_f32(const uint8_t *src)
{
    return _mm512_castsi512_ps(load(src));
}

ALWAYS_INLINE void write_f16(uint8_t *dst, __m512 values)
{
    _mm256_storeu_si256((void *)dst, _mm512_cvtps_ph(values, ROUND_NEAREST));
}

ALWAYS_INLINE void write_bf16(uint8_t *dst, __m512 values)
{
    _mm256_storeu_si256((void *)dst, _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_to_bf16(values), 16)));
}

ALWAYS_INLINE void write_f32(uint8_t *dst, __m512 values)
{
    store(dst, _mm512_castps_si512(values));
}

/* A NaN becomes the canonical one of fp32, which narrows to the canonical one of either 16-bit type. */
ALWAYS_INLINE __m512 canonical(__m512 values)
{
    __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    return _mm512_mask_mov_ps(values, is_nan, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
}

/* How many are finite and of a magnitude of at least `overflow_from`. */
ALWAYS_INLINE uint64_t overflows(__m512 values, int overflow_from)
{
    __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(0x7fffffff));
    __mmask16 large = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(overflow_from));
    return ones(_mm512_mask_cmplt_epi32_mask(large, magnitude, _mm512_set1_epi32(0x7f800000)));
}

ALWAYS_INLINE void convert_all(uint8_t *dst, const uint8_t *src, size_t n_steps, read_fn *read, write_fn *write,
                               uint64_t *n_overflow)
{
    const size_t src_bytes = read == read_f32 ? VECTOR_BYTES : VECTOR_BYTES / 2;
    const size_t dst_bytes = write == write_f32 ? VECTOR_BYTES : VECTOR_BYTES / 2;
    const int overflow_from = write == write_f16 ? OVERFLOW_F16 : write == write_bf16 ? OVERFLOW_BF16 : OVERFLOW_NEVER;
    uint64_t seen = 0;
    for (size_t i = 0; i < n_steps; i++) {
        __m512 values = read(src);
        if (overflow_from != OVERFLOW_NEVER) {
            seen += overflows(values, overflow_from);
        }
        write(dst, canonical(values));
        src += src_bytes;
        dst += dst_bytes;
    }
    *n_overflow += seen;
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

const struct kernel_set kernel_avx512 = {
    .name = "avx512",
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
