/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a synthetic model looks like: the real LLaMA sizes or a shrunken one, and the list of its tensors in the order
 * of the modules (transformers of 2023). Allocation failures end the program: this is a tool for tests.
 */
#ifndef SYNTH_MODEL_H
#define SYNTH_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

#define SYNTH_BASE_VOCAB 32000

struct synth_size {
    const char *name;
    uint64_t hidden;
    uint64_t ffn;
    uint64_t layers;
    uint64_t heads;
    const char *norm_eps;
};

static const struct synth_size synth_sizes[] = {
    {"7b", 4096, 11008, 32, 32, "1e-06"},
    {"13b", 5120, 13824, 40, 40, "1e-06"},
    {"30b", 6656, 17920, 60, 52, "1e-06"},
    {"65b", 8192, 22016, 80, 64, "1e-05"},
};

/* Where the values of a tensor come from. */
enum synth_kind {
    SYNTH_WEIGHT,   /* normal, sigma 0.02; the target adds the update */
    SYNTH_NORM,     /* around 0.7; the target adds the update */
    SYNTH_INV_FREQ, /* F32: the formula rounded through the model's dtype; zeros in the delta */
    SYNTH_NEW,      /* the target's alone: projector */
};

struct synth_tensor {
    struct tensor target; /* name (owned), shape in delta and target; dtype of the stored elements */
    uint64_t base_rows;   /* leading rows that the base has: all, fewer (new vocabulary), 0 (it lacks the tensor) */
    uint64_t base_elems;  /* in these rows */
    enum synth_kind kind;
};

struct synth_model {
    const char *size_name;
    const char *norm_eps;
    uint64_t hidden;
    uint64_t ffn;
    uint64_t layers;
    uint64_t heads;
    uint64_t base_vocab;
    uint64_t rows;      /* vocabulary of delta and target */
    uint64_t projector; /* input features of mm_projector, 0 for none */
    enum dtype dtype;
    struct synth_tensor *tensors; /* owned */
    size_t n_tensors;
};

_Noreturn static inline void synth_die(const char *what, const char *detail)
{
    fprintf(stderr, "synth: error: %s%s%s\n", detail == NULL ? "" : detail, detail == NULL ? "" : ": ", what);
    exit(1);
}

static inline void synth_require(enum llavamed_status status, const struct llavamed_error *error)
{
    if (status != LLAVAMED_OK) {
        synth_die(error->message, NULL);
    }
}

static inline void *synth_alloc(size_t n, size_t bytes)
{
    void *memory = calloc(n == 0 ? 1 : n, bytes);
    if (memory == NULL) {
        synth_die("out of memory", NULL);
    }
    return memory;
}

/* value * factor, a multiple of `step`, at least `least`. */
static inline uint64_t synth_shrink(uint64_t value, double factor, uint64_t step, uint64_t least)
{
    uint64_t steps = (uint64_t)((double)value * factor / (double)step + 0.5);
    uint64_t shrunk = steps * step;
    return shrunk < least ? least : shrunk;
}

/*
 * Shrinks every dimension by the cube root of `scale`, so that about scale times the parameters of the layers remain:
 * head_dim stays even and at least 4, hidden = heads * head_dim, there are two layers or more.
 */
static inline void synth_model_scale(struct synth_model *model, double scale)
{
    if (scale >= 1.0) {
        return;
    }
    double side = cbrt(scale);
    uint64_t head_dim = model->hidden / model->heads;
    model->heads = synth_shrink(model->heads, sqrt(side), 1, 2);
    head_dim = synth_shrink(head_dim, sqrt(side), 4, 4);
    model->hidden = model->heads * head_dim;
    model->ffn = synth_shrink(model->ffn, side, 8, 8);
    model->layers = synth_shrink(model->layers, side, 1, 2);
    uint64_t added = model->rows - model->base_vocab;
    model->base_vocab = synth_shrink(model->base_vocab, side, 8, 16);
    model->rows = model->base_vocab + added;
    model->projector = model->projector == 0 ? 0 : synth_shrink(model->projector, side, 8, 8);
}

static inline void synth_add(struct synth_model *model, const char *name, enum synth_kind kind, uint64_t base_rows,
                             const uint64_t *shape, unsigned rank)
{
    struct llavamed_error error = {0};
    struct synth_tensor *tensor = &model->tensors[model->n_tensors++];
    enum dtype dtype = kind == SYNTH_INV_FREQ ? DTYPE_F32 : model->dtype;
    synth_require(tensor_init(&tensor->target, "synth", name, strlen(name), dtype, shape, rank, &error), &error);
    tensor->kind = kind;
    tensor->base_rows = base_rows;
    tensor->base_elems = base_rows * (rank == 2 ? shape[1] : 1);
}

static inline void synth_add_matrix(struct synth_model *model, const char *name, uint64_t rows, uint64_t cols)
{
    synth_add(model, name, SYNTH_WEIGHT, rows, (uint64_t[]){rows, cols}, 2);
}

/* "model.layers.LAYER.REST" in `name`, which is returned. */
#define SYNTH_NAME_BYTES 96
static inline const char *synth_layer_name(char name[SYNTH_NAME_BYTES], uint64_t layer, const char *rest)
{
    (void)snprintf(name, SYNTH_NAME_BYTES, "model.layers.%llu.%s", (unsigned long long)layer, rest);
    return name;
}

static inline void synth_add_layer(struct synth_model *model, uint64_t layer, bool inv_freq)
{
    static const char *const attention[] = {"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                            "self_attn.v_proj.weight", "self_attn.o_proj.weight"};
    static const char *const norms[] = {"input_layernorm.weight", "post_attention_layernorm.weight"};
    char name[SYNTH_NAME_BYTES];
    uint64_t hidden = model->hidden;
    for (size_t i = 0; i < sizeof attention / sizeof attention[0]; i++) {
        synth_add_matrix(model, synth_layer_name(name, layer, attention[i]), hidden, hidden);
    }
    if (inv_freq) {
        uint64_t half = hidden / model->heads / 2;
        synth_add(model, synth_layer_name(name, layer, "self_attn.rotary_emb.inv_freq"), SYNTH_INV_FREQ, half, &half,
                  1);
    }
    synth_add_matrix(model, synth_layer_name(name, layer, "mlp.gate_proj.weight"), model->ffn, hidden);
    synth_add_matrix(model, synth_layer_name(name, layer, "mlp.down_proj.weight"), hidden, model->ffn);
    synth_add_matrix(model, synth_layer_name(name, layer, "mlp.up_proj.weight"), model->ffn, hidden);
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        synth_add(model, synth_layer_name(name, layer, norms[i]), SYNTH_NORM, hidden, &hidden, 1);
    }
}

/* Fills tensors from the dimensions. Free with synth_model_deinit(). */
static inline void synth_model_build(struct synth_model *model, bool inv_freq)
{
    model->tensors = synth_alloc((size_t)model->layers * 10 + 5, sizeof *model->tensors);
    const uint64_t embedding[] = {model->rows, model->hidden};
    synth_add(model, "model.embed_tokens.weight", SYNTH_WEIGHT, model->base_vocab, embedding, 2);
    for (uint64_t layer = 0; layer < model->layers; layer++) {
        synth_add_layer(model, layer, inv_freq);
    }
    synth_add(model, "model.norm.weight", SYNTH_NORM, model->hidden, &model->hidden, 1);
    if (model->projector != 0) {
        const uint64_t projector[] = {model->hidden, model->projector};
        synth_add(model, "model.mm_projector.weight", SYNTH_NEW, 0, projector, 2);
        synth_add(model, "model.mm_projector.bias", SYNTH_NEW, 0, &model->hidden, 1);
    }
    synth_add(model, "lm_head.weight", SYNTH_WEIGHT, model->base_vocab, embedding, 2);
}

static inline void synth_model_deinit(struct synth_model *model)
{
    for (size_t i = 0; i < model->n_tensors; i++) {
        tensor_deinit(&model->tensors[i].target);
    }
    free(model->tensors);
}

#endif
