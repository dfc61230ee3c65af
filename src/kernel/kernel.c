/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernels there are, and the scan. */
#include "kernel/kernel.h"
#include "kernel/cpu.h"
#include "kernel/kernel_sets.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "element bits go from file to register as they are");

static const struct kernel_set *const built_sets[KERNEL_ISA_COUNT] = {
    [KERNEL_ISA_REF] = &kernel_ref,
#if defined(__x86_64__)
    [KERNEL_ISA_AVX2] = &kernel_avx2,
    [KERNEL_ISA_AVX512] = &kernel_avx512,
#elif defined(__aarch64__)
    [KERNEL_ISA_NEON] = &kernel_neon,
#endif
};

const struct kernel_set *kernel_get(enum kernel_isa isa)
{
    return built_sets[isa] != NULL && cpu_has(isa) ? built_sets[isa] : NULL;
}

const struct kernel_set *kernel_best(void)
{
    static const enum kernel_isa fastest_first[] = {KERNEL_ISA_AVX512, KERNEL_ISA_AVX2, KERNEL_ISA_NEON};
    for (size_t i = 0; i < sizeof fastest_first / sizeof fastest_first[0]; i++) {
        const struct kernel_set *set = kernel_get(fastest_first[i]);
        if (set != NULL) {
            return set;
        }
    }
    return &kernel_ref;
}

static void scan_16(const uint8_t *src, size_t n_elems, uint16_t infinity, struct kernel_counts *counts)
{
    uint64_t n_nan = 0;
    uint64_t n_infinite = 0;
    for (size_t i = 0; i < n_elems; i++) {
        uint16_t bits;
        memcpy(&bits, src + i * sizeof bits, sizeof bits);
        unsigned magnitude = bits & 0x7fffu;
        n_nan += magnitude > infinity;
        n_infinite += magnitude == infinity;
    }
    counts->n_nan += n_nan;
    counts->n_infinite += n_infinite;
}

static void scan_f16(const void *src, size_t n_elems, struct kernel_counts *counts)
{
    scan_16(src, n_elems, 0x7c00, counts);
}

static void scan_bf16(const void *src, size_t n_elems, struct kernel_counts *counts)
{
    scan_16(src, n_elems, 0x7f80, counts);
}

static void scan_f32(const void *src, size_t n_elems, struct kernel_counts *counts)
{
    uint64_t n_nan = 0;
    uint64_t n_infinite = 0;
    for (size_t i = 0; i < n_elems; i++) {
        uint32_t bits;
        memcpy(&bits, (const uint8_t *)src + i * sizeof bits, sizeof bits);
        uint32_t magnitude = bits & 0x7fffffffu;
        n_nan += magnitude > 0x7f800000u;
        n_infinite += magnitude == 0x7f800000u;
    }
    counts->n_nan += n_nan;
    counts->n_infinite += n_infinite;
}

static void scan_f64(const void *src, size_t n_elems, struct kernel_counts *counts)
{
    const uint64_t infinity = UINT64_C(0x7ff0000000000000);
    uint64_t n_nan = 0;
    uint64_t n_infinite = 0;
    for (size_t i = 0; i < n_elems; i++) {
        uint64_t bits;
        memcpy(&bits, (const uint8_t *)src + i * sizeof bits, sizeof bits);
        uint64_t magnitude = bits & INT64_MAX;
        n_nan += magnitude > infinity;
        n_infinite += magnitude == infinity;
    }
    counts->n_nan += n_nan;
    counts->n_infinite += n_infinite;
}

kernel_scan_fn *kernel_scan(enum kernel_type type)
{
    static kernel_scan_fn *const scans[KERNEL_TYPE_COUNT] = {
        [KERNEL_F16] = scan_f16, [KERNEL_BF16] = scan_bf16, [KERNEL_F32] = scan_f32, [KERNEL_F64] = scan_f64};
    return scans[type];
}

bool kernel_type_of(enum dtype dtype, enum kernel_type *type)
{
    static const enum dtype dtypes[KERNEL_TYPE_COUNT] = {
        [KERNEL_F16] = DTYPE_F16, [KERNEL_BF16] = DTYPE_BF16, [KERNEL_F32] = DTYPE_F32, [KERNEL_F64] = DTYPE_F64};
    for (int i = 0; i < KERNEL_TYPE_COUNT; i++) {
        if (dtypes[i] == dtype) {
            *type = (enum kernel_type)i;
            return true;
        }
    }
    return false;
}
