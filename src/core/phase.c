/* SPDX-License-Identifier: Apache-2.0 */
#include "core/phase.h"

#include <string.h>

#include "core/checked.h"
#include "core/clock.h"

static _Thread_local struct phase_clock *own;

const char *llavamed_phase_name(enum llavamed_phase phase)
{
    static const char *const names[] = {
#define PHASE_NAME(constant, name) [LLAVAMED_PHASE_##constant] = (name),
        LLAVAMED_PHASE_LIST(PHASE_NAME)
#undef PHASE_NAME
    };
    return names[phase];
}

void phase_clock_init(struct phase_clock *clock, uint64_t since_ns)
{
    *clock = (struct phase_clock){.at = LLAVAMED_PHASE_WAIT_TASK, .since_ns = since_ns};
}

void phase_attach(struct phase_clock *clock)
{
    own = clock;
    if (clock != NULL) {
        clock->is_used = true;
    }
}

enum llavamed_phase phase_change(enum llavamed_phase phase)
{
    struct phase_clock *clock = own;
    if (clock == NULL || clock->at == phase) {
        return phase;
    }
    enum llavamed_phase before = clock->at;
    uint64_t now_ns = clock_monotonic_ns();
    clock->ns[before] += now_ns - clock->since_ns;
    clock->since_ns = now_ns;
    clock->at = phase;
    return before;
}

void phase_count(enum llavamed_phase phase, uint64_t n_bytes)
{
    if (own != NULL) {
        own->n_bytes[phase] += n_bytes;
    }
}

void phase_sum(const struct phase_clock *clocks, size_t n_clocks, struct llavamed_counters *counters)
{
    memset(counters, 0, sizeof *counters);
    for (size_t i = 0; i < n_clocks; i++) {
        if (!clocks[i].is_used) {
            continue;
        }
        for (size_t k = 0; k < LLAVAMED_PHASE_COUNT; k++) {
            struct llavamed_phase_counter *counter = &counters->phases[k];
            uint64_t ns = clocks[i].ns[k];
            counter->sum_ns += ns;
            counter->min_ns = counters->n_workers == 0 ? ns : min_u64(counter->min_ns, ns);
            counter->max_ns = max_u64(counter->max_ns, ns);
            counter->n_bytes += clocks[i].n_bytes[k];
        }
        counters->n_workers++;
    }
}
