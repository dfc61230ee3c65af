/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/apply_args.h"

#include <string.h>

#include "cli/apply_options.h"
#include "cli/messages.h"
#include "cli/part_option.h"
#include "cli/text.h"

/* A --delta or an --out, in the order in which they came. */
struct pair_part {
    bool is_out;
    const char *value;
};

struct reader {
    struct pair_part parts[2 * LLAVAMED_OUTPUTS_MAX];
    size_t n_parts;
    struct apply_args *args;
};

/* ---- Options ----------------------------------------------------------------------------------------------- */

/* What a flag sets; NULL for options with a value. */
static bool *flag_of(struct apply_args *args, enum apply_option id)
{
    switch ((int)id) {
    case APPLY_OPTION_ALLOW_UNKNOWN_BASE:
        return &args->settings.allow_unknown_base;
    case APPLY_OPTION_FORCE:
        return &args->settings.force;
    case APPLY_OPTION_NO_RESUME:
        return &args->settings.no_resume;
    case APPLY_OPTION_DIGESTS:
        return &args->settings.digests;
    case APPLY_OPTION_FINISH:
        return &args->finish;
    case APPLY_OPTION_NO_FINISH:
        return &args->settings.no_finish;
    case APPLY_OPTION_DRY_RUN:
        return &args->settings.dry_run;
    case APPLY_OPTION_QUIET:
        return &args->quiet;
    case APPLY_OPTION_VERBOSE:
        return &args->verbose;
    case APPLY_OPTION_JSON:
        return &args->json;
    default:
        return NULL;
    }
}

static enum llavamed_status note_pair_part(struct reader *reader, bool is_out, const char *value,
                                           struct llavamed_error *error)
{
    struct llavamed_settings *settings = &reader->args->settings;
    const char **first = is_out ? &settings->out : &settings->delta;
    *first = *first == NULL ? value : *first;
    if (reader->n_parts == sizeof reader->parts / sizeof reader->parts[0]) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE,
                        "too many outputs (want at most %d pairs of --delta, --out)", LLAVAMED_OUTPUTS_MAX);
    }
    reader->parts[reader->n_parts++] = (struct pair_part){is_out, value};
    return LLAVAMED_OK;
}

static enum llavamed_status take_apply_option(void *context, const struct option_given *given,
                                              struct llavamed_error *error)
{
    struct reader *reader = context;
    reader->args->not_for_finish = part_option_for_finish((enum apply_option)given->row->id)
                                       ? reader->args->not_for_finish
                                       : given->row->name;
    struct apply_args *args = reader->args;
    struct llavamed_settings *settings = &args->settings;
    bool *flag = flag_of(args, (enum apply_option)given->row->id);
    if (flag != NULL) {
        *flag = true;
        return LLAVAMED_OK;
    }
    switch (given->row->id) {
    case APPLY_OPTION_BASE:
        settings->base = given->value;
        break;
    case APPLY_OPTION_DELTA:
    case APPLY_OPTION_OUT:
        return note_pair_part(reader, given->row->id == APPLY_OPTION_OUT, given->value, error);
    case APPLY_OPTION_PART:
        return part_option_take(given, settings, error);
    case APPLY_OPTION_REPORT:
        args->report = given->value;
        settings->tensor_reports = true;
        break;
    case APPLY_OPTION_LOG_JSON:
        args->log_json = given->value;
        break;
    case APPLY_OPTION_SUMS:
        settings->sums = given->value;
        break;
    case APPLY_OPTION_SIGN:
        settings->sign = given->value;
        break;
    case APPLY_OPTION_FORMAT:
        settings->format = (enum llavamed_format)given->chosen;
        break;
    case APPLY_OPTION_TORCH_PROFILE:
        settings->torch_profile = (enum llavamed_torch_profile)given->chosen;
        break;
    case APPLY_OPTION_DTYPE:
        settings->dtype = (enum llavamed_result_dtype)given->chosen;
        break;
    case APPLY_OPTION_INV_FREQ:
        settings->inv_freq = (enum llavamed_inv_freq)given->chosen;
        break;
    case APPLY_OPTION_VERIFY:
        settings->verify = (enum llavamed_verify)given->chosen;
        break;
    case APPLY_OPTION_CPU:
        settings->cpu = (enum llavamed_cpu)given->chosen;
        break;
    case APPLY_OPTION_PROGRESS:
        args->progress = (enum display_progress)given->chosen;
        break;
    case APPLY_OPTION_MAX_SHARD_SIZE:
        return option_take_size(given, &settings->max_shard_bytes, error);
    case APPLY_OPTION_MAX_MEMORY:
        return option_take_size(given, &settings->max_memory_bytes, error);
    case APPLY_OPTION_THREADS:
        return option_take_threads(given, &settings->n_threads, error);
    default: /* flags are taken above; options of a later version are refused before */
        break;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status refuse_argument(void *context, const char *text, struct llavamed_error *error)
{
    (void)context;
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "unexpected argument (got '%.200s')", text);
    cli_hint(error, "sources and output are options: --base SOURCE --delta SOURCE --out DIR");
    return LLAVAMED_STATUS_USAGE;
}

/* ---- Arguments --------------------------------------------------------------------------------------------- */

static enum llavamed_status fail_unpaired(const struct pair_part *part, struct llavamed_error *error)
{
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE,
                   part->is_out ? "--out %.200s: no --delta stands before it that it could be of"
                                : "--delta %.200s: no --out follows it before the next --delta or the end",
                   part->value);
    cli_hint(error, "several outputs are pairs: --delta SOURCE1 --out DIR1 --delta SOURCE2 --out DIR2");
    return LLAVAMED_STATUS_USAGE;
}

/* Each of several --delta is followed by its --out. */
static enum llavamed_status check_pairs(const struct reader *reader, struct apply_args *args,
                                        struct llavamed_error *error)
{
    const struct pair_part *parts = reader->parts;
    if (reader->n_parts <= 2 && args->settings.delta != NULL && args->settings.out != NULL) {
        args->deltas[0] = args->settings.delta;
        args->outs[0] = args->settings.out;
        args->n_outputs = 1;
        return LLAVAMED_OK;
    }
    for (size_t i = 0; i < reader->n_parts; i += 2) {
        if (parts[i].is_out || i + 1 == reader->n_parts || !parts[i + 1].is_out) {
            return fail_unpaired(&parts[i], error);
        }
        args->deltas[i / 2] = parts[i].value;
        args->outs[i / 2] = parts[i + 1].value;
    }
    args->n_outputs = reader->n_parts / 2;
    return LLAVAMED_OK;
}

/* What no single option shows. */
static enum llavamed_status check_together(const struct reader *reader, struct apply_args *args,
                                           struct llavamed_error *error)
{
    const struct llavamed_settings *settings = &args->settings;
    enum llavamed_status status = part_option_check(args, reader->n_parts, error);
    if (status != LLAVAMED_OK || args->finish) {
        args->outs[0] = settings->out;
        args->n_outputs = status == LLAVAMED_OK ? 1 : 0;
        return status;
    }
    char missing[64] = "";
    size_t used = 0;
    const char *const values[] = {settings->base, settings->delta, settings->out};
    for (size_t i = 0; i < 3; i++) {
        if (values[i] == NULL) {
            cli_format(missing + used, sizeof missing - used, "%s--%s", used == 0 ? "" : ", ",
                       apply_options.rows[i].name);
            used = strlen(missing);
        }
    }
    if (used > 0) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "option missing (want %s)", missing);
        cli_hint(error, "llavamed-apply --base SOURCE --delta SOURCE --out DIR; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    if (args->quiet && (args->verbose || args->progress == DISPLAY_PROGRESS_ALWAYS)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->verbose ? "-v" : "--progress always");
    }
    if (args->report != NULL && settings->dry_run) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-n contradicts --report");
    }
    return check_pairs(reader, args, error);
}

/* What the options would have told that come after the one that is wrong: in which form to report it. */
static void look_for_form(int argc, char *const argv[], struct apply_args *args)
{
    args->json = args->json || options_count(&apply_options, argc, argv, APPLY_OPTION_JSON) > 0;
    args->several = options_count(&apply_options, argc, argv, APPLY_OPTION_DELTA) > 1 ||
                    options_count(&apply_options, argc, argv, APPLY_OPTION_OUT) > 1;
}

enum llavamed_status apply_args_parse(int argc, char *const argv[], struct apply_args *args,
                                      struct llavamed_error *error)
{
    memset(args, 0, sizeof *args);
    llavamed_settings_init(&args->settings);
    struct reader reader = {.args = args};
    const struct option_sink sink = {&reader, take_apply_option, refuse_argument};
    enum llavamed_status status = options_parse(&apply_options, argc, argv, &sink, &args->action, error);
    if (status == LLAVAMED_OK && args->action == OPTIONS_RUN) {
        status = check_together(&reader, args, error);
    }
    args->several = args->n_outputs > 1;
    if (status != LLAVAMED_OK) {
        args->n_outputs = 0;
        look_for_form(argc, argv, args);
    }
    return status;
}
