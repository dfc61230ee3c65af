/* SPDX-License-Identifier: Apache-2.0 */
/* The --json document of llavamed-inspect. */
#ifndef CLI_INSPECT_REPORT_H
#define CLI_INSPECT_REPORT_H

#include <stdio.h>

#include "llavamed.h"

struct inspect_report {
    const struct llavamed_inspect_settings *settings;
    const struct llavamed_inspect_result *result;
    const struct llavamed_error *error; /* LLAVAMED_OK after success */
    uint64_t peak_rss_bytes;
};

/* The same members on success and on failure, as far as they are known. Write errors are left on the stream. */
void inspect_report_json(FILE *stream, const struct inspect_report *report);

#endif
