/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moment in which the finished directory gets its name, and what a run makes of it that finds another one dead in
 * that moment.
 *
 * OUT must never hold a claim, and OUT.partial never be without one: then somebody else would take it for free while
 * it is renamed. So the claim first moves beside OUT. Each step is one rename; KEY is made from the claim's bytes, so
 * no two runs have the same:
 *
 *   OUT.partial/claim -> OUT.publishing.json
 *   OUT.partial -> OUT.ready-KEY
 *   OUT.ready-KEY -> OUT; where there is an old OUT of ours, instead
 *       the two are exchanged, and OUT.ready-KEY -> OUT.replaced-KEY; or, where names cannot be exchanged,
 *       OUT -> OUT.replaced-KEY, then OUT.ready-KEY -> OUT
 *   OUT.replaced-KEY is removed, the manifest last, by which it is known to be ours, then OUT.publishing.json; should
 *       anything have been added to it meanwhile, it is kept instead, as OUT.kept-KEY
 *
 * A run may stand still before any of these for so long that another one takes over, and then go on. What it does then
 * to a name with its own KEY finds nothing, because the other one has moved the directory to OUT.partial before it went
 * on. What it does to a name that all runs share may hit what is the other one's: so each such rename is followed by a
 * look whether OUT.publishing.json is still ours, and undone if it is not.
 *
 * The directory that holds OUT is made durable after the first step and after the last one that changes OUT, and before
 * a claim goes: so that after a power failure, too, OUT.publishing.json is there as long as a name with its KEY is.
 */
#include "merge/output_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "integrity/digest.h"
#include "io/directory.h"
#include "merge/manifest.h"
#include "merge/output_dir_parts.h"
#include "merge/own_output.h"

/* A claim is moved back so often when a run that mends late has put it where it was. */
#define ATTEMPTS_MAX 3

/* glibc and musl came to have renameat2() late, so the call is made by number. */
static bool exchange_names(const char *a, const char *b)
{
    const unsigned exchange = 2; /* RENAME_EXCHANGE */
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, exchange) == 0;
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* An old OUT may have permissions that keep us from changing what is in it. */
static void make_changeable(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode) && (info.st_mode & 0700) != 0700) {
        (void)chmod(path, (info.st_mode & 07777) | 0700);
    }
}

static bool is_empty_directory(const char *path)
{
    struct directory_listing listing = {0};
    bool is_empty = directory_list(path, &listing, NULL) == LLAVAMED_OK && listing.n_names == 0;
    directory_listing_deinit(&listing);
    return is_empty;
}

/* The names that belong to one claim alone. */
struct own_names {
    char *ready;
    char *replaced;
    char *kept;
};

static void own_names_deinit(struct own_names *names)
{
    free(names->ready);
    free(names->replaced);
    free(names->kept);
    *names = (struct own_names){0};
}

static enum llavamed_status own_names_init(const struct output_dir *dir, const char *claim_text,
                                           struct own_names *names, struct llavamed_error *error)
{
    char hex[SHA256_HEX_BYTES];
    enum llavamed_status status = sha256_of(claim_text, strlen(claim_text), hex, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    hex[CLAIM_KEY_BYTES - 1] = '\0';
    names->ready = output_sibling(dir, ".ready-", hex);
    names->replaced = output_sibling(dir, ".replaced-", hex);
    names->kept = output_sibling(dir, ".kept-", hex);
    if (names->ready != NULL && names->replaced != NULL && names->kept != NULL) {
        return LLAVAMED_OK;
    }
    own_names_deinit(names);
    return llavamed_fail_memory(error, strlen(dir->place.path), "a path");
}

/* ---- What was replaced ---- */

/* OUT_EXISTS when it is kept, OUT_UNWRITABLE when not even that can be done. What is empty by now is removed. */
static enum llavamed_status keep_replaced(const struct own_names *names, const char *path,
                                          struct llavamed_error *error)
{
    char why[LLAVAMED_MESSAGE_BYTES];
    const char *because = error == NULL ? NULL : strstr(error->message, "because ");
    (void)snprintf(why, sizeof why, "%s", because == NULL ? "because something has come to it" : because);
    if (rmdir(path) == 0 || errno == ENOENT) {
        return LLAVAMED_OK; /* by another run that mends the same */
    }
    if (rename(path, names->kept) != 0) {
        return errno == ENOENT ? LLAVAMED_OK
                               : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                     "%s: cannot rename", path);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: what was replaced is kept under this name, %s",
                         names->kept, why);
}

static enum llavamed_status remove_name(const char *directory, const char *name, struct llavamed_error *error)
{
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (unlink(path) != 0 && errno != ENOENT) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove", path);
    }
    free(path);
    return status;
}

/*
 * The files that were there before all of them were seen to be ours; the manifest last, after a power failure too:
 * whoever goes on with that when this run has died has to know the directory by it.
 */
static enum llavamed_status remove_listed(const char *path, const struct directory_listing *listing,
                                          struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < listing->n_names; i++) {
        if (strcmp(listing->names[i], MANIFEST_FILE_NAME) != 0) {
            status = remove_name(path, listing->names[i], error);
        }
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    (void)!directory_sync(path, NULL); /* without it, too, all of it goes */
    return remove_name(path, MANIFEST_FILE_NAME, error);
}

/*
 * Removes what was at OUT. That it was all ours was seen before; what was added since is nobody's to remove: then
 * OUT_EXISTS, and what is left is kept.
 */
static enum llavamed_status remove_replaced(const struct own_names *names, const char *path,
                                            struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    make_changeable(path);
    enum llavamed_status status = directory_list(path, &listing, error);
    if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        return LLAVAMED_OK; /* somebody else has removed it */
    }
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = error->status = LLAVAMED_STATUS_OUT_UNWRITABLE; /* no input; the message holds */
    }
    if (status == LLAVAMED_OK && listing.n_names > 0) {
        status = own_output_check_replaced(path, &listing, error);
        if (status == LLAVAMED_OK) {
            status = remove_listed(path, &listing, error);
        } else if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            directory_listing_deinit(&listing);
            return keep_replaced(names, path, error);
        }
    }
    directory_listing_deinit(&listing);
    if (status == LLAVAMED_OK && rmdir(path) != 0 && errno != ENOENT) {
        if (errno == ENOTEMPTY || errno == EEXIST) {
            memset(error, 0, sizeof *error);
            return keep_replaced(names, path, error);
        }
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove the directory",
                                     path);
    }
    return status;
}

/* ---- Publishing ---- */

/* How far it came. */
struct switching {
    struct own_names names;
    enum output_content content; /* of OUT, before */
    const char *old_path;        /* where a replaced OUT is; NULL: there is none */
    mode_t partial_mode;
};

/* Whether the claim beside OUT is ours; one that a late mending has moved into a new OUT.partial is fetched back. */
static bool owns(const struct output_dir *dir)
{
    if (claim_is(dir->publishing, dir->text)) {
        return true;
    }
    return claim_is(dir->claim, dir->text) && rename(dir->claim, dir->publishing) == 0 &&
           claim_is(dir->publishing, dir->text);
}

/* OUT_BUSY when another run has taken over or has begun to, else what the failed rename means. */
static enum llavamed_status fail_rename(struct output_dir *dir, const struct switching *at, int errno_value,
                                        struct llavamed_error *error)
{
    if (!owns(dir) || (errno_value == ENOENT && !exists(at->names.ready))) {
        return output_fail_lost(dir, error);
    }
    bool taken = errno_value == ENOTEMPTY || errno_value == EEXIST || errno_value == ENOTDIR;
    return llavamed_fail_errno(error, taken ? LLAVAMED_STATUS_OUT_EXISTS : LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value,
                               "%s: cannot give the finished directory its name", dir->out);
}

/* The claim moves beside OUT, and the directory to a name that is ours alone. On failure both are where they were. */
static enum llavamed_status set_apart(struct output_dir *dir, const struct switching *at, struct llavamed_error *error)
{
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        if (rename(dir->claim, dir->publishing) != 0) {
            return errno == ENOENT ? output_fail_lost(dir, error)
                                   : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                         "%s: cannot move the file", dir->claim);
        }
        bool same = false;
        enum llavamed_status status = claim_compare(dir->publishing, dir->text, &same, error);
        if (!same) {
            (void)rename(dir->publishing, dir->claim);
            return status != LLAVAMED_OK ? status : output_fail_lost(dir, error);
        }
        /* A power failure must not leave the new name without the claim that it is made from. */
        status = directory_sync(dir->place.parent, error);
        if (status == LLAVAMED_OK && rename(dir->place.partial, at->names.ready) != 0) {
            status = fail_rename(dir, at, errno, error);
        }
        if (status != LLAVAMED_OK) {
            if (claim_is(dir->publishing, dir->text)) {
                (void)rename(dir->publishing, dir->claim);
            }
            return status;
        }
        status = claim_compare(dir->publishing, dir->text, &same, error);
        if (same) {
            return LLAVAMED_OK;
        }
        (void)rename(at->names.ready, dir->place.partial);
        if (status != LLAVAMED_OK) {
            return status; /* the next run mends a claim that is left beside OUT */
        }
        if (!claim_is(dir->claim, dir->text)) {
            break;
        }
    }
    return output_fail_lost(dir, error);
}

/* Undoes set_apart(). */
static void put_back(const struct output_dir *dir, const struct switching *at)
{
    if (claim_is(dir->publishing, dir->text)) {
        (void)chmod(at->names.ready, at->partial_mode);
        (void)rename(at->names.ready, dir->place.partial);
        (void)!directory_sync(dir->place.parent, NULL);
        (void)rename(dir->publishing, dir->claim);
    }
}

/* Where names cannot be exchanged. */
static enum llavamed_status rename_twice(struct output_dir *dir, struct switching *at, struct llavamed_error *error)
{
    if (rename(dir->place.path, at->names.replaced) != 0) {
        return fail_rename(dir, at, errno, error);
    }
    int errno_value = 0;
    if (owns(dir)) {
        if (rename(at->names.ready, dir->place.path) == 0) {
            at->old_path = at->names.replaced;
            return LLAVAMED_OK;
        }
        errno_value = errno;
    }
    (void)rename(at->names.replaced, dir->place.path);
    return fail_rename(dir, at, errno_value, error);
}

/*
 * Puts the finished directory at OUT. rename(2) of a directory replaces nothing but an empty directory, so no flag is
 * needed to keep what may have come there. When it succeeds, the directory was still ours.
 */
static enum llavamed_status put_in_place(struct output_dir *dir, struct switching *at, struct llavamed_error *error)
{
    if (!owns(dir)) {
        return output_fail_lost(dir, error);
    }
    if (at->content != OUTPUT_OURS) {
        return rename(at->names.ready, dir->place.path) == 0 ? LLAVAMED_OK : fail_rename(dir, at, errno, error);
    }
    if (exchange_names(at->names.ready, dir->place.path)) {
        bool renamed = rename(at->names.ready, at->names.replaced) == 0;
        at->old_path = renamed ? at->names.replaced : at->names.ready;
        return LLAVAMED_OK;
    }
    return owns(dir) ? rename_twice(dir, at, error) : output_fail_lost(dir, error);
}

/* Undoes put_in_place() when it succeeded. */
static void take_back(const struct output_dir *dir, const struct switching *at)
{
    if (!owns(dir)) {
        return;
    }
    if (at->old_path == NULL) {
        (void)rename(dir->place.path, at->names.ready);
    } else if (exchange_names(at->old_path, dir->place.path)) {
        (void)rename(at->old_path, at->names.ready);
    } else {
        (void)rename(dir->place.path, at->names.ready);
        (void)rename(at->old_path, dir->place.path);
    }
}

/* The directory gets the permissions of what it replaces and becomes durable. */
static enum llavamed_status get_ready(const struct output_dir *dir, const struct switching *at,
                                      struct llavamed_error *error)
{
    struct stat info;
    enum llavamed_status status = output_remove_strays(at->names.ready, OUTPUT_DIR_CLAIM_PREFIX, NULL, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (at->content != OUTPUT_MISSING && stat(dir->place.path, &info) == 0) {
        (void)chmod(at->names.ready, info.st_mode & 07777);
    }
    return directory_sync(at->names.ready, error);
}

static enum llavamed_status switch_names(struct output_dir *dir, struct switching *at, struct llavamed_error *error)
{
    enum llavamed_status status = set_apart(dir, at, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = get_ready(dir, at, error);
    if (status != LLAVAMED_OK && !exists(at->names.ready)) {
        status = output_fail_lost(dir, error); /* moved by a run that has begun to take over */
    }
    if (status == LLAVAMED_OK) {
        status = put_in_place(dir, at, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_sync(dir->place.parent, error);
        if (status != LLAVAMED_OK) {
            take_back(dir, at);
        }
    }
    if (status != LLAVAMED_OK) {
        put_back(dir, at);
    }
    return status;
}

/* The claim is ours, and everything is there. The work took its time: look once more what OUT is. */
static enum llavamed_status check_before(struct output_dir *dir, struct switching *at, struct llavamed_error *error)
{
    struct stat info;
    enum llavamed_status status = output_dir_check_claim(dir, error);
    if (status == LLAVAMED_OK) {
        status = output_place_look(dir->out, &dir->place, dir->force, &at->content, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct llavamed_error wrong = {0};
    status = own_output_check(dir->place.partial, dir->place.partial, true, &wrong);
    if (status == LLAVAMED_STATUS_OUT_EXISTS) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE, "%s (somebody has changed it meanwhile)",
                             wrong.message);
    }
    if (status != LLAVAMED_OK) {
        *error = wrong;
        return status;
    }
    if (stat(dir->place.partial, &info) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot look at it",
                                   dir->place.partial);
    }
    at->partial_mode = info.st_mode & 07777;
    /* Whoever mends has to know it by its manifest, after a power failure too. */
    status = directory_sync(dir->place.partial, error);
    return status == LLAVAMED_OK ? own_names_init(dir, dir->text, &at->names, error) : status;
}

/* OUT is in place and durable. */
static enum llavamed_status clean_up(const struct output_dir *dir, const struct switching *at,
                                     struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (at->old_path != NULL) {
        status = remove_replaced(&at->names, at->old_path, error);
        if (status == LLAVAMED_OK || status == LLAVAMED_STATUS_OUT_EXISTS) {
            struct llavamed_error unsynced = {0};
            enum llavamed_status synced = directory_sync(dir->place.parent, &unsynced);
            if (synced != LLAVAMED_OK && status == LLAVAMED_OK) {
                *error = unsynced;
                status = synced;
            }
        }
    }
    if ((status == LLAVAMED_OK || status == LLAVAMED_STATUS_OUT_EXISTS) && claim_is(dir->publishing, dir->text)) {
        (void)unlink(dir->publishing);
    }
    return status;
}

enum llavamed_status output_dir_publish(struct output_dir *dir, bool *old_left, struct llavamed_error *error)
{
    struct switching at = {0};
    (void)pthread_mutex_lock(&dir->mutex);
    enum llavamed_status status = check_before(dir, &at, error);
    if (status == LLAVAMED_OK) {
        status = switch_names(dir, &at, error);
    }
    if (status == LLAVAMED_OK) {
        dir->begun = false;
        bool is_left = clean_up(dir, &at, error) != LLAVAMED_OK;
        if (old_left != NULL) {
            *old_left = is_left;
        }
    }
    own_names_deinit(&at.names);
    (void)pthread_mutex_unlock(&dir->mutex);
    return status;
}

/* ---- Mending ---- */

/* A rename that another run may have made just before counts as made: whoever mends looks again afterwards. */
static enum llavamed_status mend_rename(const char *from, const char *to, struct llavamed_error *error)
{
    if (rename(from, to) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST) {
        return LLAVAMED_OK;
    }
    return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", from);
}

static void note_kept(struct output_dir *dir, const struct own_names *names)
{
    free(dir->kept);
    dir->kept = strdup(names->kept);
}

/*
 * Without an OUT, or with one that somebody has made and left empty, the new one takes its place when all of it is
 * there, or else the old one does.
 */
static enum llavamed_status mend_replaced(struct output_dir *dir, const struct own_names *names,
                                          struct llavamed_error *error)
{
    struct llavamed_error why = {0};
    if (exists(dir->place.path) && !is_empty_directory(dir->place.path)) {
        /* A whole one is the new one. Any other is not known, and then the old one may be all there is. */
        enum llavamed_status status = own_output_check(dir->place.path, dir->place.path, true, &why);
        status = status == LLAVAMED_OK                 ? remove_replaced(names, names->replaced, &why)
                 : status == LLAVAMED_STATUS_OUT_EXISTS ? keep_replaced(names, names->replaced, &why)
                                                        : status;
        if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            note_kept(dir, names);
            return LLAVAMED_OK; /* it is out of the way */
        }
        if (status != LLAVAMED_OK && !exists(names->replaced)) {
            return LLAVAMED_OK; /* another run that mends was quicker */
        }
        if (status != LLAVAMED_OK && error != NULL) {
            *error = why;
        }
        return status;
    }
    bool is_whole = own_output_check(names->ready, names->ready, true, NULL) == LLAVAMED_OK;
    return mend_rename(is_whole ? names->ready : names->replaced, dir->place.path, error);
}

/*
 * The finished directory, or the old one right after an exchange, becomes OUT.partial, where all may be removed: so
 * nothing that is not known to be ours, whether it came to it or somebody gave another directory this name. The
 * manifest is in it, which names all else: see check_before() and remove_listed().
 */
static enum llavamed_status mend_ready(struct output_dir *dir, const struct own_names *names,
                                       struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    struct llavamed_error why = {0};
    make_changeable(names->ready);
    enum llavamed_status status = own_output_check_work(names->ready, &why);
    if (status == LLAVAMED_STATUS_OUT_EXISTS && exists(names->ready)) {
        status = keep_replaced(names, names->ready, &why);
        if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            note_kept(dir, names);
            return LLAVAMED_OK;
        }
    }
    if (status != LLAVAMED_OK && exists(names->ready)) {
        if (error != NULL) {
            *error = why;
        }
        return status;
    }
    if (directory_list(dir->place.partial, &listing, NULL) == LLAVAMED_OK) {
        /* Of a run that came at the wrong moment and died. */
        if (output_holds_claims_only(&listing)) {
            (void)output_remove_strays(dir->place.partial, OUTPUT_DIR_CLAIM_PREFIX, NULL, NULL);
        }
        directory_listing_deinit(&listing);
    }
    return mend_rename(names->ready, dir->place.partial, error);
}

/* By the claim that it gets all of OUT.partial is ours to remove: see mend_ready(). */
static enum llavamed_status mend_claim(const struct output_dir *dir, struct llavamed_error *error)
{
    struct llavamed_error why = {0};
    if (!exists(dir->place.partial)) {
        enum llavamed_status status = directory_create(dir->place.partial, error);
        return status == LLAVAMED_STATUS_OUT_EXISTS ? LLAVAMED_OK : status;
    }
    if (exists(dir->main_claim)) {
        (void)unlink(dir->publishing); /* nothing left that it could be the claim of */
        return LLAVAMED_OK;
    }
    enum llavamed_status status = own_output_check_work(dir->place.partial, &why);
    if (status != LLAVAMED_OK) {
        if (!exists(dir->place.partial) || exists(dir->main_claim)) {
            return LLAVAMED_OK; /* by another run that mends; whoever mends looks again */
        }
        if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            return output_fail_not_ours(dir, "was not made by this program (it holds other files)", error);
        }
        if (error != NULL) {
            *error = why;
        }
        return status;
    }
    status = directory_sync(dir->place.parent, error);
    return status == LLAVAMED_OK ? mend_rename(dir->publishing, dir->main_claim, error) : status;
}

enum llavamed_status output_publish_mend(struct output_dir *dir, const struct claim *dead, struct llavamed_error *error)
{
    struct own_names names = {0};
    enum llavamed_status status = own_names_init(dir, dead->text, &names, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool has_replaced = exists(names.replaced);
    bool has_ready = exists(names.ready);
    if (!claim_same(dir->publishing, dead)) {
        status = LLAVAMED_OK; /* somebody else has mended it; this one may be alive */
    } else if (has_replaced) {
        status = mend_replaced(dir, &names, error);
    } else if (has_ready) {
        status = mend_ready(dir, &names, error);
    } else {
        status = mend_claim(dir, error);
    }
    own_names_deinit(&names);
    return status;
}

bool output_dir_has_successor(const struct output_dir *dir)
{
    struct claim inside;
    struct claim beside;
    if (claim_read(dir->claim, &inside, NULL) != LLAVAMED_OK ||
        claim_read(dir->publishing, &beside, NULL) != LLAVAMED_OK) {
        return false;
    }
    return inside.owner != CLAIM_NONE || (beside.owner != CLAIM_NONE && strcmp(beside.text, dir->text) != 0);
}
