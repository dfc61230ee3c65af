/* SPDX-License-Identifier: Apache-2.0 */
#include "source/meta_params.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

#define PARAMS_BYTES_MAX 65536

/* ---- params.json ---- */

static enum llavamed_status fail_not_llama1(const char *path, const char *key, struct llavamed_error *error)
{
    enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                                "%s: not the original LLaMA but a later model (it has %s)", path, key);
    llavamed_hint(error, "the delta was made from the first LLaMA, of February 2023: give that release");
    return status;
}

/* What each key may hold. */
enum param_kind { PARAM_SIZE, PARAM_VOCAB, PARAM_NUMBER, PARAM_KV_HEADS, PARAM_IGNORED, PARAM_LATER };

static const struct {
    const char *key;
    enum param_kind kind;
    bool required;
} known_params[] = {
    {"dim", PARAM_SIZE, true},
    {"multiple_of", PARAM_SIZE, true},
    {"n_heads", PARAM_SIZE, true},
    {"n_layers", PARAM_SIZE, true},
    {"norm_eps", PARAM_NUMBER, true},
    {"vocab_size", PARAM_VOCAB, true},
    {"n_kv_heads", PARAM_KV_HEADS, false},
    {"max_batch_size", PARAM_IGNORED, false},
    {"max_seq_len", PARAM_IGNORED, false},
    {"ffn_dim_multiplier", PARAM_LATER, false},
    {"rope_theta", PARAM_LATER, false},
    {"use_scaled_rope", PARAM_LATER, false},
};

#define KNOWN_PARAMS (sizeof known_params / sizeof known_params[0])

/* The text around a value is needed where json_integer() cannot tell: -1. */
struct params_text {
    const char *path;
    const char *json;
    size_t n_bytes;
};

static bool is_minus_one(const struct params_text *text, const char *key)
{
    size_t begin = 0;
    size_t end = 0;
    return json_find_root_value(text->json, text->n_bytes, key, &begin, &end) && end - begin == 2 &&
           memcmp(text->json + begin, "-1", 2) == 0;
}

static enum llavamed_status read_param(const struct params_text *text, const struct json_value *member, size_t known,
                                       uint64_t *value, struct llavamed_error *error)
{
    const char *key = known_params[known].key;
    bool good = true;
    switch (known_params[known].kind) {
    case PARAM_LATER:
        return fail_not_llama1(text->path, key, error);
    case PARAM_VOCAB:
        good = is_minus_one(text, key) || (json_integer(member, value) && *value >= 1 && *value <= META_DIM_MAX);
        break;
    case PARAM_SIZE:
    case PARAM_KV_HEADS:
        good = json_integer(member, value) && *value >= 1 && *value <= META_DIM_MAX;
        break;
    case PARAM_NUMBER:
        good = json_kind_of(member) == JSON_NUMBER;
        break;
    case PARAM_IGNORED:
        break;
    }
    if (!good) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: %s is out of range", text->path, key);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_members(const struct params_text *text, const struct json_value *root,
                                         uint64_t values[KNOWN_PARAMS], struct llavamed_error *error)
{
    if (json_kind_of(root) != JSON_OBJECT) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: not a JSON object", text->path);
    }
    for (const struct json_value *member = json_first(root); member != NULL; member = json_next(member)) {
        size_t known = 0;
        while (known < KNOWN_PARAMS && strcmp(known_params[known].key, json_key(member)) != 0) {
            known++;
        }
        if (known == KNOWN_PARAMS) {
            return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: unknown parameter %.80s", text->path,
                                 json_key(member));
        }
        enum llavamed_status status = read_param(text, member, known, &values[known], error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    for (size_t i = 0; i < KNOWN_PARAMS; i++) {
        if (known_params[i].required && json_member(root, known_params[i].key) == NULL) {
            return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID, "%s: parameter %s is missing", text->path,
                                 known_params[i].key);
        }
    }
    return LLAVAMED_OK;
}

/* Values are at most META_DIM_MAX each, so that nothing here overflows. */
static enum llavamed_status derive(const char *path, const uint64_t values[KNOWN_PARAMS], struct meta_params *params,
                                   struct llavamed_error *error)
{
    struct meta_params made = {.dim = values[0], .n_heads = values[2], .n_layers = values[3], .vocab = values[5]};
    uint64_t multiple = values[1];
    if (values[6] != 0 && values[6] != made.n_heads) {
        return fail_not_llama1(path, "fewer key and value heads, n_kv_heads", error);
    }
    if (made.dim % made.n_heads != 0 || made.dim / made.n_heads % 2 != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: dim is not made of heads of even width (got dim %llu, n_heads %llu)", path,
                             (unsigned long long)made.dim, (unsigned long long)made.n_heads);
    }
    if (made.n_layers > META_LAYERS_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_META_INVALID,
                             "%s: n_layers is out of range (got %llu, want 1 to %d)", path,
                             (unsigned long long)made.n_layers, META_LAYERS_MAX);
    }
    made.head_dim = made.dim / made.n_heads;
    /* FeedForward in llama/model.py: two thirds of 4 dim, rounded down, then up to a multiple. */
    made.ffn = (2 * (4 * made.dim) / 3 + multiple - 1) / multiple * multiple;
    *params = made;
    return LLAVAMED_OK;
}

enum llavamed_status meta_params_parse(const char *path, const char *text, size_t n_bytes, struct meta_params *params,
                                       struct llavamed_error *error)
{
    struct json *json = NULL;
    const struct params_text params_text = {.path = path, .json = text, .n_bytes = n_bytes};
    uint64_t values[KNOWN_PARAMS] = {0};
    enum llavamed_status status = json_parse(path, text, n_bytes, false, &json, error);
    if (status == LLAVAMED_OK) {
        status = read_members(&params_text, json_root(json), values, error);
    }
    if (status == LLAVAMED_OK) {
        status = derive(path, values, params, error);
    }
    json_free(json);
    return status;
}

enum llavamed_status meta_params_read(struct input_file *file, struct meta_params *params, struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_all(file, PARAMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = meta_params_parse(input_file_path(file), text, n_bytes, params, error);
    }
    free(text);
    return status;
}

/* ---- Tensors ---- */

enum extent { EXTENT_NONE, EXTENT_DIM, EXTENT_FFN, EXTENT_VOCAB };

struct kind {
    const char *own;
    const char *hf;
    enum meta_join join;
    bool is_rotary;
    enum extent rows;
    enum extent columns;
};

/* Split as ColumnParallelLinear, RowParallelLinear and ParallelEmbedding of fairscale split them. */
static const struct kind before_layers = {
    "tok_embeddings.weight", "model.embed_tokens.weight", META_JOIN_COLUMNS, false, EXTENT_VOCAB, EXTENT_DIM};
static const struct kind in_layer[] = {
    {"attention.wq.weight", "self_attn.q_proj.weight", META_JOIN_ROWS, true, EXTENT_DIM, EXTENT_DIM},
    {"attention.wk.weight", "self_attn.k_proj.weight", META_JOIN_ROWS, true, EXTENT_DIM, EXTENT_DIM},
    {"attention.wv.weight", "self_attn.v_proj.weight", META_JOIN_ROWS, false, EXTENT_DIM, EXTENT_DIM},
    {"attention.wo.weight", "self_attn.o_proj.weight", META_JOIN_COLUMNS, false, EXTENT_DIM, EXTENT_DIM},
    {"feed_forward.w1.weight", "mlp.gate_proj.weight", META_JOIN_ROWS, false, EXTENT_FFN, EXTENT_DIM},
    {"feed_forward.w2.weight", "mlp.down_proj.weight", META_JOIN_COLUMNS, false, EXTENT_DIM, EXTENT_FFN},
    {"feed_forward.w3.weight", "mlp.up_proj.weight", META_JOIN_ROWS, false, EXTENT_FFN, EXTENT_DIM},
    {"attention_norm.weight", "input_layernorm.weight", META_REPLICATED, false, EXTENT_DIM, EXTENT_NONE},
    {"ffn_norm.weight", "post_attention_layernorm.weight", META_REPLICATED, false, EXTENT_DIM, EXTENT_NONE},
};
static const struct kind after_layers[] = {
    {"norm.weight", "model.norm.weight", META_REPLICATED, false, EXTENT_DIM, EXTENT_NONE},
    {"output.weight", "lm_head.weight", META_JOIN_ROWS, false, EXTENT_VOCAB, EXTENT_DIM},
};

#define KINDS_IN_LAYER (sizeof in_layer / sizeof in_layer[0])

size_t meta_tensor_count(const struct meta_params *params)
{
    return 3 + KINDS_IN_LAYER * (size_t)params->n_layers;
}

/* The kind of a tensor; *layer is set when it is in one. */
static const struct kind *kind_of(const struct meta_params *params, size_t index, size_t *layer)
{
    size_t n_in_layers = KINDS_IN_LAYER * (size_t)params->n_layers;
    assert(index < meta_tensor_count(params));
    if (index == 0) {
        return &before_layers;
    }
    if (index > n_in_layers) {
        return &after_layers[index - n_in_layers - 1];
    }
    *layer = (index - 1) / KINDS_IN_LAYER;
    return &in_layer[(index - 1) % KINDS_IN_LAYER];
}

static uint64_t extent_of(const struct meta_params *params, enum extent extent, uint64_t vocab)
{
    switch (extent) {
    case EXTENT_DIM:
        return params->dim;
    case EXTENT_FFN:
        return params->ffn;
    case EXTENT_VOCAB:
        return vocab;
    case EXTENT_NONE:
        break;
    }
    return 0;
}

struct meta_shape meta_tensor_shape(const struct meta_params *params, size_t index, uint64_t vocab)
{
    size_t layer = 0;
    const struct kind *kind = kind_of(params, index, &layer);
    return (struct meta_shape){
        .join = kind->join,
        .is_rotary = kind->is_rotary,
        .n_rows = extent_of(params, kind->rows, vocab),
        .n_columns = extent_of(params, kind->columns, vocab),
    };
}

static void write_name(const char *prefix, const size_t *layer, const char *rest, char name[META_NAME_BYTES])
{
    if (layer == NULL) {
        (void)snprintf(name, META_NAME_BYTES, "%s", rest);
    } else {
        (void)snprintf(name, META_NAME_BYTES, "%slayers.%zu.%s", prefix, *layer, rest);
    }
}

void meta_hf_name(const struct meta_params *params, size_t index, char name[META_NAME_BYTES])
{
    size_t layer = SIZE_MAX;
    const struct kind *kind = kind_of(params, index, &layer);
    write_name("model.", layer == SIZE_MAX ? NULL : &layer, kind->hf, name);
}

void meta_own_name(const struct meta_params *params, size_t index, char name[META_NAME_BYTES])
{
    size_t layer = SIZE_MAX;
    const struct kind *kind = kind_of(params, index, &layer);
    write_name("", layer == SIZE_MAX ? NULL : &layer, kind->own, name);
}

/* "layers.12.REST": *layer and REST, or NULL. Only the usual spelling of a number counts. */
static const char *split_layer(const char *name, uint64_t n_layers, size_t *layer)
{
    static const char prefix[] = "layers.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
        return NULL;
    }
    const char *digits = name + sizeof prefix - 1;
    size_t value = 0;
    size_t n = 0;
    for (; digits[n] >= '0' && digits[n] <= '9' && n < 5; n++) {
        value = value * 10 + (size_t)(digits[n] - '0');
    }
    if (n == 0 || (n > 1 && digits[0] == '0') || digits[n] != '.' || value >= n_layers) {
        return NULL;
    }
    *layer = value;
    return digits + n + 1;
}

size_t meta_find_name(const struct meta_params *params, const char *name)
{
    size_t n_in_layers = KINDS_IN_LAYER * (size_t)params->n_layers;
    size_t layer = 0;
    const char *rest = split_layer(name, params->n_layers, &layer);
    if (rest != NULL) {
        for (size_t i = 0; i < KINDS_IN_LAYER; i++) {
            if (strcmp(rest, in_layer[i].own) == 0) {
                return 1 + layer * KINDS_IN_LAYER + i;
            }
        }
        return strcmp(rest, "attention.inner_attention.rope.freqs") == 0 ? META_NAME_DROPPED : META_NAME_UNKNOWN;
    }
    if (strcmp(name, before_layers.own) == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof after_layers / sizeof after_layers[0]; i++) {
        if (strcmp(name, after_layers[i].own) == 0) {
            return 1 + n_in_layers + i;
        }
    }
    return strcmp(name, "rope.freqs") == 0 ? META_NAME_DROPPED : META_NAME_UNKNOWN;
}
