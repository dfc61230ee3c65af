/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads that share one piece of reading, and the calling thread that waits for them and tells an observer how
 * far they are. What they share, and how one of them that fails stops the others, is their own affair.
 */
#ifndef CORE_CREW_H
#define CORE_CREW_H

#include <stdatomic.h>

#include "llavamed.h"

#define CREW_WORKERS_MAX 8

struct crew {
    /* Takes its share until none is left; `worker` counts from 0. It must do with fewer threads than were asked for. */
    void (*work)(void *context, size_t worker);
    void *context;
    size_t n_workers;                         /* 1 to CREW_WORKERS_MAX */
    const struct llavamed_observer *observer; /* may be NULL */
    const char *check;                        /* what struct llavamed_progress calls it; static */
    uint64_t total_bytes;
    atomic_uint_least64_t done_bytes; /* the workers add to it */
};

/*
 * Blocks until every worker that could be started has returned. Where none can be started the calling thread works
 * itself. The observer is told at the start, about five times a second, and at the end.
 */
void crew_run(struct crew *crew);

#endif
