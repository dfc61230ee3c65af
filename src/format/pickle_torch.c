/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The globals and calls of a state dict. Nothing is called: a REDUCE is recognised by its callable and the types of its
 * arguments, and answered with a tag.
 *
 *     persistent id         ('storage', torch.HalfStorage, '12', 'cpu', 4096)
 *     _rebuild_tensor_v2    (storage, offset, sizes, strides, requires_grad, OrderedDict())
 *     _rebuild_parameter    (tensor, requires_grad, OrderedDict())
 *     OrderedDict           ()
 */
#include "format/pickle_machine.h"

#include <string.h>

#define STORAGE_KEY_BYTES_MAX 20

enum callable { CALLABLE_NONE, CALLABLE_ORDERED_DICT, CALLABLE_TENSOR, CALLABLE_PARAMETER };

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
            return llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_GLOBAL, "%s: data.pkl names %s.%s: %s",
                                 machine->path, module, name, known[i].reason);
        }
    }
    enum llavamed_status status =
        llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_GLOBAL,
                      "%s: data.pkl names %s.%s, which is not part of a state dict; nothing was executed",
                      machine->path, module, name);
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
    if (value->kind != PICKLE_STRING || value->count == 0 || value->count > STORAGE_KEY_BYTES_MAX) {
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

enum llavamed_status pickle_persistent(struct pickle_machine *machine, const struct pickle_value *id,
                                       struct pickle_value *out)
{
    if (!is_tuple_of(id, 5) || !pickle_text_is(machine, child(machine, id, 0), "storage")) {
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
    if (n_elems->kind == PICKLE_LARGE_INT || n_elems->as.integer < 0) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE,
                             "%s: data.pkl: storage %.*s has an impossible number of elements", machine->path,
                             (int)key->count, pickle_text(machine, key));
    }
    struct pickle_storage_use *uses = pickle_grow(machine, machine->storage_uses, &machine->storage_uses_capacity,
                                                  machine->n_storage_uses + 1, sizeof *uses);
    if (uses == NULL) {
        return machine->failure;
    }
    machine->storage_uses = uses;
    uses[machine->n_storage_uses] = (struct pickle_storage_use){
        .key = *key,
        .location = *location,
        .dtype = allowed[class->as.at].dtype,
        .n_elems = (uint64_t)n_elems->as.integer,
    };
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

enum llavamed_status pickle_reduce(struct pickle_machine *machine, const struct pickle_value *callable,
                                   const struct pickle_value *args, struct pickle_value *out)
{
    enum callable which = callable->kind == PICKLE_GLOBAL ? allowed[callable->as.at].callable : CALLABLE_NONE;
    switch (which) {
    case CALLABLE_ORDERED_DICT:
        if (!is_tuple_of(args, 0)) {
            return pickle_fail(machine, "the arguments of OrderedDict have the wrong types");
        }
        return pickle_new_dict(machine, true, out);
    case CALLABLE_TENSOR:
        return rebuild_tensor(machine, args, out);
    case CALLABLE_PARAMETER:
        return rebuild_parameter(machine, args, out);
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
