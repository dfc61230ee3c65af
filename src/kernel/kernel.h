/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a merge, and its law. `ref` (plain C on integers) is the definition; every other variant gives
 * the same bits for all inputs, counts included.
 *
 * Result law
 * - F16, BF16: widen both to fp32, one IEEE-754 addition, one narrowing, round to nearest even. That equals the
 *   correctly rounded sum, since fp32's 24 bits >= 2p + 2 for p = 11 and p = 8.
 * - F32, F64: one IEEE addition in their own width, round to nearest even.
 * - Subnormals are kept on input and output, in every type.
 * - NaN: any NaN operand, or inf + -inf, gives the canonical quiet NaN of the result's dtype, sign clear:
 *   F16 0x7e00, BF16 0x7fc0, F32 0x7fc00000, F64 0x7ff8000000000000. (PyTorch's payload depends on CPU and operand
 *   order, so there is no reference to follow.) Conversions of a NaN give the same canonical NaN.
 * - Conversions widen exactly; narrow with one round-to-nearest-even, overflow to infinity; F64 to a 16-bit type goes
 *   through F32 (two roundings), as torch does.
 *
 * Functions take any n_elems including 0, any alignment, `dst` may equal either source (for conversions only when both
 * element sizes are equal), no other overlap. They hold no state and cannot fail. `counts` is added to, never cleared.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "tensor/dtype.h"

struct kernel_counts {
    uint64_t n_nan;        /* results that are NaN */
    uint64_t n_infinite;   /* results that are +-infinity */
    uint64_t n_rounded;    /* finite operands whose exact real sum the result's dtype cannot hold (overflow included) */
    uint64_t n_delta_zero; /* elements of `delta` that are +0 or -0 */
};

/* dst[i] = base[i] + delta[i]; element bits as unsigned integers in host order (little-endian hosts only). */
typedef void kernel_add_fn(void *dst, const void *base, const void *delta, size_t n_elems,
                           struct kernel_counts *counts);

/* dst[i] = convert(src[i]). *n_overflow grows by the finite sources that became infinite. */
typedef void kernel_convert_fn(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow);

/* The four addable dtypes, as indices into the tables. */
enum kernel_type { KERNEL_F16, KERNEL_BF16, KERNEL_F32, KERNEL_F64, KERNEL_TYPE_COUNT };

struct kernel_set {
    const char *name; /* "ref", "avx2", "avx512", "neon" */
    kernel_add_fn *add[KERNEL_TYPE_COUNT];
    kernel_convert_fn *convert[KERNEL_TYPE_COUNT][KERNEL_TYPE_COUNT]; /* [from][to]; NULL on the diagonal */
};

enum kernel_isa { KERNEL_ISA_REF, KERNEL_ISA_AVX2, KERNEL_ISA_AVX512, KERNEL_ISA_NEON, KERNEL_ISA_COUNT };

/*
 * The set for one instruction set, or NULL when this build or this machine (CPU and operating system state: CPUID and
 * XGETBV on x86, HWCAP on aarch64) lacks it. KERNEL_ISA_REF is never NULL. Static storage, thread-safe.
 */
const struct kernel_set *kernel_get(enum kernel_isa isa);

/* The fastest that this machine has. */
const struct kernel_set *kernel_best(void);

/* Counts over finished elements, for tensors that are copied or were converted: n_nan and n_infinite alone. */
typedef void kernel_scan_fn(const void *src, size_t n_elems, struct kernel_counts *counts);
kernel_scan_fn *kernel_scan(enum kernel_type type); /* plain C, one for all instruction sets */

/* false when dtype is not one of the four. */
bool kernel_type_of(enum dtype dtype, enum kernel_type *type);

#endif
