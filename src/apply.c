/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-apply: OUT = BASE + DELTA. Arguments in, one library call, a report out; the exit status is main()'s. */
#include <string.h>

#include "cli/apply_args.h"
#include "cli/apply_options.h"
#include "cli/display.h"
#include "cli/event_log.h"
#include "cli/messages.h"
#include "cli/page_apply.h"
#include "cli/page_file.h"
#include "cli/plan_table.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/version.h"

const char program_name[] = "llavamed-apply";

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
static int report_run(const struct apply_args *args, const struct report_all *all)
{
    int exit_status = llavamed_exit_status(all->error);
    bool dry_run = args->settings.dry_run;
    const struct report one = {&args->settings, &all->outputs[0].result, all->error, all->peak_rss_bytes, false};
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
    return prints_plan || args->json ? program_finish_stdout(exit_status) : exit_status;
}

/* Before the work begins: whether there can be a page. */
static enum llavamed_status check_page(const struct apply_args *args, struct llavamed_error *error)
{
    const char *apart[2 * LLAVAMED_OUTPUTS_MAX + 2] = {args->settings.base, args->settings.sums};
    size_t n = 2;
    for (size_t i = 0; i < args->n_outputs; i++) {
        apart[n++] = args->deltas[i];
        apart[n++] = args->outs[i];
    }
    return args->report == NULL ? LLAVAMED_OK : page_file_check(args->report, apart, n, error);
}

/* What was published stays, whatever becomes of the page. */
static enum llavamed_status write_page(const struct apply_args *args, const struct llavamed_output *outputs,
                                       struct llavamed_error *error)
{
    struct llavamed_error failure = {0};
    if (page_apply_write(args->report, &args->settings, outputs, args->n_outputs, &failure) == LLAVAMED_OK) {
        return LLAVAMED_OK;
    }
    (void)cli_fail(error, failure.status, "%.900s", failure.message);
    cli_hint(error, "the output itself is complete; llavamed-inspect --stats --report makes a page of it");
    return failure.status;
}

static void end_log(struct event_log *log, const struct report_all *report)
{
    struct event_log_outcome outcome = {.error = report->error, .peak_rss_bytes = report->peak_rss_bytes};
    for (size_t i = 0; i < report->n_outputs; i++) {
        outcome.read_bytes += report->outputs[i].result.read_bytes;
        outcome.written_bytes += report->outputs[i].result.written_bytes;
        outcome.reused_bytes += report->outputs[i].result.reused_bytes;
    }
    event_log_end(log, &outcome);
    event_log_close(log);
}

static int run(const struct apply_args *args, int argc, char *const argv[])
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
    static struct llavamed_output outputs[LLAVAMED_OUTPUTS_MAX];
    struct llavamed_error error = {0};
    for (size_t i = 0; i < args->n_outputs; i++) {
        outputs[i].delta = args->deltas[i];
        outputs[i].out = args->outs[i];
    }
    enum llavamed_status status = check_page(args, &error);
    if (status == LLAVAMED_OK && args->finish) {
        status = llavamed_finish(&settings, &observer, &outputs[0].result, &error);
    } else if (status == LLAVAMED_OK) {
        status = llavamed_merge_all(&settings, &observer, outputs, args->n_outputs, &error);
    }
    if (status == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    if (status == LLAVAMED_OK && args->report != NULL) {
        (void)write_page(args, outputs, &error); /* the error is reported below */
    }
    const struct report_all report = {&settings, outputs, args->n_outputs, &error, program_peak_rss_bytes()};
    end_log(&log, &report);
    display_clear(&display);
    int exit_status = report_run(args, &report);
    for (size_t i = 0; i < args->n_outputs; i++) {
        llavamed_result_free(&outputs[i].result);
    }
    return exit_status;
}

/* The arguments were not understood. */
static int refuse(const struct apply_args *args, const struct llavamed_error *error)
{
    const struct llavamed_result result = {0};
    messages_error(stderr, error);
    if (!args->json) {
        return llavamed_exit_status(error);
    }
    if (args->several) {
        const struct report_all report = {&args->settings, NULL, 0, error, program_peak_rss_bytes()};
        report_print_json_all(stdout, &report);
    } else {
        const struct report report = {&args->settings, &result, error, program_peak_rss_bytes(), false};
        report_print_json(stdout, &report);
    }
    return program_finish_stdout(llavamed_exit_status(error));
}

int main(int argc, char *argv[])
{
    if (!program_occupy_descriptors()) {
        return 6;
    }
    struct apply_args args;
    struct llavamed_error error = {0};
    if (apply_args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return refuse(&args, &error);
    }
    switch (args.action) {
    case OPTIONS_HELP:
        options_print_help(&apply_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_HELP_ALL:
        options_print_help_all(&apply_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_VERSION:
        version_print(stdout);
        return program_finish_stdout(0);
    case OPTIONS_RUN:
        break;
    }
    return run(&args, argc, argv);
}
