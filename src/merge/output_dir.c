/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checked.h"
#include "io/directory.h"
#include "merge/claim.h"
#include "merge/output_place.h"

#define NEXT_CLAIM_NAME ".llavamed-claim.next.json"
#define GB 1e9

struct output_dir {
    char *out; /* as given, for messages */
    struct output_place place;
    char *claim;      /* in OUT.partial */
    char *next_claim; /* there too, while a dead claim is replaced */
    bool force;
    bool begun;
    uint64_t leftover_bytes; /* of a dead run's OUT.partial */
};

void output_dir_free(struct output_dir *dir)
{
    if (dir != NULL) {
        output_place_deinit(&dir->place);
        free(dir->claim);
        free(dir->next_claim);
        free(dir->out);
        free(dir);
    }
}

const char *output_dir_partial(const struct output_dir *dir)
{
    return dir->place.partial;
}

/* ---- OUT.partial of another run ---- */

static enum llavamed_status fail_busy(const struct output_dir *dir, const struct claim *claim,
                                      struct llavamed_error *error)
{
    const char *partial = dir->place.partial;
    if (claim->owner == CLAIM_ALIVE) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run is writing it (process %llu)", dir->out,
                            (unsigned long long)claim->pid);
        llavamed_hint(error, "wait for it, or choose another --out");
    } else if (claim->pid != 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                            "%s: another run may be writing it (process %llu on host '%s', which cannot be asked from "
                            "here)",
                            dir->out, (unsigned long long)claim->pid, claim->host);
        llavamed_hint(error, "when that run is over: rm -r -- '%s'", partial);
    } else {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                            "%s: another run may be writing it (the claim in %s cannot be read)", dir->out, partial);
        llavamed_hint(error, "when no other run uses it: rm -r -- '%s'", partial);
    }
    return LLAVAMED_STATUS_OUT_BUSY;
}

static enum llavamed_status fail_not_ours(const struct output_dir *dir, const char *what, struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists, and %s", dir->place.partial, what);
    llavamed_hint(error, "the work is done under this name: move it away, or choose another --out");
    return LLAVAMED_STATUS_OUT_EXISTS;
}

static uint64_t bytes_on_disk(const char *directory, const struct directory_listing *listing)
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

enum partial_state { PARTIAL_MISSING, PARTIAL_EMPTY, PARTIAL_DEAD };

/* What OUT.partial is, `claim` being its claim; OUT_BUSY or OUT_EXISTS when this run must leave it alone. */
static enum llavamed_status look_at_partial(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                            struct llavamed_error *error)
{
    struct stat info;
    dir->leftover_bytes = 0;
    if (lstat(dir->place.partial, &info) != 0) {
        if (errno == ENOENT) {
            *state = PARTIAL_MISSING;
            return LLAVAMED_OK;
        }
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot look at it",
                                   dir->place.partial);
    }
    if (!S_ISDIR(info.st_mode)) {
        return fail_not_ours(dir, "is not a directory", error);
    }
    enum llavamed_status status = claim_read(dir->claim, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (claim->owner == CLAIM_ALIVE || claim->owner == CLAIM_UNKNOWN) {
        return fail_busy(dir, claim, error);
    }
    struct directory_listing listing = {0};
    if (directory_list(dir->place.partial, &listing, NULL) != LLAVAMED_OK) {
        return fail_not_ours(dir, "cannot be looked into", error);
    }
    if (claim->owner == CLAIM_DEAD) {
        *state = PARTIAL_DEAD;
        dir->leftover_bytes = bytes_on_disk(dir->place.partial, &listing);
    } else if (listing.n_names == 0) {
        *state = PARTIAL_EMPTY;
    } else {
        status = fail_not_ours(dir, "was not made by this program (it holds files and no claim)", error);
    }
    directory_listing_deinit(&listing);
    return status;
}

/* ---- Before the work ---- */

static enum llavamed_status check_place(struct output_dir *dir, const struct output_dir_input *inputs, size_t n_inputs,
                                        struct llavamed_error *error)
{
    enum llavamed_status status = output_place_resolve(dir->out, &dir->place, error);
    for (size_t i = 0; i < n_inputs && status == LLAVAMED_OK; i++) {
        status = output_place_check_overlap(dir->out, &dir->place, &inputs[i], error);
    }
    if (status == LLAVAMED_OK) {
        status = output_place_check_parent(dir->out, &dir->place, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    enum output_content content;
    status = output_place_look(dir->out, &dir->place, dir->force, &content, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    dir->claim = path_join(dir->place.partial, OUTPUT_DIR_CLAIM_NAME);
    dir->next_claim = path_join(dir->place.partial, NEXT_CLAIM_NAME);
    if (dir->claim == NULL || dir->next_claim == NULL) {
        return llavamed_fail_memory(error, strlen(dir->place.partial), "a path");
    }
    enum partial_state state;
    struct claim claim;
    return look_at_partial(dir, &state, &claim, error);
}

enum llavamed_status output_dir_open(const char *out, bool force, const struct output_dir_input *inputs,
                                     size_t n_inputs, struct output_dir **dir, struct llavamed_error *error)
{
    struct output_dir *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->out = strdup(out);
        made->force = force;
    }
    if (made == NULL || made->out == NULL) {
        output_dir_free(made);
        return llavamed_fail_memory(error, sizeof *made + strlen(out), "the output directory");
    }
    enum llavamed_status status = check_place(made, inputs, n_inputs, error);
    if (status != LLAVAMED_OK) {
        output_dir_free(made);
        return status;
    }
    *dir = made;
    return LLAVAMED_OK;
}

enum llavamed_status output_dir_check_space(const struct output_dir *dir, uint64_t n_bytes, uint64_t *free_bytes,
                                            struct llavamed_error *error)
{
    uint64_t volume_bytes = 0;
    enum llavamed_status status = volume_free_bytes(dir->place.parent, &volume_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (free_bytes != NULL) {
        *free_bytes = volume_bytes;
    }
    uint64_t needed = UINT64_MAX;
    uint64_t available = UINT64_MAX;
    (void)checked_add_u64(n_bytes, OUTPUT_DIR_MARGIN_BYTES, &needed);
    (void)checked_add_u64(volume_bytes, dir->leftover_bytes, &available);
    if (needed <= available) {
        return LLAVAMED_OK;
    }
    uint64_t missing = needed - available;
    (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_SPACE,
                        "%s: not enough room on its volume (need %.2f GB, %llu bytes; free %.2f GB, %llu bytes; "
                        "missing %.2f GB, %llu bytes)",
                        dir->out, (double)needed / GB, (unsigned long long)needed, (double)available / GB,
                        (unsigned long long)available, (double)missing / GB, (unsigned long long)missing);
    llavamed_hint(error, "free as much as is missing, or give --out on another volume");
    return LLAVAMED_STATUS_OUT_SPACE;
}

/* Somebody was quicker: says who. */
static enum llavamed_status fail_claimed(const struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    enum llavamed_status status = claim_read(dir->claim, &claim, error);
    return status != LLAVAMED_OK ? status : fail_busy(dir, &claim, error);
}

static enum llavamed_status claim_partial(const struct output_dir *dir, struct llavamed_error *error)
{
    enum llavamed_status status = claim_write(dir->claim, error);
    return status == LLAVAMED_STATUS_OUT_EXISTS ? fail_claimed(dir, error) : status;
}

/*
 * Replaces a dead claim by ours. Several runs may find the same dead claim at once, so each first creates
 * NEXT_CLAIM_NAME, which only one can; whoever has it looks again, and renames it over the dead claim, which also frees
 * the name.
 */
static enum llavamed_status replace_claim(const struct output_dir *dir, const struct claim *dead,
                                          struct llavamed_error *error)
{
    const char *next = dir->next_claim;
    struct claim now;
    enum llavamed_status status = claim_write(next, error);
    if (status == LLAVAMED_STATUS_OUT_EXISTS) {
        status = claim_read(next, &now, error);
        return status == LLAVAMED_OK ? fail_busy(dir, &now, error) : status;
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = claim_read(dir->claim, &now, error);
    if (status == LLAVAMED_OK && strcmp(now.text, dead->text) != 0) {
        status = fail_busy(dir, &now, error);
    } else if (status == LLAVAMED_OK && rename(next, dir->claim) != 0) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", next);
    }
    if (status != LLAVAMED_OK) {
        (void)unlink(next);
    }
    return status;
}

static enum llavamed_status take_over(const struct output_dir *dir, const struct claim *dead,
                                      struct llavamed_error *error)
{
    enum llavamed_status status = replace_claim(dir, dead, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = directory_empty_flat(dir->place.partial, OUTPUT_DIR_CLAIM_NAME, error);
    if (status != LLAVAMED_OK) {
        llavamed_hint(error, "remove by hand what is in it: '%s'", dir->place.partial);
    }
    return status;
}

enum llavamed_status output_dir_begin(struct output_dir *dir, bool *removed_leftovers, struct llavamed_error *error)
{
    enum partial_state state;
    struct claim claim;
    enum llavamed_status status = look_at_partial(dir, &state, &claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (state == PARTIAL_MISSING) {
        status = directory_create(dir->place.partial, error);
        if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            /* Made since we looked. If it is claimed already, the claim says by whom. */
            state = PARTIAL_EMPTY;
        } else if (status != LLAVAMED_OK) {
            return status;
        }
    }
    status = state == PARTIAL_DEAD ? take_over(dir, &claim, error) : claim_partial(dir, error);
    if (status != LLAVAMED_OK) {
        if (state == PARTIAL_MISSING) {
            (void)rmdir(dir->place.partial);
        }
        return status;
    }
    dir->begun = true;
    if (removed_leftovers != NULL) {
        *removed_leftovers = state == PARTIAL_DEAD;
    }
    return LLAVAMED_OK;
}

/* ---- After it ---- */

/* Removes a directory that holds our claim, which goes last, so that an interruption leaves it claimed. */
static enum llavamed_status remove_claimed(const char *path, struct llavamed_error *error)
{
    enum llavamed_status status = directory_empty_flat(path, OUTPUT_DIR_CLAIM_NAME, error);
    return status == LLAVAMED_OK ? directory_remove_flat(path, error) : status;
}

/* The name under which a replaced OUT waits for its removal, where names cannot be exchanged. */
static char *replaced_name(const struct output_dir *dir)
{
    size_t n_bytes = strlen(dir->place.path);
    char *name = malloc(n_bytes + sizeof ".replaced");
    if (name != NULL) {
        memcpy(name, dir->place.path, n_bytes);
        memcpy(name + n_bytes, ".replaced", sizeof ".replaced");
    }
    return name;
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

/*
 * Puts OUT.partial at OUT; *old_path is where a replaced OUT of ours is afterwards, NULL when there is none. rename(2)
 * of a directory replaces nothing but an empty directory, so no flag is needed to keep what may have come there.
 */
static enum llavamed_status put_in_place(const struct output_dir *dir, enum output_content content,
                                         const char *replaced, const char **old_path, struct llavamed_error *error)
{
    const char *path = dir->place.path;
    const char *partial = dir->place.partial;
    *old_path = NULL;
    if (content != OUTPUT_OURS) {
        return rename(partial, path) == 0 ? LLAVAMED_OK : fail_rename(dir, errno, error);
    }
    if (exchange_names(partial, path)) {
        *old_path = partial;
        return LLAVAMED_OK;
    }
    struct stat info;
    if (lstat(replaced, &info) == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS,
                             "%s: exists, so the directory to replace cannot be moved there", replaced);
    }
    if (rename(path, replaced) != 0) {
        return fail_rename(dir, errno, error);
    }
    if (rename(partial, path) != 0) {
        enum llavamed_status status = fail_rename(dir, errno, error);
        (void)rename(replaced, path);
        return status;
    }
    *old_path = replaced;
    return LLAVAMED_OK;
}

/* Undoes put_in_place(). */
static void take_back(const struct output_dir *dir, const char *old_path)
{
    if (old_path == dir->place.partial) {
        (void)exchange_names(dir->place.partial, dir->place.path);
        return;
    }
    (void)rename(dir->place.path, dir->place.partial);
    if (old_path != NULL) {
        (void)rename(old_path, dir->place.path);
    }
}

static enum llavamed_status remove_old(const char *old_path, struct llavamed_error *error)
{
    char *claim = path_join(old_path, OUTPUT_DIR_CLAIM_NAME);
    if (claim == NULL) {
        return llavamed_fail_memory(error, strlen(old_path), "a path");
    }
    /* The claim is for an interruption. Without room for one the old directory goes all the same. */
    bool claimed = claim_write(claim, error) == LLAVAMED_OK;
    free(claim);
    return claimed ? remove_claimed(old_path, error) : directory_remove_flat(old_path, error);
}

/* Looks once more at OUT, since the work took its time, and gives the new directory the permissions of the old. */
static enum llavamed_status get_ready(const struct output_dir *dir, enum output_content *content,
                                      struct llavamed_error *error)
{
    enum llavamed_status status = output_place_look(dir->out, &dir->place, dir->force, content, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct stat info;
    if (*content != OUTPUT_MISSING && stat(dir->place.path, &info) == 0) {
        (void)chmod(dir->place.partial, info.st_mode & 07777);
    }
    (void)unlink(dir->next_claim); /* of a run that lost the race for a dead claim and died */
    if (unlink(dir->claim) != 0 && errno != ENOENT) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove the file",
                                   dir->claim);
    }
    return directory_sync(dir->place.partial, error);
}

enum llavamed_status output_dir_publish(struct output_dir *dir, bool *old_left, struct llavamed_error *error)
{
    enum output_content content;
    const char *old_path = NULL;
    char *replaced = replaced_name(dir);
    if (replaced == NULL) {
        return llavamed_fail_memory(error, strlen(dir->place.path), "a path");
    }
    enum llavamed_status status = get_ready(dir, &content, error);
    if (status == LLAVAMED_OK) {
        status = put_in_place(dir, content, replaced, &old_path, error);
    }
    if (status != LLAVAMED_OK) {
        goto out;
    }
    status = directory_sync(dir->place.parent, error);
    if (status != LLAVAMED_OK) {
        take_back(dir, old_path);
        goto out;
    }
    dir->begun = false;
    if (old_left != NULL) {
        *old_left = false;
    }
    if (old_path != NULL && remove_old(old_path, error) != LLAVAMED_OK && old_left != NULL) {
        *old_left = true;
    }
out:
    free(replaced);
    return status;
}

enum llavamed_status output_dir_abandon(struct output_dir *dir, struct llavamed_error *error)
{
    if (!dir->begun) {
        return LLAVAMED_OK;
    }
    dir->begun = false;
    return remove_claimed(dir->place.partial, error);
}
