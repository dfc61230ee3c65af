/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crew.h"

#include <pthread.h>
#include <time.h>

#include "unit/harness.h"

#define SHARES 100

/* Work that takes `nap_ns` a share; `by` counts those of each worker. */
struct shares {
    struct crew crew;
    atomic_size_t next;
    atomic_size_t by[CREW_WORKERS_MAX];
    long nap_ns;
    pthread_t caller;
    size_t n_told;
    bool told_by_caller;
    uint64_t last_done;
};

static void work(void *context, size_t worker)
{
    struct shares *shares = context;
    const struct timespec nap = {.tv_nsec = shares->nap_ns};
    while (atomic_fetch_add(&shares->next, 1) < SHARES) {
        (void)nanosleep(&nap, NULL);
        atomic_fetch_add(&shares->by[worker], 1);
        atomic_fetch_add(&shares->crew.done_bytes, 10);
    }
}

static void on_progress(void *context, const struct llavamed_progress *progress)
{
    struct shares *shares = context;
    EXPECT_TEXT(progress->check, "shares");
    EXPECT_U64(progress->total_bytes, SHARES * 10);
    EXPECT(progress->done_bytes >= shares->last_done);
    shares->last_done = progress->done_bytes;
    shares->told_by_caller = shares->told_by_caller && pthread_equal(pthread_self(), shares->caller) != 0;
    shares->n_told++;
}

static size_t run(struct shares *shares, size_t n_workers, long nap_ns, bool observed)
{
    *shares = (struct shares){.nap_ns = nap_ns, .caller = pthread_self(), .told_by_caller = true};
    const struct llavamed_observer observer = {.context = shares, .progress = on_progress};
    shares->crew = (struct crew){
        .work = work,
        .context = shares,
        .n_workers = n_workers,
        .observer = observed ? &observer : NULL,
        .check = "shares",
        .total_bytes = SHARES * 10,
    };
    crew_run(&shares->crew);
    size_t n = 0;
    for (size_t i = 0; i < CREW_WORKERS_MAX; i++) {
        n += atomic_load(&shares->by[i]);
    }
    return n;
}

static void all_is_done_and_told(void)
{
    struct shares shares;
    for (size_t n_workers = 1; n_workers <= CREW_WORKERS_MAX; n_workers++) {
        EXPECT(run(&shares, n_workers, 0, true) == SHARES);
        EXPECT(shares.n_told >= 2 && shares.told_by_caller);
        EXPECT_U64(shares.last_done, SHARES * 10);
        EXPECT(run(&shares, n_workers, 0, false) == SHARES);
    }
}

/* 100 naps of 10 ms by two workers are half a second: two ticks between the first and the last word, or a few more. */
static void slow_work_is_told_of(void)
{
    struct shares shares;
    EXPECT(run(&shares, 2, 10000000, true) == SHARES);
    EXPECT(shares.n_told >= 3 && shares.n_told <= 40);
    EXPECT(atomic_load(&shares.by[0]) > 0 && atomic_load(&shares.by[1]) > 0);
}

int main(void)
{
    CASE(all_is_done_and_told);
    CASE(slow_work_is_told_of);
    return harness_end();
}
