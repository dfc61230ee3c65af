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
/* A claim that was seen to be ours counts as ours for as long: far below what others wait before they take it over. */
#define CONFIRMED_FOR_NS (UINT64_C(10) * 1000000000)
/* One that is not there is looked for again, so often. */
#define MISSING_LOOKS_MAX 5
#define MISSING_PAUSE_NS 20000000

static enum llavamed_status guard_claim(void *context, bool now, struct llavamed_error *error);

void output_dir_free(struct output_dir *dir)
{
    if (dir != NULL) {
        output_place_deinit(&dir->place);
        (void)pthread_mutex_destroy(&dir->mutex);
        free(dir->claim);
        free(dir->main_claim);
        free(dir->parts_beside);
        free(dir->publishing);
        free(dir->kept);
        free(dir->out);
        free(dir);
    }
}

const char *output_dir_partial(const struct output_dir *dir)
{
    return dir->place.partial;
}

const char *output_dir_name(const struct output_dir *dir)
{
    const char *slash = strrchr(dir->place.path, '/');
    return slash == NULL ? dir->place.path : slash + 1;
}

const char *output_dir_kept(const struct output_dir *dir)
{
    return dir->kept;
}

/* ---- Before the work ---- */

char *output_sibling(const struct output_dir *dir, const char *suffix, const char *key)
{
    const char *end = key == NULL ? "" : key;
    size_t n_bytes = strlen(dir->place.path) + strlen(suffix) + strlen(end) + 1;
    char *name = malloc(n_bytes);
    if (name != NULL) {
        (void)snprintf(name, n_bytes, "%s%s%s", dir->place.path, suffix, end);
    }
    return name;
}

/* The longest of all names that are made beside OUT. */
static enum llavamed_status check_name_fits(const struct output_dir *dir, struct llavamed_error *error)
{
    struct stat info;
    char *longest = output_sibling(dir, ".publishing.age-0123456789abcdef.json", NULL);
    enum llavamed_status status = LLAVAMED_OK;
    if (longest == NULL) {
        status = llavamed_fail_memory(error, strlen(dir->place.path), "a path");
    } else if (lstat(longest, &info) != 0 && errno == ENAMETOOLONG) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno,
                                     "%s: cannot be an output directory (what is made beside it has longer names)",
                                     dir->out);
    }
    free(longest);
    return status;
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
    char claim_name[CLAIM_NAME_BYTES + sizeof "json"];
    (void)snprintf(claim_name, sizeof claim_name, "%sjson", dir->stem);
    dir->claim = path_join(dir->place.partial, claim_name);
    dir->main_claim = path_join(dir->place.partial, OUTPUT_DIR_CLAIM_NAME);
    dir->publishing = output_sibling(dir, OUTPUT_DIR_PUBLISHING_SUFFIX, NULL);
    dir->parts_beside = output_sibling(dir, OUTPUT_DIR_PARTS_SUFFIX, NULL);
    if (dir->claim == NULL || dir->main_claim == NULL || dir->publishing == NULL || dir->parts_beside == NULL) {
        return llavamed_fail_memory(error, strlen(dir->place.partial), "a path");
    }
    status = check_name_fits(dir, error);
    enum partial_state state;
    struct claim claim;
    return status == LLAVAMED_OK ? output_partial_look(dir, &state, &claim, error) : status;
}

enum llavamed_status output_dir_open(const char *out, bool force, const struct output_dir_input *inputs,
                                     size_t n_inputs, struct output_dir **dir, struct llavamed_error *error)
{
    const struct output_dir_work whole = {.mode = OUTPUT_DIR_WHOLE, .n_parts = 1};
    return output_dir_open_for(&whole, out, force, inputs, n_inputs, dir, error);
}

enum llavamed_status output_dir_open_for(const struct output_dir_work *work, const char *out, bool force,
                                         const struct output_dir_input *inputs, size_t n_inputs,
                                         struct output_dir **dir, struct llavamed_error *error)
{
    struct output_dir *made = calloc(1, sizeof *made);
    if (made != NULL) {
        bool is_part = work->mode == OUTPUT_DIR_PART;
        made->work = *work;
        (void)snprintf(made->stem, sizeof made->stem, OUTPUT_DIR_CLAIM_PREFIX "%u-of-%u.", is_part ? work->part + 1 : 1,
                       is_part ? work->n_parts : 1);
        made->out = strdup(out);
        made->force = force;
        made->guard = (struct run_guard){made, guard_claim};
        atomic_init(&made->confirmed_ns, 0);
        atomic_init(&made->lost, false);
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
    struct directory_listing listing = {0};
    enum llavamed_status status = claim_read(dir->publishing, &claim, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool alone = false;
    if (claim.owner == CLAIM_NONE) {
        status = claim_compare(dir->claim, dir->text, &alone, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (alone && dir->work.mode == OUTPUT_DIR_WHOLE &&
        directory_list(dir->place.partial, &listing, NULL) == LLAVAMED_OK) {
        alone = output_holds_claims_only(&listing);
        directory_listing_deinit(&listing);
    }
    if (alone) {
        return output_check_company(dir, error);
    }
    return output_fail_busy(dir, dir->publishing, &claim, error);
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
    return status != LLAVAMED_OK ? status : output_fail_busy(dir, dir->claim, &claim, error);
}

static enum llavamed_status take_over(struct output_dir *dir, struct claim *dead, struct llavamed_error *error)
{
    struct claim seen;
    enum llavamed_status status = output_watch(dir, dir->claim, dead, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = claim_replace(dir->claim, dead, dir->stop_signal, dir->text, &seen, error);
    if (status == LLAVAMED_STATUS_OUT_BUSY) {
        return output_fail_busy(dir, dir->claim, &seen, error);
    }
    status = status == LLAVAMED_OK ? output_check_company(dir, error) : status;
    if (status != LLAVAMED_OK) {
        claim_release(dir->claim, dir->text);
    }
    return status;
}

/* Those of live runs, which lose anyway, find them missing. */
enum llavamed_status output_remove_strays(const char *directory, const char *stem, const char *keep,
                                          struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(directory, &listing, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = LLAVAMED_STATUS_OUT_UNWRITABLE; /* not an input; the message holds */
        if (error != NULL) {
            error->status = status;
        }
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        const char *name = listing.names[i];
        char *path = NULL;
        if (strncmp(name, stem, strlen(stem)) == 0 &&
            (keep == NULL || strcmp(name, keep) != 0)) {
            path = path_join(directory, name);
            status = path == NULL ? llavamed_fail_memory(error, strlen(name), "a path") : LLAVAMED_OK;
        }
        if (path != NULL && unlink(path) != 0 && errno != ENOENT) {
            status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove", path);
        }
        free(path);
    }
    directory_listing_deinit(&listing);
    return status;
}

/* Brings what a run left that died while it published to where one that died earlier leaves it, then looks again. */
static enum llavamed_status mend(struct output_dir *dir, enum partial_state *state, struct claim *claim,
                                 struct llavamed_error *error)
{
    if (*state != PARTIAL_PUBLISHED) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = output_watch(dir, dir->publishing, claim, error);
    for (int i = 0; i < MENDING_STEPS_MAX && *state == PARTIAL_PUBLISHED && status == LLAVAMED_OK; i++) {
        status = output_publish_mend(dir, claim, error);
        if (status == LLAVAMED_OK) {
            status = output_partial_look(dir, state, claim, error);
        }
    }
    if (status == LLAVAMED_OK && *state == PARTIAL_PUBLISHED) {
        status = output_fail_busy(dir, dir->publishing, claim, error);
    }
    enum output_content content; /* OUT may have come to be */
    return status == LLAVAMED_OK ? output_place_look(dir->out, &dir->place, dir->force, &content, error) : status;
}

/* The claim is ours. OUT may have come to be since we looked: then the work would be for nothing. */
static enum llavamed_status begin_claimed(struct output_dir *dir, bool keep_files, struct llavamed_error *error)
{
    enum output_content content;
    struct llavamed_error ignored = {0};
    dir->begun = true;
    dir->next_beat_ns = 0;
    atomic_store(&dir->lost, false);
    atomic_store(&dir->confirmed_ns, clock_boottime_ns());
    (void)output_remove_strays(dir->place.partial, dir->stem, strrchr(dir->claim, '/') + 1, NULL);
    enum llavamed_status status = output_place_look(dir->out, &dir->place, dir->force, &content, error);
    if (status == LLAVAMED_OK && dir->has_leftovers && !keep_files) {
        status = output_dir_empty(dir, error);
    }
    if (status != LLAVAMED_OK && dir->has_leftovers) {
        output_dir_leave(dir);
    } else if (status != LLAVAMED_OK) {
        (void)!output_dir_abandon(dir, &ignored);
    }
    return status;
}

enum llavamed_status output_dir_begin(struct output_dir *dir, bool keep_files, bool *had_leftovers,
                                      struct llavamed_error *error)
{
    enum partial_state state = PARTIAL_MISSING;
    struct claim claim;
    enum llavamed_status status = output_partial_look(dir, &state, &claim, error);
    if (status == LLAVAMED_OK) {
        status = mend(dir, &state, &claim, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool made = false;
    if (state == PARTIAL_MISSING && dir->work.mode == OUTPUT_DIR_FINISH) {
        return llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: there is nothing to finish any more", dir->out);
    }
    if (state == PARTIAL_MISSING) {
        /* OUT_EXISTS: made since we looked. If it is claimed already, the claim says by whom. */
        status = directory_create(dir->place.partial, error);
        made = status == LLAVAMED_OK;
        if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_OUT_EXISTS) {
            return status;
        }
    }
    status = state == PARTIAL_DEAD ? take_over(dir, &claim, error) : claim_fresh(dir, error);
    struct stat info;
    if (status == LLAVAMED_STATUS_OUT_UNWRITABLE && lstat(dir->place.partial, &info) != 0 && errno == ENOENT) {
        claim.owner = CLAIM_NONE; /* gone under our hands */
        status = output_fail_busy(dir, dir->claim, &claim, error);
    }
    if (status != LLAVAMED_OK) {
        if (made) {
            (void)rmdir(dir->place.partial);
        }
        return status;
    }
    if (had_leftovers != NULL) {
        *had_leftovers = dir->has_leftovers;
    }
    return begin_claimed(dir, keep_files, error);
}

/* ---- During the work ---- */

enum llavamed_status output_dir_empty(struct output_dir *dir, struct llavamed_error *error)
{
    enum llavamed_status status =
        directory_empty_flat(dir->place.partial, OUTPUT_DIR_CLAIM_NAME, &dir->guard, dir->stop_signal, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_OUT_BUSY && status != LLAVAMED_STATUS_INTERRUPTED) {
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
    bool ours = !atomic_load(&dir->lost);
    if (ours && dir->begun && now_ns >= dir->next_beat_ns) {
        dir->next_beat_ns = now_ns + CLAIM_HEARTBEAT_S * UINT64_C(1000000000);
        ours = claim_beat(dir->claim, dir->text);
        /* Once more and with patience, by whoever asks the guard next. */
        atomic_store(&dir->confirmed_ns, ours ? clock_boottime_ns() : 0);
    }
    (void)pthread_mutex_unlock(&dir->mutex);
    return ours;
}

enum llavamed_status output_fail_lost(struct output_dir *dir, struct llavamed_error *error)
{
    struct claim claim;
    struct claim beside;
    enum llavamed_status status = claim_read(dir->claim, &claim, error);
    if (status == LLAVAMED_OK) {
        status = claim_read(dir->publishing, &beside, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct claim *owner = claim.owner != CLAIM_NONE ? &claim : &beside;
    if (claim_is(dir->publishing, dir->text)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run is taking it over", dir->out);
    } else if (owner->pid == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: the claim of this run is gone from %s", dir->out,
                               dir->place.partial);
    } else {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY,
                               "%s: another run has taken it over (process %llu on host '%s')", dir->out,
                               (unsigned long long)owner->pid, owner->host);
    }
    llavamed_hint(error, "this run gave no sign of life for two minutes, or somebody removed its files");
    return status;
}

/* OUT_BUSY, without a message, when the claim is not ours; *is_another when it is certain whose it is. */
static enum llavamed_status look_at_claim(const struct output_dir *dir, bool *is_another, struct llavamed_error *error)
{
    struct claim claim;
    bool same = false;
    enum llavamed_status status = claim_compare(dir->claim, dir->text, &same, error);
    if (status == LLAVAMED_OK && !same) {
        status = claim_read(dir->claim, &claim, error);
        same = status == LLAVAMED_OK && strcmp(claim.text, dir->text) == 0;
        *is_another = status == LLAVAMED_OK && !same && claim.owner != CLAIM_NONE && claim.owner != CLAIM_FOREIGN;
    }
    return status != LLAVAMED_OK || same ? status : LLAVAMED_STATUS_OUT_BUSY;
}

enum llavamed_status output_dir_check_claim(struct output_dir *dir, struct llavamed_error *error)
{
    const struct timespec pause = {.tv_nsec = MISSING_PAUSE_NS};
    for (int i = 0;; i++) {
        bool is_another = false;
        struct llavamed_error unread = {0};
        enum llavamed_status status = look_at_claim(dir, &is_another, &unread);
        if (status == LLAVAMED_OK) {
            atomic_store(&dir->confirmed_ns, clock_boottime_ns());
            return status;
        }
        /* A run that wakes up late may move it away for a moment, and a file system may stumble. */
        if (is_another || (i == MISSING_LOOKS_MAX && status == LLAVAMED_STATUS_OUT_BUSY)) {
            atomic_store(&dir->lost, true);
            return output_fail_lost(dir, error);
        }
        if (i == MISSING_LOOKS_MAX) {
            /* It may well be ours still: the run ends, but not as one that was taken over. */
            if (error != NULL) {
                *error = unread;
            }
            return status;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static enum llavamed_status guard_claim(void *context, bool now, struct llavamed_error *error)
{
    struct output_dir *dir = context;
    if (atomic_load(&dir->lost)) {
        return output_fail_lost(dir, error);
    }
    if (!now && clock_boottime_ns() - atomic_load(&dir->confirmed_ns) < CONFIRMED_FOR_NS) {
        return LLAVAMED_OK;
    }
    return output_dir_check_claim(dir, error);
}

const struct run_guard *output_dir_guard(const struct output_dir *dir)
{
    return &dir->guard;
}

void output_dir_heed(struct output_dir *dir, const volatile int *stop_signal)
{
    dir->stop_signal = stop_signal;
}

/* ---- After it ---- */

enum llavamed_status output_dir_explain(struct output_dir *dir, struct llavamed_error *error)
{
    struct llavamed_error lost = {0};
    int exit_status = llavamed_exit_status(error);
    if (dir->begun && (exit_status == 5 || exit_status == 6) &&
        output_dir_check_claim(dir, &lost) == LLAVAMED_STATUS_OUT_BUSY) {
        *error = lost;
    }
    return error->status;
}

enum llavamed_status output_dir_abandon(struct output_dir *dir, struct llavamed_error *error)
{
    (void)pthread_mutex_lock(&dir->mutex);
    bool ours = dir->begun && claim_is(dir->claim, dir->text);
    dir->begun = false;
    (void)pthread_mutex_unlock(&dir->mutex);
    if (!ours) {
        return LLAVAMED_OK;
    }
    if (dir->work.mode == OUTPUT_DIR_PART) {
        output_part_abandon(dir);
        return LLAVAMED_OK;
    }
    /* The claim goes last, so that an interruption leaves the directory claimed. */
    enum llavamed_status status =
        directory_empty_flat(dir->place.partial, OUTPUT_DIR_CLAIM_NAME, &dir->guard, NULL, error);
    if (status == LLAVAMED_STATUS_OUT_BUSY) {
        return LLAVAMED_OK; /* it is another run's now */
    }
    if (status == LLAVAMED_OK) {
        /* After a power failure, too, the claim is there as long as anything is. */
        status = directory_sync(dir->place.partial, error);
    }
    return status == LLAVAMED_OK ? directory_remove_flat(dir->place.partial, error) : status;
}

void output_dir_end_part(struct output_dir *dir)
{
    (void)pthread_mutex_lock(&dir->mutex);
    if (dir->begun && claim_is(dir->claim, dir->text)) {
        (void)unlink(dir->claim);
    }
    dir->begun = false;
    (void)pthread_mutex_unlock(&dir->mutex);
}

void output_dir_leave(struct output_dir *dir)
{
    (void)pthread_mutex_lock(&dir->mutex);
    if (dir->begun) {
        claim_release(dir->claim, dir->text);
    }
    dir->begun = false;
    (void)pthread_mutex_unlock(&dir->mutex);
}
