/* SPDX-License-Identifier: Apache-2.0 */
/* The options of llavamed-apply: one table, of which parsing and --help are both made. */
#ifndef CLI_OPTION_TABLE_H
#define CLI_OPTION_TABLE_H

#include <stddef.h>

/* One of the words an option takes. */
struct choice {
    const char *word; /* NULL ends the list */
    int value;
};

enum option_id {
    OPTION_BASE,
    OPTION_DELTA,
    OPTION_OUT,
    OPTION_FORMAT,
    OPTION_TORCH_PROFILE,
    OPTION_DTYPE,
    OPTION_INV_FREQ,
    OPTION_MAX_SHARD_SIZE,
    OPTION_VERIFY,
    OPTION_ALLOW_UNKNOWN_BASE,
    OPTION_FORCE,
    OPTION_NO_RESUME,
    OPTION_DRY_RUN,
    OPTION_THREADS,
    OPTION_MAX_MEMORY,
    OPTION_CPU,
    OPTION_PROGRESS,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_SUMS,
    OPTION_DIGESTS,
    OPTION_AGAINST,
    OPTION_COUNT
};

#define OPTION_ALIASES_MAX 2
#define OPTION_NAME_BYTES_MAX 32 /* of a long name or alias */

struct option_row {
    enum option_id id;
    char short_name;              /* '\0': none */
    const char *name;             /* without "--" */
    const char *value;            /* what --help calls the value; NULL: a flag */
    const struct choice *choices; /* NULL: any text */
    const char *help;             /* NULL: not supported yet */
    const char *not_yet;          /* hint of that refusal */
    const char *aliases[OPTION_ALIASES_MAX];
};

/* In the order of --help; row i has id i. */
extern const struct option_row option_rows[OPTION_COUNT];

/* By long name or alias, without "--"; the text need not end there. NULL when there is none. */
const struct option_row *option_find_long(const char *text, size_t n_text);

const struct option_row *option_find_short(char letter);

/* The supported long name or alias that a mistyped one begins, or that is few edits away; NULL when none is. */
const char *option_nearest_name(const char *text, size_t n_text);

#endif
