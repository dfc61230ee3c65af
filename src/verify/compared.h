/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory as a whole against what it should be: BASE + DELTA, or another checkpoint. Opened before the directory
 * is read for its own records, so that bad inputs are refused; run beside that, and judged when the headers are known.
 */
#ifndef VERIFY_COMPARED_H
#define VERIFY_COMPARED_H

#include "merge/derivation.h"
#include "core/warnings.h"
#include "source/source.h"
#include "verify/compare_tensors.h"
#include "verify/file_table.h"

/* Where a tensor of the directory lies. */
struct compared_place {
    const char *file;                /* borrowed from the table, as `shard`; NULL: no header that was read names it */
    const struct shard_place *shard; /* in it */
};

struct compared {
    const struct llavamed_verify_settings *settings; /* all borrowed */
    const struct llavamed_observer *observer;
    const struct file_table *table;
    const struct recorded_output *manifest; /* all zero: none */
    struct findings *findings;
    struct warnings *notes;
    struct llavamed_verify_result *result;
    /* Its own. */
    struct llavamed_settings merge; /* what is derived */
    struct llavamed_observer watch;
    struct source *held; /* the directory as a source; NULL: it cannot be read as one, which is a finding */
    struct derivation *derivation;
    struct tensor_comparison comparison;
    struct compared_place *places; /* owned; of each tensor of the source held, once it is judged */
};

/* Whether the settings ask for a comparison. */
bool compared_is_wanted(const struct llavamed_verify_settings *settings);

/*
 * The first group of fields is set, the others are zero. Opens the sources and the directory; what is wrong with the
 * latter is a finding. USAGE for a setting that contradicts the manifest; what derivation_open_merge() gives, or
 * derivation_open_copy().
 */
enum llavamed_status compared_open(struct compared *compared, struct llavamed_error *error) LLAVAMED_CHECK;

/* Compares, when the directory could be opened. What derivation_run() gives, and reading the directory. */
enum llavamed_status compared_run(struct compared *compared, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * After a run that succeeded, and with the table filled: each tensor that differs is a finding. NO_MEMORY; INTERRUPTED
 * when the settings' stop signal comes. O(n log n) in the tensors, however many files they are in.
 */
enum llavamed_status compared_judge(struct compared *compared, struct llavamed_error *error) LLAVAMED_CHECK;

/* Adds what it read, and its buffers, to the result. */
void compared_count(const struct compared *compared);

void compared_deinit(struct compared *compared);

#endif
