/* SPDX-License-Identifier: Apache-2.0 */
/* Going on where an interrupted run of the same command stopped, and leaving one so that a later run can. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/directory.h"
#include "merge/merge_run.h"
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
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        if (!is_wanted(&run->plan, listing.names[i])) {
            char *path = path_join(partial, listing.names[i]);
            if (path != NULL) {
                (void)unlink(path);
            }
            free(path);
        }
    }
    directory_listing_deinit(&listing);
    return status;
}

/* Takes over the journal of the run that stopped, when it was of the same command; else says why not. */
static enum llavamed_status continue_journal(struct merge_run *run, const char *path, const struct journal_key *key,
                                             struct llavamed_error *error)
{
    uint64_t *n_elems = calloc(run->plan.n_tensors + 1, sizeof *n_elems);
    if (n_elems == NULL) {
        return llavamed_fail_memory(error, run->plan.n_tensors * sizeof *n_elems, "a journal");
    }
    for (size_t i = 0; i < run->plan.n_tensors; i++) {
        n_elems[i] = run->plan.tensors[i].out.n_elems;
    }
    const struct journal_bounds bounds = {n_elems, run->plan.n_tensors};
    struct journal_found found = {0};
    enum llavamed_status status = journal_continue(path, key, &bounds, &found, error);
    free(n_elems);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (found.state == JOURNAL_SAME) {
        const struct journal_entry *entries;
        run->journal = found.journal;
        run->continues = true;
        merge_note(run, "going on with an interrupted run: %zu tiles are written",
                   journal_entries(found.journal, &entries));
        return remove_documents(run, error);
    }
    if (found.state == JOURNAL_DIFFERENT) {
        merge_note(run, "starting over: %s changed since the interrupted run", journal_part_text(found.part));
    } else {
        merge_note(run, "starting over: the interrupted run left %s",
                   found.state == JOURNAL_MISSING ? "no journal" : "a damaged journal");
    }
    return output_dir_empty(run->dir, error);
}

enum llavamed_status merge_begin_output(struct merge_run *run, struct llavamed_error *error)
{
    bool resume = !run->settings->no_resume;
    bool had_leftovers = false;
    struct journal_key key;
    const struct plan_options options = merge_plan_options(run->settings);
    const struct run_key_input input = {LLAVAMED_VERSION, &options, run->base, run->delta, &run->plan};
    enum llavamed_status status = run_key_fill(&input, &key, error);
    if (status == LLAVAMED_OK) {
        status = output_dir_begin(run->dir, resume, &had_leftovers, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    run->began = true;
    char *path = path_join(output_dir_partial(run->dir), JOURNAL_FILE_NAME);
    if (path == NULL) {
        return llavamed_fail_memory(error, sizeof JOURNAL_FILE_NAME, "a path");
    }
    if (had_leftovers && resume) {
        status = continue_journal(run, path, &key, error);
    } else if (had_leftovers) {
        merge_note(run, "%s: leftovers of an interrupted run removed", output_dir_partial(run->dir));
    }
    if (status == LLAVAMED_OK && run->journal == NULL) {
        status = journal_create(path, &key, &run->journal, error);
    }
    free(path);
    return status;
}

enum llavamed_status merge_end_journal(struct merge_run *run, struct llavamed_error *error)
{
    journal_close(run->journal);
    run->journal = NULL;
    char *path = path_join(output_dir_partial(run->dir), JOURNAL_FILE_NAME);
    if (path == NULL) {
        return llavamed_fail_memory(error, sizeof JOURNAL_FILE_NAME, "a path");
    }
    int result = unlink(path);
    enum llavamed_status status =
        result == 0 ? LLAVAMED_OK
                    : llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE, "%s: cannot be removed", path);
    free(path);
    return status;
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
    bool keep = can_be_continued(error) && run->journal != NULL;
    if (keep && journal_sync(run->journal, &ignored) != LLAVAMED_OK) {
        /* What is not on storage is computed again, should it be lost. */
        merge_note(run, "%s", ignored.message);
    }
    journal_close(run->journal);
    run->journal = NULL;
    if (keep) {
        output_dir_leave(run->dir);
    } else if (output_dir_abandon(run->dir, &ignored) != LLAVAMED_OK) {
        (void)merge_warn(run, ignored.message, &ignored);
    }
}

/* ---- The heartbeat of the claim ---- */

static void beat_and_tell(void *context, const struct llavamed_progress *progress)
{
    struct merge_run *run = context;
    if (run->began) {
        (void)output_dir_beat(run->dir); /* a claim that is lost is met when OUT is published */
    }
    if (run->observer != NULL && run->observer->progress != NULL) {
        run->observer->progress(run->observer->context, progress);
    }
}

static void tell_shard(void *context, const struct llavamed_shard_report *shard, size_t n_done, size_t n_shards)
{
    const struct merge_run *run = context;
    if (run->observer != NULL && run->observer->shard_done != NULL) {
        run->observer->shard_done(run->observer->context, shard, n_done, n_shards);
    }
}

void merge_watch_init(struct merge_run *run)
{
    run->watch = (struct llavamed_observer){.context = run, .progress = beat_and_tell, .shard_done = tell_shard};
}
