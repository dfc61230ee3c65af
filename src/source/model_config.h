/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the config.json of a checkpoint, or Meta's params.json, says of the model. A claim: the tensors are what counts.
 */
#ifndef SOURCE_MODEL_CONFIG_H
#define SOURCE_MODEL_CONFIG_H

#include "core/json.h"
#include "source/source.h"

#define MODEL_CONFIG_BYTES_MAX (1 << 20)

/* 0 or NULL where the file does not say, or says something else than the number or text that belongs there. */
struct model_config {
    struct json *json;     /* owned, NULL: there is no such file, or nothing can be read from it */
    const char *file_name; /* static: "config.json" or "params.json" */
    const char *model_type; /* these texts are borrowed from `json` */
    const char *architecture;
    const char *from;  /* _name_or_path */
    const char *dtype; /* dtype, or torch_dtype: the name of a dtype of torch */
    double epsilon;
    double rope_theta;
    uint64_t rows; /* vocab_size */
    uint64_t hidden;
    uint64_t layers;
    uint64_t positions;
    uint64_t heads;
    uint64_t key_value_heads;
    bool rope_scaling; /* there and not null */
    bool ffn_multiplier;
    bool tied;             /* tie_word_embeddings is true */
    const char *llava_key; /* one that only LLaVA models have */
};

/* The file of that name, or NULL. */
const struct source_small_file *model_config_find(const struct source_small_file *files, size_t n_files,
                                                  const char *name);

/*
 * A JSON object in a small file (NULL is fine), or NULL: here it only helps, and whoever needs the file words its
 * faults. What happened to this run is noted in *failure, which is of LLAVAMED_OK until then. Owned by the caller.
 */
struct json *model_config_object(const struct source_small_file *file, struct llavamed_error *failure);

/* Reads config.json, or params.json where that is of no use. `failure` as above. */
struct model_config model_config_read(const struct source_small_file *files, size_t n_files,
                                      struct llavamed_error *failure);
void model_config_deinit(struct model_config *config);

#endif
