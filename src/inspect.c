/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-inspect: what a checkpoint holds. Arguments in, one library call, a report out. */
#include <string.h>

#include "cli/diff_report.h"
#include "cli/display.h"
#include "cli/inspect_args.h"
#include "cli/inspect_report.h"
#include "cli/inspect_table.h"
#include "cli/messages.h"
#include "cli/page_file.h"
#include "cli/page_inspect.h"
#include "cli/program.h"
#include "cli/version.h"

const char program_name[] = "llavamed-inspect";

/* What is printed once all is known, or what is wrong. */
static int report_end(const struct inspect_args *args, const struct llavamed_inspect_result *result,
                      const struct llavamed_error *error)
{
    int exit_status = llavamed_exit_status(error);
    if (exit_status != 0) {
        messages_error(stderr, error);
    }
    if (args->json) {
        const struct inspect_report report = {&args->settings, result, error, program_peak_rss_bytes()};
        inspect_report_json(stdout, &report);
        return program_finish_stdout(exit_status);
    }
    if (exit_status == 0 && args->settings.digests) {
        struct llavamed_error own;
        if (!inspect_digests_print(stdout, result)) {
            (void)cli_fail(&own, LLAVAMED_STATUS_NO_MEMORY, "out of memory for the list of digests");
            messages_error(stderr, &own);
            exit_status = llavamed_exit_status(&own);
        }
        return program_finish_stdout(exit_status);
    }
    if (exit_status == 0 && args->settings.stats) {
        inspect_stats_print(stdout, result);
        return program_finish_stdout(exit_status);
    }
    if (exit_status == 0 && !args->quiet) {
        inspect_table_print(stdout, args->settings.source, result, args->tensors);
        return program_finish_stdout(exit_status);
    }
    return exit_status;
}

/* The same of --diff. */
static int report_diff(const struct inspect_args *args, const struct diff_report *report)
{
    int exit_status = llavamed_exit_status(report->error);
    bool is_compared = report->error->status == LLAVAMED_OK || report->error->status == LLAVAMED_STATUS_TENSORS_DIFFER;
    if (exit_status != 0) {
        messages_error(stderr, report->error);
    }
    if (args->json) {
        diff_report_json(stdout, report);
        return program_finish_stdout(exit_status);
    }
    if (is_compared && !args->quiet) {
        diff_report_table(stdout, report, args->tensors);
        return program_finish_stdout(exit_status);
    }
    return exit_status;
}

static int run_diff(const struct inspect_args *args, const struct llavamed_observer *observer, struct display *display)
{
    const struct llavamed_diff_settings settings = {
        .source = args->settings.source,
        .other = args->other,
        .max_memory_bytes = args->settings.max_memory_bytes,
        .n_threads = args->settings.n_threads,
        .stop_signal = args->settings.stop_signal,
    };
    struct llavamed_diff_result result = {0};
    struct llavamed_error error = {0};
    if (llavamed_diff(&settings, observer, &result, &error) == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    display_clear(display);
    const struct diff_report report = {&settings, &result, &error, program_peak_rss_bytes()};
    int exit_status = report_diff(args, &report);
    llavamed_diff_result_free(&result);
    return exit_status;
}

static int run_inspect(const struct inspect_args *args, const struct llavamed_observer *observer,
                       struct display *display)
{
    struct llavamed_inspect_result result = {0};
    struct llavamed_error error = {0};
    const char *const apart[] = {args->settings.source};
    enum llavamed_status status = LLAVAMED_OK;
    if (args->report != NULL) {
        status = page_file_check(args->report, apart, 1, &error);
    }
    if (status == LLAVAMED_OK) {
        status = llavamed_inspect(&args->settings, observer, &result, &error);
    }
    if (status == LLAVAMED_OK && args->report != NULL) {
        status = page_inspect_write(args->report, &args->settings, &result, &error);
    }
    if (status == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    display_clear(display);
    int exit_status = report_end(args, &result, &error);
    llavamed_inspect_result_free(&result);
    return exit_status;
}

/* The arguments were not understood. */
static int refuse(const struct inspect_args *args, const struct llavamed_error *error)
{
    const struct llavamed_inspect_result nothing = {0};
    if (!args->diffs) {
        return report_end(args, &nothing, error);
    }
    const struct llavamed_diff_settings settings = {.source = args->settings.source, .other = args->other};
    const struct llavamed_diff_result no_diff = {0};
    const struct diff_report report = {&settings, &no_diff, error, program_peak_rss_bytes()};
    return report_diff(args, &report);
}

int main(int argc, char *argv[])
{
    if (!program_occupy_descriptors()) {
        return 6;
    }
    struct inspect_args args;
    struct llavamed_error error = {0};
    if (inspect_args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return refuse(&args, &error);
    }
    switch (args.action) {
    case OPTIONS_HELP:
        options_print_help(&inspect_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_HELP_ALL:
        options_print_help_all(&inspect_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_VERSION:
        version_print(stdout);
        return program_finish_stdout(0);
    case OPTIONS_RUN:
        break;
    }
    struct display display;
    display_init(&display, args.progress, args.quiet, false);
    const struct llavamed_observer observer = display_observer(&display);
    args.settings.stop_signal = program_catch_signals();
    return args.other == NULL ? run_inspect(&args, &observer, &display) : run_diff(&args, &observer, &display);
}
