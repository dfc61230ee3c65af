/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <string.h>

#include "cli/messages.h"
#include "cli/option_table.h"
#include "cli/text.h"

#define THREADS_MAX 1024

/* A --delta or an --out, in the order in which they came. */
struct pair_part {
    bool is_out;
    const char *value;
};

struct parser {
    int argc;
    char *const *argv;
    int next; /* index of the next argument */
    bool seen[OPTION_COUNT];
    struct pair_part parts[2 * LLAVAMED_OUTPUTS_MAX];
    size_t n_parts;
    struct args *args;
    struct llavamed_error *error;
};

/* ---- Values ------------------------------------------------------------------------------------------------ */

static uint64_t size_unit(const char *text)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"KB", UINT64_C(1000)},          {"MB", UINT64_C(1000000)},  {"GB", UINT64_C(1000000000)},
        {"TB", UINT64_C(1000000000000)}, {"KiB", UINT64_C(1) << 10}, {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},      {"TiB", UINT64_C(1) << 40},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t n = strlen(units[i].name);
        bool same = strlen(text) == n;
        for (size_t k = 0; same && k < n; k++) {
            /* Setting bit 5 folds the case of ASCII letters, whatever the locale says. */
            same = (text[k] | 0x20) == (units[i].name[k] | 0x20);
        }
        if (same) {
            return units[i].bytes;
        }
    }
    return 0;
}

bool args_parse_size(const char *text, uint64_t *bytes)
{
    static const char digits[] = "0123456789";
    const char *number = text + strspn(text, " ");
    size_t n_whole = strspn(number, digits);
    const char *after = number + n_whole;
    bool has_point = *after == '.';
    const char *fraction = has_point ? after + 1 : after;
    size_t n_fraction = has_point ? strspn(fraction, digits) : 0;
    if (n_whole == 0 || (has_point && n_fraction == 0)) {
        return false;
    }
    after = fraction + n_fraction;
    after += strspn(after, " ");
    uint64_t unit = *after == '\0' ? 1 : size_unit(after);
    if (unit == 0 || (unit == 1 && has_point)) {
        return false;
    }
    uint64_t whole = 0;
    for (size_t i = 0; i < n_whole; i++) {
        if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(number[i] - '0'), &whole)) {
            return false;
        }
    }
    /* unit * 0.ddd from the last digit on: exact, as floor((floor(y) + n) / 10) is floor((y + n) / 10). */
    uint64_t part = 0;
    for (size_t i = n_fraction; i > 0; i--) {
        part = (part + (uint64_t)(fraction[i - 1] - '0') * unit) / 10;
    }
    uint64_t total;
    if (__builtin_mul_overflow(whole, unit, &total) || __builtin_add_overflow(total, part, &total) || total == 0) {
        return false;
    }
    *bytes = total;
    return true;
}

static bool parse_threads(const char *text, unsigned *n_threads)
{
    unsigned value = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 4) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > THREADS_MAX) {
        return false;
    }
    *n_threads = value;
    return true;
}

static enum llavamed_status set_threads(struct parser *parser, const char *spelled, const char *value,
                                        unsigned *n_threads)
{
    if (parse_threads(value, n_threads)) {
        return LLAVAMED_OK;
    }
    return cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "%s: not a number of threads (got '%.100s', want 0 to %d)",
                    spelled, value, THREADS_MAX);
}

static enum llavamed_status set_size(struct parser *parser, const char *spelled, const char *value, uint64_t *bytes)
{
    if (args_parse_size(value, bytes)) {
        return LLAVAMED_OK;
    }
    (void)cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "%s: not a size above 0 that fits 64 bits (got '%.100s')",
                   spelled, value);
    cli_hint(parser->error, "a size is a number of bytes, or a number with KB, MB, GB, TB, KiB, MiB, GiB or TiB");
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status choose(struct parser *parser, const struct option_row *row, const char *value, int *chosen)
{
    char words[128] = "";
    size_t used = 0;
    for (const struct choice *choice = row->choices; choice->word != NULL; choice++) {
        if (strcmp(choice->word, value) == 0) {
            *chosen = choice->value;
            return LLAVAMED_OK;
        }
        cli_format(words + used, sizeof words - used, "%s%s", used == 0 ? "" : ", ", choice->word);
        used = strlen(words);
    }
    return cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "--%s: unknown value (got '%.100s', want one of %s)",
                    row->name, value, words);
}

/* ---- Options ----------------------------------------------------------------------------------------------- */

/* What a flag sets; NULL for --help, --version and options with a value. */
static bool *flag_of(struct args *args, enum option_id id)
{
    switch ((int)id) {
    case OPTION_ALLOW_UNKNOWN_BASE:
        return &args->settings.allow_unknown_base;
    case OPTION_FORCE:
        return &args->settings.force;
    case OPTION_NO_RESUME:
        return &args->settings.no_resume;
    case OPTION_DRY_RUN:
        return &args->settings.dry_run;
    case OPTION_QUIET:
        return &args->quiet;
    case OPTION_VERBOSE:
        return &args->verbose;
    case OPTION_JSON:
        return &args->json;
    default:
        return NULL;
    }
}

/* An option without a value. */
static void set_flag(struct args *args, enum option_id id)
{
    bool *flag = flag_of(args, id);
    if (flag != NULL) {
        *flag = true;
    } else {
        args->action = id == OPTION_HELP ? ARGS_HELP : ARGS_VERSION;
    }
}

static enum llavamed_status note_pair_part(struct parser *parser, bool is_out, const char *value)
{
    struct llavamed_settings *settings = &parser->args->settings;
    const char **first = is_out ? &settings->out : &settings->delta;
    *first = *first == NULL ? value : *first;
    if (parser->n_parts == sizeof parser->parts / sizeof parser->parts[0]) {
        return cli_fail(parser->error, LLAVAMED_STATUS_USAGE,
                        "too many outputs (want at most %d pairs of --delta, --out)", LLAVAMED_OUTPUTS_MAX);
    }
    parser->parts[parser->n_parts++] = (struct pair_part){is_out, value};
    return LLAVAMED_OK;
}

/* An option with a value; `chosen` is that of an option with choices. */
static enum llavamed_status set_option(struct parser *parser, const struct option_row *row, const char *spelled,
                                       const char *value, int chosen)
{
    struct args *args = parser->args;
    struct llavamed_settings *settings = &args->settings;
    switch ((int)row->id) {
    case OPTION_BASE:
        settings->base = value;
        break;
    case OPTION_DELTA:
    case OPTION_OUT:
        return note_pair_part(parser, row->id == OPTION_OUT, value);
    case OPTION_SUMS:
        settings->sums = value;
        break;
    case OPTION_FORMAT:
        settings->format = (enum llavamed_format)chosen;
        break;
    case OPTION_TORCH_PROFILE:
        settings->torch_profile = (enum llavamed_torch_profile)chosen;
        break;
    case OPTION_DTYPE:
        settings->dtype = (enum llavamed_result_dtype)chosen;
        break;
    case OPTION_INV_FREQ:
        settings->inv_freq = (enum llavamed_inv_freq)chosen;
        break;
    case OPTION_VERIFY:
        settings->verify = (enum llavamed_verify)chosen;
        break;
    case OPTION_CPU:
        settings->cpu = (enum llavamed_cpu)chosen;
        break;
    case OPTION_PROGRESS:
        args->progress = (enum args_progress)chosen;
        break;
    case OPTION_MAX_SHARD_SIZE:
        return set_size(parser, spelled, value, &settings->max_shard_bytes);
    case OPTION_MAX_MEMORY:
        return set_size(parser, spelled, value, &settings->max_memory_bytes);
    case OPTION_THREADS:
        return set_threads(parser, spelled, value, &settings->n_threads);
    default: /* options of a later version, refused before */
        break;
    }
    return LLAVAMED_OK;
}

/*
 * One option as it was spelled ("--out", "-j"), with the value joined to it, or NULL; takes the next argument when a
 * value is due and none is joined.
 */
static enum llavamed_status take_option(struct parser *parser, const struct option_row *row, const char *spelled,
                                        const char *joined)
{
    struct llavamed_error *error = parser->error;
    if (row->help == NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_NOT_SUPPORTED_YET, "--%s is not supported yet", row->name);
        cli_hint(error, "%s", row->not_yet);
        return LLAVAMED_STATUS_NOT_SUPPORTED_YET;
    }
    if (parser->seen[row->id] && row->id != OPTION_DELTA && row->id != OPTION_OUT) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: option --%s given twice", spelled, row->name);
    }
    parser->seen[row->id] = true;
    if (row->value == NULL) {
        if (joined != NULL) {
            return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: takes no value (got '%.100s')", spelled, joined);
        }
        set_flag(parser->args, row->id);
        return LLAVAMED_OK;
    }
    const char *value = joined;
    if (value == NULL) {
        const char *next = parser->next < parser->argc ? parser->argv[parser->next] : NULL;
        if (next == NULL) {
            return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: value missing (want %s)", spelled, row->value);
        }
        if (next[0] == '-' && next[1] != '\0') {
            (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: value missing (got the option '%.100s', want %s)",
                           spelled, next, row->value);
            cli_hint(error, "a value that begins with '-' is written --%s=VALUE", row->name);
            return LLAVAMED_STATUS_USAGE;
        }
        value = next;
        parser->next++;
    }
    if (value[0] == '\0') {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: value is empty (want %s)", spelled, row->value);
    }
    int chosen = 0;
    enum llavamed_status status = row->choices == NULL ? LLAVAMED_OK : choose(parser, row, value, &chosen);
    return status == LLAVAMED_OK ? set_option(parser, row, spelled, value, chosen) : status;
}

static enum llavamed_status fail_unknown(struct parser *parser, const char *argument, const char *name, size_t n_name)
{
    (void)cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "unknown option (got '%.100s')", argument);
    const char *nearest = option_nearest_name(name, n_name);
    if (nearest != NULL) {
        cli_hint(parser->error, "did you mean --%s?", nearest);
    } else {
        cli_hint(parser->error, "llavamed-apply --help lists the options");
    }
    return LLAVAMED_STATUS_USAGE;
}

/* ---- Arguments --------------------------------------------------------------------------------------------- */

static enum llavamed_status parse_long(struct parser *parser, const char *argument)
{
    const char *name = argument + 2;
    size_t n_name = strcspn(name, "=");
    const struct option_row *row = option_find_long(name, n_name);
    if (row == NULL) {
        return fail_unknown(parser, argument, name, n_name);
    }
    char spelled[OPTION_NAME_BYTES_MAX + 3];
    cli_format(spelled, sizeof spelled, "--%.*s", (int)n_name, name);
    return take_option(parser, row, spelled, name[n_name] == '=' ? name + n_name + 1 : NULL);
}

static enum llavamed_status parse_cluster(struct parser *parser, const char *argument)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (const char *letter = argument + 1; *letter != '\0' && status == LLAVAMED_OK; letter++) {
        const struct option_row *row = option_find_short(*letter);
        if (row == NULL) {
            return fail_unknown(parser, argument, argument + 1, strcspn(argument + 1, "="));
        }
        char spelled[3] = {'-', *letter, '\0'};
        if (row->value != NULL) {
            return take_option(parser, row, spelled, letter[1] == '\0' ? NULL : letter + 1);
        }
        status = take_option(parser, row, spelled, NULL);
    }
    return status;
}

static enum llavamed_status parse_all(struct parser *parser)
{
    bool options_ended = false;
    while (parser->next < parser->argc && parser->args->action == ARGS_RUN) {
        const char *argument = parser->argv[parser->next++];
        enum llavamed_status status = LLAVAMED_OK;
        if (options_ended || argument[0] != '-' || argument[1] == '\0') {
            (void)cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "unexpected argument (got '%.200s')", argument);
            cli_hint(parser->error, "sources and output are options: --base SOURCE --delta SOURCE --out DIR");
            status = LLAVAMED_STATUS_USAGE;
        } else if (strcmp(argument, "--") == 0) {
            options_ended = true;
        } else if (argument[1] == '-') {
            status = parse_long(parser, argument);
        } else {
            status = parse_cluster(parser, argument);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}

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
static enum llavamed_status check_pairs(const struct parser *parser, struct args *args, struct llavamed_error *error)
{
    const struct pair_part *parts = parser->parts;
    if (parser->n_parts <= 2 && args->settings.delta != NULL && args->settings.out != NULL) {
        args->deltas[0] = args->settings.delta;
        args->outs[0] = args->settings.out;
        args->n_outputs = 1;
        return LLAVAMED_OK;
    }
    for (size_t i = 0; i < parser->n_parts; i += 2) {
        if (parts[i].is_out || i + 1 == parser->n_parts || !parts[i + 1].is_out) {
            return fail_unpaired(&parts[i], error);
        }
        args->deltas[i / 2] = parts[i].value;
        args->outs[i / 2] = parts[i + 1].value;
    }
    args->n_outputs = parser->n_parts / 2;
    return LLAVAMED_OK;
}

/* What no single option shows. */
static enum llavamed_status check_together(const struct parser *parser, struct args *args, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = &args->settings;
    char missing[64] = "";
    size_t used = 0;
    const char *const values[] = {settings->base, settings->delta, settings->out};
    for (size_t i = 0; i < 3; i++) {
        if (values[i] == NULL) {
            cli_format(missing + used, sizeof missing - used, "%s--%s", used == 0 ? "" : ", ", option_rows[i].name);
            used = strlen(missing);
        }
    }
    if (used > 0) {
        (void)cli_fail(error, LLAVAMED_STATUS_USAGE, "option missing (want %s)", missing);
        cli_hint(error, "llavamed-apply --base SOURCE --delta SOURCE --out DIR; --help lists the options");
        return LLAVAMED_STATUS_USAGE;
    }
    if (args->quiet && (args->verbose || args->progress == ARGS_PROGRESS_ALWAYS)) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "-q contradicts %s", args->verbose ? "-v" : "--progress always");
    }
    return check_pairs(parser, args, error);
}

/* What the options would have told that come after the one that is wrong: in which form to report it. */
static void look_for_form(int argc, char *const argv[], struct args *args)
{
    size_t n_deltas = 0;
    size_t n_outs = 0;
    /* No value begins with '-' unless it is joined, so these can only be the options. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *name = argv[i] + 2;
        const struct option_row *row =
            strncmp(argv[i], "--", 2) == 0 ? option_find_long(name, strcspn(name, "=")) : NULL;
        args->json = args->json || strcmp(argv[i], "--json") == 0;
        n_deltas += row != NULL && row->id == OPTION_DELTA;
        n_outs += row != NULL && row->id == OPTION_OUT;
    }
    args->several = n_deltas > 1 || n_outs > 1;
}

enum llavamed_status args_parse(int argc, char *const argv[], struct args *args, struct llavamed_error *error)
{
    memset(args, 0, sizeof *args);
    llavamed_settings_init(&args->settings);
    struct parser parser = {.argc = argc, .argv = argv, .next = 1, .args = args, .error = error};
    enum llavamed_status status = parse_all(&parser);
    if (status == LLAVAMED_OK && args->action == ARGS_RUN) {
        status = check_together(&parser, args, error);
    }
    args->several = args->n_outputs > 1;
    if (status != LLAVAMED_OK) {
        args->n_outputs = 0;
        look_for_form(argc, argv, args);
    }
    return status;
}
