/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the plan of a merge in parts, and telling what another one differs in. part_plan_read.c reads it. */
#include "merge/part_plan.h"

#include <string.h>

#include "merge/manifest.h"
#include "merge/part_plan_parts.h"
#include "merge/part_text.h"

const char *const part_plan_formats[] = {
    [SHARD_SAFETENSORS] = "safetensors",
    [SHARD_TORCH_1_13] = "torch-1.13",
    [SHARD_TORCH_2_13] = "torch-2.13",
};

const char *const part_plan_verifies[] = {
    [LLAVAMED_VERIFY_AUTO] = "auto",
    [LLAVAMED_VERIFY_FULL] = "full",
    [LLAVAMED_VERIFY_NONE] = "none",
};

static void append_comma(struct buffer *out, size_t i)
{
    buffer_append_text(out, i == 0 ? "" : ",");
}

static void append_head(const struct part_plan_facts *facts, const struct plan *plan, struct buffer *out)
{
    buffer_printf(out, "{\"format\":\"" PART_PLAN_FORMAT "\",\"version\":%d,\"tool\":\"" LLAVAMED_VERSION "\",",
                  PART_PLAN_VERSION);
    buffer_printf(out, "\"parts\":%u,\"key\":[", facts->n_parts);
    for (size_t i = 0; i < JOURNAL_PARTS; i++) {
        append_comma(out, i);
        buffer_printf(out, "\"%s\"", facts->key.sha256[i]);
    }
    buffer_printf(out, "],\"recorded\":\"%s\",\"options\":[\"%s\",\"%s\",\"%s\",\"%llu\",\"%s\",\"%s\",\"%s\"],",
                  facts->recorded_sha256, part_plan_formats[facts->options.format],
                  manifest_dtype_option(PLAN_MERGE, facts->options.dtype),
                  manifest_inv_freq_option(facts->options.inv_freq),
                  (unsigned long long)facts->options.max_shard_bytes, part_plan_verifies[facts->verify],
                  facts->digests ? "digests" : "", facts->allow_unknown_base ? "any" : "");
    buffer_printf(out, "\"model_dtype\":\"%s\",\"dropped\":%zu,\"training\":\"%s\",", dtype_name(plan->model_dtype),
                  plan->n_dropped, facts->is_ckpt2 ? "ckpt2" : "");
}

static void append_input(const struct documents_input *input, struct buffer *out)
{
    buffer_printf(out, "{\"format\":\"%s\",\"tensors\":%zu,\"files\":[", input->format, input->n_tensors);
    for (size_t i = 0; i < input->n_files; i++) {
        const struct source_file *file = &input->files[i];
        const char *sha256 = input->digests[i].sha256;
        append_comma(out, i);
        buffer_append_text(out, "[");
        part_append_text(out, file->name);
        buffer_printf(out, ",\"%llu\",\"%s\",\"%s\",\"%s\"]", (unsigned long long)file->n_bytes,
                      file->archive != NULL ? "member" : "", sha256 == NULL ? "" : sha256, file->recorded.md5);
    }
    buffer_append_text(out, "]}");
}

static void append_tensor(const struct plan_tensor *tensor, struct buffer *out)
{
    buffer_append_text(out, "[");
    part_append_text(out, tensor->out.name);
    buffer_printf(out, ",\"%s\",\"%s\",\"", plan_action_name(PLAN_MERGE, tensor->action),
                  dtype_name(tensor->out.dtype));
    for (unsigned i = 0; i < tensor->out.rank; i++) {
        buffer_append_text(out, i == 0 ? "" : "x");
        buffer_append_decimal(out, tensor->out.shape[i]);
    }
    buffer_printf(out, "\",\"%s\"]", tensor->by_bits ? "bits" : "");
}

void part_plan_append(const struct part_plan_job *job, struct buffer *out)
{
    append_head(&job->facts, job->plan, out);
    buffer_append_text(out, "\"inputs\":[");
    for (size_t i = 0; i < INPUT_ROLES; i++) {
        append_comma(out, i);
        append_input(&job->inputs[i], out);
    }
    buffer_append_text(out, "],\"warnings\":[");
    for (size_t i = 0; i < job->n_warnings; i++) {
        append_comma(out, i);
        part_append_text(out, job->warnings[i]);
    }
    buffer_append_text(out, "],\"tensors\":[");
    for (size_t i = 0; i < job->plan->n_tensors; i++) {
        append_comma(out, i);
        append_tensor(&job->plan->tensors[i], out);
    }
    buffer_append_text(out, "]}\n");
}

/* ---- What differs ---- */

/* Whether two members say the same, as far as a text or a number can be compared. */
static bool same_text(const struct json_value *a, const struct json_value *b)
{
    const char *text_a = a == NULL ? NULL : json_string(a);
    const char *text_b = b == NULL ? NULL : json_string(b);
    return text_a != NULL && text_b != NULL && strcmp(text_a, text_b) == 0;
}

static bool same_parts(const struct json_value *a, const struct json_value *b)
{
    uint64_t n_a = 0;
    uint64_t n_b = 0;
    const struct json_value *parts_a = json_member(a, "parts");
    const struct json_value *parts_b = json_member(b, "parts");
    return parts_a != NULL && parts_b != NULL && json_integer(parts_a, &n_a) && json_integer(parts_b, &n_b) &&
           n_a == n_b;
}

static const char *difference_of(const struct json_value *a, const struct json_value *b)
{
    const struct json_value *key_a[JOURNAL_PARTS];
    const struct json_value *key_b[JOURNAL_PARTS];
    if (json_kind_of(a) != JSON_OBJECT || json_kind_of(b) != JSON_OBJECT ||
        !part_read_row(json_member(a, "key"), key_a, JOURNAL_PARTS) ||
        !part_read_row(json_member(b, "key"), key_b, JOURNAL_PARTS)) {
        return "the version of the tool";
    }
    for (int i = 0; i < JOURNAL_PARTS; i++) {
        if (i == JOURNAL_OPTIONS && !same_parts(a, b)) {
            return "the number of parts";
        }
        if (!same_text(key_a[i], key_b[i])) {
            return journal_part_text((enum journal_part)i);
        }
    }
    const struct json_value *recorded_a = json_member(a, "recorded");
    const struct json_value *recorded_b = json_member(b, "recorded");
    return same_text(recorded_a, recorded_b) ? "one of --verify, --digests and --allow-unknown-base"
                                             : "what hashes are recorded for the inputs";
}

const char *part_plan_difference(const char *text, size_t n_bytes, const char *other, size_t other_bytes)
{
    struct json *json = NULL;
    struct json *json_other = NULL;
    const char *difference = "something in it";
    if (json_parse("a plan", text, n_bytes, false, &json, NULL) == LLAVAMED_OK &&
        json_parse("a plan", other, other_bytes, false, &json_other, NULL) == LLAVAMED_OK) {
        difference = difference_of(json_root(json), json_root(json_other));
    }
    json_free(json);
    json_free(json_other);
    return difference;
}
