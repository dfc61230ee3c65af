/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/make_delta_args.h"

#include <string.h>

#include "cli/make_delta_options.h"
#include "cli/messages.h"
#include "cli/text.h"

/* What a flag sets; NULL for options with a value. */
static bool *flag_of(struct make_delta_args *args, int id)
{
    switch (id) {
    case MAKE_DELTA_OPTION_EXACT:
        return &args->settings.exact;
    case MAKE_DELTA_OPTION_FORCE:
        return &args->settings.force;
    case MAKE_DELTA_OPTION_NO_RESUME:
        return &args->settings.no_resume;
    case MAKE_DELTA_OPTION_DRY_RUN:
        return &args->settings.dry_run;
    case MAKE_DELTA_OPTION_QUIET:
        return &args->quiet;
    case MAKE_DELTA_OPTION_VERBOSE:
        return &args->verbose;
    case MAKE_DELTA_OPTION_JSON:
        return &args->json;
    default:
        return NULL;
    }
}

static enum llavamed_status take_make_delta_option(void *context, const struct option_given *given,
                                                   struct llavamed_error *error)
{
    struct make_delta_args *args = context;
    struct llavamed_settings *settings = &args->settings;
    bool *flag = flag_of(args, given->row->id);
    if (flag != NULL) {
        *flag = true;
        return LLAVAMED_OK;
    }
    switch (given->row->id) {
    case MAKE_DELTA_OPTION_BASE:
        settings->base = given->value;
        break;
    case MAKE_DELTA_OPTION_TARGET:
        settings->target = given->value;
        break;
    case MAKE_DELTA_OPTION_OUT:
        settings->out = given->value;
        break;
    case MAKE_DELTA_OPTION_LOG_JSON:
        args->log_json = given->value;
        break;
    case MAKE_DELTA_OPTION_SUMS:
        settings->sums = given->value;
        break;
    case MAKE_DELTA_OPTION_FORMAT:
        settings->format = (enum llavamed_format)given->chosen;
        break;
    case MAKE_DELTA_OPTION_TORCH_PROFILE:
        settings->torch_profile = (enum llavamed_torch_profile)given->chosen;
        break;
    case MAKE_DELTA_OPTION_DTYPE:
        settings->dtype = (enum llavamed_result_dtype)given->chosen;
        break;
    case MAKE_DELTA_OPTION_INV_FREQ:
        settings->inv_freq = (enum llavamed_inv_freq)given->chosen;
        break;
    case MAKE_DELTA_OPTION_VERIFY:
        settings->verify = (enum llavamed_verify)given->chosen;
        break;
    case MAKE_DELTA_OPTION_CPU:
        settings->cpu = (enum llavamed_cpu)given->chosen;
        break;
    case MAKE_DELTA_OPTION_PROGRESS:
        args->progress = (enum display_progress)given->chosen;
        break;
    case MAKE_DELTA_OPTION_MAX_SHARD_SIZE:
        return option_take_size(given, &settings->max_shard_bytes, error);
    case MAKE_DELTA_OPTION_MAX_MEMORY:
        return option_take_size(given, &settings->max_memory_bytes, error);
    case MAKE_DELTA_OPTION_THREADS:
        return option_take_threads(given, &settings->n_threads, error);
    default: /* options of a later version are refused before */
        break;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status refuse_argument(void *context, const char *text, struct llavamed_error *error)
{
    (void)context;
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "unexpected argument (got '%.200s')", text);
    cli_hint(error, "sources and output are options: --base SOURCE --target SOURCE --out DIR");
    return LLAVAMED_STATUS_USAGE;
}

/* What no single option shows. */
static enum llavamed_status check_together(const struct make_delta_args *args, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = &args->settings;
    const char *const values[] = {settings->base, settings->target, settings->out};
    char missing[64] = "";
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        size_t used = strlen(missing);
        if (values[i] == NULL) {
            cli_format(missing + used, sizeof missing - used, "%s--%s", used == 0 ? "" : ", ",
                       make_delta_options.rows[i].name);
        }
    }
    if (missing[0] != '\0') {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "option missing (want %s)", missing);
        cli_hint(error, "llavamed-make-delta --base SOURCE --target SOURCE --out DIR; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    if (args->quiet && (args->verbose || args->progress == DISPLAY_PROGRESS_ALWAYS)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->verbose ? "-v" : "--progress always");
    }
    return LLAVAMED_OK;
}

enum llavamed_status make_delta_args_parse(int argc, char *const argv[], struct make_delta_args *args,
                                           struct llavamed_error *error)
{
    memset(args, 0, sizeof *args);
    llavamed_settings_init(&args->settings);
    const struct option_sink sink = {args, take_make_delta_option, refuse_argument};
    enum llavamed_status status = options_parse(&make_delta_options, argc, argv, &sink, &args->action, error);
    if (status == LLAVAMED_OK && args->action == OPTIONS_RUN) {
        status = check_together(args, error);
    }
    if (status != LLAVAMED_OK) {
        args->json = args->json || options_count(&make_delta_options, argc, argv, MAKE_DELTA_OPTION_JSON) > 0;
    }
    return status;
}
