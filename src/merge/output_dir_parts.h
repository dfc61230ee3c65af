/* SPDX-License-Identifier: Apache-2.0 */
/* What output_dir.c, output_partial.c and output_publish.c share: the fields of an output directory. */
#ifndef MERGE_OUTPUT_DIR_PARTS_H
#define MERGE_OUTPUT_DIR_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/run_guard.h"
#include "io/directory.h"
#include "merge/claim.h"
#include "merge/output_dir.h"
#include "merge/output_place.h"

#define CLAIM_NAME_BYTES 64

#define MENDING_STEPS_MAX 8
#define CLAIM_KEY_BYTES 17 /* sixteen hex digits and a NUL */

struct output_dir {
    char *out; /* as given, for messages */
    struct output_place place;
    struct output_dir_work work;
    char stem[CLAIM_NAME_BYTES]; /* all names that claims of this work ever have, begin with this */
    char *claim;      /* in OUT.partial */
    char *main_claim; /* that of a whole run or of finishing; of these the same */
    char *parts_beside; /* OUT.publishing.parts */
    char *publishing; /* where the claim is while the finished directory gets its name: OUT.publishing.json */
    const volatile int *stop_signal; /* may be NULL */
    struct run_guard guard;          /* on this */
    pthread_mutex_t mutex;           /* over next_beat_ns, begun, and where the claim is, after _begin */
    uint64_t next_beat_ns;
    atomic_uint_fast64_t confirmed_ns; /* when the claim was last seen to be ours */
    uint64_t leftover_bytes;           /* of a dead run's OUT.partial */
    bool has_leftovers;                /* it holds more than claims */
    char *kept;                        /* where _begin has put what a dead run had replaced; NULL: nowhere */
    bool force;
    bool begun;
    atomic_bool lost;           /* the claim was seen not to be ours */
    char text[CLAIM_BYTES_MAX]; /* our claim */
};

enum partial_state {
    PARTIAL_MISSING,
    PARTIAL_EMPTY,
    PARTIAL_DEAD,      /* leftovers of a dead run, with its claim */
    PARTIAL_PUBLISHED, /* a run died while it published: its claim lies beside OUT */
};

/* ---- output_partial.c ---- */

/*
 * What OUT.partial is; OUT_BUSY or OUT_EXISTS when this run must leave it alone. `claim` is its claim, or for
 * PARTIAL_PUBLISHED the one beside OUT.
 */
enum llavamed_status output_partial_look(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* OUT_BUSY, worded for the claim at `path`: dir->claim or dir->publishing. */
enum llavamed_status output_fail_busy(const struct output_dir *dir, const char *path, const struct claim *claim,
                                      struct llavamed_error *error);

/* Whether a run must leave alone what this claim is of. One that can only be known to be dead by watching is not. */
bool output_claim_is_in_the_way(const char *path, const struct claim *claim);

/* The same of a claim of which only its heartbeat tells, that many seconds after it. */
bool output_age_is_in_the_way(double seconds);

/* OUT_EXISTS: OUT.partial is there, and `what`. */
enum llavamed_status output_fail_not_ours(const struct output_dir *dir, const char *what, struct llavamed_error *error);

/*
 * OUT_EXISTS when what is at `path`, or of what may lie beside OUT for other runs, belongs to another user. Such a
 * thing may have been made to be taken for what a run of ours has left.
 */
enum llavamed_status output_check_owner(const struct output_dir *dir, const char *path,
                                        struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status output_check_beside(const struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

uint64_t output_bytes_on_disk(const char *directory, const struct directory_listing *listing);

/* OUT_BUSY when somebody lives whose claim could not be known to be dead by a look; INTERRUPTED while waiting. */
enum llavamed_status output_watch(const struct output_dir *dir, const char *path, struct claim *claim,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/* What output_watch() gives once its claim has changed. */
enum llavamed_status output_fail_alive(const struct output_dir *dir, const char *path, struct claim *claim,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether there is nothing but claims and drafts of them, as a run leaves them that dies before it works. */
bool output_holds_claims_only(const struct directory_listing *listing);

/* ---- output_dir.c ---- */

/* OUT followed by `suffix`, and where `key` is not NULL by that; malloc'ed, NULL when out of memory. */
char *output_sibling(const struct output_dir *dir, const char *suffix, const char *key);

/*
 * Removes claims, drafts and successors of claims that other runs have left in a directory that is ours, but `keep`:
 * those whose names begin with `stem`. NO_MEMORY, OUT_UNWRITABLE.
 */
enum llavamed_status output_remove_strays(const char *directory, const char *stem, const char *keep,
                                          struct llavamed_error *error);

/* OUT_BUSY with who has taken over. */
enum llavamed_status output_fail_lost(struct output_dir *dir, struct llavamed_error *error);

/* ---- output_part.c ---- */

/* output_partial_look() for a part. */
enum llavamed_status output_part_look(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether there is something that parts have left. */
bool output_holds_parts(const struct output_dir *dir, const struct directory_listing *listing);
enum llavamed_status output_fail_parts(const struct output_dir *dir, struct llavamed_error *error);

/* Right after our claim was put: OUT_BUSY or OUT_EXISTS when it must not stand beside what else is there. */
enum llavamed_status output_check_company(const struct output_dir *dir, struct llavamed_error *error) LLAVAMED_CHECK;

/* output_dir_abandon() of a part, whose claim is ours. */
void output_part_abandon(const struct output_dir *dir);

/* ---- output_publish.c ---- */

/*
 * One step from what a run has left that died while it published to a state of before or after it; see
 * output_publish.c. `dead` is the claim beside OUT. Several runs may do it at once.
 */
enum llavamed_status output_publish_mend(struct output_dir *dir, const struct claim *dead,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

#endif
