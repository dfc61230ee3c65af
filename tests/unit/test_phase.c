/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks of phases, alone and with a crew. That they tell the truth of a merge is tested through the program. */
#include "core/clock.h"
#include "core/crew.h"
#include "core/phase.h"
#include "unit/harness.h"

static void spend(uint64_t ns)
{
    uint64_t until = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < until) {
    }
}

static uint64_t total_ns(const struct phase_clock *clock)
{
    uint64_t sum = 0;
    for (int i = 0; i < LLAVAMED_PHASE_COUNT; i++) {
        sum += clock->ns[i];
    }
    return sum;
}

static void test_phase_without_a_clock(void)
{
    phase_attach(NULL);
    EXPECT(phase_change(LLAVAMED_PHASE_READ) == LLAVAMED_PHASE_READ);
    phase_count(LLAVAMED_PHASE_READ, 1);
}

static void test_phase_names(void)
{
    EXPECT_TEXT(llavamed_phase_name(LLAVAMED_PHASE_READ), "read");
    EXPECT_TEXT(llavamed_phase_name(LLAVAMED_PHASE_OTHER), "other");
}

/* A phase inside another takes its time from it, and all together are the whole. */
static void test_phase_nested(void)
{
    struct phase_clock clock;
    uint64_t started_ns = clock_monotonic_ns();
    phase_clock_init(&clock, started_ns);
    phase_attach(&clock);
    EXPECT(phase_change(LLAVAMED_PHASE_ADD) == LLAVAMED_PHASE_WAIT_TASK);
    spend(2000000);
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_READ);
    EXPECT(before == LLAVAMED_PHASE_ADD);
    EXPECT(phase_change(LLAVAMED_PHASE_READ) == LLAVAMED_PHASE_READ); /* again: nothing happens */
    spend(5000000);
    phase_count(LLAVAMED_PHASE_READ, 7);
    (void)phase_change(before);
    spend(1000000);
    (void)phase_change(LLAVAMED_PHASE_OTHER);
    phase_attach(NULL);
    (void)phase_change(LLAVAMED_PHASE_SYNC); /* nobody's */
    EXPECT(clock.ns[LLAVAMED_PHASE_READ] >= 5000000);
    EXPECT(clock.ns[LLAVAMED_PHASE_ADD] >= 3000000);
    EXPECT_U64(clock.ns[LLAVAMED_PHASE_SYNC], 0);
    EXPECT_U64(clock.n_bytes[LLAVAMED_PHASE_READ], 7);
    EXPECT_U64(total_ns(&clock), clock.since_ns - started_ns);
}

static void test_phase_sums(void)
{
    struct phase_clock clocks[4];
    struct llavamed_counters counters;
    for (size_t i = 0; i < 4; i++) {
        phase_clock_init(&clocks[i], 0);
        clocks[i].is_used = i != 1; /* that one was never started */
        clocks[i].ns[LLAVAMED_PHASE_ADD] = 10 * (i + 1);
        clocks[i].n_bytes[LLAVAMED_PHASE_ADD] = i + 1;
    }
    phase_sum(clocks, 4, &counters);
    const struct llavamed_phase_counter *add = &counters.phases[LLAVAMED_PHASE_ADD];
    EXPECT_U64(counters.n_workers, 3);
    EXPECT_U64(add->sum_ns, 80);
    EXPECT_U64(add->min_ns, 10);
    EXPECT_U64(add->max_ns, 40);
    EXPECT_U64(add->n_bytes, 8);
    EXPECT_U64(counters.phases[LLAVAMED_PHASE_READ].sum_ns, 0);
    phase_sum(clocks, 0, &counters);
    EXPECT_U64(counters.n_workers, 0);
}

/* One of two workers has a task, of 20 ms; the other waits for it. */
struct errand {
    bool given;
    bool over;
};

static enum crew_turn take_locked(void *state, unsigned worker)
{
    struct errand *errand = state;
    (void)worker;
    if (errand->given) {
        (void)phase_change(LLAVAMED_PHASE_WAIT_ORDER);
        return errand->over ? CREW_OVER : CREW_WAIT;
    }
    errand->given = true;
    return CREW_TASK;
}

static enum llavamed_status work(void *state, unsigned worker, struct llavamed_error *error)
{
    (void)state;
    (void)worker;
    (void)error;
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_SHA256);
    EXPECT(before == LLAVAMED_PHASE_OTHER);
    spend(20000000);
    (void)phase_change(before);
    return LLAVAMED_OK;
}

static void done_locked(void *state, unsigned worker, struct crew *crew)
{
    struct errand *errand = state;
    (void)worker;
    (void)crew;
    errand->over = true;
}

static void tick(void *state)
{
    (void)state;
}

static void test_phase_of_a_crew(void)
{
    struct errand errand = {false, false};
    struct phase_clock clocks[2];
    uint64_t started_ns = clock_monotonic_ns();
    phase_clock_init(&clocks[0], started_ns);
    phase_clock_init(&clocks[1], started_ns);
    const struct crew_job job = {
        .state = &errand,
        .n_workers = 2,
        .clocks = clocks,
        .take_locked = take_locked,
        .work = work,
        .done_locked = done_locked,
        .tick = tick,
    };
    struct llavamed_error error;
    EXPECT(crew_run(&job, &error) == LLAVAMED_OK);
    struct llavamed_counters counters;
    phase_sum(clocks, 2, &counters);
    EXPECT_U64(counters.n_workers, 2);
    EXPECT(counters.phases[LLAVAMED_PHASE_SHA256].max_ns >= 20000000);
    EXPECT_U64(counters.phases[LLAVAMED_PHASE_SHA256].min_ns, 0);
    for (size_t i = 0; i < 2; i++) {
        EXPECT(clocks[i].is_used && clocks[i].at == LLAVAMED_PHASE_WAIT_TASK);
        EXPECT_U64(total_ns(&clocks[i]), clocks[i].since_ns - started_ns);
        EXPECT(clocks[i].since_ns <= clock_monotonic_ns());
    }
}

int main(void)
{
    CASE(test_phase_without_a_clock);
    CASE(test_phase_names);
    CASE(test_phase_nested);
    CASE(test_phase_sums);
    CASE(test_phase_of_a_crew);
    return harness_end();
}
