/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long run of checkkern: inputs by the thousand million, cut in items of 65,536 elements that threads take in turn.
 * Each item is computed once by ref and once by each set, and compared.
 */
#ifndef KERNEL_LONG_H
#define KERNEL_LONG_H

#include "kernel/operation.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { LONG_ITEM_ELEMS = 65536, LONG_STAGE_COUNT = 10, LONG_THREADS_MAX = 64, LONG_ALIGNMENT = 64 };

/* Writes the operands of an item; `b` is not for conversions. */
typedef void long_fill_fn(uint8_t *a, uint8_t *b, enum kernel_type type, uint64_t seed, uint64_t item);

struct long_stage {
    const char *name;
    struct operation op;
    uint64_t n_items;
    long_fill_fn *fill;
};

/* Item i: the 16-bit value i with every 16-bit value. */
static inline void long_fill_row(uint8_t *a, uint8_t *b, enum kernel_type type, uint64_t seed, uint64_t item)
{
    (void)seed;
    for (size_t k = 0; k < LONG_ITEM_ELEMS; k++) {
        put_bits(a, k, item, type);
        put_bits(b, k, k, type);
    }
}

/* Item i: the fp32 values whose upper half is i. */
static inline void long_fill_f32(uint8_t *a, uint8_t *b, enum kernel_type type, uint64_t seed, uint64_t item)
{
    (void)seed;
    (void)b;
    for (size_t k = 0; k < LONG_ITEM_ELEMS; k++) {
        put_bits(a, k, item * LONG_ITEM_ELEMS + k, type);
    }
}

static inline void long_fill_pairs(uint8_t *a, uint8_t *b, enum kernel_type type, uint64_t seed, uint64_t item)
{
    for (size_t k = 0; k < LONG_ITEM_ELEMS; k++) {
        struct pair_bits pair = pair_make(type, seed + UINT64_C(0x5eed0000), item * LONG_ITEM_ELEMS + k);
        put_bits(a, k, pair.a, type);
        put_bits(b, k, pair.b, type);
    }
}

static const struct long_stage long_stages[LONG_STAGE_COUNT] = {
    {"add f16, every pair", {KERNEL_F16, KERNEL_F16, false}, 65536, long_fill_row},
    {"add bf16, every pair", {KERNEL_BF16, KERNEL_BF16, false}, 65536, long_fill_row},
    {"f32 to f16, every value", {KERNEL_F32, KERNEL_F16, false}, 65536, long_fill_f32},
    {"f32 to bf16, every value", {KERNEL_F32, KERNEL_BF16, false}, 65536, long_fill_f32},
    {"add f32, 10^9 pairs", {KERNEL_F32, KERNEL_F32, false}, 15259, long_fill_pairs},
    {"add f64, 10^9 pairs", {KERNEL_F64, KERNEL_F64, false}, 15259, long_fill_pairs},
    {"subtract f16, every pair", {KERNEL_F16, KERNEL_F16, true}, 65536, long_fill_row},
    {"subtract bf16, every pair", {KERNEL_BF16, KERNEL_BF16, true}, 65536, long_fill_row},
    {"subtract f32, 10^9 pairs", {KERNEL_F32, KERNEL_F32, true}, 15259, long_fill_pairs},
    {"subtract f64, 10^9 pairs", {KERNEL_F64, KERNEL_F64, true}, 15259, long_fill_pairs},
};

struct long_job {
    const struct long_stage *stage;
    const struct kernel_set *const *sets;
    size_t n_sets;
    uint64_t seed;
    atomic_uint_fast64_t next_item;
    atomic_uint_fast64_t n_bad; /* items that differ; the threads stop at the first */
};

static inline void *long_worker(void *context)
{
    struct long_job *job = context;
    const struct long_stage *stage = job->stage;
    const size_t n_bytes = 8 * LONG_ITEM_ELEMS;
    uint8_t *a = must(aligned_alloc(LONG_ALIGNMENT, n_bytes));
    uint8_t *b = must(aligned_alloc(LONG_ALIGNMENT, n_bytes));
    uint8_t *want = must(aligned_alloc(LONG_ALIGNMENT, n_bytes));
    uint8_t *got = must(aligned_alloc(LONG_ALIGNMENT, n_bytes));
    memset(b, 0, n_bytes);
    for (;;) {
        uint64_t item = atomic_fetch_add(&job->next_item, 1);
        if (item >= stage->n_items || atomic_load(&job->n_bad) != 0) {
            break;
        }
        stage->fill(a, b, stage->op.from, job->seed, item);
        struct outcome want_outcome = run(kernel_get(KERNEL_ISA_REF), stage->op, want, a, b, LONG_ITEM_ELEMS);
        for (size_t i = 0; i < job->n_sets; i++) {
            struct outcome got_outcome = run(job->sets[i], stage->op, got, a, b, LONG_ITEM_ELEMS);
            struct trial trial = {job->sets[i], stage->op, a, b, LONG_ITEM_ELEMS};
            if (!same(&trial, got, &got_outcome, want, &want_outcome)) {
                atomic_fetch_add(&job->n_bad, 1);
            }
        }
    }
    free(a);
    free(b);
    free(want);
    free(got);
    return NULL;
}

/* Number of items that differ; ref itself, when among the sets, is left out. */
static inline uint64_t long_stage(const struct long_stage *stage, const struct kernel_set *const *sets, size_t n_sets,
                                  uint64_t seed)
{
    const struct kernel_set *others[KERNEL_ISA_COUNT];
    size_t n_others = 0;
    for (size_t i = 0; i < n_sets; i++) {
        if (sets[i] != kernel_get(KERNEL_ISA_REF)) {
            others[n_others++] = sets[i];
        }
    }
    struct long_job job = {.stage = stage, .sets = others, .n_sets = n_others, .seed = seed};
    pthread_t threads[LONG_THREADS_MAX];
    long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    long n_threads = n_cpus < 1 ? 1 : n_cpus > LONG_THREADS_MAX ? LONG_THREADS_MAX : n_cpus;
    for (long i = 0; i < n_threads; i++) {
        errno = pthread_create(&threads[i], NULL, long_worker, &job);
        (void)must(errno == 0 ? &job : NULL);
    }
    for (long i = 0; i < n_threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return job.n_bad;
}

#endif
