/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/output_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checked.h"
#include "core/clock.h"
#include "io/directory.h"
#include "merge/output_dir_parts.h"

#define GB 1e9

void output_dir_free(struct output_dir *dir)
{
    if (dir != NULL) {
        output_place_deinit(&dir->place);
        (void)pthread_mutex_destroy(&dir->mutex);
        free(dir->claim);
        free(dir->publishing);
        free(dir->replacing);
        free(dir->replaced);
        free(dir->out);
        free(dir);
    }
}

const char *output_dir_partial(const struct output_dir *dir)
{
    return dir->place.partial;
}

/* ---- OUT.partial of another run ---- */

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

static enum llavamed_status fail_busy(const struct output_dir *dir, const char *path, const struct claim *claim,
                                      struct llavamed_error *error)
{
    const char *leftovers = path == dir->claim ? dir->place.partial : path;
    const char *option = path == dir->claim ? "-r " : "";
    char age[64];
    char wait[96];
    if (claim->owner == CLAIM_ALIVE) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run is writing it (process %llu)", dir->out,
                            (unsigned long long)claim->pid);
        llavamed_hint(error, "wait for it, or choose another --out");
    } else if (claim->owner == CLAIM_FOREIGN) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                            "%s: another run may be writing it (the claim in %s cannot be read)", dir->out, leftovers);
        llavamed_hint(error, "when no other run uses it: rm %s-- '%s'", option, leftovers);
    } else if (claim->owner == CLAIM_REMOTE) {
        describe_heartbeat(path, claim, age, sizeof age, wait, sizeof wait);
        if (claim->pid != 0) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                                "%s: another run may be writing it (process %llu on host '%s', which cannot be asked "
                                "from here; its heartbeat is %s)",
                                dir->out, (unsigned long long)claim->pid, claim->host, age);
        } else {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                                "%s: another run may be writing it (its claim is empty, its heartbeat is %s)", dir->out,
                                age);
        }
        llavamed_hint(error, "%s; when that run is known to be over: rm %s-- '%s'", wait, option, leftovers);
    } else {
        (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run was quicker", dir->out);
        llavamed_hint(error, "look whether it is still there, or choose another --out");
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

enum partial_state {
    PARTIAL_MISSING,
    PARTIAL_EMPTY,
    PARTIAL_DEAD,      /* leftovers of a dead run, with its claim */
    PARTIAL_PUBLISHED, /* a run died while it published: its claim lies beside OUT */
};

/* Whether a run must leave alone what this claim is of. One that can only be known to be dead by watching is not. */
static bool is_in_the_way(const char *path, const struct claim *claim)
{
    double seconds;
    switch (claim->owner) {
    case CLAIM_ALIVE:
    case CLAIM_FOREIGN:
        return true;
    case CLAIM_REMOTE:
        /* A heartbeat far in the time to come is that of a clock that nobody can wait for: watching has to tell. */
        return !claim_age(path, claim, &seconds) || (seconds < CLAIM_PATIENCE_S && seconds > -CLAIM_PATIENCE_S);
    case CLAIM_NONE:
    case CLAIM_DEAD:
    case CLAIM_REBOOT:
        break;
    }
    return false;
}

/* OUT_BUSY when somebody lives whose claim could not be known to be dead by a look. */
static enum llavamed_status watch(const struct output_dir *dir, const char *path, struct claim *claim,
                                  struct llavamed_error *error)
{
    if ((claim->owner != CLAIM_REMOTE && claim->owner != CLAIM_REBOOT) || !claim_watch(path, claim)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = claim_read(path, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    claim->owner = claim->owner == CLAIM_REBOOT ? CLAIM_REMOTE : claim->owner;
    return fail_busy(dir, path, claim, error);
}

/* The claim of a run that publishes, and where it is. */
static enum llavamed_status read_beside(const struct output_dir *dir, const char **path, struct claim *claim,
                                        struct llavamed_error *error)
{
    *path = dir->publishing;
    enum llavamed_status status = claim_read(*path, claim, error);
    if (status == LLAVAMED_OK && claim->owner == CLAIM_NONE) {
        *path = dir->replacing;
        status = claim_read(*path, claim, error);
    }
    return status;
}

/* Whether there is nothing but drafts of claims, as a run leaves them that dies before it has one. */
static bool is_empty(const struct directory_listing *listing)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        if (strncmp(listing->names[i], CLAIM_NAME_STEM ".", sizeof CLAIM_NAME_STEM) != 0) {
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
    if (is_empty(listing)) {
        return LLAVAMED_OK;
    }
    /* The claim may have moved while we looked. */
    const char *beside;
    enum llavamed_status status = read_beside(dir, &beside, &claim, error);
    if (status == LLAVAMED_OK && claim.owner != CLAIM_NONE) {
        return fail_busy(dir, beside, &claim, error);
    }
    return status != LLAVAMED_OK
               ? status
               : fail_not_ours(dir, "was not made by this program (it holds files and no claim)", error);
}

static enum llavamed_status look_into_partial(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                              struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = claim_read(dir->claim, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (is_in_the_way(dir->claim, claim)) {
        return fail_busy(dir, dir->claim, claim, error);
    }
    if (directory_list(dir->place.partial, &listing, NULL) != LLAVAMED_OK) {
        return fail_not_ours(dir, "cannot be looked into", error);
    }
    if (claim->owner != CLAIM_NONE || *state == PARTIAL_PUBLISHED) {
        *state = *state == PARTIAL_PUBLISHED ? PARTIAL_PUBLISHED : PARTIAL_DEAD;
        dir->leftover_bytes = bytes_on_disk(dir->place.partial, &listing);
    } else {
        status = look_at_unclaimed(dir, &listing, state, error);
    }
    directory_listing_deinit(&listing);
    return status;
}

/*
 * What OUT.partial is; OUT_BUSY or OUT_EXISTS when this run must leave it alone. `claim` is its claim, or for
 * PARTIAL_PUBLISHED the one beside OUT.
 */
static enum llavamed_status look_at_partial(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                            struct llavamed_error *error)
{
    struct stat info;
    struct claim inside;
    dir->leftover_bytes = 0;
    const char *beside;
    enum llavamed_status status = read_beside(dir, &beside, claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (is_in_the_way(beside, claim)) {
        return fail_busy(dir, beside, claim, error);
    }
    *state = claim->owner == CLAIM_NONE ? PARTIAL_MISSING : PARTIAL_PUBLISHED;
    if (lstat(dir->place.partial, &info) != 0) {
        return errno == ENOENT ? LLAVAMED_OK
                               : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                                     "%s: cannot look at it", dir->place.partial);
    }
    if (!S_ISDIR(info.st_mode)) {
        return fail_not_ours(dir, "is not a directory", error);
    }
    return look_into_partial(dir, state, *state == PARTIAL_PUBLISHED ? &inside : claim, error);
}

/* ---- Before the work ---- */

static char *sibling_name(const struct output_dir *dir, const char *suffix)
{
    size_t n_bytes = strlen(dir->place.path);
    size_t suffix_bytes = strlen(suffix) + 1;
    char *name = malloc(n_bytes + suffix_bytes);
    if (name != NULL) {
        memcpy(name, dir->place.path, n_bytes);
        memcpy(name + n_bytes, suffix, suffix_bytes);
    }
    return name;
}

static enum llavamed_status check_place(struct output_dir *dir, const struct output_dir_input *inputs, size_t n_inputs,
                                        struct llavamed_error *error)
{
    enum llavamed_status status = output_place_resolve(dir->out, &dir->place, error);
    if (status == LLAVAMED_OK) {
        status = output_place_check_overlap(dir->out, &dir->place, inputs, n_inputs, error);
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
    dir->publishing = sibling_name(dir, ".publishing.json");
    dir->replacing = sibling_name(dir, ".replacing.json");
    dir->replaced = sibling_name(dir, ".replaced");
    if (dir->claim == NULL || dir->publishing == NULL || dir->replacing == NULL || dir->replaced == NULL) {
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
        (void)pthread_mutex_init(&made->mutex, NULL); /* cannot fail with default attributes on Linux */
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

/* ---- Claiming ---- */

/*
 * Nobody else may be at work where we have just put our claim: between our look and now, a run may have come, worked,
 * and be publishing, its claim beside OUT. If it has ended since, our claim went away with its directory.
 */
static enum llavamed_status check_fresh(const struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    const char *beside;
    struct directory_listing listing = {0};
    enum llavamed_status status = read_beside(dir, &beside, &claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool alone = claim.owner == CLAIM_NONE && claim_is(dir->claim, dir->text);
    if (alone && directory_list(dir->place.partial, &listing, NULL) == LLAVAMED_OK) {
        alone = is_empty(&listing);
        directory_listing_deinit(&listing);
    }
    return alone ? LLAVAMED_OK : fail_busy(dir, beside, &claim, error);
}

static enum llavamed_status claim_fresh(struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    enum llavamed_status status = claim_write(dir->claim, dir->text, error);
    if (status == LLAVAMED_OK) {
        status = check_fresh(dir, error);
        if (status != LLAVAMED_OK && claim_is(dir->claim, dir->text)) {
            (void)unlink(dir->claim);
        }
        return status;
    }
    if (status != LLAVAMED_STATUS_OUT_EXISTS) {
        return status;
    }
    status = claim_read(dir->claim, &claim, error);
    return status != LLAVAMED_OK ? status : fail_busy(dir, dir->claim, &claim, error);
}

static enum llavamed_status take_over(struct output_dir *dir, struct claim *dead, struct llavamed_error *error)
{
    struct claim seen;
    enum llavamed_status status = watch(dir, dir->claim, dead, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = claim_replace(dir->claim, dead, dir->text, &seen, error);
    return status == LLAVAMED_STATUS_OUT_BUSY ? fail_busy(dir, dir->claim, &seen, error) : status;
}

/* Those of live runs, which lose anyway, find them missing. */
void output_remove_strays(const char *directory, const char *keep)
{
    struct directory_listing listing = {0};
    if (directory_list(directory, &listing, NULL) != LLAVAMED_OK) {
        return;
    }
    for (size_t i = 0; i < listing.n_names; i++) {
        const char *name = listing.names[i];
        char *path = NULL;
        if (strncmp(name, CLAIM_NAME_STEM ".", sizeof CLAIM_NAME_STEM) == 0 &&
            (keep == NULL || strcmp(name, keep) != 0)) {
            path = path_join(directory, name);
        }
        if (path != NULL) {
            (void)unlink(path);
        }
        free(path);
    }
    directory_listing_deinit(&listing);
}

/* Brings what a run left that died while it published to where one that died earlier leaves it, then looks again. */
static enum llavamed_status mend(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                 struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (*state != PARTIAL_PUBLISHED) {
        return LLAVAMED_OK;
    }
    bool is_publishing = claim_is(dir->publishing, claim->text);
    status = watch(dir, is_publishing ? dir->publishing : dir->replacing, claim, error);
    for (int i = 0; i < MENDING_STEPS_MAX && *state == PARTIAL_PUBLISHED && status == LLAVAMED_OK; i++) {
        status = output_publish_mend(dir, claim, error);
        if (status == LLAVAMED_OK) {
            status = look_at_partial(dir, state, claim, error);
        }
    }
    if (status == LLAVAMED_OK && *state == PARTIAL_PUBLISHED) {
        status = fail_busy(dir, dir->publishing, claim, error);
    }
    enum output_content content; /* OUT may have come to be */
    return status == LLAVAMED_OK ? output_place_look(dir->out, &dir->place, dir->force, &content, error) : status;
}

enum llavamed_status output_dir_begin(struct output_dir *dir, bool keep_files, bool *had_leftovers,
                                      struct llavamed_error *error)
{
    enum partial_state state = PARTIAL_MISSING;
    struct claim claim;
    enum llavamed_status status = look_at_partial(dir, &state, &claim, error);
    if (status == LLAVAMED_OK) {
        status = mend(dir, &state, &claim, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool made = false;
    if (state == PARTIAL_MISSING) {
        /* OUT_EXISTS: made since we looked. If it is claimed already, the claim says by whom. */
        status = directory_create(dir->place.partial, error);
        made = status == LLAVAMED_OK;
        if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_OUT_EXISTS) {
            return status;
        }
    }
    status = state == PARTIAL_DEAD ? take_over(dir, &claim, error) : claim_fresh(dir, error);
    if (status != LLAVAMED_OK) {
        if (made) {
            (void)rmdir(dir->place.partial);
        }
        return status;
    }
    dir->begun = true;
    dir->next_beat_ns = 0;
    output_remove_strays(dir->place.partial, OUTPUT_DIR_CLAIM_NAME);
    if (state == PARTIAL_DEAD && !keep_files) {
        status = output_dir_empty(dir, error);
    }
    if (status == LLAVAMED_OK && had_leftovers != NULL) {
        *had_leftovers = state == PARTIAL_DEAD;
    }
    dir->begun = status == LLAVAMED_OK;
    return status;
}

/* ---- During the work ---- */

enum llavamed_status output_dir_empty(struct output_dir *dir, struct llavamed_error *error)
{
    enum llavamed_status status = output_dir_check_claim(dir, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = directory_empty_flat(dir->place.partial, OUTPUT_DIR_CLAIM_NAME, error);
    if (status != LLAVAMED_OK) {
        llavamed_hint(error, "remove by hand what is in it: '%s'", dir->place.partial);
    }
    return status;
}

bool output_dir_beat(struct output_dir *dir)
{
    if (pthread_mutex_trylock(&dir->mutex) != 0) {
        return true;
    }
    uint64_t now_ns = clock_monotonic_ns();
    bool ours = true;
    if (dir->begun && now_ns >= dir->next_beat_ns) {
        dir->next_beat_ns = now_ns + CLAIM_HEARTBEAT_S * UINT64_C(1000000000);
        ours = claim_is(dir->claim, dir->text);
        if (ours) {
            claim_beat(dir->claim);
        }
    }
    (void)pthread_mutex_unlock(&dir->mutex);
    return ours;
}

enum llavamed_status output_dir_check_claim(struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    if (claim_is(dir->claim, dir->text)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = claim_read(dir->claim, &claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (claim.owner == CLAIM_NONE) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: the claim of this run is gone from %s", dir->out,
                               dir->place.partial);
    } else {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                               "%s: another run has taken it over (process %llu on host '%s')", dir->out,
                               (unsigned long long)claim.pid, claim.host);
    }
    llavamed_hint(error, "this run gave no sign of life for two minutes, or somebody removed its files");
    return status;
}

/* ---- After it ---- */

enum llavamed_status output_dir_abandon(struct output_dir *dir, struct llavamed_error *error)
{
    (void)pthread_mutex_lock(&dir->mutex);
    bool ours = dir->begun && claim_is(dir->claim, dir->text);
    dir->begun = false;
    (void)pthread_mutex_unlock(&dir->mutex);
    return ours ? output_remove_claimed(dir->place.partial, error) : LLAVAMED_OK;
}

void output_dir_leave(struct output_dir *dir)
{
    (void)pthread_mutex_lock(&dir->mutex);
    if (dir->begun && claim_is(dir->claim, dir->text)) {
        claim_release(dir->claim);
    }
    dir->begun = false;
    (void)pthread_mutex_unlock(&dir->mutex);
}
