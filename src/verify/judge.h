/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding what was read against what is recorded. Pure: nothing is opened here, and the order of what is found depends
 * on names alone.
 *
 * Where two records contradict each other, the finding is of the record that the file does not agree with. Where a file
 * is as recorded by its SHA-256, but a tensor in it is not, the finding is of the manifest.
 */
#ifndef VERIFY_JUDGE_H
#define VERIFY_JUDGE_H

#include "core/warnings.h"
#include "verify/records.h"

struct judge {
    const struct file_table *table;
    struct records *records; /* its tensors are marked */
    bool ignore_extra;
    bool is_compared; /* with something else, too: then it needs no records */
    const volatile int *stop_signal; /* may be NULL; what follows is INTERRUPTED as soon as it is not 0 */
    struct findings *findings;
    struct warnings *notes;    /* what is not checked for want of records */
    struct warnings *ignored;  /* extra files, with ignore_extra */
    size_t n_tensors_checked;  /* out: whose CRC-32 was held against a recorded one */
    size_t n_digests_checked;  /* out: and whose digest was */
};

/* Whether nothing but the directory's own listing says that the file should be there. */
bool judge_is_extra(const struct records *records, const struct table_file *file);

/* Of each file: there, nothing else there, a plain one, of the recorded length and SHA-256, its own records right. */
enum llavamed_status judge_files(struct judge *judge, struct llavamed_error *error) LLAVAMED_CHECK;

/* Of each tensor: where and as the manifest and the index have it, with its bytes. O(n log n). */
enum llavamed_status judge_tensors(struct judge *judge, struct llavamed_error *error) LLAVAMED_CHECK;

/* After judge_tensors(): the manifest's digest of the model, by those of the tensors; that there are all or none. */
enum llavamed_status judge_model(struct judge *judge, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
