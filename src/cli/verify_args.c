/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verify_args.h"

#include <string.h>

#include "cli/messages.h"
#include "cli/verify_options.h"

static enum llavamed_status take_threads(struct verify_args *args, const struct option_given *given,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = option_take_threads(given, &args->settings.n_threads, error);
    args->identify.n_threads = args->settings.n_threads;
    return status;
}

static enum llavamed_status take_verify_option(void *context, const struct option_given *given,
                                               struct llavamed_error *error)
{
    struct verify_args *args = context;
    switch (given->row->id) {
    case VERIFY_OPTION_SUMS:
        args->settings.sums = given->value;
        break;
    case VERIFY_OPTION_PUBLIC_KEY:
        args->settings.public_key = given->value;
        break;
    case VERIFY_OPTION_REPORT:
        args->report = given->value;
        args->settings.tensor_reports = true;
        break;
    case VERIFY_OPTION_IGNORE_EXTRA:
        args->settings.ignore_extra = true;
        break;
    case VERIFY_OPTION_BASE:
        args->settings.base = given->value;
        break;
    case VERIFY_OPTION_DELTA:
        args->settings.delta = given->value;
        break;
    case VERIFY_OPTION_AGAINST:
        args->settings.against = given->value;
        break;
    case VERIFY_OPTION_DTYPE:
        args->settings.dtype = (enum llavamed_result_dtype)given->chosen;
        args->settings.has_dtype = true;
        break;
    case VERIFY_OPTION_INV_FREQ:
        args->settings.inv_freq = (enum llavamed_inv_freq)given->chosen;
        args->settings.has_inv_freq = true;
        break;
    case VERIFY_OPTION_CPU:
        args->settings.cpu = (enum llavamed_cpu)given->chosen;
        break;
    case VERIFY_OPTION_IDENTIFY:
        args->identify.source = given->value;
        break;
    case VERIFY_OPTION_THREADS:
        return take_threads(args, given, error);
    case VERIFY_OPTION_MAX_MEMORY:
        args->has_max_memory = true;
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

/* Both sides of a merge, and its options with them alone. */
static enum llavamed_status check_comparison(const struct llavamed_verify_settings *settings,
                                             struct llavamed_error *error)
{
    bool merges = settings->base != NULL || settings->delta != NULL;
    if (merges && settings->against != NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "--against contradicts %s",
                       settings->base != NULL ? "--base" : "--delta");
        cli_hint(error, "one comparison at a time");
        return LLAVAMED_STATUS_USAGE;
    }
    if (merges && (settings->base == NULL || settings->delta == NULL)) {
        const char *missing = settings->base == NULL ? "--base" : "--delta";
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "%s missing (--base and --delta go together)", missing);
        cli_hint(error, "llavamed-verify DIR --base SOURCE --delta SOURCE");
        return LLAVAMED_STATUS_USAGE;
    }
    const char *option = settings->has_dtype                       ? "--dtype"
                         : settings->has_inv_freq                  ? "--inv-freq"
                         : settings->cpu != LLAVAMED_CPU_BEST      ? "--cpu"
                                                                   : NULL;
    if (!merges && option != NULL) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s is an option of the merge (want --base and --delta with it)",
                        option);
    }
    return LLAVAMED_OK;
}

/* A source is looked at by itself. */
static enum llavamed_status check_identify(const struct verify_args *args, struct llavamed_error *error)
{
    const struct llavamed_verify_settings *settings = &args->settings;
    const char *other = settings->dir != NULL       ? "a directory"
                        : settings->sums != NULL    ? "--sums"
                        : settings->ignore_extra    ? "--ignore-extra"
                        : settings->base != NULL    ? "--base"
                        : settings->delta != NULL   ? "--delta"
                        : settings->against != NULL ? "--against"
                        : settings->has_dtype       ? "--dtype"
                        : settings->has_inv_freq    ? "--inv-freq"
                        : args->has_max_memory      ? "--max-memory"
                        : settings->cpu != LLAVAMED_CPU_BEST ? "--cpu"
                                                             : NULL;
    if (other == NULL) {
        return LLAVAMED_OK;
    }
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "--identify goes without %s", other);
    cli_hint(error, "llavamed-verify --identify SOURCE");
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status check_together(const struct verify_args *args, struct llavamed_error *error)
{
    bool identifies = args->identify.source != NULL;
    if (args->settings.dir == NULL && !identifies) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "argument missing (want DIR)");
        cli_hint(error, "llavamed-verify DIR; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    enum llavamed_status status =
        identifies ? check_identify(args, error) : check_comparison(&args->settings, error);
    if (status != LLAVAMED_OK) {
        return status;
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
    llavamed_identify_settings_init(&args->identify);
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
