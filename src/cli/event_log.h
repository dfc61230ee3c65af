/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --log-json FILE: what happens in a run as it happens, one JSON object on each line. docs/log-json.md has the events
 * and their members.
 *
 * It hangs between a run and whoever else observes it, and passes everything on. Each line is one write(2) at the end
 * of the file, so that several runs can share one. A log that cannot be written is told once, as a warning, and is
 * never the end of a run; nor does a run wait for the reader of a FIFO. All on the thread that called the library.
 */
#ifndef CLI_EVENT_LOG_H
#define CLI_EVENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "cli/json_emit.h"
#include "cli/pace.h"
#include "llavamed.h"

#define EVENT_LOG_HOST_BYTES 256

/* Where the time comes from. */
struct event_log_clock {
    uint64_t (*now_ns)(void *context);       /* monotonic */
    struct timespec (*time)(void *context);  /* of the day */
    void *context;
};

struct event_log {
    const char *path; /* borrowed; NULL: there is no log */
    int fd;           /* -1: it could not be opened, or there is none */
    bool owns_fd;
    bool is_warned;   /* that it cannot be written was told */
    bool is_torn;     /* a line came out in part: the next begins on a line of its own */
    uint64_t n_events;
    char host[EVENT_LOG_HOST_BYTES];
    struct event_log_clock clock;
    uint64_t started_ns;
    struct llavamed_observer next; /* who is told as well */
    const volatile int *stop_signal; /* may be NULL */
    int signal_told;
    bool has_begun; /* progress was told */
    const char *check;
    uint64_t check_bytes;
    struct pace pace;
    FILE *stream; /* of the line being made, as what follows */
    char *line;
    size_t n_line;
    struct json_emit emit;
};

/*
 * With a `path` of NULL nothing is ever written. /dev/stdout, /dev/stderr and /dev/fd/N are the descriptors themselves;
 * a file that is there is appended to when it is empty or such a log, and left alone otherwise; a FIFO that nobody
 * reads is not waited for. `clock` NULL: that of the system. `stop_signal` as in struct llavamed_settings. `next` is
 * copied.
 */
void event_log_open(struct event_log *log, const char *path, const struct event_log_clock *clock,
                    const volatile int *stop_signal, const struct llavamed_observer *next);

/* The observer that writes what it is told; it borrows *log. */
struct llavamed_observer event_log_observer(struct event_log *log);

/* The first event: who runs, with which arguments, where. */
void event_log_start(struct event_log *log, int argc, char *const argv[]);

/* How it came out, of all outputs together. */
struct event_log_outcome {
    const struct llavamed_error *error; /* all zero when the run succeeded */
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t reused_bytes;
    uint64_t peak_rss_bytes;
};

/* The last events, "done" or "error", before which comes "signal" where one has come and was not seen before. */
void event_log_end(struct event_log *log, const struct event_log_outcome *outcome);

void event_log_close(struct event_log *log);

/* ---- For event_log_events.c: begins an event in log->emit; false: there is no log. The other writes it. */
bool event_log_begin(struct event_log *log, const char *event);
void event_log_write(struct event_log *log);

#endif
