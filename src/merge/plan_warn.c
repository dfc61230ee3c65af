/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "merge/plan_parts.h"

#define WARNINGS_MAX 4
#define WARNING_BYTES_MAX 65536

static enum llavamed_status keep_warning(struct plan *plan, struct buffer *text, struct llavamed_error *error)
{
    enum llavamed_status status = buffer_status(text, "a warning", error);
    if (status == LLAVAMED_OK) {
        llavamed_make_printable(text->data);
        plan->warnings[plan->n_warnings++] = buffer_take(text);
    }
    buffer_deinit(text);
    return status;
}

static enum llavamed_status warn_of_vocabulary(struct plan *plan, struct llavamed_error *error)
{
    const struct tensor *embeddings = NULL;
    const struct tensor *head = NULL;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct tensor *out = &plan->tensors[i].out;
        enum model_role role = model_role_of(out->name);
        embeddings = role == MODEL_EMBED_TOKENS ? out : embeddings;
        head = role == MODEL_LM_HEAD ? out : head;
    }
    if (embeddings == NULL || head == NULL || embeddings->rank != 2 || head->rank != 2 ||
        embeddings->shape[0] == head->shape[0]) {
        return LLAVAMED_OK;
    }
    struct buffer text;
    buffer_init(&text, WARNING_BYTES_MAX);
    buffer_printf(&text, "the result's embeddings have %llu rows, its lm_head %llu",
                  (unsigned long long)embeddings->shape[0], (unsigned long long)head->shape[0]);
    return keep_warning(plan, &text, error);
}

static enum llavamed_status warn_of_lossy_base(enum dtype base, enum dtype delta, struct plan *plan,
                                               struct llavamed_error *error)
{
    if (base != DTYPE_BF16 || delta == DTYPE_BF16) {
        return LLAVAMED_OK;
    }
    struct buffer text;
    buffer_init(&text, WARNING_BYTES_MAX);
    buffer_append_text(&text, plan->operation == PLAN_MAKE_DELTA
                                  ? "the base is in bfloat16, perhaps a lossy copy of weights released in float16: the "
                                    "delta will fit this copy, not the released weights"
                                  : "the base is in bfloat16, a lossy copy of weights released in float16: the result "
                                    "will not be the released model");
    return keep_warning(plan, &text, error);
}

static enum llavamed_status warn_of_wide_result(enum dtype base, enum dtype delta, struct plan *plan,
                                                struct llavamed_error *error)
{
    unsigned bits = dtype_bits(plan->model_dtype);
    if (bits <= dtype_bits(base) || bits <= dtype_bits(delta)) {
        return LLAVAMED_OK;
    }
    struct buffer text;
    buffer_init(&text, WARNING_BYTES_MAX);
    buffer_printf(&text,
                  "the result's %s is wider than base (%s) and %s (%s): larger files, and not the bits that the "
                  "reference gives",
                  dtype_torch_name(plan->model_dtype), dtype_torch_name(base), plan_other_name(plan->operation),
                  dtype_torch_name(delta));
    return keep_warning(plan, &text, error);
}

enum llavamed_status plan_warn(const struct plan_input *input, struct plan *plan, struct llavamed_error *error)
{
    plan->warnings = calloc(WARNINGS_MAX, sizeof *plan->warnings);
    if (plan->warnings == NULL) {
        return llavamed_fail_memory(error, WARNINGS_MAX * sizeof *plan->warnings, "warnings");
    }
    enum dtype base = plan_main_dtype(input->base);
    enum dtype delta = plan_main_dtype(input->delta);
    enum llavamed_status status = warn_of_vocabulary(plan, error);
    if (status == LLAVAMED_OK) {
        status = warn_of_lossy_base(base, delta, plan, error);
    }
    if (status == LLAVAMED_OK) {
        status = warn_of_wide_result(base, delta, plan, error);
    }
    return status;
}
