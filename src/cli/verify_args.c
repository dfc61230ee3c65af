/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verify_args.h"

#include <string.h>

#include "cli/messages.h"
#include "cli/verify_options.h"

static enum llavamed_status take_verify_option(void *context, const struct option_given *given,
                                               struct llavamed_error *error)
{
    struct verify_args *args = context;
    switch (given->row->id) {
    case VERIFY_OPTION_SUMS:
        args->settings.sums = given->value;
        break;
    case VERIFY_OPTION_IGNORE_EXTRA:
        args->settings.ignore_extra = true;
        break;
    case VERIFY_OPTION_THREADS:
        return option_take_threads(given, &args->settings.n_threads, error);
    case VERIFY_OPTION_MAX_MEMORY:
        return option_take_size(given, &args->settings.max_memory_bytes, error);
    case VERIFY_OPTION_PROGRESS:
        args->progress = (enum display_progress)given->chosen;
        break;
    case VERIFY_OPTION_QUIET:
        args->quiet = true;
        break;
    case VERIFY_OPTION_VERBOSE:
        args->verbose = true;
        break;
    case VERIFY_OPTION_JSON:
        args->json = true;
        break;
    default: /* options of a later version are refused before */
        break;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status take_directory(void *context, const char *text, struct llavamed_error *error)
{
    struct verify_args *args = context;
    if (text[0] == '\0') {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "the name of the directory is empty (want DIR)");
    }
    if (args->settings.dir != NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "unexpected argument (got '%.200s' after '%.200s')", text,
                       args->settings.dir);
        cli_hint(error, "one directory at a time: llavamed-verify DIR");
        return LLAVAMED_STATUS_USAGE;
    }
    args->settings.dir = text;
    return LLAVAMED_OK;
}

static enum llavamed_status check_together(const struct verify_args *args, struct llavamed_error *error)
{
    if (args->settings.dir == NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "argument missing (want DIR)");
        cli_hint(error, "llavamed-verify DIR; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    if (args->quiet && (args->verbose || args->progress == DISPLAY_PROGRESS_ALWAYS)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->verbose ? "-v" : "--progress always");
    }
    return LLAVAMED_OK;
}

enum llavamed_status verify_args_parse(int argc, char *const argv[], struct verify_args *args,
                                       struct llavamed_error *error)
{
    memset(args, 0, sizeof *args);
    llavamed_verify_settings_init(&args->settings);
    const struct option_sink sink = {args, take_verify_option, take_directory};
    enum llavamed_status status = options_parse(&verify_options, argc, argv, &sink, &args->action, error);
    if (status == LLAVAMED_OK && args->action == OPTIONS_RUN) {
        status = check_together(args, error);
    }
    if (status != LLAVAMED_OK) {
        args->json = args->json || options_count(&verify_options, argc, argv, VERIFY_OPTION_JSON) > 0;
    }
    return status;
}
