/* SPDX-License-Identifier: Apache-2.0 */
#include "source/model_config.h"

#include <stdlib.h>
#include <string.h>

#include "io/input_file.h"

const struct source_small_file *model_config_find(const struct source_small_file *files, size_t n_files,
                                                  const char *name)
{
    for (size_t i = 0; i < n_files; i++) {
        if (strcmp(files[i].name, name) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

struct json *model_config_object(const struct source_small_file *file, struct llavamed_error *failure)
{
    char *text = NULL;
    size_t n_bytes = 0;
    struct json *json = NULL;
    struct llavamed_error error;
    if (file == NULL) {
        return NULL;
    }
    enum llavamed_status status = source_small_file_read(file, MODEL_CONFIG_BYTES_MAX, &text, &n_bytes, &error);
    if (status == LLAVAMED_OK) {
        status = json_parse(file->path, text, n_bytes, false, &json, &error);
    }
    if (input_file_is_failure(status)) {
        *failure = error;
    }
    if (status != LLAVAMED_OK) {
        json = NULL;
    } else if (json_kind_of(json_root(json)) != JSON_OBJECT) {
        json_free(json);
        json = NULL;
    }
    free(text);
    return json;
}

static const char *text_of(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    return value == NULL ? NULL : json_string(value);
}

static uint64_t count_of(const struct json_value *root, const char *key)
{
    uint64_t number = 0;
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_integer(value, &number) ? number : 0;
}

static double number_of(const struct json_value *root, const char *key)
{
    double number = 0;
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_number(value, &number) ? number : 0;
}

static bool is_given(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_kind_of(value) != JSON_NULL;
}

static const char *llava_key_of(const struct json_value *root)
{
    static const char *const keys[] = {"mm_vision_tower", "mm_projector_type", "mm_hidden_size", "use_mm_proj"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (is_given(root, keys[i])) {
            return keys[i];
        }
    }
    return NULL;
}

static void fill_hugging_face(struct model_config *config, const struct json_value *root)
{
    const struct json_value *architectures = json_member(root, "architectures");
    const struct json_value *first = architectures == NULL ? NULL : json_first(architectures);
    config->architecture = first == NULL ? NULL : json_string(first);
    config->model_type = text_of(root, "model_type");
    config->from = text_of(root, "_name_or_path");
    config->epsilon = number_of(root, "rms_norm_eps");
    config->rope_theta = number_of(root, "rope_theta");
    config->dtype = text_of(root, "torch_dtype");
    config->dtype = config->dtype == NULL ? text_of(root, "dtype") : config->dtype;
    config->rows = count_of(root, "vocab_size");
    config->hidden = count_of(root, "hidden_size");
    config->layers = count_of(root, "num_hidden_layers");
    config->positions = count_of(root, "max_position_embeddings");
    config->heads = count_of(root, "num_attention_heads");
    config->key_value_heads = count_of(root, "num_key_value_heads");
    config->rope_scaling = is_given(root, "rope_scaling");
    config->llava_key = llava_key_of(root);
    const struct json_value *tied = json_member(root, "tie_word_embeddings");
    config->tied = tied != NULL && json_is_true(tied);
}

static void fill_meta(struct model_config *config, const struct json_value *root)
{
    config->epsilon = number_of(root, "norm_eps");
    config->rope_theta = number_of(root, "rope_theta");
    config->rows = count_of(root, "vocab_size");
    config->hidden = count_of(root, "dim");
    config->layers = count_of(root, "n_layers");
    config->heads = count_of(root, "n_heads");
    config->key_value_heads = count_of(root, "n_kv_heads");
    config->ffn_multiplier = is_given(root, "ffn_dim_multiplier");
}

struct model_config model_config_read(const struct source_small_file *files, size_t n_files,
                                      struct llavamed_error *failure)
{
    struct model_config config = {.file_name = "config.json"};
    config.json = model_config_object(model_config_find(files, n_files, config.file_name), failure);
    if (config.json != NULL) {
        fill_hugging_face(&config, json_root(config.json));
        return config;
    }
    config.json = model_config_object(model_config_find(files, n_files, "params.json"), failure);
    if (config.json != NULL) {
        config.file_name = "params.json";
        fill_meta(&config, json_root(config.json));
    }
    return config;
}

void model_config_deinit(struct model_config *config)
{
    json_free(config->json);
    *config = (struct model_config){0};
}
