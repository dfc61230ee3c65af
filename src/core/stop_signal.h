/* SPDX-License-Identifier: Apache-2.0 */
/* The signal that asks a run to stop, as struct llavamed_settings has it. */
#ifndef CORE_STOP_SIGNAL_H
#define CORE_STOP_SIGNAL_H

#include <stddef.h>

/*
 * Its number, 0 while there is none; stop_signal may be NULL. A handler runs on whatever thread the signal comes to, a
 * worker too, so a plain read of a volatile would be a data race.
 */
static inline int stop_signal_read(const volatile int *stop_signal)
{
    return stop_signal == NULL ? 0 : __atomic_load_n(stop_signal, __ATOMIC_RELAXED);
}

#endif
