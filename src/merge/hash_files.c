/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/hash_files.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/checked.h"
#include "core/crew.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"

#define CHUNK_BYTES (1 << 20)
#define SUMS_BYTES_MAX (16 << 20)

/* Files to hash; workers take one after another. The error of the first file in the list wins, whoever met it. */
struct hash_queue {
    const struct hash_files_task *tasks;
    size_t n_tasks;
    const struct hash_files_options *options;
    struct crew crew;
    atomic_size_t next;
    pthread_mutex_t mutex; /* over the next two */
    size_t failed; /* index of the task, n_tasks: none */
    struct llavamed_error error;
};

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

static enum llavamed_status hash_chunks(struct hash_queue *queue, struct input_file *file, struct file_hash *hash,
                                        uint8_t *chunk, struct llavamed_error *error)
{
    const volatile int *stop_signal = queue->options->stop_signal;
    uint64_t n_bytes = input_file_bytes(file);
    enum llavamed_status status = LLAVAMED_OK;
    for (uint64_t offset = 0; status == LLAVAMED_OK && offset < n_bytes; offset += CHUNK_BYTES) {
        size_t n = (size_t)min_u64(CHUNK_BYTES, n_bytes - offset);
        int signal_number = stop_signal == NULL ? 0 : *stop_signal;
        if (signal_number != 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
            error->signal_number = signal_number;
            return status;
        }
        status = queue->options->keep_cached ? input_file_read_near(file, offset, chunk, n, error)
                                             : input_file_read(file, offset, chunk, n, error);
        if (status == LLAVAMED_OK) {
            status = file_hash_update(hash, chunk, n, error);
        }
        atomic_fetch_add(&queue->crew.done_bytes, n);
    }
    return status;
}

static enum llavamed_status hash_file(struct hash_queue *queue, const struct hash_files_task *task, uint8_t *chunk,
                                      struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct file_hash hash = {0};
    enum llavamed_status status = input_file_open(task->path, &file, error);
    if (status == LLAVAMED_OK && queue->options->from_storage) {
        input_file_drop_cache(file);
    }
    if (status == LLAVAMED_OK) {
        status = file_hash_create(task, input_file_bytes(file), &hash, error);
    }
    if (status == LLAVAMED_OK) {
        status = hash_chunks(queue, file, &hash, chunk, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_file_check_unchanged(file, error);
    }
    if (status == LLAVAMED_OK) {
        status = file_hash_finish(&hash, task, error);
    }
    sha256_free(hash.sha256);
    git_blob_free(hash.git_blob);
    input_file_close(file);
    return status;
}

static void note_failure(struct hash_queue *queue, size_t index, const struct llavamed_error *error)
{
    (void)pthread_mutex_lock(&queue->mutex);
    if (index < queue->failed) {
        queue->failed = index;
        queue->error = *error;
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    atomic_store(&queue->next, queue->n_tasks);
}

static void hash_worker(void *context, size_t worker)
{
    (void)worker;
    struct hash_queue *queue = context;
    uint8_t *chunk = malloc(CHUNK_BYTES);
    struct llavamed_error error = {0};
    while (true) {
        size_t index = atomic_fetch_add(&queue->next, 1);
        if (index >= queue->n_tasks) {
            break;
        }
        enum llavamed_status status = chunk == NULL ? llavamed_fail_memory(&error, CHUNK_BYTES, "hashing a file")
                                                    : hash_file(queue, &queue->tasks[index], chunk, &error);
        if (status != LLAVAMED_OK) {
            note_failure(queue, index, &error);
        }
    }
    free(chunk);
}

enum llavamed_status hash_files(const struct hash_files_task *tasks, size_t n_tasks,
                                const struct hash_files_options *options, struct llavamed_error *error)
{
    struct hash_queue queue = {.tasks = tasks, .n_tasks = n_tasks, .options = options, .failed = n_tasks};
    uint64_t n_wanted = min_u64(min_u64(options->n_threads, HASH_FILES_THREADS_MAX), n_tasks);
    atomic_init(&queue.next, 0);
    queue.crew = (struct crew){
        .work = hash_worker,
        .context = &queue,
        .n_workers = (size_t)max_u64(n_wanted, 1),
        .observer = options->observer,
        .check = options->check,
        .total_bytes = options->n_bytes,
    };
    if (pthread_mutex_init(&queue.mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof queue.mutex, "a lock");
    }
    crew_run(&queue.crew);
    (void)pthread_mutex_destroy(&queue.mutex);
    if (queue.failed < n_tasks) {
        *error = queue.error;
        return error->status;
    }
    return LLAVAMED_OK;
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

static enum llavamed_status list_written(const char *directory, const char *text, size_t n_bytes,
                                         struct written_file *files, size_t *n_files, struct llavamed_error *error)
{
    char *name = malloc(n_bytes + 1);
    enum llavamed_status status =
        name == NULL ? llavamed_fail_memory(error, n_bytes + 1, "the name of a file") : LLAVAMED_OK;
    const char *cursor = text;
    size_t n_left = n_bytes;
    while (status == LLAVAMED_OK && n_left > 0) {
        struct written_file *file = &files[*n_files];
        if (!sums_next(&cursor, &n_left, file->want, name)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH, "%s/%s: damaged when read back", directory,
                                   SUMS_FILE_NAME);
        } else {
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

enum llavamed_status hash_files_read_back(const char *directory, const struct hash_files_options *options,
                                          struct llavamed_error *error)
{
    char *path = path_join(directory, SUMS_FILE_NAME);
    char *text = NULL;
    size_t n_bytes = 0;
    struct written_file *files = NULL;
    size_t n_files = 0;
    enum llavamed_status status = path == NULL ? llavamed_fail_memory(error, strlen(directory), "a path")
                                               : input_file_read_whole(path, SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        files = calloc(count_lines(text, n_bytes), sizeof *files);
        status = files == NULL ? llavamed_fail_memory(error, n_bytes, "the list of files")
                               : list_written(directory, text, n_bytes, files, &n_files, error);
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
    return status;
}
