/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing. Removing a large OUT that is replaced can take longer than a claim without a heartbeat is respected, so
 * while one of several outputs is published a thread shows that the claims of the others are alive.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "merge/merge_run.h"

#define BEAT_NS UINT64_C(500000000)

struct beat {
    const struct merge_batch *batch;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t change;
    bool runs;
    bool over;
};

static void *beat_main(void *argument)
{
    struct beat *beat = argument;
    (void)pthread_mutex_lock(&beat->mutex);
    while (!beat->over) {
        for (size_t i = 0; i < beat->batch->n_runs; i++) {
            (void)output_dir_beat(beat->batch->runs[i].dir);
        }
        struct timespec until = clock_monotonic_timespec(clock_monotonic_ns() + BEAT_NS);
        (void)pthread_cond_timedwait(&beat->change, &beat->mutex, &until);
    }
    (void)pthread_mutex_unlock(&beat->mutex);
    return NULL;
}

/* Without the thread nothing is lost but its heartbeats. */
static void beat_start(struct beat *beat, const struct merge_batch *batch)
{
    pthread_condattr_t attributes;
    *beat = (struct beat){.batch = batch};
    if (batch->n_runs < 2 || pthread_condattr_init(&attributes) != 0) {
        return;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&beat->change, &attributes);
    (void)pthread_mutex_init(&beat->mutex, NULL);
    (void)pthread_condattr_destroy(&attributes);
    beat->runs = pthread_create(&beat->thread, NULL, beat_main, beat) == 0;
}

static void beat_stop(struct beat *beat)
{
    if (beat->runs) {
        (void)pthread_mutex_lock(&beat->mutex);
        beat->over = true;
        (void)pthread_cond_signal(&beat->change);
        (void)pthread_mutex_unlock(&beat->mutex);
        (void)pthread_join(beat->thread, NULL);
        (void)pthread_cond_destroy(&beat->change);
        (void)pthread_mutex_destroy(&beat->mutex);
    }
}

/* A warning that depends on this machine and this moment: told, but kept out of the manifest, which is written. */
static enum llavamed_status publish(struct merge_run *run, struct llavamed_error *error)
{
    bool old_left = false;
    enum llavamed_status status = merge_move_journal(run, error);
    if (status == LLAVAMED_OK) {
        status = output_dir_publish(run->dir, &old_left, error);
    }
    run->output->is_published = status == LLAVAMED_OK;
    run->result->is_published = run->output->is_published;
    if (run->output->is_published) {
        merge_end_journal(run);
        merge_tell_step(run, &(struct llavamed_step_report){.step = LLAVAMED_STEP_PUBLISHED, .result = run->result});
    }
    if (status == LLAVAMED_OK && output_dir_kept(run->dir) != NULL) {
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s: what an interrupted run had replaced is kept here",
                       output_dir_kept(run->dir));
        (void)merge_warn(run, text, &(struct llavamed_error){0});
    }
    if (status == LLAVAMED_OK && old_left) {
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s", error->message);
        (void)merge_warn(run, text, error); /* told in any case; OUT is there, whatever there is no memory for now */
    }
    return status;
}

enum llavamed_status merge_publish(struct merge_batch *batch, struct llavamed_error *error)
{
    struct beat beat;
    enum llavamed_status status = LLAVAMED_OK;
    beat_start(&beat, batch);
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = publish(&batch->runs[i], error);
        if (status != LLAVAMED_OK) {
            (void)merge_blame(&batch->runs[i], error);
        }
    }
    beat_stop(&beat);
    return status;
}
