/* SPDX-License-Identifier: Apache-2.0 */
/* How the memory is cut, and what both ways to run plans share (pipeline_lanes.c, pipeline_stream.c). */
#include "merge/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "io/directory.h"
#include "merge/journal.h"
#include "merge/pipeline_parts.h"
#include "merge/pipeline_stream.h"
#include "merge/shard_digests.h"
#include "merge/tile_fit.h"

#define TILE_BYTES_MIN 65536
/* So small that what the workers of a few cores have in hand stays in their caches (docs/performance.md). */
#define TILE_BYTES_USUAL 1048576
#define TILE_BYTES_WIDE 2097152 /* beyond this more workers gain more than larger tiles */
#define TILE_ALIGNMENT 4096
#define WORKERS_MAX 1024

/* What a worker takes besides its tiles: a stack on which a read may gather (strided.c, meta_read.c). */
#define WORKER_OWN_BYTES 65536

static uint64_t tiles_per_worker(unsigned n_outputs)
{
    return n_outputs == 1 ? TILES_PER_WORKER : (uint64_t)BUFFERS_PER_WORKER * n_outputs + SCRATCH_PER_WORKER + 1;
}

/* What one worker costs with tiles of this size. */
static uint64_t worker_bytes(unsigned n_outputs, uint64_t tile_bytes)
{
    return tiles_per_worker(n_outputs) * tile_bytes + WORKER_OWN_BYTES;
}

static void cut_memory(uint64_t max_memory_bytes, uint64_t n_workers, uint64_t tile_bytes_most,
                       struct pipeline_geometry *geometry)
{
    unsigned n_outputs = geometry->n_outputs;
    uint64_t left = max_memory_bytes / n_workers - WORKER_OWN_BYTES;
    uint64_t tile_bytes = min_u64(tile_bytes_most, left / tiles_per_worker(n_outputs));
    tile_bytes -= tile_bytes % TILE_ALIGNMENT;
    *geometry = (struct pipeline_geometry){
        .n_outputs = n_outputs,
        .n_workers = (unsigned)n_workers,
        .n_buffers = (unsigned)(n_workers * BUFFERS_PER_WORKER * n_outputs),
        .tile_bytes = (size_t)tile_bytes,
        .pool_bytes = n_workers * tiles_per_worker(n_outputs) * tile_bytes,
    };
}

enum llavamed_status pipeline_geometry_choose(uint64_t max_memory_bytes, unsigned n_threads, unsigned n_outputs,
                                              struct pipeline_geometry *geometry, struct llavamed_error *error)
{
    uint64_t least = worker_bytes(n_outputs, TILE_BYTES_MIN);
    if (max_memory_bytes < least) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                            "the memory allowed is too small (got %llu bytes, want at least %llu)",
                            (unsigned long long)max_memory_bytes, (unsigned long long)least);
        llavamed_hint(error, "--max-memory takes sizes like 64MiB");
        return LLAVAMED_STATUS_MEMORY_TOO_SMALL;
    }
    uint64_t n_workers = min_u64(min_u64(n_threads, WORKERS_MAX), max_memory_bytes / least);
    geometry->n_outputs = n_outputs;
    cut_memory(max_memory_bytes, n_workers, TILE_BYTES_USUAL, geometry);
    return LLAVAMED_OK;
}

uint64_t pipeline_memory_most(unsigned n_threads, unsigned n_outputs)
{
    return min_u64(n_threads, WORKERS_MAX) * worker_bytes(n_outputs, TILE_BYTES_WIDE);
}

void pipeline_geometry_widen(uint64_t max_memory_bytes, uint64_t tile_bytes, struct pipeline_geometry *geometry)
{
    uint64_t wanted = min_u64(tile_bytes, TILE_BYTES_WIDE);
    wanted += (TILE_ALIGNMENT - wanted % TILE_ALIGNMENT) % TILE_ALIGNMENT;
    uint64_t n_workers =
        max_u64(min_u64(geometry->n_workers, 2), max_memory_bytes / worker_bytes(geometry->n_outputs, wanted));
    if (geometry->tile_bytes < wanted) {
        cut_memory(max_memory_bytes, min_u64(n_workers, geometry->n_workers), wanted, geometry);
    }
}

void pipeline_outcome_deinit(struct pipeline_outcome *outcome)
{
    free(outcome->tensors);
    free(outcome->shard_sha256);
    free(outcome->tensor_sha256);
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
    atomic_store(&frame->begun[shard_index], status == LLAVAMED_OK);
    return status;
}

enum llavamed_status pipeline_finish_shard(struct pipeline_frame *frame, struct output_file *file,
                                           struct llavamed_error *error)
{
    struct journal *journal = frame->job->journal;
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_SYNC);
    enum llavamed_status status = output_file_finish(file, error);
    if (status == LLAVAMED_OK && journal != NULL) {
        status = journal_sync(journal, error);
    }
    (void)phase_change(before);
    return status;
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
    total->counts.n_lossy += tally->counts.n_lossy;
    total->n_added += tally->n_added;
    total->n_overflow += tally->n_overflow;
}

static struct llavamed_shard_report report_of(const struct pipeline_frame *frame, size_t shard_index)
{
    const struct plan_shard *shard = &frame->job->plan->shards[shard_index];
    return (struct llavamed_shard_report){
        .name = shard->name,
        .file_bytes = shard->layout.file_bytes,
        .n_tensors = shard->n_tensors,
    };
}

/* Tells once of each shard that a worker has begun. */
static void tell_begun(const struct pipeline_frame *frame)
{
    const struct llavamed_observer *observer = frame->job->observer;
    bool is_heard = observer != NULL && observer->step != NULL;
    for (size_t i = 0; is_heard && i < frame->job->plan->n_shards; i++) {
        if (!frame->told_begun[i] && atomic_load(&frame->begun[i])) {
            const struct llavamed_shard_report shard = report_of(frame, i);
            const struct llavamed_step_report report = {.step = LLAVAMED_STEP_SHARD_BEGUN, .shard = &shard};
            frame->told_begun[i] = true;
            observer->step(observer->context, &report);
        }
    }
}

void pipeline_tell_progress(const struct pipeline_frame *frames, size_t n_frames, uint64_t done_bytes)
{
    const struct llavamed_observer *observer = frames[0].job->observer;
    for (size_t i = 0; i < n_frames; i++) {
        tell_begun(&frames[i]);
    }
    if (observer != NULL && observer->progress != NULL) {
        struct llavamed_progress progress = {
            .done_bytes = done_bytes,
            .elapsed_ns = clock_monotonic_ns() - frames[0].started_ns,
        };
        for (size_t i = 0; i < n_frames; i++) {
            progress.total_bytes += frames[i].job->plan->file_bytes;
        }
        observer->progress(observer->context, &progress);
    }
}

void pipeline_tell_shard(const struct pipeline_frame *frame, size_t shard_index, size_t n_told, size_t n_shards)
{
    const struct llavamed_observer *observer = frame->job->observer;
    tell_begun(frame);
    if (observer == NULL || observer->shard_done == NULL) {
        return;
    }
    struct llavamed_shard_report report = report_of(frame, shard_index);
    memcpy(report.sha256, frame->outcome->shard_sha256[shard_index], sizeof report.sha256);
    observer->shard_done(observer->context, &report, n_told, n_shards);
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static enum llavamed_status frame_init(struct pipeline_frame *frame, struct llavamed_error *error)
{
    const struct plan *plan = frame->job->plan;
    struct pipeline_outcome *outcome = frame->outcome;
    outcome->tensors = calloc(plan->n_tensors + 1, sizeof *outcome->tensors);
    outcome->shard_sha256 = calloc(plan->n_shards + 1, sizeof *outcome->shard_sha256);
    if (frame->job->digests) {
        outcome->tensor_sha256 = calloc(plan->n_tensors + 1, sizeof *outcome->tensor_sha256);
    }
    frame->begun = calloc(plan->n_shards + 1, sizeof *frame->begun);
    frame->told_begun = calloc(plan->n_shards + 1, sizeof *frame->told_begun);
    bool all = outcome->tensors != NULL && outcome->shard_sha256 != NULL && frame->begun != NULL &&
               frame->told_begun != NULL &&
               (outcome->tensor_sha256 != NULL || !frame->job->digests);
    return all ? LLAVAMED_OK
               : llavamed_fail_memory(error, plan->n_tensors * sizeof *outcome->tensors, "what becomes of tensors");
}

static enum llavamed_status check_unspoiled(const struct pipeline_job *job, struct llavamed_error *error)
{
    if (job->journal == NULL || !journal_is_spoiled(job->journal)) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_IO, "%s: what an interrupted run wrote was read twice, and differs",
                        job->directory);
    llavamed_hint(error, "run the same command again; if it happens again, the storage or the memory is faulty");
    return LLAVAMED_STATUS_IO;
}

/* The outcome of each frame is empty, and becomes so again after a failure. */
static enum llavamed_status run_frames(struct pipeline_frame *frames, size_t n_frames, struct llavamed_error *error)
{
    const struct pipeline_job *job = frames[0].job;
    uint64_t started_ns = clock_monotonic_ns();
    uint8_t *pool = aligned_alloc(TILE_ALIGNMENT, (size_t)job->geometry.pool_bytes);
    struct phase_clock *clocks = calloc(job->geometry.n_workers, sizeof *clocks);
    enum llavamed_status status = pool == NULL || clocks == NULL
                                      ? llavamed_fail_memory(error, job->geometry.pool_bytes, "the pool of tiles")
                                      : LLAVAMED_OK;
    for (unsigned i = 0; clocks != NULL && i < job->geometry.n_workers; i++) {
        phase_clock_init(&clocks[i], started_ns);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < n_frames; i++) {
        frames[i].pool = pool;
        frames[i].clocks = clocks;
        frames[i].started_ns = started_ns;
        status = frame_init(&frames[i], error);
    }
    if (status == LLAVAMED_OK && n_frames == 1) {
        /* Pieces are kept all or none, which one of several results cannot promise: there they are made anew. */
        status = tile_fit_kept(job, pool, error);
    }
    if (status == LLAVAMED_OK) {
        bool streamed = source_streams(job->base) > 0 || source_streams(job->delta) > 0;
        status = streamed ? pipeline_run_streams(frames, error) : pipeline_run_lanes(frames, n_frames, error);
    }
    free(pool);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_frames; i++) {
        status = check_unspoiled(frames[i].job, error);
        if (status == LLAVAMED_OK && frames[i].job->digests) {
            struct pipeline_outcome *outcome = frames[i].outcome;
            status = shard_digests_of_model(frames[i].job->plan, outcome->tensor_sha256, outcome->model_sha256, error);
        }
    }
    for (size_t i = 0; i < n_frames; i++) {
        struct pipeline_outcome *outcome = frames[i].outcome;
        outcome->written_bytes = atomic_load(&frames[i].written_bytes);
        outcome->reused_bytes = atomic_load(&frames[i].reused_bytes);
        outcome->elapsed_ns = clock_monotonic_ns() - started_ns;
        if (status == LLAVAMED_OK) {
            phase_sum(clocks, job->geometry.n_workers, &outcome->counters);
        }
        if (status != LLAVAMED_OK) {
            pipeline_outcome_deinit(outcome);
        }
    }
    free(clocks);
    return status;
}

enum llavamed_status pipeline_run_jobs(const struct pipeline_job *jobs, size_t n_jobs,
                                       struct pipeline_outcome *outcomes, struct llavamed_error *error)
{
    struct pipeline_frame *frames = calloc(n_jobs, sizeof *frames);
    if (frames == NULL) {
        return llavamed_fail_memory(error, n_jobs * sizeof *frames, "the pipeline");
    }
    for (size_t i = 0; i < n_jobs; i++) {
        memset(&outcomes[i], 0, sizeof outcomes[i]);
        frames[i].job = &jobs[i];
        frames[i].outcome = &outcomes[i];
    }
    enum llavamed_status status = run_frames(frames, n_jobs, error);
    for (size_t i = 0; i < n_jobs; i++) {
        free(frames[i].begun);
        free(frames[i].told_begun);
    }
    free(frames);
    return status;
}

enum llavamed_status pipeline_run(const struct pipeline_job *job, struct pipeline_outcome *outcome,
                                  struct llavamed_error *error)
{
    return pipeline_run_jobs(job, 1, outcome, error);
}
