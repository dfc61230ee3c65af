/* SPDX-License-Identifier: Apache-2.0 */
/* All parts of a merge, as their files tell of them (part_files.h), put together to what a whole run would know. */
#ifndef MERGE_PART_SET_H
#define MERGE_PART_SET_H

#include "core/run_guard.h"
#include "merge/hash_files.h"
#include "merge/part_plan.h"
#include "merge/part_record.h"

struct part_set {
    char *text; /* owned: the lines of the plan and of all records */
    size_t n_bytes;
    struct part_plan plan;
    struct pipeline_outcome outcome; /* of the whole plan */
    uint64_t *shard_modified_ns;     /* owned: of each shard, as its part has recorded it */
    struct document_list documents;  /* that the first part has copied */
    struct input_hashes *hashes;     /* owned; with all that was computed */
    unsigned n_missing;              /* parts without a record: nothing is known then but the plan */
    char *missing;                   /* owned: their numbers, "2, 5-7"; NULL: none */
};

/*
 * Reads what is in `directory`, or what of it is at `beside` (a file that may not exist). PARTS_MISSING: no plan, or
 * not all records, of which set->n_missing and set->missing tell; PARTS_DIFFER: what is there does not belong together.
 * INTERRUPTED, as soon as *stop_signal (may be NULL) is not 0; IO, NO_MEMORY. *set is the caller's to part_set_deinit()
 * in any case.
 */
enum llavamed_status part_set_read(const char *directory, const char *beside, const volatile int *stop_signal,
                                   struct part_set *set, struct llavamed_error *error) LLAVAMED_CHECK;
void part_set_deinit(struct part_set *set);

/* Whether a shard or a copied file has this name. */
bool part_set_has_file(const struct part_set *set, const char *name);

/* PARTS_DIFFER unless the shards and the copied files are in `directory` with the sizes that are told of them. */
enum llavamed_status part_set_check_files(const struct part_set *set, const char *directory,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Whether the shards and the copied files are what was recorded of them: by size and time, or else, and the copied ones
 * in any case, by their SHA-256, which `options` are for. PARTS_DIFFER names the first that is not; damaged[i] tells of
 * all of them whether part i (from 0) has to make its own anew.
 */
enum llavamed_status part_set_prove_files(const struct part_set *set, const char *directory,
                                          const struct hash_files_options *options, bool *damaged,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Undoes what began the finish, so that parts can be made anew: writes the plan and the records of all parts that are
 * not `damaged` to files of their own again, then removes the file of all lines. OUT_BUSY, OUT_SPACE, OUT_UNWRITABLE...
 */
enum llavamed_status part_set_take_apart(const struct part_set *set, const char *directory,
                                         const struct run_guard *guard, const bool *damaged,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether OUT has these shards, by its SHA256SUMS, and is whole by its manifest. Nothing is hashed. */
bool part_set_is_published(const struct part_set *set, const char *out);

#endif
