/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <assert.h>
#include <string.h>

#include "cli/messages.h"
#include "cli/text.h"

struct parser {
    const struct option_table *table;
    int argc;
    char *const *argv;
    int next; /* index of the next argument */
    bool seen[OPTION_ROWS_MAX];
    const struct option_sink *sink;
    enum options_action action;
    struct llavamed_error *error;
};

/* ---- The table --------------------------------------------------------------------------------------------- */

static bool same_name(const char *name, const char *text, size_t n_text)
{
    return strlen(name) == n_text && memcmp(name, text, n_text) == 0;
}

/* By long name or alias, without "--"; the text need not end there. NULL when there is none. */
static const struct option_row *find_long(const struct option_table *table, const char *text, size_t n_text)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct option_row *row = &table->rows[i];
        bool found = same_name(row->name, text, n_text);
        for (size_t k = 0; k < OPTION_ALIASES_MAX && row->aliases[k] != NULL; k++) {
            found = found || same_name(row->aliases[k], text, n_text);
        }
        if (found) {
            return row;
        }
    }
    return NULL;
}

static const struct option_row *find_short(const struct option_table *table, char letter)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        if (table->rows[i].short_name == letter) {
            return &table->rows[i];
        }
    }
    return NULL;
}

/* ---- "did you mean" ---------------------------------------------------------------------------------------- */

/* Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other. */
static unsigned edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    unsigned rows[3][OPTION_NAME_BYTES_MAX + 1]; /* row i of the table is rows[i % 3] */
    for (size_t j = 0; j <= n_b; j++) {
        rows[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

/* The supported long name or alias that a mistyped one begins, or that is few edits away; NULL when none is. */
static const char *nearest_name(const struct option_table *table, const char *text, size_t n_text)
{
    if (n_text < 2 || n_text > OPTION_NAME_BYTES_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    unsigned least = n_text < 5 ? 2 : 3; /* fewer edits than this */
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct option_row *row = &table->rows[i];
        const char *names[1 + OPTION_ALIASES_MAX] = {row->name, row->aliases[0], row->aliases[1]};
        for (size_t k = 0; row->help != NULL && k <= OPTION_ALIASES_MAX && names[k] != NULL; k++) {
            size_t n_name = strlen(names[k]);
            if (n_name > OPTION_NAME_BYTES_MAX) {
                continue;
            }
            bool begins = n_name > n_text && memcmp(names[k], text, n_text) == 0;
            unsigned distance = begins ? 1 : edit_distance(text, n_text, names[k], n_name);
            if (distance < least) {
                least = distance;
                nearest = names[k];
            }
        }
    }
    return nearest;
}

/* ---- Parsing ----------------------------------------------------------------------------------------------- */

static enum llavamed_status choose(const struct option_row *row, const char *value, int *chosen,
                                   struct llavamed_error *error)
{
    char words[128] = "";
    size_t used = 0;
    for (const struct option_choice *choice = row->choices; choice->word != NULL; choice++) {
        if (strcmp(choice->word, value) == 0) {
            *chosen = choice->value;
            return LLAVAMED_OK;
        }
        cli_format(words + used, sizeof words - used, "%s%s", used == 0 ? "" : ", ", choice->word);
        used = strlen(words);
    }
    return cli_fail(error, LLAVAMED_STATUS_USAGE, "--%s: unknown value (got '%.100s', want one of %s)",
                    row->name, value, words);
}

/*
 * One option as it was spelled ("--out", "-j"), with the value joined to it, or NULL; takes the next argument when a
 * value is due and none is joined.
 */
static enum llavamed_status take_given(struct parser *parser, const struct option_row *row, const char *spelled,
                                       const char *joined)
{
    struct llavamed_error *error = parser->error;
    struct option_given given = {.row = row, .spelled = spelled, .value = joined};
    if (row->help == NULL) {
        (void)cli_fail(error, LLAVAMED_STATUS_NOT_SUPPORTED_YET, "--%s is not supported yet", row->name);
        cli_hint(error, "%s", row->not_yet);
        return LLAVAMED_STATUS_NOT_SUPPORTED_YET;
    }
    if (parser->seen[row->id] && !row->repeats) {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: option --%s given twice", spelled, row->name);
    }
    parser->seen[row->id] = true;
    if (row->value == NULL) {
        if (joined != NULL) {
            return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: takes no value (got '%.100s')", spelled, joined);
        }
        if (row->action != OPTIONS_RUN) {
            parser->action = row->action;
            return LLAVAMED_OK;
        }
        return parser->sink->option(parser->sink->context, &given, error);
    }
    if (joined == NULL) {
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
        given.value = next;
        parser->next++;
    }
    if (given.value[0] == '\0') {
        return cli_fail(error, LLAVAMED_STATUS_USAGE, "%s: value is empty (want %s)", spelled, row->value);
    }
    if (row->choices != NULL) {
        enum llavamed_status status = choose(row, given.value, &given.chosen, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return parser->sink->option(parser->sink->context, &given, error);
}

static enum llavamed_status fail_unknown(struct parser *parser, const char *argument, const char *name, size_t n_name)
{
    (void)cli_fail(parser->error, LLAVAMED_STATUS_USAGE, "unknown option (got '%.100s')", argument);
    const char *nearest = nearest_name(parser->table, name, n_name);
    if (nearest != NULL) {
        cli_hint(parser->error, "did you mean --%s?", nearest);
    } else {
        cli_hint(parser->error, "%s --help-all lists the options", program_name);
    }
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status parse_long(struct parser *parser, const char *argument)
{
    const char *name = argument + 2;
    size_t n_name = strcspn(name, "=");
    const struct option_row *row = find_long(parser->table, name, n_name);
    if (row == NULL) {
        return fail_unknown(parser, argument, name, n_name);
    }
    char spelled[OPTION_NAME_BYTES_MAX + 3];
    cli_format(spelled, sizeof spelled, "--%.*s", (int)n_name, name);
    return take_given(parser, row, spelled, name[n_name] == '=' ? name + n_name + 1 : NULL);
}

static enum llavamed_status parse_cluster(struct parser *parser, const char *argument)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (const char *letter = argument + 1; *letter != '\0' && status == LLAVAMED_OK; letter++) {
        const struct option_row *row = find_short(parser->table, *letter);
        if (row == NULL) {
            return fail_unknown(parser, argument, argument + 1, strcspn(argument + 1, "="));
        }
        char spelled[3] = {'-', *letter, '\0'};
        if (row->value != NULL) {
            return take_given(parser, row, spelled, letter[1] == '\0' ? NULL : letter + 1);
        }
        status = take_given(parser, row, spelled, NULL);
    }
    return status;
}

enum llavamed_status options_parse(const struct option_table *table, int argc, char *const argv[],
                                   const struct option_sink *sink, enum options_action *action,
                                   struct llavamed_error *error)
{
    assert(table->n_rows <= OPTION_ROWS_MAX);
    struct parser parser = {.table = table, .argc = argc, .argv = argv, .next = 1, .sink = sink, .error = error};
    bool options_ended = false;
    while (parser.next < argc && parser.action == OPTIONS_RUN) {
        const char *argument = argv[parser.next++];
        enum llavamed_status status = LLAVAMED_OK;
        if (options_ended || argument[0] != '-' || argument[1] == '\0') {
            status = sink->argument(sink->context, argument, error);
        } else if (strcmp(argument, "--") == 0) {
            options_ended = true;
        } else if (argument[1] == '-') {
            status = parse_long(&parser, argument);
        } else {
            status = parse_cluster(&parser, argument);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    *action = parser.action;
    return LLAVAMED_OK;
}

size_t options_count(const struct option_table *table, int argc, char *const argv[], int id)
{
    size_t count = 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *name = argv[i] + 2;
        if (strncmp(argv[i], "--", 2) == 0) {
            const struct option_row *row = find_long(table, name, strcspn(name, "="));
            bool is_whole = row != NULL && (row->value != NULL || strchr(name, '=') == NULL);
            count += is_whole && row->id == id;
        }
    }
    return count;
}
