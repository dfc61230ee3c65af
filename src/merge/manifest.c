/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/manifest.h"

#include <string.h>

#include "core/json.h"

struct manifest_totals manifest_totals_of(const struct plan *plan, const struct pipeline_outcome *outcome)
{
    struct manifest_totals totals = {0};
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct pipeline_tensor *tensor = &outcome->tensors[i];
        totals.n_added += tensor->n_added;
        totals.added.n_rounded += tensor->n_added == 0 ? 0 : tensor->counts.n_rounded;
        totals.added.n_delta_zero += tensor->n_added == 0 ? 0 : tensor->counts.n_delta_zero;
        totals.n_nan += tensor->counts.n_nan;
        totals.n_infinite += tensor->counts.n_infinite;
        totals.n_rounded += tensor->counts.n_rounded;
        totals.n_overflow += tensor->n_overflow;
        totals.n_lossy += tensor->n_added == 0 ? 0 : tensor->counts.n_lossy;
    }
    return totals;
}

const char *manifest_dtype_option(enum plan_operation operation, enum llavamed_result_dtype dtype)
{
    switch (dtype) {
    case LLAVAMED_RESULT_DTYPE_FLOAT16:
        return "float16";
    case LLAVAMED_RESULT_DTYPE_BFLOAT16:
        return "bfloat16";
    case LLAVAMED_RESULT_DTYPE_FLOAT32:
        return "float32";
    case LLAVAMED_RESULT_DTYPE_DELTA:
        break;
    }
    return plan_other_name(operation);
}

const char *manifest_inv_freq_option(enum llavamed_inv_freq inv_freq)
{
    return inv_freq == LLAVAMED_INV_FREQ_DROP ? "drop" : "keep";
}

static const char *origin_name(enum plan_operation operation, enum document_origin origin)
{
    switch (origin) {
    case DOCUMENT_COPIED:
        return plan_other_name(operation);
    case DOCUMENT_EDITED:
        return operation == PLAN_MAKE_DELTA ? "target-edited" : "delta-edited";
    case DOCUMENT_MADE:
        break;
    }
    return "made";
}

/* The lines of an array have their comma in front of all but the first. */
static const char *comma(size_t i)
{
    return i == 0 ? "\n" : ",\n";
}

static void append_count(struct buffer *out, const char *key, uint64_t value)
{
    if (value != 0) {
        buffer_printf(out, ", \"%s\": %llu", key, (unsigned long long)value);
    }
}

/*
 * The part of sums with a delta that is not zero which the result's dtype holds exactly, cut to six decimals: 1 only
 * when all are. Left out where there is no such sum; not asked of differences of bits, where nothing can be rounded.
 */
static void append_exact(struct buffer *out, uint64_t n_added, const struct kernel_counts *counts)
{
    if (n_added <= counts->n_delta_zero || n_added - counts->n_delta_zero < counts->n_rounded) {
        return;
    }
    uint64_t n = n_added - counts->n_delta_zero;
    uint64_t n_millionths = (uint64_t)((double)(n - counts->n_rounded) / (double)n * 1e6);
    buffer_printf(out, ", \"exact\": %llu.%06llu", (unsigned long long)(n_millionths / 1000000),
                  (unsigned long long)(n_millionths % 1000000));
}

static const char *record_crc(const struct documents_input *input)
{
    if (strcmp(input->format, "safetensors") == 0) {
        return "none"; /* the format has no checksums */
    }
    return input->crc_checked ? "checked" : "not-checked";
}

static void append_input(struct buffer *out, const char *role, const struct documents_input *input)
{
    buffer_printf(out,
                  "    \"%s\": {\n      \"format\": \"%s\",\n      \"identity\": \"%s\",\n"
                  "      \"record_crc32\": \"%s\",\n      \"tensors\": %zu,\n      \"files\": [",
                  role, input->format, input->identity == NULL ? "unknown" : input->identity,
                  record_crc(input), input->n_tensors);
    for (size_t i = 0; i < input->n_files; i++) {
        buffer_printf(out, "%s        {\"name\": ", comma(i));
        json_append_ascii(out, input->files[i].name);
        if (input->files[i].archive != NULL) {
            buffer_append_text(out, ", \"archive\": ");
            json_append_ascii(out, input->files[0].name);
        }
        buffer_printf(out, ", \"bytes\": %llu", (unsigned long long)input->files[i].n_bytes);
        if (input->digests != NULL && input->digests[i].sha256 != NULL) {
            buffer_printf(out, ", \"sha256\": \"%s\", \"sha256_is\": \"%s\"", input->digests[i].sha256,
                          input->digests[i].computed ? "computed" : "recorded");
        }
        if (input->files[i].recorded.md5[0] != '\0') {
            buffer_append_text(out, ", \"md5_is\": \"checked\"");
        }
        buffer_append_text(out, "}");
    }
    buffer_append_text(out, "\n      ]\n    }");
}

static const char *const format_options[] = {
    [SHARD_SAFETENSORS] = "\"safetensors\"",
    [SHARD_TORCH_1_13] = "\"torch\", \"torch_profile\": \"1.13\"",
    [SHARD_TORCH_2_13] = "\"torch\", \"torch_profile\": \"2.13\"",
};

static void append_head(struct buffer *out, const struct plan *plan, const struct documents_job *job)
{
    bool makes_delta = plan->operation == PLAN_MAKE_DELTA;
    buffer_printf(out,
                  "{\n  \"format\": \"" MANIFEST_FORMAT "\",\n  \"version\": %d,\n"
                  "  \"tool\": {\"name\": \"llavamed-%s\", \"version\": \"" LLAVAMED_VERSION "\"},\n"
                  "  \"options\": {\"format\": %s, \"dtype\": \"%s\", \"inv_freq\": \"%s\", "
                  "\"max_shard_size\": %llu%s},\n  \"inputs\": {\n",
                  MANIFEST_VERSION, makes_delta ? "make-delta" : "apply", format_options[job->options.format],
                  manifest_dtype_option(plan->operation, job->options.dtype),
                  manifest_inv_freq_option(job->options.inv_freq), (unsigned long long)job->options.max_shard_bytes,
                  job->options.exact ? ", \"exact\": true" : "");
    append_input(out, "base", &job->base);
    buffer_append_text(out, ",\n");
    append_input(out, plan_other_name(plan->operation), &job->delta);
    struct manifest_totals totals = manifest_totals_of(plan, job->outcome);
    buffer_printf(out,
                  "\n  },\n  \"result\": {\"dtype\": \"%s\", \"tensors\": %zu, \"tensor_bytes\": %llu, "
                  "\"shard_bytes\": %llu, \"inv_freq_dropped\": %zu, \"nan\": %llu, \"infinite\": %llu, "
                  "\"rounded\": %llu, \"overflowed\": %llu",
                  dtype_name(plan->model_dtype), plan->n_tensors, (unsigned long long)plan->data_bytes,
                  (unsigned long long)plan->file_bytes, plan->n_dropped, (unsigned long long)totals.n_nan,
                  (unsigned long long)totals.n_infinite, (unsigned long long)totals.n_rounded,
                  (unsigned long long)totals.n_overflow);
    append_exact(out, job->options.exact ? 0 : totals.n_added, &totals.added);
    if (job->outcome->tensor_sha256 != NULL) {
        buffer_printf(out, ", \"model_sha256\": \"%s\"", job->outcome->model_sha256);
    }
    if (makes_delta) {
        buffer_printf(out, ", \"subtracted\": %llu, \"lossy\": %llu", (unsigned long long)totals.n_added,
                      (unsigned long long)totals.n_lossy);
    }
    buffer_append_text(out, "},\n");
}

static void append_files(struct buffer *out, const struct plan *plan, const struct pipeline_outcome *outcome,
                         const struct document_list *list)
{
    buffer_append_text(out, "  \"shards\": [");
    for (size_t i = 0; i < plan->n_shards; i++) {
        buffer_printf(out, "%s    {\"name\": ", comma(i));
        json_append_ascii(out, plan->shards[i].name);
        buffer_printf(out, ", \"bytes\": %llu, \"sha256\": \"%s\"}",
                      (unsigned long long)plan->shards[i].layout.file_bytes, outcome->shard_sha256[i]);
    }
    buffer_append_text(out, "\n  ],\n  \"documents\": [");
    for (size_t i = 0; i < list->n_entries; i++) {
        const struct document_entry *entry = &list->entries[i];
        buffer_printf(out, "%s    {\"name\": ", comma(i));
        json_append_ascii(out, entry->name);
        buffer_printf(out, ", \"bytes\": %llu, \"sha256\": \"%s\", \"from\": \"%s\"}",
                      (unsigned long long)entry->n_bytes, entry->sha256, origin_name(plan->operation, entry->origin));
    }
    buffer_append_text(out, "\n  ],\n");
}

static void append_tensor(struct buffer *out, const struct plan *plan, size_t index,
                          const struct pipeline_outcome *outcome)
{
    const struct plan_tensor *tensor = &plan->tensors[index];
    const struct pipeline_tensor *found = &outcome->tensors[index];
    char shape[TENSOR_SHAPE_TEXT_BYTES];
    buffer_append_text(out, "    {\"name\": ");
    json_append_ascii(out, tensor->out.name);
    buffer_printf(out, ", \"action\": \"%s\", \"dtype\": \"%s\", \"shape\": %s, \"shard\": ",
                  plan_action_name(plan->operation, tensor->action), dtype_name(tensor->out.dtype),
                  tensor_shape_text(&tensor->out, shape));
    json_append_ascii(out, plan->shards[tensor->shard].name);
    buffer_append_text(out, tensor->by_bits ? ", \"by\": \"bits\"" : "");
    buffer_printf(out, ", \"crc32\": \"%08x\"", (unsigned)found->crc32);
    if (plan_makes_bits(plan, index)) {
        buffer_printf(out, ", \"target_crc32\": \"%08x\"", (unsigned)found->target_crc32);
    }
    if (outcome->tensor_sha256 != NULL) {
        buffer_printf(out, ", \"sha256\": \"%s\"", outcome->tensor_sha256[index]);
    }
    append_count(out, "nan", found->counts.n_nan);
    append_count(out, "infinite", found->counts.n_infinite);
    append_count(out, "rounded", found->counts.n_rounded);
    append_count(out, "delta_zero", found->counts.n_delta_zero);
    append_exact(out, tensor->by_bits ? 0 : found->n_added, &found->counts);
    append_count(out, "overflowed", found->n_overflow);
    append_count(out, "lossy", found->counts.n_lossy);
    buffer_append_text(out, "}");
}

static void append_warnings(struct buffer *out, const struct documents_job *job)
{
    buffer_append_text(out, "  \"warnings\": [");
    for (size_t i = 0; i < job->n_warnings; i++) {
        buffer_printf(out, "%s    ", comma(i));
        json_append_ascii(out, job->warnings[i]);
    }
    buffer_append_text(out, job->n_warnings == 0 ? "]\n}\n" : "\n  ]\n}\n");
}

enum llavamed_status manifest_write(struct document_file *document, const struct plan *plan,
                                    const struct documents_job *job, const struct document_list *list,
                                    struct llavamed_error *error)
{
    struct buffer *out = document_text(document);
    append_head(out, plan, job);
    append_files(out, plan, job->outcome, list);
    buffer_append_text(out, "  \"tensors\": [");
    for (size_t i = 0; i < plan->n_tensors; i++) {
        buffer_append_text(out, comma(i));
        append_tensor(out, plan, i, job->outcome);
        if (i % 1024 == 1023) {
            enum llavamed_status status = document_flush(document, error);
            if (status != LLAVAMED_OK) {
                return status;
            }
        }
    }
    buffer_append_text(out, "\n  ],\n");
    append_warnings(out, job);
    return document_flush(document, error);
}
