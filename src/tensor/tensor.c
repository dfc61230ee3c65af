/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/sort.h"

static enum llavamed_status check_name(const char *path, const char *name, size_t name_bytes,
                                       struct llavamed_error *error)
{
    if (name_bytes == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_TENSOR_NAME, "%s: a tensor has an empty name", path);
    }
    if (name_bytes > TENSOR_NAME_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_TENSOR_NAME,
                             "%s: a tensor name is too long (got %zu bytes, want at most %d)", path, name_bytes,
                             TENSOR_NAME_BYTES_MAX);
    }
    if (memchr(name, '\0', name_bytes) != NULL || !text_is_utf8(name, name_bytes)) {
        return llavamed_fail(error, LLAVAMED_STATUS_TENSOR_NAME,
                             "%s: tensor name '%.*s' is not UTF-8 text without NUL", path, (int)name_bytes, name);
    }
    return LLAVAMED_OK;
}

enum llavamed_status tensor_init(struct tensor *tensor, const char *path, const char *name, size_t name_bytes,
                                 enum dtype dtype, const uint64_t *shape, unsigned rank, struct llavamed_error *error)
{
    enum llavamed_status status = check_name(path, name, name_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    int shown = (int)name_bytes;
    if (rank > TENSOR_RANK_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                             "%s: %.*s: too many dimensions (got %u, want at most %d)", path, shown, name, rank,
                             TENSOR_RANK_MAX);
    }
    struct tensor made = {.dtype = dtype, .rank = rank, .n_elems = 1};
    bool fits = true;
    bool has_zero = false;
    for (unsigned i = 0; i < rank; i++) {
        made.shape[i] = shape[i];
        has_zero = has_zero || shape[i] == 0;
        fits = fits && checked_mul_u64(made.n_elems, shape[i], &made.n_elems);
    }
    uint64_t bits = 0;
    fits = fits && checked_mul_u64(made.n_elems, dtype_bits(dtype), &bits);
    if (!fits) {
        return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                             "%s: %.*s: the number of elements does not fit 64 bits%s", path, shown, name,
                             has_zero ? " before a dimension of 0" : "");
    }
    if (bits % 8 != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                             "%s: %.*s: %llu elements of %s do not fill whole bytes", path, shown, name,
                             (unsigned long long)made.n_elems, dtype_name(dtype));
    }
    made.n_bytes = bits / 8;
    made.name = malloc(name_bytes + 1);
    if (made.name == NULL) {
        return llavamed_fail_memory(error, name_bytes + 1, "a tensor name");
    }
    memcpy(made.name, name, name_bytes);
    made.name[name_bytes] = '\0';
    *tensor = made;
    return LLAVAMED_OK;
}

void tensor_deinit(struct tensor *tensor)
{
    free(tensor->name);
    tensor->name = NULL;
}

const char *tensor_shape_text(const struct tensor *tensor, char text[TENSOR_SHAPE_TEXT_BYTES])
{
    size_t used = (size_t)snprintf(text, TENSOR_SHAPE_TEXT_BYTES, "[");
    for (unsigned i = 0; i < tensor->rank; i++) {
        used += (size_t)snprintf(text + used, TENSOR_SHAPE_TEXT_BYTES - used, "%s%llu", i == 0 ? "" : ", ",
                                 (unsigned long long)tensor->shape[i]);
    }
    (void)snprintf(text + used, TENSOR_SHAPE_TEXT_BYTES - used, "]");
    return text;
}

bool tensor_same_shape(const struct tensor *a, const struct tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

void tensor_set_init(struct tensor_set *set)
{
    memset(set, 0, sizeof *set);
}

void tensor_set_deinit(struct tensor_set *set)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        tensor_deinit(&set->tensors[i]);
    }
    free(set->tensors);
    free(set->by_name);
    tensor_set_init(set);
}

static enum llavamed_status fail_too_many(struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "too many tensors in one checkpoint (at most %d)",
                         TENSOR_COUNT_MAX);
}

enum llavamed_status tensor_set_reserve(struct tensor_set *set, size_t n, struct llavamed_error *error)
{
    if (n <= set->capacity - set->n_tensors) {
        return LLAVAMED_OK;
    }
    size_t need = set->n_tensors + n;
    size_t capacity = need > set->capacity * 2 ? need : set->capacity * 2;
    struct tensor *tensors = reallocarray(set->tensors, capacity, sizeof *tensors);
    if (tensors == NULL) {
        return llavamed_fail_memory(error, capacity * sizeof *tensors, "the list of tensors");
    }
    set->tensors = tensors;
    set->capacity = capacity;
    return LLAVAMED_OK;
}

enum llavamed_status tensor_set_add(struct tensor_set *set, struct tensor *tensor, struct llavamed_error *error)
{
    if (set->n_tensors == TENSOR_COUNT_MAX) {
        return fail_too_many(error);
    }
    if (set->n_tensors == set->capacity) {
        enum llavamed_status status = tensor_set_reserve(set, set->capacity == 0 ? 64 : 1, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    set->tensors[set->n_tensors++] = *tensor;
    memset(tensor, 0, sizeof *tensor);
    return LLAVAMED_OK;
}

enum llavamed_status tensor_set_append(struct tensor_set *set, struct tensor_set *from, struct llavamed_error *error)
{
    if (from->n_tensors > TENSOR_COUNT_MAX - set->n_tensors) {
        return fail_too_many(error);
    }
    if (set->n_tensors == 0) {
        free(set->tensors);
        set->tensors = from->tensors;
        set->n_tensors = from->n_tensors;
        set->capacity = from->capacity;
        from->tensors = NULL;
        from->capacity = 0;
    } else if (from->n_tensors > 0) {
        enum llavamed_status status = tensor_set_reserve(set, from->n_tensors, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        memcpy(set->tensors + set->n_tensors, from->tensors, from->n_tensors * sizeof *from->tensors);
        set->n_tensors += from->n_tensors;
    }
    from->n_tensors = 0;
    return LLAVAMED_OK;
}

struct name_row {
    const char *name;
    size_t index;
};

static int compare_name_rows(const void *a, const void *b)
{
    const struct name_row *row_a = a;
    const struct name_row *row_b = b;
    return strcmp(row_a->name, row_b->name);
}

enum llavamed_status tensor_set_seal(struct tensor_set *set, const char *path, struct llavamed_error *error)
{
    size_t n = set->n_tensors;
    struct name_row *rows = calloc(n + 1, sizeof *rows);
    size_t *by_name = calloc(n + 1, sizeof *by_name);
    enum llavamed_status status = LLAVAMED_OK;
    if (rows == NULL || by_name == NULL) {
        status = llavamed_fail_memory(error, (n + 1) * sizeof *rows, "the list of tensor names");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct name_row){set->tensors[i].name, i};
    }
    sort_array(rows, n, sizeof *rows, compare_name_rows);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(rows[i].name, rows[i - 1].name) == 0) {
            status = llavamed_fail(error, LLAVAMED_STATUS_TENSOR_DUPLICATE, "%s: tensor %s is there twice", path,
                                   rows[i].name);
            goto out;
        }
        by_name[i] = rows[i].index;
    }
    free(set->by_name);
    set->by_name = by_name;
    by_name = NULL;
out:
    free(rows);
    free(by_name);
    return status;
}

size_t tensor_set_find(const struct tensor_set *set, const char *name)
{
    size_t low = 0;
    size_t high = set->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, set->tensors[set->by_name[middle]].name);
        if (order == 0) {
            return set->by_name[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return TENSOR_NOT_FOUND;
}

void tensor_set_find_all(const struct tensor_set *set, const struct tensor_set *wanted, size_t *found)
{
    size_t at = 0;
    for (size_t i = 0; i < wanted->n_tensors; i++) {
        const char *name = wanted->tensors[wanted->by_name[i]].name;
        int order = 1;
        while (at < set->n_tensors && (order = strcmp(name, set->tensors[set->by_name[at]].name)) > 0) {
            at++;
        }
        found[wanted->by_name[i]] = order == 0 ? set->by_name[at] : TENSOR_NOT_FOUND;
    }
}
