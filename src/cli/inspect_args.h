/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of llavamed-inspect: argv -> struct inspect_args, by the rules of options.h; one argument. */
#ifndef CLI_INSPECT_ARGS_H
#define CLI_INSPECT_ARGS_H

#include "cli/display.h"
#include "cli/options.h"
#include "llavamed.h"

struct inspect_args {
    enum options_action action;
    struct llavamed_inspect_settings settings; /* its strings are borrowed from argv */
    const char *other; /* of --diff, borrowed from argv; NULL without it */
    bool diffs;        /* --diff stands among the options: reports have the form for it, on failure too */
    enum display_progress progress;
    bool tensors;
    bool quiet;
    bool json;
    const char *report; /* borrowed from argv; NULL: no page */
};

extern const struct option_table inspect_options;

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` and `diffs` then tell whether these stand
 * anywhere among the options. USAGE.
 */
enum llavamed_status inspect_args_parse(int argc, char *const argv[], struct inspect_args *args,
                                        struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
