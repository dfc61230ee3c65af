/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/result.h"

#include <stdlib.h>
#include <string.h>

void llavamed_settings_init(struct llavamed_settings *settings)
{
    *settings = (struct llavamed_settings){0};
}

void llavamed_result_free(struct llavamed_result *result)
{
    for (size_t i = 0; i < result->n_shards; i++) {
        free(result->shards[i].name);
    }
    for (size_t i = 0; i < result->n_warnings; i++) {
        free(result->warnings[i]);
    }
    for (size_t i = 0; i < result->n_digests; i++) {
        free(result->digests[i].name);
    }
    result_free_reports(result);
    for (size_t i = 0; i < result->n_lossy_tensors; i++) {
        free(result->lossy_tensors[i].name);
    }
    free(result->lossy_tensors);
    free(result->shards);
    free(result->actions);
    free(result->digests);
    free(result->manifest_sha256);
    free(result->started_over);
    free(result->parts_missing);
    free(result->warnings);
    memset(result, 0, sizeof *result);
}

static enum llavamed_status note_shards(struct llavamed_result *result, const struct plan *plan,
                                        struct llavamed_error *error)
{
    result->shards = calloc(plan->n_shards + 1, sizeof *result->shards);
    if (result->shards == NULL) {
        return llavamed_fail_memory(error, plan->n_shards * sizeof *result->shards, "the list of shards");
    }
    for (size_t i = 0; i < plan->n_shards; i++) {
        struct llavamed_shard_report *shard = &result->shards[i];
        shard->name = strdup(plan->shards[i].name);
        if (shard->name == NULL) {
            return llavamed_fail_memory(error, strlen(plan->shards[i].name), "a shard's name");
        }
        result->n_shards = i + 1;
        shard->file_bytes = plan->shards[i].layout.file_bytes;
        shard->n_tensors = plan->shards[i].n_tensors;
    }
    return LLAVAMED_OK;
}

enum llavamed_status result_note_plan(struct llavamed_result *result, const struct plan *plan,
                                      struct llavamed_error *error)
{
    enum llavamed_status status = note_shards(result, plan, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    result->actions = calloc(PLAN_ACTION_COUNT + 1, sizeof *result->actions);
    if (result->actions == NULL) {
        return llavamed_fail_memory(error, PLAN_ACTION_COUNT * sizeof *result->actions, "the list of actions");
    }
    struct llavamed_action_report rows[PLAN_ACTION_COUNT] = {0};
    for (size_t i = 0; i < plan->n_tensors; i++) {
        struct llavamed_action_report *row = &rows[plan->tensors[i].action];
        row->n_tensors++;
        row->out_bytes += plan->tensors[i].out.n_bytes;
    }
    for (int action = 0; action < PLAN_ACTION_COUNT; action++) {
        if (rows[action].n_tensors > 0) {
            rows[action].action = plan_action_name(plan->operation, (enum plan_action)action);
            result->actions[result->n_actions++] = rows[action];
        }
    }
    if (plan->n_dropped > 0) {
        result->actions[result->n_actions++] =
            (struct llavamed_action_report){.action = "drop", .n_tensors = plan->n_dropped};
    }
    result->n_tensors = plan->n_tensors;
    result->planned_read_bytes = plan->base_read_bytes + plan->delta_read_bytes;
    result->planned_write_bytes = plan->file_bytes;
    return LLAVAMED_OK;
}

enum llavamed_status result_note_lossy(struct llavamed_result *result, const struct plan *plan,
                                       const struct pipeline_outcome *outcome, struct llavamed_error *error)
{
    result->lossy_tensors = calloc(plan->n_tensors + 1, sizeof *result->lossy_tensors);
    if (result->lossy_tensors == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *result->lossy_tensors, "the list of tensors");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct tensor *out = &plan->tensors[i].out;
        const struct pipeline_tensor *found = &outcome->tensors[i];
        if (found->counts.n_lossy == 0 || found->n_added == 0) {
            continue; /* a rotary buffer counts on neither side */
        }
        struct llavamed_lossy_report *report = &result->lossy_tensors[result->n_lossy_tensors];
        report->name = strdup(out->name);
        if (report->name == NULL) {
            return llavamed_fail_memory(error, strlen(out->name), "a tensor's name");
        }
        result->n_lossy_tensors++;
        report->dtype = dtype_name(out->dtype);
        report->n_lossy = found->counts.n_lossy;
        report->n_elems = out->n_elems;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status note_digests(struct llavamed_result *result, const struct plan *plan,
                                         const struct pipeline_outcome *outcome, struct llavamed_error *error)
{
    if (outcome->tensor_sha256 == NULL) {
        return LLAVAMED_OK;
    }
    result->digests = calloc(plan->n_tensors + 1, sizeof *result->digests);
    if (result->digests == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *result->digests, "the list of digests");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        struct llavamed_tensor_digest *digest = &result->digests[i];
        digest->name = strdup(plan->tensors[i].out.name);
        if (digest->name == NULL) {
            return llavamed_fail_memory(error, strlen(plan->tensors[i].out.name), "a tensor's name");
        }
        result->n_digests = i + 1;
        memcpy(digest->sha256, outcome->tensor_sha256[i], sizeof digest->sha256);
    }
    memcpy(result->model_sha256, outcome->model_sha256, sizeof result->model_sha256);
    return LLAVAMED_OK;
}

enum llavamed_status result_note_outcome(struct llavamed_result *result, const struct plan *plan,
                                         const struct pipeline_outcome *outcome, struct llavamed_error *error)
{
    for (size_t i = 0; i < result->n_shards; i++) {
        memcpy(result->shards[i].sha256, outcome->shard_sha256[i], SHA256_HEX_BYTES);
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct kernel_counts *counts = &outcome->tensors[i].counts;
        result->n_nan += counts->n_nan;
        result->n_infinite += counts->n_infinite;
        result->n_rounded += counts->n_rounded;
        result->n_lossy += outcome->tensors[i].n_added == 0 ? 0 : counts->n_lossy;
        result->n_added += outcome->tensors[i].n_added;
    }
    result->written_bytes = outcome->written_bytes;
    result->reused_bytes = outcome->reused_bytes;
    result->merge_ns = outcome->elapsed_ns;
    result->counters = outcome->counters;
    return note_digests(result, plan, outcome, error);
}

enum llavamed_status result_add_warning(struct llavamed_result *result, const char *text, struct llavamed_error *error)
{
    char **warnings = realloc(result->warnings, (result->n_warnings + 1) * sizeof *warnings);
    if (warnings == NULL) {
        return llavamed_fail_memory(error, (result->n_warnings + 1) * sizeof *warnings, "the list of warnings");
    }
    result->warnings = warnings;
    warnings[result->n_warnings] = strdup(text);
    if (warnings[result->n_warnings] == NULL) {
        return llavamed_fail_memory(error, strlen(text), "a warning");
    }
    result->n_warnings++;
    return LLAVAMED_OK;
}
