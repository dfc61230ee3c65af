/* SPDX-License-Identifier: Apache-2.0 */
/* What llavamed-inspect --diff prints. */
#ifndef CLI_DIFF_REPORT_H
#define CLI_DIFF_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "llavamed_diff.h"

struct diff_report {
    const struct llavamed_diff_settings *settings;
    const struct llavamed_diff_result *result;
    const struct llavamed_error *error; /* LLAVAMED_OK when all is equal */
    uint64_t peak_rss_bytes;
};

/*
 * For people, at most 100 columns wide: how many tensors are of each kind, those that are not equal (with all_tensors
 * every one), and over all of them how far elements lie apart. Write errors are left on the stream, as below.
 */
void diff_report_table(FILE *stream, const struct diff_report *report, bool all_tensors);

/* The --json document, the same members on success and on failure. */
void diff_report_json(FILE *stream, const struct diff_report *report);

#endif
