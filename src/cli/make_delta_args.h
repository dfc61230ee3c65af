/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of llavamed-make-delta: argv -> struct make_delta_args, by the rules of options.h. Stray arguments
 * are errors.
 */
#ifndef CLI_MAKE_DELTA_ARGS_H
#define CLI_MAKE_DELTA_ARGS_H

#include "cli/display.h"
#include "cli/options.h"
#include "llavamed.h"

struct make_delta_args {
    enum options_action action;
    struct llavamed_settings settings; /* its strings are borrowed from argv */
    enum display_progress progress;
    bool quiet;
    bool verbose;
    bool json;
    const char *log_json; /* borrowed from argv; NULL: no log */
};

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` then tells whether --json stands anywhere
 * among the options. USAGE, or NOT_SUPPORTED_YET for what a later version will know.
 */
enum llavamed_status make_delta_args_parse(int argc, char *const argv[], struct make_delta_args *args,
                                           struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
