/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a merge before anything is created: settings, sources, what they are, the plan, the documents, space. */
#include "merge/merge_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "core/memory.h"
#include "core/warnings.h"
#include "io/directory.h"
#include "merge/base_signs.h"
#include "merge/content_test.h"
#include "merge/key_file.h"
#include "merge/merge_part.h"
#include "merge/output_tidy.h"
#include "merge/pipeline_stream.h"
#include "merge/result.h"
#include "merge/shared_storage.h"
#include "merge/signature_file.h"
#include "merge/tensor_warnings.h"

/* So that a small archive is judged whole before anything is written; inflating as much takes a tenth of a second. */
#define LOOK_BYTES_LEAST 33554432

/* ---- Settings ----------------------------------------------------------------------------------------------- */

static enum llavamed_status check_settings(const struct merge_run *run, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = run->settings;
    const char *missing = settings->base == NULL                         ? "base"
                          : settings->delta == NULL                      ? merge_other_name(run)
                          : settings->out == NULL && !run->batch->derives ? "out"
                                                                         : NULL;
    if (missing != NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no %s is given", missing);
    }
    if (settings->exact && settings->format == LLAVAMED_FORMAT_TORCH) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_NOT_SUPPORTED_YET, "an exact delta in torch files is not there yet");
        llavamed_hint(error, "--exact goes with --format safetensors");
        return LLAVAMED_STATUS_NOT_SUPPORTED_YET;
    }
    if (settings->exact && settings->dtype != LLAVAMED_RESULT_DTYPE_DELTA) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "an exact delta has the dtypes of its target");
        llavamed_hint(error, "--exact goes without --dtype");
        return LLAVAMED_STATUS_USAGE;
    }
    if (settings->torch_profile != LLAVAMED_TORCH_PROFILE_DEFAULT && settings->format != LLAVAMED_FORMAT_TORCH) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "a torch profile is given, but the shards are safetensors");
        llavamed_hint(error, "--torch-profile goes with --format torch");
        return LLAVAMED_STATUS_USAGE;
    }
    return merge_part_check(run, error);
}

static enum llavamed_status choose_kernels(enum llavamed_cpu cpu, const struct kernel_set **kernels,
                                           struct llavamed_error *error)
{
    static const enum kernel_isa isa_of[] = {
        [LLAVAMED_CPU_REF] = KERNEL_ISA_REF,
        [LLAVAMED_CPU_AVX2] = KERNEL_ISA_AVX2,
        [LLAVAMED_CPU_AVX512] = KERNEL_ISA_AVX512,
        [LLAVAMED_CPU_NEON] = KERNEL_ISA_NEON,
    };
    static const char *const cpu_name[] = {
        [LLAVAMED_CPU_AVX2] = "AVX2",
        [LLAVAMED_CPU_AVX512] = "AVX-512",
        [LLAVAMED_CPU_NEON] = "NEON",
    };
    const struct kernel_set *chosen = cpu == LLAVAMED_CPU_BEST ? kernel_best() : kernel_get(isa_of[cpu]);
    if (chosen == NULL) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "this machine or this build has no %s", cpu_name[cpu]);
        llavamed_hint(error, "the best it has is %s", kernel_best()->name);
        return LLAVAMED_STATUS_USAGE;
    }
    *kernels = chosen;
    return LLAVAMED_OK;
}

unsigned merge_threads_wanted(const struct llavamed_settings *settings)
{
    return settings->n_threads != 0 ? settings->n_threads : cpus_usable();
}

static enum llavamed_status prepare_machine(struct merge_batch *batch, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = batch->runs[0].settings;
    const struct kernel_set *kernels = NULL;
    struct pipeline_geometry geometry;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        status = check_settings(&batch->runs[i], error);
    }
    if (status == LLAVAMED_OK) {
        status = choose_kernels(settings->cpu, &kernels, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_settle_memory(batch, error);
    }
    if (status == LLAVAMED_OK) {
        status = pipeline_geometry_choose(settings->max_memory_bytes, merge_threads_wanted(settings), 1, &geometry,
                                          error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        run->kernels = kernels;
        run->geometry = geometry;
        run->result->cpu = kernels->name;
        run->result->n_threads = geometry.n_workers;
        run->result->pool_bytes = geometry.pool_bytes;
    }
    return status;
}

/* A key that cannot sign is better known before hours of work. */
static enum llavamed_status prepare_key(struct merge_batch *batch, struct llavamed_error *error)
{
    const char *path = batch->runs[0].settings->sign;
    if (path == NULL) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = key_file_read_private(path, &batch->signing_key, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < batch->n_runs; i++) {
        memcpy(batch->runs[i].result->signing_key_sha256, ec_key_hint(batch->signing_key), SHA256_HEX_BYTES);
    }
    return status;
}

/* ---- Where the output goes ------------------------------------------------------------------------------------ */

/* Appends a source and its weights files to `inputs`, which has room for them. */
static size_t list_inputs(const struct source *source, const char *role, struct output_dir_input *inputs)
{
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    size_t n = 0;
    inputs[n++] = (struct output_dir_input){role, source_spec(source)};
    for (size_t i = 0; i < n_files; i++) {
        if (files[i].archive == NULL) {
            inputs[n++] = (struct output_dir_input){role, source_file_path(source, i)};
        }
    }
    return n;
}

/* Every directory and file that is read, for whatever output, so that OUT can be held against them. */
static enum llavamed_status open_output_dir(struct merge_run *run, struct llavamed_error *error)
{
    const struct merge_batch *batch = run->batch;
    const struct source_file *files;
    size_t n_inputs = 1 + source_files(batch->base, &files);
    for (size_t i = 0; i < batch->n_runs; i++) {
        const struct source *delta = batch->runs[i].delta;
        n_inputs += delta == NULL ? 0 : 1 + source_files(delta, &files);
    }
    struct output_dir_input *inputs = calloc(n_inputs, sizeof *inputs);
    if (inputs == NULL) {
        return llavamed_fail_memory(error, n_inputs * sizeof *inputs, "the list of inputs");
    }
    size_t n = list_inputs(batch->base, "base", inputs);
    for (size_t i = 0; i < batch->n_runs; i++) {
        const struct source *delta = batch->runs[i].delta;
        n += delta == NULL ? 0 : list_inputs(delta, merge_other_name(run), inputs + n);
    }
    const struct llavamed_settings *settings = run->settings;
    bool is_part = merge_is_part(settings);
    const struct output_dir_work work = {.mode = is_part ? OUTPUT_DIR_PART : OUTPUT_DIR_WHOLE,
                                         .part = is_part ? settings->part - 1 : 0,
                                         .n_parts = is_part ? settings->n_parts : 1};
    if (!settings->dry_run) {
        output_tidy_parts(settings->out);
    }
    enum llavamed_status status =
        output_dir_open_for(&work, settings->out, settings->force, inputs, n, &run->dir, error);
    if (status == LLAVAMED_STATUS_OUT_EXISTS && !settings->dry_run) {
        output_tidy(settings->out);
    }
    free(inputs);
    if (status == LLAVAMED_OK) {
        output_dir_heed(run->dir, run->settings->stop_signal);
    }
    return status;
}

/* ---- What the sources are ------------------------------------------------------------------------------------ */

static struct base_signs_side side_of(const struct source *source, const char *spec)
{
    struct base_signs_side side = {.spec = spec, .set = source_tensors(source)};
    side.n_files = source_small_files(source, &side.files);
    return side;
}

static enum llavamed_status check_base_signs(struct merge_run *run, struct llavamed_error *error)
{
    struct warnings warnings = {0};
    struct warnings notes = {0};
    struct base_signs_side base = side_of(run->base, run->settings->base);
    struct base_signs_side delta = side_of(run->delta, run->settings->delta);
    delta.name = merge_other_name(run);
    enum llavamed_status status = base_signs_check(&base, &delta, &warnings, &notes, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < warnings.n_texts; i++) {
        status = merge_warn(run, warnings.texts[i], error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < notes.n_texts; i++) {
        merge_note(run, "%s", notes.texts[i]);
    }
    warnings_deinit(&warnings);
    warnings_deinit(&notes);
    return status;
}

/* What is recorded about the files already tells names at no cost; a wrong one is refused here. */
static enum llavamed_status identify_recorded(struct merge_run *run, struct llavamed_error *error)
{
    struct warnings warnings = {0};
    enum llavamed_status status = input_hashes_create(run->base, run->delta, &run->hashes, error);
    if (status == LLAVAMED_OK && run->batch->operation == PLAN_MAKE_DELTA) {
        input_hashes_expect_target(run->hashes);
    }
    if (status == LLAVAMED_OK && run->settings->sums != NULL) {
        status = input_hashes_add_sums(run->hashes, run->settings->sums, run->settings->stop_signal, &warnings, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_hashes_identify(run->hashes, run->identities, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < warnings.n_texts; i++) {
        status = merge_warn(run, warnings.texts[i], error);
    }
    warnings_deinit(&warnings);
    for (size_t i = 0; status == LLAVAMED_OK && i < INPUT_ROLES; i++) {
        if (run->identities[i] != NULL) {
            merge_note(run, "the %s is %s by its recorded SHA-256", i == INPUT_BASE ? "base" : merge_other_name(run),
                       run->identities[i]);
        }
    }
    if (run->settings->verify == LLAVAMED_VERIFY_NONE) {
        /* Nobody will look whether the record is true, so nothing may be told from it. */
        memset(run->identities, 0, sizeof run->identities);
    }
    return status;
}

/* A dry run that ends well has not looked whether the files are what is recorded of them. */
static void note_unchecked(struct merge_run *run)
{
    struct input_hashes_job job = {.all = false};
    uint64_t n_bytes;
    size_t n_files = input_hashes_wanted(run->hashes, &job, &n_bytes);
    if (run->settings->dry_run && run->settings->verify != LLAVAMED_VERIFY_NONE && n_files > 0) {
        merge_note(run, "%zu files (%llu bytes) with recorded hashes are checked by the run itself, not by --dry-run",
                   n_files, (unsigned long long)n_bytes);
    }
}

enum llavamed_status merge_verify_inputs(struct merge_run *run, struct llavamed_error *error)
{
    struct input_hashes_job job = {
        .all = run->settings->verify == LLAVAMED_VERIFY_FULL,
        .options = {.n_threads = run->geometry.n_workers,
                    .stop_signal = run->settings->stop_signal,
                    .observer = &run->watch,
                    .check = "SHA-256 of the inputs"},
    };
    uint64_t n_bytes;
    for (const struct merge_run *other = run->batch->runs; other < run; other++) {
        input_hashes_share_base(run->hashes, other->hashes);
    }
    size_t n_files = input_hashes_wanted(run->hashes, &job, &n_bytes);
    if (run->settings->verify == LLAVAMED_VERIFY_NONE || n_files == 0) {
        return LLAVAMED_OK;
    }
    job.options.n_bytes = n_bytes;
    /* The merge reads them again, and gives back the pages of what was not cached before: they may wait for it where
       nobody else's have to go. */
    job.options.keep_cached = n_bytes <= memory_free_bytes();
    merge_note(run, "checking the hashes of %zu input files (%llu bytes)", n_files, (unsigned long long)n_bytes);
    enum llavamed_status status = input_hashes_verify(run->hashes, &job, error);
    if (status == LLAVAMED_OK) {
        run->result->read_bytes += n_bytes;
        status = input_hashes_identify(run->hashes, run->identities, error);
    }
    return status;
}

enum llavamed_status merge_warn_of_unknown_base(struct merge_run *run, struct llavamed_error *error)
{
    /* A part knows no more than what it has hashed itself: finishing tells of all. */
    return run->identities[INPUT_BASE] != NULL || run->part != NULL
               ? LLAVAMED_OK
               : merge_warn_base(run, unknown_base_warning(run->batch->operation), error);
}

static enum shard_format format_of(const struct llavamed_settings *settings)
{
    if (settings->format != LLAVAMED_FORMAT_TORCH) {
        return SHARD_SAFETENSORS;
    }
    return settings->torch_profile == LLAVAMED_TORCH_PROFILE_2_13 ? SHARD_TORCH_2_13 : SHARD_TORCH_1_13;
}

struct plan_options merge_plan_options(const struct merge_run *run)
{
    const struct llavamed_settings *settings = run->settings;
    bool torch = settings->format == LLAVAMED_FORMAT_TORCH;
    uint64_t usual = torch ? PLAN_SHARD_BYTES_TORCH : PLAN_SHARD_BYTES_SAFETENSORS;
    return (struct plan_options){
        .operation = run->batch->operation,
        .exact = run->batch->operation == PLAN_MAKE_DELTA && settings->exact,
        .format = format_of(settings),
        .dtype = settings->dtype,
        .inv_freq = settings->inv_freq,
        .max_shard_bytes = settings->max_shard_bytes != 0 ? settings->max_shard_bytes : usual,
    };
}

/* ---- Plan --------------------------------------------------------------------------------------------------- */

static enum llavamed_status check_shared_storage(struct merge_run *run, struct llavamed_error *error)
{
    struct warnings warnings = {0};
    enum llavamed_status status = shared_storage_check(&run->plan, run->delta, run->settings->delta, &warnings, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < warnings.n_texts; i++) {
        status = merge_warn(run, warnings.texts[i], error);
    }
    warnings_deinit(&warnings);
    return status;
}

/* Contents cannot tell the base of an exact delta from another; where its manifest can, the result is held to it. */
static enum llavamed_status look_for_target(struct merge_run *run, struct llavamed_error *error)
{
    char why[LLAVAMED_MESSAGE_BYTES];
    enum llavamed_status status = target_sums_read(run->delta, &run->plan, &run->target_sums, why, error);
    if (status != LLAVAMED_OK || why[0] == '\0') {
        return status;
    }
    char text[LLAVAMED_MESSAGE_BYTES + MERGE_REMARK_BYTES];
    (void)snprintf(text, sizeof text,
                   "the delta is an exact one, which gives a model without sense with any base but the one that it was "
                   "made from, and nothing tells whether this is that one: %s",
                   why);
    llavamed_make_printable(text);
    return merge_warn(run, text, error);
}

static enum llavamed_status make_plan(struct merge_run *run, struct llavamed_error *error)
{
    struct plan_options options = merge_plan_options(run);
    enum llavamed_status status = plan_build(source_tensors(run->base), run->settings->base, source_tensors(run->delta),
                                             run->settings->delta, &options, &run->plan, error);
    if (status == LLAVAMED_OK) {
        status = pipeline_stream_check(&run->plan, run->base, run->delta, error);
    }
    if (status == LLAVAMED_OK && run->batch->operation == PLAN_MERGE) {
        status = check_shared_storage(run, error);
    }
    if (status == LLAVAMED_OK && !run->batch->derives) {
        status = look_for_target(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_part_share(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = result_note_plan(run->result, run->work, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < run->plan.n_warnings; i++) {
        status = merge_warn(run, run->plan.warnings[i], error);
    }
    return status;
}

static struct content_job content_job_of(const struct merge_run *run)
{
    return (struct content_job){
        .plan = &run->plan,
        .base = run->base,
        .delta = run->delta,
        .kernels = run->kernels,
        .allow_unknown_base = run->settings->allow_unknown_base,
        .stop_signal = run->settings->stop_signal,
    };
}

bool merge_is_streamed(const struct merge_run *run)
{
    return source_streams(run->base) + source_streams(run->delta) > 0;
}

enum llavamed_status merge_judge_content(struct merge_run *run, struct llavamed_error *error)
{
    const struct content_job job = content_job_of(run);
    struct content_verdict verdict;
    uint64_t started_ns = clock_monotonic_ns();
    if (run->batch->operation == PLAN_MAKE_DELTA) {
        return LLAVAMED_OK; /* any difference is a delta */
    }
    enum llavamed_status status = content_test(&job, &verdict, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    merge_note(
        run,
        "content test: %zu matrices judged, %.3f %% of the sums that must be exact are, chance gives %.3f %%; %.3f s",
        verdict.n_judged, 100.0 * (1.0 - content_rate(&verdict.total)),
        100.0 * (1.0 - content_control_rate(&verdict.total)), (double)(clock_monotonic_ns() - started_ns) / 1e9);
    return verdict.text[0] == '\0' ? LLAVAMED_OK : merge_warn(run, verdict.text, error);
}

/* In a dry run, what a look says, and of how much. In a run the test of the whole says it, or something else. */
static enum llavamed_status tell_look(struct merge_run *run, const struct content_verdict *verdict,
                                      struct llavamed_error *error)
{
    char text[LLAVAMED_MESSAGE_BYTES];
    if (!run->settings->dry_run || verdict->text[0] == '\0') {
        return LLAVAMED_OK;
    }
    (void)snprintf(text, sizeof text, "by the first part of the archive alone, which is all that a dry run reads: %s",
                   verdict->text);
    return merge_warn(run, verdict->is_part ? text : verdict->text, error);
}

/*
 * A source that is read from front to back cannot be sampled before it is read, but its first part is: most of what is
 * wrong shows there, and all that is wrong with an archive so small that the look reads it whole.
 */
static enum llavamed_status look_at_content(struct merge_run *run, struct llavamed_error *error)
{
    struct content_job job = content_job_of(run);
    struct content_verdict verdict;
    job.early = true;
    enum llavamed_status status = content_announce(&job, error);
    if (status == LLAVAMED_OK) {
        status = source_look_ahead(run->base, LOOK_BYTES_LEAST, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_look_ahead(run->delta, LOOK_BYTES_LEAST, error);
    }
    if (status == LLAVAMED_OK) {
        status = content_test(&job, &verdict, error);
    }
    if (status == LLAVAMED_OK) {
        merge_note(run, "content test of what comes first: %zu matrices judged", verdict.n_judged);
        status = tell_look(run, &verdict, error);
    }
    return status;
}

static enum llavamed_status prepare_documents(struct merge_run *run, struct llavamed_error *error)
{
    const struct source_small_file *files;
    size_t n_files = source_small_files(run->delta, &files);
    enum llavamed_status status =
        documents_prepare(files, n_files, &run->plan, run->settings->stop_signal, &run->documents, error);
    if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        source_hint_missing(run->delta, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    char *const *warnings;
    size_t n_warnings = documents_warnings(run->documents, &warnings);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_warnings; i++) {
        status = merge_warn(run, warnings[i], error);
    }
    return status;
}

static uint64_t planned_bytes(const struct merge_run *run)
{
    uint64_t signature_bytes = run->batch->signing_key == NULL ? 0 : signature_file_planned_bytes(run->plan.n_shards);
    return run->plan.file_bytes + documents_planned_bytes(run->documents) + signature_bytes;
}

/* Outputs on one volume need room together. */
static enum llavamed_status check_space(struct merge_run *run, struct llavamed_error *error)
{
    const struct merge_batch *batch = run->batch;
    uint64_t bytes = planned_bytes(run);
    for (size_t i = 0; i < batch->n_runs; i++) {
        const struct merge_run *other = &batch->runs[i];
        bool counts = other != run && other->output->error.status == LLAVAMED_OK;
        if (counts &&
            !checked_add_u64(bytes, output_dir_growth_on(other->dir, run->dir, planned_bytes(other)), &bytes)) {
            bytes = UINT64_MAX;
            break;
        }
    }
    return output_dir_check_space(run->dir, bytes, &run->result->free_bytes, error);
}

/* A damaged base looks like a wrong one. Where hashes are recorded they know better, so they speak first. */
static enum llavamed_status blame_damage(struct merge_run *run, struct llavamed_error *error)
{
    struct llavamed_error damage = {0};
    input_hashes_unshare(run->hashes); /* a part, too, looks at all of them before it blames anything else */
    enum llavamed_status status = merge_verify_inputs(run, &damage);
    if (status != LLAVAMED_STATUS_HASH_MISMATCH && status != LLAVAMED_STATUS_INTERRUPTED) {
        return LLAVAMED_STATUS_PAIR_WRONG_BASE;
    }
    *error = damage;
    return status;
}

/* ---- All of it ---------------------------------------------------------------------------------------------- */

static enum llavamed_status plan_output(struct merge_run *run, struct llavamed_error *error)
{
    bool derives = run->batch->derives;
    enum llavamed_status status = derives ? LLAVAMED_OK : open_output_dir(run, error);
    if (status == LLAVAMED_OK) {
        status = identify_recorded(run, error);
    }
    if (status == LLAVAMED_OK) {
        note_unchecked(run);
        status = check_base_signs(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = make_plan(run, error);
    }
    return status == LLAVAMED_OK && !derives ? prepare_documents(run, error) : status;
}

static enum llavamed_status judge(struct merge_run *run, struct llavamed_error *error)
{
    bool only_looks = merge_is_streamed(run) && run->batch->operation == PLAN_MERGE;
    enum llavamed_status status = only_looks ? look_at_content(run, error) : merge_judge_content(run, error);
    return status == LLAVAMED_STATUS_PAIR_WRONG_BASE && !run->settings->dry_run ? blame_damage(run, error) : status;
}

/* Whether other outputs are still worth a look: what is wrong is wrong with this one. */
static bool is_own_fault(const struct llavamed_error *error)
{
    int exit_status = llavamed_exit_status(error);
    return exit_status >= 1 && exit_status <= 5;
}

/*
 * Takes a step for every output that has come so far, so that all that is wrong is found. The first of it is the error:
 * returns its status, that of an earlier step too.
 */
static enum llavamed_status for_each(struct merge_batch *batch,
                                     enum llavamed_status (*step)(struct merge_run *run, struct llavamed_error *error),
                                     struct llavamed_error *error)
{
    bool goes_on = error->status == LLAVAMED_OK || is_own_fault(error);
    for (size_t i = 0; goes_on && i < batch->n_runs; i++) {
        struct merge_run *run = &batch->runs[i];
        struct llavamed_error *own = &run->output->error;
        if (own->status != LLAVAMED_OK) {
            continue;
        }
        if (step(run, own) == LLAVAMED_OK) {
            memset(own, 0, sizeof *own); /* a step that succeeds may have used it */
            continue;
        }
        goes_on = is_own_fault(own);
        if (error->status == LLAVAMED_OK || !goes_on) {
            *error = *own;
        }
    }
    return error->status;
}

enum llavamed_status merge_prepare(struct merge_batch *batch, struct llavamed_error *error)
{
    struct merge_run *first = &batch->runs[0];
    enum llavamed_status status = prepare_machine(batch, error);
    if (status == LLAVAMED_OK) {
        status = prepare_key(batch, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_open_base(first, &batch->base, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    memset(error, 0, sizeof *error);
    (void)for_each(batch, merge_open_sources, error);
    if (!batch->derives) {
        merge_check_apart(batch, error);
    }
    status = for_each(batch, plan_output, error);
    if (!batch->derives) {
        (void)for_each(batch, check_space, error);
        status = for_each(batch, judge, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_settle_memory(batch, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_assign_passes(batch, error);
    }
    return status == LLAVAMED_OK ? merge_check_stop(first, error) : status;
}
