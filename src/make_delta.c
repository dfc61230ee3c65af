/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-make-delta: DELTA = TARGET - BASE. Arguments in, one library call, a report out. */
#include <string.h>

#include "cli/display.h"
#include "cli/event_log.h"
#include "cli/lossy_report.h"
#include "cli/make_delta_args.h"
#include "cli/make_delta_options.h"
#include "cli/messages.h"
#include "cli/plan_table.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/version.h"

const char program_name[] = "llavamed-make-delta";

/* Everything that is printed once the run has ended, well or not. */
static int report_run(const struct make_delta_args *args, const struct report *report)
{
    int exit_status = llavamed_exit_status(report->error);
    bool dry_run = args->settings.dry_run;
    bool prints_plan = dry_run && !args->quiet && !args->json && report->result->n_shards > 0;
    if (prints_plan) {
        plan_table_print(stdout, &args->settings, report->result);
        (void)fflush(stdout);
    }
    if (exit_status != 0) {
        messages_error(stderr, report->error);
    } else if (!args->quiet && !dry_run) {
        lossy_report_print(stderr, report->result, args->verbose);
        report_print_summary(stderr, report, args->verbose);
        messages_research_notice(stderr);
    }
    if (args->json) {
        report_print_json(stdout, report);
    }
    return prints_plan || args->json ? program_finish_stdout(exit_status) : exit_status;
}

static void end_log(struct event_log *log, const struct report *report)
{
    const struct event_log_outcome outcome = {
        .error = report->error,
        .read_bytes = report->result->read_bytes,
        .written_bytes = report->result->written_bytes,
        .reused_bytes = report->result->reused_bytes,
        .peak_rss_bytes = report->peak_rss_bytes,
    };
    event_log_end(log, &outcome);
    event_log_close(log);
}

static int run(const struct make_delta_args *args, int argc, char *const argv[])
{
    struct display display;
    struct event_log log;
    display_init(&display, args->progress, args->quiet, args->verbose);
    const struct llavamed_observer shown = display_observer(&display);
    struct llavamed_settings settings = args->settings;
    settings.stop_signal = program_catch_signals();
    event_log_open(&log, args->log_json, NULL, settings.stop_signal, &shown);
    event_log_start(&log, argc, argv);
    const struct llavamed_observer observer = event_log_observer(&log);
    struct llavamed_result result = {0};
    struct llavamed_error error = {0};
    if (llavamed_make_delta(&settings, &observer, &result, &error) == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    const struct report report = {&settings, &result, &error, program_peak_rss_bytes(), true};
    end_log(&log, &report);
    display_clear(&display);
    int exit_status = report_run(args, &report);
    llavamed_result_free(&result);
    return exit_status;
}

/* The arguments were not understood. */
static int refuse(const struct make_delta_args *args, const struct llavamed_error *error)
{
    const struct llavamed_result result = {0};
    messages_error(stderr, error);
    if (!args->json) {
        return llavamed_exit_status(error);
    }
    const struct report report = {&args->settings, &result, error, program_peak_rss_bytes(), true};
    report_print_json(stdout, &report);
    return program_finish_stdout(llavamed_exit_status(error));
}

int main(int argc, char *argv[])
{
    if (!program_occupy_descriptors()) {
        return 6;
    }
    struct make_delta_args args;
    struct llavamed_error error = {0};
    if (make_delta_args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return refuse(&args, &error);
    }
    switch (args.action) {
    case OPTIONS_HELP:
        options_print_help(&make_delta_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_HELP_ALL:
        options_print_help_all(&make_delta_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_VERSION:
        version_print(stdout);
        return program_finish_stdout(0);
    case OPTIONS_RUN:
        break;
    }
    return run(&args, argc, argv);
}
