/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a merge: what a run does otherwise that makes a share of the shards (part_share.h). For merge*.c. */
#ifndef MERGE_MERGE_PART_H
#define MERGE_MERGE_PART_H

#include "merge/merge_run.h"
#include "merge/part_record.h"
#include "merge/part_share.h"

struct merge_part {
    unsigned part; /* from 0 */
    unsigned n_parts;
    struct part_share share;
    struct plan plan;  /* of this part: run->work */
    size_t *tensor_of; /* owned: where its tensors are in the whole plan */
    struct buffer text; /* the plan's line (part_plan.h) */
    char sha256[SHA256_HEX_BYTES];
    struct document_list documents; /* that this part has copied */
    bool has_entered; /* OUT.partial is claimed, and of this merge: what has this part's names there is its own */
};

/* Whether a run is a part. The only one of a merge is a whole run, unless finishing is left to somebody else. */
static inline bool merge_is_part(const struct llavamed_settings *settings)
{
    return settings->n_parts > 1 || (settings->n_parts == 1 && settings->no_finish);
}

/* USAGE for settings that no part can have. */
enum llavamed_status merge_part_check(const struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Once the whole is planned: shares it out. run->part and run->work are this part's then, and the sources and hashes
 * check no more than its share. USAGE where a source is read from front to back.
 */
enum llavamed_status merge_part_share(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* Once all is known that planning finds: makes the plan's line. */
enum llavamed_status merge_part_describe(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Whether this part is done already: its record is there, and its shards are as recorded, by size and time or else by
 * their bytes, and the delta's small files, which the first copies, are those that it has copied; or all parts are
 * being finished. Changes nothing. PARTS_DIFFER: parts of another merge are there, or all are being finished, with
 * small files that have changed since.
 */
enum llavamed_status merge_part_look(struct merge_run *run, bool *is_done, struct llavamed_error *error) LLAVAMED_CHECK;

/* Right after OUT.partial is claimed for this part. PARTS_DIFFER; OUT_BUSY: it is being finished. */
enum llavamed_status merge_part_enter(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Removes what this part has made; nothing before it has entered. INTERRUPTED between two files, with the rest still
 * there, as soon as *stop_signal is not 0; NULL where all has to go.
 */
enum llavamed_status merge_part_clear(const struct merge_run *run, const volatile int *stop_signal,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether there is a shard of this part. */
bool merge_part_has_shards(const struct merge_run *run);

/* Behind the shards: the delta's small files, when it is the first; reads back; the record; lets go of the claim. */
enum llavamed_status merge_part_complete(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

/* When this part is done: finishes, if all are. */
enum llavamed_status merge_part_finish(struct merge_run *run, struct llavamed_error *error) LLAVAMED_CHECK;

void merge_part_free(struct merge_part *part); /* NULL is fine */

#endif
