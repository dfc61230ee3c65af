/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The definition: IEEE-754 binary formats in plain C on integers, no floating-point type in sight. One adder and one
 * converter, written for any format of up to 64 bits, forced inline with a constant format so that each of the
 * functions in the table folds to its own straight code.
 *
 * A finite number is (-1)^sign * significand * 2^(exponent - bias - fraction_bits), where `exponent` is the stored
 * field but at least 1, and the significand has its implicit bit unless the field was 0 (a subnormal). Adding the
 * significand (implicit bit and all) to (exponent - 1) << fraction_bits therefore packs normals and subnormals alike,
 * and a rounding that carries out of the significand moves on to the next exponent by itself, up to infinity.
 */
#include "kernel/kernel_sets.h"

#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct format {
    unsigned n_bytes;
    unsigned fraction_bits;
    unsigned exponent_bits;
};

static const struct format f16 = {2, 10, 5};
static const struct format bf16 = {2, 7, 8};
static const struct format f32 = {4, 23, 8};
static const struct format f64 = {8, 52, 11};

ALWAYS_INLINE uint64_t sign_bit(struct format f)
{
    return UINT64_C(1) << (f.fraction_bits + f.exponent_bits);
}

ALWAYS_INLINE uint64_t implicit_bit(struct format f)
{
    return UINT64_C(1) << f.fraction_bits;
}

ALWAYS_INLINE uint64_t infinity(struct format f)
{
    return ((UINT64_C(1) << f.exponent_bits) - 1) << f.fraction_bits;
}

ALWAYS_INLINE uint64_t canonical_nan(struct format f)
{
    return infinity(f) | (implicit_bit(f) >> 1);
}

ALWAYS_INLINE int bias(struct format f)
{
    return (1 << (f.exponent_bits - 1)) - 1;
}

ALWAYS_INLINE uint64_t load(const uint8_t *p, struct format f)
{
    uint64_t bits = 0;
    memcpy(&bits, p, f.n_bytes);
    return bits;
}

ALWAYS_INLINE void store(uint8_t *p, uint64_t bits, struct format f)
{
    memcpy(p, &bits, f.n_bytes);
}

/* The field, but at least 1. `magnitude` is the bits without the sign. */
ALWAYS_INLINE unsigned exponent_of(uint64_t magnitude, struct format f)
{
    uint64_t field = magnitude >> f.fraction_bits;
    return (unsigned)(field + (field == 0));
}

ALWAYS_INLINE uint64_t significand_of(uint64_t magnitude, struct format f)
{
    uint64_t fraction = magnitude & (implicit_bit(f) - 1);
    return fraction | (magnitude >= implicit_bit(f) ? implicit_bit(f) : 0);
}

/* value / 2^shift; when bits are lost the last bit kept is set, so that later rounding sees "not exact". */
ALWAYS_INLINE uint64_t shift_right_sticky(uint64_t value, unsigned shift)
{
    shift = shift < 63 ? shift : 63;
    uint64_t lost = value & ((UINT64_C(1) << shift) - 1);
    return value >> shift | (lost != 0);
}

/* value / 2^shift to nearest, ties to even; 1 <= shift <= 63. */
ALWAYS_INLINE uint64_t shift_right_nearest(uint64_t value, unsigned shift)
{
    uint64_t quotient = value >> shift;
    uint64_t below_half = (UINT64_C(1) << (shift - 1)) - 1;
    return (value + below_half + (quotient & 1)) >> shift;
}

/* ---- Addition ---- */

/*
 * Three extra bits below the last place are enough: the smaller operand is shifted right with a sticky last bit, and
 * bits are lost only when the exponents differ by four or more, in which case a difference loses at most one leading
 * bit, so two exact bits and the sticky one remain to round by. With fewer lost than that the sum is exact.
 */
enum { EXTRA_BITS = 3 };

struct sum {
    uint64_t bits;
    bool rounded; /* the operands are finite and the sum is not the real one */
};

/* Both operands finite. */
ALWAYS_INLINE struct sum add_finite(uint64_t a, uint64_t b, struct format f)
{
    uint64_t magnitude_mask = sign_bit(f) - 1;
    bool swap = (a & magnitude_mask) < (b & magnitude_mask);
    uint64_t large = swap ? b : a;
    uint64_t small = swap ? a : b;
    uint64_t sign = large & sign_bit(f);
    bool subtract = ((a ^ b) & sign_bit(f)) != 0;
    large &= magnitude_mask;
    small &= magnitude_mask;

    unsigned exponent = exponent_of(large, f);
    uint64_t total = significand_of(large, f) << EXTRA_BITS;
    uint64_t term = shift_right_sticky(significand_of(small, f) << EXTRA_BITS, exponent - exponent_of(small, f));
    total = subtract ? total - term : total + term;
    if (total == 0) {
        return (struct sum){subtract ? 0 : sign, false};
    }

    uint64_t leading = implicit_bit(f) << EXTRA_BITS;
    if (total >= leading << 1) {
        total = shift_right_sticky(total, 1);
        exponent++;
    } else {
        /* A difference: move the leading bit back up, as far as the smallest exponent lets it. */
        unsigned room = exponent - 1;
        unsigned shift = (unsigned)__builtin_clzll(total) - (unsigned)__builtin_clzll(leading);
        shift = shift < room ? shift : room;
        total <<= shift;
        exponent -= shift;
    }
    uint64_t bits = ((uint64_t)(exponent - 1) << f.fraction_bits) + shift_right_nearest(total, EXTRA_BITS);
    bool overflow = bits >= infinity(f);
    bits = overflow ? infinity(f) : bits;
    return (struct sum){sign | bits, overflow || (total & ((1u << EXTRA_BITS) - 1)) != 0};
}

ALWAYS_INLINE struct sum add_one(uint64_t a, uint64_t b, struct format f)
{
    uint64_t a_magnitude = a & (sign_bit(f) - 1);
    uint64_t b_magnitude = b & (sign_bit(f) - 1);
    if (a_magnitude < infinity(f) && b_magnitude < infinity(f)) {
        return add_finite(a, b, f);
    }
    bool opposite_infinities = a_magnitude == b_magnitude && a != b;
    if (a_magnitude > infinity(f) || b_magnitude > infinity(f) || opposite_infinities) {
        return (struct sum){canonical_nan(f), false};
    }
    return (struct sum){a_magnitude == infinity(f) ? a : b, false};
}

ALWAYS_INLINE void add_all(uint8_t *dst, const uint8_t *base, const uint8_t *delta, size_t n_bytes, struct format f,
                           struct kernel_counts *counts)
{
    struct kernel_counts seen = {0};
    for (size_t pos = 0; pos < n_bytes; pos += f.n_bytes) {
        uint64_t addend = load(delta + pos, f);
        struct sum sum = add_one(load(base + pos, f), addend, f);
        store(dst + pos, sum.bits, f);
        uint64_t magnitude = sum.bits & (sign_bit(f) - 1);
        seen.n_nan += magnitude > infinity(f);
        seen.n_infinite += magnitude == infinity(f);
        seen.n_rounded += sum.rounded;
        seen.n_delta_zero += (addend & (sign_bit(f) - 1)) == 0;
    }
    counts->n_nan += seen.n_nan;
    counts->n_infinite += seen.n_infinite;
    counts->n_rounded += seen.n_rounded;
    counts->n_delta_zero += seen.n_delta_zero;
}

static void add_f16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    add_all(dst, base, delta, n_elems * 2, f16, counts);
}

static void add_bf16(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    add_all(dst, base, delta, n_elems * 2, bf16, counts);
}

static void add_f32(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    add_all(dst, base, delta, n_elems * 4, f32, counts);
}

static void add_f64(void *dst, const void *base, const void *delta, size_t n_elems, struct kernel_counts *counts)
{
    add_all(dst, base, delta, n_elems * 8, f64, counts);
}

/* ---- Subtraction ---- */

ALWAYS_INLINE void subtract_all(uint8_t *dst, const uint8_t *base, const uint8_t *target, size_t n_bytes,
                                struct format f, struct kernel_counts *counts)
{
    struct kernel_counts seen = {0};
    for (size_t pos = 0; pos < n_bytes; pos += f.n_bytes) {
        uint64_t minuend = load(target + pos, f);
        uint64_t subtrahend = load(base + pos, f);
        struct sum difference = add_one(minuend, subtrahend ^ sign_bit(f), f);
        store(dst + pos, difference.bits, f);
        uint64_t magnitude = difference.bits & (sign_bit(f) - 1);
        seen.n_nan += magnitude > infinity(f);
        seen.n_infinite += magnitude == infinity(f);
        seen.n_rounded += difference.rounded;
        seen.n_delta_zero += magnitude == 0;
        seen.n_lossy += add_one(subtrahend, difference.bits, f).bits != minuend;
    }
    counts->n_nan += seen.n_nan;
    counts->n_infinite += seen.n_infinite;
    counts->n_rounded += seen.n_rounded;
    counts->n_delta_zero += seen.n_delta_zero;
    counts->n_lossy += seen.n_lossy;
}

static void subtract_f16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    subtract_all(dst, base, target, n_elems * 2, f16, counts);
}

static void subtract_bf16(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    subtract_all(dst, base, target, n_elems * 2, bf16, counts);
}

static void subtract_f32(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    subtract_all(dst, base, target, n_elems * 4, f32, counts);
}

static void subtract_f64(void *dst, const void *base, const void *target, size_t n_elems, struct kernel_counts *counts)
{
    subtract_all(dst, base, target, n_elems * 8, f64, counts);
}

/* ---- Conversion ---- */

/*
 * The significand is moved up until its leading bit is bit 62, then rounded down to the target's place, or further when
 * the result is subnormal. A shift of 64 or more leaves less than half of the smallest subnormal, that is zero.
 */
ALWAYS_INLINE uint64_t convert_one(uint64_t bits, struct format from, struct format to)
{
    uint64_t magnitude = bits & (sign_bit(from) - 1);
    uint64_t sign = (bits & sign_bit(from)) != 0 ? sign_bit(to) : 0;
    if (magnitude > infinity(from)) {
        return canonical_nan(to);
    }
    if (magnitude == infinity(from)) {
        return sign | infinity(to);
    }
    uint64_t significand = significand_of(magnitude, from);
    if (significand == 0) {
        return sign;
    }
    int up = __builtin_clzll(significand) - 1;
    significand <<= up;
    int exponent = (int)exponent_of(magnitude, from) - bias(from) - (int)from.fraction_bits + 62 - up + bias(to);
    if (exponent >= (1 << to.exponent_bits) - 1) {
        return sign | infinity(to);
    }
    int shift = 62 - (int)to.fraction_bits;
    if (exponent < 1) {
        shift += 1 - exponent;
        exponent = 1;
    }
    uint64_t rounded = shift > 63 ? 0 : shift_right_nearest(significand, (unsigned)shift);
    return sign | (((uint64_t)(exponent - 1) << to.fraction_bits) + rounded);
}

ALWAYS_INLINE bool is_finite(uint64_t bits, struct format f)
{
    return (bits & (sign_bit(f) - 1)) < infinity(f);
}

/* `via` is where the first rounding is made; equal to `to` when there is one alone. */
ALWAYS_INLINE void convert_all(uint8_t *dst, const uint8_t *src, size_t n_elems, const struct format formats[3],
                               uint64_t *n_overflow)
{
    struct format from = formats[0];
    struct format via = formats[1];
    struct format to = formats[2];
    uint64_t overflows = 0;
    for (size_t i = 0; i < n_elems; i++) {
        uint64_t bits = load(src + i * from.n_bytes, from);
        uint64_t result = convert_one(convert_one(bits, from, via), via, to);
        store(dst + i * to.n_bytes, result, to);
        overflows += is_finite(bits, from) && (result & (sign_bit(to) - 1)) == infinity(to);
    }
    *n_overflow += overflows;
}

static void f16_to_bf16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f16, bf16, bf16}, n_overflow);
}

static void f16_to_f32(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f16, f32, f32}, n_overflow);
}

void kernel_ref_f16_to_f64(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f16, f64, f64}, n_overflow);
}

static void bf16_to_f16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){bf16, f16, f16}, n_overflow);
}

static void bf16_to_f32(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){bf16, f32, f32}, n_overflow);
}

void kernel_ref_bf16_to_f64(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){bf16, f64, f64}, n_overflow);
}

static void f32_to_f16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f32, f16, f16}, n_overflow);
}

static void f32_to_bf16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f32, bf16, bf16}, n_overflow);
}

void kernel_ref_f32_to_f64(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f32, f64, f64}, n_overflow);
}

void kernel_ref_f64_to_f16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f64, f32, f16}, n_overflow);
}

void kernel_ref_f64_to_bf16(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f64, f32, bf16}, n_overflow);
}

void kernel_ref_f64_to_f32(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow)
{
    convert_all(dst, src, n_elems, (const struct format[]){f64, f32, f32}, n_overflow);
}

const struct kernel_set kernel_ref = {
    .name = "ref",
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
