/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-apply: OUT = BASE + DELTA. Arguments in, one library call, a report out; the exit status is main()'s. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/messages.h"
#include "cli/meter.h"
#include "cli/plan_table.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/version.h"

/* A check that reads less than this is over before its line could be read. */
#define CHECK_SHOWN_BYTES_MIN (UINT64_C(16) << 20)

/* The signal that asked the run to stop, 0 until then. */
static volatile int stop_signal;

static void note_signal(int signal_number)
{
    __atomic_store_n(&stop_signal, signal_number, __ATOMIC_RELAXED); /* other threads read it */
}

/*
 * A signal that was ignored from the start (nohup, a background job) stays ignored. A closed pipe and a file size limit
 * are to come back as errors of the write.
 */
static void install_signal_handlers(void)
{
    static const int stopping[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stopping / sizeof stopping[0]; i++) {
        struct sigaction before;
        if (sigaction(stopping[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(stopping[i], &action, NULL);
        }
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

/*
 * Standard descriptors that came closed would be given to the next files opened, and messages would end up inside the
 * model. Each is occupied by /dev/null, opened so that using it fails as it would have.
 */
static bool occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        bool is_closed = fcntl(fd, F_GETFD) == -1 && errno == EBADF;
        if (is_closed && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) {
            return false;
        }
    }
    return true;
}

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

/*
 * The kernel's high-water mark of this program's memory. getrusage() is second choice: its figure survives exec, so
 * that it can be that of a large program which started this one.
 */
static uint64_t peak_rss_bytes(void)
{
    uint64_t kibibytes = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file != NULL) {
        static const char field[] = "VmHWM:";
        char line[256];
        while (kibibytes == 0 && fgets(line, sizeof line, file) != NULL) {
            if (strncmp(line, field, sizeof field - 1) == 0) {
                kibibytes = strtoull(line + sizeof field - 1, NULL, 10);
            }
        }
        (void)fclose(file);
    }
    struct rusage usage;
    if (kibibytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
        kibibytes = (uint64_t)usage.ru_maxrss;
    }
    return kibibytes * 1024;
}

/* What the observer's callbacks need. */
struct display {
    bool shows_meter;
    bool shows_shards;
    bool shows_warnings;
    bool shows_notes;
    const char *check; /* the one that is told about, NULL: the merge */
    uint64_t check_bytes; /* how far it was: another one of the same kind begins at 0 */
    struct meter meter;
};

static void display_init(struct display *display, const struct args *args)
{
    const struct meter_environment environment = {.stream = stderr, .now_ns = clock_ns, .columns = terminal_columns};
    memset(display, 0, sizeof *display);
    meter_init(&display->meter, &environment);
    bool wanted =
        args->progress == ARGS_PROGRESS_ALWAYS || (args->progress == ARGS_PROGRESS_AUTO && isatty(STDERR_FILENO) == 1);
    display->shows_meter = !args->quiet && wanted;
    display->shows_shards = !args->quiet && !wanted && args->progress == ARGS_PROGRESS_AUTO;
    display->shows_warnings = !args->quiet;
    display->shows_notes = args->verbose;
}

static void show_line(struct display *display, const char *kind, const char *text)
{
    meter_clear(&display->meter);
    messages_line(stderr, kind, text);
}

static void show_check(struct display *display, const struct llavamed_progress *progress)
{
    char figure[CLI_FIGURE_BYTES];
    char line[LLAVAMED_MESSAGE_BYTES];
    cli_format_bytes(figure, progress->total_bytes);
    cli_format(line, sizeof line, "%s, %s", progress->check, figure);
    show_line(display, "checking", line);
}

static void on_progress(void *context, const struct llavamed_progress *progress)
{
    struct display *display = context;
    if (progress->check != NULL && progress->total_bytes < CHECK_SHOWN_BYTES_MIN) {
        return;
    }
    bool is_another = progress->check != NULL && progress->done_bytes < display->check_bytes;
    display->check_bytes = progress->check == NULL ? 0 : progress->done_bytes;
    if (progress->check != display->check || is_another) {
        display->check = progress->check;
        meter_begin(&display->meter, progress->check);
        if (progress->check != NULL && display->shows_shards) {
            show_check(display, progress);
        }
    }
    if (display->shows_meter) {
        meter_update(&display->meter, progress->done_bytes, progress->total_bytes);
    }
}

static void on_shard_done(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    struct display *display = context;
    if (display->shows_shards) {
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

/* Closes stdout after something was written to it: `exit_status`, or that of a failed write when it was 0. */
static int finish_stdout(int exit_status)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) == 0 && !failed) {
        return exit_status;
    }
    const char *reason = errno == 0 ? "an earlier write failed" : strerror(errno);
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_OUT_UNWRITABLE, "standard output: cannot write: %s", reason);
    messages_error(stderr, &error);
    return exit_status == 0 ? llavamed_exit_status(&error) : exit_status;
}

/* What is wrong with outputs beside the one that the error is of. */
static void print_other_errors(const struct report_all *report)
{
    bool is_told = false; /* that one */
    for (size_t i = 0; i < report->n_outputs; i++) {
        const struct llavamed_error *own = &report->outputs[i].error;
        bool is_same = own->status == report->error->status && strcmp(own->message, report->error->message) == 0;
        bool is_it = !is_told && is_same;
        is_told = is_told || is_it;
        if (own->status != LLAVAMED_OK && !is_it) {
            messages_line(stderr, "problem", own->message);
        }
    }
}

/* Everything that is printed once the run has ended, well or not; of one output in the form that has no list. */
static int report_run(const struct args *args, const struct report_all *all)
{
    int exit_status = llavamed_exit_status(all->error);
    bool dry_run = args->settings.dry_run;
    const struct report one = {&args->settings, &all->outputs[0].result, all->error, all->peak_rss_bytes};
    bool prints_plan = dry_run && !args->quiet && !args->json && one.result->n_shards > 0;
    if (prints_plan) {
        if (args->several) {
            plan_table_print_all(stdout, &args->settings, all->outputs, all->n_outputs);
        } else {
            plan_table_print(stdout, &args->settings, one.result);
        }
        (void)fflush(stdout);
    }
    if (exit_status != 0) {
        messages_error(stderr, all->error);
        print_other_errors(all);
    }
    if (!args->quiet && !dry_run && args->several) {
        report_print_summary_all(stderr, all, args->verbose);
    } else if (!args->quiet && !dry_run && exit_status == 0) {
        report_print_summary(stderr, &one, args->verbose);
    }
    if (!args->quiet && !dry_run && exit_status == 0) {
        messages_research_notice(stderr);
    }
    if (args->json && args->several) {
        report_print_json_all(stdout, all);
    } else if (args->json) {
        report_print_json(stdout, &one);
    }
    return prints_plan || args->json ? finish_stdout(exit_status) : exit_status;
}

static int run(const struct args *args)
{
    struct display display;
    display_init(&display, args);
    const struct llavamed_observer observer = {
        .context = &display,
        .progress = on_progress,
        .shard_done = on_shard_done,
        .warning = on_warning,
        .note = on_note,
    };
    struct llavamed_settings settings = args->settings;
    settings.stop_signal = &stop_signal;
    install_signal_handlers();
    static struct llavamed_output outputs[LLAVAMED_OUTPUTS_MAX];
    struct llavamed_error error = {0};
    for (size_t i = 0; i < args->n_outputs; i++) {
        outputs[i].delta = args->deltas[i];
        outputs[i].out = args->outs[i];
    }
    if (llavamed_merge_all(&settings, &observer, outputs, args->n_outputs, &error) == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    meter_clear(&display.meter);
    const struct report_all report = {&settings, outputs, args->n_outputs, &error, peak_rss_bytes()};
    int exit_status = report_run(args, &report);
    for (size_t i = 0; i < args->n_outputs; i++) {
        llavamed_result_free(&outputs[i].result);
    }
    return exit_status;
}

/* The arguments were not understood. */
static int refuse(const struct args *args, const struct llavamed_error *error)
{
    const struct llavamed_result result = {0};
    messages_error(stderr, error);
    if (!args->json) {
        return llavamed_exit_status(error);
    }
    if (args->several) {
        const struct report_all report = {&args->settings, NULL, 0, error, peak_rss_bytes()};
        report_print_json_all(stdout, &report);
    } else {
        const struct report report = {&args->settings, &result, error, peak_rss_bytes()};
        report_print_json(stdout, &report);
    }
    return finish_stdout(llavamed_exit_status(error));
}

int main(int argc, char *argv[])
{
    if (!occupy_standard_descriptors()) {
        return 6;
    }
    struct args args;
    struct llavamed_error error = {0};
    if (args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return refuse(&args, &error);
    }
    switch (args.action) {
    case ARGS_HELP:
        args_print_help(stdout);
        return finish_stdout(0);
    case ARGS_VERSION:
        version_print(stdout);
        return finish_stdout(0);
    case ARGS_RUN:
        break;
    }
    return run(&args);
}
