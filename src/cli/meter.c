/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/meter.h"

#include <string.h>

#include "cli/text.h"

#define COLUMNS_UNKNOWN 80
#define BAR_COLUMNS_MIN 10
#define BAR_COLUMNS_MAX 60

void meter_init(struct meter *meter, const struct meter_environment *environment)
{
    memset(meter, 0, sizeof *meter);
    meter->environment = *environment;
}

static unsigned percent_of(const struct meter_figures *figures)
{
    if (figures->total_bytes == 0 || figures->done_bytes >= figures->total_bytes) {
        return 100;
    }
    /* Rounded down: 100 % is shown when it is true. */
    return (unsigned)((double)figures->done_bytes / (double)figures->total_bytes * 100.0);
}

/* "5.66 GB of 13.5 GB, 1.23 GB/s, 0:06 left", after "WHAT: " where there is one. */
static void format_tail(char *text, size_t capacity, const struct meter_figures *figures)
{
    char done[CLI_FIGURE_BYTES];
    char total[CLI_FIGURE_BYTES];
    const char *what = figures->what == NULL ? "" : figures->what;
    const char *colon = figures->what == NULL ? "" : ": ";
    cli_format_bytes(done, figures->done_bytes);
    cli_format_bytes(total, figures->total_bytes);
    if (figures->done_bytes >= figures->total_bytes) {
        cli_format(text, capacity, "%s%s%s, finishing", what, colon, total);
        return;
    }
    if (figures->bytes_per_second == 0) {
        cli_format(text, capacity, "%s%s%s of %s", what, colon, done, total);
        return;
    }
    char rate[CLI_FIGURE_BYTES];
    char left[CLI_FIGURE_BYTES];
    uint64_t left_bytes = figures->total_bytes - figures->done_bytes;
    cli_format_bytes(rate, figures->bytes_per_second);
    cli_format_clock(left, left_bytes / figures->bytes_per_second + (left_bytes % figures->bytes_per_second != 0));
    cli_format(text, capacity, "%s%s%s of %s, %s/s, %s left", what, colon, done, total, rate, left);
}

void meter_format(char line[METER_LINE_BYTES], const struct meter_figures *figures, unsigned columns)
{
    /* The last column stays free: writing there makes some terminals wrap. */
    size_t room = (columns == 0 ? COLUMNS_UNKNOWN : columns) - 1;
    room = room < METER_LINE_BYTES - 1 ? room : METER_LINE_BYTES - 1;
    unsigned percent = percent_of(figures);
    char tail[METER_LINE_BYTES / 2];
    format_tail(tail, sizeof tail, figures);
    size_t n_tail = strlen(tail);
    size_t n_head = 5; /* "100% " */
    if (room < n_head) {
        line[0] = '\0';
    } else if (room < n_head + n_tail) {
        cli_format(line, METER_LINE_BYTES, "%3u%%", percent);
    } else if (room < n_head + n_tail + BAR_COLUMNS_MIN + 3) {
        cli_format(line, METER_LINE_BYTES, "%3u%% %s", percent, tail);
    } else {
        char bar[BAR_COLUMNS_MAX + 1];
        size_t n_bar = room - n_head - n_tail - 3; /* "[" "] " */
        n_bar = n_bar < BAR_COLUMNS_MAX ? n_bar : BAR_COLUMNS_MAX;
        size_t n_full = n_bar * percent / 100;
        memset(bar, ' ', n_bar);
        memset(bar, '=', n_full);
        if (n_full < n_bar) {
            bar[n_full] = '>';
        }
        bar[n_bar] = '\0';
        cli_format(line, METER_LINE_BYTES, "%3u%% [%s] %s", percent, bar, tail);
    }
}

void meter_format_plain(char line[METER_LINE_BYTES], const struct meter_figures *figures)
{
    char tail[METER_LINE_BYTES / 2];
    format_tail(tail, sizeof tail, figures);
    cli_format(line, METER_LINE_BYTES, "%u%%, %s", percent_of(figures), tail);
}

/* Over the window: the rate of now, not of the whole run. */
static uint64_t rate_of_window(const struct meter *meter)
{
    if (meter->n_samples < 2) {
        return 0;
    }
    size_t newest = (meter->next_sample + METER_SAMPLES - 1) % METER_SAMPLES;
    size_t oldest = (meter->next_sample + METER_SAMPLES - meter->n_samples) % METER_SAMPLES;
    const struct meter_sample *from = &meter->samples[oldest];
    const struct meter_sample *to = &meter->samples[newest];
    if (to->done_bytes < from->done_bytes || to->at_ns < from->at_ns) {
        return 0;
    }
    return cli_bytes_per_second(to->done_bytes - from->done_bytes, to->at_ns - from->at_ns);
}

static void put_line(struct meter *meter, const char *line)
{
    size_t n = strlen(line);
    size_t blanks = meter->drawn_columns > n ? meter->drawn_columns - n : 0;
    (void)fprintf(meter->environment.stream, "\r%s%*s", line, (int)blanks, "");
    (void)fflush(meter->environment.stream);
    meter->drawn = true;
    meter->drawn_columns = n;
}

void meter_begin(struct meter *meter, const char *what)
{
    meter->what = what;
    meter->n_samples = 0;
    meter->next_sample = 0;
}

void meter_update(struct meter *meter, uint64_t done_bytes, uint64_t total_bytes)
{
    uint64_t now = meter->environment.now_ns(meter->environment.context);
    bool first = meter->n_samples == 0;
    if (!first && now - meter->last_draw_ns < METER_INTERVAL_NS) {
        return;
    }
    meter->samples[meter->next_sample] = (struct meter_sample){now, done_bytes};
    meter->next_sample = (meter->next_sample + 1) % METER_SAMPLES;
    meter->n_samples += meter->n_samples < METER_SAMPLES;
    struct meter_figures figures = {done_bytes, total_bytes, rate_of_window(meter), meter->what};
    char line[METER_LINE_BYTES];
    meter_format(line, &figures, meter->environment.columns(meter->environment.context));
    put_line(meter, line);
    meter->last_draw_ns = now;
}

void meter_clear(struct meter *meter)
{
    if (meter->drawn) {
        (void)fprintf(meter->environment.stream, "\r%*s\r", (int)meter->drawn_columns, "");
        (void)fflush(meter->environment.stream);
        meter->drawn = false;
        meter->drawn_columns = 0;
    }
}
