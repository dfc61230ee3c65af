/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the sources of a merge. */
#include <stdlib.h>

#include "io/directory.h"
#include "merge/merge_run.h"

static enum llavamed_status tell_remarks(struct merge_run *run, const struct source *source,
                                         struct llavamed_error *error)
{
    const struct source_remark *remarks;
    size_t n_remarks = source_remarks(source, &remarks);
    enum llavamed_status status = LLAVAMED_OK;
    bool of_base = source == run->base;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_remarks; i++) {
        const char *text = remarks[i].text;
        if (remarks[i].is_warning) {
            status = of_base ? merge_warn_base(run, text, error) : merge_warn(run, text, error);
        } else if (of_base) {
            merge_note_base(run, text);
        } else {
            merge_note(run, "%s", text);
        }
    }
    return status;
}

/* Of the weights files of a source, in `ids`; one that lies in an archive has that of the archive's own file. */
static enum llavamed_status identify_files(const struct source *source, struct path_identity *ids,
                                           struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_files = source_files(source, &files);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_files; i++) {
        if (files[i].archive != NULL) {
            ids[i] = ids[0];
        } else {
            status = path_identity_of(source_file_path(source, i), &ids[i], error);
        }
    }
    return status;
}

/* One weights file that both sources share is enough: nobody splits a checkpoint between a base and its delta. */
static enum llavamed_status compare_files(const struct merge_run *run, struct path_identity *ids,
                                          struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_base = source_files(run->base, &files);
    size_t n_delta = source_files(run->delta, &files);
    enum llavamed_status status = identify_files(run->base, ids, error);
    if (status == LLAVAMED_OK) {
        status = identify_files(run->delta, ids + n_base, error);
    }
    for (size_t k = 0; status == LLAVAMED_OK && k < n_base * n_delta; k++) {
        const struct path_identity *base = &ids[k / n_delta];
        const struct path_identity *delta = &ids[n_base + k % n_delta];
        if (base->device == delta->device && base->inode == delta->inode) {
            status = llavamed_fail(error, LLAVAMED_STATUS_PAIR_SAME,
                                   "%s: base and %s are the same checkpoint (both read this file)",
                                   source_file_path(run->delta, k % n_delta), merge_other_name(run));
            llavamed_hint(error, run->batch->operation == PLAN_MAKE_DELTA
                                     ? "--base takes the original LLaMA weights, --target the model made of them"
                                     : "--base takes the original LLaMA weights, --delta the delta released for them");
        }
    }
    return status;
}

static enum llavamed_status check_not_same(const struct merge_run *run, struct llavamed_error *error)
{
    const struct source_file *files;
    size_t n_files = source_files(run->base, &files) + source_files(run->delta, &files);
    struct path_identity *ids = calloc(n_files + 1, sizeof *ids);
    if (ids == NULL) {
        return llavamed_fail_memory(error, (n_files + 1) * sizeof *ids, "the list of inputs");
    }
    enum llavamed_status status = compare_files(run, ids, error);
    free(ids);
    return status;
}

enum llavamed_status merge_open_base(struct merge_run *run, struct source **base, struct llavamed_error *error)
{
    const struct source_options options = {
        .role = "base",
        .check_crc = run->settings->verify != LLAVAMED_VERIFY_NONE,
        .stop_signal = run->settings->stop_signal,
        .observer = &run->watch,
    };
    return source_open(run->settings->base, &options, base, error);
}

enum llavamed_status merge_open_own_base(struct merge_run *run, struct llavamed_error *error)
{
    struct source *base = NULL;
    enum llavamed_status status = merge_open_base(run, &base, error);
    if (status == LLAVAMED_OK) {
        run->base = base;
        run->owns_base = true;
    }
    return status;
}

enum llavamed_status merge_open_sources(struct merge_run *run, struct llavamed_error *error)
{
    const struct source_options options = {
        .role = merge_other_name(run),
        .check_crc = run->settings->verify != LLAVAMED_VERIFY_NONE,
        .stop_signal = run->settings->stop_signal,
        .observer = &run->watch,
    };
    enum llavamed_status status = LLAVAMED_OK;
    run->base = run->batch->base;
    if (run != run->batch->runs && source_streams(run->base) > 0) {
        status = merge_open_own_base(run, error);
    }
    if (status == LLAVAMED_OK) {
        status = source_open(run->settings->delta, &options, &run->delta, error);
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
