/* SPDX-License-Identifier: Apache-2.0 */
/* What every program does around its one call of the library. Each defines `program_name` (messages.h) in its main. */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Before anything else: opens /dev/null for each standard descriptor that came closed. False when one cannot be: the
 * program ends with exit status 6, as there is nowhere to say why.
 */
bool program_occupy_descriptors(void);

/* Handlers for the signals that stop a run; returns where their number is left, for settings.stop_signal. */
const volatile int *program_catch_signals(void);

uint64_t program_peak_rss_bytes(void);

/* Closes stdout after something was written to it: `exit_status`, or that of a failed write when it was 0. */
int program_finish_stdout(int exit_status);

#endif
