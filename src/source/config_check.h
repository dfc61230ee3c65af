/* SPDX-License-Identifier: Apache-2.0 */
/* Do the small files of a checkpoint fit its tensors? Only warnings: the tensors are what counts. */
#ifndef SOURCE_CONFIG_CHECK_H
#define SOURCE_CONFIG_CHECK_H

#include "core/json.h"
#include "core/warnings.h"
#include "tensor/tensor.h"

/* What tensors say about the model. 0 where they do not. */
struct model_facts {
    uint64_t n_rows;   /* of model.embed_tokens.weight: the vocabulary */
    uint64_t n_hidden; /* its columns */
    uint64_t n_layers; /* highest N of "model.layers.N." plus one */
};

/* Adds what one tensor says. */
void model_facts_note(struct model_facts *facts, const struct tensor *tensor);

/* vocab_size, hidden_size and num_hidden_layers of a config.json, where they are there. `path` names the file. */
void config_check(const char *path, const struct json_value *root, const struct model_facts *facts,
                  struct warnings *warnings);

/* An added_tokens.json ({"TOKEN": ID, ...}): its highest id should be that of the last row. */
void added_tokens_check(const char *path, const struct json_value *root, const struct model_facts *facts,
                        struct warnings *warnings);

#endif
