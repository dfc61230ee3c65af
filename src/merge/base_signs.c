/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/base_signs.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "source/model_config.h"
#include "tensor/model_order.h"

#define LLAMA1_ROWS 32000
#define LLAMA1_POSITIONS 2048
#define SIGNS_BYTES_MAX 600
#define SHOWN_TEXT_BYTES 60

/* ---- Judging ---- */

struct judgement {
    const struct base_signs_side *base;
    const struct base_signs_side *delta;
    struct llavamed_error *failure; /* of reading a file that helps */
    struct model_config base_config;
    struct model_config delta_config;
    struct warnings *warnings;
    struct warnings *notes;
    char signs[SIGNS_BYTES_MAX]; /* the certain ones: "a, b" */
    const char *looks_like;      /* the model that the first of them speaks for */
};

static void add_sign(struct judgement *judgement, const char *looks_like, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_sign(struct judgement *judgement, const char *looks_like, const char *format, ...)
{
    size_t used = strlen(judgement->signs);
    if (used > 0) {
        (void)snprintf(judgement->signs + used, sizeof judgement->signs - used, ", ");
        used = strlen(judgement->signs);
    } else {
        judgement->looks_like = looks_like;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(judgement->signs + used, sizeof judgement->signs - used, format, args);
    va_end(args);
}

static bool is_llama1_width(uint64_t hidden)
{
    return hidden == 4096 || hidden == 5120 || hidden == 6656 || hidden == 8192;
}

static double llama1_epsilon(uint64_t hidden)
{
    return hidden == 8192 ? 1e-05 : 1e-06;
}

static bool is_near(double a, double b)
{
    return a == b || (a > b * 0.99 && a < b * 1.01); /* infinity and the smallest numbers are near themselves only so */
}

static void judge_numbers(struct judgement *judgement)
{
    const struct model_config *base = &judgement->base_config;
    const struct model_config *delta = &judgement->delta_config;
    bool epsilon_shared = delta->epsilon > 0 && is_near(base->epsilon, delta->epsilon);
    if (base->epsilon > 0 && is_llama1_width(base->hidden) && !is_near(base->epsilon, llama1_epsilon(base->hidden)) &&
        !epsilon_shared) {
        add_sign(judgement, "Llama-2", "a norm epsilon of %g at width %llu (LLaMA-1: %g)", base->epsilon,
                 (unsigned long long)base->hidden, llama1_epsilon(base->hidden));
    }
    if (base->key_value_heads != 0 && base->heads != 0 && base->key_value_heads != base->heads &&
        base->key_value_heads != delta->key_value_heads) {
        add_sign(judgement, "a later Llama", "%llu key and value heads for %llu heads (LLaMA-1: as many)",
                 (unsigned long long)base->key_value_heads, (unsigned long long)base->heads);
    }
    if (base->ffn_multiplier) {
        add_sign(judgement, "a later Llama", "an ffn_dim_multiplier (LLaMA-1: none)");
    }
    if (base->rope_theta > 0 && !is_near(base->rope_theta, 10000) && !is_near(base->rope_theta, delta->rope_theta)) {
        add_sign(judgement, "a later Llama", "rope_theta %g (LLaMA-1: 10000)", base->rope_theta);
    }
}

/* Longer contexts are written into configs of LLaMA-1 too, so alone they prove nothing. */
static void judge_positions(struct judgement *judgement)
{
    const struct model_config *base = &judgement->base_config;
    const struct model_config *delta = &judgement->delta_config;
    if (base->positions > LLAMA1_POSITIONS && base->positions != delta->positions) {
        if (judgement->signs[0] != '\0') {
            add_sign(judgement, NULL, "%llu positions (LLaMA-1: %d)", (unsigned long long)base->positions,
                     LLAMA1_POSITIONS);
        } else {
            warnings_add(judgement->warnings,
                         "base: its config.json has max_position_embeddings %llu (LLaMA-1: %d): is it Llama-2, or a "
                         "fine-tune for long texts?",
                         (unsigned long long)base->positions, LLAMA1_POSITIONS);
        }
    }
    if (base->rope_scaling && !delta->rope_scaling && judgement->signs[0] == '\0') {
        warnings_add(judgement->warnings,
                     "base: its config.json has a rope_scaling, which LLaMA-1 has not: is it a fine-tune for long "
                     "texts?");
    }
}

/* Rows and columns of the embeddings; NULL when there are none. */
static const uint64_t *embeddings_of(const struct tensor_set *set)
{
    size_t index = tensor_set_find(set, "model.embed_tokens.weight");
    return index == TENSOR_NOT_FOUND || set->tensors[index].rank != 2 ? NULL : set->tensors[index].shape;
}

static void judge_rows(struct judgement *judgement)
{
    const uint64_t *shape = embeddings_of(judgement->base->set);
    if (shape == NULL) {
        return;
    }
    if (is_llama1_width(shape[1]) && shape[0] > LLAMA1_ROWS) {
        const char *looks_like = shape[0] == LLAMA1_ROWS + 1 ? "Vicuna v0 or Alpaca" : "a fine-tuned model";
        add_sign(judgement, looks_like, "%llu rows of embeddings (LLaMA-1: %d)", (unsigned long long)shape[0],
                 LLAMA1_ROWS);
        return;
    }
    const struct source_small_file *added_tokens =
        model_config_find(judgement->base->files, judgement->base->n_files, "added_tokens.json");
    struct json *added = model_config_object(added_tokens, judgement->failure);
    if (added != NULL && json_member(json_root(added), "[PAD]") != NULL) {
        warnings_add(judgement->warnings, "base: its added_tokens.json has [PAD], which LLaMA-1 has not and Vicuna v0 "
                                          "and Alpaca have: is it one of them?");
    }
    json_free(added);
}

/* Whether `text` holds `word`, whatever the case of its letters; `word` is in small letters. */
static bool holds_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; *at != '\0'; at++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)at[i]) == word[i]) {
            i++;
        }
        if (i == n) {
            return true;
        }
    }
    return false;
}

static void judge_names(struct judgement *judgement)
{
    static const char *const others[] = {"vicuna", "alpaca", "llava",  "llama-2",
                                         "llama2", "koala",  "wizard", "guanaco"};
    const struct model_config *base = &judgement->base_config;
    if (base->architecture != NULL && strcmp(base->architecture, "LLaMAForCausalLM") == 0) {
        warnings_add(judgement->notes, "base: converted by a very early script (LLaMAForCausalLM, as decapoda-research "
                                       "published it): its weights are LLaMA-1, its tokenizer is wrong and not used");
    }
    for (size_t i = 0; base->from != NULL && i < sizeof others / sizeof others[0]; i++) {
        if (holds_word(base->from, others[i])) {
            warnings_add(judgement->warnings,
                         "base: its config.json says that it was made from '%.*s', which does not sound like the "
                         "original LLaMA",
                         SHOWN_TEXT_BYTES, base->from);
            return;
        }
    }
}

static bool is_llava_config(const struct model_config *config)
{
    return config->llava_key != NULL || (config->model_type != NULL && holds_word(config->model_type, "llava")) ||
           (config->architecture != NULL && holds_word(config->architecture, "llava"));
}

static bool holds_projector(const struct tensor_set *set)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        if (model_role_of(set->tensors[i].name) == MODEL_PROJECTOR) {
            return true;
        }
    }
    return false;
}

static const char *other_name(const struct judgement *judgement)
{
    return judgement->delta->name != NULL ? judgement->delta->name : "delta";
}

static enum llavamed_status refuse_llava(const struct judgement *judgement, struct llavamed_error *error)
{
    const char *other = other_name(judgement);
    const struct model_config *config = &judgement->base_config;
    bool exchanged = !is_llava_config(&judgement->delta_config) && !holds_projector(judgement->delta->set);
    const char *what = config->llava_key != NULL                                               ? config->llava_key
                       : config->model_type != NULL && holds_word(config->model_type, "llava") ? config->model_type
                                                                                               : config->architecture;
    (void)llavamed_fail(error, LLAVAMED_STATUS_PAIR_BASE_MERGED,
                        "%s: the base already is a LLaVA model, merged or a delta (its config.json has %.*s)",
                        judgement->base->spec, SHOWN_TEXT_BYTES, what);
    if (exchanged) {
        llavamed_hint(error, "nothing of the %s speaks of LLaVA: were base and %s exchanged?", other, other);
    } else {
        llavamed_hint(error, "give the language model that the %s was made from, the original LLaMA, as the base",
                      other);
    }
    return LLAVAMED_STATUS_PAIR_BASE_MERGED;
}

static enum llavamed_status refuse(const struct judgement *judgement, struct llavamed_error *error)
{
    const char *other = other_name(judgement);
    (void)llavamed_fail(error, LLAVAMED_STATUS_PAIR_BASE_OTHER,
                        "%s: the base is not LLaMA-1 but looks like %.*s: it has %s", judgement->base->spec,
                        SHOWN_TEXT_BYTES, judgement->looks_like, judgement->signs);
    const uint64_t *base_shape = embeddings_of(judgement->base->set);
    const uint64_t *delta_shape = embeddings_of(judgement->delta->set);
    if (base_shape != NULL && delta_shape != NULL && delta_shape[0] < base_shape[0]) {
        llavamed_hint(error,
                      "the %s has fewer rows of embeddings (%llu) than the base (%llu): were base and %s exchanged? "
                      "--base takes the original LLaMA, for example huggyllama/llama-7b",
                      other, (unsigned long long)delta_shape[0], (unsigned long long)base_shape[0], other);
        return LLAVAMED_STATUS_PAIR_BASE_OTHER;
    }
    llavamed_hint(error,
                  "give the original LLaMA of the %s's size, for example huggyllama/llama-7b; if only the base's %s "
                  "is foreign, correct that file",
                  other, judgement->base_config.file_name);
    return LLAVAMED_STATUS_PAIR_BASE_OTHER;
}

static enum llavamed_status judge(struct judgement *judgement, struct llavamed_error *error)
{
    const char *base_type = judgement->base_config.model_type;
    const char *delta_type = judgement->delta_config.model_type;
    if (holds_projector(judgement->base->set)) {
        return LLAVAMED_OK; /* plan_build() names the tensor */
    }
    if (is_llava_config(&judgement->base_config)) {
        return refuse_llava(judgement, error);
    }
    bool delta_is_other = delta_type != NULL && !holds_word(delta_type, "llama") && !holds_word(delta_type, "llava");
    if (delta_is_other) {
        return LLAVAMED_OK;
    }
    if (base_type != NULL && strcmp(base_type, "llama") != 0) {
        add_sign(judgement, base_type, "model_type %.*s (LLaMA-1: llama)", SHOWN_TEXT_BYTES, base_type);
    }
    judge_numbers(judgement);
    judge_rows(judgement);
    judge_positions(judgement);
    judge_names(judgement);
    return judgement->signs[0] == '\0' ? LLAVAMED_OK : refuse(judgement, error);
}

/*
 * Such a model has one matrix for both, whatever its files hold: as the delta it gets the base twice in the reference,
 * as the base its embeddings are added to the delta's lm_head.
 */
static enum llavamed_status refuse_tied(const struct judgement *judgement, struct llavamed_error *error)
{
    bool base = judgement->base_config.tied;
    if (!base && !judgement->delta_config.tied) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                        "%s: its config.json has tie_word_embeddings true, one matrix for embed_tokens and lm_head; "
                        "LLaMA-1 has two, and no such model can be merged",
                        base ? judgement->base->spec : judgement->delta->spec);
    llavamed_hint(error, "if its lm_head is a matrix of its own, set tie_word_embeddings to false in that config.json");
    return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
}

enum llavamed_status base_signs_check(const struct base_signs_side *base, const struct base_signs_side *delta,
                                      struct warnings *warnings, struct warnings *notes, struct llavamed_error *error)
{
    struct llavamed_error failure = {.status = LLAVAMED_OK};
    struct judgement judgement = {
        .base = base,
        .delta = delta,
        .base_config = model_config_read(base->files, base->n_files, &failure),
        .delta_config = model_config_read(delta->files, delta->n_files, &failure),
        .failure = &failure,
        .warnings = warnings,
        .notes = notes,
    };
    enum llavamed_status status = judge(&judgement, error);
    if (status == LLAVAMED_OK) {
        status = refuse_tied(&judgement, error);
    }
    model_config_deinit(&judgement.base_config);
    model_config_deinit(&judgement.delta_config);
    if (status == LLAVAMED_OK && failure.status != LLAVAMED_OK) {
        *error = failure;
        return failure.status;
    }
    if (status == LLAVAMED_OK) {
        status = warnings_status(warnings, error);
    }
    return status == LLAVAMED_OK ? warnings_status(notes, error) : status;
}
