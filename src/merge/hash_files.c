/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/hash_files.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"

#define CHUNK_BYTES (256 << 10) /* no more than the tiles of a worker, which are not there at the same time */
#define SUMS_BYTES_MAX (16 << 20)

/* Files to hash; workers take one after another. The error of the first file in the list wins, whoever met it. */
struct hash_queue {
    const struct hash_files_task *tasks;
    size_t n_tasks;
    const struct hash_files_options *options;
    atomic_size_t next;
    pthread_mutex_t mutex;
    size_t failed; /* index of the task, n_tasks: none */
    struct llavamed_error error;
};

static enum llavamed_status hash_chunks(struct hash_queue *queue, struct input_file *file, struct sha256_stream *stream,
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
        status = input_file_read(file, offset, chunk, n, error);
        if (status == LLAVAMED_OK) {
            status = sha256_update(stream, chunk, n, error);
        }
    }
    return status;
}

static enum llavamed_status hash_file(struct hash_queue *queue, const struct hash_files_task *task, uint8_t *chunk,
                                      struct llavamed_error *error)
{
    struct input_file *file = NULL;
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = input_file_open(task->path, &file, error);
    if (status == LLAVAMED_OK && queue->options->from_storage) {
        input_file_drop_cache(file);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_create(&stream, error);
    }
    if (status == LLAVAMED_OK) {
        status = hash_chunks(queue, file, stream, chunk, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_file_check_unchanged(file, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(stream, task->hex, error);
    }
    sha256_free(stream);
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

static void *hash_worker(void *context)
{
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
    return NULL;
}

/* The caller's thread works too, so that it goes on when no other can be made. */
enum llavamed_status hash_files(const struct hash_files_task *tasks, size_t n_tasks,
                                const struct hash_files_options *options, struct llavamed_error *error)
{
    struct hash_queue queue = {.tasks = tasks, .n_tasks = n_tasks, .options = options, .failed = n_tasks};
    pthread_t threads[HASH_FILES_THREADS_MAX];
    size_t n_made = 0;
    size_t n_wanted = (size_t)min_u64(min_u64(options->n_threads, HASH_FILES_THREADS_MAX), n_tasks);
    atomic_init(&queue.next, 0);
    if (pthread_mutex_init(&queue.mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof queue.mutex, "a lock");
    }
    while (n_made + 1 < n_wanted && pthread_create(&threads[n_made], NULL, hash_worker, &queue) == 0) {
        n_made++;
    }
    (void)hash_worker(&queue);
    for (size_t i = 0; i < n_made; i++) {
        (void)pthread_join(threads[i], NULL);
    }
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
    for (size_t i = 0; i < n_files; i++) {
        tasks[i] = (struct hash_files_task){files[i].path, files[i].got};
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
