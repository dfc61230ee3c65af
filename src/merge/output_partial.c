/* SPDX-License-Identifier: Apache-2.0 */
/* What another run has left at OUT.partial or beside OUT, and whether this one must leave it alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/stop_signal.h"
#include "io/directory.h"
#include "merge/output_dir_parts.h"

/* When nothing but the heartbeat can tell: how old it is, and from when on it counts as none. */
static void describe_heartbeat(const char *path, const struct claim *claim, char *age_text, size_t age_bytes,
                               char *wait_text, size_t wait_bytes)
{
    double seconds = 0;
    (void)snprintf(age_text, age_bytes, "of unknown age");
    (void)snprintf(wait_text, wait_bytes, "it can be taken over two minutes after its last heartbeat");
    if (claim_age(path, claim, &seconds)) {
        (void)snprintf(age_text, age_bytes, "%.0f s old", seconds > 0 ? seconds : 0);
        if (seconds < CLAIM_PATIENCE_S) {
            (void)snprintf(wait_text, wait_bytes, "without another one it can be taken over in %.0f s",
                           CLAIM_PATIENCE_S - (seconds > 0 ? seconds : 0));
        }
    }
}

enum llavamed_status output_fail_busy(const struct output_dir *dir, const char *path, const struct claim *claim,
                                      struct llavamed_error *error)
{
    bool is_whole = path == dir->claim && dir->work.mode == OUTPUT_DIR_WHOLE;
    const char *leftovers = is_whole ? dir->place.partial : path;
    const char *option = is_whole ? "-r " : "";
    char doing[64] = "writing it";
    char age[64];
    char wait[96];
    if (dir->work.mode == OUTPUT_DIR_PART && path == dir->claim) {
        (void)snprintf(doing, sizeof doing, "at part %u of %u of it", dir->work.part + 1, dir->work.n_parts);
    }
    if (claim->owner == CLAIM_ALIVE) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run is %s (process %llu)", dir->out, doing,
                            (unsigned long long)claim->pid);
        llavamed_hint(error, "wait for it, or choose another --out");
    } else if (claim->owner == CLAIM_FOREIGN) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                            "%s: another run may be %s (the claim in %s cannot be read)", dir->out, doing, leftovers);
        llavamed_hint(error, "when no other run uses it: rm %s-- '%s'", option, leftovers);
    } else if (claim->owner == CLAIM_REMOTE) {
        describe_heartbeat(path, claim, age, sizeof age, wait, sizeof wait);
        if (claim->pid != 0) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                                "%s: another run may be %s (process %llu on host '%s', which cannot be asked "
                                "from here; its heartbeat is %s)",
                                dir->out, doing, (unsigned long long)claim->pid, claim->host, age);
        } else {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                                "%s: another run may be %s (its claim is empty, its heartbeat is %s)", dir->out, doing,
                                age);
        }
        llavamed_hint(error, "%s; when that run is known to be over: rm %s-- '%s'", wait, option, leftovers);
    } else {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run was quicker", dir->out);
        llavamed_hint(error, "look whether it is still there, or choose another --out");
    }
    return LLAVAMED_STATUS_OUT_BUSY;
}

enum llavamed_status output_fail_not_ours(const struct output_dir *dir, const char *what, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, and %s", dir->place.partial, what);
    llavamed_hint(error, "the work is done under this name: move it away, or choose another --out");
    return LLAVAMED_STATUS_OUT_EXISTS;
}

/*
 * What a run has left is guarded by checksums alone, which anybody can make: only one's own is gone on with, and only
 * by one's own claim is anything moved or removed.
 */
enum llavamed_status output_check_owner(const struct output_dir *dir, const char *path, struct llavamed_error *error)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? LLAVAMED_OK
                               : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                     "%s: cannot look at it", path);
    }
    if (claim_owner_is_own(dir->publishing, info.st_uid)) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, and belongs to another user (number %llu)",
                        path, (unsigned long long)info.st_uid);
    llavamed_hint(error, "what another user has left is not gone on with: have it removed, or choose another --out");
    return LLAVAMED_STATUS_OUT_EXISTS;
}

enum llavamed_status output_check_beside(const struct output_dir *dir, struct llavamed_error *error)
{
    enum llavamed_status status = output_check_owner(dir, dir->publishing, error);
    if (status == LLAVAMED_OK && dir->work.mode != OUTPUT_DIR_WHOLE) {
        status = output_check_owner(dir, dir->parts_beside, error);
    }
    return status;
}

uint64_t output_bytes_on_disk(const char *directory, const struct directory_listing *listing)
{
    uint64_t total = 0;
    for (size_t i = 0; i < listing->n_names; i++) {
        struct stat info;
        char *path = path_join(directory, listing->names[i]);
        if (path != NULL && lstat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            total += (uint64_t)info.st_blocks * 512;
        }
        free(path);
    }
    return total;
}

bool output_age_is_in_the_way(double seconds)
{
    /* A heartbeat far in the time to come is that of a clock that nobody can wait for: watching has to tell. */
    return seconds < CLAIM_PATIENCE_S && seconds > -CLAIM_PATIENCE_S;
}

bool output_claim_is_in_the_way(const char *path, const struct claim *claim)
{
    double seconds;
    switch (claim->owner) {
    case CLAIM_ALIVE:
    case CLAIM_FOREIGN:
        return true;
    case CLAIM_REMOTE:
        return !claim_age(path, claim, &seconds) || output_age_is_in_the_way(seconds);
    case CLAIM_NONE:
    case CLAIM_DEAD:
    case CLAIM_REBOOT:
        break;
    }
    return false;
}

enum llavamed_status output_fail_alive(const struct output_dir *dir, const char *path, struct claim *claim,
                                       struct llavamed_error *error)
{
    enum llavamed_status status = claim_read(path, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    claim->owner = claim->owner == CLAIM_REBOOT ? CLAIM_REMOTE : claim->owner;
    return output_fail_busy(dir, path, claim, error);
}

enum llavamed_status output_watch(const struct output_dir *dir, const char *path, struct claim *claim,
                                  struct llavamed_error *error)
{
    if (claim->owner != CLAIM_REMOTE && claim->owner != CLAIM_REBOOT) {
        return LLAVAMED_OK;
    }
    bool changed = claim_watch(path, claim, dir->stop_signal);
    enum llavamed_status status = stop_signal_check(dir->stop_signal, error);
    return status != LLAVAMED_OK || !changed ? status : output_fail_alive(dir, path, claim, error);
}

bool output_holds_claims_only(const struct directory_listing *listing)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        if (strncmp(listing->names[i], OUTPUT_DIR_CLAIM_PREFIX, sizeof OUTPUT_DIR_CLAIM_PREFIX - 1) != 0) {
            return false;
        }
    }
    return true;
}

/* OUT.partial is a directory without a claim. */
static enum llavamed_status look_at_unclaimed(const struct output_dir *dir, const struct directory_listing *listing,
                                              enum partial_state *state, struct llavamed_error *error)
{
    struct claim claim;
    *state = PARTIAL_EMPTY;
    if (output_holds_claims_only(listing) || dir->work.mode == OUTPUT_DIR_FINISH) {
        return LLAVAMED_OK;
    }
    /* The claim may have moved while we looked. */
    enum llavamed_status status = claim_read(dir->publishing, &claim, error);
    if (status == LLAVAMED_OK && claim.owner != CLAIM_NONE) {
        return output_fail_busy(dir, dir->publishing, &claim, error);
    }
    return status != LLAVAMED_OK
               ? status
               : output_fail_not_ours(dir, "was not made by this program (it holds files and no claim)", error);
}

static enum llavamed_status look_into_partial(struct output_dir *dir, enum partial_state *state, struct claim *claim,
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
        return status == LLAVAMED_STATUS_NO_MEMORY ? status : output_fail_not_ours(dir, "cannot be looked into", error);
    }
    bool has_parts = output_holds_parts(dir, &listing);
    if (has_parts && dir->work.mode == OUTPUT_DIR_WHOLE) {
        status = output_fail_parts(dir, error);
    } else if (!has_parts && dir->work.mode == OUTPUT_DIR_FINISH && !output_holds_claims_only(&listing)) {
        status = output_fail_not_ours(dir, "holds no parts of a merge", error);
    } else if (claim->owner != CLAIM_NONE || *state == PARTIAL_PUBLISHED) {
        *state = *state == PARTIAL_PUBLISHED ? PARTIAL_PUBLISHED : PARTIAL_DEAD;
        dir->leftover_bytes = output_bytes_on_disk(dir->place.partial, &listing);
        dir->has_leftovers = !output_holds_claims_only(&listing);
    } else {
        status = look_at_unclaimed(dir, &listing, state, error);
    }
    directory_listing_deinit(&listing);
    return status;
}

enum llavamed_status output_partial_look(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                         struct llavamed_error *error)
{
    struct stat info;
    struct claim inside;
    dir->leftover_bytes = 0;
    dir->has_leftovers = false;
    if (dir->work.mode == OUTPUT_DIR_PART) {
        return output_part_look(dir, state, claim, error);
    }
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
    *state = claim->owner == CLAIM_NONE ? PARTIAL_MISSING : PARTIAL_PUBLISHED;
    if (lstat(dir->place.partial, &info) != 0) {
        return errno == ENOENT ? LLAVAMED_OK
                               : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                     "%s: cannot look at it", dir->place.partial);
    }
    if (!S_ISDIR(info.st_mode)) {
        return output_fail_not_ours(dir, "is not a directory", error);
    }
    return look_into_partial(dir, state, *state == PARTIAL_PUBLISHED ? &inside : claim, error);
}
