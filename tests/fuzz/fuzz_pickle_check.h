/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every state dict that was accepted, for the fuzz targets of pickles and of whole checkpoints. */
#ifndef FUZZ_PICKLE_CHECK_H
#define FUZZ_PICKLE_CHECK_H

#include <string.h>

#include "format/pickle.h"
#include "fuzz_memory.h"

/* Views are walked in 128-bit arithmetic, which cannot overflow here: an independent way to the same answer. */
static inline void fuzz_check_view(const struct pickle_tensor *view, const struct pickle_storage *storage)
{
    const struct tensor *tensor = &view->tensor;
    unsigned __int128 n_elems = 1;
    unsigned __int128 last = view->offset_elems;
    for (unsigned i = 0; i < tensor->rank; i++) {
        n_elems *= tensor->shape[i];
        REQUIRE(n_elems <= UINT64_MAX);
        last += (unsigned __int128)(tensor->shape[i] == 0 ? 0 : tensor->shape[i] - 1) * view->strides[i];
    }
    REQUIRE(tensor->n_elems == (uint64_t)n_elems);
    REQUIRE(tensor->dtype == storage->dtype);
    REQUIRE(tensor->n_elems == 0 || last < storage->n_elems);
    REQUIRE(!view->contiguous || tensor->n_elems <= storage->n_elems);
}

static inline int fuzz_compare_texts(const void *a, const void *b)
{
    const char *const *text_a = a;
    const char *const *text_b = b;
    return strcmp(*text_a, *text_b);
}

/* Sorts the n borrowed texts and frees the list. */
static inline void fuzz_check_unique(const char **texts, size_t n)
{
    qsort(texts, n, sizeof *texts, fuzz_compare_texts);
    for (size_t i = 1; i < n; i++) {
        REQUIRE(strcmp(texts[i - 1], texts[i]) != 0);
    }
    free(texts);
}

static inline void fuzz_check_dict(const struct pickle_state_dict *dict)
{
    const char **names = calloc(dict->n_tensors + 1, sizeof *names);
    const char **keys = calloc(dict->n_storages + 1, sizeof *keys);
    REQUIRE(names != NULL && keys != NULL);
    for (size_t i = 0; i < dict->n_storages; i++) {
        size_t n_digits = strspn(dict->storages[i].key, "0123456789");
        REQUIRE(n_digits >= 1 && n_digits <= 20 && dict->storages[i].key[n_digits] == '\0');
        keys[i] = dict->storages[i].key;
    }
    for (size_t i = 0; i < dict->n_tensors; i++) {
        const struct pickle_tensor *view = &dict->tensors[i];
        REQUIRE(view->storage < dict->n_storages);
        REQUIRE(text_is_utf8(view->tensor.name, strlen(view->tensor.name)) && view->tensor.name[0] != '\0');
        fuzz_check_view(view, &dict->storages[view->storage]);
        names[i] = view->tensor.name;
    }
    fuzz_check_unique(names, dict->n_tensors);
    fuzz_check_unique(keys, dict->n_storages);
}

static inline void fuzz_check_same_dict(const struct pickle_state_dict *a, const struct pickle_state_dict *b)
{
    REQUIRE(a->n_tensors == b->n_tensors && a->n_storages == b->n_storages);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct pickle_tensor *x = &a->tensors[i];
        const struct pickle_tensor *y = &b->tensors[i];
        REQUIRE(strcmp(x->tensor.name, y->tensor.name) == 0 && x->storage == y->storage);
        REQUIRE(x->tensor.dtype == y->tensor.dtype && tensor_same_shape(&x->tensor, &y->tensor));
        REQUIRE(x->offset_elems == y->offset_elems && memcmp(x->strides, y->strides, sizeof x->strides) == 0);
    }
    for (size_t i = 0; i < a->n_storages; i++) {
        REQUIRE(strcmp(a->storages[i].key, b->storages[i].key) == 0);
        REQUIRE(a->storages[i].n_elems == b->storages[i].n_elems && a->storages[i].dtype == b->storages[i].dtype);
    }
}

#endif
