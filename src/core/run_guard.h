/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a run may still change files where it works. One that was stopped for long (SIGSTOP, a suspended machine, a
 * server that did not answer) may have been taken over by a run elsewhere: it has to end before it touches what is not
 * its own any more. Passed down to whatever changes files; NULL stands for a run that nobody can take over.
 */
#ifndef CORE_RUN_GUARD_H
#define CORE_RUN_GUARD_H

#include "core/error.h"

struct run_guard {
    void *context;
    /* `now`: look, however short ago that was done. Thread-safe. OUT_BUSY when another run has taken over;
       IO, NO_MEMORY when that cannot be told. */
    enum llavamed_status (*check)(void *context, bool now, struct llavamed_error *error);
};

/* Before what is done often: costs a look at the clock, most of the time. */
static inline enum llavamed_status LLAVAMED_CHECK run_guard_check(const struct run_guard *guard,
                                                                  struct llavamed_error *error)
{
    return guard == NULL ? LLAVAMED_OK : guard->check(guard->context, false, error);
}

/* Before a file gets a name or loses one. */
static inline enum llavamed_status LLAVAMED_CHECK run_guard_confirm(const struct run_guard *guard,
                                                                    struct llavamed_error *error)
{
    return guard == NULL ? LLAVAMED_OK : guard->check(guard->context, true, error);
}

#endif
