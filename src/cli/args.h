/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of llavamed-apply: argv -> struct args, from one table that --help is made of too. Pure: prints
 * nothing, touches no file, allocates nothing.
 *
 * Long options take their value as --opt=value or --opt value, short ones as -j4 or -j 4; flags cluster (-nv). A value
 * in an argument of its own does not begin with '-' (that is taken for a forgotten value), and "--" ends the options.
 * Unknown, repeated (through an alias too), empty or stray arguments are errors. --delta and --out alone may be
 * repeated, in pairs: with one of each their order is free; with more, every --delta is followed by its --out before
 * the next.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdio.h>

#include "llavamed.h"

enum args_action { ARGS_RUN, ARGS_HELP, ARGS_VERSION };

enum args_progress { ARGS_PROGRESS_AUTO, ARGS_PROGRESS_ALWAYS, ARGS_PROGRESS_NEVER };

struct args {
    enum args_action action;
    struct llavamed_settings settings; /* its strings are borrowed from argv; delta and out are of the first pair */
    const char *deltas[LLAVAMED_OUTPUTS_MAX]; /* borrowed from argv, as outs */
    const char *outs[LLAVAMED_OUTPUTS_MAX];
    size_t n_outputs; /* pairs; 0 after a failure */
    bool several; /* more than one --delta or --out stands anywhere: reports have the form for it, on failure too */
    enum args_progress progress;
    bool quiet;
    bool verbose;
    bool json;
};

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` then tells whether --json stands
 * anywhere among the options, and `several` whether there are several outputs, so that the failure can be reported in
 * the form that was asked for. USAGE, or NOT_SUPPORTED_YET for what a later version will know.
 */
enum llavamed_status args_parse(int argc, char *const argv[], struct args *args, struct llavamed_error *error)
    __attribute__((warn_unused_result));

/*
 * "5GB", "2.5GB", "256MiB", "1000": bytes, or KB MB GB TB (decimal), KiB MiB GiB TiB (binary), in any case, blanks
 * allowed around the number. A fraction of a byte is cut off. False when it is not one, is 0 or does not fit.
 */
bool args_parse_size(const char *text, uint64_t *bytes);

/* The text of --help. Write errors are left on the stream. */
void args_print_help(FILE *stream);

#endif
