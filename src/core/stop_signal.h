/* SPDX-License-Identifier: Apache-2.0 */
/* The signal that asks a run to stop, as struct llavamed_settings has it. */
#ifndef CORE_STOP_SIGNAL_H
#define CORE_STOP_SIGNAL_H

#include "core/error.h"

/*
 * Its number, 0 while there is none; stop_signal may be NULL. A handler runs on whatever thread the signal comes to, a
 * worker too, so a plain read of a volatile would be a data race.
 */
static inline int stop_signal_read(const volatile int *stop_signal)
{
    return stop_signal == NULL ? 0 : __atomic_load_n(stop_signal, __ATOMIC_RELAXED);
}

/* INTERRUPTED, with the signal's number in the error, as soon as there is one: between two steps of what takes long. */
static inline enum llavamed_status LLAVAMED_CHECK stop_signal_check(const volatile int *stop_signal,
                                                                    struct llavamed_error *error)
{
    int signal_number = stop_signal_read(stop_signal);
    if (signal_number == 0) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
    if (error != NULL) {
        error->signal_number = signal_number;
    }
    return LLAVAMED_STATUS_INTERRUPTED;
}

#endif
