/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NEON of any ARMv8-A: 16 bytes of the result per step. Loads and stores go by bytes, so that any alignment will do.
 *
 * A finite sum r of a and b is exact if and only if r - a == b and r - b == a (proof in kernel_avx2.c). NEON has no
 * "ordered and not equal", hence less or greater. When a or b is infinite or NaN, each pair of comparisons sees either
 * a NaN or equal infinities, and all are false.
 *
 * A difference target - base is the sum of target and -base. Whether the sum of base and difference gives the target
 * again is tried: one more addition, and a comparison of bits.
 *
 * NaN is made canonical in the result's bits. For BF16 that is after the rounding, which is safe there: a NaN that the
 * addition returns comes from a widened operand or is the default one, its low 16 bits are zero, and adding less than
 * 2^16 leaves its upper half alone.
 */
#if defined(__aarch64__)

#include "kernel/kernel_sets.h"

#include <arm_neon.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { VECTOR_BYTES = 16 };

/* Steps between two readings of a tally, whose 16-bit lanes grow by at most 1 a step. */
enum { BLOCK_STEPS = 65535 };

/* Lanes of 16 bits that count up where a mask is all ones. */
struct tally {
    uint16x8_t nan;
    uint16x8_t infinite;
    uint16x8_t rounded;
    uint16x8_t delta_zero;
    uint16x8_t lossy;
};

struct pair {
    float32x4_t first;
    float32x4_t second;
};

ALWAYS_INLINE uint16x8_t load_16(const uint8_t *p)
{
    return vreinterpretq_u16_u8(vld1q_u8(p));
}

ALWAYS_INLINE void store_16(uint8_t *p, uint16x8_t value)
{
    vst1q_u8(p, vreinterpretq_u8_u16(value));
}

ALWAYS_INLINE float32x4_t load_32(const uint8_t *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

ALWAYS_INLINE void store_32(uint8_t *p, float32x4_t value)
{
    vst1q_u8(p, vreinterpretq_u8_f32(value));
}

/* ---- Addition and subtraction ---- */

typedef void step_fn(uint8_t *dst, const uint8_t *base, const uint8_t *other, struct tally *tally);

ALWAYS_INLINE void all_steps(uint8_t *dst, const uint8_t *base, const uint8_t *other, size_t n_steps, step_fn *step,
                             struct kernel_counts *counts)
{
    const uint16x8_t zero = vdupq_n_u16(0);
    while (n_steps > 0) {
        size_t n_block = n_steps < BLOCK_STEPS ? n_steps : BLOCK_STEPS;
        struct tally tally = {zero, zero, zero, zero, zero};
        for (size_t i = 0; i < n_block; i++) {
            step(dst, base, other, &tally);
            dst += VECTOR_BYTES;
            base += VECTOR_BYTES;
            other += VECTOR_BYTES;
        }
        counts->n_nan += vaddlvq_u16(tally.nan);
        counts->n_infinite += vaddlvq_u16(tally.infinite);
        counts->n_rounded += vaddlvq_u16(tally.rounded);
        counts->n_delta_zero += vaddlvq_u16(tally.delta_zero);
        counts->n_lossy += vaddlvq_u16(tally.lossy);
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

/* All ones where the finite a + b is not exactly `sum`. */
ALWAYS_INLINE uint32x4_t inexact_f32(float32x4_t sum, float32x4_t a, float32x4_t b)
{
    float32x4_t without_a = vsubq_f32(sum, a);
    float32x4_t without_b = vsubq_f32(sum, b);
    uint32x4_t not_b = vorrq_u32(vcltq_f32(without_a, b), vcgtq_f32(without_a, b));
    uint32x4_t not_a = vorrq_u32(vcltq_f32(without_b, a), vcgtq_f32(without_b, a));
    return vorrq_u32(not_b, not_a);
}

ALWAYS_INLINE uint16x8_t narrow_masks(uint32x4_t first, uint32x4_t second)
{
    return vcombine_u16(vmovn_u32(first), vmovn_u32(second));
}

ALWAYS_INLINE uint16x8_t canonical_16(uint16x8_t bits, uint16x8_t is_nan, uint16_t infinity)
{
    const uint16_t quiet_nan = (uint16_t)(infinity | (infinity == 0x7c00 ? 0x0200 : 0x0040));
    return vbslq_u16(is_nan, vdupq_n_u16(quiet_nan), bits);
}

/* Makes NaN canonical, stores, counts. `infinity` is that of F16 or BF16. */
ALWAYS_INLINE void finish_16(uint8_t *dst, uint16x8_t sum, uint16x8_t delta, uint16_t infinity, uint16x8_t rounded,
                             struct tally *tally)
{
    const uint16x8_t infinity_16 = vdupq_n_u16(infinity);
    uint16x8_t magnitude = vandq_u16(sum, vdupq_n_u16(0x7fff));
    uint16x8_t is_nan = vcgtq_u16(magnitude, infinity_16);
    store_16(dst, canonical_16(sum, is_nan, infinity));
    tally->nan = vsubq_u16(tally->nan, is_nan);
    tally->infinite = vsubq_u16(tally->infinite, vceqq_u16(magnitude, infinity_16));
    tally->rounded = vsubq_u16(tally->rounded, rounded);
    tally->delta_zero = vsubq_u16(tally->delta_zero, vceqzq_u16(vshlq_n_u16(delta, 1)));
}

ALWAYS_INLINE struct pair widen_f16(uint16x8_t bits)
{
    float16x8_t values = vreinterpretq_f16_u16(bits);
    return (struct pair){vcvt_f32_f16(vget_low_f16(values)), vcvt_high_f32_f16(values)};
}

ALWAYS_INLINE uint16x8_t narrow_f16(float32x4_t first, float32x4_t second)
{
    return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(first), second));
}

ALWAYS_INLINE struct pair widen_bf16(uint16x8_t bits)
{
    return (struct pair){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                         vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}

/* The value plus what carries it to its BF16 neighbour when that is nearer. */
ALWAYS_INLINE uint32x4_t carry_to_bf16(float32x4_t value)
{
    uint32x4_t bits = vreinterpretq_u32_f32(value);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
}

/* Not for a NaN with bits in its lower half. */
ALWAYS_INLINE uint16x8_t narrow_bf16(float32x4_t first, float32x4_t second)
{
    return vshrn_high_n_u32(vshrn_n_u32(carry_to_bf16(first), 16), carry_to_bf16(second), 16);
}

ALWAYS_INLINE void add_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    uint16x8_t delta_bits = load_16(delta);
    struct pair a = widen_f16(load_16(base));
    struct pair b = widen_f16(delta_bits);
    uint16x8_t sum = narrow_f16(vaddq_f32(a.first, b.first), vaddq_f32(a.second, b.second));
    struct pair r = widen_f16(sum);
    uint16x8_t rounded =
        narrow_masks(inexact_f32(r.first, a.first, b.first), inexact_f32(r.second, a.second, b.second));
    finish_16(dst, sum, delta_bits, 0x7c00, rounded, tally);
}

ALWAYS_INLINE void add_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    uint16x8_t delta_bits = load_16(delta);
    struct pair a = widen_bf16(load_16(base));
    struct pair b = widen_bf16(delta_bits);
    uint16x8_t sum = narrow_bf16(vaddq_f32(a.first, b.first), vaddq_f32(a.second, b.second));
    struct pair r = widen_bf16(sum);
    uint16x8_t rounded =
        narrow_masks(inexact_f32(r.first, a.first, b.first), inexact_f32(r.second, a.second, b.second));
    finish_16(dst, sum, delta_bits, 0x7f80, rounded, tally);
}

/* All ones in the low 16 bits of a wider lane is as good as in all of them: the tally takes each lane's low part. */
ALWAYS_INLINE uint16x8_t low_words_32(uint32x4_t mask)
{
    return vreinterpretq_u16_u32(vshrq_n_u32(mask, 16));
}

ALWAYS_INLINE uint16x8_t low_words_64(uint64x2_t mask)
{
    return vreinterpretq_u16_u64(vshrq_n_u64(mask, 48));
}

ALWAYS_INLINE void add_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    const uint32x4_t infinity = vdupq_n_u32(0x7f800000);
    float32x4_t a = load_32(base);
    float32x4_t b = load_32(delta);
    float32x4_t sum = vaddq_f32(a, b);
    uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(sum), vdupq_n_u32(0x7fffffff));
    uint32x4_t is_nan = vcgtq_u32(magnitude, infinity);
    uint32x4_t delta_is_zero = vceqzq_u32(vshlq_n_u32(vreinterpretq_u32_f32(b), 1));
    store_32(dst, vbslq_f32(is_nan, vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000)), sum));
    tally->nan = vsubq_u16(tally->nan, low_words_32(is_nan));
    tally->infinite = vsubq_u16(tally->infinite, low_words_32(vceqq_u32(magnitude, infinity)));
    tally->rounded = vsubq_u16(tally->rounded, low_words_32(inexact_f32(sum, a, b)));
    tally->delta_zero = vsubq_u16(tally->delta_zero, low_words_32(delta_is_zero));
}

ALWAYS_INLINE void add_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *delta, struct tally *tally)
{
    const uint64x2_t infinity = vdupq_n_u64(UINT64_C(0x7ff0000000000000));
    uint64x2_t delta_bits = vreinterpretq_u64_u8(vld1q_u8(delta));
    float64x2_t a = vreinterpretq_f64_u8(vld1q_u8(base));
    float64x2_t b = vreinterpretq_f64_u64(delta_bits);
    float64x2_t sum = vaddq_f64(a, b);
    float64x2_t without_a = vsubq_f64(sum, a);
    float64x2_t without_b = vsubq_f64(sum, b);
    uint64x2_t not_b = vorrq_u64(vcltq_f64(without_a, b), vcgtq_f64(without_a, b));
    uint64x2_t not_a = vorrq_u64(vcltq_f64(without_b, a), vcgtq_f64(without_b, a));
    uint64x2_t magnitude = vandq_u64(vreinterpretq_u64_f64(sum), vdupq_n_u64(INT64_MAX));
    uint64x2_t is_nan = vcgtq_u64(magnitude, infinity);
    uint64x2_t result = vbslq_u64(is_nan, vdupq_n_u64(UINT64_C(0x7ff8000000000000)), vreinterpretq_u64_f64(sum));
    vst1q_u8(dst, vreinterpretq_u8_u64(result));
    tally->nan = vsubq_u16(tally->nan, low_words_64(is_nan));
    tally->infinite = vsubq_u16(tally->infinite, low_words_64(vceqq_u64(magnitude, infinity)));
    tally->rounded = vsubq_u16(tally->rounded, low_words_64(vorrq_u64(not_b, not_a)));
    tally->delta_zero = vsubq_u16(tally->delta_zero, low_words_64(vceqzq_u64(vshlq_n_u64(delta_bits, 1))));
}

static void add_f16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 8, add_step_f16, counts);
    add_rest(KERNEL_F16, dst, base, delta, n_elems, counts);
}

static void add_bf16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 8, add_step_bf16, counts);
    add_rest(KERNEL_BF16, dst, base, delta, n_elems, counts);
}

static void add_f32(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 4, add_step_f32, counts);
    add_rest(KERNEL_F32, dst, base, delta, n_elems, counts);
}

static void add_f64(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, delta, n_elems / 2, add_step_f64, counts);
    add_rest(KERNEL_F64, dst, base, delta, n_elems, counts);
}

/* ---- Subtraction: `delta` of finish_16() is the difference itself ---- */

/* Base plus difference, as it comes out of the rounding, against the target. */
ALWAYS_INLINE void compare_16(uint16x8_t again, uint16x8_t target, uint16_t infinity, struct tally *tally)
{
    uint16x8_t magnitude = vandq_u16(again, vdupq_n_u16(0x7fff));
    uint16x8_t is_nan = vcgtq_u16(magnitude, vdupq_n_u16(infinity));
    uint16x8_t is_same = vceqq_u16(canonical_16(again, is_nan, infinity), target);
    tally->lossy = vsubq_u16(tally->lossy, vmvnq_u16(is_same));
}

ALWAYS_INLINE uint16x8_t rounded_16(struct pair sum, struct pair a, struct pair b)
{
    return narrow_masks(inexact_f32(sum.first, a.first, b.first), inexact_f32(sum.second, a.second, b.second));
}

ALWAYS_INLINE void subtract_step_f16(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    uint16x8_t target_bits = load_16(target);
    struct pair b = widen_f16(load_16(base));
    struct pair t = widen_f16(target_bits);
    struct pair minus_b = {vnegq_f32(b.first), vnegq_f32(b.second)};
    uint16x8_t difference =
        narrow_f16(vaddq_f32(t.first, minus_b.first), vaddq_f32(t.second, minus_b.second));
    struct pair d = widen_f16(difference);
    uint16x8_t again = narrow_f16(vaddq_f32(b.first, d.first), vaddq_f32(b.second, d.second));
    compare_16(again, target_bits, 0x7c00, tally);
    finish_16(dst, difference, difference, 0x7c00, rounded_16(d, t, minus_b), tally);
}

ALWAYS_INLINE void subtract_step_bf16(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    uint16x8_t target_bits = load_16(target);
    struct pair b = widen_bf16(load_16(base));
    struct pair t = widen_bf16(target_bits);
    struct pair minus_b = {vnegq_f32(b.first), vnegq_f32(b.second)};
    uint16x8_t difference =
        narrow_bf16(vaddq_f32(t.first, minus_b.first), vaddq_f32(t.second, minus_b.second));
    struct pair d = widen_bf16(difference);
    uint16x8_t again = narrow_bf16(vaddq_f32(b.first, d.first), vaddq_f32(b.second, d.second));
    compare_16(again, target_bits, 0x7f80, tally);
    finish_16(dst, difference, difference, 0x7f80, rounded_16(d, t, minus_b), tally);
}

ALWAYS_INLINE void subtract_step_f32(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    const uint32x4_t infinity = vdupq_n_u32(0x7f800000);
    const float32x4_t quiet_nan = vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000));
    float32x4_t b = load_32(base);
    float32x4_t t = load_32(target);
    float32x4_t d = vaddq_f32(t, vnegq_f32(b));
    uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(d), vdupq_n_u32(0x7fffffff));
    uint32x4_t is_nan = vcgtq_u32(magnitude, infinity);
    float32x4_t sum = vaddq_f32(b, d);
    float32x4_t again = vbslq_f32(vceqq_f32(sum, sum), sum, quiet_nan);
    uint32x4_t is_same = vceqq_u32(vreinterpretq_u32_f32(again), vreinterpretq_u32_f32(t));
    store_32(dst, vbslq_f32(is_nan, quiet_nan, d));
    tally->nan = vsubq_u16(tally->nan, low_words_32(is_nan));
    tally->infinite = vsubq_u16(tally->infinite, low_words_32(vceqq_u32(magnitude, infinity)));
    tally->rounded = vsubq_u16(tally->rounded, low_words_32(inexact_f32(d, t, vnegq_f32(b))));
    tally->delta_zero = vsubq_u16(tally->delta_zero, low_words_32(vceqzq_u32(magnitude)));
    tally->lossy = vsubq_u16(tally->lossy, low_words_32(vmvnq_u32(is_same)));
}

ALWAYS_INLINE void subtract_step_f64(uint8_t *dst, const uint8_t *base, const uint8_t *target, struct tally *tally)
{
    const uint64x2_t infinity = vdupq_n_u64(UINT64_C(0x7ff0000000000000));
    const uint64x2_t quiet_nan = vdupq_n_u64(UINT64_C(0x7ff8000000000000));
    uint64x2_t target_bits = vreinterpretq_u64_u8(vld1q_u8(target));
    float64x2_t b = vreinterpretq_f64_u8(vld1q_u8(base));
    float64x2_t t = vreinterpretq_f64_u64(target_bits);
    float64x2_t minus_b = vnegq_f64(b);
    float64x2_t d = vaddq_f64(t, minus_b);
    float64x2_t without_t = vsubq_f64(d, t);
    float64x2_t without_b = vsubq_f64(d, minus_b);
    uint64x2_t not_b = vorrq_u64(vcltq_f64(without_t, minus_b), vcgtq_f64(without_t, minus_b));
    uint64x2_t not_t = vorrq_u64(vcltq_f64(without_b, t), vcgtq_f64(without_b, t));
    uint64x2_t magnitude = vandq_u64(vreinterpretq_u64_f64(d), vdupq_n_u64(INT64_MAX));
    uint64x2_t is_nan = vcgtq_u64(magnitude, infinity);
    float64x2_t sum = vaddq_f64(b, d);
    uint64x2_t again = vbslq_u64(vceqq_f64(sum, sum), vreinterpretq_u64_f64(sum), quiet_nan);
    uint64x2_t is_lossy = veorq_u64(vceqq_u64(again, target_bits), vdupq_n_u64(UINT64_MAX));
    uint64x2_t result = vbslq_u64(is_nan, quiet_nan, vreinterpretq_u64_f64(d));
    vst1q_u8(dst, vreinterpretq_u8_u64(result));
    tally->nan = vsubq_u16(tally->nan, low_words_64(is_nan));
    tally->infinite = vsubq_u16(tally->infinite, low_words_64(vceqq_u64(magnitude, infinity)));
    tally->rounded = vsubq_u16(tally->rounded, low_words_64(vorrq_u64(not_b, not_t)));
    tally->delta_zero = vsubq_u16(tally->delta_zero, low_words_64(vceqzq_u64(magnitude)));
    tally->lossy = vsubq_u16(tally->lossy, low_words_64(is_lossy));
}

static void subtract_f16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 8, subtract_step_f16, counts);
    subtract_rest(KERNEL_F16, dst, base, target, n_elems, counts);
}

static void subtract_bf16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 8, subtract_step_bf16, counts);
    subtract_rest(KERNEL_BF16, dst, base, target, n_elems, counts);
}

static void subtract_f32(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 4, subtract_step_f32, counts);
    subtract_rest(KERNEL_F32, dst, base, target, n_elems, counts);
}

static void subtract_f64(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    all_steps(dst, base, target, n_elems / 2, subtract_step_f64, counts);
    subtract_rest(KERNEL_F64, dst, base, target, n_elems, counts);
}

/* ---- Conversion: 8 elements a step, read as fp32, written from fp32 ---- */

enum { CONVERT_ELEMS = 8 };

/* The smallest fp32 magnitude that rounds to infinity, as bits. */
enum { OVERFLOW_F16 = 0x477ff000, OVERFLOW_BF16 = 0x7f7f8000, OVERFLOW_NEVER = 0x7f800000 };

typedef struct pair read_fn(const uint8_t *src);
typedef void write_fn(uint8_t *dst, struct pair values);

ALWAYS_INLINE struct pair read_f16(const uint8_t *src)
{
    return widen_f16(load_16(src));
}

ALWAYS_INLINE struct pair read_bf16(const uint8_t *src)
{
    return widen_bf16(load_16(src));
}

ALWAYS_INLINE struct pair read_f32(const uint8_t *src)
{
    return (struct pair){load_32(src), load_32(src + VECTOR_BYTES)};
}

ALWAYS_INLINE void write_f16(uint8_t *dst, struct pair values)
{
    store_16(dst, narrow_f16(values.first, values.second));
}

ALWAYS_INLINE void write_bf16(uint8_t *dst, struct pair values)
{
    store_16(dst, narrow_bf16(values.first, values.second));
}

ALWAYS_INLINE void write_f32(uint8_t *dst, struct pair values)
{
    store_32(dst, values.first);
    store_32(dst + VECTOR_BYTES, values.second);
}

/* A NaN becomes the canonical one of fp32, which narrows to the canonical one of either 16-bit type. */
ALWAYS_INLINE float32x4_t canonical(float32x4_t value)
{
    return vbslq_f32(vceqq_f32(value, value), value, vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000)));
}

/* All ones where the value is finite and its magnitude at least `overflow_from`. */
ALWAYS_INLINE uint32x4_t overflows(float32x4_t value, uint32_t overflow_from)
{
    uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(value), vdupq_n_u32(0x7fffffff));
    return vandq_u32(vcgeq_u32(magnitude, vdupq_n_u32(overflow_from)), vcltq_u32(magnitude, vdupq_n_u32(0x7f800000)));
}

ALWAYS_INLINE void convert_all(uint8_t *dst, const uint8_t *src, size_t n_steps, read_fn *read, write_fn *write,
                               uint64_t *n_overflow)
{
    const size_t src_bytes = read == read_f32 ? 2 * VECTOR_BYTES : VECTOR_BYTES;
    const size_t dst_bytes = write == write_f32 ? 2 * VECTOR_BYTES : VECTOR_BYTES;
    const uint32_t to_16_bits = write == write_f16 ? OVERFLOW_F16 : OVERFLOW_BF16;
    const uint32_t overflow_from = write == write_f32 ? OVERFLOW_NEVER : to_16_bits;
    while (n_steps > 0) {
        size_t n_block = n_steps < BLOCK_STEPS ? n_steps : BLOCK_STEPS;
        uint16x8_t tally = vdupq_n_u16(0);
        for (size_t i = 0; i < n_block; i++) {
            struct pair values = read(src);
            if (overflow_from != OVERFLOW_NEVER) {
                tally = vsubq_u16(tally, narrow_masks(overflows(values.first, overflow_from),
                                                      overflows(values.second, overflow_from)));
            }
            write(dst, (struct pair){canonical(values.first), canonical(values.second)});
            src += src_bytes;
            dst += dst_bytes;
        }
        *n_overflow += vaddlvq_u16(tally);
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

const struct kernel_set kernel_neon = {
    .name = "neon",
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
