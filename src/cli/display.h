/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program shows on stderr while it works: the meter; or, where no terminal is, a line per shard, per check and
 * every 30 seconds; warnings and notes.
 */
#ifndef CLI_DISPLAY_H
#define CLI_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "cli/pace.h"
#include "llavamed.h"

/* The values of --progress. */
enum display_progress { DISPLAY_PROGRESS_AUTO, DISPLAY_PROGRESS_ALWAYS, DISPLAY_PROGRESS_NEVER };

struct display {
    bool shows_meter;
    bool shows_lines; /* of shards, of checks, of how far it is */
    bool shows_warnings;
    bool shows_notes;
    const char *check; /* the one that is told about, NULL: the merge */
    uint64_t check_bytes; /* how far it was: another one of the same kind begins at 0 */
    bool has_begun;       /* progress was told */
    struct pace pace;
    struct meter meter; /* whose stream and clock are those of everything here */
};

/* On stderr. */
void display_init(struct display *display, enum display_progress progress, bool quiet, bool verbose);

/* On any stream, by any clock; `is_terminal` decides what DISPLAY_PROGRESS_AUTO is. */
void display_init_on(struct display *display, const struct meter_environment *environment, bool is_terminal,
                     enum display_progress progress, bool quiet, bool verbose);

/* The observer that shows what it is told; it borrows *display. */
struct llavamed_observer display_observer(struct display *display);

/* Before anything else is printed on stderr: takes the meter away. */
void display_clear(struct display *display);

#endif
