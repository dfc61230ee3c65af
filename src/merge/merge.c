/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llavamed_merge(): sources -> plan -> pipeline -> documents -> published directory, in this order and nothing back up.
 * Until output_dir_publish() there is no OUT; after any failure OUT.partial is removed (continuing is not built yet).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpus.h"
#include "io/directory.h"
#include "merge/base_signs.h"
#include "merge/content_test.h"
#include "merge/documents.h"
#include "merge/input_hashes.h"
#include "merge/output_dir.h"
#include "merge/pipeline.h"
#include "merge/plan.h"
#include "merge/result.h"
#include "merge/warnings.h"
#include "source/source.h"

#define REMARK_BYTES 512
/* With few cores, workers that wait for storage must not leave them idle: measured best on 2 cores. */
#define WORKERS_MIN 6
/* source_finish() re-reads through the caller's memory; this much is plenty for what a merge leaves unread. */
#define FINISH_SCRATCH_BYTES 1048576

struct merge_run {
    const struct llavamed_settings *settings;
    const struct llavamed_observer *observer; /* may be NULL */
    struct llavamed_result *result;
    const struct kernel_set *kernels;
    struct source *base;
    struct source *delta;
    struct plan plan;
    struct pipeline_geometry geometry;
    struct input_hashes *hashes;
    const char *identities[INPUT_ROLES]; /* NULL: unknown; of `hashes` */
    struct documents *documents;
    struct output_dir *dir;
    struct pipeline_outcome outcome;
    uint64_t started_ns;
};

/* ---- Telling ------------------------------------------------------------------------------------------------ */

static void note(const struct merge_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(const struct merge_run *run, const char *format, ...)
{
    if (run->observer == NULL || run->observer->note == NULL) {
        return;
    }
    char text[REMARK_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_make_printable(text);
    run->observer->note(run->observer->context, text);
}

/* Tells a warning and keeps it for the result and, when it is there by then, the manifest. */
static enum llavamed_status warn(struct merge_run *run, const char *text, struct llavamed_error *error)
{
    if (run->observer != NULL && run->observer->warning != NULL) {
        run->observer->warning(run->observer->context, text);
    }
    return result_add_warning(run->result, text, error);
}

static enum llavamed_status tell_remarks(struct merge_run *run, const struct source *source,
                                         struct llavamed_error *error)
{
    const struct source_remark *remarks;
    size_t n_remarks = source_remarks(source, &remarks);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_remarks; i++) {
        if (remarks[i].is_warning) {
            status = warn(run, remarks[i].text, error);
        } else {
            note(run, "%s", remarks[i].text);
        }
    }
    return status;
}

/* ---- Settings ----------------------------------------------------------------------------------------------- */

static enum llavamed_status check_settings(const struct llavamed_settings *settings, struct llavamed_error *error)
{
    const char *missing = settings->base == NULL    ? "base"
                          : settings->delta == NULL ? "delta"
                          : settings->out == NULL   ? "out"
                                                    : NULL;
    if (missing != NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no %s is given", missing);
    }
    if (settings->max_shard_bytes == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "the largest shard size must not be 0");
    }
    return LLAVAMED_OK;
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

static enum llavamed_status prepare_machine(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = check_settings(run->settings, error);
    if (status == LLAVAMED_OK) {
        status = choose_kernels(run->settings->cpu, &run->kernels, error);
    }
    if (status == LLAVAMED_OK) {
        unsigned n_threads = run->settings->n_threads;
        if (n_threads == 0) {
            n_threads = (unsigned)max_u64(cpus_usable(), WORKERS_MIN);
        }
        status = pipeline_geometry_choose(run->settings->max_memory_bytes, n_threads, &run->geometry, error);
    }
    if (status == LLAVAMED_OK) {
        run->result->cpu = run->kernels->name;
        run->result->n_threads = run->geometry.n_workers;
        run->result->pool_bytes = run->geometry.pool_bytes;
        note(run, "kernel %s, %u workers, %llu bytes of buffers in tiles of %zu", run->kernels->name,
             run->geometry.n_workers, (unsigned long long)run->geometry.pool_bytes, run->geometry.tile_bytes);
    }
    return status;
}

/* ---- Sources ------------------------------------------------------------------------------------------------ */

/* One weights file that both sources share is enough: nobody splits a checkpoint between a base and its delta. */
static enum llavamed_status check_not_same(const struct merge_run *run, struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_base = source_files(run->base, &files);
    size_t n_delta = source_files(run->delta, &files);
    for (size_t i = 0; i < n_base; i++) {
        struct path_identity base;
        enum llavamed_status status = path_identity_of(source_file_path(run->base, i), &base, error);
        for (size_t j = 0; status == LLAVAMED_OK && j < n_delta; j++) {
            struct path_identity delta;
            status = path_identity_of(source_file_path(run->delta, j), &delta, error);
            if (status == LLAVAMED_OK && base.device == delta.device && base.inode == delta.inode) {
                (void)llavamed_fail(error, LLAVAMED_STATUS_PAIR_SAME,
                                    "%s: base and delta are the same checkpoint (both read this file)",
                                    source_file_path(run->delta, j));
                llavamed_hint(error, "--base takes the original LLaMA weights, --delta the delta released for them");
                return LLAVAMED_STATUS_PAIR_SAME;
            }
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status open_sources(struct merge_run *run, struct llavamed_error *error)
{
    bool check_crc = run->settings->verify != LLAVAMED_VERIFY_NONE;
    struct source_options base_options = {
        .role = "base", .check_crc = check_crc, .stop_signal = run->settings->stop_signal};
    struct source_options delta_options = {
        .role = "delta", .check_crc = check_crc, .stop_signal = run->settings->stop_signal};
    enum llavamed_status status = source_open(run->settings->base, &base_options, &run->base, error);
    if (status == LLAVAMED_OK) {
        status = source_open(run->settings->delta, &delta_options, &run->delta, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_not_same(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = tell_remarks(run, run->base, error);
    }
    if (status == LLAVAMED_OK) {
        status = tell_remarks(run, run->delta, error);
    }
    return status;
}

/* Every directory and file that is read, so that OUT can be held against them. */
static enum llavamed_status open_output_dir(struct merge_run *run, struct llavamed_error *error)
{
    struct source *sources[] = {run->base, run->delta};
    const char *roles[] = {"base", "delta"};
    const struct source_file *files;
    size_t n_inputs = 2 + source_files(run->base, &files) + source_files(run->delta, &files);
    struct output_dir_input *inputs = calloc(n_inputs, sizeof *inputs);
    if (inputs == NULL) {
        return llavamed_fail_memory(error, n_inputs * sizeof *inputs, "the list of inputs");
    }
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        inputs[n++] = (struct output_dir_input){roles[i], source_spec(sources[i])};
        for (size_t j = 0; j < source_files(sources[i], &files); j++) {
            inputs[n++] = (struct output_dir_input){roles[i], source_file_path(sources[i], j)};
        }
    }
    enum llavamed_status status =
        output_dir_open(run->settings->out, run->settings->force, inputs, n, &run->dir, error);
    free(inputs);
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
    enum llavamed_status status = base_signs_check(&base, &delta, &warnings, &notes, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < warnings.n_texts; i++) {
        status = warn(run, warnings.texts[i], error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < notes.n_texts; i++) {
        note(run, "%s", notes.texts[i]);
    }
    warnings_deinit(&warnings);
    warnings_deinit(&notes);
    return status;
}

static const char *const role_names[] = {[INPUT_BASE] = "base", [INPUT_DELTA] = "delta"};

/* What is recorded about the files already tells names at no cost; a wrong one is refused here. */
static enum llavamed_status identify_recorded(struct merge_run *run, struct llavamed_error *error)
{
    struct warnings warnings = {0};
    enum llavamed_status status = input_hashes_create(run->base, run->delta, &run->hashes, error);
    if (status == LLAVAMED_OK && run->settings->sums != NULL) {
        status = input_hashes_add_sums(run->hashes, run->settings->sums, &warnings, error);
    }
    if (status == LLAVAMED_OK) {
        status = input_hashes_identify(run->hashes, run->identities, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < warnings.n_texts; i++) {
        status = warn(run, warnings.texts[i], error);
    }
    warnings_deinit(&warnings);
    for (size_t i = 0; status == LLAVAMED_OK && i < INPUT_ROLES; i++) {
        if (run->identities[i] != NULL) {
            note(run, "the %s is %s by its recorded SHA-256", role_names[i], run->identities[i]);
        }
    }
    return status;
}

static enum llavamed_status verify_inputs(struct merge_run *run, struct llavamed_error *error)
{
    struct input_hashes_job job = {
        .all = run->settings->verify == LLAVAMED_VERIFY_FULL,
        .options = {.n_threads = run->geometry.n_workers, .stop_signal = run->settings->stop_signal},
    };
    uint64_t n_bytes;
    size_t n_files = input_hashes_wanted(run->hashes, &job, &n_bytes);
    if (run->settings->verify == LLAVAMED_VERIFY_NONE || n_files == 0) {
        return LLAVAMED_OK;
    }
    note(run, "checking the SHA-256 of %zu input files (%llu bytes)", n_files, (unsigned long long)n_bytes);
    enum llavamed_status status = input_hashes_verify(run->hashes, &job, error);
    if (status == LLAVAMED_OK) {
        run->result->read_bytes += n_bytes;
        status = input_hashes_identify(run->hashes, run->identities, error);
    }
    return status;
}

static enum llavamed_status warn_of_unknown_base(struct merge_run *run, struct llavamed_error *error)
{
    if (run->identities[INPUT_BASE] != NULL) {
        return LLAVAMED_OK;
    }
    return warn(run,
                "the base is not identified as a published release: make sure that it is the original LLaMA that the "
                "delta was made from",
                error);
}

/* ---- Plan --------------------------------------------------------------------------------------------------- */

static enum llavamed_status make_plan(struct merge_run *run, struct llavamed_error *error)
{
    struct plan_options options = {
        .dtype = run->settings->dtype,
        .inv_freq = run->settings->inv_freq,
        .max_shard_bytes = run->settings->max_shard_bytes,
    };
    enum llavamed_status status = plan_build(source_tensors(run->base), run->settings->base,
                                             source_tensors(run->delta), run->settings->delta, &options, &run->plan,
                                             error);
    if (status == LLAVAMED_OK) {
        status = result_note_plan(run->result, &run->plan, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < run->plan.n_warnings; i++) {
        status = warn(run, run->plan.warnings[i], error);
    }
    return status;
}

/* Whether the delta was made from this base, as far as a sample of both tells. */
static enum llavamed_status judge_content(struct merge_run *run, struct llavamed_error *error)
{
    struct content_job job = {
        .plan = &run->plan,
        .base = run->base,
        .delta = run->delta,
        .kernels = run->kernels,
        .allow_unknown_base = run->settings->allow_unknown_base,
    };
    struct content_verdict verdict;
    uint64_t started_ns = clock_monotonic_ns();
    enum llavamed_status status = content_test(&job, &verdict, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    note(run,
         "content test: %zu matrices judged, %.3f %% of the sums that must be exact are, chance gives %.3f %%; %.3f s",
         verdict.n_judged, 100.0 * (1.0 - content_rate(&verdict.total)),
         100.0 * (1.0 - content_control_rate(&verdict.total)), (double)(clock_monotonic_ns() - started_ns) / 1e9);
    return verdict.text[0] == '\0' ? LLAVAMED_OK : warn(run, verdict.text, error);
}

static enum llavamed_status prepare_documents(struct merge_run *run, struct llavamed_error *error)
{
    const struct source_small_file *files;
    size_t n_files = source_small_files(run->delta, &files);
    enum llavamed_status status = documents_prepare(files, n_files, &run->plan, &run->documents, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    char *const *warnings;
    size_t n_warnings = documents_warnings(run->documents, &warnings);
    for (size_t i = 0; status == LLAVAMED_OK && i < n_warnings; i++) {
        status = warn(run, warnings[i], error);
    }
    return status;
}

static enum llavamed_status check_space(struct merge_run *run, struct llavamed_error *error)
{
    uint64_t bytes = run->plan.file_bytes + documents_planned_bytes(run->documents);
    return output_dir_check_space(run->dir, bytes, &run->result->free_bytes, error);
}

/* ---- Work --------------------------------------------------------------------------------------------------- */

static enum llavamed_status check_stop(const struct merge_run *run, struct llavamed_error *error)
{
    const volatile int *stop_signal = run->settings->stop_signal;
    int signal_number = stop_signal == NULL ? 0 : *stop_signal;
    if (signal_number == 0) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INTERRUPTED, "interrupted by signal %d", signal_number);
    error->signal_number = signal_number;
    return LLAVAMED_STATUS_INTERRUPTED;
}

/* What the numbers of one tensor say that its user should know. */
static enum llavamed_status warn_of_tensor(struct merge_run *run, size_t index, struct llavamed_error *error)
{
    const struct plan_tensor *tensor = &run->plan.tensors[index];
    const struct pipeline_tensor *outcome = &run->outcome.tensors[index];
    char text[REMARK_BYTES + TENSOR_NAME_BYTES_MAX];
    enum llavamed_status status = LLAVAMED_OK;
    if (outcome->counts.n_nan + outcome->counts.n_infinite + outcome->n_overflow > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: the result holds %llu NaN and %llu infinite values (%llu values overflowed when converted "
                       "to %s)",
                       tensor->out.name, (unsigned long long)outcome->counts.n_nan,
                       (unsigned long long)outcome->counts.n_infinite, (unsigned long long)outcome->n_overflow,
                       dtype_name(tensor->out.dtype));
        text_make_printable(text);
        status = warn(run, text, error);
    }
    if (status == LLAVAMED_OK && tensor->action == PLAN_INV_FREQ &&
        outcome->counts.n_delta_zero < tensor->out.n_elems) {
        (void)snprintf(text, sizeof text,
                       "%s: the delta's rotary frequencies are not zero (%llu of %llu): not a plain delta, or one made "
                       "with mixed versions; programs recompute them, --inv-freq drop leaves them out",
                       tensor->out.name, (unsigned long long)(tensor->out.n_elems - outcome->counts.n_delta_zero),
                       (unsigned long long)tensor->out.n_elems);
        text_make_printable(text);
        status = warn(run, text, error);
    }
    return status;
}

static enum llavamed_status finish_sources(struct merge_run *run, struct llavamed_error *error)
{
    void *scratch = malloc(FINISH_SCRATCH_BYTES);
    if (scratch == NULL) {
        return llavamed_fail_memory(error, FINISH_SCRATCH_BYTES, "checking what was not read");
    }
    enum llavamed_status status = source_finish(run->base, scratch, FINISH_SCRATCH_BYTES, error);
    if (status == LLAVAMED_OK) {
        status = source_finish(run->delta, scratch, FINISH_SCRATCH_BYTES, error);
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
        .outcome = &run->outcome,
        .base = describe_input(run, INPUT_BASE, digests),
        .delta = describe_input(run, INPUT_DELTA, digests + n_base),
        .options = {run->settings->dtype, run->settings->inv_freq, run->settings->max_shard_bytes},
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

static enum llavamed_status run_pipeline(struct merge_run *run, struct llavamed_error *error)
{
    struct pipeline_job job = {
        .plan = &run->plan,
        .base = run->base,
        .delta = run->delta,
        .directory = output_dir_partial(run->dir),
        .kernels = run->kernels,
        .geometry = run->geometry,
        .stop_signal = run->settings->stop_signal,
        .observer = run->observer,
    };
    enum llavamed_status status = pipeline_run(&job, &run->outcome, error);
    if (status == LLAVAMED_OK) {
        result_note_outcome(run->result, &run->plan, &run->outcome);
        status = finish_sources(run, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < run->plan.n_tensors; i++) {
        status = warn_of_tensor(run, i, error);
    }
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
        status = warn(run, text, error);
    }
    return status;
}

static enum llavamed_status work(struct merge_run *run, struct llavamed_error *error)
{
    bool removed_leftovers = false;
    enum llavamed_status status = output_dir_begin(run->dir, &removed_leftovers, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (removed_leftovers) {
        note(run, "%s: leftovers of an interrupted run removed", output_dir_partial(run->dir));
    }
    status = run_pipeline(run, error);
    if (status == LLAVAMED_OK) {
        status = write_documents(run, error);
    }
    if (status == LLAVAMED_OK && run->settings->verify == LLAVAMED_VERIFY_FULL) {
        struct hash_files_options options = {.n_threads = run->geometry.n_workers,
                                             .stop_signal = run->settings->stop_signal};
        note(run, "reading the output back from storage");
        status = hash_files_read_back(output_dir_partial(run->dir), &options, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_stop(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = publish(run, error);
    }
    if (status != LLAVAMED_OK) {
        struct llavamed_error abandoned;
        if (output_dir_abandon(run->dir, &abandoned) != LLAVAMED_OK) {
            (void)warn(run, abandoned.message, &abandoned);
        }
    }
    return status;
}

/* Looks, plans and checks; nothing is created. */
static enum llavamed_status prepare(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = prepare_machine(run, error);
    if (status == LLAVAMED_OK) {
        status = open_sources(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_output_dir(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = identify_recorded(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_base_signs(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = make_plan(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = prepare_documents(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_space(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = judge_content(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_stop(run, error);
    }
    run->result->plan_ns = clock_monotonic_ns() - run->started_ns;
    return status;
}

enum llavamed_status llavamed_merge(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                    struct llavamed_result *result, struct llavamed_error *error)
{
    struct merge_run run = {
        .settings = settings, .observer = observer, .result = result, .started_ns = clock_monotonic_ns()};
    memset(result, 0, sizeof *result);
    memset(error, 0, sizeof *error);
    enum llavamed_status status = prepare(&run, error);
    if (status == LLAVAMED_OK && !settings->dry_run) {
        status = verify_inputs(&run, error);
    }
    if (status == LLAVAMED_OK) {
        status = warn_of_unknown_base(&run, error);
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
