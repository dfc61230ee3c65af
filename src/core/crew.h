/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crew: worker threads that take tasks of a job until there are no more, watched by the thread that called. One mutex
 * guards all that the job schedules; what takes time is done outside it. The first error wins, the others end the task
 * that they are at and go. What a task is, the job alone knows: it keeps one record for each worker.
 */
#ifndef CORE_CREW_H
#define CORE_CREW_H

#include "core/error.h"
#include "core/phase.h"

struct crew; /* opaque; lives as long as crew_run() */

enum crew_turn {
    CREW_TASK, /* the worker has a task now */
    CREW_WAIT, /* none at present: asked again after somebody's task */
    CREW_OVER, /* none any more */
};

struct crew_job {
    void *state;                     /* of the job, given to every call */
    unsigned n_workers;              /* at most; at least one. Workers are numbered from 0 */
    size_t n_items;                  /* the most that crew_announce_locked() is called with */
    const volatile int *stop_signal; /* may be NULL; non-zero ends the run as INTERRUPTED */
    struct phase_clock *clocks;      /* may be NULL; of each worker: in OTHER when it takes a task and begins it */

    /*
     * With the mutex held: chooses the worker's next task. Any worker can do any task; only what a worker's own
     * done_locked() left to it is for that worker alone, as it is the next to ask. With CREW_WAIT it changes the phase
     * to what is waited for.
     */
    enum crew_turn (*take_locked)(void *state, unsigned worker);
    /* Without it, on the worker's thread: does the task. */
    enum llavamed_status (*work)(void *state, unsigned worker, struct llavamed_error *error);
    /* With the mutex held, after success: what the task changed for others. */
    void (*done_locked)(void *state, unsigned worker, struct crew *crew);

    /* On the calling thread, without the mutex: some five times a second, and once after success. */
    void (*tick)(void *state);
    /* The same, for each item announced, in that order; n_told counts this one. */
    void (*tell)(void *state, size_t item, size_t n_told);
};

/* From done_locked(): has the calling thread tell of an item. */
void crew_announce_locked(struct crew *crew, size_t item);

/*
 * Runs the job and waits for its end. It begins with no more workers than there are cores to use, because what keeps
 * all cores busy only gets slower by more; as long as the cores are not busy (workers wait for storage) their number
 * doubles with each tick, up to n_workers. Fewer than that when the system grants no more. Workers run in the default
 * floating-point environment, as the kernels want it. The error of the first task that failed, INTERRUPTED,
 * or NO_MEMORY when not one thread can be started.
 */
enum llavamed_status crew_run(const struct crew_job *job, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
