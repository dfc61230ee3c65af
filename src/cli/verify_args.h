/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of llavamed-verify: argv -> struct verify_args, by the rules of options.h. One argument, DIR;
   none with --identify. */
#ifndef CLI_VERIFY_ARGS_H
#define CLI_VERIFY_ARGS_H

#include "cli/display.h"
#include "cli/options.h"
#include "llavamed.h"

struct verify_args {
    enum options_action action;
    struct llavamed_verify_settings settings; /* its strings are borrowed from argv */
    struct llavamed_identify_settings identify; /* its source is NULL without --identify */
    enum display_progress progress;
    bool has_max_memory;
    bool quiet;
    bool verbose;
    bool json;
    const char *report; /* borrowed from argv; NULL: no page */
};

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` then tells whether --json stands anywhere
 * among the options. USAGE, or NOT_SUPPORTED_YET for what a later version will know.
 */
enum llavamed_status verify_args_parse(int argc, char *const argv[], struct verify_args *args,
                                       struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
