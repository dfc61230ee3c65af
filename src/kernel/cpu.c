/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: the bits are those of the processor manuals (CPUID leaf 1 ECX, leaf 7 EBX). CPUID tells what the CPU can,
 * XCR0 what the operating system saves on a context switch; a virtual machine may show the one without the other.
 */
#include "kernel/cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>

#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF1_ECX_POPCNT (1u << 23)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_AVX512DQ (1u << 17)
#define LEAF7_EBX_AVX512BW (1u << 30)
#define LEAF7_EBX_AVX512VL (1u << 31)
#define XCR0_XMM_YMM 0x06u
#define XCR0_OPMASK_ZMM 0xe0u

#define AVX2_LEAF1 (LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_F16C | LEAF1_ECX_POPCNT)
#define AVX2_LEAF7 LEAF7_EBX_AVX2
#define AVX512_LEAF7 (AVX2_LEAF7 | LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL)

/* Only after OSXSAVE was seen: the instruction faults without it. */
static unsigned read_xcr0(void)
{
    unsigned low;
    unsigned high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* A leaf above the CPU's highest reads as zero. */
static bool x86_has(unsigned leaf1_want, unsigned leaf7_want, unsigned xcr0_want)
{
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & leaf1_want) != leaf1_want) {
        return false;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (ebx & leaf7_want) != leaf7_want) {
        return false;
    }
    return (read_xcr0() & xcr0_want) == xcr0_want;
}

bool cpu_has(enum kernel_isa isa)
{
    switch (isa) {
    case KERNEL_ISA_REF:
        return true;
    case KERNEL_ISA_AVX2:
        return x86_has(AVX2_LEAF1, AVX2_LEAF7, XCR0_XMM_YMM);
    case KERNEL_ISA_AVX512:
        return x86_has(AVX2_LEAF1, AVX512_LEAF7, XCR0_XMM_YMM | XCR0_OPMASK_ZMM);
    case KERNEL_ISA_NEON:
    case KERNEL_ISA_COUNT:
        break;
    }
    return false;
}

#elif defined(__aarch64__)

/* Advanced SIMD with the fp16 <-> fp32 conversions is in every ARMv8-A that Linux's aarch64 ABI runs on. */
bool cpu_has(enum kernel_isa isa)
{
    return isa == KERNEL_ISA_REF || isa == KERNEL_ISA_NEON;
}

#else

bool cpu_has(enum kernel_isa isa)
{
    return isa == KERNEL_ISA_REF;
}

#endif
