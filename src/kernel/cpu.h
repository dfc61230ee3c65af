/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine can run: CPU and operating system both, since a kernel that does not save the wide registers
 * across a context switch makes them unusable. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "kernel/kernel.h"

/* True for KERNEL_ISA_REF always, and for those whose every instruction that our kernels use can run here. */
bool cpu_has(enum kernel_isa isa);

#endif
