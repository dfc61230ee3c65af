/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/model_order.h"

#include "unit/harness.h"

static void roles(void)
{
    EXPECT(model_role_of("model.embed_tokens.weight") == MODEL_EMBED_TOKENS);
    EXPECT(model_role_of("model.layers.0.self_attn.q_proj.weight") == MODEL_LAYER_WEIGHT);
    EXPECT(model_role_of("model.layers.31.post_attention_layernorm.weight") == MODEL_LAYER_WEIGHT);
    EXPECT(model_role_of("model.layers.7.self_attn.rotary_emb.inv_freq") == MODEL_INV_FREQ);
    EXPECT(model_role_of("model.norm.weight") == MODEL_NORM);
    EXPECT(model_role_of("model.mm_projector.weight") == MODEL_PROJECTOR);
    EXPECT(model_role_of("model.mm_projector.2.bias") == MODEL_PROJECTOR);
    EXPECT(model_role_of("lm_head.weight") == MODEL_LM_HEAD);
}

static void other_names(void)
{
    static const char *const names[] = {
        "",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.00.self_attn.q_proj.weight",
        "model.layers..self_attn.q_proj.weight",
        "model.layers.-1.self_attn.q_proj.weight",
        "model.layers.9999999999.self_attn.q_proj.weight",
        "model.layers.0self_attn.q_proj.weight",
        "model.layers.0",
        "model.mm_projector",
        "lm_head.weight ",
        "model.vision_tower.0.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        EXPECT(model_role_of(names[i]) == MODEL_OTHER);
        uint32_t layer = 77;
        EXPECT(!model_layer_of(names[i], &layer));
        EXPECT_U64(layer, 77);
    }
}

static void layers(void)
{
    uint32_t layer = 77;
    EXPECT(model_layer_of("model.layers.0.mlp.up_proj.weight", &layer));
    EXPECT_U64(layer, 0);
    EXPECT(model_layer_of("model.layers.123456789.self_attn.rotary_emb.inv_freq", &layer));
    EXPECT_U64(layer, 123456789);
    EXPECT(!model_layer_of("model.norm.weight", &layer));
}

/* Puts the names in the order given, and expects the order wanted. */
static void expect_order(const char *const *given, const char *const *wanted, size_t n)
{
    size_t order[64];
    EXPECT(n <= 64 && model_order(given, n, order, NULL) == LLAVAMED_OK);
    for (size_t i = 0; i < n; i++) {
        EXPECT_TEXT(given[order[i]], wanted[i]);
    }
}

static const char *const module_order[] = {
    "model.embed_tokens.weight",
    "model.layers.2.self_attn.q_proj.weight",
    "model.layers.2.self_attn.k_proj.weight",
    "model.layers.2.self_attn.v_proj.weight",
    "model.layers.2.self_attn.o_proj.weight",
    "model.layers.2.self_attn.rotary_emb.inv_freq",
    "model.layers.2.mlp.gate_proj.weight",
    "model.layers.2.mlp.down_proj.weight",
    "model.layers.2.mlp.up_proj.weight",
    "model.layers.2.input_layernorm.weight",
    "model.layers.2.post_attention_layernorm.weight",
    "model.layers.10.self_attn.q_proj.weight",
    "model.norm.weight",
    "model.mm_projector.weight",
    "model.mm_projector.bias",
    "lm_head.weight",
    "z.first",
    "a.second",
};

#define MODULE_COUNT (sizeof module_order / sizeof module_order[0])

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void any_order_gives_the_modules(void)
{
    const char *given[MODULE_COUNT];
    memcpy(given, module_order, sizeof given);
    expect_order(given, module_order, MODULE_COUNT);
    for (size_t i = 0; i + 2 < MODULE_COUNT; i++) {
        given[i] = module_order[MODULE_COUNT - 3 - i];
    }
    expect_order(given, module_order, MODULE_COUNT);
    /* Sorted by name, as a safetensors file has them: all known names come out the same. */
    qsort(given, MODULE_COUNT - 2, sizeof given[0], compare_text);
    expect_order(given, module_order, MODULE_COUNT);
}

static void projector_parts(void)
{
    static const char *const given[] = {"model.mm_projector.2.bias",    "model.mm_projector.zeta",
                                        "model.mm_projector.10.weight", "model.mm_projector.0.bias",
                                        "model.mm_projector.alpha",     "model.mm_projector.2.weight",
                                        "model.mm_projector.0.weight"};
    static const char *const wanted[] = {"model.mm_projector.0.weight", "model.mm_projector.0.bias",
                                         "model.mm_projector.alpha",    "model.mm_projector.zeta",
                                         "model.mm_projector.2.weight", "model.mm_projector.2.bias",
                                         "model.mm_projector.10.weight"};
    expect_order(given, wanted, sizeof given / sizeof given[0]);
}

static void no_tensors(void)
{
    size_t order = 77;
    EXPECT(model_order(NULL, 0, &order, NULL) == LLAVAMED_OK);
    EXPECT_U64(order, 77);
}

int main(void)
{
    CASE(roles);
    CASE(other_names);
    CASE(layers);
    CASE(any_order_gives_the_modules);
    CASE(projector_parts);
    CASE(no_tensors);
    return harness_end();
}
