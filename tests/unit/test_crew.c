/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "core/cpus.h"
#include "unit/harness.h"

#define SHARES 100
#define WORKERS_MAX 8

/* A job of SHARES tasks, each of which takes nap_ns. */
struct shares {
    long nap_ns;
    size_t fails_at; /* the task that fails; SHARES: none */
    size_t next;
    size_t taken[WORKERS_MAX]; /* the task each worker is at */
    atomic_size_t by[WORKERS_MAX];
    size_t n_done;
    size_t n_ticks;
    size_t n_told;
    bool told[SHARES];
    pthread_t caller;
    bool told_by_caller;
};

static enum crew_turn take_locked(void *state, unsigned worker)
{
    struct shares *shares = state;
    if (shares->next == SHARES) {
        return CREW_OVER;
    }
    shares->taken[worker] = shares->next++;
    return CREW_TASK;
}

static enum llavamed_status work(void *state, unsigned worker, struct llavamed_error *error)
{
    struct shares *shares = state;
    const struct timespec nap = {.tv_nsec = shares->nap_ns};
    (void)nanosleep(&nap, NULL);
    atomic_fetch_add(&shares->by[worker], 1);
    return shares->taken[worker] == shares->fails_at
               ? llavamed_fail(error, LLAVAMED_STATUS_IO, "task %zu", shares->fails_at)
               : LLAVAMED_OK;
}

static void done_locked(void *state, unsigned worker, struct crew *crew)
{
    struct shares *shares = state;
    shares->n_done++;
    crew_announce_locked(crew, shares->taken[worker]);
}

static void tick(void *state)
{
    struct shares *shares = state;
    shares->n_ticks++;
    shares->told_by_caller = shares->told_by_caller && pthread_equal(pthread_self(), shares->caller) != 0;
}

static void tell(void *state, size_t item, size_t n_told)
{
    struct shares *shares = state;
    EXPECT(item < SHARES && !shares->told[item]);
    shares->told[item] = true;
    EXPECT_U64(n_told, ++shares->n_told);
    shares->told_by_caller = shares->told_by_caller && pthread_equal(pthread_self(), shares->caller) != 0;
}

static enum llavamed_status run(struct shares *shares, unsigned n_workers, const volatile int *stop_signal,
                                struct llavamed_error *error)
{
    shares->caller = pthread_self();
    shares->told_by_caller = true;
    const struct crew_job job = {
        .state = shares,
        .n_workers = n_workers,
        .n_items = SHARES,
        .stop_signal = stop_signal,
        .take_locked = take_locked,
        .work = work,
        .done_locked = done_locked,
        .tick = tick,
        .tell = tell,
    };
    return crew_run(&job, error);
}

static void all_is_done_and_told(void)
{
    struct llavamed_error error;
    for (unsigned n_workers = 1; n_workers <= WORKERS_MAX; n_workers++) {
        struct shares shares = {.fails_at = SHARES};
        EXPECT(run(&shares, n_workers, NULL, &error) == LLAVAMED_OK);
        EXPECT_U64(shares.n_done, SHARES);
        EXPECT_U64(shares.n_told, SHARES);
        EXPECT(shares.n_ticks >= 1 && shares.told_by_caller);
    }
}

/* 100 naps of 10 ms by two workers are half a second: two ticks and the last one, or a few more. */
static void slow_work_is_told_of(void)
{
    struct llavamed_error error;
    struct shares shares = {.fails_at = SHARES, .nap_ns = 10000000};
    EXPECT(run(&shares, 2, NULL, &error) == LLAVAMED_OK);
    EXPECT(shares.n_ticks >= 3 && shares.n_ticks <= 40);
    EXPECT(atomic_load(&shares.by[0]) > 0 && atomic_load(&shares.by[1]) > 0);
}

/* The tasks that workers beyond the cores took. */
static size_t taken_beyond_cores(struct shares *shares)
{
    size_t n = 0;
    for (unsigned i = cpus_usable(); i < WORKERS_MAX; i++) {
        n += atomic_load(&shares->by[i]);
    }
    return n;
}

/* Naps leave the cores idle: after some ticks there are more workers than cores, if there may be. */
static void waiting_brings_more_workers(void)
{
    struct llavamed_error error;
    struct shares shares = {.fails_at = SHARES, .nap_ns = 30000000};
    EXPECT(run(&shares, WORKERS_MAX, NULL, &error) == LLAVAMED_OK);
    EXPECT_U64(shares.n_done, SHARES);
    EXPECT(cpus_usable() >= WORKERS_MAX || taken_beyond_cores(&shares) > 0);
}

/* Before the first tick there are none. On a machine that is busy elsewhere so short a run may last until then. */
static void no_more_workers_than_cores_at_first(void)
{
    struct llavamed_error error;
    bool is_seen = false;
    for (unsigned i = 0; i < 100 && !is_seen; i++) {
        struct shares shares = {.fails_at = SHARES};
        EXPECT(run(&shares, WORKERS_MAX, NULL, &error) == LLAVAMED_OK);
        is_seen = shares.n_ticks == 1;
        EXPECT(!is_seen || taken_beyond_cores(&shares) == 0);
    }
    EXPECT(is_seen);
}

static void first_error_ends_it(void)
{
    struct llavamed_error error;
    struct shares shares = {.fails_at = 20, .nap_ns = 1000000};
    EXPECT(run(&shares, 4, NULL, &error) == LLAVAMED_STATUS_IO);
    EXPECT_TEXT(error.message, "task 20");
    EXPECT(shares.n_done >= 17 && shares.n_done < 40);
    EXPECT_U64(shares.n_told, shares.n_done);
}

static void signal_ends_it(void)
{
    struct llavamed_error error;
    const volatile int stop_signal = 15;
    struct shares shares = {.fails_at = SHARES, .nap_ns = 10000000};
    EXPECT(run(&shares, 2, &stop_signal, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(error.signal_number == 15);
    EXPECT(shares.n_done < SHARES);
}

int main(void)
{
    CASE(all_is_done_and_told);
    CASE(slow_work_is_told_of);
    CASE(waiting_brings_more_workers);
    CASE(no_more_workers_than_cores_at_first);
    CASE(first_error_ends_it);
    CASE(signal_ends_it);
    return harness_end();
}
