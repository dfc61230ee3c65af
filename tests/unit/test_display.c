/* SPDX-License-Identifier: Apache-2.0 */
/* What a run shows on a stream, by a clock of the test's. The front end is not in the library: it is compiled in. */
#include "cli/display.c"
#include "cli/messages.c"
#include "cli/meter.c"
#include "cli/pace.c"
#include "cli/text.c"

#include "unit/harness.h"

#define SECOND UINT64_C(1000000000)

const char program_name[] = "llavamed-test";

static uint64_t now_seconds;
static char *shown;
static size_t n_shown;
static FILE *stream;

static uint64_t test_now_ns(void *context)
{
    (void)context;
    return now_seconds * SECOND;
}

static unsigned test_columns(void *context)
{
    (void)context;
    return 80;
}

static struct llavamed_observer start(struct display *display, bool is_terminal, enum display_progress progress)
{
    const struct meter_environment environment = {.now_ns = test_now_ns, .columns = test_columns};
    now_seconds = 1000;
    stream = open_memstream(&shown, &n_shown);
    if (stream == NULL) {
        printf("out of memory\n");
        exit(1);
    }
    display_init_on(display, &environment, is_terminal, progress, false, false);
    display->meter.environment.stream = stream;
    return display_observer(display);
}

static void stop(void)
{
    (void)fclose(stream);
    free(shown);
}

/* After so many seconds, done megabytes of 10 GB. */
static void tell(const struct llavamed_observer *observer, uint64_t after, uint64_t megabytes, const char *check)
{
    const struct llavamed_progress progress = {
        .done_bytes = megabytes * 1000000, .total_bytes = UINT64_C(10000000000), .check = check};
    now_seconds += after;
    observer->progress(observer->context, &progress);
}

static void a_line_every_30_seconds(void)
{
    struct display display;
    struct llavamed_observer observer = start(&display, false, DISPLAY_PROGRESS_AUTO);
    tell(&observer, 0, 0, NULL);
    tell(&observer, 29, 2900, NULL);
    (void)fflush(stream);
    EXPECT_U64(n_shown, 0);
    tell(&observer, 1, 3000, NULL);
    tell(&observer, 1, 3100, NULL);
    tell(&observer, 28, 3200, NULL);
    tell(&observer, 1, 6000, NULL);
    (void)fflush(stream);
    EXPECT_TEXT(shown, "llavamed-test: progress: 30%, 3.00 GB of 10.0 GB, 100 MB/s, 1:10 left\n"
                       "llavamed-test: progress: 60%, 6.00 GB of 10.0 GB, 100 MB/s, 0:40 left\n");
    tell(&observer, 300, 6000, NULL); /* nothing came forward: no rate, no time left */
    tell(&observer, 30, 10000, NULL);
    (void)fflush(stream);
    EXPECT_TEXT(strstr(shown, "0:40 left\n") + 10,
                "llavamed-test: progress: 60%, 6.00 GB of 10.0 GB\n"
                "llavamed-test: progress: 100%, 10.0 GB, finishing\n");
    stop();
}

/* One run for a minute, at any rate of calls: two lines and never a carriage return. */
static void no_carriage_returns(void)
{
    struct display display;
    struct llavamed_observer observer = start(&display, false, DISPLAY_PROGRESS_AUTO);
    const struct llavamed_shard_report shard = {.name = (char[]){"a.safetensors"}, .file_bytes = 5000000000};
    for (uint64_t i = 0; i <= 60; i++) {
        tell(&observer, 1, i * 100, NULL);
    }
    observer.shard_done(observer.context, &shard, 1, 2);
    observer.warning(observer.context, "a warning\r\n");
    display_clear(&display);
    (void)fflush(stream);
    EXPECT(strchr(shown, '\r') == NULL && strchr(shown, '\033') == NULL);
    EXPECT_TEXT(shown, "llavamed-test: progress: 30%, 3.00 GB of 10.0 GB, 100 MB/s, 1:10 left\n"
                       "llavamed-test: progress: 60%, 6.00 GB of 10.0 GB, 100 MB/s, 0:40 left\n"
                       "llavamed-test: shard: a.safetensors, 5.00 GB (1 of 2)\n"
                       "llavamed-test: warning: a warning??\n");
    stop();
}

static void checks_have_their_own_pace(void)
{
    struct display display;
    struct llavamed_observer observer = start(&display, false, DISPLAY_PROGRESS_AUTO);
    tell(&observer, 0, 0, "SHA-256 of the inputs");
    tell(&observer, 30, 6000, "SHA-256 of the inputs");
    tell(&observer, 20, 0, NULL); /* the merge: counts from here */
    tell(&observer, 29, 2900, NULL);
    tell(&observer, 1, 3000, NULL);
    (void)fflush(stream);
    EXPECT_TEXT(shown, "llavamed-test: checking: SHA-256 of the inputs, 10.0 GB\n"
                       "llavamed-test: progress: 60%, SHA-256 of the inputs: 6.00 GB of 10.0 GB, 200 MB/s, 0:20 left\n"
                       "llavamed-test: progress: 30%, 3.00 GB of 10.0 GB, 100 MB/s, 1:10 left\n");
    stop();
}

static void none_where_they_are_not_wanted(void)
{
    struct display display;
    struct llavamed_observer observer = start(&display, false, DISPLAY_PROGRESS_NEVER);
    tell(&observer, 0, 0, NULL);
    tell(&observer, 300, 3000, NULL);
    (void)fflush(stream);
    EXPECT_U64(n_shown, 0);
    stop();
    observer = start(&display, true, DISPLAY_PROGRESS_AUTO); /* a meter instead */
    tell(&observer, 0, 0, NULL);
    tell(&observer, 300, 3000, NULL);
    (void)fflush(stream);
    EXPECT(strstr(shown, "progress:") == NULL && strchr(shown, '\n') == NULL && strchr(shown, '\r') != NULL);
    stop();
}

int main(void)
{
    CASE(a_line_every_30_seconds);
    CASE(no_carriage_returns);
    CASE(checks_have_their_own_pace);
    CASE(none_where_they_are_not_wanted);
    return harness_end();
}
