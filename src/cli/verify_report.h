/* SPDX-License-Identifier: Apache-2.0 */
/* What llavamed-verify leaves to read at its end: findings, the summary, the JSON document. */
#ifndef CLI_VERIFY_REPORT_H
#define CLI_VERIFY_REPORT_H

#include <stdio.h>

#include "llavamed.h"

struct verify_report {
    const struct llavamed_verify_settings *settings; /* strings may be NULL when the arguments were not understood */
    const struct llavamed_verify_result *result;
    const struct llavamed_error *error; /* all zero when the directory is intact */
    uint64_t peak_rss_bytes;
};

/* A line for each finding, "FILE: TENSOR: what", printable; a last line counts those that are not listed. */
void verify_report_print_findings(FILE *stream, const struct llavamed_verify_result *result);

/* What an intact directory holds, how fast it was read. */
void verify_report_print_summary(FILE *stream, const struct verify_report *report);

/*
 * The document of --json:
 *
 *     status (exit status), code (llavamed_status_name), message, hint
 *     dir, sums, intact: true, false, or null when that was not found out
 *     n_findings, findings[] {code (llavamed_finding_name), file, tensor, offset, what}
 *     compared {base, delta, against, dtype, inv_freq, complete, tensors, equal}: null when nothing was asked for
 *     files[] {name, bytes, tensors, sha256}, tensors_checked, notes[]
 *     timings {total_seconds}, bytes {read}, memory {buffers, peak_rss}, threads, version
 *
 * Texts that do not apply are null. Write errors are left on the stream.
 */
void verify_report_print_json(FILE *stream, const struct verify_report *report);

#endif
