/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The globals and calls of a state dict. Nothing is called: a REDUCE is recognised by its callable and the types of its
 * arguments, and answered with a tag.
 *
 *     persistent id         ('storage', torch.HalfStorage, '12', 'cpu', 4096)
 *         in legacy form    ('storage', torch.HalfStorage, '12', 'cpu', 4096, None or (view key, offset, elements))
 *     _rebuild_tensor_v2    (storage, offset, sizes, strides, requires_grad, OrderedDict())
 *     _rebuild_parameter    (tensor, requires_grad, OrderedDict())
 *     _rebuild_parameter_with_state    (tensor, requires_grad, OrderedDict(), {attribute: plain value})
 *     OrderedDict           ()
 *         in legacy form    ([[key, value], ...]), as Python 2 wrote it
 *
 * A parameter's attributes are ignored, which is right as long as none of them can replace its numbers: torch sets them
 * by name, so `data` and everything that is not a plain value are refused. A plain tensor with attributes is refused
 * whole: _rebuild_from_type_v2 names a function and a class to call.
 */
#include "format/pickle_machine.h"

#include <string.h>

/* "privateuseone:0" is the longest of torch's own. Each use is compared with the first one of its storage. */
#define LOCATION_BYTES_MAX 64

enum callable {
    CALLABLE_NONE,
    CALLABLE_ORDERED_DICT,
    CALLABLE_TENSOR,
    CALLABLE_PARAMETER,
    CALLABLE_PARAMETER_WITH_STATE,
};

struct global_row {
    const char *module;
    const char *name;
    enum callable callable; /* NONE: a storage class */
    enum dtype dtype;
};

static const struct global_row allowed[] = {
    {"collections", "OrderedDict", CALLABLE_ORDERED_DICT, DTYPE_COUNT},
    {"torch._utils", "_rebuild_tensor_v2", CALLABLE_TENSOR, DTYPE_COUNT},
    {"torch._utils", "_rebuild_parameter", CALLABLE_PARAMETER, DTYPE_COUNT},
    {"torch._utils", "_rebuild_parameter_with_state", CALLABLE_PARAMETER_WITH_STATE, DTYPE_COUNT},
    {"torch", "HalfStorage", CALLABLE_NONE, DTYPE_F16},
    {"torch", "BFloat16Storage", CALLABLE_NONE, DTYPE_BF16},
    {"torch", "FloatStorage", CALLABLE_NONE, DTYPE_F32},
    {"torch", "DoubleStorage", CALLABLE_NONE, DTYPE_F64},
    {"torch", "LongStorage", CALLABLE_NONE, DTYPE_I64},
    {"torch", "IntStorage", CALLABLE_NONE, DTYPE_I32},
    {"torch", "ShortStorage", CALLABLE_NONE, DTYPE_I16},
    {"torch", "CharStorage", CALLABLE_NONE, DTYPE_I8},
    {"torch", "ByteStorage", CALLABLE_NONE, DTYPE_U8},
    {"torch", "BoolStorage", CALLABLE_NONE, DTYPE_BOOL},
};

/* Harmless globals that are refused all the same, with the reason. */
static const struct {
    const char *module;
    const char *name;
    const char *reason;
} known[] = {
    {"torch", "ComplexFloatStorage", "complex numbers, which are not supported"},
    {"torch", "ComplexDoubleStorage", "complex numbers, which are not supported"},
    {"torch", "QInt8Storage", "quantized numbers, which are not supported"},
    {"torch", "QUInt8Storage", "quantized numbers, which are not supported"},
    {"torch", "QInt32Storage", "quantized numbers, which are not supported"},
    {"torch", "QUInt4x2Storage", "quantized numbers, which are not supported"},
    {"torch", "QUInt2x4Storage", "quantized numbers, which are not supported"},
    {"torch._utils", "_rebuild_qtensor", "quantized numbers, which are not supported"},
    {"torch.storage", "UntypedStorage", "a tensor of a newer dtype, which is not supported yet"},
    {"torch._utils", "_rebuild_tensor_v3", "a tensor of a newer dtype, which is not supported yet"},
    {"torch._utils", "_rebuild_tensor", "a tensor as written before torch 0.4, which is not supported yet"},
    {"torch._tensor", "_rebuild_from_type_v2",
     "a tensor with Python attributes or of a class of its own; save what tensor.detach().clone() gives"},
};

enum llavamed_status pickle_find_global(struct pickle_machine *machine, const char *module, const char *name,
                                        struct pickle_value *out)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strcmp(allowed[i].module, module) == 0 && strcmp(allowed[i].name, name) == 0) {
            *out = (struct pickle_value){.kind = PICKLE_GLOBAL, .as.at = i};
            return LLAVAMED_OK;
        }
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].module, module) == 0 && strcmp(known[i].name, name) == 0) {
            return llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_GLOBAL, "%s: %s names %s.%s: %s",
                                 machine->path, machine->part, module, name, known[i].reason);
        }
    }
    enum llavamed_status status =
        llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_GLOBAL,
                      "%s: %s names %s.%s, which is not part of a state dict; nothing was executed",
                      machine->path, machine->part, module, name);
    llavamed_hint(machine->error, "a checkpoint that needs it is not plain weights: loading it in Python could run "
                                  "code; ask its publisher for safetensors");
    return status;
}

static const struct pickle_value *child(const struct pickle_machine *machine, const struct pickle_value *tuple,
                                        size_t i)
{
    return &machine->children.items[tuple->as.at + i];
}

static bool is_tuple_of(const struct pickle_value *value, size_t n)
{
    return value->kind == PICKLE_TUPLE && value->count == n;
}

static bool is_integer(const struct pickle_value *value)
{
    return value->kind == PICKLE_INT || value->kind == PICKLE_LARGE_INT;
}

/* ---- Storages ---- */

static bool is_storage_key(const struct pickle_machine *machine, const struct pickle_value *value)
{
    if (value->kind != PICKLE_STRING || value->count == 0 || value->count > PICKLE_STORAGE_KEY_BYTES_MAX) {
        return false;
    }
    const char *text = pickle_text(machine, value);
    for (size_t i = 0; i < value->count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return true;
}

/* (view key, offset, elements) of the legacy form, or None. */
static enum llavamed_status read_view_metadata(struct pickle_machine *machine, const struct pickle_value *value,
                                               struct pickle_storage_use *use)
{
    if (value->kind == PICKLE_NONE) {
        return LLAVAMED_OK;
    }
    if (!is_tuple_of(value, 3) || !is_storage_key(machine, child(machine, value, 0)) ||
        child(machine, value, 1)->kind != PICKLE_INT || child(machine, value, 2)->kind != PICKLE_INT) {
        return pickle_fail(machine, "the view of a storage is neither None nor a key and two integers");
    }
    int64_t offset = child(machine, value, 1)->as.integer;
    int64_t n_elems = child(machine, value, 2)->as.integer;
    if (offset < 0 || n_elems < 0 || (uint64_t)n_elems > use->n_elems ||
        (uint64_t)offset > use->n_elems - (uint64_t)n_elems) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE,
                             "%s: %s: the view of storage %.*s leaves it", machine->path, machine->part,
                             (int)use->key.count, pickle_text(machine, &use->key));
    }
    use->is_view = true;
    use->view_key = *child(machine, value, 0);
    use->view_offset = (uint64_t)offset;
    use->view_elems = (uint64_t)n_elems;
    return LLAVAMED_OK;
}

static enum llavamed_status read_storage(struct pickle_machine *machine, const struct pickle_value *id,
                                         struct pickle_storage_use *use)
{
    if (!is_tuple_of(id, machine->legacy ? 6 : 5) || !pickle_text_is(machine, child(machine, id, 0), "storage")) {
        return pickle_fail(machine, "a persistent id is not that of a storage");
    }
    const struct pickle_value *class = child(machine, id, 1);
    const struct pickle_value *key = child(machine, id, 2);
    const struct pickle_value *location = child(machine, id, 3);
    const struct pickle_value *n_elems = child(machine, id, 4);
    if (class->kind != PICKLE_GLOBAL || allowed[class->as.at].callable != CALLABLE_NONE) {
        return pickle_fail(machine, "a storage is of no storage class");
    }
    if (!is_storage_key(machine, key)) {
        return pickle_fail(machine, "the key of a storage is not a number of 1 to 20 digits");
    }
    if (location->kind != PICKLE_STRING || !is_integer(n_elems)) {
        return pickle_fail(machine, "location or size of a storage has the wrong type");
    }
    if (location->count > LOCATION_BYTES_MAX) {
        return pickle_fail_limit(machine, "the location of a storage is too long", LOCATION_BYTES_MAX);
    }
    if (n_elems->kind == PICKLE_LARGE_INT || n_elems->as.integer < 0) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE,
                             "%s: %s: storage %.*s has an impossible number of elements", machine->path, machine->part,
                             (int)key->count, pickle_text(machine, key));
    }
    *use = (struct pickle_storage_use){
        .key = *key,
        .location = *location,
        .dtype = allowed[class->as.at].dtype,
        .n_elems = (uint64_t)n_elems->as.integer,
    };
    return machine->legacy ? read_view_metadata(machine, child(machine, id, 5), use) : LLAVAMED_OK;
}

enum llavamed_status pickle_persistent(struct pickle_machine *machine, const struct pickle_value *id,
                                       struct pickle_value *out)
{
    struct pickle_storage_use use;
    enum llavamed_status status = read_storage(machine, id, &use);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct pickle_storage_use *uses = pickle_grow(machine, machine->storage_uses, &machine->storage_uses_capacity,
                                                  machine->n_storage_uses + 1, sizeof *uses);
    if (uses == NULL) {
        return machine->failure;
    }
    machine->storage_uses = uses;
    uses[machine->n_storage_uses] = use;
    *out = (struct pickle_value){.kind = PICKLE_STORAGE, .as.at = machine->n_storage_uses++};
    return LLAVAMED_OK;
}

/* ---- Calls ---- */

/* The empty OrderedDict of backward hooks that ends the arguments of tensors and parameters. */
static bool is_no_hooks(const struct pickle_machine *machine, const struct pickle_value *value)
{
    return value->kind == PICKLE_DICT && machine->dicts[value->as.at].ordered &&
           machine->dicts[value->as.at].n_entries == 0;
}

static enum llavamed_status rebuild_tensor(struct pickle_machine *machine, const struct pickle_value *args,
                                           struct pickle_value *out)
{
    if (!is_tuple_of(args, 6) || child(machine, args, 0)->kind != PICKLE_STORAGE ||
        !is_integer(child(machine, args, 1)) || child(machine, args, 2)->kind != PICKLE_TUPLE ||
        child(machine, args, 3)->kind != PICKLE_TUPLE || child(machine, args, 4)->kind != PICKLE_BOOL ||
        !is_no_hooks(machine, child(machine, args, 5))) {
        return pickle_fail(machine, "the arguments of _rebuild_tensor_v2 have the wrong types");
    }
    struct pickle_rebuilt *rebuilt =
        pickle_grow(machine, machine->rebuilt, &machine->rebuilt_capacity, machine->n_rebuilt + 1, sizeof *rebuilt);
    if (rebuilt == NULL) {
        return machine->failure;
    }
    machine->rebuilt = rebuilt;
    rebuilt[machine->n_rebuilt] = (struct pickle_rebuilt){
        .storage_use = child(machine, args, 0)->as.at,
        .offset = *child(machine, args, 1),
        .sizes = *child(machine, args, 2),
        .strides = *child(machine, args, 3),
    };
    *out = (struct pickle_value){.kind = PICKLE_TENSOR, .as.at = machine->n_rebuilt++};
    return LLAVAMED_OK;
}

static enum llavamed_status rebuild_parameter(struct pickle_machine *machine, const struct pickle_value *args,
                                              struct pickle_value *out)
{
    if (!is_tuple_of(args, 3) || child(machine, args, 0)->kind != PICKLE_TENSOR ||
        child(machine, args, 1)->kind != PICKLE_BOOL || !is_no_hooks(machine, child(machine, args, 2))) {
        return pickle_fail(machine, "the arguments of _rebuild_parameter have the wrong types");
    }
    *out = *child(machine, args, 0);
    return LLAVAMED_OK;
}

/*
 * Attributes of a parameter that cannot change its numbers: plain values under names other than `data`. Many parameters
 * may have one dictionary; of that only what was added since is looked at.
 */
static bool is_plain_state(struct pickle_machine *machine, const struct pickle_value *state)
{
    if (state->kind != PICKLE_DICT) {
        return false;
    }
    struct pickle_dict *dict = &machine->dicts[state->as.at];
    for (; dict->n_plain < dict->n_entries; dict->n_plain++) {
        /* As entries of a dictionary of plain values they lie side by side; looking no further keeps this linear. */
        size_t at = dict->first_entry + dict->n_plain;
        const struct pickle_entry *entry = &machine->entries[at];
        if (at >= machine->n_entries || entry->dict != state->as.at || entry->key.kind != PICKLE_STRING ||
            pickle_text_is(machine, &entry->key, "data")) {
            return false;
        }
        uint8_t kind = entry->value.kind;
        if (kind != PICKLE_NONE && kind != PICKLE_BOOL && kind != PICKLE_INT && kind != PICKLE_FLOAT &&
            kind != PICKLE_STRING) {
            return false;
        }
    }
    return true;
}

static enum llavamed_status rebuild_parameter_with_state(struct pickle_machine *machine,
                                                         const struct pickle_value *args, struct pickle_value *out)
{
    if (!is_tuple_of(args, 4) || child(machine, args, 0)->kind != PICKLE_TENSOR ||
        child(machine, args, 1)->kind != PICKLE_BOOL || !is_no_hooks(machine, child(machine, args, 2))) {
        return pickle_fail(machine, "the arguments of _rebuild_parameter_with_state have the wrong types");
    }
    if (!is_plain_state(machine, child(machine, args, 3))) {
        return pickle_fail(machine, "a parameter has attributes that are not plain values");
    }
    *out = *child(machine, args, 0);
    return LLAVAMED_OK;
}

/* Python 2: OrderedDict([[key, value], ...]). */
static enum llavamed_status ordered_dict_of_pairs(struct pickle_machine *machine, const struct pickle_value *pairs,
                                                  struct pickle_value *out)
{
    struct pickle_list *list = &machine->lists[pairs->as.at];
    if (list->taken) {
        return pickle_fail(machine, "a list is made into an OrderedDict twice");
    }
    list->taken = true;
    enum llavamed_status status = pickle_new_dict(machine, true, out);
    size_t at = list->first_item;
    for (size_t i = 0; i < list->n_items && status == LLAVAMED_OK; i++) {
        const struct pickle_item *item = &machine->list_items[at];
        at = item->next;
        if (item->value.kind != PICKLE_LIST || machine->lists[item->value.as.at].n_items != 2) {
            return pickle_fail(machine, "the arguments of OrderedDict have the wrong types");
        }
        const struct pickle_list *pair = &machine->lists[item->value.as.at];
        status = pickle_set_item(machine, out, &machine->list_items[pair->first_item].value,
                                 &machine->list_items[pair->last_item].value);
    }
    return status;
}

enum llavamed_status pickle_reduce(struct pickle_machine *machine, const struct pickle_value *callable,
                                   const struct pickle_value *args, struct pickle_value *out)
{
    enum callable which = callable->kind == PICKLE_GLOBAL ? allowed[callable->as.at].callable : CALLABLE_NONE;
    switch (which) {
    case CALLABLE_ORDERED_DICT:
        if (machine->legacy && is_tuple_of(args, 1) && child(machine, args, 0)->kind == PICKLE_LIST) {
            return ordered_dict_of_pairs(machine, child(machine, args, 0), out);
        }
        if (!is_tuple_of(args, 0)) {
            return pickle_fail(machine, "the arguments of OrderedDict have the wrong types");
        }
        return pickle_new_dict(machine, true, out);
    case CALLABLE_TENSOR:
        return rebuild_tensor(machine, args, out);
    case CALLABLE_PARAMETER:
        return rebuild_parameter(machine, args, out);
    case CALLABLE_PARAMETER_WITH_STATE:
        return rebuild_parameter_with_state(machine, args, out);
    case CALLABLE_NONE:
        break;
    }
    return pickle_fail(machine, "something is called that is no function of a state dict");
}

/* What Module.state_dict() attaches: {'_metadata': OrderedDict}. It says nothing about the weights. */
enum llavamed_status pickle_build(struct pickle_machine *machine, const struct pickle_value *object,
                                  const struct pickle_value *state)
{
    bool fits = object->kind == PICKLE_DICT && machine->dicts[object->as.at].ordered && state->kind == PICKLE_DICT &&
                !machine->dicts[state->as.at].ordered && machine->dicts[state->as.at].n_entries == 1;
    if (fits) {
        const struct pickle_entry *entry = &machine->entries[machine->dicts[state->as.at].first_entry];
        fits = pickle_text_is(machine, &entry->key, "_metadata") && entry->value.kind == PICKLE_DICT;
    }
    return fits ? LLAVAMED_OK : pickle_fail(machine, "attributes other than _metadata are set");
}
