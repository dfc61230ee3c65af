/* SPDX-License-Identifier: Apache-2.0 */
/* A merge that stops short of an output, and a plan of copies; both run through the pipeline into a sink. */
#include "merge/derivation.h"

#include <stdlib.h>
#include <string.h>

#include "merge/merge_run.h"
#include "merge/pipeline_stream.h"
#include "merge/plan_parts.h"
#include "merge/tile.h"

/* source_finish() re-reads through the caller's memory. */
#define FINISH_SCRATCH_BYTES 1048576

struct derivation {
    const struct llavamed_settings *settings;
    const struct llavamed_observer *observer;
    /* Of a merge. */
    struct merge_batch batch; /* no runs: copies */
    struct llavamed_output output;
    /* Of copies. */
    struct source *source;
    struct source *other; /* borrowed; stands where a base is wanted, and is not read */
    struct plan plan;
    struct pipeline_geometry geometry;
};

const struct plan *derivation_plan(const struct derivation *derivation)
{
    return derivation_is_merge(derivation) ? &derivation->batch.runs[0].plan : &derivation->plan;
}

const struct tensor_set *derivation_tensors(const struct derivation *derivation)
{
    return source_tensors(derivation_is_merge(derivation) ? derivation->batch.runs[0].delta : derivation->source);
}

bool derivation_is_merge(const struct derivation *derivation)
{
    return derivation->batch.n_runs > 0;
}

uint64_t derivation_bytes_read(const struct derivation *derivation)
{
    if (!derivation_is_merge(derivation)) {
        return derivation->source == NULL ? 0 : source_bytes_read(derivation->source);
    }
    const struct merge_run *run = derivation->batch.runs;
    return run->result->read_bytes + source_bytes_read(run->base) + source_bytes_read(run->delta);
}

uint64_t derivation_buffer_bytes(const struct derivation *derivation)
{
    return derivation_is_merge(derivation) ? derivation->batch.runs[0].geometry.pool_bytes
                                           : derivation->geometry.pool_bytes;
}

void derivation_close(struct derivation *derivation)
{
    if (derivation != NULL) {
        if (derivation_is_merge(derivation)) {
            merge_batch_deinit(&derivation->batch);
            llavamed_result_free(&derivation->output.result);
        }
        plan_deinit(&derivation->plan);
        source_close(derivation->source);
        free(derivation);
    }
}

static enum llavamed_status make(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                 struct derivation **out, struct llavamed_error *error)
{
    struct derivation *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return llavamed_fail_memory(error, sizeof *made, "a comparison");
    }
    made->settings = settings;
    made->observer = observer;
    *out = made;
    return LLAVAMED_OK;
}

/* ---- A merge ---- */

enum llavamed_status derivation_open_merge(const struct llavamed_settings *settings,
                                           const struct llavamed_observer *observer, struct derivation **out,
                                           struct llavamed_error *error)
{
    struct derivation *made = NULL;
    enum llavamed_status status = make(settings, observer, &made, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    memset(error, 0, sizeof *error);
    made->batch = (struct merge_batch){.n_runs = 1, .derives = true};
    made->output.delta = settings->delta;
    status = merge_batch_init(&made->batch, settings, observer, &made->output, error);
    if (status == LLAVAMED_OK) {
        status = merge_prepare(&made->batch, error);
    }
    if (status == LLAVAMED_OK) {
        *out = made;
    } else {
        derivation_close(made);
    }
    return status;
}

static enum llavamed_status run_merge(struct derivation *derivation, struct llavamed_error *error)
{
    enum llavamed_status status = merge_verify_inputs(&derivation->batch.runs[0], error);
    return status == LLAVAMED_OK ? merge_run_pass(&derivation->batch, 0, error) : status;
}

/* ---- Copies ---- */

static enum llavamed_status plan_copies(struct derivation *derivation, struct llavamed_error *error)
{
    static const struct plan_options options = {.format = SHARD_SAFETENSORS,
                                                .max_shard_bytes = PLAN_SHARD_BYTES_SAFETENSORS};
    const struct tensor_set *set = source_tensors(derivation->source);
    struct plan *plan = &derivation->plan;
    enum llavamed_status status = LLAVAMED_OK;
    plan->tensors = calloc(set->n_tensors + 1, sizeof *plan->tensors);
    if (plan->tensors == NULL) {
        return llavamed_fail_memory(error, set->n_tensors * sizeof *plan->tensors, "the plan");
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        struct plan_tensor *row = &plan->tensors[plan->n_tensors];
        if (dtype_bytes(tensor->dtype) == 0) {
            continue;
        }
        status = tensor_init(&row->out, derivation->settings->delta, tensor->name, strlen(tensor->name), tensor->dtype,
                             tensor->shape, tensor->rank, error);
        if (status == LLAVAMED_OK) {
            row->action = PLAN_COPY_DELTA;
            row->delta_index = i;
            row->base_index = TENSOR_NOT_FOUND;
            plan->n_tensors++;
        }
    }
    return status == LLAVAMED_OK ? plan_cut_shards(&options, plan, error) : status;
}

static void tell_remarks(const struct derivation *derivation)
{
    const struct llavamed_observer *observer = derivation->observer;
    const struct source_remark *remarks;
    size_t n_remarks = source_remarks(derivation->source, &remarks);
    for (size_t i = 0; observer != NULL && i < n_remarks; i++) {
        void (*tell)(void *context, const char *text) = remarks[i].is_warning ? observer->warning : observer->note;
        if (tell != NULL) {
            tell(observer->context, remarks[i].text);
        }
    }
}

static enum llavamed_status open_copy(struct derivation *derivation, const char *role, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = derivation->settings;
    const struct source_options options = {
        .role = role,
        .check_crc = settings->verify != LLAVAMED_VERIFY_NONE,
        .stop_signal = settings->stop_signal,
        .observer = derivation->observer,
    };
    enum llavamed_status status = source_open(settings->delta, &options, &derivation->source, error);
    if (status == LLAVAMED_OK) {
        tell_remarks(derivation);
        status = plan_copies(derivation, error);
    }
    if (status == LLAVAMED_OK) {
        status = pipeline_stream_check(&derivation->plan, derivation->other, derivation->source, error);
    }
    if (status == LLAVAMED_OK) {
        status = pipeline_geometry_choose(settings->max_memory_bytes, merge_threads_wanted(settings), 1,
                                          &derivation->geometry, error);
    }
    if (status == LLAVAMED_OK) {
        pipeline_geometry_widen(settings->max_memory_bytes,
                                tile_bytes_wanted(&derivation->plan, derivation->other, derivation->source),
                                &derivation->geometry);
    }
    return status;
}

enum llavamed_status derivation_open_copy(const struct llavamed_settings *settings, const char *role,
                                          struct source *other, const struct llavamed_observer *observer,
                                          struct derivation **out, struct llavamed_error *error)
{
    struct derivation *made = NULL;
    enum llavamed_status status = make(settings, observer, &made, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    made->other = other;
    status = open_copy(made, role, error);
    if (status == LLAVAMED_OK) {
        *out = made;
    } else {
        derivation_close(made);
    }
    return status;
}

static enum llavamed_status run_copy(struct derivation *derivation, const struct pipeline_sink *sink,
                                     struct llavamed_error *error)
{
    const struct llavamed_settings *settings = derivation->settings;
    struct pipeline_outcome outcome = {0};
    struct pipeline_job job = {
        .plan = &derivation->plan,
        .base = derivation->other,
        .delta = derivation->source,
        .sink = sink,
        .kernels = kernel_best(),
        .geometry = derivation->geometry,
        .stop_signal = settings->stop_signal,
        .observer = derivation->observer,
    };
    enum llavamed_status status = pipeline_run(&job, &outcome, error);
    pipeline_outcome_deinit(&outcome);
    void *scratch = malloc(FINISH_SCRATCH_BYTES);
    if (status == LLAVAMED_OK) {
        status = scratch == NULL ? llavamed_fail_memory(error, FINISH_SCRATCH_BYTES, "checking what was not read")
                                 : source_finish(derivation->source, scratch, FINISH_SCRATCH_BYTES, error);
    }
    free(scratch);
    return status;
}

enum llavamed_status derivation_run(struct derivation *derivation, const struct pipeline_sink *sink,
                                    struct llavamed_error *error)
{
    derivation->batch.sink = sink;
    return derivation_is_merge(derivation) ? run_merge(derivation, error) : run_copy(derivation, sink, error);
}
