/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor sets for tests: described in code, no data. A set-up that fails aborts. */
#ifndef UNIT_MAKE_SET_H
#define UNIT_MAKE_SET_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

static inline void make_set_require(bool holds)
{
    if (!holds) {
        fprintf(stderr, "a tensor set could not be made\n");
        abort();
    }
}

static inline void set_put(struct tensor_set *set, const char *name, enum dtype dtype, unsigned rank, uint64_t rows,
                           uint64_t columns)
{
    const uint64_t shape[2] = {rows, columns};
    struct tensor tensor;
    make_set_require(tensor_init(&tensor, "test", name, strlen(name), dtype, shape, rank, NULL) == LLAVAMED_OK);
    make_set_require(tensor_set_add(set, &tensor, NULL) == LLAVAMED_OK);
}

static inline void set_seal(struct tensor_set *set)
{
    make_set_require(tensor_set_seal(set, "test", NULL) == LLAVAMED_OK);
}

/* A LLaMA or LLaVA model: float16, inv_freq float32 of 64 elements. */
struct llama_shape {
    unsigned layers;
    uint64_t hidden;
    uint64_t feed_forward;
    uint64_t rows;
    bool projector;
    bool inv_freq;
};

static inline void set_put_layer(struct tensor_set *set, const struct llama_shape *shape, unsigned layer)
{
    static const char *const attention[] = {"q", "k", "v", "o"};
    char name[128];
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "model.layers.%u.self_attn.%s_proj.weight", layer, attention[i]);
        set_put(set, name, DTYPE_F16, 2, shape->hidden, shape->hidden);
    }
    if (shape->inv_freq) {
        (void)snprintf(name, sizeof name, "model.layers.%u.self_attn.rotary_emb.inv_freq", layer);
        set_put(set, name, DTYPE_F32, 1, 64, 0);
    }
    (void)snprintf(name, sizeof name, "model.layers.%u.mlp.gate_proj.weight", layer);
    set_put(set, name, DTYPE_F16, 2, shape->feed_forward, shape->hidden);
    (void)snprintf(name, sizeof name, "model.layers.%u.mlp.down_proj.weight", layer);
    set_put(set, name, DTYPE_F16, 2, shape->hidden, shape->feed_forward);
    (void)snprintf(name, sizeof name, "model.layers.%u.mlp.up_proj.weight", layer);
    set_put(set, name, DTYPE_F16, 2, shape->feed_forward, shape->hidden);
    (void)snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", layer);
    set_put(set, name, DTYPE_F16, 1, shape->hidden, 0);
    (void)snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", layer);
    set_put(set, name, DTYPE_F16, 1, shape->hidden, 0);
}

/* In module order; not sealed, so that more can be put. */
static inline void set_put_llama(struct tensor_set *set, const struct llama_shape *shape)
{
    set_put(set, "model.embed_tokens.weight", DTYPE_F16, 2, shape->rows, shape->hidden);
    for (unsigned i = 0; i < shape->layers; i++) {
        set_put_layer(set, shape, i);
    }
    set_put(set, "model.norm.weight", DTYPE_F16, 1, shape->hidden, 0);
    if (shape->projector) {
        set_put(set, "model.mm_projector.weight", DTYPE_F16, 2, shape->hidden, 1024);
        set_put(set, "model.mm_projector.bias", DTYPE_F16, 1, shape->hidden, 0);
    }
    set_put(set, "lm_head.weight", DTYPE_F16, 2, shape->rows, shape->hidden);
}

#endif
