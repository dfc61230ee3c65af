/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/part_option.h"

#include <stdlib.h>
#include <string.h>

#include "cli/messages.h"

#define DIGITS_MAX 9

/* Decimal digits up to `end`; false: something else. */
static bool read_number(const char *text, const char *end, unsigned *number)
{
    unsigned value = 0;
    if (text == end || end - text > DIGITS_MAX) {
        return false;
    }
    for (const char *at = text; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(*at - '0');
    }
    *number = value;
    return true;
}

/* The number in a variable of the environment; false: it is not there, or is none. */
static bool read_variable(const char *name, unsigned *number)
{
    const char *text = getenv(name);
    return text != NULL && read_number(text, text + strlen(text), number);
}

/* ---- auto ---- */

static enum llavamed_status fail_array(struct llavamed_error *error)
{
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE,
                   "--part auto: the variables of the job array do not fit together (SLURM_ARRAY_TASK_ID=%.20s, "
                   "SLURM_ARRAY_TASK_MIN=%.20s, SLURM_ARRAY_TASK_COUNT=%.20s, SLURM_ARRAY_TASK_STEP=%.20s)",
                   getenv("SLURM_ARRAY_TASK_ID"), getenv("SLURM_ARRAY_TASK_MIN"), getenv("SLURM_ARRAY_TASK_COUNT"),
                   getenv("SLURM_ARRAY_TASK_STEP") == NULL ? "" : getenv("SLURM_ARRAY_TASK_STEP"));
    cli_hint(error, "the array's numbers are to be evenly spaced (--array=1-9, --array=0-8:2); else give --part K/N");
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status take_array(struct llavamed_settings *settings, struct llavamed_error *error)
{
    unsigned id = 0;
    unsigned min = 0;
    unsigned count = 0;
    unsigned step = 1;
    bool has_step = getenv("SLURM_ARRAY_TASK_STEP") != NULL;
    if (!read_variable("SLURM_ARRAY_TASK_ID", &id) || !read_variable("SLURM_ARRAY_TASK_MIN", &min) ||
        !read_variable("SLURM_ARRAY_TASK_COUNT", &count) ||
        (has_step && !read_variable("SLURM_ARRAY_TASK_STEP", &step)) || step == 0 || id < min ||
        (id - min) % step != 0 || (id - min) / step >= count) {
        return fail_array(error);
    }
    settings->part = (id - min) / step + 1;
    settings->n_parts = count;
    return LLAVAMED_OK;
}

static enum llavamed_status take_auto(struct llavamed_settings *settings, struct llavamed_error *error)
{
    unsigned rank = 0;
    unsigned count = 0;
    bool in_array = getenv("SLURM_ARRAY_TASK_ID") != NULL && getenv("SLURM_ARRAY_TASK_MIN") != NULL &&
                    getenv("SLURM_ARRAY_TASK_COUNT") != NULL;
    if (in_array) {
        return take_array(settings, error);
    }
    if (!read_variable("SLURM_PROCID", &rank) || !read_variable("SLURM_NTASKS", &count) || rank >= count) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE,
                       "--part auto: this is no task of a Slurm job: neither SLURM_ARRAY_TASK_ID, _MIN and _COUNT nor "
                       "SLURM_PROCID and SLURM_NTASKS tell which part it is");
        cli_hint(error, "give --part K/N, or start it by sbatch --array or srun");
        return LLAVAMED_STATUS_USAGE;
    }
    settings->part = rank + 1;
    settings->n_parts = count;
    return LLAVAMED_OK;
}

/* ---- Options ---- */

static enum llavamed_status check_range(const struct option_given *given, const struct llavamed_settings *settings,
                                        struct llavamed_error *error)
{
    if (settings->part >= 1 && settings->part <= settings->n_parts && settings->n_parts <= LLAVAMED_PARTS_MAX) {
        return LLAVAMED_OK;
    }
    return cli_fail(error, LLAVAMED_STATUS_USAGE,
                    "%s: no such part (got %u/%u, want K/N with K from 1 to N, N up to %d)", given->spelled,
                    settings->part, settings->n_parts, LLAVAMED_PARTS_MAX);
}

enum llavamed_status part_option_take(const struct option_given *given, struct llavamed_settings *settings,
                                      struct llavamed_error *error)
{
    const char *slash = strchr(given->value, '/');
    if (strcmp(given->value, "auto") == 0) {
        enum llavamed_status status = take_auto(settings, error);
        return status == LLAVAMED_OK ? check_range(given, settings, error) : status;
    }
    if (slash == NULL || !read_number(given->value, slash, &settings->part) ||
        !read_number(slash + 1, slash + strlen(slash), &settings->n_parts)) {
        settings->part = 0;
        settings->n_parts = 0;
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: not a part (got '%.100s', want K/N or auto)", given->spelled,
                       given->value);
        cli_hint(error, "--part 1/4 to --part 4/4 make a merge in four parts");
        return LLAVAMED_STATUS_USAGE;
    }
    return check_range(given, settings, error);
}

bool part_option_for_finish(enum apply_option id)
{
    static const enum apply_option ids[] = {
        APPLY_OPTION_OUT,     APPLY_OPTION_FINISH,   APPLY_OPTION_FORCE, APPLY_OPTION_SIGN,    APPLY_OPTION_DRY_RUN,
        APPLY_OPTION_THREADS, APPLY_OPTION_PROGRESS, APPLY_OPTION_QUIET, APPLY_OPTION_VERBOSE, APPLY_OPTION_JSON,
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static enum llavamed_status fail_together(const char *what, const char *hint, struct llavamed_error *error)
{
    (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "%s", what);
    cli_hint(error, "%s", hint);
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status check_finish(const struct apply_args *args, size_t n_pair_parts,
                                         struct llavamed_error *error)
{
    if (args->not_for_finish != NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "--finish goes without --%s", args->not_for_finish);
        cli_hint(error, "llavamed-apply --finish --out DIR: all else is known from the parts");
        return LLAVAMED_STATUS_USAGE;
    }
    if (n_pair_parts != 1) {
        return fail_together(n_pair_parts == 0 ? "option missing (want --out)" : "--finish takes one --out",
                             "llavamed-apply --finish --out DIR", error);
    }
    if (args->quiet && (args->verbose || args->progress == DISPLAY_PROGRESS_ALWAYS)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->verbose ? "-v" : "--progress always");
    }
    return LLAVAMED_OK;
}

enum llavamed_status part_option_check(const struct apply_args *args, size_t n_pair_parts,
                                       struct llavamed_error *error)
{
    const struct llavamed_settings *settings = &args->settings;
    if (args->finish) {
        return check_finish(args, n_pair_parts, error);
    }
    if (settings->no_finish && settings->n_parts == 0) {
        return fail_together("--no-finish is of a part", "it goes with --part", error);
    }
    if (settings->n_parts <= 1 && !settings->no_finish) {
        return LLAVAMED_OK; /* a run as any other */
    }
    if (n_pair_parts > 2) {
        return fail_together("--part makes one output", "give each --delta its own command with --part", error);
    }
    if (args->report != NULL) {
        return fail_together("--part contradicts --report",
                             "llavamed-inspect --stats --report makes a page of the output", error);
    }
    if (settings->sign != NULL) {
        return fail_together("--part contradicts --sign",
                             "--sign goes with --finish, and --no-finish with the parts, so that none publishes "
                             "unsigned",
                             error);
    }
    return LLAVAMED_OK;
}
