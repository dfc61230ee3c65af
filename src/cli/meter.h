/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line that moves while a run works:
 *
 *      42% [========>           ] 5.66 GB of 13.5 GB, 1.23 GB/s, 0:06 left
 *       7% SHA-256 of the inputs: 1.89 GB of 27 GB, 1.23 GB/s, 0:21 left
 *
 * Clock, stream and width of the terminal are injected. It is drawn with carriage returns and blanks only: no colour,
 * no escape sequence. Whoever prints a line on the same stream calls meter_clear() first; the next update draws the
 * meter again below it.
 */
#ifndef CLI_METER_H
#define CLI_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define METER_SAMPLES 8
#define METER_LINE_BYTES 256
#define METER_INTERVAL_NS UINT64_C(200000000) /* between two redraws: at most five a second */

struct meter_environment {
    FILE *stream;
    uint64_t (*now_ns)(void *context);  /* monotonic */
    unsigned (*columns)(void *context); /* of the terminal; 0: unknown, taken as 80 */
    void *context;
};

struct meter_sample {
    uint64_t at_ns;
    uint64_t done_bytes;
};

struct meter {
    struct meter_environment environment;
    const char *what; /* NULL, or what the figures are of */
    bool drawn; /* there is something on the line now */
    size_t drawn_columns;
    uint64_t last_draw_ns;
    struct meter_sample samples[METER_SAMPLES]; /* a ring */
    size_t n_samples;
    size_t next_sample;
};

void meter_init(struct meter *meter, const struct meter_environment *environment);

/* From now on the figures are of something else: `what`, in front of them, or NULL for the work itself. Static. */
void meter_begin(struct meter *meter, const char *what);

/* Draws when 200 ms have passed since the last drawing, and always the first time. */
void meter_update(struct meter *meter, uint64_t done_bytes, uint64_t total_bytes);

/* Blanks the line, the cursor at its start. Nothing when nothing is drawn. */
void meter_clear(struct meter *meter);

/* What one line shows. */
struct meter_figures {
    uint64_t done_bytes;
    uint64_t total_bytes;
    uint64_t bytes_per_second; /* 0: not known yet */
    const char *what;          /* NULL, or what the figures are of */
};

/* The line for a terminal of so many columns, always shorter than it; parts that do not fit are left out. */
void meter_format(char line[METER_LINE_BYTES], const struct meter_figures *figures, unsigned columns);

/* The same for a log: "42%, 5.66 GB of 13.5 GB, 1.23 GB/s, 0:06 left". */
void meter_format_plain(char line[METER_LINE_BYTES], const struct meter_figures *figures);

#endif
