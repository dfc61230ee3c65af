/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of the stack machine: values, arenas, texts. */
#include "format/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

void pickle_machine_deinit(struct pickle_machine *machine)
{
    free(machine->stack.items);
    free(machine->memo.items);
    free(machine->children.items);
    free(machine->dicts);
    free(machine->entries);
    free(machine->lists);
    free(machine->list_items);
    free(machine->storage_uses);
    free(machine->rebuilt);
    memset(machine, 0, sizeof *machine);
}

const char *pickle_kind_text(uint8_t kind)
{
    static const char *const texts[] = {
        [PICKLE_UNSET] = "nothing",     [PICKLE_MARK] = "a mark",          [PICKLE_NONE] = "None",
        [PICKLE_BOOL] = "a bool",       [PICKLE_INT] = "an integer",       [PICKLE_LARGE_INT] = "an integer",
        [PICKLE_STRING] = "a string",   [PICKLE_TUPLE] = "a tuple",        [PICKLE_LIST] = "a list",
        [PICKLE_DICT] = "a dictionary", [PICKLE_GLOBAL] = "a global name", [PICKLE_STORAGE] = "a storage",
        [PICKLE_TENSOR] = "a tensor",   [PICKLE_FLOAT] = "a float",
    };
    return texts[kind];
}

const char *pickle_text(const struct pickle_machine *machine, const struct pickle_value *string)
{
    return (const char *)machine->bytes + string->as.at;
}

bool pickle_text_is(const struct pickle_machine *machine, const struct pickle_value *value, const char *text)
{
    return value->kind == PICKLE_STRING && value->count == strlen(text) &&
           memcmp(pickle_text(machine, value), text, value->count) == 0;
}

bool pickle_text_equal(const struct pickle_machine *machine, const struct pickle_value *a, const struct pickle_value *b)
{
    return a->count == b->count && memcmp(pickle_text(machine, a), pickle_text(machine, b), a->count) == 0;
}

void *pickle_grow(struct pickle_machine *machine, void *items, size_t *capacity, size_t need, size_t item_bytes)
{
    if (need <= *capacity) {
        return items;
    }
    /* Every item costs at least one byte of the pickle, so neither doubling nor the product can overflow. */
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    wanted = wanted < need ? need : wanted;
    size_t more_bytes = (wanted - *capacity) * item_bytes;
    if (more_bytes > PICKLE_MEMORY_MAX - machine->arena_bytes) {
        machine->failure =
            pickle_fail_limit(machine, "too many objects, reading them takes too much memory", PICKLE_MEMORY_MAX);
        return NULL;
    }
    void *moved = realloc(items, wanted * item_bytes);
    if (moved == NULL) {
        machine->failure = llavamed_fail_memory(machine->error, wanted * item_bytes, "reading a pickle");
        return NULL;
    }
    machine->arena_bytes += more_bytes;
    *capacity = wanted;
    return moved;
}

enum llavamed_status pickle_values_reserve(struct pickle_machine *machine, struct pickle_values *values, size_t n)
{
    if (n <= values->capacity) {
        return LLAVAMED_OK;
    }
    struct pickle_value *items = pickle_grow(machine, values->items, &values->capacity, n, sizeof *items);
    if (items == NULL) {
        return machine->failure;
    }
    values->items = items;
    return LLAVAMED_OK;
}

enum llavamed_status pickle_new_dict(struct pickle_machine *machine, bool ordered, struct pickle_value *out)
{
    struct pickle_dict *dicts =
        pickle_grow(machine, machine->dicts, &machine->dicts_capacity, machine->n_dicts + 1, sizeof *dicts);
    if (dicts == NULL) {
        return machine->failure;
    }
    machine->dicts = dicts;
    dicts[machine->n_dicts] = (struct pickle_dict){.ordered = ordered};
    *out = (struct pickle_value){.kind = PICKLE_DICT, .as.at = machine->n_dicts++};
    return LLAVAMED_OK;
}

enum llavamed_status pickle_new_list(struct pickle_machine *machine, struct pickle_value *out)
{
    struct pickle_list *lists =
        pickle_grow(machine, machine->lists, &machine->lists_capacity, machine->n_lists + 1, sizeof *lists);
    if (lists == NULL) {
        return machine->failure;
    }
    machine->lists = lists;
    lists[machine->n_lists] = (struct pickle_list){.n_items = 0};
    *out = (struct pickle_value){.kind = PICKLE_LIST, .as.at = machine->n_lists++};
    return LLAVAMED_OK;
}

enum llavamed_status pickle_list_append(struct pickle_machine *machine, const struct pickle_value *list,
                                        const struct pickle_value *value)
{
    struct pickle_item *items = pickle_grow(machine, machine->list_items, &machine->list_items_capacity,
                                            machine->n_list_items + 1, sizeof *items);
    if (items == NULL) {
        return machine->failure;
    }
    machine->list_items = items;
    struct pickle_list *info = &machine->lists[list->as.at];
    size_t at = machine->n_list_items++;
    items[at] = (struct pickle_item){.value = *value};
    if (info->n_items == 0) {
        info->first_item = at;
    } else {
        items[info->last_item].next = at;
    }
    info->last_item = at;
    info->n_items++;
    return LLAVAMED_OK;
}

enum llavamed_status pickle_set_item(struct pickle_machine *machine, const struct pickle_value *dict,
                                     const struct pickle_value *key, const struct pickle_value *value)
{
    if (key->kind != PICKLE_STRING && key->kind != PICKLE_INT) {
        return pickle_fail(machine, "a dictionary has a key that is neither a string nor an integer");
    }
    if (value->kind == PICKLE_DICT && value->as.at == dict->as.at) {
        return pickle_fail(machine, "a dictionary holds itself");
    }
    struct pickle_entry *entries =
        pickle_grow(machine, machine->entries, &machine->entries_capacity, machine->n_entries + 1, sizeof *entries);
    if (entries == NULL) {
        return machine->failure;
    }
    machine->entries = entries;
    struct pickle_dict *info = &machine->dicts[dict->as.at];
    if (info->n_entries == 0) {
        info->first_entry = machine->n_entries;
    }
    info->n_entries++;
    info->has_tensor = info->has_tensor || value->kind == PICKLE_TENSOR;
    entries[machine->n_entries++] = (struct pickle_entry){.dict = dict->as.at, .key = *key, .value = *value};
    return LLAVAMED_OK;
}
