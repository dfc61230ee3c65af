/* SPDX-License-Identifier: Apache-2.0 */
/* The front end is not in the library: its files are compiled into the test. Clock, width and stream are the test's. */
#include "cli/meter.c"
#include "cli/text.c"

#include "unit/harness.h"

#define MS UINT64_C(1000000)

static uint64_t fake_now;
static unsigned fake_columns;
static int fake_context;

static uint64_t now_ns(void *context)
{
    EXPECT(context == &fake_context);
    return fake_now;
}

static unsigned columns(void *context)
{
    EXPECT(context == &fake_context);
    return fake_columns;
}

static char *drawn_text;
static size_t drawn_bytes;

static FILE *start(struct meter *meter)
{
    FILE *stream = open_memstream(&drawn_text, &drawn_bytes);
    if (stream == NULL) {
        printf("out of memory\n");
        exit(1);
    }
    fake_now = 1000 * MS;
    fake_columns = 80;
    const struct meter_environment environment = {stream, now_ns, columns, &fake_context};
    meter_init(meter, &environment);
    return stream;
}

static void stop(FILE *stream)
{
    EXPECT(fclose(stream) == 0);
    free(drawn_text);
    drawn_text = NULL;
}

static size_t count(const char *text, char wanted)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += *text == wanted;
    }
    return n;
}

static void lines(void)
{
    char line[METER_LINE_BYTES];
    struct meter_figures figures = {UINT64_C(5660000000), UINT64_C(13476839424), UINT64_C(1230000000), NULL};
    meter_format(line, &figures, 80);
    EXPECT_TEXT(line, " 41% [============>                  ] 5.66 GB of 13.5 GB, 1.23 GB/s, 0:07 left");
    EXPECT_U64(strlen(line), 79);
    meter_format(line, &figures, 0);
    EXPECT_U64(strlen(line), 79);
    meter_format(line, &figures, 60);
    EXPECT_TEXT(line, " 41% [====>      ] 5.66 GB of 13.5 GB, 1.23 GB/s, 0:07 left");
    meter_format(line, &figures, 50);
    EXPECT_TEXT(line, " 41% 5.66 GB of 13.5 GB, 1.23 GB/s, 0:07 left");
    meter_format(line, &figures, 20);
    EXPECT_TEXT(line, " 41%");
    meter_format(line, &figures, 4);
    EXPECT_TEXT(line, "");
    for (unsigned width = 1; width < 600; width++) {
        meter_format(line, &figures, width);
        EXPECT(strlen(line) < width && strlen(line) < METER_LINE_BYTES);
    }
    figures.bytes_per_second = 0;
    meter_format(line, &figures, 40);
    EXPECT_TEXT(line, " 41% [=====>       ] 5.66 GB of 13.5 GB");
    figures.bytes_per_second = 1;
    meter_format(line, &figures, 60);
    EXPECT_TEXT(line, " 41% 5.66 GB of 13.5 GB, 1 B/s, 2171344:17:04 left");
}

static void lines_of_a_check(void)
{
    char line[METER_LINE_BYTES];
    struct meter_figures figures = {500000000, 1000000000, 100000000, "reading"};
    meter_format(line, &figures, 70);
    EXPECT_TEXT(line, " 50% [=======>      ] reading: 500 MB of 1.00 GB, 100 MB/s, 0:05 left");
    figures.bytes_per_second = 0;
    meter_format(line, &figures, 40);
    EXPECT_TEXT(line, " 50% reading: 500 MB of 1.00 GB");
    figures.done_bytes = 1000000000;
    meter_format(line, &figures, 36);
    EXPECT_TEXT(line, "100% reading: 1.00 GB, finishing");
    /* The rate of one thing says nothing of the next. */
    struct meter meter;
    FILE *stream = start(&meter);
    for (uint64_t done = 0; done <= 1000; done += 500) {
        meter_update(&meter, done, 2000);
        fake_now += 1000 * MS;
    }
    meter_begin(&meter, "reading");
    meter_update(&meter, 700, 2000);
    fflush(stream);
    EXPECT(strstr(drawn_text, "500 B/s") != NULL);
    EXPECT(strstr(drawn_text, "reading: 700 B of 2.00 KB") != NULL);
    EXPECT(strstr(strstr(drawn_text, "reading"), "B/s") == NULL);
    stop(stream);
}

static void percentages(void)
{
    char line[METER_LINE_BYTES];
    struct meter_figures figures = {999999999, 1000000000, 1, NULL};
    meter_format(line, &figures, 10);
    EXPECT_TEXT(line, " 99%");
    figures.done_bytes = 0;
    meter_format(line, &figures, 10);
    EXPECT_TEXT(line, "  0%");
    figures.done_bytes = 1000000000;
    meter_format(line, &figures, 40);
    EXPECT_TEXT(line, "100% [=============] 1.00 GB, finishing");
    figures = (struct meter_figures){0, 0, 0, NULL};
    meter_format(line, &figures, 10);
    EXPECT_TEXT(line, "100%");
    figures = (struct meter_figures){5, 3, 0, NULL};
    meter_format(line, &figures, 10);
    EXPECT_TEXT(line, "100%");
}

static void at_most_five_redraws_a_second(void)
{
    struct meter meter;
    FILE *stream = start(&meter);
    for (uint64_t ms = 0; ms < 10000; ms++) {
        meter_update(&meter, ms * 1000, 10000000);
        fake_now += MS;
    }
    fflush(stream);
    EXPECT_U64(count(drawn_text, '\r'), 50);
    EXPECT_U64(count(drawn_text, '\n'), 0);
    EXPECT_U64(count(drawn_text, '\x1b'), 0);
    EXPECT(strstr(drawn_text, "1.00 MB/s") != NULL);
    stop(stream);
}

static void rate_is_that_of_the_last_eight_samples(void)
{
    struct meter meter;
    FILE *stream = start(&meter);
    uint64_t done = 0;
    for (unsigned i = 0; i < 20; i++) { /* 1000 bytes in 200 ms: 5 KB/s */
        meter_update(&meter, done, 1000000);
        fake_now += 200 * MS;
        done += 1000;
    }
    EXPECT_U64(rate_of_window(&meter), 5000);
    for (unsigned i = 0; i < 8; i++) { /* ten times as fast until the slow samples have left */
        done += 9000;
        meter_update(&meter, done, 1000000);
        fake_now += 200 * MS;
        done += 1000;
    }
    EXPECT_U64(rate_of_window(&meter), 50000);
    for (unsigned i = 0; i < 8; i++) { /* stalled */
        meter_update(&meter, done, 1000000);
        fake_now += 200 * MS;
    }
    EXPECT_U64(rate_of_window(&meter), 0);
    stop(stream);
}

static void a_shorter_line_leaves_nothing_behind(void)
{
    struct meter meter;
    FILE *stream = start(&meter);
    meter_update(&meter, 1, 1000);
    fake_now += 200 * MS;
    fake_columns = 10;
    meter_update(&meter, 500, 1000);
    fflush(stream);
    const char *second = strrchr(drawn_text, '\r');
    EXPECT(strncmp(second, "\r 50%   ", 8) == 0);
    EXPECT_U64(strlen(second) - 1, 79);
    stop(stream);
}

static void clearing(void)
{
    struct meter meter;
    FILE *stream = start(&meter);
    meter_clear(&meter);
    fflush(stream);
    EXPECT_U64(drawn_bytes, 0);
    fake_columns = 30;
    meter_update(&meter, 1, 1000);
    meter_clear(&meter);
    fflush(stream);
    size_t n = drawn_bytes;
    EXPECT_TEXT(drawn_text, "\r  0% 1 B of 1.00 KB\r                   \r");
    meter_clear(&meter);
    fflush(stream);
    EXPECT_U64(drawn_bytes, n);
    fake_now += 200 * MS;
    meter_update(&meter, 2, 1000);
    fflush(stream);
    EXPECT(drawn_bytes > n);
    stop(stream);
}

static void figures_as_text(void)
{
    char text[CLI_FIGURE_BYTES];
    static const struct {
        uint64_t bytes;
        const char *decimal;
        const char *binary;
    } cases[] = {
        {0, "0 B", "0 B"},
        {999, "999 B", "999 B"},
        {1000, "1.00 KB", "1000 B"},
        {1024, "1.02 KB", "1.00 KiB"},
        {9994, "9.99 KB", "9.76 KiB"},
        {9995, "10.0 KB", "9.76 KiB"},
        {99949, "99.9 KB", "97.6 KiB"},
        {99950, "100 KB", "97.6 KiB"},
        {999499, "999 KB", "976 KiB"},
        {999500, "1.00 MB", "976 KiB"},
        {UINT64_C(268435456), "268 MB", "256 MiB"},
        {UINT64_C(13476839424), "13.5 GB", "12.6 GiB"},
        {UINT64_C(1099511627776), "1.10 TB", "1.00 TiB"},
        {UINT64_MAX, "18446744 TB", "16777216 TiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cli_format_bytes(text, cases[i].bytes);
        EXPECT_TEXT(text, cases[i].decimal);
        cli_format_memory(text, cases[i].bytes);
        EXPECT_TEXT(text, cases[i].binary);
    }
    cli_format_rate(text, 1000000, 500 * MS);
    EXPECT_TEXT(text, "2.00 MB/s");
    cli_format_rate(text, 1000000, 0);
    EXPECT_TEXT(text, "- B/s");
    EXPECT_U64(cli_bytes_per_second(UINT64_MAX, 1), UINT64_C(1000000000000000000));
    cli_format_seconds(text, 50 * MS);
    EXPECT_TEXT(text, "0.05 s");
    cli_format_seconds(text, 9999 * MS);
    EXPECT_TEXT(text, "10.0 s");
    cli_format_seconds(text, 12340 * MS);
    EXPECT_TEXT(text, "12.3 s");
    cli_format_seconds(text, 125000 * MS);
    EXPECT_TEXT(text, "2:05");
    cli_format_seconds(text, 3723000 * MS);
    EXPECT_TEXT(text, "1:02:03");
}

int main(void)
{
    CASE(lines);
    CASE(lines_of_a_check);
    CASE(percentages);
    CASE(at_most_five_redraws_a_second);
    CASE(rate_is_that_of_the_last_eight_samples);
    CASE(a_shorter_line_leaves_nothing_behind);
    CASE(clearing);
    CASE(figures_as_text);
    return harness_end();
}
