/* SPDX-License-Identifier: Apache-2.0 */
/* What a part does in OUT.partial, from its claim to its record, and finishing when it was the last. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/stop_signal.h"
#include "io/directory.h"
#include "merge/merge_finish.h"
#include "merge/merge_part.h"
#include "merge/output_tidy.h"
#include "merge/part_files.h"

/* A part that is done is gone in no time; who finishes takes longer, and needs no help. */
#define FINISH_ATTEMPTS_MAX 15
#define FINISH_PAUSE_NS 200000000

/* `must`: it has to be gone, or else this fails. Other things that cannot be removed are met when they are made. */
static enum llavamed_status remove_named(const struct merge_run *run, const char *name, bool must,
                                         struct llavamed_error *error)
{
    char *path = path_join(output_dir_partial(run->dir), name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = run_guard_confirm(output_dir_guard(run->dir), error);
    if (status == LLAVAMED_OK && unlink(path) != 0 && errno != ENOENT && must) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove", path);
    }
    free(path);
    return status;
}

/* A record that stays would tell that shards are done which are being made anew. */
static enum llavamed_status remove_record(const struct merge_run *run, struct llavamed_error *error)
{
    char name[PART_NAME_BYTES];
    part_record_name(run->part->part, run->part->n_parts, name);
    enum llavamed_status status = remove_named(run, name, true, error);
    return status == LLAVAMED_OK ? directory_sync(output_dir_partial(run->dir), error) : status;
}

/* OUT_BUSY when the file of all lines is in OUT.partial, or beside OUT, where it is while OUT is published. */
static enum llavamed_status check_unfinished(const struct merge_run *run, struct llavamed_error *error)
{
    const char *partial = output_dir_partial(run->dir);
    char *all = path_join(partial, PART_ALL_NAME);
    char *beside = output_beside(partial, OUTPUT_DIR_PARTS_SUFFIX);
    enum llavamed_status status = LLAVAMED_OK;
    if (all == NULL || beside == NULL) {
        status = llavamed_fail_memory(error, sizeof PART_ALL_NAME, "a path");
    } else if (access(all, F_OK) == 0 || part_all_is_at(beside)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: all parts are done, and being finished",
                               run->settings->out);
        llavamed_hint(error, "llavamed-apply --finish --out DIR does that, if nobody else does");
    }
    free(all);
    free(beside);
    return status;
}

enum llavamed_status merge_part_enter(struct merge_run *run, struct llavamed_error *error)
{
    const struct buffer *plan = &run->part->text;
    enum llavamed_status status = check_unfinished(run, error);
    if (status == LLAVAMED_OK) {
        status = part_files_put_plan(output_dir_partial(run->dir), plan->data, plan->n_bytes, error);
    }
    run->part->has_entered = status == LLAVAMED_OK;
    /* Before any shard is touched that it tells of. */
    return status == LLAVAMED_OK ? remove_record(run, error) : status;
}

bool merge_part_has_shards(const struct merge_run *run)
{
    const struct plan *plan = &run->part->plan;
    bool has_one = false;
    for (size_t i = 0; !has_one && i < plan->n_shards; i++) {
        struct stat info;
        char *path = path_join(output_dir_partial(run->dir), plan->shards[i].name);
        has_one = path == NULL || lstat(path, &info) == 0;
        free(path);
    }
    return has_one;
}

static enum llavamed_status remove_copies(const struct merge_run *run, struct llavamed_error *error)
{
    const char *name = documents_copy_name(run->documents, 0);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && run->part->part == 0 && name != NULL;) {
        status = remove_named(run, name, false, error);
        name = documents_copy_name(run->documents, ++i);
    }
    return status;
}

enum llavamed_status merge_part_clear(const struct merge_run *run, const volatile int *stop_signal,
                                      struct llavamed_error *error)
{
    const struct plan *plan = &run->part->plan;
    char journal[PART_NAME_BYTES];
    if (!run->part->has_entered) {
        return LLAVAMED_OK; /* they may be another merge's */
    }
    part_journal_name(run->part->part, run->part->n_parts, journal);
    enum llavamed_status status = remove_record(run, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_shards; i++) {
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = remove_named(run, plan->shards[i].name, false, error);
        }
    }
    if (status == LLAVAMED_OK) {
        status = remove_copies(run, error);
    }
    return status == LLAVAMED_OK ? remove_named(run, journal, false, error) : status;
}

/* ---- Behind the shards ---- */

/* --verify full: the bytes are those that were hashed when they were made. */
static enum llavamed_status read_back(struct merge_run *run, struct llavamed_error *error)
{
    const struct plan *plan = &run->part->plan;
    struct hash_files_task *tasks = calloc(plan->n_shards + 1, sizeof *tasks);
    char **paths = calloc(plan->n_shards + 1, sizeof *paths);
    char(*hexes)[SHA256_HEX_BYTES] = calloc(plan->n_shards + 1, sizeof *hexes);
    bool all = tasks != NULL && paths != NULL && hexes != NULL;
    for (size_t i = 0; all && i < plan->n_shards; i++) {
        paths[i] = path_join(output_dir_partial(run->dir), plan->shards[i].name);
        tasks[i] = (struct hash_files_task){.path = paths[i], .hex = hexes[i]};
        all = paths[i] != NULL;
    }
    const struct hash_files_options options = {.n_threads = run->geometry.n_workers,
                                               .stop_signal = run->settings->stop_signal,
                                               .from_storage = true,
                                               .observer = &run->watch,
                                               .check = "the output, read back",
                                               .n_bytes = plan->file_bytes};
    enum llavamed_status status =
        all ? LLAVAMED_OK : llavamed_fail_memory(error, plan->n_shards * sizeof *tasks, "the list of shards");
    if (status == LLAVAMED_OK) {
        merge_note(run, "reading the output back from storage");
        status = hash_files(tasks, plan->n_shards, &options, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_shards; i++) {
        if (strcmp(hexes[i], run->outcome.shard_sha256[i]) != 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_HASH_MISMATCH,
                                   "%s: read back from storage it is not what was written (got %s, want %s)", paths[i],
                                   hexes[i], run->outcome.shard_sha256[i]);
        }
    }
    for (size_t i = 0; paths != NULL && i < plan->n_shards; i++) {
        free(paths[i]);
    }
    free(paths);
    free(hexes);
    free(tasks);
    return status;
}

static enum llavamed_status copy_documents(struct merge_run *run, struct llavamed_error *error)
{
    const struct llavamed_settings *settings = run->settings;
    const struct document_place place = {output_dir_partial(run->dir), output_dir_guard(run->dir),
                                         settings->stop_signal};
    const struct input_hashes *hashes = settings->verify == LLAVAMED_VERIFY_NONE ? NULL : run->hashes;
    if (run->part->part != 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = remove_copies(run, error);
    return status == LLAVAMED_OK
               ? documents_write_copies(run->documents, &place, hashes, &run->part->documents, error)
               : status;
}

static enum llavamed_status note_shards(const struct merge_run *run, struct part_record *record,
                                        struct llavamed_error *error)
{
    const struct plan *plan = &run->part->plan;
    for (size_t i = 0; i < plan->n_shards; i++) {
        struct stat info;
        char *path = path_join(output_dir_partial(run->dir), plan->shards[i].name);
        if (path == NULL) {
            return llavamed_fail_memory(error, strlen(plan->shards[i].name), "a path");
        }
        bool is_there = lstat(path, &info) == 0 && (uint64_t)info.st_size == plan->shards[i].layout.file_bytes;
        free(path);
        if (!is_there) {
            return llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE,
                                 "%s: %s is gone or has another size (somebody has changed it meanwhile)",
                                 output_dir_partial(run->dir), plan->shards[i].name);
        }
        record->shards[i].modified_ns =
            (uint64_t)info.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)info.st_mtim.tv_nsec;
        memcpy(record->shards[i].sha256, run->outcome.shard_sha256[i], SHA256_HEX_BYTES);
    }
    record->n_shards = plan->n_shards;
    return LLAVAMED_OK;
}

static void note_inputs(const struct merge_run *run, struct part_record *record)
{
    const struct source_file *files;
    for (int role = 0; role < INPUT_ROLES; role++) {
        size_t n_files = source_files(role == INPUT_BASE ? run->base : run->delta, &files);
        for (size_t i = 0; i < n_files; i++) {
            bool computed = false;
            const char *hex = input_hashes_weights(run->hashes, (enum input_role)role, i, &computed);
            if (hex != NULL && computed) {
                struct part_input_hash *input = &record->inputs[record->n_inputs++];
                input->role = (size_t)role;
                input->file = i;
                memcpy(input->sha256, hex, SHA256_HEX_BYTES);
            }
        }
    }
}

/* Tensors and documents are borrowed from the run. */
static enum llavamed_status append_record(const struct merge_run *run, struct buffer *line,
                                          struct llavamed_error *error)
{
    const struct merge_part *part = run->part;
    const struct source_file *files;
    size_t n_files = source_files(run->base, &files) + source_files(run->delta, &files);
    struct part_record record = {
        .part = part->part,
        .shards = calloc(part->plan.n_shards + 1, sizeof *record.shards),
        .tensors = run->outcome.tensors,
        .tensor_sha256 = run->outcome.tensor_sha256,
        .n_tensors = part->plan.n_tensors,
        .inputs = calloc(n_files + 1, sizeof *record.inputs),
        .documents = part->documents,
    };
    const struct part_record_frame frame = {part->sha256, &part->plan, part->part, run->settings->digests};
    enum llavamed_status status =
        record.shards != NULL && record.inputs != NULL
            ? note_shards(run, &record, error)
            : llavamed_fail_memory(error, part->plan.n_shards * sizeof *record.shards, "the record of a part");
    if (status == LLAVAMED_OK) {
        note_inputs(run, &record);
        part_record_append(&frame, &record, line);
        status = buffer_status(line, "the record of a part", error);
    }
    free(record.shards);
    free(record.inputs);
    return status;
}

static enum llavamed_status write_record(struct merge_run *run, struct llavamed_error *error)
{
    const char *partial = output_dir_partial(run->dir);
    char name[PART_NAME_BYTES];
    struct buffer line;
    buffer_init(&line, PART_RECORD_BYTES_MAX);
    part_record_name(run->part->part, run->part->n_parts, name);
    enum llavamed_status status = append_record(run, &line, error);
    if (status == LLAVAMED_OK) {
        status = journal_sync(run->journal, error);
    }
    if (status == LLAVAMED_OK) {
        /* A part that failed may have taken it for the last of its own. */
        status = part_files_put_plan(partial, run->part->text.data, run->part->text.n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = part_file_write(partial, name, output_dir_guard(run->dir), line.data, line.n_bytes, error);
    }
    buffer_deinit(&line);
    return status;
}

enum llavamed_status merge_part_complete(struct merge_run *run, struct llavamed_error *error)
{
    enum llavamed_status status = copy_documents(run, error);
    if (status == LLAVAMED_OK && run->settings->verify == LLAVAMED_VERIFY_FULL) {
        status = read_back(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = merge_check_stop(run, error);
    }
    if (status == LLAVAMED_OK && run->part->part == 0) {
        status = documents_check_inputs(run->documents, error);
    }
    if (status == LLAVAMED_OK) {
        status = write_record(run, error);
    }
    if (status != LLAVAMED_OK) {
        return merge_blame(run, error);
    }
    journal_close(run->journal);
    run->journal = NULL;
    output_dir_end_part(run->dir);
    run->began = false;
    return status;
}

/* ---- Finishing ---- */

/* What was made by finishing is this run's result too. */
static void take_finished(struct merge_run *run, struct llavamed_result *finished)
{
    struct llavamed_result *result = run->result;
    result->is_published = finished->is_published;
    result->was_published = finished->was_published;
    result->n_parts_missing = finished->n_parts_missing;
    result->parts_missing = finished->parts_missing;
    result->manifest_sha256 = finished->manifest_sha256;
    result->written_bytes += finished->written_bytes;
    finished->parts_missing = NULL;
    finished->manifest_sha256 = NULL;
    memcpy(result->model_sha256, finished->model_sha256, sizeof result->model_sha256);
    run->output->is_published = finished->is_published;
}

/* Whether there is a directory of the parts, or somebody who publishes it. */
static bool is_somebody_there(const struct merge_run *run)
{
    const char *partial = output_dir_partial(run->dir);
    char *publishing = output_beside(partial, OUTPUT_DIR_PUBLISHING_SUFFIX);
    bool is_there = publishing == NULL || access(publishing, F_OK) == 0 || access(partial, F_OK) == 0;
    free(publishing);
    return is_there;
}

enum llavamed_status merge_part_finish(struct merge_run *run, struct llavamed_error *error)
{
    struct llavamed_result finished = {0};
    struct llavamed_observer observer = {0};
    if (run->observer != NULL) {
        observer = *run->observer;
        observer.warning = NULL; /* each part has told its own */
    }
    const struct finish_job job = {
        .out = run->settings->out,
        .force = run->settings->force,
        .n_threads = run->geometry.n_workers,
        .observer = &observer,
        .stop_signal = run->settings->stop_signal,
    };
    if (run->settings->no_finish) {
        return LLAVAMED_OK;
    }
    /* Two that end at the same time may each find the other still there. */
    const struct timespec pause = {.tv_nsec = FINISH_PAUSE_NS};
    enum llavamed_status status = merge_finish(&job, &finished, error);
    for (int i = 0; status == LLAVAMED_STATUS_OUT_BUSY && stop_signal_read(job.stop_signal) == 0 &&
                    i < FINISH_ATTEMPTS_MAX; i++) {
        (void)nanosleep(&pause, NULL);
        llavamed_result_free(&finished);
        finished = (struct llavamed_result){0};
        status = merge_finish(&job, &finished, error);
    }
    take_finished(run, &finished);
    llavamed_result_free(&finished);
    if (status == LLAVAMED_STATUS_OUT_BUSY && !is_somebody_there(run)) {
        return status;
    }
    if (status == LLAVAMED_STATUS_PARTS_MISSING || status == LLAVAMED_STATUS_OUT_BUSY) {
        merge_note(run, "%s", error->message);
        memset(error, 0, sizeof *error); /* this part is done; whoever ends last, or is at it, finishes */
        return LLAVAMED_OK;
    }
    return status;
}
