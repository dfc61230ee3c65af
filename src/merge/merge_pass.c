/* SPDX-License-Identifier: Apache-2.0 */
/* Passes: which outputs are made together of one reading of the base, and making them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "io/input_file.h"
#include "merge/merge_run.h"
#include "merge/result.h"
#include "merge/schedule.h"
#include "merge/tensor_warnings.h"
#include "merge/tile.h"

/*
 * source_finish() re-reads through the caller's memory; this much is plenty for what a merge leaves unread. The tiles
 * are gone by then, so that no more than they had is within the memory allowed.
 */
#define FINISH_SCRATCH_BYTES 1048576

/* ---- Assigning ------------------------------------------------------------------------------------------------ */

/* Whether a run can go with those of a pass; `plans` has room for all. */
static enum llavamed_status try_pass(const struct merge_batch *batch, size_t pass, const struct merge_run *run,
                                     const struct plan **plans, bool *fits, struct llavamed_error *error)
{
    size_t n = 0;
    *fits = false;
    for (const struct merge_run *other = batch->runs; other < run; other++) {
        if (other->pass == pass) {
            if (merge_is_streamed(other) || !schedule_can_share(&other->plan, source_tensors(other->base))) {
                return LLAVAMED_OK;
            }
            plans[n++] = &other->plan;
        }
    }
    plans[n++] = &run->plan;
    struct schedule schedule = {0};
    enum llavamed_status status = schedule_build(plans, n, &schedule, fits, error);
    schedule_deinit(&schedule);
    return status;
}

static enum llavamed_status assign(struct merge_batch *batch, struct merge_run *run, const struct plan **plans,
                                   struct llavamed_error *error)
{
    bool shares = !merge_is_streamed(run) && schedule_can_share(&run->plan, source_tensors(run->base));
    bool fits = false;
    enum llavamed_status status = LLAVAMED_OK;
    run->pass = batch->n_passes;
    for (size_t pass = 0; status == LLAVAMED_OK && shares && !fits && pass < batch->n_passes; pass++) {
        status = try_pass(batch, pass, run, plans, &fits, error);
        run->pass = fits ? pass : run->pass;
    }
    if (status == LLAVAMED_OK && !fits) {
        batch->n_passes++;
        run->is_first = true;
        if (run->pass > 0) {
            merge_note(run, "made by itself after the others, so the base is read once more for it (%s)",
                       !shares ? "an archive, or an embedding that grew in width"
                               : "its tensors are in another order");
        }
    }
    return status;
}

/* Each pass reads the base through a handle of its own, which sees all of its checksums. */
static enum llavamed_status give_base(struct merge_batch *batch, struct merge_run *run, struct llavamed_error *error)
{
    if (run->is_first) {
        return run->pass > 0 && !run->owns_base ? merge_open_own_base(run, error) : LLAVAMED_OK;
    }
    for (const struct merge_run *other = batch->runs; other < run; other++) {
        if (other->pass == run->pass && other->is_first) {
            run->base = other->base;
        }
    }
    run->result->planned_read_bytes = run->plan.delta_read_bytes;
    return LLAVAMED_OK;
}

/* How memory is cut for a pass, now that it is known how its sources are best read. */
static enum llavamed_status settle_geometry(struct merge_batch *batch, size_t pass, struct llavamed_error *error)
{
    struct pipeline_geometry geometry = {0};
    const struct merge_run *first = NULL;
    const struct llavamed_settings *settings = batch->runs[0].settings;
    uint64_t wanted = 0;
    unsigned n_outputs = 0;
    for (size_t i = 0; i < batch->n_runs; i++) {
        const struct merge_run *run = &batch->runs[i];
        if (run->pass == pass) {
            first = first == NULL ? run : first;
            wanted = max_u64(wanted, tile_bytes_wanted(&run->plan, run->base, run->delta));
            n_outputs++;
        }
    }
    enum llavamed_status status = pipeline_geometry_choose(
        settings->max_memory_bytes, merge_threads_wanted(settings), n_outputs, &geometry, error);
    if (status != LLAVAMED_OK || first == NULL) {
        return status;
    }
    pipeline_geometry_widen(settings->max_memory_bytes, wanted, &geometry);
    for (size_t i = 0; i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        if (run->pass == pass) {
            run->geometry = geometry;
            run->result->n_threads = geometry.n_workers;
            run->result->pool_bytes = geometry.pool_bytes;
        }
    }
    merge_note(first, "kernel %s, %u workers, %llu bytes of buffers in tiles of %zu", first->kernels->name,
               geometry.n_workers, (unsigned long long)geometry.pool_bytes, geometry.tile_bytes);
    return LLAVAMED_OK;
}

enum llavamed_status merge_assign_passes(struct merge_batch *batch, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    const struct plan **plans = calloc(batch->n_runs, sizeof *plans);
    if (plans == NULL) {
        return llavamed_fail_memory(error, batch->n_runs * sizeof *plans, "the passes");
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        status = assign(batch, run, plans, error);
        batch->bytes_total += run->work->file_bytes;
        batch->shards_total += run->work->n_shards;
    }
    free(plans);
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = give_base(batch, &batch->runs[i], error);
    }
    for (size_t pass = 0; status == LLAVAMED_OK && pass < batch->n_passes; pass++) {
        status = settle_geometry(batch, pass, error);
    }
    return status;
}

/* ---- Making --------------------------------------------------------------------------------------------------- */

static enum llavamed_status warn_of_tensor(struct merge_run *run, size_t index, struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &run->work->tensors[index];
    bool by_bits = tensor->by_bits && run->batch->operation == PLAN_MAKE_DELTA;
    char texts[TENSOR_WARNINGS_MAX][TENSOR_WARNING_BYTES];
    size_t n = tensor_warnings(run->work, index, &run->outcome.tensors[index],
                               by_bits ? source_tensors(run->delta)->tensors[tensor->delta_index].dtype
                                       : tensor->out.dtype,
                               texts);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        status = merge_warn(run, texts[i], error);
    }
    return status;
}

static struct pipeline_job job_of(struct merge_run *run)
{
    return (struct pipeline_job){
        .plan = run->work,
        .base = run->base,
        .delta = run->delta,
        .sink = run->batch->sink,
        .directory = run->dir == NULL ? NULL : output_dir_partial(run->dir),
        .guard = run->dir == NULL ? NULL : output_dir_guard(run->dir),
        .kernels = run->kernels,
        .geometry = run->geometry,
        .stop_signal = run->settings->stop_signal,
        .observer = &run->watch,
        .journal = run->journal,
        .continues = run->continues,
        .digests = run->settings->digests,
        .sizes = run->sizes,
    };
}

static void forget_samples_of(const struct source *source)
{
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    for (size_t i = 0; i < n_files; i++) {
        if (files[i].archive == NULL) {
            input_file_drop_sparse(source_file_path(source, i));
        }
    }
}

/* The samples of the content test would make reading the rest dearer: on two cores by a third of its system time. */
static void forget_samples(const struct merge_run *run)
{
    if (merge_is_streamed(run) || run->batch->derives) {
        return;
    }
    if (run->is_first) {
        forget_samples_of(run->base);
    }
    forget_samples_of(run->delta);
}

/* text has MERGE_REMARK_BYTES. */
static void append_figure(char *text, const char *name, double figure, const char *unit)
{
    size_t end = strlen(text);
    (void)snprintf(text + end, MERGE_REMARK_BYTES - end, "%s %s %.2f%s", end == 0 ? "" : ",", name, figure, unit);
}

/* Tells where the time of the workers went, and at which rate they did what. */
static void note_counters(const struct merge_run *run)
{
    const struct llavamed_counters *counters = &run->outcome.counters;
    uint64_t elapsed_ns = max_u64(run->outcome.elapsed_ns, 1);
    double percent_ns = (double)elapsed_ns * counters->n_workers / 100;
    char shares[MERGE_REMARK_BYTES] = "";
    char rates[MERGE_REMARK_BYTES] = "";
    for (int i = 0; i < LLAVAMED_PHASE_COUNT; i++) {
        const struct llavamed_phase_counter *counter = &counters->phases[i];
        const char *name = llavamed_phase_name((enum llavamed_phase)i);
        if (counter->sum_ns > 0) {
            append_figure(shares, name, (double)counter->sum_ns / percent_ns, " %");
        }
        if (counter->sum_ns > 0 && counter->n_bytes > 0) {
            append_figure(rates, name, (double)counter->n_bytes / (double)counter->sum_ns, "");
        }
    }
    merge_note(run, "time of %u workers, %.2f s each:%s", counters->n_workers, (double)elapsed_ns / 1e9, shares);
    merge_note(run, "GB/s of one worker:%s", rates);
}

static enum llavamed_status make_sizes(struct merge_run *run, struct llavamed_error *error)
{
    return run->settings->tensor_reports ? relative_sizes_create(run->plan.n_tensors, &run->sizes, error)
                                         : LLAVAMED_OK;
}

/* Runs the pipeline for the outputs of a pass. */
static enum llavamed_status make_shards(struct merge_batch *batch, size_t pass, struct llavamed_error *error)
{
    struct pipeline_job *jobs = calloc(batch->n_runs, sizeof *jobs);
    struct pipeline_outcome *outcomes = calloc(batch->n_runs, sizeof *outcomes);
    enum llavamed_status status = LLAVAMED_OK;
    size_t n = 0;
    if (jobs == NULL || outcomes == NULL) {
        status = llavamed_fail_memory(error, batch->n_runs * sizeof *jobs, "the pipeline");
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        if (batch->runs[i].pass == pass) {
            forget_samples(&batch->runs[i]);
            status = make_sizes(&batch->runs[i], error);
            jobs[n++] = job_of(&batch->runs[i]);
        }
    }
    if (status == LLAVAMED_OK) {
        status = pipeline_run_jobs(jobs, n, outcomes, error);
    }
    bool are_made = status == LLAVAMED_OK;
    for (size_t i = batch->n_runs; are_made && i > 0; i--) {
        struct merge_run *run = &batch->runs[i - 1];
        if (run->pass == pass) {
            run->outcome = outcomes[--n];
            if (status == LLAVAMED_OK) {
                status = result_note_outcome(run->result, run->work, &run->outcome, error);
            }
            batch->bytes_before += run->work->file_bytes;
            batch->shards_before += run->work->n_shards;
            if (run->is_first) {
                note_counters(run);
            }
        }
    }
    free(outcomes);
    free(jobs);
    return status;
}

/* What an exact delta gives is the model it was made of, or the base is another one. */
static enum llavamed_status check_target(struct merge_run *run, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = run->settings;
    enum llavamed_status status = target_sums_check(&run->target_sums, run->work, &run->outcome, settings->base,
                                                    settings->delta, error);
    if (status != LLAVAMED_OK && settings->allow_unknown_base && settings->n_parts <= 1) { /* one part's is not all */
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s", error->message);
        *error = (struct llavamed_error){0};
        status = merge_warn(run, text, error);
    }
    return status;
}

static enum llavamed_status check_output(struct merge_run *run, void *scratch, size_t scratch_bytes,
                                         struct llavamed_error *error)
{
    enum llavamed_status status = source_finish(run->delta, scratch, scratch_bytes, error);
    bool makes = !run->batch->derives;
    if (status == LLAVAMED_OK && makes && merge_is_streamed(run)) {
        status = merge_judge_content(run, error);
    }
    if (status == LLAVAMED_OK && makes) {
        status = check_target(run, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && makes && i < run->work->n_tensors; i++) {
        status = warn_of_tensor(run, i, error);
    }
    if (status == LLAVAMED_OK && run->sizes != NULL) {
        status = result_note_tensors(run->result, &run->plan, &run->outcome, run->sizes, error);
    }
    if (status == LLAVAMED_OK && run->batch->operation == PLAN_MAKE_DELTA) {
        status = result_note_lossy(run->result, &run->plan, &run->outcome, error);
    }
    run->is_whole = status == LLAVAMED_OK;
    return status == LLAVAMED_OK ? status : merge_blame(run, error);
}

/* The inputs of the pass; first the base, which all its outputs stand on. All deltas, so that no good work is lost. */
static enum llavamed_status check_inputs(struct merge_batch *batch, size_t pass, struct llavamed_error *error)
{
    size_t scratch_bytes = (size_t)min_u64(FINISH_SCRATCH_BYTES, batch->runs[0].geometry.pool_bytes);
    void *scratch = malloc(scratch_bytes);
    if (scratch == NULL) {
        return llavamed_fail_memory(error, scratch_bytes, "checking what was not read");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        if (batch->runs[i].pass == pass && batch->runs[i].is_first) {
            status = source_finish(batch->runs[i].base, scratch, scratch_bytes, error);
        }
    }
    bool base_is_good = status == LLAVAMED_OK;
    for (size_t i = 0; base_is_good && i < batch->n_runs; i++) {
        struct llavamed_error own = {0};
        if (batch->runs[i].pass == pass && check_output(&batch->runs[i], scratch, scratch_bytes, &own) != LLAVAMED_OK &&
            status == LLAVAMED_OK) {
            *error = own;
            status = own.status;
        }
    }
    free(scratch);
    return status;
}

enum llavamed_status merge_run_pass(struct merge_batch *batch, size_t pass, struct llavamed_error *error)
{
    /* Where there are more parts than shards, a part may have none, and checks inputs alone. */
    bool has_none = batch->runs[0].part != NULL && batch->runs[0].work->n_shards == 0;
    enum llavamed_status status = has_none ? LLAVAMED_OK : make_shards(batch, pass, error);
    return status == LLAVAMED_OK ? check_inputs(batch, pass, error) : status;
}
