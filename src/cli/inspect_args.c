/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_args.h"

#include <string.h>

#include "cli/messages.h"

enum inspect_option {
    INSPECT_OPTION_TENSORS,
    INSPECT_OPTION_DIGESTS,
    INSPECT_OPTION_STATS,
    INSPECT_OPTION_DIFF,
    INSPECT_OPTION_THREADS,
    INSPECT_OPTION_MAX_MEMORY,
    INSPECT_OPTION_PROGRESS,
    INSPECT_OPTION_QUIET,
    INSPECT_OPTION_JSON,
    INSPECT_OPTION_REPORT,
    INSPECT_OPTION_HELP,
    INSPECT_OPTION_HELP_ALL,
    INSPECT_OPTION_VERSION,
    INSPECT_OPTION_COUNT
};

static const struct option_choice inspect_progress_choices[] = {
    {"auto", DISPLAY_PROGRESS_AUTO},
    {"always", DISPLAY_PROGRESS_ALWAYS},
    {"never", DISPLAY_PROGRESS_NEVER},
    {NULL, 0},
};

static const struct option_row inspect_rows[INSPECT_OPTION_COUNT] = {
    {.id = INSPECT_OPTION_TENSORS, .name = "tensors", .help = "also list every tensor", .is_common = true},
    {.id = INSPECT_OPTION_DIGESTS,
     .name = "digests",
     .help = "read all and print a SHA-256 per tensor and of the model, instead of the table",
     .is_common = true},
    {.id = INSPECT_OPTION_STATS,
     .name = "stats",
     .help = "read all and print minimum, maximum, mean, RMS and counts per tensor, instead of the table",
     .is_common = true},
    {.id = INSPECT_OPTION_DIFF,
     .name = "diff",
     .value = "OTHER",
     .help = "read all of SOURCE and OTHER and print which tensors differ, and by how much",
     .is_common = true},
    {.id = INSPECT_OPTION_THREADS,
     .short_name = 'j',
     .name = "threads",
     .value = "N",
     .help = "workers for these [0: one per usable core]"},
    {.id = INSPECT_OPTION_MAX_MEMORY, .name = "max-memory", .value = "SIZE", .help = "buffers for these [256MiB]"},
    {.id = INSPECT_OPTION_PROGRESS,
     .name = "progress",
     .value = "auto|always|never",
     .choices = inspect_progress_choices,
     .help = "meter: auto on a terminal"},
    {.id = INSPECT_OPTION_QUIET, .short_name = 'q', .name = "quiet", .help = "print errors alone", .is_common = true},
    {.id = INSPECT_OPTION_JSON,
     .name = "json",
     .help = "one JSON document on stdout, on failure too",
     .is_common = true},
    {.id = INSPECT_OPTION_REPORT,
     .name = "report",
     .value = "FILE.html",
     .help = "with --stats: also write a page that shows them, tensor by tensor"},
    {.id = INSPECT_OPTION_HELP,
     .short_name = 'h',
     .name = "help",
     .help = "print this text",
     .action = OPTIONS_HELP,
     .is_common = true},
    {.id = INSPECT_OPTION_HELP_ALL,
     .name = "help-all",
     .help = "print all options, and what they are for",
     .is_common = true,
     .action = OPTIONS_HELP_ALL},
    {.id = INSPECT_OPTION_VERSION,
     .name = "version",
     .help = "print version, build, CPU path and libraries",
     .action = OPTIONS_VERSION,
     .is_common = true},
};

const struct option_table inspect_options = {
    .rows = inspect_rows,
    .n_rows = INSPECT_OPTION_COUNT,
    .usage = "Usage: llavamed-inspect SOURCE [options]\n"
             "       llavamed-inspect SOURCE --diff OTHER [options]\n",
    .before = "Lists what a checkpoint holds, from its headers, or digests or\n"
              "statistics of its tensors; compares it with another.\n",
    .after = "A SOURCE is a directory in Hugging Face form or in Meta's, a .zip of the first,\n"
             "a weights file, or ORG/NAME[@REVISION] in the local Hugging Face cache.\n",
    .more = "A SIZE is in bytes or has a unit: KB MB GB TB (decimal), KiB MiB GiB TiB.\n"
            "Exit status: 0 done, 1 a checksum or --diff differs, 2 usage, 3 input,\n"
            "6 stopped part-way, 70 bug, 128+N signal N.\n",
};

static enum llavamed_status take_inspect_option(void *context, const struct option_given *given,
                                                struct llavamed_error *error)
{
    struct inspect_args *args = context;
    switch (given->row->id) {
    case INSPECT_OPTION_TENSORS:
        args->tensors = true;
        break;
    case INSPECT_OPTION_DIGESTS:
        args->settings.digests = true;
        break;
    case INSPECT_OPTION_STATS:
        args->settings.stats = true;
        break;
    case INSPECT_OPTION_DIFF:
        args->other = given->value;
        break;
    case INSPECT_OPTION_REPORT:
        args->report = given->value;
        break;
    case INSPECT_OPTION_THREADS:
        return option_take_threads(given, &args->settings.n_threads, error);
    case INSPECT_OPTION_MAX_MEMORY:
        return option_take_size(given, &args->settings.max_memory_bytes, error);
    case INSPECT_OPTION_PROGRESS:
        args->progress = (enum display_progress)given->chosen;
        break;
    case INSPECT_OPTION_QUIET:
        args->quiet = true;
        break;
    case INSPECT_OPTION_JSON:
        args->json = true;
        break;
    default:
        break;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status take_source(void *context, const char *text, struct llavamed_error *error)
{
    struct inspect_args *args = context;
    if (args->settings.source != NULL) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "more than one SOURCE (got '%.200s' and '%.200s')",
                        args->settings.source, text);
    }
    args->settings.source = text;
    return LLAVAMED_OK;
}

/* What no single option shows. */
static enum llavamed_status check_inspect_args(const struct inspect_args *args, struct llavamed_error *error)
{
    if (args->settings.source == NULL || args->settings.source[0] == '\0') {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "no SOURCE is given");
        cli_hint(error, "llavamed-inspect SOURCE; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    const struct llavamed_inspect_settings *settings = &args->settings;
    if (args->quiet && !args->json && (args->tensors || settings->stats)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->tensors ? "--tensors" : "--stats");
    }
    if (args->quiet && args->progress == DISPLAY_PROGRESS_ALWAYS) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts --progress always");
    }
    if (args->other != NULL && (settings->digests || settings->stats)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "--diff contradicts %s",
                        settings->digests ? "--digests" : "--stats");
    }
    if (args->report != NULL && !settings->stats) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "--report needs --stats");
    }
    if (!args->json && args->tensors + settings->digests + settings->stats > 1) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "only one of --tensors, --digests and --stats can be printed");
        cli_hint(error, "--json has all that is asked for");
        return LLAVAMED_STATUS_USAGE;
    }
    return LLAVAMED_OK;
}

enum llavamed_status inspect_args_parse(int argc, char *const argv[], struct inspect_args *args,
                                        struct llavamed_error *error)
{
    memset(args, 0, sizeof *args);
    llavamed_inspect_settings_init(&args->settings);
    const struct option_sink sink = {args, take_inspect_option, take_source};
    enum llavamed_status status = options_parse(&inspect_options, argc, argv, &sink, &args->action, error);
    if (status == LLAVAMED_OK && args->action == OPTIONS_RUN) {
        status = check_inspect_args(args, error);
    }
    args->diffs = args->other != NULL || options_count(&inspect_options, argc, argv, INSPECT_OPTION_DIFF) > 0;
    args->json = args->json || options_count(&inspect_options, argc, argv, INSPECT_OPTION_JSON) > 0;
    return status;
}
