/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised checkpoints and adapters by the names and dtypes of their tensors, which are what no edited config.json can
 * hide: GPTQ writes qweight, qzeros, scales and g_idx for each matrix, AWQ the first three, bitsandbytes SCB beside an
 * int8 weight or "weight.absmax" and "weight.quant_state..." beside a packed one, peft lora_A and lora_B.
 */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "io/input_file.h"
#include "source/recognise.h"
#include "source/source_parts.h"

#define CONFIG_BYTES_MAX (1 << 20)

enum kind { KIND_NONE, KIND_LORA, KIND_GPTQ, KIND_AWQ, KIND_INT8, KIND_4BIT, KIND_FP8, KIND_PACKED };

static const char *const kind_texts[] = {
    [KIND_LORA] = "a LoRA adapter",
    [KIND_GPTQ] = "a GPTQ-quantised checkpoint",
    [KIND_AWQ] = "an AWQ-quantised checkpoint",
    [KIND_INT8] = "a checkpoint quantised to 8 bits by bitsandbytes",
    [KIND_4BIT] = "a checkpoint quantised to 4 bits by bitsandbytes",
    [KIND_FP8] = "a checkpoint quantised to 8-bit floats",
    [KIND_PACKED] = "a quantised checkpoint",
};

static bool begins_with(const char *text, const char *word)
{
    return text[0] == word[0] && strncmp(text, word, strlen(word)) == 0;
}

static enum kind kind_of_tensor(const struct tensor *tensor)
{
    bool is_lora = false;
    bool has_quant_state = false;
    const char *last = ""; /* the last part of a name that has dots */
    for (const char *dot = strchr(tensor->name, '.'); dot != NULL; dot = strchr(last, '.')) {
        last = dot + 1;
        is_lora = is_lora || begins_with(last, "lora_A") || begins_with(last, "lora_B") ||
                  begins_with(last, "lora_embedding_");
        has_quant_state = has_quant_state || begins_with(last, "quant_state.bitsandbytes__");
    }
    if (is_lora) {
        return KIND_LORA;
    }
    if (strcmp(last, "g_idx") == 0) {
        return KIND_GPTQ;
    }
    if (strcmp(last, "qweight") == 0 || strcmp(last, "qzeros") == 0) {
        return KIND_AWQ; /* GPTQ when a g_idx is there too */
    }
    if (strcmp(last, "SCB") == 0 || strcmp(last, "weight_format") == 0) {
        return KIND_INT8;
    }
    if (strcmp(last, "absmax") == 0 || has_quant_state) {
        return KIND_4BIT;
    }
    bool is_matrix = tensor->rank == 2 && strcmp(last, "weight") == 0;
    if (is_matrix && begins_with(dtype_name(tensor->dtype), "F8_")) {
        return KIND_FP8;
    }
    bool is_packing = tensor->dtype == DTYPE_I8 || tensor->dtype == DTYPE_U8 || tensor->dtype == DTYPE_I32;
    /* An exact delta holds differences of the bits of F32 as I32, and says so. */
    bool is_packed = strcmp(last, "weight_packed") == 0 || (is_matrix && is_packing && !tensor->in_exact_delta);
    return is_packed ? KIND_PACKED : KIND_NONE;
}

static enum kind kind_of_set(const struct tensor_set *set, const char **name)
{
    enum kind found = KIND_NONE;
    for (size_t i = 0; i < set->n_tensors; i++) {
        enum kind kind = kind_of_tensor(&set->tensors[i]);
        /* A g_idx decides between GPTQ and AWQ; the other kinds are told by any one of their tensors. */
        if (kind != KIND_NONE && (found == KIND_NONE || (found == KIND_AWQ && kind == KIND_GPTQ) ||
                                  (found == KIND_PACKED && kind != KIND_PACKED))) {
            found = kind;
            *name = set->tensors[i].name;
        }
    }
    return found;
}

/* The "quantization_config" of a config.json, NULL when it has none. */
static const struct json_value *quantisation_of(const struct json *json)
{
    const struct json_value *root = json == NULL ? NULL : json_root(json);
    if (root == NULL || json_kind_of(root) != JSON_OBJECT) {
        return NULL;
    }
    const struct json_value *value = json_member(root, "quantization_config");
    return value != NULL && json_kind_of(value) == JSON_OBJECT ? value : NULL;
}

enum llavamed_status recognise_tensors(const char *path, const struct tensor_set *set, const char *config,
                                       size_t config_bytes, bool *config_is_quantised, struct llavamed_error *error)
{
    struct json *json = NULL;
    if (config != NULL && json_parse("config.json", config, config_bytes, false, &json, NULL) != LLAVAMED_OK) {
        json = NULL; /* whoever needs the config words the fault */
    }
    const struct json_value *quantisation = quantisation_of(json);
    const struct json_value *method = quantisation == NULL ? NULL : json_member(quantisation, "quant_method");
    const char *method_text = method == NULL ? NULL : json_string(method);
    const char *name = NULL;
    enum kind kind = kind_of_set(set, &name);
    enum llavamed_status status = LLAVAMED_OK;
    if (kind == KIND_LORA) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: %s, not a model (it holds %.200s)", path,
                               kind_texts[kind], name);
        llavamed_hint(error, "merge the adapter into its own base model first (peft's merge_and_unload), or give the "
                             "full model");
    } else if (kind != KIND_NONE) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: %s (it holds %.200s%s%.40s)", path,
                               kind_texts[kind], name, method_text == NULL ? "" : "; its config.json says ",
                               method_text == NULL ? "" : method_text);
        llavamed_hint(error, "quantised weights cannot be merged exactly: take the checkpoint in float16 that they "
                             "were made from");
    } else if (config_is_quantised != NULL) {
        *config_is_quantised = quantisation != NULL;
    }
    json_free(json);
    return status;
}

enum llavamed_status source_check_kind(struct source *source, struct llavamed_error *error)
{
    char *config = NULL;
    size_t config_bytes = 0;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < source->n_small_files; i++) {
        if (strcmp(source->small_files[i].name, "config.json") == 0) {
            status = source_small_file_read(&source->small_files[i], CONFIG_BYTES_MAX, &config, &config_bytes, error);
        }
    }
    if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        source_hint_missing(source, error);
    }
    /* One that cannot be opened might say anything; a text of no use just does not help here. */
    if (input_file_is_failure(status) || status == LLAVAMED_STATUS_INPUT_UNREADABLE ||
        status == LLAVAMED_STATUS_INPUT_MISSING) {
        return status;
    }
    if (status != LLAVAMED_OK) {
        config = NULL;
    }
    bool config_is_quantised = false;
    status = recognise_tensors(source->spec, &source->set, config, config_bytes, &config_is_quantised, error);
    free(config);
    if (status == LLAVAMED_OK && config_is_quantised) {
        status = source_remark(source, true, error,
                               "%s: config.json has a quantization_config although the tensors are not quantised: were "
                               "they restored from a quantised model?",
                               source->role);
    }
    return status;
}
