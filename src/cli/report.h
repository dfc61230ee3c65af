/* SPDX-License-Identifier: Apache-2.0 */
/* What a run leaves to read at its end: the summary for people, the JSON document for programs. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdio.h>

#include "llavamed.h"

struct report {
    const struct llavamed_settings *settings; /* strings may be NULL when the arguments were not understood */
    const struct llavamed_result *result;
    const struct llavamed_error *error; /* all zero when the run succeeded */
    uint64_t peak_rss_bytes;
    bool makes_delta; /* of a target */
};

/*
 * The document of --json:
 *
 *     status (exit status), code (llavamed_status_name), message, hint, n_problems, problems[]
 *     base, delta, out, dry_run, published, part {k, n}, parts_missing ("2, 5-7")
 *     result {tensors, shards[] {name, bytes, tensors, sha256}, actions[] {action, tensors, bytes},
 *             counts {nan, infinite, rounded}, manifest_sha256}
 *     timings {plan_seconds, merge_seconds, total_seconds}
 *     bytes {planned_read, planned_write, read, written, reused, free}
 *     memory {pool, peak_rss}
 *     counters {workers, read, inflate, add, crc32, sha256, write, sync, wait_hash, wait_memory, wait_order, wait_task,
 *               other: each {seconds, least, most, bytes}}
 *     threads, cpu, warnings[], version
 *
 * Where a delta is made, "target" stands in the place of "delta", and before the version what lossy_report_emit()
 * writes.
 * Texts that do not apply are null. Write errors are left on the stream.
 */
void report_print_json(FILE *stream, const struct report *report);

/* Several deltas of one base. */
struct report_all {
    const struct llavamed_settings *settings; /* base may be NULL; delta and out are not looked at */
    const struct llavamed_output *outputs;
    size_t n_outputs; /* 0 when the arguments were not understood */
    const struct llavamed_error *error; /* of the whole; all zero when the run succeeded */
    uint64_t peak_rss_bytes;
};

/*
 * The document of --json for several outputs:
 *
 *     status, code, message, hint, n_problems, problems[]: the first of what went wrong
 *     base, dry_run
 *     outputs[] {status, code, message, hint, n_problems, problems[], delta, out, published, result, timings, bytes,
 *                memory {pool}, counters, threads, cpu, warnings[], started_over}: as of a single run. Without a
 *                problem of its own, an output that was not made has the status and code of the whole, and no message.
 *                Bytes of the base are counted in the first output that is read with it; counters are of all outputs
 *                that were made together
 *     timings {total_seconds}, bytes {planned_read, planned_write, read, written, reused}: of all together
 *     memory {peak_rss}, version
 */
void report_print_json_all(FILE *stream, const struct report_all *report);

/* A line or two for each output that is published, and one for all of them when the run succeeded. */
void report_print_summary_all(FILE *stream, const struct report_all *report, bool verbose);

/* After a run that published OUT: what was made, how fast, what is remarkable in it, what to run next. */
void report_print_summary(FILE *stream, const struct report *report, bool verbose);

#endif
