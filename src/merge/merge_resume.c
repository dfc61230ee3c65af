/* SPDX-License-Identifier: Apache-2.0 */
/* Going on where an interrupted run of the same command stopped, and leaving one so that a later run can. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/merge_part.h"
#include "merge/output_tidy.h"
#include "merge/part_files.h"
#include "merge/run_key.h"

static bool is_wanted(const struct plan *plan, const char *name)
{
    if (strcmp(name, OUTPUT_DIR_CLAIM_NAME) == 0 || strcmp(name, JOURNAL_FILE_NAME) == 0) {
        return true;
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        if (strcmp(name, plan->shards[i].name) == 0) {
            return true;
        }
    }
    return false;
}

/* Everything but the shards is made anew in no time. What cannot be removed is met when it is made. */
static enum llavamed_status remove_documents(const struct merge_run *run, struct llavamed_error *error)
{
    const char *partial = output_dir_partial(run->dir);
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(partial, &listing, error);
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY) {
        status = error->status = LLAVAMED_STATUS_OUT_UNWRITABLE; /* not an input; the message holds */
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        if (!is_wanted(&run->plan, listing.names[i])) {
            char *path = path_join(partial, listing.names[i]);
            status = run_guard_confirm(output_dir_guard(run->dir), error);
            if (path != NULL && status == LLAVAMED_OK) {
                (void)unlink(path);
            }
            free(path);
        }
    }
    directory_listing_deinit(&listing);
    return status;
}

/* Without -v and in --json too; but not in the manifest: what becomes of OUT does not depend on it. */
static enum llavamed_status tell_start_over(struct merge_run *run, const char *reason, struct llavamed_error *error)
{
    char text[MERGE_REMARK_BYTES + sizeof "starting over: "];
    (void)snprintf(text, sizeof text, "starting over: %s", reason);
    run->result->started_over = strdup(reason);
    merge_tell_warning(run, text);
    return run->result->started_over != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, strlen(reason), "a message");
}

/* A run that died before it had a journal left nothing but claims. */
static bool has_only_claims(const char *directory)
{
    struct directory_listing listing = {0};
    bool only = directory_list(directory, &listing, NULL) == LLAVAMED_OK;
    for (size_t i = 0; only && i < listing.n_names; i++) {
        only = strncmp(listing.names[i], OUTPUT_DIR_CLAIM_PREFIX, sizeof OUTPUT_DIR_CLAIM_PREFIX - 1) == 0;
    }
    directory_listing_deinit(&listing);
    return only;
}

/* Removes what an interrupted run has left. A large one takes long: what is not gone at a signal stays. */
static enum llavamed_status clear(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = run->part != NULL ? merge_part_clear(run, run->settings->stop_signal, error)
                                                    : output_dir_empty(run->dir, error);
    run->is_half_cleared = status == LLAVAMED_STATUS_INTERRUPTED;
    return status;
}

/* Of no use to this run, as `found` says. */
static enum llavamed_status start_over(struct merge_run *run, const struct journal_found *found,
                                       struct llavamed_error *error)
{
    char reason[MERGE_REMARK_BYTES];
    bool has_nothing =
        run->part != NULL ? !merge_part_has_shards(run) : has_only_claims(output_dir_partial(run->dir));
    if (found->state == JOURNAL_MISSING && has_nothing) {
        return LLAVAMED_OK;
    }
    switch (found->state) {
    case JOURNAL_DIFFERENT:
        (void)snprintf(reason, sizeof reason, "%s changed since the interrupted run",
                       found->part == JOURNAL_DELTA && run->batch->operation == PLAN_MAKE_DELTA
                           ? "the target"
                           : journal_part_text(found->part));
        break;
    case JOURNAL_MISSING:
        (void)snprintf(reason, sizeof reason, "the interrupted run left no journal");
        break;
    case JOURNAL_DAMAGED:
    case JOURNAL_SAME:
    default:
        (void)snprintf(reason, sizeof reason, "the interrupted run left a damaged journal");
        break;
    }
    enum llavamed_status status = tell_start_over(run, reason, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    return clear(run, error);
}

/* Takes over the journal of the run that stopped, when it was of the same command; else says why not. */
static enum llavamed_status continue_journal(struct merge_run *run, const struct journal_key *key,
                                             struct llavamed_error *error)
{
    const struct plan *plan = run->work;
    uint64_t *n_elems = calloc(plan->n_tensors + 1, sizeof *n_elems);
    if (n_elems == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *n_elems, "a journal");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        n_elems[i] = plan->tensors[i].out.n_elems;
    }
    const struct journal_bounds bounds = {n_elems, plan->n_tensors};
    struct journal_found found = {0};
    enum llavamed_status status = journal_continue(run->journal_path, key, &bounds, &found, error);
    free(n_elems);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (found.state != JOURNAL_SAME) {
        return start_over(run, &found, error);
    }
    const struct journal_entry *entries;
    const size_t n_tiles = journal_entries(found.journal, &entries);
    run->journal = found.journal;
    run->continues = true;
    merge_note(run, "going on with an interrupted run: %zu tiles are written", n_tiles);
    merge_tell_step(run, &(struct llavamed_step_report){.step = LLAVAMED_STEP_RESUMED, .n_tiles = n_tiles});
    return run->part != NULL ? LLAVAMED_OK : remove_documents(run, error);
}

static enum llavamed_status name_journal(struct merge_run *run, struct llavamed_error *error)
{
    char of_part[PART_NAME_BYTES];
    if (run->part != NULL) {
        part_journal_name(run->part->part, run->part->n_parts, of_part);
    }
    run->journal_path = path_join(output_dir_partial(run->dir), run->part != NULL ? of_part : JOURNAL_FILE_NAME);
    run->journal_beside = output_beside(output_dir_partial(run->dir), JOURNAL_BESIDE_SUFFIX);
    return run->journal_path != NULL && run->journal_beside != NULL
               ? LLAVAMED_OK
               : llavamed_fail_memory(error, sizeof JOURNAL_FILE_NAME, "a path");
}

static bool have_one_owner(const char *a, const char *b)
{
    struct stat info_a;
    struct stat info_b;
    return lstat(a, &info_a) == 0 && lstat(b, &info_b) == 0 && info_a.st_uid == info_b.st_uid;
}

/* The journal of a run that died while it published lies beside OUT. A name that somebody else uses is left alone. */
static enum llavamed_status fetch_journal(const struct merge_run *run, bool wanted, struct llavamed_error *error)
{
    if (run->part != NULL || !journal_is_at(run->journal_beside) ||
        !have_one_owner(run->journal_beside, output_dir_partial(run->dir))) {
        return LLAVAMED_OK;
    }
    bool is_there = journal_is_at(run->journal_path);
    enum llavamed_status status = run_guard_confirm(output_dir_guard(run->dir), error);
    if (status == LLAVAMED_OK && (!wanted || is_there || rename(run->journal_beside, run->journal_path) != 0)) {
        (void)unlink(run->journal_beside);
    }
    return status;
}

enum llavamed_status merge_begin_output(struct merge_run *run, struct llavamed_error *error)
{
    /* What an interrupted run has written was added then, and nobody noted how large the delta was. */
    bool resume = !run->settings->no_resume && !run->settings->tensor_reports;
    bool had_leftovers = false;
    struct journal_key key;
    const struct plan_options options = merge_plan_options(run);
    const struct run_key_input input = {LLAVAMED_VERSION, &options, run->base, run->delta, run->work,
                                         run->hashes};
    enum llavamed_status status = run_key_fill(&input, &key, error);
    if (status == LLAVAMED_OK) {
        /* What other parts have made stays in any case. */
        status = output_dir_begin(run->dir, resume || run->part != NULL, &had_leftovers, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    run->began = true;
    if (output_dir_kept(run->dir) != NULL) {
        merge_note(run, "%s: what an interrupted run had replaced is kept here", output_dir_kept(run->dir));
    }
    status = name_journal(run, error);
    if (status == LLAVAMED_OK) {
        status = fetch_journal(run, had_leftovers && resume, error);
    }
    if (status == LLAVAMED_OK) {
        /* A power failure may keep files of a directory and lose others: never the claim alone, or none could go on. */
        status = directory_sync(output_dir_partial(run->dir), error);
    }
    if (status == LLAVAMED_OK) {
        /* That may have taken long. What follows changes the journal, in place or by making it anew. */
        status = output_dir_check_claim(run->dir, error);
    }
    if (status == LLAVAMED_OK && run->part != NULL) {
        status = merge_part_enter(run, error);
        if (status == LLAVAMED_OK && !resume) {
            status = clear(run, error);
        }
        had_leftovers = resume;
    }
    if (status == LLAVAMED_OK && had_leftovers && resume) {
        status = continue_journal(run, &key, error);
    } else if (status == LLAVAMED_OK && had_leftovers) {
        merge_note(run, "%s: leftovers of an interrupted run removed", output_dir_partial(run->dir));
    }
    if (status == LLAVAMED_OK && run->journal == NULL) {
        status = journal_create(run->journal_path, &key, &run->journal, error);
    }
    return status;
}

enum llavamed_status merge_move_journal(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = journal_sync(run->journal, error);
    if (status == LLAVAMED_OK) {
        status = output_dir_check_claim(run->dir, error); /* the last thing before the file moves */
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct stat info;
    bool is_free = lstat(run->journal_beside, &info) != 0 || journal_is_at(run->journal_beside);
    int result = is_free ? rename(run->journal_path, run->journal_beside) : unlink(run->journal_path);
    run->journal_moved = is_free && result == 0;
    return result == 0 ? LLAVAMED_OK
                       : llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot be moved away",
                                             run->journal_path);
}

void merge_end_journal(struct merge_run *run)
{
    journal_close(run->journal);
    run->journal = NULL;
    if (run->journal_moved && !output_dir_has_successor(run->dir)) {
        (void)unlink(run->journal_beside);
    }
}

void merge_resume_deinit(struct merge_run *run)
{
    free(run->journal_path);
    free(run->journal_beside);
}

/*
 * Exit statuses after which the same command may succeed: the output cannot be written now, an I/O error, a signal. An
 * input that changed makes what is written useless.
 */
static bool can_be_continued(const struct llavamed_error *error)
{
    int exit_status = llavamed_exit_status(error);
    return (exit_status == 5 || exit_status == 6 || exit_status > 128) &&
           error->status != LLAVAMED_STATUS_INPUT_CHANGED;
}

void merge_give_up(struct merge_run *run, const struct llavamed_error *error)
{
    struct llavamed_error ignored = {0};
    bool has_journal = run->journal != NULL;
    bool keep = run->is_half_cleared || (can_be_continued(error) && has_journal);
    if (keep && has_journal && journal_sync(run->journal, &ignored) != LLAVAMED_OK) {
        /* What is not on storage is computed again, should it be lost. */
        merge_note(run, "%s", ignored.message);
    }
    if (has_journal) {
        (void)!fetch_journal(run, true, &ignored);
    }
    journal_close(run->journal);
    run->journal = NULL;
    if (!keep && run->part != NULL && merge_part_clear(run, NULL, &ignored) != LLAVAMED_OK) {
        merge_note(run, "%s", ignored.message); /* another run's by now */
    }
    if (keep) {
        output_dir_leave(run->dir);
    } else if (output_dir_abandon(run->dir, &ignored) != LLAVAMED_OK) {
        (void)merge_warn(run, ignored.message, &ignored);
    }
}

/* ---- The heartbeat of the claim ---- */

static void beat_and_tell(void *context, const struct llavamed_progress *progress)
{
    const struct merge_run *run = context;
    const struct merge_batch *batch = run->batch;
    for (size_t i = 0; i < batch->n_runs; i++) {
        if (batch->runs[i].began) {
            (void)output_dir_beat(batch->runs[i].dir); /* a claim that is lost is met when OUT is published */
        }
    }
    if (run->observer != NULL && run->observer->progress != NULL) {
        struct llavamed_progress all = *progress;
        if (progress->check == NULL) {
            all.done_bytes += batch->bytes_before;
            all.total_bytes = batch->bytes_total;
        }
        run->observer->progress(run->observer->context, &all);
    }
}

static void tell_shard(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    const struct merge_run *run = context;
    const struct merge_batch *batch = run->batch;
    (void)n_shards; /* of this pass */
    if (run->observer == NULL || run->observer->shard_done == NULL) {
        return;
    }
    struct llavamed_shard_report report = *shard;
    char *name = batch->n_runs > 1 ? path_join(run->settings->out, shard->name) : NULL;
    report.name = name != NULL ? name : report.name;
    run->observer->shard_done(run->observer->context, &report, batch->shards_before + n_done, batch->shards_total);
    free(name);
}

/* What the pipeline tells: a shard that is begun. */
static void tell_step(void *context, const struct llavamed_step_report *report)
{
    const struct merge_run *run = context;
    struct llavamed_step_report full = *report;
    struct llavamed_shard_report shard = *report->shard;
    char *name = run->batch->n_runs > 1 ? path_join(run->settings->out, shard.name) : NULL;
    shard.name = name != NULL ? name : shard.name;
    full.shard = &shard;
    merge_tell_step(run, &full);
    free(name);
}

void merge_watch_init(struct merge_run *run)
{
    run->watch = (struct llavamed_observer){
        .context = run, .progress = beat_and_tell, .shard_done = tell_shard, .step = tell_step};
}
