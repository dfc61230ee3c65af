/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mutex guards all scheduling state; everything that takes time (reading, computing, writing, hashing, fsync) is
 * done outside it. Per lane (a shard in flight):
 *
 *     claimed tiles, in file order:   [hashed ...][done, waiting][in work][done][in work]  -> next claim
 *                                                  ^ lane->first
 *
 * A worker takes the hash of lane->first when it is done and nobody hashes that lane, else claims a tile, else waits.
 */
#include "merge/pipeline.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "integrity/crc32.h"
#include "io/directory.h"
#include "io/output_file.h"
#include "merge/tile.h"

#define TILE_BYTES_MIN 65536
#define TILE_BYTES_MAX 4194304
#define TILE_BYTES_WIDE (TILE_BYTES_MAX / 2) /* beyond this more workers gain more than larger tiles */
#define TILE_ALIGNMENT 4096
#define BUFFERS_PER_WORKER 2
#define SCRATCH_PER_WORKER 2
#define TILES_PER_WORKER (BUFFERS_PER_WORKER + SCRATCH_PER_WORKER)
#define WORKERS_MAX 1024

/* What a worker takes besides its tiles: a stack on which a read may gather (strided.c, meta_read.c). */
#define WORKER_OWN_BYTES 65536

/* What one worker costs with tiles of this size. */
#define WORKER_BYTES(tile_bytes) ((uint64_t)TILES_PER_WORKER * (tile_bytes) + WORKER_OWN_BYTES)

static void cut_memory(uint64_t max_memory_bytes, uint64_t n_workers, struct pipeline_geometry *geometry)
{
    uint64_t left = max_memory_bytes / n_workers - WORKER_OWN_BYTES;
    uint64_t tile_bytes = min_u64(TILE_BYTES_MAX, left / TILES_PER_WORKER);
    tile_bytes -= tile_bytes % TILE_ALIGNMENT;
    *geometry = (struct pipeline_geometry){
        .n_workers = (unsigned)n_workers,
        .n_buffers = (unsigned)(n_workers * BUFFERS_PER_WORKER),
        .tile_bytes = (size_t)tile_bytes,
        .pool_bytes = n_workers * TILES_PER_WORKER * tile_bytes,
    };
}
#define TICK_NS 200000000

enum llavamed_status pipeline_geometry_choose(uint64_t max_memory_bytes, unsigned n_threads,
                                              struct pipeline_geometry *geometry, struct llavamed_error *error)
{
    uint64_t least = WORKER_BYTES(TILE_BYTES_MIN);
    if (max_memory_bytes < least) {
        return llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                             "the memory allowed is too small (got %llu bytes, want at least %llu)",
                             (unsigned long long)max_memory_bytes, (unsigned long long)least);
    }
    uint64_t n_workers = min_u64(min_u64(n_threads, WORKERS_MAX), max_memory_bytes / least);
    cut_memory(max_memory_bytes, n_workers, geometry);
    return LLAVAMED_OK;
}

void pipeline_geometry_widen(uint64_t max_memory_bytes, uint64_t tile_bytes, struct pipeline_geometry *geometry)
{
    uint64_t wanted = min_u64(tile_bytes, TILE_BYTES_WIDE);
    wanted += (TILE_ALIGNMENT - wanted % TILE_ALIGNMENT) % TILE_ALIGNMENT;
    uint64_t n_workers = max_u64(min_u64(geometry->n_workers, 2), max_memory_bytes / WORKER_BYTES(wanted));
    if (geometry->tile_bytes < wanted && n_workers < geometry->n_workers) {
        cut_memory(max_memory_bytes, n_workers, geometry);
    }
}

void pipeline_outcome_deinit(struct pipeline_outcome *outcome)
{
    free(outcome->tensors);
    free(outcome->shard_sha256);
    memset(outcome, 0, sizeof *outcome);
}

/* A result buffer and the tile in it. */
struct slot {
    uint8_t *bytes;
    struct tile tile;
    struct pipeline_tensor tally;
    struct slot *next; /* in its lane's queue, or in the free list */
    bool done;         /* computed and written; set under the mutex */
};

enum lane_state { LANE_IDLE, LANE_STARTING, LANE_RUNNING };

struct lane {
    enum lane_state state;
    size_t shard;
    struct output_file *file;
    struct sha256_stream *sha256;
    struct tile_cursor claim;
    bool exhausted; /* every tile claimed */
    bool busy;      /* a worker hashes, starts or finishes it */
    struct slot *first;
    struct slot *last;
};

struct pipeline {
    const struct pipeline_job *job;
    struct pipeline_outcome *outcome;
    pthread_mutex_t mutex;
    pthread_cond_t work;    /* something to do for workers */
    pthread_cond_t watcher; /* something to tell to the observer */
    struct lane *lanes;
    unsigned n_lanes;
    unsigned next_lane; /* claims go round */
    struct slot *slots;
    struct slot *free_slots;
    uint8_t *pool;
    size_t next_shard;
    size_t *finished; /* shards in the order in which they were finished */
    size_t n_finished;
    unsigned n_running; /* workers that have not returned */
    bool stop;
    struct llavamed_error error; /* the first one */
    atomic_uint_fast64_t hashed_bytes;
    atomic_uint_fast64_t written_bytes;
};

struct worker {
    struct pipeline *pipeline;
    struct tile_scratch scratch;
    pthread_t thread;
};

static void fail_locked(struct pipeline *pipeline, const struct llavamed_error *error)
{
    if (!pipeline->stop) {
        pipeline->error = *error;
        pipeline->stop = true;
    }
    pthread_cond_broadcast(&pipeline->work);
    pthread_cond_signal(&pipeline->watcher);
}

/* ---- Starting and finishing a shard ------------------------------------------------------------------------- */

static enum llavamed_status lane_start(struct pipeline *pipeline, struct lane *lane, struct llavamed_error *error)
{
    const struct plan_shard *shard = &pipeline->job->plan->shards[lane->shard];
    char *path = path_join(pipeline->job->directory, shard->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(shard->name), "a path");
    }
    enum llavamed_status status = output_file_create(path, shard->layout.file_bytes, &lane->file, error);
    free(path);
    if (status == LLAVAMED_OK) {
        status = output_file_write(lane->file, 0, shard->layout.head, shard->layout.head_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_create(&lane->sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_update(lane->sha256, shard->layout.head, shard->layout.head_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        atomic_fetch_add(&pipeline->written_bytes, shard->layout.head_bytes);
        atomic_fetch_add(&pipeline->hashed_bytes, shard->layout.head_bytes);
    }
    return status;
}

static enum llavamed_status lane_finish(struct pipeline *pipeline, struct lane *lane, struct llavamed_error *error)
{
    enum llavamed_status status = sha256_finish(lane->sha256, pipeline->outcome->shard_sha256[lane->shard], error);
    sha256_free(lane->sha256);
    lane->sha256 = NULL;
    if (status == LLAVAMED_OK) {
        status = output_file_finish(lane->file, error);
        lane->file = NULL;
    }
    return status;
}

static void lane_begin_locked(struct pipeline *pipeline, struct lane *lane)
{
    const struct pipeline_job *job = pipeline->job;
    lane->state = LANE_STARTING;
    lane->shard = pipeline->next_shard++;
    lane->claim = (struct tile_cursor){
        .plan = job->plan,
        .base = job->base,
        .delta = job->delta,
        .tile_bytes = job->geometry.tile_bytes,
        .shard = lane->shard,
    };
    lane->exhausted = false;
}

/* ---- Work items --------------------------------------------------------------------------------------------- */

enum work_kind { WORK_NONE, WORK_START, WORK_FINISH, WORK_HASH, WORK_TILE };

struct work {
    enum work_kind kind;
    struct lane *lane;
    struct slot *slot;
};

/* The next tile of the lane with a free buffer, both taken; false when there is none. */
static bool claim_tile_locked(struct pipeline *pipeline, struct lane *lane, struct work *work)
{
    struct slot *slot = pipeline->free_slots;
    if (slot == NULL || lane->exhausted) {
        return false;
    }
    if (!tile_next(&lane->claim, &slot->tile)) {
        lane->exhausted = true;
        return false;
    }
    pipeline->free_slots = slot->next;
    slot->next = NULL;
    slot->done = false;
    memset(&slot->tally, 0, sizeof slot->tally);
    if (lane->last == NULL) {
        lane->first = slot;
    } else {
        lane->last->next = slot;
    }
    lane->last = slot;
    work->kind = WORK_TILE;
    work->lane = lane;
    work->slot = slot;
    return true;
}

/* What a lane itself needs, before any new tile: hashing frees buffers. */
static enum work_kind lane_need_locked(struct pipeline *pipeline, struct lane *lane)
{
    if (lane->busy) {
        return WORK_NONE;
    }
    if (lane->state == LANE_IDLE) {
        return pipeline->next_shard < pipeline->job->plan->n_shards ? WORK_START : WORK_NONE;
    }
    if (lane->first != NULL) {
        return lane->first->done ? WORK_HASH : WORK_NONE;
    }
    return lane->exhausted ? WORK_FINISH : WORK_NONE;
}

static void take_work_locked(struct pipeline *pipeline, struct work *work)
{
    work->kind = WORK_NONE;
    for (unsigned i = 0; i < pipeline->n_lanes; i++) {
        struct lane *lane = &pipeline->lanes[i];
        enum work_kind need = lane_need_locked(pipeline, lane);
        if (need != WORK_NONE) {
            work->kind = need;
            work->lane = lane;
            work->slot = lane->first;
            lane->busy = true;
            if (need == WORK_START) {
                lane_begin_locked(pipeline, lane);
            }
            return;
        }
    }
    for (unsigned i = 0; i < pipeline->n_lanes; i++) {
        struct lane *lane = &pipeline->lanes[(pipeline->next_lane + i) % pipeline->n_lanes];
        bool open = lane->state == LANE_RUNNING;
        if (open && claim_tile_locked(pipeline, lane, work)) {
            pipeline->next_lane = (unsigned)((lane - pipeline->lanes) + 1) % pipeline->n_lanes;
            return;
        }
        if (open && lane_need_locked(pipeline, lane) == WORK_FINISH) {
            work->kind = WORK_FINISH;
            work->lane = lane;
            lane->busy = true;
            return;
        }
    }
}

static enum llavamed_status do_tile(struct pipeline *pipeline, const struct worker *worker, struct work *work,
                                    struct llavamed_error *error)
{
    struct slot *slot = work->slot;
    enum llavamed_status status =
        tile_compute(pipeline->job, &slot->tile, &worker->scratch, slot->bytes, &slot->tally, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    slot->tally.crc32 = crc32_update(0, slot->bytes, slot->tile.n_bytes);
    status = output_file_write(work->lane->file, slot->tile.file_offset, slot->bytes, slot->tile.n_bytes, error);
    if (status == LLAVAMED_OK) {
        atomic_fetch_add(&pipeline->written_bytes, slot->tile.n_bytes);
    }
    return status;
}

static enum llavamed_status do_work(struct pipeline *pipeline, const struct worker *worker, struct work *work,
                                    struct llavamed_error *error)
{
    switch (work->kind) {
    case WORK_START:
        return lane_start(pipeline, work->lane, error);
    case WORK_FINISH:
        return lane_finish(pipeline, work->lane, error);
    case WORK_HASH:
        return sha256_update(work->lane->sha256, work->slot->bytes, work->slot->tile.n_bytes, error);
    case WORK_TILE:
        return do_tile(pipeline, worker, work, error);
    case WORK_NONE:
        break;
    }
    return LLAVAMED_OK;
}

/* Adds a hashed tile to its tensor's record. Tiles come here in file order, which joining the CRC-32 needs. */
static void account_tile_locked(struct pipeline *pipeline, const struct slot *slot)
{
    struct pipeline_tensor *total = &pipeline->outcome->tensors[slot->tile.tensor];
    total->crc32 = crc32_join(total->crc32, slot->tally.crc32, slot->tile.n_bytes);
    total->counts.n_nan += slot->tally.counts.n_nan;
    total->counts.n_infinite += slot->tally.counts.n_infinite;
    total->counts.n_rounded += slot->tally.counts.n_rounded;
    total->counts.n_delta_zero += slot->tally.counts.n_delta_zero;
    total->n_added += slot->tally.n_added;
    total->n_overflow += slot->tally.n_overflow;
}

static void work_done_locked(struct pipeline *pipeline, const struct work *work)
{
    struct lane *lane = work->lane;
    switch (work->kind) {
    case WORK_TILE:
        work->slot->done = true;
        break;
    case WORK_HASH:
        account_tile_locked(pipeline, work->slot);
        lane->first = work->slot->next;
        if (lane->first == NULL) {
            lane->last = NULL;
        }
        work->slot->next = pipeline->free_slots;
        pipeline->free_slots = work->slot;
        lane->busy = false;
        break;
    case WORK_FINISH:
        pipeline->finished[pipeline->n_finished++] = lane->shard;
        lane->state = LANE_IDLE;
        lane->busy = false;
        pthread_cond_signal(&pipeline->watcher);
        break;
    case WORK_START:
        lane->state = LANE_RUNNING;
        lane->busy = false;
        break;
    case WORK_NONE:
        break;
    }
    pthread_cond_broadcast(&pipeline->work);
}

static bool stop_requested(const struct pipeline *pipeline)
{
    const volatile int *signal_number = pipeline->job->stop_signal;
    return signal_number != NULL && *signal_number != 0;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct pipeline *pipeline = worker->pipeline;
    struct work work;
    struct llavamed_error error;
    (void)fesetenv(FE_DFL_ENV); /* the kernels' law; a host program may have set another rounding or flush-to-zero */
    pthread_mutex_lock(&pipeline->mutex);
    while (!pipeline->stop && pipeline->n_finished < pipeline->job->plan->n_shards) {
        take_work_locked(pipeline, &work);
        if (work.kind == WORK_NONE) {
            pthread_cond_wait(&pipeline->work, &pipeline->mutex);
            continue;
        }
        pthread_mutex_unlock(&pipeline->mutex);
        enum llavamed_status status = do_work(pipeline, worker, &work, &error);
        if (status == LLAVAMED_OK && work.kind == WORK_HASH) {
            atomic_fetch_add(&pipeline->hashed_bytes, work.slot->tile.n_bytes);
        }
        pthread_mutex_lock(&pipeline->mutex);
        if (status != LLAVAMED_OK) {
            fail_locked(pipeline, &error);
        } else {
            work_done_locked(pipeline, &work);
        }
    }
    pipeline->n_running--;
    pthread_cond_broadcast(&pipeline->work);
    pthread_cond_signal(&pipeline->watcher);
    pthread_mutex_unlock(&pipeline->mutex);
    return NULL;
}

/* ---- The calling thread -------------------------------------------------------------------------------------- */

static void tell_progress(const struct pipeline *pipeline, uint64_t started_ns)
{
    const struct llavamed_observer *observer = pipeline->job->observer;
    if (observer != NULL && observer->progress != NULL) {
        struct llavamed_progress progress = {
            .done_bytes = atomic_load(&pipeline->hashed_bytes),
            .total_bytes = pipeline->job->plan->file_bytes,
            .elapsed_ns = clock_monotonic_ns() - started_ns,
        };
        observer->progress(observer->context, &progress);
    }
}

static void tell_shard(const struct pipeline *pipeline, size_t shard_index, size_t n_told)
{
    const struct llavamed_observer *observer = pipeline->job->observer;
    if (observer == NULL || observer->shard_done == NULL) {
        return;
    }
    const struct plan_shard *shard = &pipeline->job->plan->shards[shard_index];
    struct llavamed_shard_report report = {
        .name = shard->name,
        .file_bytes = shard->layout.file_bytes,
        .n_tensors = shard->n_tensors,
    };
    memcpy(report.sha256, pipeline->outcome->shard_sha256[shard_index], sizeof report.sha256);
    observer->shard_done(observer->context, &report, n_told, pipeline->job->plan->n_shards);
}

/* Waits for the workers, telling the observer what happens; callbacks run without the mutex. */
static void watch(struct pipeline *pipeline, uint64_t started_ns)
{
    size_t n_told = 0;
    uint64_t next_tick_ns = started_ns + TICK_NS;
    pthread_mutex_lock(&pipeline->mutex);
    while (pipeline->n_running > 0 || n_told < pipeline->n_finished) {
        if (n_told < pipeline->n_finished) {
            size_t shard = pipeline->finished[n_told++];
            pthread_mutex_unlock(&pipeline->mutex);
            tell_shard(pipeline, shard, n_told);
            pthread_mutex_lock(&pipeline->mutex);
            continue;
        }
        if (clock_monotonic_ns() >= next_tick_ns) {
            next_tick_ns += TICK_NS;
            pthread_mutex_unlock(&pipeline->mutex);
            tell_progress(pipeline, started_ns);
            pthread_mutex_lock(&pipeline->mutex);
        }
        if (!pipeline->stop && stop_requested(pipeline)) {
            struct llavamed_error error;
            int signal_number = *pipeline->job->stop_signal;
            (void)llavamed_fail(&error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
            error.signal_number = signal_number;
            fail_locked(pipeline, &error);
        }
        struct timespec until = clock_monotonic_timespec(next_tick_ns);
        (void)pthread_cond_timedwait(&pipeline->watcher, &pipeline->mutex, &until);
    }
    pthread_mutex_unlock(&pipeline->mutex);
    if (!pipeline->stop) {
        tell_progress(pipeline, started_ns);
    }
}

static enum llavamed_status allocate(struct pipeline *pipeline, struct worker **workers, struct llavamed_error *error)
{
    const struct pipeline_geometry *geometry = &pipeline->job->geometry;
    size_t n_shards = pipeline->job->plan->n_shards;
    size_t n_tensors = pipeline->job->plan->n_tensors;
    pipeline->n_lanes = (unsigned)min_u64(max_u64(n_shards, 1), geometry->n_workers);
    *workers = calloc(geometry->n_workers, sizeof **workers);
    pipeline->lanes = calloc(pipeline->n_lanes, sizeof *pipeline->lanes);
    pipeline->slots = calloc(geometry->n_buffers, sizeof *pipeline->slots);
    pipeline->finished = calloc(n_shards + 1, sizeof *pipeline->finished);
    pipeline->outcome->tensors = calloc(n_tensors + 1, sizeof *pipeline->outcome->tensors);
    pipeline->outcome->shard_sha256 = calloc(n_shards + 1, sizeof *pipeline->outcome->shard_sha256);
    pipeline->pool = aligned_alloc(TILE_ALIGNMENT, (size_t)geometry->pool_bytes);
    if (*workers == NULL || pipeline->lanes == NULL || pipeline->slots == NULL || pipeline->finished == NULL ||
        pipeline->outcome->tensors == NULL || pipeline->outcome->shard_sha256 == NULL || pipeline->pool == NULL) {
        return llavamed_fail_memory(error, geometry->pool_bytes, "the pool of tiles");
    }
    uint8_t *at = pipeline->pool;
    for (unsigned i = 0; i < geometry->n_buffers; i++) {
        struct slot *slot = &pipeline->slots[i];
        slot->bytes = at;
        slot->next = pipeline->free_slots;
        pipeline->free_slots = slot;
        at += geometry->tile_bytes;
    }
    for (unsigned i = 0; i < geometry->n_workers; i++) {
        (*workers)[i].pipeline = pipeline;
        (*workers)[i].scratch.source = at;
        (*workers)[i].scratch.converted = at + geometry->tile_bytes;
        at += SCRATCH_PER_WORKER * geometry->tile_bytes;
    }
    return LLAVAMED_OK;
}

/* Starts as many workers as the system grants; one is enough. */
static unsigned start_workers(struct pipeline *pipeline, struct worker *workers)
{
    unsigned n_started = 0;
    pthread_mutex_lock(&pipeline->mutex);
    while (n_started < pipeline->job->geometry.n_workers) {
        struct worker *worker = &workers[n_started];
        int failure = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (failure != 0) {
            if (n_started == 0) {
                struct llavamed_error error;
                (void)llavamed_fail_errno(&error, LLAVAMED_STATUS_NO_MEMORY, failure, "cannot start a thread");
                fail_locked(pipeline, &error);
            }
            break;
        }
        n_started++;
        pipeline->n_running++;
    }
    pthread_mutex_unlock(&pipeline->mutex);
    return n_started;
}

static void release(struct pipeline *pipeline, struct worker *workers)
{
    for (unsigned i = 0; pipeline->lanes != NULL && i < pipeline->n_lanes; i++) {
        output_file_close(pipeline->lanes[i].file);
        sha256_free(pipeline->lanes[i].sha256);
    }
    free(workers);
    free(pipeline->lanes);
    free(pipeline->slots);
    free(pipeline->finished);
    free(pipeline->pool);
}

static enum llavamed_status init_locks(struct pipeline *pipeline, struct llavamed_error *error)
{
    pthread_condattr_t attributes;
    int failure = pthread_condattr_init(&attributes);
    if (failure == 0) {
        failure = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        failure = failure == 0 ? pthread_cond_init(&pipeline->watcher, &attributes) : failure;
        failure = failure == 0 ? pthread_cond_init(&pipeline->work, NULL) : failure;
        failure = failure == 0 ? pthread_mutex_init(&pipeline->mutex, NULL) : failure;
        (void)pthread_condattr_destroy(&attributes);
    }
    return failure == 0 ? LLAVAMED_OK
                        : llavamed_fail_errno(error, LLAVAMED_STATUS_NO_MEMORY, failure, "cannot make a lock");
}

enum llavamed_status pipeline_run(const struct pipeline_job *job, struct pipeline_outcome *outcome,
                                  struct llavamed_error *error)
{
    struct pipeline_outcome made = {0};
    struct pipeline pipeline = {.job = job, .outcome = &made};
    struct worker *workers = NULL;
    uint64_t started_ns = clock_monotonic_ns();
    enum llavamed_status status = init_locks(&pipeline, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = allocate(&pipeline, &workers, error);
    if (status == LLAVAMED_OK) {
        unsigned n_started = start_workers(&pipeline, workers);
        watch(&pipeline, started_ns);
        for (unsigned i = 0; i < n_started; i++) {
            (void)pthread_join(workers[i].thread, NULL);
        }
        if (pipeline.stop) {
            *error = pipeline.error;
            status = pipeline.error.status;
        }
    }
    release(&pipeline, workers);
    (void)pthread_mutex_destroy(&pipeline.mutex);
    (void)pthread_cond_destroy(&pipeline.work);
    (void)pthread_cond_destroy(&pipeline.watcher);
    made.written_bytes = atomic_load(&pipeline.written_bytes);
    made.elapsed_ns = clock_monotonic_ns() - started_ns;
    if (status == LLAVAMED_OK) {
        *outcome = made;
    } else {
        pipeline_outcome_deinit(&made);
    }
    return status;
}
