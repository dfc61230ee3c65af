/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/compared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "merge/manifest.h"

/* Findings that are of no file. */
#define NO_FILE "."

bool compared_is_wanted(const struct llavamed_verify_settings *settings)
{
    return settings->base != NULL || settings->delta != NULL || settings->against != NULL;
}

void compared_deinit(struct compared *compared)
{
    tensor_comparison_deinit(&compared->comparison);
    derivation_close(compared->derivation);
    source_close(compared->held);
    free(compared->places);
    compared->derivation = NULL;
    compared->held = NULL;
    compared->places = NULL;
}

/* ---- What is told ---- */

static void tell_progress(void *context, const struct llavamed_progress *progress)
{
    const struct compared *compared = context;
    const struct llavamed_observer *observer = compared->observer;
    if (observer != NULL && observer->progress != NULL) {
        struct llavamed_progress told = *progress;
        if (told.check == NULL) {
            told.check = compared->settings->against == NULL ? "BASE + DELTA, computed again" : "the other checkpoint";
        }
        observer->progress(observer->context, &told);
    }
}

static void tell_note(void *context, const char *text)
{
    const struct compared *compared = context;
    if (compared->observer != NULL && compared->observer->note != NULL) {
        compared->observer->note(compared->observer->context, text);
    }
}

/* Kept with what the directory's own records give rise to. */
static void keep_warning(void *context, const char *text)
{
    const struct compared *compared = context;
    warnings_add(compared->notes, "%s", text);
}

/* ---- Opening ---- */

static enum llavamed_status fail_contradiction(const char *option, const char *given, const char *recorded,
                                               struct llavamed_error *error)
{
    enum llavamed_status status = llavamed_fail(
        error, LLAVAMED_STATUS_USAGE, "--%s contradicts " MANIFEST_FILE_NAME " of the directory (got %s, want %s)",
        option, given, recorded);
    llavamed_hint(error, "leave --%s out: what the directory records is taken", option);
    return status;
}

static enum llavamed_status choose_options(struct compared *compared, struct llavamed_error *error)
{
    const struct llavamed_verify_settings *settings = compared->settings;
    const struct recorded_output *manifest = compared->manifest;
    if (settings->has_dtype && manifest->has_dtype && settings->dtype != manifest->dtype) {
        return fail_contradiction("dtype", manifest_dtype_option(PLAN_MERGE, settings->dtype),
                                  manifest_dtype_option(PLAN_MERGE, manifest->dtype), error);
    }
    if (settings->has_inv_freq && manifest->has_inv_freq && settings->inv_freq != manifest->inv_freq) {
        return fail_contradiction("inv-freq", manifest_inv_freq_option(settings->inv_freq),
                                  manifest_inv_freq_option(manifest->inv_freq), error);
    }
    struct llavamed_settings *merge = &compared->merge;
    merge->dtype = settings->has_dtype ? settings->dtype : manifest->dtype;
    merge->inv_freq = settings->has_inv_freq ? settings->inv_freq : manifest->inv_freq;
    compared->result->dtype = merge->dtype;
    compared->result->inv_freq = merge->inv_freq;
    return LLAVAMED_OK;
}

static void set_up(struct compared *compared)
{
    const struct llavamed_verify_settings *settings = compared->settings;
    struct llavamed_settings *merge = &compared->merge;
    llavamed_settings_init(merge);
    merge->base = settings->base;
    merge->delta = settings->against != NULL ? settings->against : settings->delta;
    merge->cpu = settings->cpu;
    merge->n_threads = settings->n_threads;
    merge->max_memory_bytes = settings->max_memory_bytes;
    merge->stop_signal = settings->stop_signal;
    compared->watch = (struct llavamed_observer){
        .context = compared, .progress = tell_progress, .warning = keep_warning, .note = tell_note};
}

/* Which weights it takes, where there are several, and what else there is to say of it. */
static void tell_remarks(struct compared *compared)
{
    const struct source_remark *remarks;
    size_t n_remarks = source_remarks(compared->held, &remarks);
    for (size_t i = 0; i < n_remarks; i++) {
        (remarks[i].is_warning ? keep_warning : tell_note)(compared, remarks[i].text);
    }
}

/* The directory. Each byte's checksums are those of its own records, and checked there. */
static enum llavamed_status open_held(struct compared *compared, struct llavamed_error *error)
{
    const char *dir = compared->settings->dir;
    const struct source_options options = {.role = "directory", .stop_signal = compared->settings->stop_signal};
    struct llavamed_error failure = {0};
    if (source_open(dir, &options, &compared->held, &failure) == LLAVAMED_OK) {
        tell_remarks(compared);
        return LLAVAMED_OK;
    }
    if (llavamed_exit_status(&failure) > 3) { /* not that of what is in it */
        *error = failure;
        return failure.status;
    }
    const struct finding_place place = {.file = NO_FILE};
    findings_add(compared->findings, LLAVAMED_FINDING_NOT_COMPARED, &place, "its tensors were not compared: %s",
                 failure.message);
    return LLAVAMED_OK;
}

enum llavamed_status compared_open(struct compared *compared, struct llavamed_error *error)
{
    const struct llavamed_verify_settings *settings = compared->settings;
    set_up(compared);
    bool is_copy = settings->against != NULL;
    if (is_copy && (settings->base != NULL || settings->delta != NULL)) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE, "--against contradicts --base and --delta");
    }
    enum llavamed_status status = is_copy ? LLAVAMED_OK : choose_options(compared, error);
    if (status == LLAVAMED_OK && !is_copy) {
        status = derivation_open_merge(&compared->merge, &compared->watch, &compared->derivation, error);
    }
    if (status == LLAVAMED_OK) {
        status = open_held(compared, error);
    }
    if (status == LLAVAMED_OK && is_copy && compared->held != NULL) {
        status = derivation_open_copy(&compared->merge, "checkpoint", compared->held, &compared->watch,
                                      &compared->derivation, error);
    }
    return status;
}

/* ---- What was found ---- */

static const char *wanted_name(const struct compared *compared)
{
    return derivation_is_merge(compared->derivation) ? "BASE + DELTA" : compared->settings->against;
}

static enum llavamed_status check_stop(const struct compared *compared, struct llavamed_error *error)
{
    return stop_signal_check(compared->settings->stop_signal, error);
}

/*
 * The place of each tensor of the directory, found once for all: there may be as many findings as tensors, and to look
 * through all files for each would cost the product of both. Of several files that name a tensor the first counts.
 */
static enum llavamed_status find_places(struct compared *compared, struct llavamed_error *error)
{
    const struct tensor_set *held = source_tensors(compared->held);
    compared->places = calloc(held->n_tensors + 1, sizeof *compared->places);
    if (compared->places == NULL) {
        return llavamed_fail_memory(error, held->n_tensors * sizeof *compared->places, "the places of tensors");
    }
    for (size_t i = 0; i < compared->table->n_files; i++) {
        const struct table_file *file = &compared->table->files[i];
        size_t n_tensors = file->view == NULL ? 0 : file->view->set.n_tensors;
        for (size_t k = 0; k < n_tensors; k++) {
            size_t at = tensor_set_find(held, file->view->set.tensors[k].name);
            if (at != TENSOR_NOT_FOUND && compared->places[at].file == NULL) {
                compared->places[at] = (struct compared_place){.file = file->name, .shard = &file->view->places[k]};
            }
            enum llavamed_status status = check_stop(compared, error);
            if (status != LLAVAMED_OK) {
                return status;
            }
        }
    }
    return LLAVAMED_OK;
}

/* The file of the directory that holds tensor `at`, and where; "." when no header that was read names it. */
static struct finding_place place_of(const struct compared *compared, size_t at, uint64_t elem)
{
    const struct tensor *tensor = &source_tensors(compared->held)->tensors[at];
    const struct compared_place *place = &compared->places[at];
    if (place->file == NULL) {
        return (struct finding_place){.file = NO_FILE, .tensor = tensor->name};
    }
    uint64_t within = elem * dtype_bytes(tensor->dtype);
    return (struct finding_place){.file = place->file,
                                  .tensor = tensor->name,
                                  .offset = place->shard->is_contiguous ? place->shard->offset + within : 0};
}

static void add_form(struct compared *compared, size_t at, const struct tensor *want)
{
    const struct tensor *got = &source_tensors(compared->held)->tensors[at];
    char got_shape[TENSOR_SHAPE_TEXT_BYTES];
    char want_shape[TENSOR_SHAPE_TEXT_BYTES];
    const struct finding_place place = place_of(compared, at, 0);
    findings_add(compared->findings, LLAVAMED_FINDING_TENSOR_FORM, &place,
                 "is not as in %.300s (got %s %s, want %s %s)", wanted_name(compared), dtype_name(got->dtype),
                 tensor_shape_text(got, got_shape), dtype_name(want->dtype), tensor_shape_text(want, want_shape));
}

static void add_missing(struct compared *compared, const struct tensor *want)
{
    const struct finding_place place = {.file = NO_FILE, .tensor = want->name};
    findings_add(compared->findings, LLAVAMED_FINDING_TENSOR_MISSING, &place, "is not there, but in %.300s",
                 wanted_name(compared));
}

static void add_difference(struct compared *compared, const struct tensor *tensor, const struct compared_tensor *row)
{
    char index[TENSOR_SHAPE_TEXT_BYTES];
    char got[ELEMENT_TEXT_BYTES];
    char want[ELEMENT_TEXT_BYTES];
    const struct finding_place place = place_of(compared, row->held, row->first);
    element_index_text(tensor, row->first, index);
    element_text(tensor->dtype, row->got, got);
    element_text(tensor->dtype, row->want, want);
    findings_add(compared->findings, LLAVAMED_FINDING_TENSOR_DIFFERS, &place,
                 "differs from %.300s in %llu of %llu elements, first in %s, element %llu (got %s, want %s)",
                 wanted_name(compared), (unsigned long long)row->n_different, (unsigned long long)tensor->n_elems,
                 index, (unsigned long long)row->first, got, want);
}

static enum llavamed_status judge_planned(struct compared *compared, struct llavamed_error *error)
{
    const struct tensor_comparison *comparison = &compared->comparison;
    const struct plan *plan = comparison->plan;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < plan->n_tensors; i++) {
        const struct compared_tensor *row = &comparison->rows[i];
        const struct tensor *want = &plan->tensors[i].out;
        compared->result->n_compared += row->is_compared;
        compared->result->n_equal += row->is_compared && row->n_different == 0;
        if (row->held == TENSOR_NOT_FOUND) {
            add_missing(compared, want);
        } else if (!row->is_compared) {
            add_form(compared, row->held, want);
        } else if (row->n_different > 0) {
            add_difference(compared, want, row);
        }
        status = check_stop(compared, error);
    }
    return status;
}

static void judge_small_one(struct compared *compared, const struct tensor *want)
{
    const struct tensor_set *held = source_tensors(compared->held);
    size_t at = tensor_set_find(held, want->name);
    if (at == TENSOR_NOT_FOUND) {
        add_missing(compared, want);
        return;
    }
    const struct tensor *got = &held->tensors[at];
    compared->comparison.is_wanted[at] = true;
    if (got->dtype != want->dtype || !tensor_same_shape(got, want)) {
        add_form(compared, at, want);
        return;
    }
    const struct finding_place place = place_of(compared, at, 0);
    findings_add(compared->findings, LLAVAMED_FINDING_TENSOR_UNCHECKED, &place,
                 "is of a dtype of less than a byte (%s), which cannot be compared", dtype_name(got->dtype));
}

/* Of another checkpoint: what is of a dtype smaller than a byte has no part in the plan. */
static enum llavamed_status judge_small(struct compared *compared, struct llavamed_error *error)
{
    const struct tensor_set *wanted = derivation_tensors(compared->derivation);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < wanted->n_tensors; i++) {
        if (dtype_bytes(wanted->tensors[i].dtype) == 0) {
            judge_small_one(compared, &wanted->tensors[i]);
        }
        status = check_stop(compared, error);
    }
    return status;
}

static enum llavamed_status judge_extra(struct compared *compared, struct llavamed_error *error)
{
    size_t n_held = source_tensors(compared->held)->n_tensors;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_held; i++) {
        if (!compared->comparison.is_wanted[i]) {
            const struct finding_place place = place_of(compared, i, 0);
            findings_add(compared->findings, LLAVAMED_FINDING_TENSOR_EXTRA, &place, "is there, but not in %.300s",
                         wanted_name(compared));
        }
        status = check_stop(compared, error);
    }
    return status;
}

enum llavamed_status compared_judge(struct compared *compared, struct llavamed_error *error)
{
    if (!compared->result->was_compared) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = find_places(compared, error);
    if (status == LLAVAMED_OK) {
        status = judge_planned(compared, error);
    }
    if (status == LLAVAMED_OK && !derivation_is_merge(compared->derivation)) {
        status = judge_small(compared, error);
    }
    return status == LLAVAMED_OK ? judge_extra(compared, error) : status;
}

enum llavamed_status compared_run(struct compared *compared, struct llavamed_error *error)
{
    if (compared->held == NULL) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = tensor_comparison_init(
        &compared->comparison, derivation_plan(compared->derivation), compared->held, error);
    const struct pipeline_sink sink = tensor_comparison_sink(&compared->comparison);
    if (status == LLAVAMED_OK) {
        status = derivation_run(compared->derivation, &sink, error);
    }
    if (status == LLAVAMED_OK) { /* nothing is left to be read: whether its files are still what they were */
        uint8_t scratch[4096];
        status = source_finish(compared->held, scratch, sizeof scratch, error);
    }
    compared->result->was_compared = status == LLAVAMED_OK;
    return status;
}

void compared_count(const struct compared *compared)
{
    if (compared->held != NULL && compared->derivation != NULL) {
        compared->result->read_bytes +=
            derivation_bytes_read(compared->derivation) + source_bytes_read(compared->held);
        compared->result->buffer_bytes += derivation_buffer_bytes(compared->derivation);
    }
}
