/* SPDX-License-Identifier: Apache-2.0 */
/* What output_dir.c and output_publish.c share: the fields of an output directory. */
#ifndef MERGE_OUTPUT_DIR_PARTS_H
#define MERGE_OUTPUT_DIR_PARTS_H

#include <pthread.h>

#include "merge/claim.h"
#include "merge/output_place.h"

/* All names that claims of this part ever have, begin with this and a dot. */
#define CLAIM_NAME_STEM ".llavamed-claim-1-of-1"

#define MENDING_STEPS_MAX 8

struct output_dir {
    char *out; /* as given, for messages */
    struct output_place place;
    char *claim;      /* in OUT.partial */
    char *publishing; /* where the claim is while the finished directory gets its name: OUT.publishing.json */
    char *replacing;  /* the same while names cannot be exchanged and OUT.replaced is ours: OUT.replacing.json */
    char *replaced;   /* where a replaced OUT waits for its removal if names cannot be exchanged: OUT.replaced */
    bool force;
    pthread_mutex_t mutex; /* over the two below and over where the claim is, after _begin */
    bool begun;
    uint64_t next_beat_ns;
    char text[CLAIM_BYTES_MAX]; /* our claim */
    uint64_t leftover_bytes;    /* of a dead run's OUT.partial */
};

/* Removes claims, drafts and successors of claims that other runs have left in a directory that is ours, but `keep`. */
void output_remove_strays(const char *directory, const char *keep);

/* Removes a directory that holds our claim, which goes last, so that an interruption leaves it claimed. */
enum llavamed_status output_remove_claimed(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * One step from what a run has left that died while it published to a state of before or after it; see
 * output_publish.c. `dead` is the claim beside OUT. Several runs may do it at once.
 */
enum llavamed_status output_publish_mend(struct output_dir *dir, const struct claim *dead,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

#endif
