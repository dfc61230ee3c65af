/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The usual way: both sources are read in any order. (pipeline_stream.c is the other.) Scheduling state is guarded by
 * the crew's mutex; everything that takes time (reading, computing, writing, hashing, fsync) is done outside it. Per
 * lane (a shard in flight):
 *
 *     claimed tiles, in file order:   [hashed ...][done, waiting][in work][done][in work]  -> next claim
 *                                                  ^ lane->first
 *
 * A worker takes the hash of lane->first when it is done and nobody hashes that lane, else claims a tile, else waits.
 */
#include "merge/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/crew.h"
#include "integrity/crc32.h"
#include "io/directory.h"
#include "merge/journal.h"
#include "merge/pipeline_parts.h"
#include "merge/pipeline_stream.h"
#include "merge/shard_segments.h"
#include "merge/tile_fit.h"
#include "merge/tile_keep.h"

#define TILE_BYTES_MIN 65536
/* So small that what the workers of a few cores have in hand stays in their caches (docs/performance.md). */
#define TILE_BYTES_USUAL 1048576
#define TILE_BYTES_WIDE 2097152 /* beyond this more workers gain more than larger tiles */
#define TILE_ALIGNMENT 4096
#define BUFFERS_PER_WORKER 2
#define SCRATCH_PER_WORKER 2
#define WORKERS_MAX 1024

_Static_assert(BUFFERS_PER_WORKER + SCRATCH_PER_WORKER == TILES_PER_WORKER, "the pool is cut into both");

/* What a worker takes besides its tiles: a stack on which a read may gather (strided.c, meta_read.c). */
#define WORKER_OWN_BYTES 65536

/* What one worker costs with tiles of this size. */
#define WORKER_BYTES(tile_bytes) ((uint64_t)TILES_PER_WORKER * (tile_bytes) + WORKER_OWN_BYTES)

static void cut_memory(uint64_t max_memory_bytes, uint64_t n_workers, uint64_t tile_bytes_most,
                       struct pipeline_geometry *geometry)
{
    uint64_t left = max_memory_bytes / n_workers - WORKER_OWN_BYTES;
    uint64_t tile_bytes = min_u64(tile_bytes_most, left / TILES_PER_WORKER);
    tile_bytes -= tile_bytes % TILE_ALIGNMENT;
    *geometry = (struct pipeline_geometry){
        .n_workers = (unsigned)n_workers,
        .n_buffers = (unsigned)(n_workers * BUFFERS_PER_WORKER),
        .tile_bytes = (size_t)tile_bytes,
        .pool_bytes = n_workers * TILES_PER_WORKER * tile_bytes,
    };
}

enum llavamed_status pipeline_geometry_choose(uint64_t max_memory_bytes, unsigned n_threads,
                                              struct pipeline_geometry *geometry, struct llavamed_error *error)
{
    uint64_t least = WORKER_BYTES(TILE_BYTES_MIN);
    if (max_memory_bytes < least) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                            "the memory allowed is too small (got %llu bytes, want at least %llu)",
                            (unsigned long long)max_memory_bytes, (unsigned long long)least);
        llavamed_hint(error, "--max-memory takes sizes like 64MiB");
        return LLAVAMED_STATUS_MEMORY_TOO_SMALL;
    }
    uint64_t n_workers = min_u64(min_u64(n_threads, WORKERS_MAX), max_memory_bytes / least);
    cut_memory(max_memory_bytes, n_workers, TILE_BYTES_USUAL, geometry);
    return LLAVAMED_OK;
}

void pipeline_geometry_widen(uint64_t max_memory_bytes, uint64_t tile_bytes, struct pipeline_geometry *geometry)
{
    uint64_t wanted = min_u64(tile_bytes, TILE_BYTES_WIDE);
    wanted += (TILE_ALIGNMENT - wanted % TILE_ALIGNMENT) % TILE_ALIGNMENT;
    uint64_t n_workers = max_u64(min_u64(geometry->n_workers, 2), max_memory_bytes / WORKER_BYTES(wanted));
    if (geometry->tile_bytes < wanted) {
        cut_memory(max_memory_bytes, min_u64(n_workers, geometry->n_workers), wanted, geometry);
    }
}

void pipeline_outcome_deinit(struct pipeline_outcome *outcome)
{
    free(outcome->tensors);
    free(outcome->shard_sha256);
    memset(outcome, 0, sizeof *outcome);
}

/* ---- What both ways share ------------------------------------------------------------------------------------ */

enum llavamed_status pipeline_create_shard(struct pipeline_frame *frame, size_t shard_index, struct output_file **out,
                                           struct llavamed_error *error)
{
    const struct plan_shard *shard = &frame->job->plan->shards[shard_index];
    char *path = path_join(frame->job->directory, shard->name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(shard->name), "a path");
    }
    enum llavamed_status status = run_guard_confirm(frame->job->guard, error);
    if (status == LLAVAMED_OK) {
        status = output_file_create(path, shard->layout.file_bytes, frame->job->continues, out, error);
    }
    free(path);
    return status;
}

enum llavamed_status pipeline_finish_shard(struct pipeline_frame *frame, struct output_file *file,
                                           struct llavamed_error *error)
{
    struct journal *journal = frame->job->journal;
    enum llavamed_status status = output_file_finish(file, error);
    return status == LLAVAMED_OK && journal != NULL ? journal_sync(journal, error) : status;
}

void pipeline_add_tile(struct pipeline_tensor *total, const struct tile *tile, const uint8_t *bytes,
                       const struct pipeline_tensor *tally)
{
    uint64_t offset = tile->first_elem * (tile->n_bytes / tile->n_elems);
    for (size_t i = 0; i < tile->n_bytes && offset + i < sizeof total->front; i++) {
        total->front |= (uint64_t)bytes[i] << (8 * (offset + i));
    }
    total->counts.n_nan += tally->counts.n_nan;
    total->counts.n_infinite += tally->counts.n_infinite;
    total->counts.n_rounded += tally->counts.n_rounded;
    total->counts.n_delta_zero += tally->counts.n_delta_zero;
    total->n_added += tally->n_added;
    total->n_overflow += tally->n_overflow;
}

void pipeline_tell_progress(const struct pipeline_frame *frame, uint64_t done_bytes)
{
    const struct llavamed_observer *observer = frame->job->observer;
    if (observer != NULL && observer->progress != NULL) {
        struct llavamed_progress progress = {
            .done_bytes = done_bytes,
            .total_bytes = frame->job->plan->file_bytes,
            .elapsed_ns = clock_monotonic_ns() - frame->started_ns,
        };
        observer->progress(observer->context, &progress);
    }
}

void pipeline_tell_shard(const struct pipeline_frame *frame, size_t shard_index, size_t n_told)
{
    const struct llavamed_observer *observer = frame->job->observer;
    if (observer == NULL || observer->shard_done == NULL) {
        return;
    }
    const struct plan_shard *shard = &frame->job->plan->shards[shard_index];
    struct llavamed_shard_report report = {
        .name = shard->name,
        .file_bytes = shard->layout.file_bytes,
        .n_tensors = shard->n_tensors,
    };
    memcpy(report.sha256, frame->outcome->shard_sha256[shard_index], sizeof report.sha256);
    observer->shard_done(observer->context, &report, n_told, frame->job->plan->n_shards);
}

/* ---- Lanes --------------------------------------------------------------------------------------------------- */

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
    struct shard_segments segments;
    struct tile_cursor claim;
    bool exhausted; /* every tile claimed */
    bool busy;      /* a worker hashes, starts or finishes it */
    struct slot *first;
    struct slot *last;
};

enum work_kind { WORK_START, WORK_FINISH, WORK_HASH, WORK_TILE };

/* A worker and what it is at. */
struct worker {
    struct tile_scratch scratch;
    struct tile_notes notes;
    enum work_kind kind;
    struct lane *lane;
    struct slot *slot;
};

struct pipeline {
    struct pipeline_frame *frame;
    struct worker *workers; /* owned, as are the other lists */
    struct lane *lanes;
    unsigned n_lanes;
    unsigned next_lane; /* claims go round */
    struct slot *slots;
    struct slot *free_slots;
    size_t next_shard;
    size_t n_finished;
};

/* ---- Starting and finishing a shard ------------------------------------------------------------------------- */

/* Writes and hashes what stands before data `until` of the lane's shard and is not written yet. */
static enum llavamed_status lane_segments(struct pipeline *pipeline, struct lane *lane, size_t until,
                                          struct llavamed_error *error)
{
    uint64_t n_bytes = 0;
    enum llavamed_status status =
        shard_segments_write(&lane->segments, until, lane->file, lane->sha256, &n_bytes, error);
    atomic_fetch_add(&pipeline->frame->written_bytes, n_bytes);
    atomic_fetch_add(&pipeline->frame->hashed_bytes, n_bytes);
    return status;
}

static enum llavamed_status lane_start(struct pipeline *pipeline, struct lane *lane, struct llavamed_error *error)
{
    const struct pipeline_frame *frame = pipeline->frame;
    enum llavamed_status status = pipeline_create_shard(pipeline->frame, lane->shard, &lane->file, error);
    if (status == LLAVAMED_OK) {
        status = sha256_create(&lane->sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = shard_segments_init(&lane->segments, &frame->job->plan->shards[lane->shard], frame->outcome->tensors,
                                     error);
    }
    return status == LLAVAMED_OK ? lane_segments(pipeline, lane, 0, error) : status;
}

static enum llavamed_status lane_finish(struct pipeline *pipeline, struct lane *lane, struct llavamed_error *error)
{
    const struct pipeline_frame *frame = pipeline->frame;
    enum llavamed_status status =
        lane_segments(pipeline, lane, frame->job->plan->shards[lane->shard].layout.n_data, error);
    shard_segments_deinit(&lane->segments);
    if (status == LLAVAMED_OK) {
        status = sha256_finish(lane->sha256, frame->outcome->shard_sha256[lane->shard], error);
    }
    sha256_free(lane->sha256);
    lane->sha256 = NULL;
    if (status == LLAVAMED_OK) {
        status = pipeline_finish_shard(pipeline->frame, lane->file, error);
        lane->file = NULL;
    }
    return status;
}

static void lane_begin_locked(struct pipeline *pipeline, struct lane *lane)
{
    lane->state = LANE_STARTING;
    lane->shard = pipeline->next_shard++;
    lane->claim = (struct tile_cursor){.job = pipeline->frame->job, .shard = lane->shard};
    lane->exhausted = false;
}

/* ---- Work items --------------------------------------------------------------------------------------------- */

/* The next tile of the lane with a free buffer, both taken; false when there is none. */
static bool claim_tile_locked(struct pipeline *pipeline, struct lane *lane, struct worker *worker)
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
    worker->kind = WORK_TILE;
    worker->lane = lane;
    worker->slot = slot;
    return true;
}

/* What a lane itself needs, before any new tile: hashing frees buffers. false: nothing. */
static bool lane_need_locked(struct pipeline *pipeline, struct lane *lane, enum work_kind *need)
{
    if (lane->busy) {
        return false;
    }
    if (lane->state == LANE_IDLE) {
        *need = WORK_START;
        return pipeline->next_shard < pipeline->frame->job->plan->n_shards;
    }
    if (lane->first != NULL) {
        *need = WORK_HASH;
        return lane->first->done;
    }
    *need = WORK_FINISH;
    return lane->exhausted;
}

static bool take_need_locked(struct pipeline *pipeline, struct lane *lane, struct worker *worker)
{
    if (!lane_need_locked(pipeline, lane, &worker->kind)) {
        return false;
    }
    worker->lane = lane;
    worker->slot = lane->first;
    lane->busy = true;
    if (worker->kind == WORK_START) {
        lane_begin_locked(pipeline, lane);
    }
    return true;
}

static enum crew_turn take_locked(void *state, unsigned number)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    if (pipeline->n_finished == pipeline->frame->job->plan->n_shards) {
        return CREW_OVER;
    }
    for (unsigned i = 0; i < pipeline->n_lanes; i++) {
        if (take_need_locked(pipeline, &pipeline->lanes[i], worker)) {
            return CREW_TASK;
        }
    }
    for (unsigned i = 0; i < pipeline->n_lanes; i++) {
        struct lane *lane = &pipeline->lanes[(pipeline->next_lane + i) % pipeline->n_lanes];
        if (lane->state != LANE_RUNNING) {
            continue;
        }
        if (claim_tile_locked(pipeline, lane, worker)) {
            pipeline->next_lane = (unsigned)((lane - pipeline->lanes) + 1) % pipeline->n_lanes;
            return CREW_TASK;
        }
        /* It may have turned out just now that there are no more tiles. */
        if (take_need_locked(pipeline, lane, worker)) {
            return CREW_TASK;
        }
    }
    return CREW_WAIT;
}

static enum llavamed_status do_tile(struct pipeline *pipeline, struct worker *worker, struct llavamed_error *error)
{
    struct pipeline_frame *frame = pipeline->frame;
    struct slot *slot = worker->slot;
    if (tile_reuse(frame->job, &slot->tile, worker->lane->file, slot->bytes, &slot->tally)) {
        atomic_fetch_add(&frame->reused_bytes, slot->tile.n_bytes);
        return LLAVAMED_OK;
    }
    worker->notes.base.n_notes = 0;
    worker->notes.delta.n_notes = 0;
    enum llavamed_status status =
        tile_compute(frame->job, &slot->tile, &worker->scratch, slot->bytes, &slot->tally, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    slot->tally.crc32 = crc32_update(0, slot->bytes, slot->tile.n_bytes);
    status = run_guard_check(frame->job->guard, error);
    if (status == LLAVAMED_OK) {
        status = output_file_write(worker->lane->file, slot->tile.file_offset, slot->bytes, slot->tile.n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        atomic_fetch_add(&frame->written_bytes, slot->tile.n_bytes);
        status = tile_written(frame->job, &slot->tile, &slot->tally, &worker->notes, error);
    }
    return status;
}

static enum llavamed_status do_hash(struct pipeline *pipeline, const struct worker *worker,
                                    struct llavamed_error *error)
{
    const struct slot *slot = worker->slot;
    enum llavamed_status status = lane_segments(pipeline, worker->lane, slot->tile.position, error);
    if (status == LLAVAMED_OK) {
        status = sha256_update(worker->lane->sha256, slot->bytes, slot->tile.n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        atomic_fetch_add(&pipeline->frame->hashed_bytes, slot->tile.n_bytes);
    }
    return status;
}

static enum llavamed_status work(void *state, unsigned number, struct llavamed_error *error)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    switch (worker->kind) {
    case WORK_START:
        return lane_start(pipeline, worker->lane, error);
    case WORK_FINISH:
        return lane_finish(pipeline, worker->lane, error);
    case WORK_HASH:
        return do_hash(pipeline, worker, error);
    case WORK_TILE:
        break;
    }
    return do_tile(pipeline, worker, error);
}

/* Adds a hashed tile to its tensor's record. Tiles come here in file order, which joining the CRC-32 needs. */
static void account_tile_locked(struct pipeline *pipeline, const struct slot *slot)
{
    struct pipeline_tensor *total = &pipeline->frame->outcome->tensors[slot->tile.tensor];
    total->crc32 = crc32_join(total->crc32, slot->tally.crc32, slot->tile.n_bytes);
    pipeline_add_tile(total, &slot->tile, slot->bytes, &slot->tally);
}

static void done_locked(void *state, unsigned number, struct crew *crew)
{
    struct pipeline *pipeline = state;
    struct worker *worker = &pipeline->workers[number];
    struct lane *lane = worker->lane;
    switch (worker->kind) {
    case WORK_TILE:
        worker->slot->done = true;
        break;
    case WORK_HASH:
        account_tile_locked(pipeline, worker->slot);
        lane->first = worker->slot->next;
        if (lane->first == NULL) {
            lane->last = NULL;
        }
        worker->slot->next = pipeline->free_slots;
        pipeline->free_slots = worker->slot;
        lane->busy = false;
        break;
    case WORK_FINISH:
        crew_announce_locked(crew, lane->shard);
        pipeline->n_finished++;
        lane->state = LANE_IDLE;
        lane->busy = false;
        break;
    case WORK_START:
        lane->state = LANE_RUNNING;
        lane->busy = false;
        break;
    }
}

static void tick(void *state)
{
    const struct pipeline *pipeline = state;
    pipeline_tell_progress(pipeline->frame, atomic_load(&pipeline->frame->hashed_bytes));
}

static void tell(void *state, size_t item, size_t n_told)
{
    const struct pipeline *pipeline = state;
    pipeline_tell_shard(pipeline->frame, item, n_told);
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static enum llavamed_status allocate(struct pipeline *pipeline, struct llavamed_error *error)
{
    const struct pipeline_geometry *geometry = &pipeline->frame->job->geometry;
    size_t n_shards = pipeline->frame->job->plan->n_shards;
    pipeline->n_lanes = (unsigned)min_u64(max_u64(n_shards, 1), geometry->n_workers);
    pipeline->workers = calloc(geometry->n_workers, sizeof *pipeline->workers);
    pipeline->lanes = calloc(pipeline->n_lanes, sizeof *pipeline->lanes);
    pipeline->slots = calloc(geometry->n_buffers, sizeof *pipeline->slots);
    if (pipeline->workers == NULL || pipeline->lanes == NULL || pipeline->slots == NULL) {
        return llavamed_fail_memory(error, geometry->n_buffers * sizeof *pipeline->slots, "the pipeline");
    }
    uint8_t *at = pipeline->frame->pool;
    for (unsigned i = 0; i < geometry->n_buffers; i++) {
        struct slot *slot = &pipeline->slots[i];
        slot->bytes = at;
        slot->next = pipeline->free_slots;
        pipeline->free_slots = slot;
        at += geometry->tile_bytes;
    }
    for (unsigned i = 0; i < geometry->n_workers; i++) {
        struct worker *worker = &pipeline->workers[i];
        worker->scratch = (struct tile_scratch){at, at + geometry->tile_bytes, &worker->notes};
        at += SCRATCH_PER_WORKER * geometry->tile_bytes;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status run_lanes(struct pipeline_frame *frame, struct llavamed_error *error)
{
    struct pipeline pipeline = {.frame = frame};
    enum llavamed_status status = allocate(&pipeline, error);
    if (status == LLAVAMED_OK) {
        const struct crew_job crew_job = {
            .state = &pipeline,
            .n_workers = frame->job->geometry.n_workers,
            .n_items = frame->job->plan->n_shards,
            .stop_signal = frame->job->stop_signal,
            .take_locked = take_locked,
            .work = work,
            .done_locked = done_locked,
            .tick = tick,
            .tell = tell,
        };
        status = crew_run(&crew_job, error);
    }
    for (unsigned i = 0; pipeline.lanes != NULL && i < pipeline.n_lanes; i++) {
        output_file_close(pipeline.lanes[i].file);
        sha256_free(pipeline.lanes[i].sha256);
        shard_segments_deinit(&pipeline.lanes[i].segments);
    }
    free(pipeline.workers);
    free(pipeline.lanes);
    free(pipeline.slots);
    return status;
}

static enum llavamed_status frame_init(struct pipeline_frame *frame, struct llavamed_error *error)
{
    const struct pipeline_job *job = frame->job;
    struct pipeline_outcome *outcome = frame->outcome;
    outcome->tensors = calloc(job->plan->n_tensors + 1, sizeof *outcome->tensors);
    outcome->shard_sha256 = calloc(job->plan->n_shards + 1, sizeof *outcome->shard_sha256);
    frame->pool = aligned_alloc(TILE_ALIGNMENT, (size_t)job->geometry.pool_bytes);
    if (outcome->tensors == NULL || outcome->shard_sha256 == NULL || frame->pool == NULL) {
        return llavamed_fail_memory(error, job->geometry.pool_bytes, "the pool of tiles");
    }
    return LLAVAMED_OK;
}

enum llavamed_status pipeline_run(const struct pipeline_job *job, struct pipeline_outcome *outcome,
                                  struct llavamed_error *error)
{
    struct pipeline_outcome made = {0};
    struct pipeline_frame frame = {.job = job, .outcome = &made, .started_ns = clock_monotonic_ns()};
    enum llavamed_status status = frame_init(&frame, error);
    if (status == LLAVAMED_OK) {
        status = tile_fit_kept(job, frame.pool, error);
    }
    if (status == LLAVAMED_OK) {
        bool streamed = source_streams(job->base) > 0 || source_streams(job->delta) > 0;
        status = streamed ? pipeline_run_streams(&frame, error) : run_lanes(&frame, error);
    }
    if (status == LLAVAMED_OK && job->journal != NULL && journal_is_spoiled(job->journal)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_IO,
                               "%s: what an interrupted run wrote was read twice, and differs", job->directory);
        llavamed_hint(error, "run the same command again; if it happens again, the storage or the memory is faulty");
    }
    free(frame.pool);
    made.written_bytes = atomic_load(&frame.written_bytes);
    made.reused_bytes = atomic_load(&frame.reused_bytes);
    made.elapsed_ns = clock_monotonic_ns() - frame.started_ns;
    if (status == LLAVAMED_OK) {
        *outcome = made;
    } else {
        pipeline_outcome_deinit(&made);
    }
    return status;
}
