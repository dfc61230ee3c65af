/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the machine's result to a state dict: names, storages and views, each checked where the name of the tensor is
 * known, so that an error can say it. The machine is in pickle_machine.c, torch's objects are in pickle_torch.c.
 */
#include "format/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/pickle_machine.h"

/* How much of a key an error shows. */
#define KEY_SHOWN_BYTES 200

void pickle_state_dict_deinit(struct pickle_state_dict *dict)
{
    for (size_t i = 0; i < dict->n_tensors; i++) {
        tensor_deinit(&dict->tensors[i].tensor);
    }
    for (size_t i = 0; i < dict->n_storages; i++) {
        free(dict->storages[i].key);
    }
    free(dict->tensors);
    free(dict->storages);
    memset(dict, 0, sizeof *dict);
}

static int shown_bytes(const struct pickle_value *text)
{
    return text->count < KEY_SHOWN_BYTES ? (int)text->count : KEY_SHOWN_BYTES;
}

/* A key as an error shows it. Returns `shown`. */
static const char *show_key(const struct pickle_machine *machine, const struct pickle_value *key,
                            char shown[KEY_SHOWN_BYTES + 1])
{
    if (key->kind == PICKLE_STRING) {
        (void)snprintf(shown, KEY_SHOWN_BYTES + 1, "%.*s", shown_bytes(key), pickle_text(machine, key));
    } else {
        (void)snprintf(shown, KEY_SHOWN_BYTES + 1, "%lld", (long long)key->as.integer);
    }
    return shown;
}

/* ---- Texts and keys ---- */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* A text of the pickle, and what it is of. */
struct text_row {
    const char *text; /* n_bytes bytes */
    size_t n_bytes;
    size_t index;
    size_t first; /* the least index of an equal text, maybe its own: see find_first_texts() */
};

static int compare_texts(const struct text_row *a, const struct text_row *b)
{
    int order = compare_numbers(a->n_bytes, b->n_bytes);
    return order != 0 ? order : memcmp(a->text, b->text, a->n_bytes);
}

static int compare_text_rows(const void *a, const void *b)
{
    const struct text_row *row_a = a;
    const struct text_row *row_b = b;
    int order = compare_texts(row_a, row_b);
    return order != 0 ? order : compare_numbers(row_a->index, row_b->index);
}

/*
 * Sorts by text. That is linear in the pickle, but for a logarithm, when all texts are short or no two of them are the
 * same bytes of it. Sorting, unlike hashing, has no worst case that a stranger's keys could choose.
 */
static void find_first_texts(struct text_row *rows, size_t n)
{
    qsort(rows, n, sizeof *rows, compare_text_rows);
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && compare_texts(&rows[i - 1], &rows[i]) == 0;
        rows[i].first = again ? rows[i - 1].first : rows[i].index;
    }
}

/*
 * A key of the pickle. A text is written once and, by the memo, used as often as one likes, in one dictionary or in
 * many: so texts are compared with each other first, each once, and keys by what came out.
 */
struct key_row {
    size_t dict;
    uint64_t what; /* STRING: where in the pickle its text stands, at last the first one equal to it; INT: the number */
    size_t index;  /* in the arena */
    uint8_t kind;
};

static int compare_keys(const struct key_row *a, const struct key_row *b)
{
    int order = compare_numbers(a->dict, b->dict);
    order = order != 0 ? order : compare_numbers(a->kind, b->kind);
    return order != 0 ? order : compare_numbers(a->what, b->what);
}

static int compare_key_rows(const void *a, const void *b)
{
    const struct key_row *row_a = a;
    const struct key_row *row_b = b;
    int order = compare_keys(row_a, row_b);
    return order != 0 ? order : compare_numbers(row_a->index, row_b->index);
}

/* Strings first, by where their texts stand. */
static int compare_key_places(const void *a, const void *b)
{
    const struct key_row *row_a = a;
    const struct key_row *row_b = b;
    int order = compare_numbers(row_a->kind != PICKLE_STRING, row_b->kind != PICKLE_STRING);
    return order != 0 ? order : compare_numbers(row_a->what, row_b->what);
}

static int compare_text_places(const void *a, const void *b)
{
    return compare_numbers(((const struct text_row *)a)->index, ((const struct text_row *)b)->index);
}

/* Gives keys with equal texts the same `what`. */
static enum llavamed_status join_texts(struct pickle_machine *machine, struct key_row *rows, size_t n)
{
    qsort(rows, n, sizeof *rows, compare_key_places);
    size_t n_strings = 0;
    while (n_strings < n && rows[n_strings].kind == PICKLE_STRING) {
        n_strings++;
    }
    struct text_row *texts = calloc(n_strings + 1, sizeof *texts);
    if (texts == NULL) {
        return llavamed_fail_memory(machine->error, (n_strings + 1) * sizeof *texts, "the keys of a pickle");
    }
    size_t n_texts = 0;
    for (size_t i = 0; i < n_strings; i++) {
        const struct pickle_value *key = &machine->entries[rows[i].index].key;
        if (n_texts == 0 || texts[n_texts - 1].index != key->as.at) {
            texts[n_texts++] = (struct text_row){pickle_text(machine, key), key->count, key->as.at, 0};
        }
    }
    find_first_texts(texts, n_texts);
    qsort(texts, n_texts, sizeof *texts, compare_text_places);
    size_t k = 0;
    for (size_t i = 0; i < n_strings; i++) {
        k += texts[k].index != rows[i].what;
        rows[i].what = texts[k].first;
    }
    free(texts);
    return LLAVAMED_OK;
}

static enum llavamed_status fail_duplicate(struct pickle_machine *machine, const struct key_row *row, size_t top_dict)
{
    bool is_top = row->dict == top_dict;
    char shown[KEY_SHOWN_BYTES + 1];
    return llavamed_fail(machine->error,
                         is_top ? LLAVAMED_STATUS_TENSOR_DUPLICATE : LLAVAMED_STATUS_PICKLE_MALFORMED,
                         "%s: %s: %s %s is there twice", machine->path, machine->part,
                         is_top ? "tensor" : "dictionary key",
                         show_key(machine, &machine->entries[row->index].key, shown));
}

static enum llavamed_status refuse_duplicate_keys(struct pickle_machine *machine, size_t top_dict)
{
    size_t n = machine->n_entries;
    struct key_row *rows = calloc(n + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(machine->error, (n + 1) * sizeof *rows, "the keys of a pickle");
    }
    for (size_t i = 0; i < n; i++) {
        const struct pickle_entry *entry = &machine->entries[i];
        bool is_text = entry->key.kind == PICKLE_STRING;
        uint64_t what = is_text ? entry->key.as.at : (uint64_t)entry->key.as.integer;
        rows[i] = (struct key_row){entry->dict, what, i, entry->key.kind};
    }
    enum llavamed_status status = join_texts(machine, rows, n);
    if (status == LLAVAMED_OK) {
        qsort(rows, n, sizeof *rows, compare_key_rows);
    }
    for (size_t i = 1; i < n && status == LLAVAMED_OK; i++) {
        if (compare_keys(&rows[i - 1], &rows[i]) == 0) {
            status = fail_duplicate(machine, &rows[i], top_dict);
        }
    }
    free(rows);
    return status;
}

/* ---- Storages ---- */

static enum llavamed_status fail_conflict(struct pickle_machine *machine, const struct pickle_storage_use *use)
{
    return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE,
                         "%s: %s: storage %.*s is described twice, with another dtype, size or location",
                         machine->path, machine->part, shown_bytes(&use->key), pickle_text(machine, &use->key));
}

/* Finds, for every use, the first use of the same key: first_use[i] <= i. Uses of one key must agree. */
static enum llavamed_status join_uses(struct pickle_machine *machine, size_t *first_use)
{
    size_t n = machine->n_storage_uses;
    struct text_row *rows = calloc(n + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(machine->error, (n + 1) * sizeof *rows, "the storages of a pickle");
    }
    for (size_t i = 0; i < n; i++) {
        const struct pickle_value *key = &machine->storage_uses[i].key;
        rows[i] = (struct text_row){pickle_text(machine, key), key->count, i, 0};
    }
    find_first_texts(rows, n);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < n && status == LLAVAMED_OK; i++) {
        first_use[rows[i].index] = rows[i].first;
        const struct pickle_storage_use *use = &machine->storage_uses[rows[i].index];
        const struct pickle_storage_use *first = &machine->storage_uses[rows[i].first];
        if (use->dtype != first->dtype || use->n_elems != first->n_elems ||
            !pickle_text_equal(machine, &use->location, &first->location)) {
            status = fail_conflict(machine, use);
        }
    }
    free(rows);
    return status;
}

/* Two views under one key must be the same part of the same storage, and no storage may have that key: as in torch. */
static enum llavamed_status check_view_keys(struct pickle_machine *machine)
{
    size_t n = 0;
    struct text_row *rows = calloc(machine->n_storage_uses * 2 + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(machine->error, (machine->n_storage_uses * 2 + 1) * sizeof *rows,
                                    "the storages of a pickle");
    }
    for (size_t i = 0; i < machine->n_storage_uses; i++) {
        const struct pickle_storage_use *use = &machine->storage_uses[i];
        rows[n++] = (struct text_row){pickle_text(machine, &use->key), use->key.count, i * 2, 0};
        if (use->is_view) {
            const struct pickle_value *key = &use->view_key;
            rows[n++] = (struct text_row){pickle_text(machine, key), key->count, i * 2 + 1, 0};
        }
    }
    find_first_texts(rows, n);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 1; i < n && status == LLAVAMED_OK; i++) {
        const struct pickle_storage_use *use = &machine->storage_uses[rows[i].index / 2];
        const struct pickle_storage_use *before = &machine->storage_uses[rows[i - 1].index / 2];
        bool is_view = rows[i].index % 2 != 0;
        bool same = is_view == (rows[i - 1].index % 2 != 0);
        if (same && is_view) {
            same = use->view_offset == before->view_offset && use->view_elems == before->view_elems &&
                   pickle_text_equal(machine, &use->key, &before->key);
        }
        if (!same && rows[i].first == rows[i - 1].first) {
            status = llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_STORAGE,
                                   "%s: %s: the view of a storage %.*s is described twice, in another place",
                                   machine->path, machine->part, (int)rows[i].n_bytes, rows[i].text);
        }
    }
    free(rows);
    return status;
}

/* Lists every storage once; *use_to_storage (owned by the caller) maps uses to that list. */
static enum llavamed_status list_storages(struct pickle_machine *machine, struct pickle_state_dict *dict,
                                          size_t **use_to_storage)
{
    size_t n = machine->n_storage_uses;
    size_t *map = calloc(n + 1, sizeof *map);
    dict->storages = calloc(n + 1, sizeof *dict->storages);
    enum llavamed_status status = LLAVAMED_OK;
    if (map == NULL || dict->storages == NULL) {
        status = llavamed_fail_memory(machine->error, (n + 1) * sizeof *dict->storages, "the storages of a pickle");
        goto out;
    }
    status = join_uses(machine, map);
    if (status == LLAVAMED_OK && machine->legacy) {
        status = check_view_keys(machine);
    }
    for (size_t i = 0; i < n && status == LLAVAMED_OK; i++) {
        if (map[i] < i) {
            /* The first use has been replaced by the index of its storage already. */
            map[i] = map[map[i]];
            continue;
        }
        const struct pickle_storage_use *use = &machine->storage_uses[i];
        char *key = malloc(use->key.count + 1u);
        if (key == NULL) {
            status = llavamed_fail_memory(machine->error, use->key.count + 1u, "the key of a storage");
            goto out;
        }
        memcpy(key, pickle_text(machine, &use->key), use->key.count);
        key[use->key.count] = '\0';
        dict->storages[dict->n_storages] = (struct pickle_storage){key, use->dtype, use->n_elems};
        map[i] = dict->n_storages++;
    }
    if (status == LLAVAMED_OK) {
        *use_to_storage = map;
        map = NULL;
    }
out:
    free(map);
    return status;
}

/* ---- Views ---- */

static enum llavamed_status fail_view(const struct pickle_machine *machine, const struct pickle_value *name,
                                      const char *what)
{
    return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_VIEW, "%s: tensor %.*s: %s", machine->path,
                         shown_bytes(name), pickle_text(machine, name), what);
}

static bool take_count(const struct pickle_value *value, uint64_t *out)
{
    if (value->kind != PICKLE_INT || value->as.integer < 0) {
        return false;
    }
    *out = (uint64_t)value->as.integer;
    return true;
}

static bool view_is_contiguous(const struct pickle_tensor *view)
{
    const struct tensor *tensor = &view->tensor;
    uint64_t expected = 1;
    for (unsigned i = tensor->rank; i > 0 && tensor->n_elems > 0; i--) {
        if (tensor->shape[i - 1] != 1 && view->strides[i - 1] != expected) {
            return false;
        }
        expected *= tensor->shape[i - 1]; /* at most n_elems */
    }
    return true;
}

/* offset + sum((size - 1) * stride) is the last element of a view that has any. */
static bool view_last_elem(const struct pickle_tensor *view, uint64_t *last)
{
    uint64_t sum = view->offset_elems;
    for (unsigned i = 0; i < view->tensor.rank; i++) {
        uint64_t step = 0;
        if (!checked_mul_u64(view->tensor.shape[i] - 1, view->strides[i], &step) || !checked_add_u64(sum, step, &sum)) {
            return false;
        }
    }
    *last = sum;
    return true;
}

/* Fills *view, whose name is owned on success only. */
static enum llavamed_status make_view(const struct pickle_machine *machine, const struct pickle_value *name,
                                      const struct pickle_rebuilt *rebuilt, struct pickle_tensor *view)
{
    const struct pickle_storage_use *use = &machine->storage_uses[rebuilt->storage_use];
    struct pickle_tensor made = {.storage = 0};
    uint64_t shape[TENSOR_RANK_MAX] = {0};
    unsigned rank = rebuilt->sizes.count;
    if (rebuilt->strides.count != rank) {
        return fail_view(machine, name, "it has not as many strides as dimensions");
    }
    if (rank > TENSOR_RANK_MAX) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_SHAPE_INVALID,
                             "%s: tensor %.*s: too many dimensions (got %u, want at most %d)", machine->path,
                             shown_bytes(name), pickle_text(machine, name), rank, TENSOR_RANK_MAX);
    }
    bool counts = take_count(&rebuilt->offset, &made.offset_elems);
    for (unsigned i = 0; i < rank; i++) {
        counts = counts && take_count(&machine->children.items[rebuilt->sizes.as.at + i], &shape[i]) &&
                 take_count(&machine->children.items[rebuilt->strides.as.at + i], &made.strides[i]);
    }
    if (!counts) {
        return fail_view(machine, name, "offset, sizes or strides are not integers from 0 to 2^63-1");
    }
    enum llavamed_status status = tensor_init(&made.tensor, machine->path, pickle_text(machine, name), name->count,
                                              use->dtype, shape, rank, machine->error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t last = 0;
    uint64_t n_elems = use->is_view ? use->view_elems : use->n_elems;
    if (made.tensor.n_elems > 0 && (!view_last_elem(&made, &last) || last >= n_elems)) {
        tensor_deinit(&made.tensor);
        return llavamed_fail(machine->error, LLAVAMED_STATUS_TORCH_VIEW,
                             "%s: tensor %.*s: the view leaves its storage (storage %.*s has %llu elements)",
                             machine->path, shown_bytes(name), pickle_text(machine, name), shown_bytes(&use->key),
                             pickle_text(machine, &use->key), (unsigned long long)n_elems);
    }
    if (use->is_view && !checked_add_u64(made.offset_elems, use->view_offset, &made.offset_elems)) {
        tensor_deinit(&made.tensor);
        return fail_view(machine, name, "its offset is too large");
    }
    made.contiguous = view_is_contiguous(&made);
    *view = made;
    return LLAVAMED_OK;
}

/* ---- The dictionary ---- */

static enum llavamed_status fail_entry(const struct pickle_machine *machine, const struct pickle_entry *entry)
{
    char shown[KEY_SHOWN_BYTES + 1];
    const char *name = show_key(machine, &entry->key, shown);
    enum llavamed_status status;
    if (entry->key.kind != PICKLE_STRING) {
        status = llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: entry %s has a number for a name: not a state dict", machine->path, name);
    } else if (entry->value.kind == PICKLE_DICT) {
        status = llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: entry %s is a dictionary, not a tensor: not a state dict (one inside a dictionary "
                               "is found under 'state_dict' or 'model')",
                               machine->path, name);
        llavamed_hint(machine->error, "save the inner dictionary by itself");
    } else {
        status = llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: entry %s is %s, not a tensor: not a state dict", machine->path, name,
                               pickle_kind_text(entry->value.kind));
    }
    return status;
}

/*
 * Finds the state dict: the dictionary itself or, when it holds no tensor, the one that lies in it under one of the
 * names that trainers use. What lies beside it is skipped.
 */
static enum llavamed_status find_state_dict(struct pickle_machine *machine, size_t top_dict, size_t *state_dict)
{
    static const char *const names[] = {"state_dict", "model"};
    size_t found = top_dict;
    *state_dict = top_dict;
    if (machine->dicts[top_dict].has_tensor) {
        return LLAVAMED_OK;
    }
    unsigned n_found = 0;
    for (size_t i = 0; i < machine->n_entries; i++) {
        const struct pickle_entry *entry = &machine->entries[i];
        if (entry->dict != top_dict || entry->value.kind != PICKLE_DICT) {
            continue;
        }
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            if (pickle_text_is(machine, &entry->key, names[j]) && machine->dicts[entry->value.as.at].has_tensor) {
                found = entry->value.as.at;
                n_found++;
            }
        }
    }
    if (n_found > 1) {
        enum llavamed_status status =
            llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                          "%s: it holds two state dicts, under 'state_dict' and under 'model'", machine->path);
        llavamed_hint(machine->error, "save the one that is meant by itself");
        return status;
    }
    *state_dict = found;
    return LLAVAMED_OK;
}

static enum llavamed_status list_tensors(const struct pickle_machine *machine, size_t top_dict,
                                         const size_t *use_to_storage, struct pickle_state_dict *dict)
{
    size_t n = machine->dicts[top_dict].n_entries;
    if (n > TENSOR_COUNT_MAX) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: too many tensors (got %zu, want at most %d)", machine->path, n, TENSOR_COUNT_MAX);
    }
    dict->tensors = calloc(n + 1, sizeof *dict->tensors);
    if (dict->tensors == NULL) {
        return llavamed_fail_memory(machine->error, (n + 1) * sizeof *dict->tensors, "the tensors of a pickle");
    }
    for (size_t i = 0; i < machine->n_entries; i++) {
        const struct pickle_entry *entry = &machine->entries[i];
        if (entry->dict != top_dict) {
            continue;
        }
        if (entry->value.kind != PICKLE_TENSOR || entry->key.kind != PICKLE_STRING) {
            return fail_entry(machine, entry);
        }
        const struct pickle_rebuilt *rebuilt = &machine->rebuilt[entry->value.as.at];
        struct pickle_tensor *view = &dict->tensors[dict->n_tensors];
        enum llavamed_status status = make_view(machine, &entry->key, rebuilt, view);
        if (status != LLAVAMED_OK) {
            return status;
        }
        view->storage = use_to_storage[rebuilt->storage_use];
        dict->n_tensors++;
    }
    return LLAVAMED_OK;
}

enum llavamed_status pickle_list_tensors(struct pickle_machine *machine, const struct pickle_value *result,
                                         struct pickle_state_dict *dict)
{
    struct pickle_state_dict made = {0};
    size_t *use_to_storage = NULL;
    size_t state_dict = 0;
    if (result->kind != PICKLE_DICT) {
        return llavamed_fail(machine->error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                             "%s: it holds %s, not a state dict (a dictionary of tensors)", machine->path,
                             pickle_kind_text(result->kind));
    }
    enum llavamed_status status = find_state_dict(machine, result->as.at, &state_dict);
    if (status == LLAVAMED_OK) {
        status = refuse_duplicate_keys(machine, state_dict);
    }
    if (status == LLAVAMED_OK) {
        status = list_storages(machine, &made, &use_to_storage);
    }
    if (status == LLAVAMED_OK) {
        status = list_tensors(machine, state_dict, use_to_storage, &made);
    }
    if (status == LLAVAMED_OK) {
        *dict = made;
        memset(&made, 0, sizeof made);
    }
    free(use_to_storage);
    pickle_state_dict_deinit(&made);
    return status;
}

enum llavamed_status pickle_read_state_dict(const char *path, const uint8_t *bytes, size_t n_bytes,
                                            struct pickle_state_dict *dict, struct llavamed_error *error)
{
    struct pickle_machine machine = {
        .path = path, .part = "data.pkl", .bytes = bytes, .n_bytes = n_bytes, .error = error};
    struct pickle_value result = {.kind = PICKLE_UNSET};
    if (n_bytes > PICKLE_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: data.pkl is too large (got %zu bytes, want at most %d)", path, n_bytes,
                             PICKLE_BYTES_MAX);
    }
    enum llavamed_status status = pickle_machine_run(&machine, &result);
    if (status == LLAVAMED_OK) {
        status = pickle_list_tensors(&machine, &result, dict);
    }
    pickle_machine_deinit(&machine);
    return status;
}
