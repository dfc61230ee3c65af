/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/model_order.h"

#include <stdlib.h>
#include <string.h>

#include "core/sort.h"

#define NUMBER_DIGITS_MAX 9 /* fits 32 bits */

/* Names inside "model.layers.N.", in module order. */
static const char *const layer_names[] = {
    "self_attn.q_proj.weight",       "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",       "self_attn.o_proj.weight",
    "self_attn.rotary_emb.inv_freq", "mlp.gate_proj.weight",
    "mlp.down_proj.weight",          "mlp.up_proj.weight",
    "input_layernorm.weight",        "post_attention_layernorm.weight",
};

#define LAYER_NAME_INV_FREQ 4

enum stage { STAGE_EMBED_TOKENS, STAGE_LAYERS, STAGE_NORM, STAGE_PROJECTOR, STAGE_LM_HEAD, STAGE_OTHERS };

/* Where a name stands: compared field by field, then by name (projector parts nobody has defined) or by index. */
struct place {
    enum model_role role;
    enum stage stage;
    uint32_t number; /* of the layer, or of a projector's part */
    unsigned part;
    const char *name;
    size_t index;
};

/* "N." without leading zeros; returns what follows, or NULL. */
static const char *read_number(const char *text, uint32_t *number)
{
    uint32_t value = 0;
    size_t n_digits = 0;
    while (text[n_digits] >= '0' && text[n_digits] <= '9' && n_digits < NUMBER_DIGITS_MAX) {
        value = value * 10 + (uint32_t)(text[n_digits] - '0');
        n_digits++;
    }
    if (n_digits == 0 || text[n_digits] != '.' || (n_digits > 1 && text[0] == '0')) {
        return NULL;
    }
    *number = value;
    return text + n_digits + 1;
}

static bool place_in_layer(const char *rest, struct place *place)
{
    const char *name = read_number(rest, &place->number);
    for (unsigned i = 0; name != NULL && i < sizeof layer_names / sizeof layer_names[0]; i++) {
        if (name[0] == layer_names[i][0] && strcmp(name, layer_names[i]) == 0) {
            place->role = i == LAYER_NAME_INV_FREQ ? MODEL_INV_FREQ : MODEL_LAYER_WEIGHT;
            place->stage = STAGE_LAYERS;
            place->part = i;
            return true;
        }
    }
    return false;
}

/* One linear layer ("weight", "bias") or a sequence of them ("0.weight", "0.bias", "2.weight"...). */
static void place_in_projector(const char *rest, struct place *place)
{
    place->role = MODEL_PROJECTOR;
    place->stage = STAGE_PROJECTOR;
    const char *name = read_number(rest, &place->number);
    if (name == NULL) {
        place->number = 0;
        name = rest;
    }
    place->part = strcmp(name, "weight") == 0 ? 0 : strcmp(name, "bias") == 0 ? 1 : 2;
}

static struct place place_of(const char *name)
{
    static const char layers[] = "model.layers.";
    static const char projector[] = "model.mm_projector.";
    struct place place = {.name = name};
    bool in_layer = strncmp(name, layers, sizeof layers - 1) == 0;
    if (in_layer && place_in_layer(name + sizeof layers - 1, &place)) {
        return place;
    }
    if (in_layer) {
        place.role = MODEL_OTHER;
        place.stage = STAGE_OTHERS;
        place.number = 0;
    } else if (strcmp(name, "model.embed_tokens.weight") == 0) {
        place.role = MODEL_EMBED_TOKENS;
        place.stage = STAGE_EMBED_TOKENS;
    } else if (strcmp(name, "model.norm.weight") == 0) {
        place.role = MODEL_NORM;
        place.stage = STAGE_NORM;
    } else if (strcmp(name, "lm_head.weight") == 0) {
        place.role = MODEL_LM_HEAD;
        place.stage = STAGE_LM_HEAD;
    } else if (strncmp(name, projector, sizeof projector - 1) == 0) {
        place_in_projector(name + sizeof projector - 1, &place);
    } else {
        place.role = MODEL_OTHER;
        place.stage = STAGE_OTHERS;
    }
    return place;
}

enum model_role model_role_of(const char *name)
{
    return place_of(name).role;
}

bool model_layer_of(const char *name, uint32_t *layer)
{
    struct place place = place_of(name);
    if (place.stage != STAGE_LAYERS) {
        return false;
    }
    *layer = place.number;
    return true;
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->stage != y->stage) {
        return x->stage < y->stage ? -1 : 1;
    }
    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    int by_name = x->stage == STAGE_PROJECTOR ? strcmp(x->name, y->name) : 0;
    if (by_name != 0) {
        return by_name;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

enum llavamed_status model_order(const char *const *names, size_t n, size_t *order, struct llavamed_error *error)
{
    struct place *places = calloc(n + 1, sizeof *places);
    if (places == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *places, "the order of tensors");
    }
    for (size_t i = 0; i < n; i++) {
        places[i] = place_of(names[i]);
        places[i].index = i;
    }
    sort_array(places, n, sizeof *places, compare_places);
    for (size_t i = 0; i < n; i++) {
        order[i] = places[i].index;
    }
    free(places);
    return LLAVAMED_OK;
}
