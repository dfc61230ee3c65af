/* SPDX-License-Identifier: Apache-2.0 */
#include "io/read_through.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/crew.h"

/* Its tasks are chunks, so that a run of large files stops soon. */
struct reader {
    bool is_open;                        /* else between files */
    struct read_through_content content; /* of state NULL unless it reads one */
    struct input_file *file;             /* NULL unless it reads a file on disk */
    uint64_t n_bytes;
    size_t index;
    uint64_t offset;
    uint8_t *chunk;
};

struct reading {
    const struct read_through *job;
    struct reader readers[READ_THROUGH_READERS_MAX];
    size_t next;
    uint64_t started_ns;
    atomic_uint_fast64_t done_bytes;
};

static enum crew_turn take_locked(void *state, unsigned number)
{
    struct reading *reading = state;
    const struct read_through *job = reading->job;
    struct reader *reader = &reading->readers[number];
    if (reader->is_open) {
        return CREW_TASK;
    }
    while (reading->next < job->n_files && job->path(job->state, reading->next) == NULL) {
        reading->next++;
    }
    if (reading->next == job->n_files) {
        return CREW_OVER;
    }
    reader->index = reading->next++;
    reader->offset = 0;
    return CREW_TASK;
}

static enum llavamed_status open_file(const struct read_through *job, struct reader *reader, unsigned number,
                                      struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    if (job->open != NULL) {
        status = job->open(job->state, reader->index, &reader->content, error);
    }
    if (status == LLAVAMED_OK && reader->content.state == NULL) {
        status = input_file_open(job->path(job->state, reader->index), &reader->file, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (job->from_storage && reader->file != NULL) {
        input_file_drop_cache(reader->file);
    }
    reader->is_open = true;
    reader->n_bytes = reader->file != NULL ? input_file_bytes(reader->file) : reader->content.n_bytes;
    return job->begin(job->state, number, reader->index, reader->n_bytes, error);
}

static void close_file(struct reader *reader)
{
    if (reader->content.state != NULL) {
        reader->content.close(reader->content.state);
    }
    input_file_close(reader->file);
    reader->content = (struct read_through_content){0};
    reader->file = NULL;
    reader->is_open = false;
}

static enum llavamed_status read_chunk(struct reading *reading, struct reader *reader, unsigned number,
                                       struct llavamed_error *error)
{
    const struct read_through *job = reading->job;
    size_t n = (size_t)min_u64(job->chunk_bytes, reader->n_bytes - reader->offset);
    uint64_t n_taken = n;
    enum llavamed_status status;
    if (reader->file == NULL) {
        status = reader->content.read(reader->content.state, reader->chunk, n, &n_taken, error);
    } else if (job->keep_cached) {
        status = input_file_read_near(reader->file, reader->offset, reader->chunk, n, error);
    } else {
        status = input_file_read(reader->file, reader->offset, reader->chunk, n, error);
    }
    if (status == LLAVAMED_OK) {
        status = job->feed(job->state, number, reader->chunk, n, error);
    }
    reader->offset += n;
    atomic_fetch_add(&reading->done_bytes, n_taken);
    return status;
}

static enum llavamed_status work(void *state, unsigned number, struct llavamed_error *error)
{
    struct reading *reading = state;
    const struct read_through *job = reading->job;
    struct reader *reader = &reading->readers[number];
    enum llavamed_status status = reader->is_open ? LLAVAMED_OK : open_file(job, reader, number, error);
    if (status == LLAVAMED_OK && reader->offset < reader->n_bytes) {
        status = read_chunk(reading, reader, number, error);
    }
    if (status != LLAVAMED_OK || reader->offset < reader->n_bytes) {
        return status;
    }
    uint64_t n_taken = 0;
    status = reader->file == NULL ? reader->content.finish(reader->content.state, &n_taken, error)
                                  : input_file_check_unchanged(reader->file, error);
    atomic_fetch_add(&reading->done_bytes, n_taken);
    close_file(reader);
    return status == LLAVAMED_OK ? job->end(job->state, number, reader->index, error) : status;
}

static void done_locked(void *state, unsigned number, struct crew *crew)
{
    (void)state;
    (void)number;
    (void)crew;
}

static void tick(void *state)
{
    const struct reading *reading = state;
    const struct llavamed_observer *observer = reading->job->observer;
    if (observer != NULL && observer->progress != NULL) {
        struct llavamed_progress progress = {
            .done_bytes = atomic_load(&reading->done_bytes),
            .total_bytes = reading->job->total_bytes,
            .elapsed_ns = clock_monotonic_ns() - reading->started_ns,
            .check = reading->job->check,
        };
        observer->progress(observer->context, &progress);
    }
}

static void tell(void *state, size_t item, size_t n_told)
{
    (void)state;
    (void)item;
    (void)n_told;
}

enum llavamed_status read_through(const struct read_through *job, struct llavamed_error *error)
{
    assert(job->n_readers >= 1 && job->n_readers <= READ_THROUGH_READERS_MAX && job->chunk_bytes > 0);
    struct reading reading = {.job = job, .started_ns = clock_monotonic_ns()};
    uint8_t *chunks = malloc(job->n_readers * job->chunk_bytes);
    if (chunks == NULL) {
        return llavamed_fail_memory(error, job->n_readers * job->chunk_bytes, "reading files");
    }
    for (unsigned i = 0; i < job->n_readers; i++) {
        reading.readers[i].chunk = chunks + i * job->chunk_bytes;
    }
    const struct crew_job crew_job = {
        .state = &reading,
        .n_workers = job->n_readers,
        .stop_signal = job->stop_signal,
        .take_locked = take_locked,
        .work = work,
        .done_locked = done_locked,
        .tick = tick,
        .tell = tell,
    };
    tick(&reading);
    enum llavamed_status status = crew_run(&crew_job, error);
    for (unsigned i = 0; i < job->n_readers; i++) {
        close_file(&reading.readers[i]);
    }
    free(chunks);
    return status;
}
