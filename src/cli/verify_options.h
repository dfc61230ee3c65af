/* SPDX-License-Identifier: Apache-2.0 */
/* The options of llavamed-verify. */
#ifndef CLI_VERIFY_OPTIONS_H
#define CLI_VERIFY_OPTIONS_H

#include "cli/options.h"

enum verify_option {
    VERIFY_OPTION_SUMS,
    VERIFY_OPTION_PUBLIC_KEY,
    VERIFY_OPTION_IGNORE_EXTRA,
    VERIFY_OPTION_BASE,
    VERIFY_OPTION_DELTA,
    VERIFY_OPTION_AGAINST,
    VERIFY_OPTION_DTYPE,
    VERIFY_OPTION_INV_FREQ,
    VERIFY_OPTION_CPU,
    VERIFY_OPTION_IDENTIFY,
    VERIFY_OPTION_THREADS,
    VERIFY_OPTION_MAX_MEMORY,
    VERIFY_OPTION_PROGRESS,
    VERIFY_OPTION_QUIET,
    VERIFY_OPTION_VERBOSE,
    VERIFY_OPTION_JSON,
    VERIFY_OPTION_REPORT,
    VERIFY_OPTION_HELP,
    VERIFY_OPTION_VERSION,
    VERIFY_OPTION_COUNT
};

extern const struct option_table verify_options; /* its rows in the order of enum verify_option */

#endif
