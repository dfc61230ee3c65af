/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/memory_limit.h"
#include "core/reserved.h"
#include "core/warnings.h"
#include "io/directory.h"
#include "merge/manifest.h"
#include "verify/compared.h"
#include "verify/judge.h"
#include "verify/read_beside.h"
#include "verify/signed_model.h"
#include "verify/tensor_verdicts.h"

struct verification {
    const struct llavamed_verify_settings *settings;
    const struct llavamed_observer *observer;
    struct llavamed_verify_result *result;
    struct file_table table;
    struct records records;
    struct signed_model signature;
    struct findings findings;
    struct warnings notes;
    struct warnings ignored;
    struct compared compared;
    enum llavamed_status comparison_status; /* what was found is told all the same */
    struct llavamed_error comparison_error;
};

void llavamed_verify_settings_init(struct llavamed_verify_settings *settings)
{
    *settings = (struct llavamed_verify_settings){0};
}

void llavamed_verify_result_free(struct llavamed_verify_result *result)
{
    struct findings findings = {.list = result->findings, .n_listed = result->n_findings};
    findings_deinit(&findings);
    tensor_verdicts_free(result);
    for (size_t i = 0; i < result->n_notes; i++) {
        free(result->notes[i]);
    }
    for (size_t i = 0; i < result->n_files; i++) {
        free(result->files[i].name);
    }
    free(result->notes);
    free(result->files);
    *result = (struct llavamed_verify_result){0};
}

/* ---- Before reading ---- */

static enum llavamed_status check_directory(const char *dir, struct llavamed_error *error)
{
    enum path_kind kind;
    enum llavamed_status status = path_kind_of(dir, &kind, error);
    if (status != LLAVAMED_OK || kind == PATH_DIRECTORY) {
        return status;
    }
    return kind == PATH_MISSING
               ? llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: no such directory", dir)
               : llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNREADABLE, "%s: not a directory", dir);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t n_text = strlen(text);
    size_t n_suffix = strlen(suffix);
    return n_text >= n_suffix && strcmp(text + n_text - n_suffix, suffix) == 0;
}

/* Where no manifest says what is a shard, the names do that transformers and huggingface_hub look for. */
static bool is_named_like_shard(const char *name)
{
    return ends_with(name, ".safetensors") || (strncmp(name, "pytorch_model", 13) == 0 && ends_with(name, ".bin"));
}

static enum llavamed_status read_signature(struct verification *run, struct llavamed_error *error)
{
    struct llavamed_verify_result *result = run->result;
    const struct signed_model *signature = &run->signature;
    enum llavamed_status status = signed_model_read(run->settings->dir, &run->table, &run->signature, &run->findings,
                                                    &result->read_bytes, error);
    if (status == LLAVAMED_OK && signature->is_valid) {
        run->records.is_signed = true;
        result->n_signed = signature->statement.n_files;
        memcpy(result->signing_key_sha256, ec_key_hint(signature->key), sizeof result->signing_key_sha256);
    }
    return status;
}

/* Extra files are read only when they may be the ones that are missing, under another name. */
static void choose_files(struct verification *run)
{
    bool any_missing = false;
    for (size_t i = 0; i < run->table.n_files; i++) {
        any_missing = any_missing || run->table.files[i].kind == FILE_KIND_ABSENT;
    }
    for (size_t i = 0; i < run->table.n_files; i++) {
        struct table_file *file = &run->table.files[i];
        bool is_extra = judge_is_extra(&run->records, file);
        bool is_recorded_shard = file->recorded != NULL && file->recorded->is_shard;
        bool is_likely = !run->records.is_there[CLAIMANT_MANIFEST] && !is_extra && is_named_like_shard(file->name);
        bool is_known = !is_extra || file->recorded != NULL || signed_model_names(&run->signature, file->name);
        file->is_shard = is_recorded_shard || is_likely || file->is_indexed[0] || file->is_indexed[1];
        file->is_wanted = file->kind == FILE_KIND_PLAIN && !file->is_read && file->failure == LLAVAMED_OK &&
                          (is_known || (any_missing && !run->settings->ignore_extra));
    }
}

/* Twice, to be compared: then they may wait in the cache for who comes later, where nobody else's pages have to go. */
static bool is_kept_for_comparison(const struct verification *run)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < run->table.n_files; i++) {
        n_bytes += run->table.files[i].is_shard ? run->table.files[i].n_bytes : 0;
    }
    return run->compared.held != NULL && n_bytes <= memory_free_bytes();
}

/* Reads the files and compares beside it, on the same processors: what the one leaves idle the other has. */
static enum llavamed_status read_beside(struct verification *run, struct read_files *job, struct llavamed_error *error)
{
    struct read_beside *beside = NULL;
    bool is_beside = read_beside_start(job, &beside);
    enum llavamed_status status = is_beside ? LLAVAMED_OK : read_files(job, error);
    if (status == LLAVAMED_OK) {
        run->comparison_status = compared_run(&run->compared, &run->comparison_error);
    }
    return is_beside ? read_beside_wait(beside, error) : status;
}

static enum llavamed_status read_all(struct verification *run, struct llavamed_error *error)
{
    const struct llavamed_verify_settings *settings = run->settings;
    struct read_files job = {
        .dir = settings->dir,
        .table = &run->table,
        .manifest = &run->records.manifest,
        .n_threads = settings->n_threads,
        .max_memory_bytes = settings->max_memory_bytes,
        .keep_cached = is_kept_for_comparison(run),
        .stop_signal = settings->stop_signal,
        .observer = run->observer,
        .read_bytes = run->result->read_bytes,
    };
    enum llavamed_status status =
        run->compared.held != NULL ? read_beside(run, &job, error) : read_files(&job, error);
    run->result->read_bytes = job.read_bytes;
    run->result->buffer_bytes = job.buffer_bytes;
    run->result->n_threads = job.n_workers;
    compared_count(&run->compared);
    return status;
}

/* Bad inputs are refused before the directory is read. */
static enum llavamed_status open_compared(struct verification *run, struct llavamed_error *error)
{
    run->compared = (struct compared){
        .settings = run->settings,
        .observer = run->observer,
        .table = &run->table,
        .manifest = &run->records.manifest,
        .findings = &run->findings,
        .notes = &run->notes,
        .result = run->result,
    };
    return compared_is_wanted(run->settings) ? compared_open(&run->compared, error) : LLAVAMED_OK;
}

/* ---- After reading ---- */

static void note_unverified(struct verification *run)
{
    if (run->signature.key == NULL && file_table_find(&run->table, OMS_FILE_NAME) != NULL) {
        warnings_add(&run->notes, "the signature " OMS_FILE_NAME " is not verified: --public-key does that");
    }
    if (run->records.is_signed && records_authority(&run->records) == CLAIMANTS) {
        warnings_add(&run->notes, "neither " SUMS_FILE_NAME " nor " MANIFEST_FILE_NAME
                                  ": the signature alone says what belongs in the directory");
    }
}

static enum llavamed_status judge_all(struct verification *run, struct llavamed_error *error)
{
    struct judge judge = {
        .table = &run->table,
        .records = &run->records,
        .ignore_extra = run->settings->ignore_extra,
        .is_compared = compared_is_wanted(run->settings),
        .stop_signal = run->settings->stop_signal,
        .findings = &run->findings,
        .notes = &run->notes,
        .ignored = &run->ignored,
    };
    enum llavamed_status status = judge_files(&judge, error);
    if (status == LLAVAMED_OK) {
        signed_model_judge(&run->signature, &judge);
        note_unverified(run);
        status = judge_tensors(&judge, error);
        run->result->n_tensors = judge.n_tensors_checked;
        run->result->n_digests = judge.n_digests_checked;
    }
    if (status == LLAVAMED_OK) {
        status = compared_judge(&run->compared, error);
    }
    if (status == LLAVAMED_OK) {
        status = judge_model(&judge, error);
    }
    if (status == LLAVAMED_OK) {
        status = findings_status(&run->findings, error);
    }
    if (status == LLAVAMED_OK && run->settings->tensor_reports) {
        status = tensor_verdicts_fill(&judge, run->result, error);
    }
    if (status == LLAVAMED_OK) {
        status = warnings_status(&run->notes, error);
    }
    return status == LLAVAMED_OK ? warnings_status(&run->ignored, error) : status;
}

static enum llavamed_status fill_files(struct verification *run, struct llavamed_error *error)
{
    struct llavamed_verify_result *result = run->result;
    result->files = calloc(run->table.n_files + 1, sizeof *result->files);
    if (result->files == NULL) {
        return llavamed_fail_memory(error, run->table.n_files * sizeof *result->files, "the list of files");
    }
    for (size_t i = 0; i < run->table.n_files; i++) {
        struct table_file *file = &run->table.files[i];
        if (file->kind != FILE_KIND_PLAIN) {
            continue;
        }
        struct llavamed_verified_file *made = &result->files[result->n_files++];
        made->name = file->name;
        file->name = NULL;
        made->n_bytes = file->n_bytes;
        made->n_tensors = file->view == NULL ? 0 : file->view->set.n_tensors;
        memcpy(made->sha256, file->is_read ? file->sha256 : "", file->is_read ? sizeof made->sha256 : 1);
    }
    return LLAVAMED_OK;
}

static void tell_all(const struct llavamed_observer *observer, const struct warnings *texts, bool are_warnings)
{
    if (observer == NULL) {
        return;
    }
    void (*tell)(void *context, const char *text) = are_warnings ? observer->warning : observer->note;
    for (size_t i = 0; tell != NULL && i < texts->n_texts; i++) {
        tell(observer->context, texts->texts[i]);
    }
}

static enum llavamed_status fill_notes(struct verification *run, struct llavamed_error *error)
{
    struct llavamed_verify_result *result = run->result;
    struct warnings *const lists[] = {&run->notes, &run->ignored};
    size_t n = run->notes.n_texts + run->ignored.n_texts;
    result->notes = calloc(n + 1, sizeof *result->notes);
    if (result->notes == NULL) {
        return llavamed_fail_memory(error, n * sizeof *result->notes, "the notes");
    }
    for (size_t k = 0; k < 2; k++) {
        tell_all(run->observer, lists[k], k == 0);
        for (size_t i = 0; i < lists[k]->n_texts; i++) {
            result->notes[result->n_notes++] = lists[k]->texts[i];
            lists[k]->texts[i] = NULL;
        }
    }
    return LLAVAMED_OK;
}

static void fill_findings(struct verification *run)
{
    findings_sort(&run->findings);
    run->result->findings = run->findings.list;
    run->result->n_findings = run->findings.n_listed;
    run->result->n_found = run->findings.n_found;
    run->findings.list = NULL;
    run->findings.n_listed = 0;
}

/* The status of the whole, by what was found. */
static enum llavamed_status conclude(const struct verification *run, struct llavamed_error *error)
{
    const struct findings *findings = &run->findings;
    const struct llavamed_verify_result *result = run->result;
    const char *dir = run->settings->dir;
    unsigned long long n = result->n_found;
    if (n == 0) {
        return LLAVAMED_OK;
    }
    bool any_failed = false;
    bool all_extra = true;
    for (size_t i = 0; i < result->n_findings; i++) {
        any_failed = any_failed || result->findings[i].code == LLAVAMED_FINDING_FILE_IO;
        all_extra = all_extra && result->findings[i].code == LLAVAMED_FINDING_FILE_EXTRA;
    }
    if (findings->n_unread < n) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_NOT_INTACT, "%s: not intact (%llu %s)", dir, n,
                            n == 1 ? "finding" : "findings");
        if (all_extra) {
            llavamed_hint(error, "--ignore-extra holds the other files against their records alone");
        }
        return LLAVAMED_STATUS_NOT_INTACT;
    }
    return llavamed_fail(error, any_failed ? LLAVAMED_STATUS_IO : LLAVAMED_STATUS_INPUT_CHANGED,
                         "%s: nothing wrong was found, but %llu %s not be read to the end", dir, n,
                         n == 1 ? "file could" : "files could");
}

/* ---- The whole ---- */

static enum llavamed_status run_all(struct verification *run, struct llavamed_error *error)
{
    const struct llavamed_verify_settings *settings = run->settings;
    enum llavamed_status status = check_directory(settings->dir, error);
    if (status == LLAVAMED_OK && settings->public_key != NULL) {
        status = signed_model_read_key(settings->public_key, &run->signature, error);
    }
    if (status == LLAVAMED_OK) {
        status = file_table_list(settings->dir, settings->stop_signal, &run->table, error);
    }
    if (status == LLAVAMED_OK) {
        status = records_read(settings->dir, settings->sums, &run->table, &run->records, &run->findings,
                              &run->result->read_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_signature(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = records_claim(&run->records, &run->table, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_compared(run, error);
    }
    if (status == LLAVAMED_OK) {
        choose_files(run);
        status = read_all(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = judge_all(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = fill_notes(run, error);
    }
    if (status == LLAVAMED_OK) {
        fill_findings(run);
        status = fill_files(run, error);
    }
    if (status == LLAVAMED_OK && run->comparison_status != LLAVAMED_OK) {
        *error = run->comparison_error;
        return run->comparison_status;
    }
    return status == LLAVAMED_OK ? conclude(run, error) : status;
}

/* A comparison has buffers of its own. What the caller asks for is an upper bound, of which most is never taken. */
static enum llavamed_status settle_memory(struct llavamed_verify_settings *settings, struct llavamed_error *error)
{
    struct memory_limit limit;
    unsigned n_sets = compared_is_wanted(settings) ? 2 : 1;
    return settings->max_memory_bytes != 0 ? LLAVAMED_OK
                                           : memory_limit_grant(&system_places_usual, 0, n_sets,
                                                                &settings->max_memory_bytes, &limit, error);
}

enum llavamed_status llavamed_verify(const struct llavamed_verify_settings *settings,
                                     const struct llavamed_observer *observer, struct llavamed_verify_result *result,
                                     struct llavamed_error *error)
{
    uint64_t started_ns = clock_monotonic_ns();
    struct llavamed_verify_settings fitting = *settings;
    struct verification run = {.settings = &fitting, .observer = observer, .result = result};
    *result = (struct llavamed_verify_result){0};
    enum llavamed_status status = reserved_check(settings->reserved, error);
    if (status == LLAVAMED_OK) {
        status = settings->dir == NULL ? llavamed_fail(error, LLAVAMED_STATUS_USAGE, "no directory is given")
                                       : settle_memory(&fitting, error);
    }
    if (status == LLAVAMED_OK) {
        status = run_all(&run, error);
    }
    result->total_ns = clock_monotonic_ns() - started_ns;
    compared_deinit(&run.compared);
    file_table_deinit(&run.table);
    records_deinit(&run.records);
    signed_model_deinit(&run.signature);
    findings_deinit(&run.findings);
    warnings_deinit(&run.notes);
    warnings_deinit(&run.ignored);
    return status;
}
