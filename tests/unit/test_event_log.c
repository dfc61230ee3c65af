/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of --log-json, by clocks of the test's. The front end is not in the library: it is compiled in. */
#include "cli/event_log.c"
#include "cli/event_log_events.c"
#include "cli/json_emit.c"
#include "cli/json_error.c"
#include "cli/messages.c"
#include "cli/pace.c"
#include "cli/text.c"

#include <sys/wait.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

const char program_name[] = "llavamed-test";

static uint64_t now_seconds;
static volatile int stop_signal;
static char warnings[4096];
static unsigned n_progress;

static uint64_t test_now_ns(void *context)
{
    (void)context;
    return now_seconds * 1000000000;
}

/* Of 2026-11-30, 11:23:31 UTC, and what the clock has gone on since 1000. */
static struct timespec test_time(void *context)
{
    (void)context;
    return (struct timespec){.tv_sec = 1796037811 - 1000 + (time_t)now_seconds, .tv_nsec = 9999999};
}

static void keep_warning(void *context, const char *text)
{
    (void)context;
    size_t n = strlen(warnings);
    (void)snprintf(warnings + n, sizeof warnings - n, "%s\n", text);
}

static void count_progress(void *context, const struct llavamed_progress *progress)
{
    (void)context;
    (void)progress;
    n_progress++;
}

static struct llavamed_observer start(struct event_log *log, const char *path)
{
    static const struct event_log_clock clock = {test_now_ns, test_time, NULL};
    const struct llavamed_observer next = {.warning = keep_warning, .progress = count_progress};
    now_seconds = 1000;
    stop_signal = 0;
    warnings[0] = '\0';
    n_progress = 0;
    event_log_open(log, path, &clock, &stop_signal, &next);
    (void)snprintf(log->host, sizeof log->host, "node1");
    return event_log_observer(log);
}

/* The line without the process id, which nobody knows before. */
static void expect_line(const char *line, const char *time, const char *want)
{
    char full[2048];
    const char *event_end = strchr(want, ',');
    int n = event_end == NULL ? (int)strlen(want) : (int)(event_end - want);
    (void)snprintf(full, sizeof full,
                   "{\"time\": \"2026-11-30T%s.009Z\", \"event\": %.*s, \"program\": \"llavamed-test\", \"host\": "
                   "\"node1\", \"pid\": %d, \"seq\": %s",
                   time, n, want, (int)getpid(), event_end == NULL ? "" : event_end + 2);
    EXPECT_TEXT(line, full);
}

/* The n-th line of a text, which is changed. */
static char *line_of(char *text, unsigned n)
{
    for (; n > 0 && text != NULL; n--) {
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    if (text != NULL && strchr(text, '\n') != NULL) {
        *strchr(text, '\n') = '\0';
    }
    return text;
}

static void expect_file(const char *path, unsigned n, const char *time, const char *want)
{
    char *text = temp_read(path, NULL);
    char *line = text == NULL ? NULL : line_of(text, n);
    EXPECT(line != NULL);
    expect_line(line == NULL ? "" : line, time, want);
    free(text);
}

static void tell(const struct llavamed_observer *observer, uint64_t after, uint64_t done, const char *check)
{
    const struct llavamed_progress progress = {.done_bytes = done, .total_bytes = 9000, .check = check};
    now_seconds += after;
    observer->progress(observer->context, &progress);
}

static void all_events(void)
{
    struct temp_dir dir;
    struct event_log log;
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "log.jsonl");
    struct llavamed_observer observer = start(&log, path);
    struct llavamed_result result = {.n_shards = 2, .n_tensors = 25, .planned_read_bytes = 10, .planned_write_bytes = 9,
                                     .free_bytes = 8, .pool_bytes = 7, .n_threads = 6, .cpu = "ref",
                                     .manifest_sha256 = (char[]){"00ff"}};
    const struct llavamed_shard_report shard = {.name = (char[]){"a\"b\n"}, .file_bytes = 90, .n_tensors = 3};
    const struct llavamed_step_report steps[] = {
        {.step = LLAVAMED_STEP_PLANNED, .out = "out", .result = &result},
        {.step = LLAVAMED_STEP_RESUMED, .out = "out", .n_tiles = 12},
        {.step = LLAVAMED_STEP_SHARD_BEGUN, .out = "out", .shard = &shard},
        {.step = LLAVAMED_STEP_PUBLISHED, .out = "out", .result = &result},
    };
    for (size_t i = 0; i < 4; i++) {
        observer.step(observer.context, &steps[i]);
    }
    observer.shard_done(observer.context, &shard, 1, 2);
    observer.warning(observer.context, "w");
    observer.note(observer.context, "n");
    event_log_close(&log);
    EXPECT_TEXT(warnings, "w\n"); /* passed on */
    const char *time = "11:23:31";
    expect_file(path, 0, time,
                "\"plan\", 0, \"out\": \"out\", \"shards\": 2, \"tensors\": 25, \"read_bytes\": 10, \"write_bytes\": "
                "9, \"free_bytes\": 8, \"pool_bytes\": 7, \"threads\": 6, \"cpu\": \"ref\"}");
    expect_file(path, 1, time, "\"resume\", 1, \"out\": \"out\", \"tiles\": 12}");
    expect_file(path, 2, time,
                "\"shard_begun\", 2, \"out\": \"out\", \"name\": \"a\\\"b\\u000a\", \"bytes\": 90, \"tensors\": 3}");
    expect_file(path, 3, time, "\"published\", 3, \"out\": \"out\", \"manifest_sha256\": \"00ff\"}");
    expect_file(path, 4, time,
                "\"shard_done\", 4, \"name\": \"a\\\"b\\u000a\", \"bytes\": 90, \"tensors\": 3, \"sha256\": null, "
                "\"done\": 1, \"shards\": 2}");
    expect_file(path, 5, time, "\"warning\", 5, \"text\": \"w\"}");
    expect_file(path, 6, time, "\"note\", 6, \"text\": \"n\"}");
    temp_dir_remove(&dir);
}

static void progress_every_30_seconds(void)
{
    struct temp_dir dir;
    struct event_log log;
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "log.jsonl");
    struct llavamed_observer observer = start(&log, path);
    tell(&observer, 0, 100, "SHA-256 of the inputs");
    tell(&observer, 20, 0, NULL);
    tell(&observer, 29, 2900, NULL);
    tell(&observer, 1, 3000, NULL);
    tell(&observer, 1, 3100, NULL);
    stop_signal = SIGUSR1;
    tell(&observer, 1, 3200, NULL);
    tell(&observer, 1, 3300, NULL);
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_INTERRUPTED, "interrupted");
    error.signal_number = SIGUSR1;
    error.n_problems = 1;
    (void)snprintf(error.problems[0], sizeof error.problems[0], "p");
    const struct event_log_outcome outcome = {&error, 1, 2, 3, 4};
    event_log_end(&log, &outcome);
    event_log_close(&log);
    EXPECT_U64(n_progress, 7);
    EXPECT_TEXT(warnings, "");
    expect_file(path, 0, "11:23:31",
                "\"begin\", 0, \"what\": \"SHA-256 of the inputs\", \"done_bytes\": 100, \"total_bytes\": 9000}");
    expect_file(path, 1, "11:23:51", "\"begin\", 1, \"what\": \"merge\", \"done_bytes\": 0, \"total_bytes\": 9000}");
    expect_file(path, 2, "11:24:21",
                "\"progress\", 2, \"what\": \"merge\", \"done_bytes\": 3000, \"total_bytes\": 9000, "
                "\"bytes_per_second\": 100}");
    expect_file(path, 3, "11:24:23", "\"signal\", 3, \"signal\": 10, \"name\": \"USR1\"}");
    expect_file(path, 4, "11:24:24", "\"problem\", 4, \"text\": \"p\"}");
    expect_file(path, 5, "11:24:24",
                "\"error\", 5, \"status\": 138, \"code\": \"INTERRUPTED\", \"message\": \"interrupted\", \"hint\": "
                "null, \"n_problems\": 1, \"read_bytes\": 1, \"written_bytes\": 2, \"reused_bytes\": 3, "
                "\"peak_rss_bytes\": 4, \"seconds\": 53.000000000}");
    temp_dir_remove(&dir);
}

/* A path that is wrong costs a warning, and never a file that is something else. */
static void what_cannot_be_a_log(void)
{
    struct temp_dir dir;
    struct event_log log;
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "model.safetensors");
    temp_write_text(path, "{\"weights\": \"are not a log\"}");
    struct llavamed_observer observer = start(&log, path);
    observer.note(observer.context, "n");
    observer.note(observer.context, "n");
    event_log_close(&log);
    EXPECT(strstr(warnings, "model.safetensors: the log cannot be written: there is a file that is not such a log; the "
                            "run goes on\n") != NULL);
    EXPECT(temp_file_is(path, "{\"weights\": \"are not a log\"}"));
    /* A log is appended to, an empty file is taken. */
    char *other = temp_path(&dir, "log");
    temp_write_text(other, "");
    for (int i = 0; i < 2; i++) {
        observer = start(&log, other);
        observer.note(observer.context, "n");
        event_log_close(&log);
        EXPECT_TEXT(warnings, "");
    }
    expect_file(other, 0, "11:23:31", "\"note\", 0, \"text\": \"n\"}");
    expect_file(other, 1, "11:23:31", "\"note\", 0, \"text\": \"n\"}");
    (void)start(&log, temp_path(&dir, "no/log"));
    event_log_start(&log, 0, NULL);
    EXPECT(strstr(warnings, "no/log: the log cannot be written: No such file or directory; the run goes on\n") != NULL);
    (void)start(&log, dir.path);
    EXPECT(strstr(warnings, "Is a directory") != NULL);
    temp_dir_remove(&dir);
}

static void without_a_log(void)
{
    struct event_log log;
    struct llavamed_observer observer = start(&log, NULL);
    EXPECT(observer.warning == keep_warning && observer.note == NULL && observer.step == NULL);
    event_log_start(&log, 0, NULL);
    const struct llavamed_error error = {0};
    event_log_end(&log, &(struct event_log_outcome){.error = &error});
    event_log_close(&log);
    EXPECT_TEXT(warnings, "");
}

/* A FIFO: without a reader there is a warning; a slow reader loses events and holds nobody up. */
static void fifo(void)
{
    struct temp_dir dir;
    struct event_log log;
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "fifo");
    temp_dir_require(mkfifo(path, 0600) == 0, "mkfifo");
    (void)start(&log, path);
    EXPECT(strstr(warnings, "fifo: the log cannot be written: nobody reads it; the run goes on\n") != NULL);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct llavamed_observer observer = start(&log, path);
    EXPECT_TEXT(warnings, "");
    for (unsigned i = 0; i < 10000; i++) {
        observer.note(observer.context, "some text that fills the pipe after a while");
    }
    EXPECT(strstr(warnings, "fifo: the log lacks an event: its reader is too slow; the run goes on\n") != NULL);
    EXPECT(strchr(strchr(warnings, '\n') + 1, '\n') == NULL); /* once */
    char text[65536];
    ssize_t n = read(reader, text, sizeof text - 1);
    EXPECT(n > 1000);
    text[n > 0 ? n : 0] = '\0';
    EXPECT(strncmp(text, line_start, strlen(line_start)) == 0);
    (void)close(reader);
    (void)signal(SIGPIPE, SIG_IGN);
    observer.note(observer.context, "nobody is there any more");
    event_log_close(&log);
    temp_dir_remove(&dir);
}

/* Several processes share a file: every line is there, whole. */
static void shared_file(void)
{
    enum { WRITERS = 4, EVENTS = 500 };
    struct temp_dir dir;
    struct event_log log;
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "log.jsonl");
    for (int i = 0; i < WRITERS; i++) {
        pid_t child = fork();
        temp_dir_require(child >= 0, "fork");
        if (child == 0) {
            struct llavamed_observer observer = start(&log, path);
            for (int k = 0; k < EVENTS; k++) {
                observer.note(observer.context, "a note");
            }
            event_log_close(&log);
            _exit(warnings[0] != '\0');
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;
        EXPECT(wait(&status) > 0 && status == 0);
    }
    size_t n_bytes = 0;
    char *text = temp_read(path, &n_bytes);
    size_t n_lines = 0;
    for (char *line = text; line != NULL && *line != '\0'; n_lines++) {
        char *end = strchr(line, '\n');
        EXPECT(end != NULL && strncmp(line, line_start, strlen(line_start)) == 0 &&
               strncmp(end - 8, "a note\"}", 8) == 0);
        line = end == NULL ? NULL : end + 1;
    }
    EXPECT_U64(n_lines, WRITERS * EVENTS);
    free(text);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(all_events);
    CASE(progress_every_30_seconds);
    CASE(what_cannot_be_a_log);
    CASE(without_a_log);
    CASE(fifo);
    CASE(shared_file);
    return harness_end();
}
