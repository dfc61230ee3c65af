/* SPDX-License-Identifier: Apache-2.0 */
/* What a result tells of every tensor and every input, when it is asked to. */
#include <stdlib.h>
#include <string.h>

#include "llavamed_reports.h"
#include "merge/result.h"

_Static_assert(LLAVAMED_RANK_MAX == TENSOR_RANK_MAX, "reports have room for every shape");

static void note_size(struct llavamed_tensor_report *report, const struct relative_size *size)
{
    report->has_base = size->base.n_finite > 0 && size->delta.n_finite > 0;
    report->has_alone = size->alone.n_finite > 0;
    report->base_rms = size_sum_rms(&size->base);
    report->delta_rms = size_sum_rms(&size->delta);
    report->alone_rms = size_sum_rms(&size->alone);
}

enum llavamed_status result_note_tensors(struct llavamed_result *result, const struct plan *plan,
                                         const struct pipeline_outcome *outcome, const struct relative_sizes *sizes,
                                         struct llavamed_error *error)
{
    result->tensors = calloc(plan->n_tensors + 1, sizeof *result->tensors);
    if (result->tensors == NULL) {
        return llavamed_fail_memory(error, plan->n_tensors * sizeof *result->tensors, "the reports of tensors");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct plan_tensor *tensor = &plan->tensors[i];
        const struct pipeline_tensor *became = &outcome->tensors[i];
        struct llavamed_tensor_report *report = &result->tensors[i];
        *report = (struct llavamed_tensor_report){
            .action = plan_action_name(plan->operation, tensor->action),
            .dtype = dtype_name(tensor->out.dtype),
            .rank = tensor->out.rank,
            .n_bytes = tensor->out.n_bytes,
            .shard = tensor->shard,
            .crc32 = became->crc32,
            .n_nan = became->counts.n_nan,
            .n_infinite = became->counts.n_infinite,
            .n_rounded = became->counts.n_rounded,
        };
        report->name = strdup(tensor->out.name);
        if (report->name == NULL) {
            return llavamed_fail_memory(error, strlen(tensor->out.name), "the name of a tensor");
        }
        memcpy(report->shape, tensor->out.shape, sizeof report->shape);
        note_size(report, &sizes->tensors[i]);
    }
    return LLAVAMED_OK;
}

enum llavamed_status result_note_input(struct llavamed_result *result, const char *role,
                                       const struct documents_input *input, struct llavamed_error *error)
{
    size_t n = result->n_inputs + input->n_files;
    struct llavamed_input_report *inputs = realloc(result->inputs, (n + 1) * sizeof *inputs);
    if (inputs == NULL) {
        return llavamed_fail_memory(error, n * sizeof *inputs, "the reports of the inputs");
    }
    result->inputs = inputs;
    for (size_t i = 0; i < input->n_files; i++) {
        struct llavamed_input_report *report = &inputs[result->n_inputs];
        *report = (struct llavamed_input_report){
            .role = role,
            .n_bytes = input->files[i].n_bytes,
            .is_computed = input->digests[i].computed,
            .release = input->identity,
        };
        report->name = strdup(input->files[i].name);
        if (report->name == NULL) {
            return llavamed_fail_memory(error, strlen(input->files[i].name), "the name of a file");
        }
        if (input->digests[i].sha256 != NULL) {
            memcpy(report->sha256, input->digests[i].sha256, sizeof report->sha256);
        }
        result->n_inputs++;
    }
    return LLAVAMED_OK;
}

void result_free_reports(struct llavamed_result *result)
{
    for (size_t i = 0; result->tensors != NULL && i < result->n_tensors; i++) {
        free(result->tensors[i].name);
    }
    for (size_t i = 0; i < result->n_inputs; i++) {
        free(result->inputs[i].name);
    }
    free(result->tensors);
    free(result->inputs);
}
