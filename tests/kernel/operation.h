/* SPDX-License-Identifier: Apache-2.0 */
/* What checkkern runs and times: a sum, difference or conversion by one set of kernels, and the comparison of two. */
#ifndef KERNEL_OPERATION_H
#define KERNEL_OPERATION_H

#include "kernel/pairs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MISMATCHES_SHOWN = 5 };

static inline void *must(void *pointer)
{
    if (pointer == NULL) {
        perror("checkkern");
        exit(1);
    }
    return pointer;
}

static inline double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct operation {
    enum kernel_type from;
    enum kernel_type to; /* equal to `from`: a sum, or a difference */
    bool subtracts;
};

static inline bool takes_two(struct operation op)
{
    return op.from == op.to;
}

static inline void name_operation(struct operation op, char *text, size_t capacity)
{
    const char *from = type_infos[op.from].name;
    if (takes_two(op)) {
        (void)snprintf(text, capacity, "%s %s", op.subtracts ? "subtract" : "add", from);
    } else {
        (void)snprintf(text, capacity, "%s to %s", from, type_infos[op.to].name);
    }
}

/* Counts of either kind; `overflow` for conversions alone. */
struct outcome {
    struct kernel_counts counts;
    uint64_t overflow;
};

/* Starts from counts that are not zero: they are to be added to. */
static inline struct outcome run(const struct kernel_set *set, struct operation op, void *dst, const void *a,
                                 const void *b, size_t n)
{
    struct outcome outcome = {{1, 2, 3, 4, 5}, 6};
    if (op.subtracts) {
        set->subtract[op.to](dst, a, b, n, &outcome.counts);
    } else if (takes_two(op)) {
        set->add[op.to](dst, a, b, n, &outcome.counts);
    } else {
        set->convert[op.from][op.to](dst, a, n, &outcome.overflow);
    }
    return outcome;
}

/* What was computed, for the message when it is wrong. */
struct trial {
    const struct kernel_set *set;
    struct operation op;
    const void *a;
    const void *b;
    size_t n;
};

static inline bool same(const struct trial *trial, const void *got, const struct outcome *got_outcome, const void *want,
                        const struct outcome *want_outcome)
{
    enum kernel_type to = trial->op.to;
    char name[32];
    name_operation(trial->op, name, sizeof name);
    bool same_bits = trial->n == 0 || memcmp(got, want, trial->n * type_infos[to].n_bytes) == 0;
    for (size_t i = 0, shown = 0; !same_bits && i < trial->n && shown < MISMATCHES_SHOWN; i++) {
        if (get_bits(got, i, to) != get_bits(want, i, to)) {
            printf("%s %s, element %zu of %zu: %#" PRIx64 ", %#" PRIx64 " gave %#" PRIx64 ", want %#" PRIx64 "\n",
                   trial->set->name, name, i, trial->n, get_bits(trial->a, i, trial->op.from),
                   get_bits(trial->b, i, trial->op.from), get_bits(got, i, to), get_bits(want, i, to));
            shown++;
        }
    }
    bool same_counts = memcmp(got_outcome, want_outcome, sizeof *got_outcome) == 0;
    if (!same_counts) {
        const struct kernel_counts *g = &got_outcome->counts;
        const struct kernel_counts *w = &want_outcome->counts;
        printf("%s %s, %zu elements: nan %" PRIu64 " %" PRIu64 ", infinite %" PRIu64 " %" PRIu64 ", rounded %" PRIu64
               " %" PRIu64 ", delta zero %" PRIu64 " %" PRIu64 ", lossy %" PRIu64 " %" PRIu64 ", overflow %" PRIu64
               " %" PRIu64 " (got, want)\n",
               trial->set->name, name, trial->n, g->n_nan, w->n_nan, g->n_infinite, w->n_infinite, g->n_rounded,
               w->n_rounded, g->n_delta_zero, w->n_delta_zero, g->n_lossy, w->n_lossy, got_outcome->overflow,
               want_outcome->overflow);
    }
    return same_bits && same_counts;
}

#endif
