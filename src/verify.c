/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-verify: is a directory what it says? Arguments in, one library call, a report out. */
#include <string.h>

#include "cli/display.h"
#include "cli/identify_report.h"
#include "cli/messages.h"
#include "cli/page_file.h"
#include "cli/page_verify.h"
#include "cli/program.h"
#include "cli/verify_args.h"
#include "cli/verify_options.h"
#include "cli/verify_report.h"
#include "cli/version.h"

const char program_name[] = "llavamed-verify";

/* Everything that is printed once the run has ended, well or not. */
static int report_run(const struct verify_args *args, const struct verify_report *report)
{
    int exit_status = llavamed_exit_status(report->error);
    bool prints_findings = !args->json && report->result->n_findings > 0;
    if (prints_findings) {
        verify_report_print_findings(stdout, report->result);
        (void)fflush(stdout);
    }
    if (exit_status != 0) {
        messages_error(stderr, report->error);
    } else if (!args->quiet) {
        verify_report_print_summary(stderr, report);
    }
    if (args->json) {
        verify_report_print_json(stdout, report);
    }
    return prints_findings || args->json ? program_finish_stdout(exit_status) : exit_status;
}

/* Before the work begins: whether there can be a page. */
static enum llavamed_status check_page(const struct verify_args *args, struct llavamed_error *error)
{
    const char *const apart[] = {args->settings.dir, args->settings.sums};
    return args->report == NULL ? LLAVAMED_OK : page_file_check(args->report, apart, 2, error);
}

/* The verdict on the directory goes before what may be wrong with the page. */
static void write_page(const struct verify_args *args, const struct llavamed_verify_result *result,
                       struct llavamed_error *error)
{
    struct llavamed_error failure = {0};
    if (page_verify_write(args->report, &args->settings, result, error, &failure) == LLAVAMED_OK) {
        return;
    }
    if (error->status == LLAVAMED_OK) {
        *error = failure;
    } else {
        messages_error(stderr, &failure);
    }
}

static int run(const struct verify_args *args)
{
    struct display display;
    display_init(&display, args->progress, args->quiet, args->verbose);
    const struct llavamed_observer observer = display_observer(&display);
    struct llavamed_verify_settings settings = args->settings;
    settings.stop_signal = program_catch_signals();
    struct llavamed_verify_result result = {0};
    struct llavamed_error error = {0};
    enum llavamed_status status = check_page(args, &error);
    bool has_run = status == LLAVAMED_OK;
    if (has_run) {
        status = llavamed_verify(&settings, &observer, &result, &error);
    }
    if (status == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    if (has_run && args->report != NULL && page_verify_has_verdict(&result, &error)) {
        write_page(args, &result, &error);
    }
    display_clear(&display);
    const struct verify_report report = {&settings, &result, &error, program_peak_rss_bytes()};
    int exit_status = report_run(args, &report);
    llavamed_verify_result_free(&result);
    return exit_status;
}

/* With --identify: a source, not a directory. */
static int identify(const struct verify_args *args)
{
    struct display display;
    display_init(&display, args->progress, args->quiet, args->verbose);
    const struct llavamed_observer observer = display_observer(&display);
    struct llavamed_identify_settings settings = args->identify;
    settings.stop_signal = program_catch_signals();
    struct llavamed_identify_result result = {0};
    struct llavamed_error error = {0};
    if (llavamed_identify(&settings, &observer, &result, &error) == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    display_clear(&display);
    const struct identify_report report = {settings.source, &result, &error, program_peak_rss_bytes()};
    int exit_status = llavamed_exit_status(&error);
    bool prints = args->json || identify_report_has_verdict(&report);
    if (args->json) {
        identify_report_print_json(stdout, &report);
    } else if (prints) {
        identify_report_print_lines(stdout, &report);
    }
    (void)fflush(stdout);
    if (exit_status != 0) {
        messages_error(stderr, &error);
        identify_report_print_remarks(stderr, &report);
    }
    llavamed_identify_result_free(&result);
    return prints ? program_finish_stdout(exit_status) : exit_status;
}

/* The arguments were not understood. */
static int refuse(const struct verify_args *args, const struct llavamed_error *error)
{
    const struct llavamed_verify_result result = {0};
    const struct verify_report report = {&args->settings, &result, error, program_peak_rss_bytes()};
    messages_error(stderr, error);
    if (!args->json) {
        return llavamed_exit_status(error);
    }
    verify_report_print_json(stdout, &report);
    return program_finish_stdout(llavamed_exit_status(error));
}

int main(int argc, char *argv[])
{
    if (!program_occupy_descriptors()) {
        return 6;
    }
    struct verify_args args;
    struct llavamed_error error = {0};
    if (verify_args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return refuse(&args, &error);
    }
    switch (args.action) {
    case OPTIONS_HELP:
        options_print_help(&verify_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_HELP_ALL:
        options_print_help_all(&verify_options, stdout);
        return program_finish_stdout(0);
    case OPTIONS_VERSION:
        version_print(stdout);
        return program_finish_stdout(0);
    case OPTIONS_RUN:
        break;
    }
    return args.identify.source != NULL ? identify(&args) : run(&args);
}
