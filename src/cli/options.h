/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a program: one table, of which parsing, --help and --help-all are made. Pure: prints nothing but the
 * help, touches no file, allocates nothing. Of --help-all the completions of shells are made, and tests hold the manual
 * pages against it (tests/texts).
 *
 * Long options take their value as --opt=value or --opt value, short ones as -j4 or -j 4; flags cluster (-nv). A value
 * in an argument of its own does not begin with '-' (that is taken for a forgotten value), and "--" ends the options.
 * Unknown, repeated (through an alias too) and empty options are errors; what is no option is told to the program.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "llavamed.h"

#define OPTION_ALIASES_MAX 2
#define OPTION_NAME_BYTES_MAX 32 /* of a long name or alias */
#define OPTION_ROWS_MAX 64       /* of one program */

/* What the arguments ask for; the first option that asks for more than a run ends the parsing. */
enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_HELP_ALL, OPTIONS_VERSION };

/* One of the words an option takes. */
struct option_choice {
    const char *word; /* NULL ends the list */
    int value;
};

struct option_row {
    int id;                              /* its index in the table */
    char short_name;                     /* '\0': none */
    const char *name;                    /* without "--" */
    const char *value;                   /* what --help calls the value: words in lower case, others in upper case, with
                                            '|' between them; NULL: a flag */
    const struct option_choice *choices; /* NULL: any text */
    const char *help;                    /* NULL: not supported yet */
    const char *not_yet;                 /* hint of that refusal */
    const char *aliases[OPTION_ALIASES_MAX];
    bool repeats;               /* may be given more than once */
    bool is_common;             /* in --help too; the others are in --help-all alone */
    enum options_action action; /* of --help and the like, which nothing is told of */
};

/* All options of one program, in the order of --help-all. */
struct option_table {
    const struct option_row *rows;
    size_t n_rows;
    const char *usage;  /* "Usage: ...", whole lines; what stands in {...} there may repeat */
    const char *before; /* what --help and --help-all say above the options, whole lines */
    const char *after;  /* and below */
    const char *more;   /* and --help-all alone below that */
};

/* An option as it was given. */
struct option_given {
    const struct option_row *row;
    const char *spelled; /* "--out", "-j"; valid during the call */
    const char *value;   /* borrowed from argv; NULL of a flag */
    int chosen;          /* where the row has choices */
};

/* Who is told, in the order of argv; what is returned other than OK ends the parsing. */
struct option_sink {
    void *context;
    enum llavamed_status (*option)(void *context, const struct option_given *given, struct llavamed_error *error);
    enum llavamed_status (*argument)(void *context, const char *text, struct llavamed_error *error); /* no option */
};

/* USAGE, or NOT_SUPPORTED_YET for what a later version will know. *action is written on success alone. */
enum llavamed_status options_parse(const struct option_table *table, int argc, char *const argv[],
                                   const struct option_sink *sink, enum options_action *action,
                                   struct llavamed_error *error) __attribute__((warn_unused_result));

/*
 * How often a long option stands among the arguments, whatever is wrong with others: in which form to report what is.
 * (No value begins with '-' unless it is joined, so that a value is not taken for it.)
 */
size_t options_count(const struct option_table *table, int argc, char *const argv[], int id);

/* Values: USAGE says what is wrong with `given`. */
enum llavamed_status option_take_size(const struct option_given *given, uint64_t *bytes, struct llavamed_error *error)
    __attribute__((warn_unused_result));
enum llavamed_status option_take_threads(const struct option_given *given, unsigned *n_threads,
                                         struct llavamed_error *error) __attribute__((warn_unused_result));

/*
 * "5GB", "2.5GB", "256MiB", "1000": bytes, or KB MB GB TB (decimal), KiB MiB GiB TiB (binary), in any case, blanks
 * allowed around the number. A fraction of a byte is cut off. False when it is not one, is 0 or does not fit.
 */
bool option_parse_size(const char *text, uint64_t *bytes);

/*
 * The text of --help: what fits a screen of 24 lines and leaves one for the prompt. The text of --help-all: every
 * option that is supported. Both at most 79 columns wide. Write errors are left on the stream.
 */
void options_print_help(const struct option_table *table, FILE *stream);
void options_print_help_all(const struct option_table *table, FILE *stream);

#endif
