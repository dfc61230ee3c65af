/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llavamed_merge(): sources -> plan -> pipeline -> documents -> published directory, in this order and nothing back up.
 * Until output_dir_publish() there is no OUT. What a failure leaves, and how a later run goes on, is in merge_resume.c.
 */
#include "merge/merge_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/base_signs.h"
#include "merge/content_test.h"
#include "merge/result.h"
#include "merge/warnings.h"

/*
 * source_finish() re-reads through the caller's memory; this much is plenty for what a merge leaves unread. The tiles
 * are gone by then, so that no more than they had is within the memory allowed.
 */
#define FINISH_SCRATCH_BYTES 1048576

/* What the numbers of one tensor say that its user should know. */
static enum llavamed_status warn_of_tensor(struct merge_run *run, size_t index, struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &run->plan.tensors[index];
    const struct pipeline_tensor *outcome = &run->outcome.tensors[index];
    char text[MERGE_REMARK_BYTES + TENSOR_NAME_BYTES_MAX];
    enum llavamed_status status = LLAVAMED_OK;
    if (outcome->counts.n_nan + outcome->counts.n_infinite + outcome->n_overflow > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: the result holds %llu NaN and %llu infinite values (%llu values overflowed when converted "
                       "to %s)",
                       tensor->out.name, (unsigned long long)outcome->counts.n_nan,
                       (unsigned long long)outcome->counts.n_infinite, (unsigned long long)outcome->n_overflow,
                       dtype_name(tensor->out.dtype));
        text_make_printable(text);
        status = merge_warn(run, text, error);
    }
    if (status == LLAVAMED_OK && tensor->action == PLAN_INV_FREQ &&
        outcome->counts.n_delta_zero < tensor->out.n_elems) {
        (void)snprintf(text, sizeof text,
                       "%s: the delta's rotary frequencies are not zero (%llu of %llu): not a plain delta, or one made "
                       "with mixed versions; programs recompute them, --inv-freq drop leaves them out",
                       tensor->out.name, (unsigned long long)(tensor->out.n_elems - outcome->counts.n_delta_zero),
                       (unsigned long long)tensor->out.n_elems);
        text_make_printable(text);
        status = merge_warn(run, text, error);
    }
    return status;
}

static enum llavamed_status finish_sources(struct merge_run *run, struct llavamed_error *error)
{
    size_t scratch_bytes = (size_t)min_u64(FINISH_SCRATCH_BYTES, run->geometry.pool_bytes);
    void *scratch = malloc(scratch_bytes);
    if (scratch == NULL) {
        return llavamed_fail_memory(error, scratch_bytes, "checking what was not read");
    }
    enum llavamed_status status = source_finish(run->base, scratch, scratch_bytes, error);
    if (status == LLAVAMED_OK) {
        status = source_finish(run->delta, scratch, scratch_bytes, error);
    }
    free(scratch);
    return status;
}

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
        .outcome = &run->outcome,
        .base = describe_input(run, INPUT_BASE, digests),
        .delta = describe_input(run, INPUT_DELTA, digests + n_base),
        .options = merge_plan_options(run->settings),
        .warnings = run->result->warnings,
        .n_warnings = run->result->n_warnings,
    };
    struct documents_result written;
    enum llavamed_status status = documents_write(run->documents, &job, &written, error);
    free(digests);
    if (status != LLAVAMED_OK) {
        return status;
    }
    run->result->written_bytes += written.written_bytes;
    run->result->manifest_sha256 = strdup(written.manifest_sha256);
    return run->result->manifest_sha256 != NULL ? LLAVAMED_OK
                                                : llavamed_fail_memory(error, SHA256_HEX_BYTES, "a digest");
}

/* The samples of the content test would make reading the rest dearer: on two cores by a third of its system time. */
static void forget_samples(const struct merge_run *run)
{
    const struct source *sources[] = {run->base, run->delta};
    for (size_t i = 0; i < 2; i++) {
        const struct source_file *files;
        size_t n_files = source_files(sources[i], &files);
        for (size_t j = 0; j < n_files; j++) {
            if (files[j].archive == NULL) {
                input_file_drop_sparse(source_file_path(sources[i], j));
            }
        }
    }
}

static enum llavamed_status run_pipeline(struct merge_run *run, struct llavamed_error *error)
{
    if (!merge_is_streamed(run)) {
        forget_samples(run);
    }
    struct pipeline_job job = {
        .plan = &run->plan,
        .base = run->base,
        .delta = run->delta,
        .directory = output_dir_partial(run->dir),
        .guard = output_dir_guard(run->dir),
        .kernels = run->kernels,
        .geometry = run->geometry,
        .stop_signal = run->settings->stop_signal,
        .observer = &run->watch,
        .journal = run->journal,
        .continues = run->continues,
    };
    enum llavamed_status status = pipeline_run(&job, &run->outcome, error);
    if (status == LLAVAMED_OK) {
        result_note_outcome(run->result, &run->plan, &run->outcome);
        status = finish_sources(run, error);
    }
    if (status == LLAVAMED_OK && merge_is_streamed(run)) {
        status = merge_judge_content(run, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < run->plan.n_tensors; i++) {
        status = warn_of_tensor(run, i, error);
    }
    return status;
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

/* A warning that depends on this machine and this moment: told, but kept out of the manifest, which is written. */
static enum llavamed_status publish(struct merge_run *run, struct llavamed_error *error)
{
    bool old_left = false;
    enum llavamed_status status = output_dir_publish(run->dir, &old_left, error);
    if (status == LLAVAMED_OK && old_left) {
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s", error->message);
        status = merge_warn(run, text, error);
    }
    return status;
}

static enum llavamed_status work(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = merge_begin_output(run, error);
    if (status != LLAVAMED_OK && !run->began) {
        return status;
    }
    if (status == LLAVAMED_OK) {
        status = run_pipeline(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = write_documents(run, error);
    }
    if (status == LLAVAMED_OK && run->settings->verify == LLAVAMED_VERIFY_FULL) {
        status = read_back(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_check_stop(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_move_journal(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = publish(run, error);
    }
    if (status == LLAVAMED_OK) {
        merge_end_journal(run);
    } else {
        status = output_dir_explain(run->dir, error);
        merge_give_up(run, error);
    }
    return status;
}

enum llavamed_status llavamed_merge(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                    struct llavamed_result *result, struct llavamed_error *error)
{
    struct merge_run run = {
        .settings = settings, .observer = observer, .result = result, .started_ns = clock_monotonic_ns()};
    memset(result, 0, sizeof *result);
    memset(error, 0, sizeof *error);
    merge_watch_init(&run);
    enum llavamed_status status = merge_prepare(&run, error);
    if (status == LLAVAMED_OK && !settings->dry_run) {
        status = merge_verify_inputs(&run, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_warn_of_unknown_base(&run, error);
    }
    if (status == LLAVAMED_OK && !settings->dry_run) {
        status = work(&run, error);
    }
    if (run.base != NULL) {
        result->read_bytes += source_bytes_read(run.base);
    }
    if (run.delta != NULL) {
        result->read_bytes += source_bytes_read(run.delta);
    }
    pipeline_outcome_deinit(&run.outcome);
    documents_free(run.documents);
    merge_resume_deinit(&run);
    input_hashes_free(run.hashes);
    plan_deinit(&run.plan);
    output_dir_free(run.dir);
    source_close(run.delta);
    source_close(run.base);
    if (status == LLAVAMED_OK) {
        memset(error, 0, sizeof *error);
    }
    result->total_ns = clock_monotonic_ns() - run.started_ns;
    return status;
}
