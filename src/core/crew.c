/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crew.h"

#include <fenv.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "core/stop_signal.h"

#define TICK_NS 200000000
/* Cores that are busy for less than this part of the time have room for more workers. */
#define BUSY_PERCENT 75
#define LOOK_NS 10000000 /* a signal does not end the wait, so that it is looked for as often */

struct crew {
    const struct crew_job *job;
    pthread_mutex_t mutex;
    pthread_cond_t change;  /* something that workers may have waited for */
    pthread_cond_t watcher; /* something for the calling thread */
    struct worker *workers;
    unsigned n_cores;
    unsigned n_started; /* workers, of which n_running have not returned */
    unsigned n_running;
    size_t *announced;  /* items, in the order in which they were announced */
    size_t n_announced;
    bool stop;
    struct llavamed_error error; /* the first one */
};

struct worker {
    struct crew *crew;
    unsigned number;
    pthread_t thread;
};

static void fail_locked(struct crew *crew, const struct llavamed_error *error)
{
    if (!crew->stop) {
        crew->error = *error;
        crew->stop = true;
    }
    pthread_cond_broadcast(&crew->change);
    pthread_cond_signal(&crew->watcher);
}

void crew_announce_locked(struct crew *crew, size_t item)
{
    crew->announced[crew->n_announced++] = item;
    pthread_cond_signal(&crew->watcher);
}

/*
 * A signal that came is the first error, unless there was one. On the calling thread alone, which wakes up to look;
 * the handler may run on any thread.
 */
static void look_for_signal_locked(struct crew *crew)
{
    struct llavamed_error error;
    if (!crew->stop && stop_signal_check(crew->job->stop_signal, &error) != LLAVAMED_OK) {
        fail_locked(crew, &error);
    }
}

/* ---- Workers ------------------------------------------------------------------------------------------------- */

static void *worker_main(void *argument)
{
    const struct worker *worker = argument;
    struct crew *crew = worker->crew;
    const struct crew_job *job = crew->job;
    struct llavamed_error error;
    (void)fesetenv(FE_DFL_ENV); /* the kernels' law; a host program may have set another rounding or flush-to-zero */
    phase_attach(job->clocks == NULL ? NULL : &job->clocks[worker->number]);
    pthread_mutex_lock(&crew->mutex);
    while (!crew->stop) {
        (void)phase_change(LLAVAMED_PHASE_OTHER);
        enum crew_turn turn = job->take_locked(job->state, worker->number);
        if (turn == CREW_OVER) {
            break;
        }
        if (turn == CREW_WAIT) {
            pthread_cond_wait(&crew->change, &crew->mutex);
            continue;
        }
        /* There may be more: who takes a task wakes one other, and none of them all of the others after each task. */
        pthread_cond_signal(&crew->change);
        pthread_mutex_unlock(&crew->mutex);
        enum llavamed_status status = job->work(job->state, worker->number, &error);
        pthread_mutex_lock(&crew->mutex);
        if (status != LLAVAMED_OK) {
            fail_locked(crew, &error);
        } else {
            job->done_locked(job->state, worker->number, crew); /* what that made possible this worker takes itself */
        }
    }
    crew->n_running--;
    pthread_cond_broadcast(&crew->change);
    pthread_cond_signal(&crew->watcher);
    pthread_mutex_unlock(&crew->mutex);
    (void)phase_change(LLAVAMED_PHASE_WAIT_TASK);
    phase_attach(NULL);
    return NULL;
}

/* Has n_wanted workers started in all, or as many as the system grants; one is enough. */
static void start_workers_locked(struct crew *crew, unsigned n_wanted)
{
    while (crew->n_started < n_wanted) {
        struct worker *worker = &crew->workers[crew->n_started];
        *worker = (struct worker){.crew = crew, .number = crew->n_started};
        int failure = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (failure != 0) {
            if (crew->n_started == 0) {
                struct llavamed_error error;
                (void)llavamed_fail_errno(&error, LLAVAMED_STATUS_NO_MEMORY, failure, "cannot start a thread");
                fail_locked(crew, &error);
            }
            break;
        }
        crew->n_started++;
        crew->n_running++;
    }
}

/* ---- The calling thread -------------------------------------------------------------------------------------- */

/* A moment, and the processor time used until then. */
struct usage {
    uint64_t at_ns;
    uint64_t process_ns;
};

static struct usage usage_now(void)
{
    return (struct usage){.at_ns = clock_monotonic_ns(), .process_ns = clock_process_ns()};
}

/* More workers when the cores were not busy since the last look. None once some have gone home: the work ends. */
static void grow_locked(struct crew *crew, struct usage *last)
{
    struct usage now = usage_now();
    uint64_t core_ns = (now.at_ns - last->at_ns) * crew->n_cores;
    bool is_idle = now.process_ns - last->process_ns < core_ns / 100 * BUSY_PERCENT;
    if (is_idle && !crew->stop && crew->n_running == crew->n_started) {
        uint64_t n_wanted = min_u64(crew->job->n_workers, (uint64_t)crew->n_started * 2);
        start_workers_locked(crew, (unsigned)n_wanted);
    }
    *last = now;
}

/* Waits for the workers, telling what happens; callbacks run without the mutex. */
static void watch(struct crew *crew)
{
    const struct crew_job *job = crew->job;
    size_t n_told = 0;
    struct usage last = usage_now();
    uint64_t next_tick_ns = last.at_ns + TICK_NS;
    pthread_mutex_lock(&crew->mutex);
    while (crew->n_running > 0 || n_told < crew->n_announced) {
        if (n_told < crew->n_announced) {
            size_t item = crew->announced[n_told++];
            pthread_mutex_unlock(&crew->mutex);
            job->tell(job->state, item, n_told);
            pthread_mutex_lock(&crew->mutex);
            continue;
        }
        if (clock_monotonic_ns() >= next_tick_ns) {
            next_tick_ns += TICK_NS;
            grow_locked(crew, &last);
            pthread_mutex_unlock(&crew->mutex);
            job->tick(job->state);
            pthread_mutex_lock(&crew->mutex);
            continue;
        }
        look_for_signal_locked(crew);
        uint64_t next_look_ns = clock_monotonic_ns() + LOOK_NS;
        bool looks_first = job->stop_signal != NULL && next_look_ns < next_tick_ns;
        struct timespec until = clock_monotonic_timespec(looks_first ? next_look_ns : next_tick_ns);
        (void)pthread_cond_timedwait(&crew->watcher, &crew->mutex, &until);
    }
    pthread_mutex_unlock(&crew->mutex);
    if (!crew->stop) {
        job->tick(job->state);
    }
}

static enum llavamed_status init_locks(struct crew *crew, struct llavamed_error *error)
{
    pthread_condattr_t attributes;
    int failure = pthread_condattr_init(&attributes);
    if (failure == 0) {
        failure = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        failure = failure == 0 ? pthread_cond_init(&crew->watcher, &attributes) : failure;
        failure = failure == 0 ? pthread_cond_init(&crew->change, NULL) : failure;
        failure = failure == 0 ? pthread_mutex_init(&crew->mutex, NULL) : failure;
        (void)pthread_condattr_destroy(&attributes);
    }
    return failure == 0 ? LLAVAMED_OK
                        : llavamed_fail_errno(error, LLAVAMED_STATUS_NO_MEMORY, failure, "cannot make a lock");
}

enum llavamed_status crew_run(const struct crew_job *job, struct llavamed_error *error)
{
    struct crew crew = {.job = job, .n_cores = cpus_usable()};
    enum llavamed_status status = init_locks(&crew, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    crew.workers = calloc(job->n_workers, sizeof *crew.workers);
    crew.announced = calloc(job->n_items + 1, sizeof *crew.announced);
    if (crew.workers == NULL || crew.announced == NULL) {
        status = llavamed_fail_memory(error, job->n_workers * sizeof *crew.workers, "the worker threads");
    } else {
        pthread_mutex_lock(&crew.mutex);
        look_for_signal_locked(&crew); /* one that came before: no work is begun */
        start_workers_locked(&crew, crew.stop ? 0 : (unsigned)min_u64(job->n_workers, crew.n_cores));
        pthread_mutex_unlock(&crew.mutex);
        watch(&crew);
        for (unsigned i = 0; i < crew.n_started; i++) {
            (void)pthread_join(crew.workers[i].thread, NULL);
        }
        if (crew.stop) {
            *error = crew.error;
            status = crew.error.status;
        }
    }
    free(crew.workers);
    free(crew.announced);
    (void)pthread_mutex_destroy(&crew.mutex);
    (void)pthread_cond_destroy(&crew.change);
    (void)pthread_cond_destroy(&crew.watcher);
    return status;
}
