/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llavamed_merge(): sources -> plan -> pipeline -> documents -> published directory, in this order and nothing back up.
 * llavamed_make_delta() is the same with another plan.
 * Until output_dir_publish() there is no OUT. What a failure leaves, and how a later run goes on, is in merge_resume.c.
 */
#include "merge/merge_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "core/reserved.h"
#include "core/warnings.h"
#include "io/directory.h"
#include "merge/base_signs.h"
#include "merge/content_test.h"
#include "merge/merge_part.h"
#include "merge/result.h"

/* `digests` has room for one of each file. */
static struct documents_input describe_input(const struct merge_run *run, enum input_role role,
                                             struct documents_digest *digests)
{
    const struct source *source = role == INPUT_BASE ? run->base : run->delta;
    struct documents_input input = {
        .format = source_format(source),
        .identity = run->identities[role],
        .digests = digests,
        .n_tensors = source_tensors(source)->n_tensors,
        .crc_checked = run->settings->verify != LLAVAMED_VERIFY_NONE,
    };
    input.n_files = source_files(source, &input.files);
    for (size_t i = 0; i < input.n_files; i++) {
        digests[i].sha256 = input_hashes_weights(run->hashes, role, i, &digests[i].computed);
    }
    return input;
}

static enum llavamed_status note_inputs(struct llavamed_result *result, const struct documents_job *job,
                                        struct llavamed_error *error)
{
    enum llavamed_status status = result_note_input(result, "base", &job->base, error);
    return status == LLAVAMED_OK ? result_note_input(result, "delta", &job->delta, error) : status;
}

static enum llavamed_status write_documents(struct merge_run *run, struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_base = source_files(run->base, &files);
    size_t n_digests = n_base + source_files(run->delta, &files);
    struct documents_digest *digests = calloc(n_digests, sizeof *digests);
    if (digests == NULL) {
        return llavamed_fail_memory(error, n_digests * sizeof *digests, "the list of digests");
    }
    struct documents_job job = {
        .directory = output_dir_partial(run->dir),
        .guard = output_dir_guard(run->dir),
        .stop_signal = run->settings->stop_signal,
        .hashes = run->settings->verify == LLAVAMED_VERIFY_NONE ? NULL : run->hashes,
        .outcome = &run->outcome,
        .base = describe_input(run, INPUT_BASE, digests),
        .delta = describe_input(run, INPUT_DELTA, digests + n_base),
        .options = merge_plan_options(run),
        .warnings = run->result->warnings,
        .n_warnings = run->result->n_warnings,
        .signing_key = run->batch->signing_key,
        .model_name = output_dir_name(run->dir),
    };
    struct documents_result written;
    enum llavamed_status status = documents_write(run->documents, &job, &written, error);
    if (status == LLAVAMED_OK && run->settings->tensor_reports) {
        status = note_inputs(run->result, &job, error);
    }
    free(digests);
    if (status != LLAVAMED_OK) {
        return status;
    }
    run->result->written_bytes += written.written_bytes;
    memcpy(run->result->signed_sha256, written.subject_sha256, sizeof run->result->signed_sha256);
    run->result->manifest_sha256 = strdup(written.manifest_sha256);
    return run->result->manifest_sha256 != NULL ? LLAVAMED_OK
                                                : llavamed_fail_memory(error, SHA256_HEX_BYTES, "a digest");
}

/* All of OUT. Where a source was streamed, each shard was read back from storage to get its SHA-256: not again. */
static enum llavamed_status read_back(struct merge_run *run, struct llavamed_error *error)
{
    struct hash_files_options options = {.n_threads = run->geometry.n_workers,
                                         .stop_signal = run->settings->stop_signal,
                                         .observer = &run->watch,
                                         .check = "the output, read back"};
    size_t n_shards = merge_is_streamed(run) ? run->plan.n_shards : 0;
    const char **shards = calloc(n_shards + 1, sizeof *shards);
    if (shards == NULL) {
        return llavamed_fail_memory(error, (n_shards + 1) * sizeof *shards, "the list of shards");
    }
    for (size_t i = 0; i < n_shards; i++) {
        shards[i] = run->plan.shards[i].name;
    }
    merge_note(run,
               n_shards == 0 ? "reading the output back from storage" : "reading back from storage what was not yet");
    const struct hash_files_names skipped = {shards, n_shards};
    enum llavamed_status status = hash_files_read_back(output_dir_partial(run->dir), &skipped, &options, error);
    free(shards);
    return status;
}

/* What is done once the shards are there, and nothing shows before all outputs have come so far. */
static enum llavamed_status complete(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = write_documents(run, error);
    if (status == LLAVAMED_OK && run->settings->verify == LLAVAMED_VERIFY_FULL) {
        status = read_back(run, error);
    }
    return status == LLAVAMED_OK ? status : merge_blame(run, error);
}

/* At what was read early, or is known by its name: what is published is of inputs that are still what they were. */
static enum llavamed_status look_again(struct merge_batch *batch, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = documents_check_inputs(batch->runs[i].documents, error);
        if (status != LLAVAMED_OK) {
            (void)merge_blame(&batch->runs[i], error);
        }
    }
    return status;
}

/* ---- All outputs ---------------------------------------------------------------------------------------------- */

/*
 * Whether what an output has is good whatever failed: made of inputs that were found right, or of an interrupted run
 * and not touched.
 */
static bool is_spared(const struct merge_batch *batch, const struct merge_run *run, size_t n_passes_begun)
{
    return batch->blamed != run && (run->is_whole || (run->continues && run->pass >= n_passes_begun));
}

/* Lets go of all outputs that are claimed and not published. */
static void give_up(struct merge_batch *batch, size_t n_passes_begun, const struct llavamed_error *error)
{
    static const struct llavamed_error stopped = {.status = LLAVAMED_STATUS_IO}; /* can be continued */
    static const struct llavamed_error unbegun = {.status = LLAVAMED_STATUS_USAGE};
    for (size_t i = 0; i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        bool has_nothing = n_passes_begun == 0 && !run->continues;
        if (run->began && !run->output->is_published) {
            merge_give_up(run, is_spared(batch, run, n_passes_begun) ? &stopped : has_nothing ? &unbegun : error);
        }
    }
}

/* A later run of the same command would be refused by what is there: say what to leave out. */
static void tell_published(const struct merge_batch *batch, struct llavamed_error *error)
{
    char text[LLAVAMED_MESSAGE_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < batch->n_runs && n < sizeof text; i++) {
        if (batch->runs[i].output->is_published) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n == 0 ? "complete: " : ", ",
                                  batch->runs[i].settings->out);
        }
    }
    if (n > 0) {
        bool has_hint = error->hint[0] != '\0';
        char before[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(before, sizeof before, "%s", error->hint);
        llavamed_hint(error, "%.400s%s%.500s; leave these out to go on with the others", before, has_hint ? "; " : "",
                      text);
    }
}

/* An output that another run has taken over explains what else went wrong. */
static enum llavamed_status explain(struct merge_batch *batch, struct llavamed_error *error)
{
    enum llavamed_status status = error->status;
    for (size_t i = 0; i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        if (run->began && !run->output->is_published) {
            status = output_dir_explain(run->dir, error);
        }
    }
    return status;
}

static enum llavamed_status claim_all(struct merge_batch *batch, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = merge_begin_output(&batch->runs[i], error);
        if (status != LLAVAMED_OK) {
            (void)merge_blame(&batch->runs[i], error);
        }
    }
    return status;
}

static enum llavamed_status work(struct merge_batch *batch, struct llavamed_error *error)
{
    size_t n_passes_begun = 0;
    struct merge_run *first = &batch->runs[0];
    enum llavamed_status status = claim_all(batch, error);
    while (status == LLAVAMED_OK && n_passes_begun < batch->n_passes) {
        status = merge_run_pass(batch, n_passes_begun++, error);
    }
    if (status == LLAVAMED_OK && first->part != NULL) {
        status = merge_part_complete(first, error);
        if (status == LLAVAMED_OK) {
            return merge_part_finish(first, error);
        }
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = complete(&batch->runs[i], error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_check_stop(&batch->runs[0], error);
    }
    if (status == LLAVAMED_OK) {
        status = look_again(batch, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_publish(batch, error);
    }
    if (status != LLAVAMED_OK) {
        status = explain(batch, error);
        give_up(batch, n_passes_begun, error);
        tell_published(batch, error);
    }
    return status;
}

/* Of a part: describes the whole, and looks whether it is done already. */
static enum llavamed_status prepare_part(struct merge_run *run, bool *is_done, struct llavamed_error *error)
{
    run->result->part = run->settings->part;
    run->result->n_parts = run->settings->n_parts;
    if (run->part == NULL) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = merge_part_describe(run, error);
    return status == LLAVAMED_OK ? merge_part_look(run, is_done, error) : status;
}

static enum llavamed_status run_all(struct merge_batch *batch, struct llavamed_error *error)
{
    bool dry_run = batch->runs[0].settings->dry_run;
    bool is_done = false;
    enum llavamed_status status = merge_prepare(batch, error);
    uint64_t planned_ns = clock_monotonic_ns() - batch->runs[0].started_ns;
    for (size_t i = 0; i < batch->n_runs; i++) {
        batch->runs[i].result->plan_ns = planned_ns;
    }
    if (status == LLAVAMED_OK) {
        status = prepare_part(&batch->runs[0], &is_done, error);
        if (status == LLAVAMED_OK && is_done) {
            batch->runs[0].result->was_done = true;
            return dry_run ? LLAVAMED_OK : merge_part_finish(&batch->runs[0], error);
        }
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        const struct llavamed_step_report planned = {.step = LLAVAMED_STEP_PLANNED, .result = batch->runs[i].result};
        merge_tell_step(&batch->runs[i], &planned);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        status = dry_run ? LLAVAMED_OK : merge_verify_inputs(run, error);
        if (status == LLAVAMED_OK) {
            status = merge_warn_of_unknown_base(run, error);
        }
        if (status != LLAVAMED_OK) {
            (void)merge_blame(run, error);
        }
    }
    return status == LLAVAMED_OK && !dry_run ? work(batch, error) : status;
}

enum llavamed_status merge_batch_init(struct merge_batch *batch, const struct llavamed_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_output *outputs,
                                      struct llavamed_error *error)
{
    batch->runs = calloc(batch->n_runs, sizeof *batch->runs);
    batch->settings = calloc(batch->n_runs, sizeof *batch->settings);
    if (batch->runs == NULL || batch->settings == NULL) {
        return llavamed_fail_memory(error, batch->n_runs * sizeof *batch->runs, "the outputs");
    }
    uint64_t started_ns = clock_monotonic_ns();
    batch->memory_asked = settings->max_memory_bytes;
    for (size_t i = 0; i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        batch->settings[i] = *settings;
        batch->settings[i].delta = outputs[i].delta;
        batch->settings[i].out = outputs[i].out;
        run->batch = batch;
        run->output = &outputs[i];
        run->settings = &batch->settings[i];
        run->observer = observer;
        run->result = &outputs[i].result;
        run->work = &run->plan;
        run->started_ns = started_ns;
        merge_watch_init(run);
    }
    return LLAVAMED_OK;
}

void merge_batch_deinit(struct merge_batch *batch)
{
    for (size_t i = 0; batch->runs != NULL && batch->settings != NULL && i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        const struct source *base = run->owns_base ? run->base : run == batch->runs ? batch->base : NULL;
        run->result->read_bytes += base == NULL ? 0 : source_bytes_read(base);
        run->result->read_bytes += run->delta == NULL ? 0 : source_bytes_read(run->delta);
        run->result->total_ns = clock_monotonic_ns() - run->started_ns;
    }
    for (size_t i = batch->n_runs; batch->runs != NULL && i > 0; i--) {
        struct merge_run *run = &batch->runs[i - 1];
        pipeline_outcome_deinit(&run->outcome);
        relative_sizes_free(run->sizes);
        target_sums_deinit(&run->target_sums);
        documents_free(run->documents);
        merge_resume_deinit(run);
        input_hashes_free(run->hashes);
        merge_part_free(run->part);
        plan_deinit(&run->plan);
        output_dir_free(run->dir);
        source_close(run->delta);
        source_close(run->owns_base ? run->base : NULL);
    }
    source_close(batch->base);
    ec_key_free(batch->signing_key);
    free(batch->runs);
    free(batch->settings);
}

static enum llavamed_status make_all(enum plan_operation operation, const struct llavamed_settings *settings,
                                     const struct llavamed_observer *observer, struct llavamed_output *outputs,
                                     size_t n_outputs, struct llavamed_error *error)
{
    struct merge_batch batch = {.operation = operation, .n_runs = n_outputs};
    memset(error, 0, sizeof *error);
    for (size_t i = 0; i < n_outputs; i++) {
        outputs[i] = (struct llavamed_output){.delta = outputs[i].delta, .out = outputs[i].out};
    }
    if (n_outputs == 0 || n_outputs > LLAVAMED_OUTPUTS_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "wrong number of outputs (got %zu, want 1 to %d)", n_outputs,
                             LLAVAMED_OUTPUTS_MAX);
    }
    enum llavamed_status status = reserved_check(settings->reserved, error);
    if (status == LLAVAMED_OK) {
        status = merge_batch_init(&batch, settings, observer, outputs, error);
    }
    if (status == LLAVAMED_OK) {
        status = run_all(&batch, error);
    }
    merge_batch_deinit(&batch);
    if (status == LLAVAMED_OK) {
        memset(error, 0, sizeof *error);
    }
    return status;
}

enum llavamed_status llavamed_merge_all(const struct llavamed_settings *settings,
                                        const struct llavamed_observer *observer, struct llavamed_output *outputs,
                                        size_t n_outputs, struct llavamed_error *error)
{
    return make_all(PLAN_MERGE, settings, observer, outputs, n_outputs, error);
}

enum llavamed_status llavamed_make_delta(const struct llavamed_settings *settings,
                                         const struct llavamed_observer *observer, struct llavamed_result *result,
                                         struct llavamed_error *error)
{
    struct llavamed_output output = {.delta = settings->target, .out = settings->out};
    enum llavamed_status status = make_all(PLAN_MAKE_DELTA, settings, observer, &output, 1, error);
    *result = output.result;
    return status;
}

enum llavamed_status llavamed_merge(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                    struct llavamed_result *result, struct llavamed_error *error)
{
    struct llavamed_output output = {.delta = settings->delta, .out = settings->out};
    enum llavamed_status status = llavamed_merge_all(settings, observer, &output, 1, error);
    *result = output.result;
    return status;
}
