/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps, each of which a later run can go on from when this one dies:
 *
 *   claim OUT.partial, as a whole run does, and look that no part is at work there
 *   read all records, and write their lines to one file; from then on that is what counts
 *   look again that no part is at work, then remove what else the parts left, and what an earlier attempt made
 *   look that all files are what is recorded of them; if not, make records of that one file again, to be run anew
 *   write the documents
 *   move that file beside OUT, publish as a whole run does, remove it
 */
#include "merge/merge_finish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/cpus.h"
#include "core/stop_signal.h"
#include "io/directory.h"
#include "merge/hash_files.h"
#include "merge/key_file.h"
#include "merge/output_dir.h"
#include "merge/output_tidy.h"
#include "merge/own_output.h"
#include "merge/part_files.h"
#include "merge/part_set.h"
#include "merge/result.h"
#include "merge/signature_file.h"
#include "merge/tensor_warnings.h"

struct finish {
    const struct finish_job *job;
    struct llavamed_result *result;
    struct output_dir *dir;
    struct part_set set;
    char *all;    /* owned: the file of all lines in OUT.partial */
    char *beside; /* owned: and beside OUT */
    bool began;
    bool moved; /* it is beside OUT, put there by this run */
    struct llavamed_observer watch;
};

/* ---- While it works ---- */

static void beat_and_tell(void *context, const struct llavamed_progress *progress)
{
    const struct finish *finish = context;
    const struct llavamed_observer *observer = finish->job->observer;
    if (finish->began) {
        (void)output_dir_beat(finish->dir); /* a claim that is lost is met when OUT is published */
    }
    if (observer != NULL && observer->progress != NULL) {
        observer->progress(observer->context, progress);
    }
}

static void note(const struct finish *finish, const char *text)
{
    const struct llavamed_observer *observer = finish->job->observer;
    if (observer != NULL && observer->note != NULL) {
        observer->note(observer->context, text);
    }
}

static enum llavamed_status check_stop(const struct finish *finish, struct llavamed_error *error)
{
    return stop_signal_check(finish->job->stop_signal, error);
}

/* ---- What the parts found ---- */

static enum llavamed_status note_warning(const struct finish *finish, const char *text, struct llavamed_error *error)
{
    const struct llavamed_observer *observer = finish->job->observer;
    if (observer != NULL && observer->warning != NULL) {
        observer->warning(observer->context, text);
    }
    return result_add_warning(finish->result, text, error);
}

/* All warnings of a whole run, in its order. */
static enum llavamed_status note_warnings(const struct finish *finish, const char *const identities[INPUT_ROLES],
                                          struct llavamed_error *error)
{
    const struct part_set *set = &finish->set;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < set->plan.n_warnings; i++) {
        status = note_warning(finish, set->plan.warnings[i], error);
    }
    if (status == LLAVAMED_OK && identities[INPUT_BASE] == NULL) {
        status = note_warning(finish, unknown_base_warning(PLAN_MERGE), error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < set->plan.plan.n_tensors; i++) {
        char texts[TENSOR_WARNINGS_MAX][TENSOR_WARNING_BYTES];
        size_t n = tensor_warnings(&set->plan.plan, i, &set->outcome.tensors[i], set->plan.plan.tensors[i].out.dtype,
                                   texts);
        for (size_t k = 0; status == LLAVAMED_OK && k < n; k++) {
            status = note_warning(finish, texts[k], error);
        }
    }
    return status;
}

static enum llavamed_status note_all(const struct finish *finish, const char *identities[INPUT_ROLES],
                                     struct llavamed_error *error)
{
    const struct part_set *set = &finish->set;
    enum llavamed_status status = result_note_plan(finish->result, &set->plan.plan, error);
    if (status == LLAVAMED_OK) {
        status = result_note_outcome(finish->result, &set->plan.plan, &set->outcome, error);
    }
    identities[INPUT_BASE] = identities[INPUT_DELTA] = NULL;
    if (status == LLAVAMED_OK && set->plan.facts.verify != LLAVAMED_VERIFY_NONE) {
        status = input_hashes_identify(set->hashes, identities, error);
    }
    return status == LLAVAMED_OK ? note_warnings(finish, identities, error) : status;
}

/* ---- Documents ---- */

static struct documents_input describe_input(const struct part_set *set, enum input_role role, const char *identity,
                                             struct documents_digest *digests)
{
    const struct part_plan_input *input = &set->plan.inputs[role];
    for (size_t i = 0; i < input->n_files; i++) {
        digests[i].sha256 = input_hashes_weights(set->hashes, role, i, &digests[i].computed);
    }
    return (struct documents_input){
        .format = input->format,
        .files = input->files,
        .n_files = input->n_files,
        .identity = identity,
        .digests = digests,
        .n_tensors = input->n_tensors,
        .crc_checked = set->plan.facts.verify != LLAVAMED_VERIFY_NONE,
    };
}

static enum llavamed_status write_documents(struct finish *finish, const char *const identities[INPUT_ROLES],
                                            struct llavamed_error *error)
{
    struct part_set *set = &finish->set;
    size_t n_base = set->plan.inputs[INPUT_BASE].n_files;
    size_t n_digests = n_base + set->plan.inputs[INPUT_DELTA].n_files;
    struct documents_digest *digests = calloc(n_digests + 1, sizeof *digests);
    if (digests == NULL) {
        return llavamed_fail_memory(error, n_digests * sizeof *digests, "the list of digests");
    }
    const struct documents_job job = {
        .directory = output_dir_partial(finish->dir),
        .guard = output_dir_guard(finish->dir),
        .stop_signal = finish->job->stop_signal,
        .outcome = &set->outcome,
        .base = describe_input(set, INPUT_BASE, identities[INPUT_BASE], digests),
        .delta = describe_input(set, INPUT_DELTA, identities[INPUT_DELTA], digests + n_base),
        .options = set->plan.facts.options,
        .warnings = finish->result->warnings,
        .n_warnings = finish->result->n_warnings,
        .signing_key = finish->job->signing_key,
        .model_name = output_dir_name(finish->dir),
    };
    struct documents_result written = {0};
    enum llavamed_status status = documents_write_made(&set->plan.plan, &job, &set->documents, &written, error);
    free(digests);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct llavamed_result *result = finish->result;
    result->written_bytes = written.written_bytes;
    memcpy(result->signed_sha256, written.subject_sha256, sizeof result->signed_sha256);
    result->manifest_sha256 = strdup(written.manifest_sha256);
    return result->manifest_sha256 != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, SHA256_HEX_BYTES, "a digest");
}

/* All but the shards, which the parts have read back. */
static enum llavamed_status read_back(const struct finish *finish, struct llavamed_error *error)
{
    const struct plan *plan = &finish->set.plan.plan;
    const struct hash_files_options options = {.n_threads = finish->job->n_threads,
                                               .stop_signal = finish->job->stop_signal,
                                               .observer = &finish->watch,
                                               .check = "the output, read back"};
    const char **shards = calloc(plan->n_shards + 1, sizeof *shards);
    if (shards == NULL) {
        return llavamed_fail_memory(error, plan->n_shards * sizeof *shards, "the list of shards");
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        shards[i] = plan->shards[i].name;
    }
    const struct hash_files_names skipped = {shards, plan->n_shards};
    enum llavamed_status status = hash_files_read_back(output_dir_partial(finish->dir), &skipped, &options, error);
    free(shards);
    return status;
}

/* ---- What the parts left ---- */

static bool is_kept(const struct part_set *set, const char *name)
{
    (void)set;
    return strcmp(name, OUTPUT_DIR_CLAIM_NAME) == 0 || strcmp(name, PART_ALL_NAME) == 0;
}

static bool is_wanted(const struct part_set *set, const char *name)
{
    return is_kept(set, name) || part_set_has_file(set, name);
}

/* What cannot be removed is met when OUT is published. */
static enum llavamed_status remove_rest(const struct finish *finish,
                                        bool (*stays)(const struct part_set *set, const char *name),
                                        struct llavamed_error *error)
{
    const char *partial = output_dir_partial(finish->dir);
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(partial, &listing, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = error->status = LLAVAMED_STATUS_OUT_UNWRITABLE; /* not an input; the message holds */
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        if (!stays(&finish->set, listing.names[i])) {
            char *path = path_join(partial, listing.names[i]);
            status = run_guard_confirm(output_dir_guard(finish->dir), error);
            if (path != NULL && status == LLAVAMED_OK) {
                (void)unlink(path);
            }
            free(path);
        }
    }
    directory_listing_deinit(&listing);
    return status;
}

/* One file in place of all others: whole, or else they are still there. */
static enum llavamed_status collect(const struct finish *finish, struct llavamed_error *error)
{
    enum llavamed_status status = part_file_write(output_dir_partial(finish->dir), PART_ALL_NAME,
                                                  output_dir_guard(finish->dir), finish->set.text,
                                                  finish->set.n_bytes, error);
    if (status == LLAVAMED_OK) {
        /* Whoever has come while this run stood still does not know of that file. */
        status = output_dir_check_alone(finish->dir, error);
    }
    return status == LLAVAMED_OK ? remove_rest(finish, is_wanted, error) : status;
}

static bool is_plain_file(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* Of a run that died while it published: what it moved beside OUT comes back. */
static enum llavamed_status fetch_all(const struct finish *finish, struct llavamed_error *error)
{
    if (!part_all_is_at(finish->beside)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = run_guard_confirm(output_dir_guard(finish->dir), error);
    if (status == LLAVAMED_OK && (is_plain_file(finish->all) || rename(finish->beside, finish->all) != 0)) {
        (void)unlink(finish->beside);
    }
    return status;
}

/*
 * With --force, of a run that died right after it had exchanged OUT and its predecessor: OUT is what the parts made,
 * and what came to be OUT.partial again is what was replaced. The file of all lines goes last, by which that is known.
 */
static enum llavamed_status remove_replaced(struct finish *finish, struct llavamed_error *error)
{
    enum llavamed_status status = remove_rest(finish, is_kept, error);
    if (status == LLAVAMED_OK) {
        status = output_dir_abandon(finish->dir, error);
    }
    finish->result->is_published = status == LLAVAMED_OK;
    finish->result->was_published = status == LLAVAMED_OK;
    return status;
}

/* Whether the files of OUT, and not only its sums, are what the parts made. */
static enum llavamed_status is_out_proved(const struct finish *finish, const struct hash_files_options *options,
                                          bool *is_proved, struct llavamed_error *error)
{
    if (!part_set_is_published(&finish->set, finish->job->out)) {
        return LLAVAMED_OK;
    }
    bool *damaged = calloc(finish->set.plan.facts.n_parts + 1, sizeof *damaged);
    if (damaged == NULL) {
        return llavamed_fail_memory(error, finish->set.plan.facts.n_parts, "the list of parts");
    }
    enum llavamed_status status = part_set_prove_files(&finish->set, finish->job->out, options, damaged, error);
    free(damaged);
    *is_proved = status == LLAVAMED_OK;
    return status == LLAVAMED_STATUS_PARTS_DIFFER ? LLAVAMED_OK : status;
}

/*
 * Files differ from their records. When OUT is what the parts made, OUT.partial is what it has replaced; else the parts
 * whose files they are have to be run again, which they can as soon as there are records.
 */
static enum llavamed_status refuse_files(struct finish *finish, const struct hash_files_options *options,
                                         const bool *damaged, struct llavamed_error *error)
{
    struct llavamed_error failure = {0};
    bool is_published = false;
    enum llavamed_status status = is_out_proved(finish, options, &is_published, &failure);
    if (status != LLAVAMED_OK) {
        *error = failure;
        return status;
    }
    if (is_published) {
        return remove_replaced(finish, error);
    }
    if (part_all_is_at(finish->all) &&
        part_set_take_apart(&finish->set, output_dir_partial(finish->dir), output_dir_guard(finish->dir), damaged,
                            &failure) != LLAVAMED_OK) {
        *error = failure;
    }
    return error->status;
}

/*
 * Whether the files are those that their parts told of, once no part touches them any more: one that died since may
 * have left less. Also OK when OUT is published already; finish->result tells.
 */
static enum llavamed_status prove_files(struct finish *finish, struct llavamed_error *error)
{
    const struct hash_files_options options = {.n_threads = finish->job->n_threads,
                                               .stop_signal = finish->job->stop_signal,
                                               .observer = &finish->watch,
                                               .check = "files that were touched since their parts were done"};
    bool *damaged = calloc(finish->set.plan.facts.n_parts + 1, sizeof *damaged);
    if (damaged == NULL) {
        return llavamed_fail_memory(error, finish->set.plan.facts.n_parts, "the list of parts");
    }
    enum llavamed_status status =
        part_set_prove_files(&finish->set, output_dir_partial(finish->dir), &options, damaged, error);
    if (status == LLAVAMED_STATUS_PARTS_DIFFER) {
        status = refuse_files(finish, &options, damaged, error);
    }
    free(damaged);
    return status;
}

/* A look at the sizes alone, before anything is changed. */
static enum llavamed_status check_files(struct finish *finish, struct llavamed_error *error)
{
    struct llavamed_error first = {0};
    enum llavamed_status status = part_set_check_files(&finish->set, output_dir_partial(finish->dir), &first);
    if (status == LLAVAMED_OK) {
        return status;
    }
    if (status == LLAVAMED_STATUS_PARTS_DIFFER) {
        status = prove_files(finish, error);
        if (status != LLAVAMED_OK || finish->result->is_published) {
            return status;
        }
        /* They have become right meanwhile: somebody is at work there. */
    }
    *error = first;
    return first.status;
}

/* ---- Publishing ---- */

static enum llavamed_status publish(struct finish *finish, struct llavamed_error *error)
{
    bool old_left = false;
    enum llavamed_status status = check_stop(finish, error);
    if (status == LLAVAMED_OK) {
        status = output_dir_check_claim(finish->dir, error); /* the last thing before the file moves */
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (rename(finish->all, finish->beside) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot be moved away",
                                   finish->all);
    }
    finish->moved = true;
    status = output_dir_publish(finish->dir, &old_left, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    finish->result->is_published = true;
    if (!output_dir_has_successor(finish->dir)) {
        (void)unlink(finish->beside);
        output_tidy(finish->job->out); /* of what runs left that were killed while they looked at this one */
    }
    if (old_left) {
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s", error->message);
        (void)note_warning(finish, text, error); /* told in any case; OUT is there */
    }
    return status;
}

static enum llavamed_status work(struct finish *finish, struct llavamed_error *error)
{
    const char *identities[INPUT_ROLES] = {0};
    enum llavamed_status status = fetch_all(finish, error);
    if (status == LLAVAMED_OK) {
        part_set_deinit(&finish->set); /* what was read before the directory was claimed is of no account */
        status = part_set_read(output_dir_partial(finish->dir), finish->beside, finish->job->stop_signal, &finish->set,
                               error);
    }
    if (status == LLAVAMED_OK) {
        status = check_files(finish, error);
    }
    if (status == LLAVAMED_OK && !finish->result->is_published) {
        status = note_all(finish, identities, error);
        if (status == LLAVAMED_OK) {
            status = collect(finish, error);
        }
        if (status == LLAVAMED_OK) {
            status = prove_files(finish, error);
        }
    }
    if (status != LLAVAMED_OK || finish->result->is_published) {
        return status;
    }
    status = write_documents(finish, identities, error);
    if (status == LLAVAMED_OK && finish->set.plan.facts.verify == LLAVAMED_VERIFY_FULL) {
        status = read_back(finish, error);
    }
    return status == LLAVAMED_OK ? publish(finish, error) : status;
}

/* OUT is there, whole, and nothing beside it: there is nothing to do. */
static enum llavamed_status take_published(const struct finish *finish, struct llavamed_error *error)
{
    bool is_signed = true;
    enum llavamed_status status = signature_file_look(finish->job->out, finish->job->signing_key, &is_signed, error);
    if (status == LLAVAMED_OK && !is_signed) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS,
                               "%s: is published already, without a signature by this key", finish->job->out);
        llavamed_hint(error, "with --no-finish no part publishes, so that --finish --sign can");
    }
    if (status == LLAVAMED_OK) {
        output_tidy(finish->job->out);
        finish->result->is_published = true;
        finish->result->was_published = true;
        note(finish, "it is published and complete already");
    }
    return status;
}

/* The claim goes, everything else stays as it is for the next attempt. */
static void give_up(struct finish *finish, struct llavamed_error *error)
{
    (void)output_dir_explain(finish->dir, error);
    if (finish->moved && output_dir_check_claim(finish->dir, NULL) == LLAVAMED_OK &&
        rename(finish->beside, finish->all) == 0) {
        finish->moved = false;
    }
    output_dir_leave(finish->dir);
}

static enum llavamed_status claim_and_work(struct finish *finish, struct llavamed_error *error)
{
    enum llavamed_status status = output_dir_begin(finish->dir, true, NULL, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    finish->began = true;
    status = work(finish, error);
    if (output_dir_kept(finish->dir) != NULL) {
        char text[LLAVAMED_MESSAGE_BYTES];
        (void)snprintf(text, sizeof text, "%s: what an interrupted run had replaced is kept here",
                       output_dir_kept(finish->dir));
        (void)note_warning(finish, text, &(struct llavamed_error){0});
    }
    if (status != LLAVAMED_OK) {
        give_up(finish, error);
        status = error->status;
    } else if (finish->result->was_published) {
        status = take_published(finish, error);
    }
    return status;
}

/*
 * There are no parts, but OUT is whole: of a run that died when it had nothing left to remove but its claim. When that
 * is all there is, it goes.
 */
static void remove_claim(struct finish *finish)
{
    struct directory_listing listing = {0};
    struct llavamed_error ignored = {0};
    bool only_claims = directory_list(output_dir_partial(finish->dir), &listing, NULL) == LLAVAMED_OK;
    for (size_t i = 0; only_claims && i < listing.n_names; i++) {
        only_claims = strncmp(listing.names[i], OUTPUT_DIR_CLAIM_PREFIX, sizeof OUTPUT_DIR_CLAIM_PREFIX - 1) == 0;
    }
    directory_listing_deinit(&listing);
    if (only_claims && own_output_check(finish->job->out, finish->job->out, true, NULL) == LLAVAMED_OK &&
        output_dir_begin(finish->dir, true, NULL, &ignored) == LLAVAMED_OK) {
        (void)!output_dir_abandon(finish->dir, &ignored);
    }
}

enum llavamed_status merge_finish(const struct finish_job *job, struct llavamed_result *result,
                                  struct llavamed_error *error)
{
    static const struct output_dir_work finishing = {.mode = OUTPUT_DIR_FINISH, .n_parts = 1};
    struct finish finish = {.job = job, .result = result};
    uint64_t started_ns = clock_monotonic_ns();
    if (output_is_published(job->out)) {
        return take_published(&finish, error);
    }
    if (!job->dry_run) {
        output_tidy_parts(job->out);
    }
    finish.watch = (struct llavamed_observer){.context = &finish, .progress = beat_and_tell};
    enum llavamed_status status = output_dir_open_for(&finishing, job->out, job->force, NULL, 0, &finish.dir, error);
    if (status == LLAVAMED_OK) {
        output_dir_heed(finish.dir, job->stop_signal);
        finish.all = path_join(output_dir_partial(finish.dir), PART_ALL_NAME);
        finish.beside = output_beside(output_dir_partial(finish.dir), OUTPUT_DIR_PARTS_SUFFIX);
        if (finish.all == NULL || finish.beside == NULL) {
            status = llavamed_fail_memory(error, sizeof PART_ALL_NAME, "a path");
        }
    }
    /* Before anything is claimed: most often it is only asked for too early. */
    if (status == LLAVAMED_OK) {
        status = part_set_read(output_dir_partial(finish.dir), finish.beside, job->stop_signal, &finish.set, error);
        result->n_parts = finish.set.plan.facts.n_parts;
        result->n_parts_missing = finish.set.n_missing;
        result->parts_missing = finish.set.missing;
        finish.set.missing = NULL;
    }
    if (status == LLAVAMED_STATUS_PARTS_MISSING && result->n_parts == 0 && !job->dry_run) {
        remove_claim(&finish);
    }
    if (status == LLAVAMED_OK && !job->dry_run) {
        status = claim_and_work(&finish, error);
    } else if (status == LLAVAMED_OK) {
        status = result_note_plan(result, &finish.set.plan.plan, error);
    }
    if (status != LLAVAMED_OK && output_is_published(job->out)) {
        memset(error, 0, sizeof *error); /* by another run meanwhile, or by mending what a dead one had begun */
        status = take_published(&finish, error);
    }
    if (job->signing_key != NULL) {
        memcpy(result->signing_key_sha256, ec_key_hint(job->signing_key), SHA256_HEX_BYTES);
    }
    result->total_ns = clock_monotonic_ns() - started_ns;
    part_set_deinit(&finish.set);
    output_dir_free(finish.dir);
    free(finish.all);
    free(finish.beside);
    return status;
}

enum llavamed_status llavamed_finish(const struct llavamed_settings *settings, const struct llavamed_observer *observer,
                                     struct llavamed_result *result, struct llavamed_error *error)
{
    struct ec_key *key = NULL;
    struct finish_job job = {
        .out = settings->out,
        .force = settings->force,
        .dry_run = settings->dry_run,
        .n_threads = settings->n_threads != 0 ? settings->n_threads : cpus_usable(),
        .observer = observer,
        .stop_signal = settings->stop_signal,
    };
    memset(error, 0, sizeof *error);
    *result = (struct llavamed_result){.n_threads = job.n_threads};
    enum llavamed_status status = settings->out != NULL
                                      ? LLAVAMED_OK
                                      : llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no out is given");
    if (status == LLAVAMED_OK && settings->sign != NULL) {
        status = key_file_read_private(settings->sign, &key, error);
    }
    if (status == LLAVAMED_OK) {
        job.signing_key = key;
        status = merge_finish(&job, result, error);
    }
    ec_key_free(key);
    if (status == LLAVAMED_OK) {
        memset(error, 0, sizeof *error);
    }
    return status;
}
