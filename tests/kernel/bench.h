/* SPDX-License-Identifier: Apache-2.0 */
/* checkkern --bench: one thread, each operation of each set, in cache and in memory, in GB read or written a second. */
#ifndef KERNEL_BENCH_H
#define KERNEL_BENCH_H

#include "kernel/operation.h"

struct bench_buffers {
    uint8_t *dst;
    uint8_t *a;
    uint8_t *b;
};

enum { BENCH_CACHE_ELEMS = 32 << 10, BENCH_MEMORY_ELEMS = 32 << 20 };

/* The best of several rounds, each long enough for the clock. */
static inline double bench_one(const struct kernel_set *set, struct operation op, const struct bench_buffers *buffers,
                               size_t n)
{
    const size_t n_bytes = n * (type_infos[op.from].n_bytes * (takes_two(op) ? 2 : 1) + type_infos[op.to].n_bytes);
    const size_t n_calls = 1 + (size_t)(16 << 20) / n_bytes;
    double best = 0;
    for (int round = 0; round < 5; round++) {
        double start = seconds_now();
        for (size_t i = 0; i < n_calls; i++) {
            (void)run(set, op, buffers->dst, buffers->a, buffers->b, n);
        }
        double rate = (double)n_bytes * (double)n_calls / (seconds_now() - start) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Values like weights: what a merge meets, sums rounded now and then, nothing special. */
static inline void bench_fill(const struct bench_buffers *buffers, enum kernel_type type, size_t n)
{
    const uint64_t middle = type_exponent_max(type) >> 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = random_bits(7, i);
        uint64_t other = random_bits(8, i);
        put_bits(buffers->a, i, with_exponent(bits & type_mask(type), middle - 8 + bits % 4, type), type);
        put_bits(buffers->b, i, with_exponent(other & type_mask(type), middle - 12 + other % 4, type), type);
    }
}

static inline void bench_all(const struct kernel_set *const *sets, size_t n_sets)
{
    const size_t n_bytes = (size_t)8 * BENCH_MEMORY_ELEMS;
    struct bench_buffers buffers = {must(malloc(n_bytes)), must(malloc(n_bytes)), must(malloc(n_bytes))};
    memset(buffers.dst, 0, n_bytes);
    for (int from = 0; from < KERNEL_TYPE_COUNT; from++) {
        bench_fill(&buffers, (enum kernel_type)from, BENCH_MEMORY_ELEMS);
        for (int to = 0; to <= KERNEL_TYPE_COUNT; to++) {
            struct operation op = {(enum kernel_type)from, (enum kernel_type)to, false};
            if (to == KERNEL_TYPE_COUNT) {
                op = (struct operation){(enum kernel_type)from, (enum kernel_type)from, true};
            }
            char name[32];
            name_operation(op, name, sizeof name);
            for (size_t i = 0; i < n_sets; i++) {
                printf("%-13s %-7s %7.2f GB/s in cache %7.2f GB/s in memory\n", name, sets[i]->name,
                       bench_one(sets[i], op, &buffers, BENCH_CACHE_ELEMS),
                       bench_one(sets[i], op, &buffers, BENCH_MEMORY_ELEMS));
                (void)fflush(stdout);
            }
        }
    }
    free(buffers.dst);
    free(buffers.a);
    free(buffers.b);
}

#endif
