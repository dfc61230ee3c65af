/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/read_files.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "core/crew.h"
#include "core/sort.h"
#include "io/directory.h"

/* A chunk stays in a core's first caches from reading it to the last of its sums. */
#define CHUNK_BYTES_MAX ((size_t)64 << 10)
#define CHUNK_BYTES_MIN ((size_t)16 << 10)
/* Of a task: what is read between two looks for a signal. */
#define TASK_BYTES ((uint64_t)8 << 20)
#define WORKERS_MAX 256

/* A worker's own. */
struct file_reader {
    struct table_file *file; /* NULL: it has none */
    struct input_file *input; /* owned; NULL: to be opened */
    struct sha256_stream *sha256; /* owned */
    uint64_t n_bytes;
    uint64_t offset;
    uint8_t *chunk; /* borrowed */
};

struct file_reading {
    struct read_files *job;
    struct table_file **order; /* owned: the wanted files, the largest first */
    size_t n_order;
    size_t n_shards; /* of them */
    size_t next;
    size_t chunk_bytes;
    struct file_reader *readers; /* owned, one for each worker */
    uint64_t started_ns;
    uint64_t total_bytes;
    atomic_uint_fast64_t done_bytes;
    pthread_mutex_t header_mutex; /* one header at a time: what it takes to read a hostile one is not multiplied */
};

/* ---- One file ---- */

static bool is_fatal(enum llavamed_status status)
{
    return status == LLAVAMED_STATUS_NO_MEMORY || status == LLAVAMED_STATUS_INTERNAL;
}

/* Keeps what is wrong with a file. Fails when that is no fault of the file. */
static enum llavamed_status keep_failure(const struct table_file *file, enum llavamed_status status,
                                         enum llavamed_status *kept, char **words, struct llavamed_error *error)
{
    if (is_fatal(status)) {
        return status;
    }
    free(*words);
    *kept = status;
    *words = strdup(findings_words(error->message, file->name));
    return *words != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, LLAVAMED_MESSAGE_BYTES, "a message");
}

/* A weights file whose header is not valid is still hashed. */
static enum llavamed_status read_header(struct file_reading *reading, struct table_file *file,
                                        struct input_file *input, struct llavamed_error *error)
{
    uint64_t recorded_bytes = file->recorded == NULL ? 0 : file->recorded->n_bytes;
    file->view = calloc(1, sizeof *file->view);
    if (file->view == NULL) {
        return llavamed_fail_memory(error, sizeof *file->view, "a weights file");
    }
    pthread_mutex_lock(&reading->header_mutex);
    enum llavamed_status status = shard_view_read(input, recorded_bytes, file->view, &file->is_cut, error);
    pthread_mutex_unlock(&reading->header_mutex);
    if (status == LLAVAMED_OK || file->is_cut) {
        enum llavamed_status failed = status;
        if (failed != LLAVAMED_OK) {
            status = keep_failure(file, failed, &file->header_failure, &file->header_words, error);
        }
        if (status == LLAVAMED_OK) {
            status = shard_view_start(file->view, input_file_bytes(input), reading->job->manifest, error);
        }
        file->is_summed = status == LLAVAMED_OK;
    } else {
        free(file->view);
        file->view = NULL;
    }
    return status == LLAVAMED_OK || input_file_is_failure(status)
               ? status
               : keep_failure(file, status, &file->header_failure, &file->header_words, error);
}

static enum llavamed_status open_file(struct file_reading *reading, struct file_reader *reader,
                                      struct llavamed_error *error)
{
    struct table_file *file = reader->file;
    char *path = path_join(reading->job->dir, file->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(file->name), "a path");
    }
    enum llavamed_status status = input_file_open_plain(path, file->name, &reader->input, error);
    free(path);
    if (status == LLAVAMED_OK && (input_file_device(reader->input) != file->device ||
                                  input_file_inode(reader->input) != file->inode)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED, "%s: another file took its place meanwhile",
                               file->name);
    }
    if (status == LLAVAMED_OK) {
        reader->n_bytes = input_file_bytes(reader->input);
        reader->offset = 0;
        file->n_bytes = reader->n_bytes;
        status = sha256_create(&reader->sha256, error);
    }
    if (status == LLAVAMED_OK && file->is_shard) {
        status = read_header(reading, file, reader->input, error);
    }
    return status;
}

static enum llavamed_status read_on(struct file_reading *reading, struct file_reader *reader,
                                    struct llavamed_error *error)
{
    uint64_t end = reader->offset + min_u64(TASK_BYTES, reader->n_bytes - reader->offset);
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && reader->offset < end) {
        size_t n = (size_t)min_u64(reading->chunk_bytes, end - reader->offset);
        status = reading->job->keep_cached
                     ? input_file_read_near(reader->input, reader->offset, reader->chunk, n, error)
                     : input_file_read(reader->input, reader->offset, reader->chunk, n, error);
        if (status == LLAVAMED_OK && reader->file->is_summed) {
            shard_view_feed(reader->file->view, reader->chunk, n);
        }
        if (status == LLAVAMED_OK) {
            status = sha256_update(reader->sha256, reader->chunk, n, error);
            reader->offset += n;
            atomic_fetch_add_explicit(&reading->done_bytes, n, memory_order_relaxed);
        }
    }
    return status;
}

static enum llavamed_status end_file(struct file_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = input_file_check_unchanged(reader->input, error);
    if (status == LLAVAMED_OK) {
        status = sha256_finish(reader->sha256, reader->file->sha256, error);
    }
    if (status == LLAVAMED_OK && reader->file->is_summed) {
        status = shard_view_finish(reader->file->view, error);
    }
    reader->file->is_read = status == LLAVAMED_OK;
    return status;
}

static void close_file(struct file_reader *reader)
{
    if (reader->file != NULL && !reader->file->is_read && reader->file->view != NULL) {
        reader->file->is_summed = false;
        span_crc_deinit(&reader->file->view->crc);
    }
    sha256_free(reader->sha256);
    input_file_close(reader->input);
    *reader = (struct file_reader){.chunk = reader->chunk};
}

/* ---- The crew ---- */

static enum crew_turn take_locked(void *state, unsigned number)
{
    struct file_reading *reading = state;
    struct file_reader *reader = &reading->readers[number];
    if (reader->file == NULL && reading->next == reading->n_order) {
        return CREW_OVER;
    }
    if (reader->file == NULL) {
        reader->file = reading->order[reading->next++];
    }
    return CREW_TASK;
}

static enum llavamed_status work(void *state, unsigned number, struct llavamed_error *error)
{
    struct file_reading *reading = state;
    struct file_reader *reader = &reading->readers[number];
    enum llavamed_status status = reader->input == NULL ? open_file(reading, reader, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK) {
        status = read_on(reading, reader, error);
    }
    if (status == LLAVAMED_OK && reader->offset == reader->n_bytes) {
        status = end_file(reader, error);
    }
    return status == LLAVAMED_OK
               ? LLAVAMED_OK
               : keep_failure(reader->file, status, &reader->file->failure, &reader->file->failure_words, error);
}

static void done_locked(void *state, unsigned number, struct crew *crew)
{
    struct file_reading *reading = state;
    struct file_reader *reader = &reading->readers[number];
    struct table_file *file = reader->file;
    if (file->failure == LLAVAMED_OK && !file->is_read) {
        return;
    }
    close_file(reader);
    if (file->is_shard && file->is_read) {
        crew_announce_locked(crew, (size_t)(file - reading->job->table->files));
    }
}

static void tick(void *state)
{
    const struct file_reading *reading = state;
    const struct llavamed_observer *observer = reading->job->observer;
    if (observer != NULL && observer->progress != NULL) {
        const struct llavamed_progress progress = {
            .done_bytes = atomic_load(&reading->done_bytes),
            .total_bytes = reading->total_bytes,
            .elapsed_ns = clock_monotonic_ns() - reading->started_ns,
        };
        observer->progress(observer->context, &progress);
    }
}

static void tell_file(const struct table_file *file, const struct llavamed_observer *observer, size_t n_told,
                      size_t n_shards)
{
    if (observer == NULL || observer->shard_done == NULL) {
        return;
    }
    struct llavamed_shard_report report = {.name = file->name, .file_bytes = file->n_bytes};
    report.n_tensors = file->view == NULL ? 0 : file->view->set.n_tensors;
    memcpy(report.sha256, file->sha256, sizeof report.sha256);
    observer->shard_done(observer->context, &report, n_told, n_shards);
}

static void tell(void *state, size_t item, size_t n_told)
{
    const struct file_reading *reading = state;
    tell_file(&reading->job->table->files[item], reading->job->observer, n_told, reading->n_shards);
}

void read_files_tell(const struct file_table *table, const struct llavamed_observer *observer)
{
    size_t n_shards = 0;
    size_t n_told = 0;
    for (size_t i = 0; i < table->n_files; i++) {
        n_shards += table->files[i].is_wanted && table->files[i].is_shard;
    }
    for (size_t i = 0; i < table->n_files; i++) {
        const struct table_file *file = &table->files[i];
        if (file->is_wanted && file->is_shard && file->is_read) {
            tell_file(file, observer, ++n_told, n_shards);
        }
    }
}

/* ---- The whole ---- */

static int compare_sizes(const void *a, const void *b)
{
    const struct table_file *file_a = *(const struct table_file *const *)a;
    const struct table_file *file_b = *(const struct table_file *const *)b;
    if (file_a->n_bytes != file_b->n_bytes) {
        return file_a->n_bytes > file_b->n_bytes ? -1 : 1;
    }
    return strcmp(file_a->name, file_b->name);
}

static enum llavamed_status choose_order(struct file_reading *reading, struct llavamed_error *error)
{
    const struct file_table *table = reading->job->table;
    reading->order = calloc(table->n_files + 1, sizeof(void *));
    if (reading->order == NULL) {
        return llavamed_fail_memory(error, table->n_files * sizeof(void *), "the list of files");
    }
    for (size_t i = 0; i < table->n_files; i++) {
        if (table->files[i].is_wanted) {
            reading->order[reading->n_order++] = &table->files[i];
            reading->n_shards += table->files[i].is_shard;
            reading->total_bytes += table->files[i].n_bytes;
        }
    }
    sort_array(reading->order, reading->n_order, sizeof(void *), compare_sizes);
    return LLAVAMED_OK;
}

/* How many read at a time, with how large chunks. */
static enum llavamed_status choose_workers(struct file_reading *reading, struct llavamed_error *error)
{
    struct read_files *job = reading->job;
    uint64_t n = job->n_threads == 0 ? cpus_usable() : job->n_threads;
    n = min_u64(n, max_u64(1, min_u64(WORKERS_MAX, reading->n_order)));
    n = min_u64(n, job->max_memory_bytes / CHUNK_BYTES_MIN);
    if (n == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                             "too little memory allowed (got %llu bytes, want at least %zu)",
                             (unsigned long long)job->max_memory_bytes, CHUNK_BYTES_MIN);
    }
    job->n_workers = (unsigned)n;
    reading->chunk_bytes = (size_t)min_u64(CHUNK_BYTES_MAX, job->max_memory_bytes / n);
    job->buffer_bytes = n * reading->chunk_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status run(struct file_reading *reading, uint8_t *chunks, struct llavamed_error *error)
{
    struct read_files *job = reading->job;
    for (unsigned i = 0; i < job->n_workers; i++) {
        reading->readers[i].chunk = chunks + i * reading->chunk_bytes;
    }
    const struct crew_job crew_job = {
        .state = reading,
        .n_workers = job->n_workers,
        .n_items = reading->n_order,
        .stop_signal = job->stop_signal,
        .take_locked = take_locked,
        .work = work,
        .done_locked = done_locked,
        .tick = tick,
        .tell = tell,
    };
    enum llavamed_status status = crew_run(&crew_job, error);
    for (unsigned i = 0; i < job->n_workers; i++) {
        close_file(&reading->readers[i]);
    }
    job->read_bytes += atomic_load(&reading->done_bytes);
    return status;
}

enum llavamed_status read_files(struct read_files *job, struct llavamed_error *error)
{
    struct file_reading reading = {.job = job, .started_ns = clock_monotonic_ns()};
    if (pthread_mutex_init(&reading.header_mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof reading.header_mutex, "a lock");
    }
    uint8_t *chunks = NULL;
    enum llavamed_status status = choose_order(&reading, error);
    if (status == LLAVAMED_OK) {
        status = choose_workers(&reading, error);
    }
    if (status == LLAVAMED_OK && reading.n_order > 0) {
        chunks = malloc((size_t)job->buffer_bytes);
        reading.readers = calloc(job->n_workers, sizeof *reading.readers);
        status = chunks == NULL || reading.readers == NULL
                     ? llavamed_fail_memory(error, job->buffer_bytes, "reading files")
                     : run(&reading, chunks, error);
    }
    free(reading.readers);
    free(chunks);
    free(reading.order);
    (void)pthread_mutex_destroy(&reading.header_mutex);
    return status;
}
