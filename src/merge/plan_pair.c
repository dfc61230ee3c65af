/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is added to whom. Semantics of LLaVA's apply_delta, with the cases that it lets pass in silence (a base with more
 * layers, a base that already is a LLaVA model) made errors. All problems are collected, in the order of the model.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "merge/bit_difference.h"
#include "merge/inv_freq.h"
#include "merge/plan_parts.h"

/* Of a name in a problem's text, so that what follows it is always seen. */
#define SHOWN_NAME_BYTES 200

/* One tensor name of the pair: where it is in the delta and in the base, or TENSOR_NOT_FOUND. */
struct row {
    size_t delta_index;
    size_t base_index;
};

struct pairing {
    const struct plan_input *input;
    struct plan *plan;
    /* The names of both sides, each once: the delta's, then those of the base alone. Borrows everything. */
    const char **names;
    size_t n_names;
    struct row *rows; /* as names */
    size_t *order;    /* of names, in model order */
    size_t n_shared;
    bool vocabulary_smaller;
    struct llavamed_error found; /* only its list of problems is used */
};

/* Of a tensor's values: what differences of bits in an exact delta are to become. */
static enum dtype values_dtype(const struct tensor *tensor)
{
    enum dtype dtype = tensor->dtype;
    if (tensor->in_exact_delta) {
        (void)bit_difference_values(tensor->dtype, &dtype);
    }
    return dtype;
}

enum dtype plan_main_dtype(const struct tensor_set *set)
{
    uint64_t n_elems[DTYPE_COUNT] = {0};
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        enum dtype dtype = values_dtype(tensor);
        if (dtype_is_addable(dtype) && model_role_of(tensor->name) != MODEL_INV_FREQ &&
            !checked_add_u64(n_elems[dtype], tensor->n_elems, &n_elems[dtype])) {
            n_elems[dtype] = UINT64_MAX;
        }
    }
    enum dtype most = DTYPE_F32;
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (n_elems[i] > n_elems[most]) {
            most = (enum dtype)i;
        }
    }
    return most;
}

static enum dtype result_dtype(const struct plan_options *options, enum dtype of_delta)
{
    switch (options->dtype) {
    case LLAVAMED_RESULT_DTYPE_FLOAT16:
        return DTYPE_F16;
    case LLAVAMED_RESULT_DTYPE_BFLOAT16:
        return DTYPE_BF16;
    case LLAVAMED_RESULT_DTYPE_FLOAT32:
        return DTYPE_F32;
    case LLAVAMED_RESULT_DTYPE_DELTA:
        break;
    }
    return of_delta;
}

static void pairing_deinit(struct pairing *pairing)
{
    free(pairing->names);
    free(pairing->rows);
    free(pairing->order);
}

/* Fills names and rows; base_of and delta_of are room for an index per tensor of the delta and of the base. */
static void list_names(struct pairing *pairing, size_t *base_of, size_t *delta_of)
{
    const struct tensor_set *base = pairing->input->base;
    const struct tensor_set *delta = pairing->input->delta;
    tensor_set_find_all(base, delta, base_of);
    tensor_set_find_all(delta, base, delta_of);
    for (size_t i = 0; i < delta->n_tensors; i++) {
        pairing->names[i] = delta->tensors[i].name;
        pairing->rows[i] = (struct row){i, base_of[i]};
        pairing->n_shared += base_of[i] != TENSOR_NOT_FOUND;
    }
    pairing->n_names = delta->n_tensors;
    for (size_t i = 0; i < base->n_tensors; i++) {
        if (delta_of[i] == TENSOR_NOT_FOUND) {
            pairing->names[pairing->n_names] = base->tensors[i].name;
            pairing->rows[pairing->n_names] = (struct row){TENSOR_NOT_FOUND, i};
            pairing->n_names++;
        }
    }
}

/* Fills names, rows and order. O(n log n). */
static enum llavamed_status pairing_init(struct pairing *pairing, struct llavamed_error *error)
{
    size_t n_base = pairing->input->base->n_tensors;
    size_t n_delta = pairing->input->delta->n_tensors;
    size_t n_max = n_base + n_delta;
    struct plan *plan = pairing->plan;
    pairing->names = calloc(n_max + 1, sizeof *pairing->names);
    pairing->rows = calloc(n_max + 1, sizeof *pairing->rows);
    pairing->order = calloc(n_max + 1, sizeof *pairing->order);
    plan->tensors = calloc(n_delta + 1, sizeof *plan->tensors);
    if (pairing->names == NULL || pairing->rows == NULL || pairing->order == NULL || plan->tensors == NULL) {
        return llavamed_fail_memory(error, (n_delta + 1) * sizeof *plan->tensors, "the plan");
    }
    /* Lent until it holds the order. */
    list_names(pairing, pairing->order, pairing->order + n_delta);
    return model_order(pairing->names, pairing->n_names, pairing->order, error);
}

/* "delta", or "target". */
static const char *other_name(const struct pairing *pairing)
{
    return plan_other_name(pairing->plan->operation);
}

static void shape_problem(struct pairing *pairing, const struct tensor *base, const struct tensor *delta,
                          const char *what)
{
    char base_text[TENSOR_SHAPE_TEXT_BYTES];
    char delta_text[TENSOR_SHAPE_TEXT_BYTES];
    llavamed_problem(&pairing->found, "%.*s: %s (base %.120s, %s %.120s)", SHOWN_NAME_BYTES, delta->name, what,
                     tensor_shape_text(base, base_text), other_name(pairing), tensor_shape_text(delta, delta_text));
}

static void dtype_problem(struct pairing *pairing, const struct tensor *base, const struct tensor *delta,
                          const char *what)
{
    llavamed_problem(&pairing->found, "%.*s: %s (base %s, %s %s)", SHOWN_NAME_BYTES, delta->name, what,
                     base == NULL ? "none" : dtype_name(base->dtype), other_name(pairing), dtype_name(delta->dtype));
}

/* What happens to one pair, found by checks alone; PLAN_ACTION_COUNT after a problem was noted. */
static enum plan_action action_of_inv_freq(struct pairing *pairing, const struct tensor *base,
                                           const struct tensor *delta)
{
    if (!dtype_is_addable(delta->dtype) || (base != NULL && !dtype_is_addable(base->dtype))) {
        dtype_problem(pairing, base, delta, "rotary frequencies of a dtype that cannot be added");
        return PLAN_ACTION_COUNT;
    }
    if (delta->rank != 1 || delta->n_elems > INV_FREQ_ELEMS_MAX) {
        char text[TENSOR_SHAPE_TEXT_BYTES];
        llavamed_problem(&pairing->found, "%.*s: no shape for rotary frequencies (got %.120s, want [N], N up to %d)",
                         SHOWN_NAME_BYTES, delta->name, tensor_shape_text(delta, text), INV_FREQ_ELEMS_MAX);
        return PLAN_ACTION_COUNT;
    }
    if (base != NULL && !tensor_same_shape(base, delta)) {
        shape_problem(pairing, base, delta, "shapes differ");
        return PLAN_ACTION_COUNT;
    }
    bool exact = pairing->input->options->exact || (pairing->plan->operation == PLAN_MERGE && delta->in_exact_delta);
    return exact ? PLAN_COPY_DELTA : PLAN_INV_FREQ;
}

static enum plan_action action_of_delta_alone(struct pairing *pairing, const struct tensor *delta)
{
    if (model_role_of(delta->name) != MODEL_PROJECTOR) {
        llavamed_problem(&pairing->found, "%.*s: in the %s, but not in the base", SHOWN_NAME_BYTES, delta->name,
                         other_name(pairing));
        return PLAN_ACTION_COUNT;
    }
    if (!dtype_is_addable(delta->dtype) && !dtype_is_integral(delta->dtype)) {
        dtype_problem(pairing, NULL, delta, "a dtype that cannot be merged");
        return PLAN_ACTION_COUNT;
    }
    return PLAN_COPY_DELTA;
}

/* Embeddings may have grown: the reference adds the base to the top-left block, in both dimensions. */
static enum plan_action action_of_float_shapes(struct pairing *pairing, const struct tensor *base,
                                               const struct tensor *delta)
{
    if (tensor_same_shape(base, delta)) {
        return PLAN_ADD;
    }
    enum model_role role = model_role_of(delta->name);
    bool may_grow = (role == MODEL_EMBED_TOKENS || role == MODEL_LM_HEAD) && base->rank == 2 && delta->rank == 2;
    if (may_grow && delta->shape[0] < base->shape[0]) {
        pairing->vocabulary_smaller = true;
        shape_problem(pairing, base, delta,
                      pairing->plan->operation == PLAN_MAKE_DELTA ? "the vocabulary is smaller in the target"
                                                                  : "the vocabulary is smaller in the delta");
        return PLAN_ACTION_COUNT;
    }
    if (may_grow && delta->shape[1] >= base->shape[1]) {
        return PLAN_ADD_TOP_LEFT;
    }
    shape_problem(pairing, base, delta, "shapes differ");
    return PLAN_ACTION_COUNT;
}

/* Whether a delta says of itself that it is an exact one. */
static bool is_exact_merge(const struct pairing *pairing, const struct tensor *delta)
{
    return pairing->plan->operation == PLAN_MERGE && delta->in_exact_delta;
}

static enum plan_action action_of_pair(struct pairing *pairing, const struct tensor *base, const struct tensor *delta)
{
    bool base_integral = dtype_is_integral(base->dtype);
    bool delta_integral = dtype_is_integral(delta->dtype);
    if (is_exact_merge(pairing, delta) && dtype_is_addable(base->dtype) && dtype_is_addable(values_dtype(delta))) {
        if (delta->dtype == values_dtype(delta)) {
            dtype_problem(pairing, base, delta, "floating point where an exact delta has integers");
            return PLAN_ACTION_COUNT;
        }
        return action_of_float_shapes(pairing, base, delta);
    }
    if ((!base_integral && !dtype_is_addable(base->dtype)) || (!delta_integral && !dtype_is_addable(delta->dtype))) {
        dtype_problem(pairing, base, delta, "a dtype that cannot be added");
        return PLAN_ACTION_COUNT;
    }
    if (!base_integral && !delta_integral) {
        return action_of_float_shapes(pairing, base, delta);
    }
    if (base->dtype != delta->dtype) {
        dtype_problem(pairing, base, delta,
                      base_integral && delta_integral ? "integer dtypes differ" : "integers against floating point");
        return PLAN_ACTION_COUNT;
    }
    if (!tensor_same_shape(base, delta)) {
        shape_problem(pairing, base, delta, "shapes differ");
        return PLAN_ACTION_COUNT;
    }
    return PLAN_COPY_DELTA;
}

static enum llavamed_status count_bytes(const struct plan_input *input, struct plan *plan, enum plan_action action,
                                        const struct row *row, struct llavamed_error *error)
{
    bool fits = checked_add_u64(plan->delta_read_bytes, input->delta->tensors[row->delta_index].n_bytes,
                                &plan->delta_read_bytes);
    if (action != PLAN_COPY_DELTA && row->base_index != TENSOR_NOT_FOUND) {
        fits = fits && checked_add_u64(plan->base_read_bytes, input->base->tensors[row->base_index].n_bytes,
                                       &plan->base_read_bytes);
    }
    if (!fits) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: the sizes of all tensors do not fit 64 bits",
                             input->delta_spec);
    }
    return LLAVAMED_OK;
}

/* What an exact delta gives has the target's own dtypes, or it would not be exact. */
static enum llavamed_status check_exact_dtype(const struct plan_input *input, const struct tensor *delta,
                                              struct llavamed_error *error)
{
    if (input->options->dtype == LLAVAMED_RESULT_DTYPE_DELTA) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE,
                        "%s: an exact delta gives the dtypes of its target and no other (%.*s)", input->delta_spec,
                        SHOWN_NAME_BYTES, delta->name);
    llavamed_hint(error, "leave --dtype out");
    return LLAVAMED_STATUS_USAGE;
}

static enum llavamed_status pair_one(struct pairing *pairing, const struct row *row, struct llavamed_error *error)
{
    const struct plan_input *input = pairing->input;
    struct plan *plan = pairing->plan;
    const struct tensor *base = row->base_index == TENSOR_NOT_FOUND ? NULL : &input->base->tensors[row->base_index];
    if (row->delta_index == TENSOR_NOT_FOUND) {
        assert(base != NULL);
        if (model_role_of(base->name) != MODEL_INV_FREQ) {
            llavamed_problem(&pairing->found, "%.*s: in the base, but not in the %s", SHOWN_NAME_BYTES, base->name,
                             other_name(pairing));
        }
        return LLAVAMED_OK;
    }
    const struct tensor *delta = &input->delta->tensors[row->delta_index];
    bool is_inv_freq = model_role_of(delta->name) == MODEL_INV_FREQ;
    if (is_inv_freq && input->options->inv_freq == LLAVAMED_INV_FREQ_DROP) {
        plan->n_dropped++;
        return LLAVAMED_OK;
    }
    enum plan_action action = is_inv_freq    ? action_of_inv_freq(pairing, base, delta)
                              : base == NULL ? action_of_delta_alone(pairing, delta)
                                             : action_of_pair(pairing, base, delta);
    if (action == PLAN_ACTION_COUNT) {
        return LLAVAMED_OK;
    }
    struct plan_tensor made = {.action = action, .delta_index = row->delta_index, .base_index = row->base_index};
    enum dtype dtype = action == PLAN_INV_FREQ           ? DTYPE_F32
                       : dtype_is_integral(delta->dtype) ? delta->dtype
                                                         : result_dtype(input->options, delta->dtype);
    if (is_exact_merge(pairing, delta)) {
        enum llavamed_status refused = check_exact_dtype(input, delta, error);
        if (refused != LLAVAMED_OK) {
            return refused;
        }
    }
    made.by_bits = (action == PLAN_ADD || action == PLAN_ADD_TOP_LEFT) &&
                   (input->options->exact || is_exact_merge(pairing, delta));
    if (made.by_bits) {
        dtype = input->options->exact ? bit_difference_dtype(delta->dtype) : values_dtype(delta);
    }
    enum llavamed_status status = count_bytes(input, plan, action, row, error);
    if (status == LLAVAMED_OK) {
        status = tensor_init(&made.out, input->delta_spec, delta->name, strlen(delta->name), dtype, delta->shape,
                             delta->rank, error);
    }
    if (status == LLAVAMED_OK) {
        made.out.in_exact_delta = input->options->exact;
        plan->tensors[plan->n_tensors++] = made;
    }
    return status;
}

static uint64_t count_layers(const struct tensor_set *set)
{
    uint64_t n = 0;
    uint32_t layer;
    for (size_t i = 0; i < set->n_tensors; i++) {
        if (model_layer_of(set->tensors[i].name, &layer)) {
            n = max_u64(n, (uint64_t)layer + 1);
        }
    }
    return n;
}

/* Columns of the embeddings; 0 when there are none. */
static uint64_t hidden_size(const struct tensor_set *set)
{
    size_t index = tensor_set_find(set, "model.embed_tokens.weight");
    return index == TENSOR_NOT_FOUND || set->tensors[index].rank != 2 ? 0 : set->tensors[index].shape[1];
}

/* Whether the path is that of one file of a sharded set: "NAME-00001-of-00002.bin", or .safetensors. */
static bool is_shard_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *of = strstr(name, "-of-");
    return of != NULL && of - name >= 6 && of[-6] == '-' && strspn(of - 5, "0123456789") == 5 &&
           strspn(of + 4, "0123456789") == 5 && (strcmp(of + 9, ".bin") == 0 || strcmp(of + 9, ".safetensors") == 0);
}

/* One cause that explains most of the problems, when there is one. */
static void hint_at_cause(const struct pairing *pairing, struct llavamed_error *error)
{
    const struct plan_input *input = pairing->input;
    uint64_t base_layers = count_layers(input->base);
    uint64_t delta_layers = count_layers(input->delta);
    uint64_t base_hidden = hidden_size(input->base);
    uint64_t delta_hidden = hidden_size(input->delta);
    bool is_shard = is_shard_path(input->base_spec);
    const char *other = other_name(pairing);
    if (is_shard || is_shard_path(input->delta_spec)) {
        llavamed_hint(error, "the %s is one file of several: give the directory that holds all of them",
                      is_shard ? "base" : other);
    } else if (pairing->n_shared == 0) {
        llavamed_hint(error, "no tensor name is in both: is the %s really one for this kind of model?", other);
    } else if (base_layers != delta_layers) {
        llavamed_hint(error, "the base has %llu layers, the %s %llu: take the base of the %s's size",
                      (unsigned long long)base_layers, other, (unsigned long long)delta_layers, other);
    } else if (base_hidden != 0 && delta_hidden != 0 && base_hidden != delta_hidden) {
        llavamed_hint(error, "the base has hidden size %llu, the %s %llu: take the base of the %s's size",
                      (unsigned long long)base_hidden, other, (unsigned long long)delta_hidden, other);
    } else if (pairing->vocabulary_smaller && pairing->plan->operation == PLAN_MAKE_DELTA) {
        llavamed_hint(error, "were base and target exchanged? if not, no delta can make the vocabulary smaller");
    } else if (pairing->vocabulary_smaller) {
        llavamed_hint(error, "were base and delta exchanged? if not, this delta was made for another base, one with a "
                             "smaller vocabulary");
    }
}

static enum llavamed_status fail_with_problems(const struct pairing *pairing, struct llavamed_error *error)
{
    const struct plan_input *input = pairing->input;
    const struct llavamed_error *found = &pairing->found;
    enum llavamed_status status = llavamed_fail(
        error, LLAVAMED_STATUS_PAIR_MISMATCH, "base %s and %s %s do not belong together (%zu problem%s)",
        input->base_spec, other_name(pairing), input->delta_spec, found->n_problems,
        found->n_problems == 1 ? "" : "s");
    if (error != NULL) {
        error->n_problems = found->n_problems;
        memcpy(error->problems, found->problems, sizeof error->problems);
    }
    hint_at_cause(pairing, error);
    return status;
}

static bool holds_projector(const struct tensor_set *set, const char **name)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        if (model_role_of(set->tensors[i].name) == MODEL_PROJECTOR) {
            *name = set->tensors[i].name;
            return true;
        }
    }
    return false;
}

static enum llavamed_status refuse_merged_base(const struct plan_input *input, struct llavamed_error *error)
{
    const char *name;
    if (!holds_projector(input->base, &name)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status =
        llavamed_fail(error, LLAVAMED_STATUS_PAIR_BASE_MERGED, "%s: the base already is a LLaVA model (it holds %.*s)",
                      input->base_spec, SHOWN_NAME_BYTES, name);
    if (!holds_projector(input->delta, &name)) {
        const char *other = plan_other_name(input->options->operation);
        llavamed_hint(error, "the %s holds no mm_projector: were base and %s exchanged?", other, other);
    } else if (input->options->operation == PLAN_MAKE_DELTA) {
        llavamed_hint(error, "give the language model that the target was trained from as the base");
    } else {
        llavamed_hint(error, "give the language model that the delta was made from as the base");
    }
    return status;
}

enum llavamed_status plan_pair(const struct plan_input *input, struct plan *plan, struct llavamed_error *error)
{
    enum llavamed_status status = refuse_merged_base(input, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct pairing pairing = {.input = input, .plan = plan};
    status = pairing_init(&pairing, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < pairing.n_names; i++) {
        status = pair_one(&pairing, &pairing.rows[pairing.order[i]], error);
    }
    if (status == LLAVAMED_OK && pairing.found.n_problems == 0 && plan->n_tensors == 0) {
        llavamed_problem(&pairing.found, "the %s holds nothing to %s", other_name(&pairing),
                         plan->operation == PLAN_MAKE_DELTA ? "make a delta of" : "merge");
    }
    if (status == LLAVAMED_OK && pairing.found.n_problems > 0) {
        status = fail_with_problems(&pairing, error);
    }
    plan->model_dtype = result_dtype(input->options, plan_main_dtype(input->delta));
    pairing_deinit(&pairing);
    return status;
}
