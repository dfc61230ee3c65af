/* SPDX-License-Identifier: Apache-2.0 */
/* The directory in which the parts of a merge work, each with a claim of its own: who may work beside whom. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/stop_signal.h"
#include "merge/output_dir_parts.h"
#include "merge/part_files.h"

/* A claim of somebody else who displaces it too is gone in no time. */
#define DISPLACE_ATTEMPTS_MAX 10
#define DISPLACE_PAUSE_NS 50000000
/* So many claims of others are looked at between two heartbeats. */
#define CLAIMS_PER_BEAT 256

static bool is_parts_name(const char *name)
{
    return strncmp(name, OUTPUT_DIR_PARTS_PREFIX, sizeof OUTPUT_DIR_PARTS_PREFIX - 1) == 0;
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

bool output_holds_parts(const struct output_dir *dir, const struct directory_listing *listing)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        if (is_parts_name(listing->names[i])) {
            return true;
        }
    }
    return part_all_is_at(dir->parts_beside);
}

enum llavamed_status output_fail_parts(const struct output_dir *dir, struct llavamed_error *error)
{
    bool is_there = exists(dir->place.partial);
    const char *path = is_there ? dir->place.partial : dir->parts_beside;
    (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, and holds parts of a merge", path);
    llavamed_hint(error,
                  "go on with its parts (--part), or with --finish when all are there; to give them up: rm %s-- '%s'",
                  is_there ? "-r " : "", path);
    return LLAVAMED_STATUS_OUT_EXISTS;
}

/* ---- Looking ---- */

static enum llavamed_status look_into(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                      struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = claim_read(dir->claim, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (output_claim_is_in_the_way(dir->claim, claim)) {
        return output_fail_busy(dir, dir->claim, claim, error);
    }
    status = output_check_owner(dir, dir->place.partial, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = directory_list(dir->place.partial, &listing, error);
    if (status != LLAVAMED_OK) {
        return status == LLAVAMED_STATUS_NO_MEMORY ? status
                                                   : output_fail_not_ours(dir, "cannot be looked into", error);
    }
    *state = claim->owner != CLAIM_NONE ? PARTIAL_DEAD : PARTIAL_EMPTY;
    dir->leftover_bytes = output_bytes_on_disk(dir->place.partial, &listing);
    dir->has_leftovers = true; /* of whomever: nothing is removed */
    if (!output_holds_parts(dir, &listing) && !output_holds_claims_only(&listing)) {
        bool has_main = exists(dir->main_claim);
        status = output_fail_not_ours(dir,
                                      has_main
                                          ? "is an interrupted run's that made all of it"
                                          : "was not made by this program (it holds files and no parts of a merge)",
                                      error);
        if (has_main) {
            llavamed_hint(error, "go on with it by the same command without --part; to give it up: rm -r -- '%s'",
                          dir->place.partial);
        }
    }
    directory_listing_deinit(&listing);
    return status;
}

enum llavamed_status output_part_look(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                      struct llavamed_error *error)
{
    struct stat info;
    struct claim other;
    dir->leftover_bytes = 0;
    dir->has_leftovers = true;
    enum llavamed_status status = claim_read(dir->publishing, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (output_claim_is_in_the_way(dir->publishing, claim)) {
        return output_fail_busy(dir, dir->publishing, claim, error);
    }
    status = output_check_beside(dir, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (claim->owner != CLAIM_NONE) {
        *state = PARTIAL_PUBLISHED;
        return LLAVAMED_OK;
    }
    if (lstat(dir->place.partial, &info) != 0) {
        *state = PARTIAL_MISSING;
        return errno == ENOENT ? LLAVAMED_OK
                               : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                     "%s: cannot look at it", dir->place.partial);
    }
    if (!S_ISDIR(info.st_mode)) {
        return output_fail_not_ours(dir, "is not a directory", error);
    }
    if (dir->work.n_parts > 1) { /* else it is our own */
        status = claim_read(dir->main_claim, &other, error);
        if (status == LLAVAMED_OK && output_claim_is_in_the_way(dir->main_claim, &other)) {
            status = output_fail_busy(dir, dir->main_claim, &other, error);
        }
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    return look_into(dir, state, claim, error);
}

/* ---- Beside whom ---- */

/* Whether a name is that of the claim of a part: ".llavamed-claim-2-of-3.json", and not of a whole run. */
static bool is_claim_of_part(const char *name)
{
    unsigned part = 0;
    unsigned n_parts = 0;
    int n = 0;
    return sscanf(name, OUTPUT_DIR_CLAIM_PREFIX "%5u-of-%5u.json%n", &part, &n_parts, &n) == 2 && n > 0 &&
           name[n] == '\0' && n_parts > 1 && n_parts <= LLAVAMED_PARTS_MAX && part >= 1 && part <= n_parts;
}

/* Claims of which only watching can tell whether they are dead. */
struct doubtful {
    struct claim_sight *sights; /* owned */
    size_t n_sights;
    bool has_clock; /* what time it was when the first of them was read: asking costs a file */
    int64_t now_ns;
};

static void free_doubtful(struct doubtful *doubtful)
{
    for (size_t i = 0; i < doubtful->n_sights; i++) {
        claim_sight_deinit(&doubtful->sights[i]);
    }
    free(doubtful->sights);
}

/* Looking at many claims takes long where a server keeps them. */
static enum llavamed_status go_on(const struct output_dir *dir, size_t n_seen, struct llavamed_error *error)
{
    if (n_seen % CLAIMS_PER_BEAT == 0) {
        (void)claim_beat(dir->claim, dir->text);
    }
    return stop_signal_check(dir->stop_signal, error);
}

static bool is_in_the_way(const char *path, const struct claim *claim, struct doubtful *doubtful)
{
    if (claim->owner != CLAIM_REMOTE) {
        return output_claim_is_in_the_way(path, claim);
    }
    doubtful->has_clock = doubtful->has_clock || claim_clock(path, &doubtful->now_ns);
    return !doubtful->has_clock || output_age_is_in_the_way((double)(doubtful->now_ns - claim->beat_ns) / 1e9);
}

static enum llavamed_status check_claim_of_part(const struct output_dir *dir, const char *name,
                                                struct doubtful *doubtful, struct llavamed_error *error)
{
    struct claim claim;
    char *path = path_join(dir->place.partial, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = claim_read(path, &claim, error);
    if (status == LLAVAMED_OK && is_in_the_way(path, &claim, doubtful)) {
        status = output_fail_busy(dir, path, &claim, error);
    }
    if (status == LLAVAMED_OK && (claim.owner == CLAIM_REMOTE || claim.owner == CLAIM_REBOOT)) {
        status = claim_sight_take(path, &claim, &doubtful->sights[doubtful->n_sights++], error);
    }
    free(path);
    return status;
}

/* output_watch() of all of them in the time of one: a look after one heartbeat, and one after another. */
static enum llavamed_status watch_all(const struct output_dir *dir, const struct doubtful *doubtful,
                                      struct llavamed_error *error)
{
    struct claim claim;
    enum llavamed_status status = LLAVAMED_OK;
    for (int look = 0; status == LLAVAMED_OK && doubtful->n_sights > 0 && look < 2; look++) {
        claim_wait_beat(dir->stop_signal);
        for (size_t i = 0; status == LLAVAMED_OK && i < doubtful->n_sights; i++) {
            status = go_on(dir, i, error);
            if (status == LLAVAMED_OK && !claim_sight_holds(&doubtful->sights[i])) {
                status = output_fail_alive(dir, doubtful->sights[i].path, &claim, error);
            }
        }
    }
    return status;
}

static enum llavamed_status check_claims(const struct output_dir *dir, const struct directory_listing *listing,
                                         struct llavamed_error *error)
{
    struct doubtful doubtful = {.sights = calloc(listing->n_names + 1, sizeof *doubtful.sights)};
    size_t n_claims = 0;
    if (doubtful.sights == NULL) {
        return llavamed_fail_memory(error, listing->n_names * sizeof *doubtful.sights, "the list of claims");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < listing->n_names; i++) {
        if (is_claim_of_part(listing->names[i])) {
            status = go_on(dir, n_claims++, error);
            if (status == LLAVAMED_OK) {
                status = check_claim_of_part(dir, listing->names[i], &doubtful, error);
            }
        }
    }
    if (status == LLAVAMED_OK) {
        status = watch_all(dir, &doubtful, error);
    }
    free_doubtful(&doubtful);
    return status;
}

/* For whoever works alone. */
static enum llavamed_status check_alone(const struct output_dir *dir, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(dir->place.partial, &listing, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = output_fail_not_ours(dir, "cannot be looked into", error);
    }
    if (status == LLAVAMED_OK) {
        status = check_claims(dir, &listing, error);
    }
    if (status == LLAVAMED_OK && dir->work.mode == OUTPUT_DIR_WHOLE && output_holds_parts(dir, &listing)) {
        status = output_fail_parts(dir, error);
    }
    directory_listing_deinit(&listing);
    return status;
}

enum llavamed_status output_dir_check_alone(const struct output_dir *dir, struct llavamed_error *error)
{
    return check_alone(dir, error);
}

/* OUT_BUSY also when somebody else was quicker, or a claim that seemed to be a dead run's shows life. */
static enum llavamed_status try_to_displace(const struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    struct claim seen;
    char text[CLAIM_BYTES_MAX];
    enum llavamed_status status = claim_read(dir->main_claim, &claim, error);
    if (status != LLAVAMED_OK || claim.owner == CLAIM_NONE) {
        return status;
    }
    if (output_claim_is_in_the_way(dir->main_claim, &claim)) {
        return output_fail_busy(dir, dir->main_claim, &claim, error);
    }
    status = output_watch(dir, dir->main_claim, &claim, error);
    if (status == LLAVAMED_OK) {
        status = claim_replace(dir->main_claim, &claim, dir->stop_signal, text, &seen, error);
        status = status == LLAVAMED_STATUS_OUT_BUSY ? output_fail_busy(dir, dir->main_claim, &seen, error) : status;
    }
    if (status == LLAVAMED_OK && claim_is(dir->main_claim, text)) {
        (void)unlink(dir->main_claim);
    }
    return status;
}

/*
 * Whoever was finishing and stands still may wake up: then it has to find its claim gone. Several parts that come at
 * once may each displace it, for a moment by a claim of their own.
 */
static enum llavamed_status displace_finisher(const struct output_dir *dir, struct llavamed_error *error)
{
    const struct timespec pause = {.tv_nsec = DISPLACE_PAUSE_NS};
    enum llavamed_status status = try_to_displace(dir, error);
    for (int i = 0; i < DISPLACE_ATTEMPTS_MAX && status == LLAVAMED_STATUS_OUT_BUSY; i++) {
        (void)nanosleep(&pause, NULL);
        status = try_to_displace(dir, error);
    }
    return status;
}

enum llavamed_status output_check_company(const struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    if (dir->work.mode != OUTPUT_DIR_PART) {
        return check_alone(dir, error);
    }
    enum llavamed_status status = dir->work.n_parts > 1 ? displace_finisher(dir, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK) {
        status = claim_read(dir->publishing, &claim, error);
    }
    return status != LLAVAMED_OK || claim.owner == CLAIM_NONE ? status
                                                              : output_fail_busy(dir, dir->publishing, &claim, error);
}

/* ---- Giving up ---- */

/* The plan alone is of no use to anybody. Should another part have begun just now, it writes it anew in the end. */
void output_part_abandon(const struct output_dir *dir)
{
    struct directory_listing listing = {0};
    (void)unlink(dir->claim);
    bool only_plan = directory_list(dir->place.partial, &listing, NULL) == LLAVAMED_OK;
    for (size_t i = 0; only_plan && i < listing.n_names; i++) {
        only_plan = strcmp(listing.names[i], PART_PLAN_NAME) == 0;
    }
    char *plan = only_plan ? path_join(dir->place.partial, PART_PLAN_NAME) : NULL;
    if (plan != NULL) {
        (void)unlink(plan);
        (void)rmdir(dir->place.partial);
    }
    free(plan);
    directory_listing_deinit(&listing);
}
