/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-inspect: what a checkpoint holds. Arguments in, one library call, a report out. */
#include <string.h>

#include "cli/display.h"
#include "cli/inspect_args.h"
#include "cli/inspect_report.h"
#include "cli/inspect_table.h"
#include "cli/messages.h"
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

int main(int argc, char *argv[])
{
    if (!program_occupy_descriptors()) {
        return 6;
    }
    struct inspect_args args;
    struct llavamed_inspect_result result = {0};
    struct llavamed_error error = {0};
    if (inspect_args_parse(argc, argv, &args, &error) != LLAVAMED_OK) {
        return report_end(&args, &result, &error);
    }
    switch (args.action) {
    case OPTIONS_HELP:
        options_print_help(&inspect_options, stdout);
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
    if (llavamed_inspect(&args.settings, &observer, &result, &error) == LLAVAMED_OK) {
        memset(&error, 0, sizeof error);
    }
    display_clear(&display);
    int exit_status = report_end(&args, &result, &error);
    llavamed_inspect_result_free(&result);
    return exit_status;
}
