/* SPDX-License-Identifier: Apache-2.0 */
#include "source/config_check.h"

#include <string.h>

#include "core/checked.h"

#define LAYERS_PREFIX "model.layers."

/* Layers told by the name of one tensor: N + 1 for "model.layers.N.", else 0. */
static uint64_t layers_of_name(const char *name)
{
    if (strncmp(name, LAYERS_PREFIX, strlen(LAYERS_PREFIX)) != 0) {
        return 0;
    }
    const char *p = name + strlen(LAYERS_PREFIX);
    const char *digits = p;
    uint64_t number = 0;
    while (*p >= '0' && *p <= '9' && p - digits < 9) {
        number = number * 10 + (uint64_t)(*p - '0');
        p++;
    }
    return p > digits && *p == '.' ? number + 1 : 0;
}

void model_facts_note(struct model_facts *facts, const struct tensor *tensor)
{
    facts->n_layers = max_u64(facts->n_layers, layers_of_name(tensor->name));
    if (tensor->rank == 2 && strcmp(tensor->name, "model.embed_tokens.weight") == 0) {
        facts->n_rows = tensor->shape[0];
        facts->n_hidden = tensor->shape[1];
    }
}

static void check_number(const char *path, const struct json_value *root, const char *key, uint64_t want,
                         const char *what, struct warnings *warnings)
{
    uint64_t got;
    const struct json_value *value = json_member(root, key);
    if (value != NULL && want != 0 && json_integer(value, &got) && got != want) {
        warnings_add(warnings, "%s: %s does not fit the tensors (got %llu, %s %llu)", path, key,
                     (unsigned long long)got, what, (unsigned long long)want);
    }
}

void config_check(const char *path, const struct json_value *root, const struct model_facts *facts,
                  struct warnings *warnings)
{
    check_number(path, root, "vocab_size", facts->n_rows, "the rows of model.embed_tokens.weight are", warnings);
    check_number(path, root, "hidden_size", facts->n_hidden, "the columns of model.embed_tokens.weight are", warnings);
    check_number(path, root, "num_hidden_layers", facts->n_layers, "the layers are", warnings);
}

void added_tokens_check(const char *path, const struct json_value *root, const struct model_facts *facts,
                        struct warnings *warnings)
{
    uint64_t last = 0;
    uint64_t n_tokens = 0;
    for (const struct json_value *token = json_first(root); token != NULL; token = json_next(token)) {
        uint64_t id;
        if (!json_integer(token, &id)) {
            warnings_add(warnings, "%s: the id of a token is not a number", path);
            return;
        }
        last = max_u64(last, id);
        n_tokens++;
    }
    if (n_tokens > 0 && facts->n_rows != 0 && last + 1 != facts->n_rows) {
        warnings_add(warnings,
                     "%s: the added tokens do not fit the tensors (highest id %llu, the rows of "
                     "model.embed_tokens.weight are %llu)",
                     path, (unsigned long long)last, (unsigned long long)facts->n_rows);
    }
}
