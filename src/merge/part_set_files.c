/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the files of the parts are what is recorded of them, and what is done when they are not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/part_files.h"
#include "merge/part_set.h"
#include "merge/part_share.h"

#define RUN_AGAIN "run the parts again: those whose files are as they were end at once"

/* ---- Looking ---- */

static enum llavamed_status fail_file(const char *path, const char *what, uint64_t n_bytes,
                                      struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_PARTS_DIFFER, "%s: %s (want %llu bytes)", path, what,
                        (unsigned long long)n_bytes);
    llavamed_hint(error, RUN_AGAIN);
    return LLAVAMED_STATUS_PARTS_DIFFER;
}

/*
 * The size and time of DIRECTORY/NAME, which is opened for it, because network file systems ask their server then.
 * PARTS_DIFFER unless it is a plain file of n_bytes.
 */
static enum llavamed_status look_at_file(const char *path, uint64_t n_bytes, uint64_t *modified_ns,
                                         struct llavamed_error *error)
{
    struct stat info = {0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    int errno_value = fd < 0 || fstat(fd, &info) != 0 ? errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (errno_value == ENOENT) {
        return fail_file(path, "is gone since its part has written it", n_bytes, error);
    }
    if (errno_value == ELOOP || errno_value == ENXIO ||
        (errno_value == 0 && (!S_ISREG(info.st_mode) || (uint64_t)info.st_size != n_bytes))) {
        return fail_file(path, "is not what its part has written, by its size or kind", n_bytes, error);
    }
    if (errno_value != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_IO, errno_value, "%s: cannot look at it", path);
    }
    *modified_ns = (uint64_t)info.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)info.st_mtim.tv_nsec;
    return LLAVAMED_OK;
}

/* A shard or a copied file; of the latter no time is recorded. */
struct made_file {
    char *path; /* owned */
    uint64_t n_bytes;
    uint64_t modified_ns;
    const char *sha256;
    unsigned part;
    bool is_timed;
    char got[SHA256_HEX_BYTES];
};

struct made_files {
    struct made_file *files; /* owned */
    size_t n_files;
    struct hash_files_task *tasks; /* owned: those that have to be read to know */
    size_t n_tasks;
    uint64_t task_bytes;
};

static void made_files_deinit(struct made_files *made)
{
    for (size_t i = 0; i < made->n_files; i++) {
        free(made->files[i].path);
    }
    free(made->files);
    free(made->tasks);
}

static enum llavamed_status list_files(const struct part_set *set, const char *directory, struct made_files *made,
                                       struct llavamed_error *error)
{
    const struct plan *plan = &set->plan.plan;
    struct part_share share = {0};
    size_t n_files = plan->n_shards + set->documents.n_entries;
    made->files = calloc(n_files + 1, sizeof *made->files);
    made->tasks = calloc(n_files + 1, sizeof *made->tasks);
    enum llavamed_status status = made->files != NULL && made->tasks != NULL
                                      ? part_share_init(&share, plan, set->plan.facts.n_parts, error)
                                      : llavamed_fail_memory(error, n_files * sizeof *made->files, "a list of files");
    for (size_t i = 0; status == LLAVAMED_OK && i < n_files; i++) {
        struct made_file *file = &made->files[made->n_files++];
        const char *name;
        if (i < plan->n_shards) {
            name = plan->shards[i].name;
            file->n_bytes = plan->shards[i].layout.file_bytes;
            file->sha256 = set->outcome.shard_sha256[i];
            file->modified_ns = set->shard_modified_ns[i];
            file->part = share.owners[i];
            file->is_timed = true;
        } else {
            const struct document_entry *entry = &set->documents.entries[i - plan->n_shards];
            name = entry->name;
            file->n_bytes = entry->n_bytes;
            file->sha256 = entry->sha256;
        }
        file->path = path_join(directory, name);
        status = file->path != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, strlen(name), "a path");
    }
    part_share_deinit(&share);
    return status;
}

enum llavamed_status part_set_check_files(const struct part_set *set, const char *directory,
                                          struct llavamed_error *error)
{
    struct made_files made = {0};
    enum llavamed_status status = list_files(set, directory, &made, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < made.n_files; i++) {
        uint64_t modified_ns = 0;
        status = look_at_file(made.files[i].path, made.files[i].n_bytes, &modified_ns, error);
    }
    made_files_deinit(&made);
    return status;
}

/* ---- Proving ---- */

/* Keeps the first of the messages. */
static void note_damage(const struct made_file *file, const struct llavamed_error *found, bool *damaged, bool *is_any,
                        struct llavamed_error *error)
{
    damaged[file->part] = true;
    if (!*is_any) {
        *error = *found;
    }
    *is_any = true;
}

/* What need not be read is damaged, or as it was. */
static enum llavamed_status choose_tasks(struct made_files *made, bool *damaged, bool *is_any,
                                         struct llavamed_error *error)
{
    for (size_t i = 0; i < made->n_files; i++) {
        struct made_file *file = &made->files[i];
        struct llavamed_error found = {0};
        uint64_t modified_ns = 0;
        enum llavamed_status status = look_at_file(file->path, file->n_bytes, &modified_ns, &found);
        if (status == LLAVAMED_STATUS_PARTS_DIFFER) {
            note_damage(file, &found, damaged, is_any, error);
        } else if (status != LLAVAMED_OK) {
            *error = found;
            return status;
        } else if (!file->is_timed || modified_ns != file->modified_ns) {
            made->tasks[made->n_tasks++] = (struct hash_files_task){.path = file->path, .hex = file->got};
            made->task_bytes += file->n_bytes;
        }
    }
    return LLAVAMED_OK;
}

static void compare_hashes(const struct made_files *made, bool *damaged, bool *is_any, struct llavamed_error *error)
{
    for (size_t i = 0; i < made->n_files; i++) {
        const struct made_file *file = &made->files[i];
        if (file->got[0] != '\0' && strcmp(file->got, file->sha256) != 0) {
            struct llavamed_error found = {0};
            (void)llavamed_fail(&found, LLAVAMED_STATUS_PARTS_DIFFER,
                                "%s: is not what its part has written (SHA-256: got %s, want %s)", file->path,
                                file->got, file->sha256);
            llavamed_hint(&found, RUN_AGAIN);
            note_damage(file, &found, damaged, is_any, error);
        }
    }
}

enum llavamed_status part_set_prove_files(const struct part_set *set, const char *directory,
                                          const struct hash_files_options *options, bool *damaged,
                                          struct llavamed_error *error)
{
    struct made_files made = {0};
    struct hash_files_options hashing = *options;
    struct llavamed_error failure = {0};
    bool is_any = false;
    memset(damaged, 0, set->plan.facts.n_parts * sizeof *damaged);
    enum llavamed_status status = list_files(set, directory, &made, error);
    if (status == LLAVAMED_OK) {
        status = choose_tasks(&made, damaged, &is_any, error);
    }
    if (status == LLAVAMED_OK) {
        hashing.n_bytes = made.task_bytes;
        status = hash_files(made.tasks, made.n_tasks, &hashing, &failure);
        if (status != LLAVAMED_OK) {
            *error = failure;
        }
    }
    /* These are no inputs; what is gone since the look is missed when its part is run again. */
    if (status == LLAVAMED_STATUS_INPUT_UNREADABLE || status == LLAVAMED_STATUS_INPUT_CHANGED) {
        status = error->status = LLAVAMED_STATUS_IO;
    } else if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        status = error->status = LLAVAMED_STATUS_PARTS_DIFFER;
        llavamed_hint(error, RUN_AGAIN);
    }
    if (status == LLAVAMED_OK) {
        compare_hashes(&made, damaged, &is_any, error);
    }
    made_files_deinit(&made);
    return status == LLAVAMED_OK && is_any ? LLAVAMED_STATUS_PARTS_DIFFER : status;
}

/* ---- Taking apart ---- */

/*
 * Whoever stands still before the call that removes the file may meet another one, which a later finisher has written:
 * so it is moved away, looked at, and moved back when it is not the one that was read.
 */
static enum llavamed_status remove_all(const char *directory, const char *all, const struct run_guard *guard,
                                       const struct part_set *set, struct llavamed_error *error)
{
    char name[PART_NAME_BYTES];
    char *text = NULL;
    size_t n_bytes = 0;
    part_draft_name(name);
    char *aside = path_join(directory, name);
    if (aside == NULL) {
        return llavamed_fail_memory(error, sizeof name, "a path");
    }
    enum llavamed_status status = run_guard_confirm(guard, error);
    if (status == LLAVAMED_OK && rename(all, aside) != 0) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove", all);
    } else if (status == LLAVAMED_OK) {
        status = part_file_read(aside, PART_ALL_BYTES_MAX, &text, &n_bytes, error);
        bool is_it = status == LLAVAMED_OK && text != NULL && n_bytes == set->n_bytes &&
                     memcmp(text, set->text, n_bytes) == 0;
        if ((is_it ? unlink(aside) : rename(aside, all)) != 0 && status == LLAVAMED_OK) {
            status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove", aside);
        }
        if (status == LLAVAMED_OK && !is_it) {
            status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run has written it meanwhile", all);
        }
    }
    free(text);
    free(aside);
    return status;
}

enum llavamed_status part_set_take_apart(const struct part_set *set, const char *directory,
                                         const struct run_guard *guard, const bool *damaged,
                                         struct llavamed_error *error)
{
    const char *at = set->text;
    size_t n_left = set->n_bytes;
    char *all = path_join(directory, PART_ALL_NAME);
    enum llavamed_status status = all != NULL ? LLAVAMED_OK
                                              : llavamed_fail_memory(error, sizeof PART_ALL_NAME, "a path");
    /* The line of the plan, then one of each part; part_set_read() has seen that there are as many. */
    for (unsigned line = 0; status == LLAVAMED_OK && line <= set->plan.facts.n_parts && n_left > 0; line++) {
        const char *end = memchr(at, '\n', n_left);
        size_t n = end == NULL ? n_left : (size_t)(end - at) + 1;
        char name[PART_NAME_BYTES] = PART_PLAN_NAME;
        if (line > 0) {
            part_record_name(line - 1, set->plan.facts.n_parts, name);
        }
        if (line == 0 || !damaged[line - 1]) {
            status = part_file_write(directory, name, guard, at, n, error);
        }
        at += n;
        n_left -= n;
    }
    if (status == LLAVAMED_OK) {
        status = remove_all(directory, all, guard, set, error);
    }
    free(all);
    return status == LLAVAMED_OK ? directory_sync(directory, error) : status;
}
