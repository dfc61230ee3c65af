/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/kernel: the tables, one per file, that kernel_get() chooses from. The table is the only external
 * symbol that a file compiled with instruction-set flags has; everything else in it is static, so that no such code
 * can be linked into a path that runs on a lesser CPU.
 *
 * Vector kernels leave the elements after the last whole vector to `kernel_ref`, and take from it the conversions
 * below: nobody's checkpoint is F64, and the plain code is fast enough for those that are.
 */
#ifndef KERNEL_KERNEL_SETS_H
#define KERNEL_KERNEL_SETS_H

#include "kernel/kernel.h"

extern const struct kernel_set kernel_ref;
extern const struct kernel_set kernel_avx2;   /* x86-64 builds alone */
extern const struct kernel_set kernel_avx512; /* x86-64 builds alone */
extern const struct kernel_set kernel_neon;   /* aarch64 builds alone */

kernel_convert_fn kernel_ref_f16_to_f64, kernel_ref_bf16_to_f64, kernel_ref_f32_to_f64;
kernel_convert_fn kernel_ref_f64_to_f16, kernel_ref_f64_to_bf16, kernel_ref_f64_to_f32;

#endif
