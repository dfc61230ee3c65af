/* SPDX-License-Identifier: Apache-2.0 */
/* What makes two runs the same, so that one may keep what the other wrote: the key of a journal (merge/journal.h). */
#ifndef MERGE_RUN_KEY_H
#define MERGE_RUN_KEY_H

#include "merge/input_hashes.h"
#include "merge/journal.h"
#include "merge/plan.h"
#include "source/source.h"

/* All borrowed for the call. */
struct run_key_input {
    const char *version; /* of the tool: LLAVAMED_VERSION */
    const struct plan_options *options;
    const struct source *base;
    const struct source *delta;
    const struct plan *plan;
    const struct input_hashes *hashes; /* of both; NULL: what is recorded of them is told elsewhere */
};

/*
 * Fills the key. Its parts:
 *   tool     the version, and the number of this way to make keys
 *   options  all of struct plan_options
 *   base,    format; name, size and modification time (as they were when it was opened) of each weights file, its
 *   delta    source_sample(), and each SHA-256 and git blob that is recorded of it, wherever; name, dtype and shape of
 *            each tensor in the checkpoint's order; of Meta's layout also the number of heads, which says how rows are
 *            ordered, as it was when the source was opened. Neither directory nor device nor inode nor ctime: a
 *            source may be moved, or mounted elsewhere. Where all files have one time, as in images and stores, it is
 *            the sample and the records that tell two of the same size apart
 *   plan     name, dtype, shape and action of each result tensor, and the shards: name, size, what lies where
 * Reads the samples, some KB of each file. INTERRUPTED, INPUT_*, IO, NO_MEMORY.
 */
enum llavamed_status run_key_fill(const struct run_key_input *input, struct journal_key *key,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
