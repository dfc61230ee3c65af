/* SPDX-License-Identifier: Apache-2.0 */
/* What a program shows on stderr while it works: the meter, or a line per shard and per check; warnings and notes. */
#ifndef CLI_DISPLAY_H
#define CLI_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "llavamed.h"

/* The values of --progress. */
enum display_progress { DISPLAY_PROGRESS_AUTO, DISPLAY_PROGRESS_ALWAYS, DISPLAY_PROGRESS_NEVER };

struct display {
    bool shows_meter;
    bool shows_shards;
    bool shows_warnings;
    bool shows_notes;
    const char *check; /* the one that is told about, NULL: the merge */
    uint64_t check_bytes; /* how far it was: another one of the same kind begins at 0 */
    struct meter meter;
};

void display_init(struct display *display, enum display_progress progress, bool quiet, bool verbose);

/* The observer that shows what it is told; it borrows *display. */
struct llavamed_observer display_observer(struct display *display);

/* Before anything else is printed on stderr: takes the meter away. */
void display_clear(struct display *display);

#endif
