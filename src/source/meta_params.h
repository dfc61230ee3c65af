/* SPDX-License-Identifier: Apache-2.0 */
/*
 * params.json of Meta's original release, and the tensors that it implies. Its keys are the fields of ModelArgs in
 * llama/model.py; LLaMA-1 has dim, multiple_of, n_heads, n_layers, norm_eps and vocab_size (-1: the tokenizer's).
 */
#ifndef SOURCE_META_PARAMS_H
#define SOURCE_META_PARAMS_H

#include "io/input_file.h"

#define META_LAYERS_MAX 1000
#define META_DIM_MAX 1048576 /* of any dimension */

struct meta_params {
    uint64_t dim;
    uint64_t n_heads;
    uint64_t head_dim; /* even */
    uint64_t n_layers;
    uint64_t ffn;   /* width of the feed-forward part */
    uint64_t vocab; /* 0: not told */
};

/*
 * Strict: every key known, every value in range. META_INVALID; INPUT_UNSUPPORTED for fields that LLaMA-1 does not have;
 * what reading and json_parse() give.
 */
enum llavamed_status meta_params_read(struct input_file *file, struct meta_params *params,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* The same of a text, which need not end in a NUL and is not kept; `path` names it in messages. */
enum llavamed_status meta_params_parse(const char *path, const char *text, size_t n_bytes, struct meta_params *params,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* How the shards of a tensor make the whole. */
enum meta_join { META_JOIN_ROWS, META_JOIN_COLUMNS, META_REPLICATED };

/* One tensor of the model, with its shape as a whole. */
struct meta_shape {
    enum meta_join join;
    bool is_rotary; /* the rows of each head are in another order: see meta_read.c */
    uint64_t n_rows;
    uint64_t n_columns; /* 0 for a vector of n_rows */
};

/*
 * Tensors are numbered in the order of a Hugging Face checkpoint: token embeddings, nine per layer, norm, output. Names
 * are NUL-terminated and fit META_NAME_BYTES.
 */
#define META_NAME_BYTES 96

size_t meta_tensor_count(const struct meta_params *params);

/* `index` is below the count, `vocab` the number of rows of the embeddings. */
struct meta_shape meta_tensor_shape(const struct meta_params *params, size_t index, uint64_t vocab);
void meta_hf_name(const struct meta_params *params, size_t index, char name[META_NAME_BYTES]);
void meta_own_name(const struct meta_params *params, size_t index, char name[META_NAME_BYTES]);

#define META_NAME_DROPPED (SIZE_MAX - 1) /* rotary frequencies: not part of the model */
#define META_NAME_UNKNOWN SIZE_MAX

/* The tensor that Meta calls so. */
size_t meta_find_name(const struct meta_params *params, const char *name);

#endif
