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
    enum display_progress progress;
    bool tensors;
    bool quiet;
    bool json;
};

extern const struct option_table inspect_options;

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` then tells whether --json stands anywhere
 * among the options. USAGE.
 */
enum llavamed_status inspect_args_parse(int argc, char *const argv[], struct inspect_args *args,
                                        struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
