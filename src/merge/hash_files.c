/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/hash_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/checked.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "io/read_through.h"

#define CHUNK_BYTES (256 << 10) /* no more than the tiles of a worker, which are not there at the same time */
#define SUMS_BYTES_MAX (16 << 20)

/* What one file is fed to; either may be NULL. */
struct file_hash {
    struct sha256_stream *sha256;
    struct git_blob_stream *git_blob;
};

static enum llavamed_status file_hash_create(const struct hash_files_task *task, uint64_t n_bytes,
                                             struct file_hash *hash, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (task->hex != NULL) {
        status = sha256_create(&hash->sha256, error);
    }
    if (status == LLAVAMED_OK && task->git_hex != NULL) {
        status = git_blob_create(n_bytes, &hash->git_blob, error);
    }
    return status;
}

static enum llavamed_status file_hash_update(struct file_hash *hash, const void *bytes, size_t n_bytes,
                                             struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (hash->sha256 != NULL) {
        status = sha256_update(hash->sha256, bytes, n_bytes, error);
    }
    if (status == LLAVAMED_OK && hash->git_blob != NULL) {
        status = git_blob_update(hash->git_blob, bytes, n_bytes, error);
    }
    return status;
}

static enum llavamed_status file_hash_finish(struct file_hash *hash, const struct hash_files_task *task,
                                             struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (hash->sha256 != NULL) {
        status = sha256_finish(hash->sha256, task->hex, error);
    }
    if (status == LLAVAMED_OK && hash->git_blob != NULL) {
        status = git_blob_finish(hash->git_blob, task->git_hex, error);
    }
    return status;
}

static void file_hash_deinit(struct file_hash *hash)
{
    sha256_free(hash->sha256);
    git_blob_free(hash->git_blob);
    *hash = (struct file_hash){0};
}

struct hashing {
    const struct hash_files_task *tasks;
    struct file_hash hashes[HASH_FILES_THREADS_MAX]; /* by reader */
};

static const char *path_of(void *state, size_t file)
{
    const struct hashing *hashing = state;
    return hashing->tasks[file].path;
}

/* ---- Files in archives ---- */

struct member {
    struct input_file *archive; /* borrowed */
    struct zip_member *member;  /* owned */
};

static enum llavamed_status read_member(void *state, void *buffer, size_t n_bytes, uint64_t *n_taken,
                                        struct llavamed_error *error)
{
    struct member *member = state;
    uint64_t before = zip_member_bytes_read(member->member);
    enum llavamed_status status = zip_member_read(member->member, buffer, n_bytes, NULL, error);
    *n_taken = zip_member_bytes_read(member->member) - before;
    return status;
}

static enum llavamed_status finish_member(void *state, uint64_t *n_taken, struct llavamed_error *error)
{
    struct member *member = state;
    uint64_t before = zip_member_bytes_read(member->member);
    enum llavamed_status status = zip_member_finish(member->member, true, error);
    *n_taken = zip_member_bytes_read(member->member) - before;
    return status == LLAVAMED_OK ? input_file_check_unchanged(member->archive, error) : status;
}

static void close_member(void *state)
{
    struct member *member = state;
    zip_member_close(member->member);
    free(member);
}

static enum llavamed_status open_member(void *state, size_t file, struct read_through_content *content,
                                        struct llavamed_error *error)
{
    const struct hashing *hashing = state;
    const struct hash_files_task *task = &hashing->tasks[file];
    if (task->archive == NULL) {
        return LLAVAMED_OK;
    }
    struct member *member = calloc(1, sizeof *member);
    if (member == NULL) {
        return llavamed_fail_memory(error, sizeof *member, "a file of an archive");
    }
    member->archive = archive_file(task->archive);
    enum llavamed_status status = archive_open_member(task->archive, task->member, &member->member, error);
    if (status != LLAVAMED_OK) {
        free(member);
        return status;
    }
    *content = (struct read_through_content){.state = member,
                                             .n_bytes = zip_member_bytes(member->member),
                                             .read = read_member,
                                             .finish = finish_member,
                                             .close = close_member};
    return LLAVAMED_OK;
}

/* ---- Hashing ---- */

static enum llavamed_status begin(void *state, unsigned reader, size_t file, uint64_t n_bytes,
                                  struct llavamed_error *error)
{
    struct hashing *hashing = state;
    return file_hash_create(&hashing->tasks[file], n_bytes, &hashing->hashes[reader], error);
}

static enum llavamed_status feed(void *state, unsigned reader, const void *bytes, size_t n_bytes,
                                 struct llavamed_error *error)
{
    struct hashing *hashing = state;
    return file_hash_update(&hashing->hashes[reader], bytes, n_bytes, error);
}

static enum llavamed_status end(void *state, unsigned reader, size_t file, struct llavamed_error *error)
{
    struct hashing *hashing = state;
    enum llavamed_status status = file_hash_finish(&hashing->hashes[reader], &hashing->tasks[file], error);
    file_hash_deinit(&hashing->hashes[reader]);
    return status;
}

enum llavamed_status hash_files(const struct hash_files_task *tasks, size_t n_tasks,
                                const struct hash_files_options *options, struct llavamed_error *error)
{
    struct hashing hashing = {.tasks = tasks};
    if (n_tasks == 0) {
        return LLAVAMED_OK;
    }
    uint64_t n_wanted = min_u64(min_u64(options->n_threads, HASH_FILES_THREADS_MAX), n_tasks);
    const struct read_through job = {
        .state = &hashing,
        .n_files = n_tasks,
        .n_readers = (unsigned)max_u64(n_wanted, 1),
        .chunk_bytes = CHUNK_BYTES,
        .stop_signal = options->stop_signal,
        .from_storage = options->from_storage,
        .keep_cached = options->keep_cached,
        .observer = options->observer,
        .check = options->check,
        .total_bytes = options->n_bytes,
        .path = path_of,
        .open = open_member,
        .begin = begin,
        .feed = feed,
        .end = end,
    };
    enum llavamed_status status = read_through(&job, error);
    for (size_t i = 0; i < HASH_FILES_THREADS_MAX; i++) {
        file_hash_deinit(&hashing.hashes[i]);
    }
    return status;
}

/* ---- Reading back ---- */

struct written_file {
    char *path; /* owned */
    char want[SHA256_HEX_BYTES];
    char got[SHA256_HEX_BYTES];
};

static size_t count_lines(const char *text, size_t n_bytes)
{
    size_t n = 1;
    for (size_t i = 0; i < n_bytes; i++) {
        n += text[i] == '\n';
    }
    return n;
}

static bool is_skipped(const struct hash_files_names *skipped, const char *name)
{
    for (size_t i = 0; skipped != NULL && i < skipped->n_names; i++) {
        if (strcmp(skipped->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A text and its length. */
struct sums_text {
    const char *text;
    size_t n_bytes;
};

static enum llavamed_status list_written(const char *directory, const struct sums_text *sums,
                                         const struct hash_files_names *skipped, struct written_file *files,
                                         size_t *n_files, struct llavamed_error *error)
{
    size_t n_bytes = sums->n_bytes;
    char *name = malloc(n_bytes + 1);
    enum llavamed_status status =
        name == NULL ? llavamed_fail_memory(error, n_bytes + 1, "the name of a file") : LLAVAMED_OK;
    const char *cursor = sums->text;
    size_t n_left = n_bytes;
    while (status == LLAVAMED_OK && n_left > 0) {
        struct written_file *file = &files[*n_files];
        if (!sums_next(&cursor, &n_left, file->want, name)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH, "%s/%s: damaged when read back", directory,
                                   SUMS_FILE_NAME);
        } else if (!is_skipped(skipped, name)) {
            file->path = path_join(directory, name);
            status = file->path == NULL ? llavamed_fail_memory(error, strlen(name), "a path") : LLAVAMED_OK;
            (*n_files)++;
        }
    }
    free(name);
    return status;
}

static enum llavamed_status hash_written(struct written_file *files, size_t n_files,
                                         const struct hash_files_options *options, struct llavamed_error *error)
{
    struct hash_files_task *tasks = calloc(n_files + 1, sizeof *tasks);
    struct hash_files_options from_storage = *options;
    from_storage.from_storage = true;
    if (tasks == NULL) {
        return llavamed_fail_memory(error, (n_files + 1) * sizeof *tasks, "the list of files");
    }
    from_storage.n_bytes = 0;
    for (size_t i = 0; i < n_files; i++) {
        struct stat info;
        tasks[i] = (struct hash_files_task){.path = files[i].path, .hex = files[i].got};
        if (stat(files[i].path, &info) == 0 && info.st_size > 0) {
            from_storage.n_bytes += (uint64_t)info.st_size;
        }
    }
    enum llavamed_status status = hash_files(tasks, n_files, &from_storage, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_files; i++) {
        if (strcmp(files[i].got, files[i].want) != 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH,
                                   "%s: what was read back is not what was written (SHA-256: got %s, want %s)",
                                   files[i].path, files[i].got, files[i].want);
            llavamed_hint(error, "storage or memory of this machine is faulty: write to another disk");
        }
    }
    free(tasks);
    return status;
}

enum llavamed_status hash_files_read_back(const char *directory, const struct hash_files_names *skipped,
                                          const struct hash_files_options *options, struct llavamed_error *error)
{
    char *path = path_join(directory, SUMS_FILE_NAME);
    char *text = NULL;
    size_t n_bytes = 0;
    struct written_file *files = NULL;
    size_t n_files = 0;
    enum llavamed_status status = path == NULL ? llavamed_fail_memory(error, strlen(directory), "a path")
                                               : input_file_read_whole(path, SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        const struct sums_text sums = {text, n_bytes};
        files = calloc(count_lines(text, n_bytes), sizeof *files);
        status = files == NULL ? llavamed_fail_memory(error, n_bytes, "the list of files")
                               : list_written(directory, &sums, skipped, files, &n_files, error);
    }
    if (status == LLAVAMED_OK) {
        status = hash_written(files, n_files, options, error);
    }
    for (size_t i = 0; i < n_files; i++) {
        free(files[i].path);
    }
    free(files);
    free(text);
    free(path);
    /* These are no inputs: what keeps them from being read is an error of the storage. */
    if (status == LLAVAMED_STATUS_INPUT_UNREADABLE) {
        error->status = LLAVAMED_STATUS_IO;
        status = LLAVAMED_STATUS_IO;
    }
    return status;
}
