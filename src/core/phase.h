/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker thread spends its time with. Its clock always runs in one phase; whoever begins something else changes
 * the phase and changes it back at the end, so that the phases add up to the whole and none counts twice. The clock
 * belongs to the thread, so what is deep below a worker (reading a file) needs not be handed one; on threads that have
 * none all of this does nothing. A change costs one look at the clock, to the same phase none: for whole tiles and
 * system calls, not for elements.
 */
#ifndef CORE_PHASE_H
#define CORE_PHASE_H

#include "llavamed.h"

struct phase_clock {
    uint64_t ns[LLAVAMED_PHASE_COUNT];
    uint64_t n_bytes[LLAVAMED_PHASE_COUNT];
    enum llavamed_phase at;
    uint64_t since_ns;
    bool is_used; /* by a thread, now or before */
};

/* Runs from since_ns (clock_monotonic_ns()) on: waiting for a task, until a thread takes it. */
void phase_clock_init(struct phase_clock *clock, uint64_t since_ns);

/* The calling thread's clock from now on; borrowed until it gets another. NULL: none any more. */
void phase_attach(struct phase_clock *clock);

/* The thread is at this from now on. Returns what it was at. */
enum llavamed_phase phase_change(enum llavamed_phase phase);

/* Adds to the bytes of a phase, whichever the thread is in. */
void phase_count(enum llavamed_phase phase, uint64_t n_bytes);

/* Sums, least and most of the clocks that were used. */
void phase_sum(const struct phase_clock *clocks, size_t n_clocks, struct llavamed_counters *counters);

#endif
