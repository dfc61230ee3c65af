/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moment in which the finished directory gets its name, and what a run makes of it that finds another one dead in
 * that moment.
 *
 * OUT must never hold a claim, and OUT.partial never be without one: then somebody else would take it for free while
 * it is renamed. So the claim first moves beside OUT, to OUT.publishing.json. Each step is one rename:
 *
 *   OUT.partial/claim -> OUT.publishing.json
 *   OUT.partial -> OUT, exchanged with an old OUT; or, where names cannot be exchanged,
 *       OUT.publishing.json -> OUT.replacing.json, which says that an OUT.replaced is ours
 *       OUT -> OUT.replaced
 *       OUT.partial -> OUT
 *       OUT.replaced -> OUT.partial
 *   the claim goes back into OUT.partial, which is the old OUT now and is removed; without an old OUT it is removed
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

#include "io/directory.h"
#include "merge/output_dir_parts.h"

enum llavamed_status output_remove_claimed(const char *path, struct llavamed_error *error)
{
    enum llavamed_status status = directory_empty_flat(path, OUTPUT_DIR_CLAIM_NAME, error);
    if (status == LLAVAMED_OK) {
        /* After a power failure, too, the claim is there as long as anything is. */
        status = directory_sync(path, error);
    }
    return status == LLAVAMED_OK ? directory_remove_flat(path, error) : status;
}

/* glibc and musl came to have renameat2() late, so the call is made by number. */
static bool exchange_names(const char *a, const char *b)
{
    const unsigned exchange = 2; /* RENAME_EXCHANGE */
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, exchange) == 0;
}

static enum llavamed_status fail_rename(const struct output_dir *dir, int errno_value, struct llavamed_error *error)
{
    bool taken = errno_value == ENOTEMPTY || errno_value == EEXIST || errno_value == ENOTDIR;
    return llavamed_fail_errno(error, taken ? LLAVAMED_STATUS_OUT_EXISTS : LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value,
                               "%s: cannot give the finished directory its name", dir->out);
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* An old OUT may have permissions that keep us from moving a file into it. */
static bool move_claim_in(const struct output_dir *dir, const char *beside)
{
    struct stat info;
    if (lstat(dir->place.partial, &info) == 0 && S_ISDIR(info.st_mode) && (info.st_mode & 0700) != 0700) {
        (void)chmod(dir->place.partial, (info.st_mode & 07777) | 0700);
    }
    return rename(beside, dir->claim) == 0;
}

/* ---- Publishing ---- */

/* How far it came: where the claim is, and where a replaced OUT is. */
struct switching {
    const char *beside;   /* NULL: still in OUT.partial */
    const char *old_path; /* NULL: there is none */
    mode_t partial_mode;
};

/* Where names cannot be exchanged. */
static enum llavamed_status rename_twice(const struct output_dir *dir, struct switching *at,
                                         struct llavamed_error *error)
{
    if (exists(dir->replaced)) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS,
                             "%s: exists, so the directory to replace cannot be moved there", dir->replaced);
    }
    if (rename(dir->publishing, dir->replacing) != 0) {
        return fail_rename(dir, errno, error);
    }
    at->beside = dir->replacing;
    if (rename(dir->place.path, dir->replaced) != 0) {
        return fail_rename(dir, errno, error);
    }
    if (rename(dir->place.partial, dir->place.path) != 0) {
        enum llavamed_status status = fail_rename(dir, errno, error);
        (void)rename(dir->replaced, dir->place.path);
        return status;
    }
    at->old_path = dir->replaced;
    return LLAVAMED_OK;
}

/*
 * Puts OUT.partial at OUT. rename(2) of a directory replaces nothing but an empty directory, so no flag is needed to
 * keep what may have come there.
 */
static enum llavamed_status put_in_place(const struct output_dir *dir, enum output_content content,
                                         struct switching *at, struct llavamed_error *error)
{
    const char *path = dir->place.path;
    const char *partial = dir->place.partial;
    if (content != OUTPUT_OURS) {
        return rename(partial, path) == 0 ? LLAVAMED_OK : fail_rename(dir, errno, error);
    }
    if (exchange_names(partial, path)) {
        at->old_path = partial;
        return LLAVAMED_OK;
    }
    return rename_twice(dir, at, error);
}

/* Undoes put_in_place() when it succeeded. */
static void take_back(const struct output_dir *dir, const struct switching *at)
{
    if (at->old_path == dir->place.partial) {
        (void)exchange_names(dir->place.partial, dir->place.path);
        return;
    }
    (void)rename(dir->place.path, dir->place.partial);
    if (at->old_path != NULL) {
        (void)rename(at->old_path, dir->place.path);
    }
}

/* The claim leaves OUT.partial, which gets the permissions of what it replaces and becomes durable. */
static enum llavamed_status get_ready(const struct output_dir *dir, enum output_content content, struct switching *at,
                                      struct llavamed_error *error)
{
    struct stat info;
    if (stat(dir->place.partial, &info) != 0 || rename(dir->claim, dir->publishing) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot move the file",
                                   dir->claim);
    }
    at->beside = dir->publishing;
    at->partial_mode = info.st_mode & 07777;
    output_remove_strays(dir->place.partial, NULL);
    if (content != OUTPUT_MISSING && stat(dir->place.path, &info) == 0) {
        (void)chmod(dir->place.partial, info.st_mode & 07777);
    }
    return directory_sync(dir->place.partial, error);
}

static enum llavamed_status switch_names(const struct output_dir *dir, struct switching *at,
                                         struct llavamed_error *error)
{
    enum output_content content;
    /* The work took its time: look once more. */
    enum llavamed_status status = output_place_look(dir->out, &dir->place, dir->force, &content, error);
    if (status == LLAVAMED_OK) {
        status = get_ready(dir, content, at, error);
    }
    if (status == LLAVAMED_OK) {
        status = put_in_place(dir, content, at, error);
    }
    if (status == LLAVAMED_OK) {
        status = directory_sync(dir->place.parent, error);
        if (status != LLAVAMED_OK) {
            take_back(dir, at);
        }
    }
    if (status != LLAVAMED_OK && at->beside != NULL) {
        (void)chmod(dir->place.partial, at->partial_mode);
        (void)move_claim_in(dir, at->beside);
    }
    return status;
}

/* OUT is in place and durable. */
static enum llavamed_status clean_up(const struct output_dir *dir, const struct switching *at,
                                     struct llavamed_error *error)
{
    /* A run that had looked long before may have tried to claim what was still OUT.partial. */
    output_remove_strays(dir->place.path, NULL);
    if (at->old_path == NULL) {
        (void)unlink(at->beside);
        return LLAVAMED_OK;
    }
    if (at->old_path == dir->replaced && rename(dir->replaced, dir->place.partial) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", dir->replaced);
    }
    if (!move_claim_in(dir, at->beside)) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", at->beside);
    }
    return output_remove_claimed(dir->place.partial, error);
}

enum llavamed_status output_dir_publish(struct output_dir *dir, bool *old_left, struct llavamed_error *error)
{
    struct switching at = {0};
    (void)pthread_mutex_lock(&dir->mutex);
    enum llavamed_status status = output_dir_check_claim(dir, error);
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

/*
 * OUT.replaced is there and ours, as OUT.replacing.json says. Without an OUT the new one takes its place, when all is
 * there that its own list of sums names, or else the old one does.
 */
static enum llavamed_status mend_replaced(const struct output_dir *dir, struct llavamed_error *error)
{
    if (exists(dir->place.path)) {
        return mend_rename(dir->replaced, dir->place.partial, error);
    }
    const char *best = output_place_is_result(dir->place.partial, true) ? dir->place.partial : dir->replaced;
    return mend_rename(best, dir->place.path, error);
}

enum llavamed_status output_publish_mend(struct output_dir *dir, const struct claim *dead, struct llavamed_error *error)
{
    bool has_partial = exists(dir->place.partial);
    bool is_replacing = exists(dir->replacing);
    const char *beside = is_replacing ? dir->replacing : dir->publishing;
    if (!claim_is(beside, dead->text)) {
        return LLAVAMED_OK;
    }
    if (is_replacing && (!has_partial || !exists(dir->place.path)) && output_place_is_result(dir->replaced, false)) {
        return mend_replaced(dir, error);
    }
    if (output_place_is_result(dir->place.path, false)) {
        output_remove_strays(dir->place.path, NULL);
    }
    if (!claim_is(beside, dead->text)) {
        return LLAVAMED_OK; /* somebody else has mended it; this one may be alive */
    }
    if (!has_partial || exists(dir->claim)) {
        (void)unlink(beside); /* nothing left that it could be the claim of */
        return LLAVAMED_OK;
    }
    if (!move_claim_in(dir, beside) && errno != ENOENT) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", beside);
    }
    return LLAVAMED_OK;
}
