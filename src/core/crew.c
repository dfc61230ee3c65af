/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crew.h"

#include <assert.h>
#include <pthread.h>

#include "core/clock.h"

#define TICK_NS UINT64_C(200000000)

struct watch {
    struct crew *crew;
    pthread_mutex_t mutex; /* over the next two */
    pthread_cond_t ended;
    size_t n_running;
    uint64_t started_ns;
};

struct member {
    struct watch *watch;
    size_t index;
    pthread_t thread;
};

static void tell(const struct watch *watch)
{
    const struct crew *crew = watch->crew;
    if (crew->observer != NULL && crew->observer->progress != NULL) {
        struct llavamed_progress progress = {
            .done_bytes = atomic_load(&crew->done_bytes),
            .total_bytes = crew->total_bytes,
            .elapsed_ns = clock_monotonic_ns() - watch->started_ns,
            .check = crew->check,
        };
        crew->observer->progress(crew->observer->context, &progress);
    }
}

static void *run_member(void *argument)
{
    struct member *member = argument;
    struct watch *watch = member->watch;
    watch->crew->work(watch->crew->context, member->index);
    (void)pthread_mutex_lock(&watch->mutex);
    watch->n_running--;
    (void)pthread_cond_signal(&watch->ended);
    (void)pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

/* The observer is called without the mutex: it may take its time, and nobody shall wait for it. */
static void wait_for_all(struct watch *watch)
{
    uint64_t next_tick_ns = watch->started_ns + TICK_NS;
    (void)pthread_mutex_lock(&watch->mutex);
    while (watch->n_running > 0) {
        uint64_t now_ns = clock_monotonic_ns();
        if (now_ns >= next_tick_ns) {
            next_tick_ns = now_ns + TICK_NS;
            (void)pthread_mutex_unlock(&watch->mutex);
            tell(watch);
            (void)pthread_mutex_lock(&watch->mutex);
            continue;
        }
        struct timespec until = clock_monotonic_timespec(next_tick_ns);
        (void)pthread_cond_timedwait(&watch->ended, &watch->mutex, &until);
    }
    (void)pthread_mutex_unlock(&watch->mutex);
}

static int init_locks(struct watch *watch)
{
    pthread_condattr_t attributes;
    int failure = pthread_condattr_init(&attributes);
    if (failure == 0) {
        failure = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        failure = failure == 0 ? pthread_cond_init(&watch->ended, &attributes) : failure;
        failure = failure == 0 ? pthread_mutex_init(&watch->mutex, NULL) : failure;
        (void)pthread_condattr_destroy(&attributes);
    }
    return failure;
}

void crew_run(struct crew *crew)
{
    assert(crew->n_workers >= 1 && crew->n_workers <= CREW_WORKERS_MAX);
    struct watch watch = {.crew = crew, .started_ns = clock_monotonic_ns()};
    struct member members[CREW_WORKERS_MAX];
    size_t n_started = 0;
    tell(&watch);
    if (init_locks(&watch) == 0) {
        (void)pthread_mutex_lock(&watch.mutex);
        while (n_started < crew->n_workers) {
            members[n_started] = (struct member){.watch = &watch, .index = n_started};
            if (pthread_create(&members[n_started].thread, NULL, run_member, &members[n_started]) != 0) {
                break;
            }
            n_started++;
        }
        watch.n_running = n_started;
        (void)pthread_mutex_unlock(&watch.mutex);
        wait_for_all(&watch);
        for (size_t i = 0; i < n_started; i++) {
            (void)pthread_join(members[i].thread, NULL);
        }
        (void)pthread_mutex_destroy(&watch.mutex);
        (void)pthread_cond_destroy(&watch.ended);
    }
    if (n_started == 0) {
        crew->work(crew->context, 0);
    }
    tell(&watch);
}
