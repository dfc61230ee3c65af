/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/read_beside.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"

#define TICK_NS 200000000

struct read_beside {
    struct read_files *job;
    const struct llavamed_observer *observer; /* the job's, for the calling thread */
    struct llavamed_observer store;           /* the job's meanwhile */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t change;
    struct llavamed_progress progress; /* guarded by the mutex, as what follows */
    bool has_ended;
    enum llavamed_status status;
    struct llavamed_error error;
};

static void store_progress(void *context, const struct llavamed_progress *progress)
{
    struct read_beside *beside = context;
    pthread_mutex_lock(&beside->mutex);
    beside->progress = *progress;
    pthread_mutex_unlock(&beside->mutex);
}

static void *read_all(void *argument)
{
    struct read_beside *beside = argument;
    struct llavamed_error error = {0};
    enum llavamed_status status = read_files(beside->job, &error);
    pthread_mutex_lock(&beside->mutex);
    beside->status = status;
    beside->error = error;
    beside->has_ended = true;
    (void)pthread_cond_signal(&beside->change);
    pthread_mutex_unlock(&beside->mutex);
    return NULL;
}

static bool init_locks(struct read_beside *beside)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&beside->mutex, NULL) != 0) {
        return false;
    }
    bool has_attributes = pthread_condattr_init(&attributes) == 0;
    bool is_made = has_attributes && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                   pthread_cond_init(&beside->change, &attributes) == 0;
    if (has_attributes) {
        (void)pthread_condattr_destroy(&attributes);
    }
    if (!is_made) {
        (void)pthread_mutex_destroy(&beside->mutex);
    }
    return is_made;
}

static void let_go(struct read_beside *beside)
{
    beside->job->observer = beside->observer;
    (void)pthread_cond_destroy(&beside->change);
    (void)pthread_mutex_destroy(&beside->mutex);
    free(beside);
}

bool read_beside_start(struct read_files *job, struct read_beside **out)
{
    struct read_beside *made = calloc(1, sizeof *made);
    if (made == NULL || !init_locks(made)) {
        free(made);
        return false;
    }
    made->job = job;
    made->observer = job->observer;
    made->store = (struct llavamed_observer){.context = made, .progress = store_progress};
    job->observer = &made->store;
    if (pthread_create(&made->thread, NULL, read_all, made) != 0) {
        let_go(made);
        return false;
    }
    *out = made;
    return true;
}

/* A tick from now, at most until it has ended. */
static bool wait_locked(struct read_beside *beside)
{
    uint64_t until_ns = clock_monotonic_ns() + TICK_NS;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
    if (!beside->has_ended) {
        (void)pthread_cond_timedwait(&beside->change, &beside->mutex, &until);
    }
    return beside->has_ended;
}

enum llavamed_status read_beside_wait(struct read_beside *beside, struct llavamed_error *error)
{
    const struct llavamed_observer *observer = beside->observer;
    bool has_ended;
    do {
        pthread_mutex_lock(&beside->mutex);
        has_ended = wait_locked(beside);
        struct llavamed_progress progress = beside->progress;
        pthread_mutex_unlock(&beside->mutex);
        if (observer != NULL && observer->progress != NULL) {
            observer->progress(observer->context, &progress);
        }
    } while (!has_ended);
    (void)pthread_join(beside->thread, NULL);
    read_files_tell(beside->job->table, observer);
    enum llavamed_status status = beside->status;
    if (status != LLAVAMED_OK) {
        *error = beside->error;
    }
    let_go(beside);
    return status;
}
