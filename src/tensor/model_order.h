/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of tensors in a LLaMA / LLaVA v1 state dict (the order of its modules, transformers <= 4.31):
 * model.embed_tokens.weight; per layer q, k, v, o_proj, rotary_emb.inv_freq, gate, down, up_proj, input_layernorm,
 * post_attention_layernorm; model.norm.weight; model.mm_projector.weight, .bias (or 0.weight, 0.bias, 2.weight...);
 * lm_head.weight.
 */
#ifndef TENSOR_MODEL_ORDER_H
#define TENSOR_MODEL_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

enum model_role {
    MODEL_EMBED_TOKENS,
    MODEL_LAYER_WEIGHT, /* any of the nine weights and norms of a layer listed above */
    MODEL_INV_FREQ,
    MODEL_NORM,
    MODEL_PROJECTOR, /* model.mm_projector.* */
    MODEL_LM_HEAD,
    MODEL_OTHER, /* a name that is not one of these */
};

enum model_role model_role_of(const char *name);

/* Whether the name is one of a layer's, and of which; *layer is written only then. */
bool model_layer_of(const char *name, uint32_t *layer);

/*
 * Fills order[0..n) with indices into `names`: the known ones in module order, then the others in their own order. A
 * checkpoint whose names are all known thus has one order whatever file it came from.
 */
enum llavamed_status model_order(const char *const *names, size_t n, size_t *order,
                                 struct llavamed_error *error) LLAVAMED_CHECK;

#endif
