/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of llavamed-apply: argv -> struct apply_args, by the rules of options.h. Stray arguments are errors.
 * --delta and --out alone may be repeated, in pairs: with one of each their order is free; with more, every --delta is
 * followed by its --out before the next.
 */
#ifndef CLI_APPLY_ARGS_H
#define CLI_APPLY_ARGS_H

#include "cli/display.h"
#include "cli/options.h"
#include "llavamed.h"

struct apply_args {
    enum options_action action;
    struct llavamed_settings settings; /* its strings are borrowed from argv; delta and out are of the first pair */
    const char *deltas[LLAVAMED_OUTPUTS_MAX]; /* borrowed from argv, as outs */
    const char *outs[LLAVAMED_OUTPUTS_MAX];
    size_t n_outputs; /* pairs; 0 after a failure */
    bool several; /* more than one --delta or --out stands anywhere: reports have the form for it, on failure too */
    enum display_progress progress;
    bool quiet;
    bool verbose;
    bool json;
    bool finish; /* llavamed_finish(), with one output */
    const char *not_for_finish; /* static: the last option given that does not go with it; NULL: none */
    const char *log_json; /* borrowed from argv; NULL: no log */
    const char *report; /* borrowed from argv; NULL: no page */
};

/*
 * Fills *args as far as the arguments were understood, on failure too: `json` then tells whether --json stands
 * anywhere among the options, and `several` whether there are several outputs, so that the failure can be reported in
 * the form that was asked for. USAGE, or NOT_SUPPORTED_YET for what a later version will know.
 */
enum llavamed_status apply_args_parse(int argc, char *const argv[], struct apply_args *args,
                                      struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
