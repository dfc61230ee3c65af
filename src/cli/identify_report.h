/* SPDX-License-Identifier: Apache-2.0 */
/* What llavamed-verify --identify leaves to read. */
#ifndef CLI_IDENTIFY_REPORT_H
#define CLI_IDENTIFY_REPORT_H

#include <stdio.h>

#include "llavamed.h"

struct identify_report {
    const char *source; /* NULL when the arguments were not understood */
    const struct llavamed_identify_result *result;
    const struct llavamed_error *error; /* all zero when it is known */
    uint64_t peak_rss_bytes;
};

/*
 * For each file a line "sha256  HEX  FILE  RELEASE", or "unknown" in place of the release, and a last one "verdict
 * WORD  WHAT": the word is llavamed_identity_name(). Printable; fields are separated by two blanks.
 */
void identify_report_print_lines(FILE *stream, const struct identify_report *report);

/* Which files are missing, altered or of something else: a line each, as problems. */
void identify_report_print_remarks(FILE *stream, const struct identify_report *report);

/*
 * The document of --json:
 *
 *     status (exit status), code (llavamed_status_name), message, hint
 *     source, verdict (null when not all was read), release, found, wanted: weights files of the release
 *     files[] {name, bytes, sha256, release, released_name}, remarks[]
 *     timings {total_seconds}, bytes {read}, memory {peak_rss}, version
 *
 * Texts that do not apply are null. Write errors are left on the stream.
 */
void identify_report_print_json(FILE *stream, const struct identify_report *report);

/* Whether the files were all read, so that there is a verdict. */
bool identify_report_has_verdict(const struct identify_report *report);

#endif
