/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/inspect_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sort.h"
#include "tensor/model_order.h"

#define WEIGHTS_PER_LAYER 9 /* q, k, v, o, gate, down, up, two norms */
#define SHOWN_NAME_BYTES 200
#define SHOWN_RUNS_MAX 6
#define SHOWN_RUNS_BYTES 160

/* How many tensors of a kind, and the first of them. */
struct kind_count {
    size_t n;
    const struct tensor *first;
};

struct names {
    const struct tensor_set *set;
    struct warnings *notes;
    struct kind_count roles[MODEL_OTHER + 1];
    struct kind_count empty;
    uint32_t *layers; /* owned: of each weight of a layer, sorted */
    size_t n_layers;
};

static void count_one(struct kind_count *count, const struct tensor *tensor)
{
    count->first = count->n == 0 ? tensor : count->first;
    count->n++;
}

static int compare_layers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void count_names(struct names *names)
{
    for (size_t i = 0; i < names->set->n_tensors; i++) {
        const struct tensor *tensor = &names->set->tensors[i];
        enum model_role role = model_role_of(tensor->name);
        uint32_t layer;
        count_one(&names->roles[role], tensor);
        if (tensor->n_elems == 0) {
            count_one(&names->empty, tensor);
        }
        if (role == MODEL_LAYER_WEIGHT && model_layer_of(tensor->name, &layer)) {
            names->layers[names->n_layers++] = layer;
        }
    }
    sort_array(names->layers, names->n_layers, sizeof *names->layers, compare_layers);
}

/* Numbers of layers as runs: "3, 5 to 7". */
struct runs {
    char text[SHOWN_RUNS_BYTES];
    size_t n_runs;
    uint64_t n_layers;
};

static void add_run(struct runs *runs, uint64_t first, uint64_t end)
{
    size_t used = strlen(runs->text);
    runs->n_layers += end - first;
    if (runs->n_runs++ < SHOWN_RUNS_MAX) {
        const char *comma = used == 0 ? "" : ", ";
        if (end - first == 1) {
            (void)snprintf(runs->text + used, sizeof runs->text - used, "%s%llu", comma, (unsigned long long)first);
        } else {
            (void)snprintf(runs->text + used, sizeof runs->text - used, "%s%llu to %llu", comma,
                           (unsigned long long)first, (unsigned long long)(end - 1));
        }
    } else if (runs->n_runs == SHOWN_RUNS_MAX + 1) {
        (void)snprintf(runs->text + used, sizeof runs->text - used, "...");
    }
}

/* Layers that have no weight at all, and the first that has not all. */
static void note_layers(const struct names *names)
{
    struct runs missing = {0};
    uint64_t next = 0;
    uint64_t n_partial = 0;
    uint32_t partial = 0;
    size_t partial_weights = 0;
    for (size_t i = 0; i < names->n_layers;) {
        uint32_t layer = names->layers[i];
        size_t n = 1;
        while (i + n < names->n_layers && names->layers[i + n] == layer) {
            n++;
        }
        if (layer > next) {
            add_run(&missing, next, layer);
        }
        if (n < WEIGHTS_PER_LAYER && n_partial++ == 0) {
            partial = layer;
            partial_weights = n;
        }
        next = (uint64_t)layer + 1;
        i += n;
    }
    if (missing.n_layers > 0) {
        warnings_add(names->notes, "%llu of %llu layers are missing: %s", (unsigned long long)missing.n_layers,
                     (unsigned long long)next, missing.text);
    }
    if (n_partial > 0) {
        char more[64] = "";
        if (n_partial > 1) {
            (void)snprintf(more, sizeof more, ", and %llu more layers lack some", (unsigned long long)(n_partial - 1));
        }
        warnings_add(names->notes, "layer %lu has %zu of the %d weights of a LLaMA's layer%s", (unsigned long)partial,
                     partial_weights, WEIGHTS_PER_LAYER, more);
    }
}

static void note_roles(const struct names *names)
{
    static const struct {
        enum model_role role;
        const char *name;
    } wanted[] = {
        {MODEL_EMBED_TOKENS, "model.embed_tokens.weight"},
        {MODEL_NORM, "model.norm.weight"},
        {MODEL_LM_HEAD, "lm_head.weight"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (names->roles[wanted[i].role].n == 0) {
            warnings_add(names->notes, "there is no %s", wanted[i].name);
        }
    }
    const struct kind_count *inv_freq = &names->roles[MODEL_INV_FREQ];
    if (inv_freq->n > 0) {
        warnings_add(names->notes, "%zu rotary buffer%s (inv_freq), which readers compute themselves", inv_freq->n,
                     inv_freq->n == 1 ? "" : "s");
    }
    const struct kind_count *projector = &names->roles[MODEL_PROJECTOR];
    if (projector->n > 0) {
        warnings_add(names->notes, "%zu tensor%s of an mm_projector: a LLaVA model, or a delta of one", projector->n,
                     projector->n == 1 ? "" : "s");
    }
}

/* Width, layers and name of the models that were published as LLaMA-1. */
static void note_dimensions(const struct names *names)
{
    static const struct {
        uint64_t hidden;
        uint64_t n_layers;
        const char *size;
    } published[] = {{4096, 32, "7B"}, {5120, 40, "13B"}, {6656, 60, "30B"}, {8192, 80, "65B"}};
    const struct tensor *embeddings = names->roles[MODEL_EMBED_TOKENS].first;
    if (embeddings == NULL || embeddings->rank != 2 || names->n_layers == 0) {
        return;
    }
    uint64_t n_layers = (uint64_t)names->layers[names->n_layers - 1] + 1;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        if (embeddings->shape[1] == published[i].hidden) {
            if (n_layers != published[i].n_layers) {
                warnings_add(names->notes, "%llu layers of width %llu: LLaMA-1 %s has %llu",
                             (unsigned long long)n_layers, (unsigned long long)embeddings->shape[1], published[i].size,
                             (unsigned long long)published[i].n_layers);
            }
            return;
        }
    }
    warnings_add(names->notes, "no LLaMA-1 has a width of %llu (4096, 5120, 6656 and 8192 were published)",
                 (unsigned long long)embeddings->shape[1]);
}

static void note_rows(const struct names *names)
{
    const struct tensor *embeddings = names->roles[MODEL_EMBED_TOKENS].first;
    const struct tensor *head = names->roles[MODEL_LM_HEAD].first;
    if (embeddings != NULL && head != NULL && embeddings->rank == 2 && head->rank == 2 &&
        embeddings->shape[0] != head->shape[0]) {
        warnings_add(names->notes, "the embeddings have %llu rows, lm_head %llu",
                     (unsigned long long)embeddings->shape[0], (unsigned long long)head->shape[0]);
    }
}

static void note_others(const struct names *names, bool is_llama)
{
    const struct kind_count *others = &names->roles[MODEL_OTHER];
    if (!is_llama) {
        warnings_add(names->notes, "no tensor has the name of a LLaMA's in Hugging Face form");
    } else if (others->n > 0) {
        warnings_add(names->notes, "%zu tensor%s that no LLaMA or LLaVA has (first %.*s)", others->n,
                     others->n == 1 ? "" : "s", SHOWN_NAME_BYTES, others->first->name);
    }
    if (names->empty.n > 0) {
        warnings_add(names->notes, "%zu tensor%s without elements (first %.*s)", names->empty.n,
                     names->empty.n == 1 ? "" : "s", SHOWN_NAME_BYTES, names->empty.first->name);
    }
}

enum llavamed_status inspect_names(const struct tensor_set *set, struct warnings *notes, struct llavamed_error *error)
{
    struct names names = {.set = set, .notes = notes};
    names.layers = calloc(set->n_tensors + 1, sizeof *names.layers);
    if (names.layers == NULL) {
        return llavamed_fail_memory(error, (set->n_tensors + 1) * sizeof *names.layers, "the list of layers");
    }
    count_names(&names);
    bool is_llama = names.roles[MODEL_OTHER].n < set->n_tensors;
    if (is_llama) {
        note_layers(&names);
        note_roles(&names);
        note_dimensions(&names);
        note_rows(&names);
    }
    note_others(&names, is_llama);
    free(names.layers);
    return LLAVAMED_OK;
}
