/* SPDX-License-Identifier: Apache-2.0 */
/* The pickles of the legacy form, each run by a machine of its own: what one memoized is unknown to the next. */
#include "format/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "format/pickle_machine.h"

/* Runs one pickle; the machine is to be freed whatever comes. */
static enum llavamed_status run(struct pickle_machine *machine, const struct pickle_span *span,
                                struct pickle_value *result, struct llavamed_error *error)
{
    machine->path = span->path;
    machine->legacy = true;
    machine->bytes = span->bytes;
    machine->n_bytes = span->n_bytes;
    machine->error = error;
    enum llavamed_status status = pickle_machine_run(machine, result);
    if (status == LLAVAMED_OK && machine->position > PICKLE_BYTES_MAX) {
        status =
            llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: %s is too large (got %zu bytes, want at most %d)",
                          span->path, machine->part, machine->position, PICKLE_BYTES_MAX);
    }
    return status;
}

enum llavamed_status pickle_read_legacy_system(const struct pickle_span *span, size_t *used,
                                               struct llavamed_error *error)
{
    struct pickle_machine machine = {.part = "its description of the system"};
    struct pickle_value result = {.kind = PICKLE_UNSET};
    enum llavamed_status status = run(&machine, span, &result, error);
    if (status == LLAVAMED_OK && result.kind != PICKLE_DICT) {
        status = llavamed_fail(error, LLAVAMED_STATUS_PICKLE_MALFORMED, "%s: %s is %s (want a dictionary)", span->path,
                               machine.part, pickle_kind_text(result.kind));
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < machine.n_entries; i++) {
        const struct pickle_entry *entry = &machine.entries[i];
        if (entry->dict == result.as.at && pickle_text_is(&machine, &entry->key, "little_endian") &&
            (entry->value.kind != PICKLE_BOOL || entry->value.as.integer == 0)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_TORCH_BYTE_ORDER,
                                   "%s: unsupported byte order (little_endian is not True)", span->path);
        }
    }
    if (status == LLAVAMED_OK) {
        *used = machine.position;
    }
    pickle_machine_deinit(&machine);
    return status;
}

enum llavamed_status pickle_read_legacy_dict(const struct pickle_span *span, struct pickle_state_dict *dict,
                                             size_t *used, struct llavamed_error *error)
{
    struct pickle_machine machine = {.part = "its pickle"};
    struct pickle_value result = {.kind = PICKLE_UNSET};
    enum llavamed_status status = run(&machine, span, &result, error);
    if (status == LLAVAMED_OK) {
        status = pickle_list_tensors(&machine, &result, dict);
    }
    if (status == LLAVAMED_OK) {
        *used = machine.position;
    }
    pickle_machine_deinit(&machine);
    return status;
}

/* ---- The list of keys ---- */

#define UNUSED "has what no tensor uses,"

struct key_place {
    const char *text; /* not NUL-terminated when it comes from the pickle */
    size_t n_bytes;
    size_t index;
};

static int compare_places(const void *a, const void *b)
{
    const struct key_place *place_a = a;
    const struct key_place *place_b = b;
    if (place_a->n_bytes != place_b->n_bytes) {
        return place_a->n_bytes < place_b->n_bytes ? -1 : 1;
    }
    return memcmp(place_a->text, place_b->text, place_a->n_bytes);
}

static enum llavamed_status fail_key(struct pickle_machine *machine, const char *what, const struct key_place *key)
{
    return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE, "%s: its list of storages %s storage %.*s",
                         machine->path, what, (int)(key->n_bytes < 64 ? key->n_bytes : 64), key->text);
}

/* Matches the keys of the list with the storages, both sorted: `places` has room for both. */
static enum llavamed_status match_keys(struct pickle_machine *machine, const struct pickle_list *list,
                                       const struct pickle_state_dict *dict, struct key_place *places, size_t *order)
{
    size_t n = dict->n_storages;
    struct key_place *listed = places + n;
    size_t at = list->first_item;
    for (size_t i = 0; i < n; i++) {
        places[i] = (struct key_place){dict->storages[i].key, strlen(dict->storages[i].key), i};
    }
    for (size_t i = 0; i < list->n_items; i++) {
        const struct pickle_item *item = &machine->list_items[at];
        at = item->next;
        if (item->value.kind != PICKLE_STRING) {
            return llavamed_fail(machine->error, LLAVAMED_STATUS_PICKLE_MALFORMED,
                                 "%s: its list of storages holds %s (want strings)", machine->path,
                                 pickle_kind_text(item->value.kind));
        }
        listed[i] = (struct key_place){pickle_text(machine, &item->value), item->value.count, i};
        /* No storage has such a key; a long one that is there again and again would be compared in full each time. */
        if (listed[i].n_bytes > PICKLE_STORAGE_KEY_BYTES_MAX) {
            return fail_key(machine, UNUSED, &listed[i]);
        }
    }
    qsort(places, n, sizeof *places, compare_places);
    qsort(listed, list->n_items, sizeof *listed, compare_places);
    for (size_t i = 1; i < list->n_items; i++) {
        if (compare_places(&listed[i - 1], &listed[i]) == 0) {
            return fail_key(machine, "has twice", &listed[i]);
        }
    }
    for (size_t i = 0; i < n || i < list->n_items; i++) {
        int side = i == n ? 1 : i == list->n_items ? -1 : compare_places(&places[i], &listed[i]);
        if (side != 0) {
            return side < 0 ? fail_key(machine, "lacks", &places[i])
                            : fail_key(machine, UNUSED, &listed[i]);
        }
        order[listed[i].index] = places[i].index;
    }
    return LLAVAMED_OK;
}

enum llavamed_status pickle_read_legacy_keys(const struct pickle_span *span, const struct pickle_state_dict *dict,
                                             size_t *order, size_t *used, struct llavamed_error *error)
{
    struct pickle_machine machine = {.part = "its list of storages"};
    struct pickle_value result = {.kind = PICKLE_UNSET};
    struct key_place *places = NULL;
    enum llavamed_status status = run(&machine, span, &result, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    if (result.kind != PICKLE_LIST) {
        status = llavamed_fail(error, LLAVAMED_STATUS_PICKLE_MALFORMED, "%s: %s is %s (want a list)", span->path,
                               machine.part, pickle_kind_text(result.kind));
        goto out;
    }
    const struct pickle_list *list = &machine.lists[result.as.at];
    places = calloc(dict->n_storages + list->n_items + 1, sizeof *places);
    if (places == NULL) {
        status = llavamed_fail_memory(error, (dict->n_storages + list->n_items + 1) * sizeof *places,
                                      "the storages of a checkpoint");
        goto out;
    }
    status = match_keys(&machine, list, dict, places, order);
    if (status == LLAVAMED_OK) {
        *used = machine.position;
    }
out:
    free(places);
    pickle_machine_deinit(&machine);
    return status;
}
