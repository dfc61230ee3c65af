/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finishing a merge that was made in parts: what a whole run does behind its shards, from the records of the parts
 * alone (part_files.h).
 */
#ifndef MERGE_MERGE_FINISH_H
#define MERGE_MERGE_FINISH_H

#include "integrity/ec_key.h"

struct finish_job {
    const char *out;
    bool force;
    bool dry_run;
    unsigned n_threads;
    const struct ec_key *signing_key;         /* NULL: not signed */
    const struct llavamed_observer *observer; /* may be NULL */
    const volatile int *stop_signal;          /* may be NULL */
};

/*
 * As llavamed_finish(). The result, which must be empty, is filled as of a whole run, but that nothing was read and
 * computed. Whatever fails, the parts' work stays.
 */
enum llavamed_status merge_finish(const struct finish_job *job, struct llavamed_result *result,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
