/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/display.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/messages.h"
#include "cli/text.h"

/* A check that reads less than this is over before its line could be read. */
#define CHECK_SHOWN_BYTES_MIN (UINT64_C(16) << 20)

static uint64_t clock_ns(void *context)
{
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned terminal_columns(void *context)
{
    (void)context;
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void display_init_on(struct display *display, const struct meter_environment *environment, bool is_terminal,
                     enum display_progress progress, bool quiet, bool verbose)
{
    memset(display, 0, sizeof *display);
    meter_init(&display->meter, environment);
    bool wanted = progress == DISPLAY_PROGRESS_ALWAYS || (progress == DISPLAY_PROGRESS_AUTO && is_terminal);
    display->shows_meter = !quiet && wanted;
    display->shows_lines = !quiet && !wanted && progress == DISPLAY_PROGRESS_AUTO;
    display->shows_warnings = !quiet;
    display->shows_notes = verbose;
}

void display_init(struct display *display, enum display_progress progress, bool quiet, bool verbose)
{
    const struct meter_environment environment = {.stream = stderr, .now_ns = clock_ns, .columns = terminal_columns};
    display_init_on(display, &environment, isatty(STDERR_FILENO) == 1, progress, quiet, verbose);
}

static void show_line(struct display *display, const char *kind, const char *text)
{
    meter_clear(&display->meter);
    messages_line(display->meter.environment.stream, kind, text);
}

static void show_check(struct display *display, const struct llavamed_progress *progress)
{
    char figure[CLI_FIGURE_BYTES];
    char line[LLAVAMED_MESSAGE_BYTES];
    cli_format_bytes(figure, progress->total_bytes);
    cli_format(line, sizeof line, "%s, %s", progress->check, figure);
    show_line(display, "checking", line);
}

static void show_pace(struct display *display, const struct llavamed_progress *progress, bool begins)
{
    const struct meter_environment *environment = &display->meter.environment;
    uint64_t now_ns = environment->now_ns(environment->context);
    struct meter_figures figures = {progress->done_bytes, progress->total_bytes, 0, progress->check};
    if (begins) {
        pace_begin(&display->pace, now_ns, progress->done_bytes);
    } else if (pace_is_due(&display->pace, now_ns, progress->done_bytes, &figures.bytes_per_second)) {
        char line[METER_LINE_BYTES];
        meter_format_plain(line, &figures);
        show_line(display, "progress", line);
    }
}

static void on_progress(void *context, const struct llavamed_progress *progress)
{
    struct display *display = context;
    if (progress->check != NULL && progress->total_bytes < CHECK_SHOWN_BYTES_MIN) {
        return;
    }
    bool is_another = progress->check != NULL && progress->done_bytes < display->check_bytes;
    bool begins = progress->check != display->check || is_another;
    display->check_bytes = progress->check == NULL ? 0 : progress->done_bytes;
    if (begins) {
        display->check = progress->check;
        meter_begin(&display->meter, progress->check);
        if (progress->check != NULL && display->shows_lines) {
            show_check(display, progress);
        }
    }
    if (display->shows_lines) {
        show_pace(display, progress, begins || !display->has_begun);
    }
    display->has_begun = true;
    if (display->shows_meter) {
        meter_update(&display->meter, progress->done_bytes, progress->total_bytes);
    }
}

static void on_shard_done(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    struct display *display = context;
    if (display->shows_lines) {
        char figure[CLI_FIGURE_BYTES];
        char line[LLAVAMED_MESSAGE_BYTES];
        cli_format_bytes(figure, shard->file_bytes);
        cli_format(line, sizeof line, "%s, %s (%zu of %zu)", shard->name, figure, n_done, n_shards);
        show_line(display, "shard", line);
    }
}

static void on_warning(void *context, const char *text)
{
    struct display *display = context;
    if (display->shows_warnings) {
        show_line(display, "warning", text);
    }
}

static void on_note(void *context, const char *text)
{
    struct display *display = context;
    if (display->shows_notes) {
        show_line(display, "note", text);
    }
}

struct llavamed_observer display_observer(struct display *display)
{
    return (struct llavamed_observer){
        .context = display,
        .progress = on_progress,
        .shard_done = on_shard_done,
        .warning = on_warning,
        .note = on_note,
    };
}

void display_clear(struct display *display)
{
    meter_clear(&display->meter);
}
