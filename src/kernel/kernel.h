/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a merge, and its law. `ref` (plain C on integers) is the definition; every other variant gives
 * the same bits for all inputs, counts included.
 *
 * Result law
 * - A sum is the real sum of the two operands, rounded once to the result's dtype: to nearest, ties to even, overflow
 *   to infinity. For F32 and F64 that is one IEEE-754 addition. For F16 and BF16 it equals what PyTorch does on a CPU
 *   (widen both to fp32, one addition, one narrowing), since fp32's 24 bits are at least 2p + 2 for p = 11 and p = 8.
 * - A sum of exactly zero is +0, unless both operands are -0: then -0.
 * - A difference is the sum with the negated operand: target - base = target + (-base), in every bit.
 * - Subnormals are kept on input and output, in every type.
 * - NaN: any NaN operand, or inf + -inf, gives the canonical quiet NaN of the result's dtype, sign clear:
 *   F16 0x7e00, BF16 0x7fc0, F32 0x7fc00000, F64 0x7ff8000000000000. (PyTorch's payload depends on CPU and operand
 *   order, so there is no reference to follow.) Conversions of a NaN give the same canonical NaN.
 * - Conversions widen exactly; narrow with one rounding to nearest even, overflow to infinity; between F16 and BF16
 *   as well. F64 to a 16-bit type goes through F32 (two roundings), as torch does.
 *
 * Functions take any n_elems including 0, any alignment, `dst` may equal either source (for conversions only when both
 * element sizes are equal), no other overlap between dst and a source; the sources may overlap. They hold no state and
 * cannot fail. `counts` and `n_overflow` are added to, never cleared.
 *
 * Floating-point environment: `ref` works on integers and does not care. The others use the machine's adder, so the
 * calling thread must be in the default environment: round to nearest, exceptions masked, no flush-to-zero (x86 FTZ and
 * DAZ, aarch64 FPCR.FZ). A program that links with -ffast-math, or sets these for its own sake, breaks F32, F64 and
 * BF16 results near zero; a new thread inherits its creator's state. fesetenv(FE_DFL_ENV) at the start of a worker
 * thread puts all of it right.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "tensor/dtype.h"

struct kernel_counts {
    uint64_t n_nan;        /* results that are NaN */
    uint64_t n_infinite;   /* results that are +-infinity */
    uint64_t n_rounded;    /* finite operands whose exact real sum the result's dtype cannot hold (overflow included) */
    uint64_t n_delta_zero; /* elements of `delta`, or of a difference, that are +0 or -0 */
    uint64_t n_lossy;      /* differences from which base + difference does not give the target's bits again */
};

/* dst[i] = base[i] + delta[i]; element bits as unsigned integers in host order (little-endian hosts only). */
typedef void kernel_add_fn(void *dst, const void *base, const void *delta, size_t n_elems,
                           struct kernel_counts *counts);

/*
 * dst[i] = target[i] - base[i]: a delta. n_lossy counts where base[i] + dst[i], by the law of the sum, is not target[i]
 * bit for bit: where the difference was rounded and the sum does not undo it; where the target is -0 while base and
 * difference are not both -0; where an infinite or NaN base leaves nothing to tell; and a NaN that is not canonical.
 */
typedef void kernel_subtract_fn(void *dst, const void *base, const void *target, size_t n_elems,
                                struct kernel_counts *counts);

/* dst[i] = convert(src[i]). *n_overflow grows by the finite sources that became infinite. */
typedef void kernel_convert_fn(void *dst, const void *src, size_t n_elems, uint64_t *n_overflow);

/* The four addable dtypes, as indices into the tables. */
enum kernel_type { KERNEL_F16, KERNEL_BF16, KERNEL_F32, KERNEL_F64, KERNEL_TYPE_COUNT };

struct kernel_set {
    const char *name; /* "ref", "avx2", "avx512", "neon" */
    kernel_add_fn *add[KERNEL_TYPE_COUNT];
    kernel_subtract_fn *subtract[KERNEL_TYPE_COUNT];
    kernel_convert_fn *convert[KERNEL_TYPE_COUNT][KERNEL_TYPE_COUNT]; /* [from][to]; NULL on the diagonal */
};

enum kernel_isa { KERNEL_ISA_REF, KERNEL_ISA_AVX2, KERNEL_ISA_AVX512, KERNEL_ISA_NEON, KERNEL_ISA_COUNT };

/*
 * The set for one instruction set, or NULL when this build or this machine (CPU and operating system state: CPUID and
 * XGETBV on x86; NEON is part of every aarch64) lacks it. KERNEL_ISA_REF is never NULL. Static storage, thread-safe.
 * Asks the CPU each time, which a virtual machine can make slow: call it once per job, not once per tile.
 */
const struct kernel_set *kernel_get(enum kernel_isa isa);

/* The fastest that this machine has. */
const struct kernel_set *kernel_best(void);

/*
 * Counts over finished elements, for tensors that are copied or were converted: n_nan and n_infinite alone, the others
 * stay as they are. Any alignment.
 */
typedef void kernel_scan_fn(const void *src, size_t n_elems, struct kernel_counts *counts);
kernel_scan_fn *kernel_scan(enum kernel_type type); /* plain C, one for all instruction sets */

/* false, and *type untouched, when dtype is not one of the four. */
bool kernel_type_of(enum dtype dtype, enum kernel_type *type);

#endif
