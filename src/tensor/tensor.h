/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tensor is, and a checkpoint's set of them: descriptions alone, no data. Row-major (C order), shape in
 * elements. Which file a tensor's bytes come from is known only to the source that made the set.
 */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "core/error.h"
#include "tensor/dtype.h"

#define TENSOR_RANK_MAX 16        /* largest rank accepted from any file */
#define TENSOR_NAME_BYTES_MAX 1024 /* without the NUL */
#define TENSOR_COUNT_MAX 1000000  /* per checkpoint */

struct tensor {
    char *name; /* owned; UTF-8, NUL-terminated, no NUL inside, 1 to TENSOR_NAME_BYTES_MAX bytes */
    enum dtype dtype;
    unsigned rank; /* 0 is a scalar of one element */
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t n_elems; /* product of the shape */
    uint64_t n_bytes; /* n_elems times the dtype's size */
    bool in_exact_delta; /* of a safetensors file that says it holds an exact delta (merge/bit_difference.h) */
};

/*
 * Fills *tensor: copies the name, multiplies the shape with overflow checks. Errors name `path` and the tensor:
 * TENSOR_NAME, SHAPE_INVALID, NO_MEMORY. On success tensor->name must be freed with tensor_deinit().
 */
enum llavamed_status tensor_init(struct tensor *tensor, const char *path, const char *name, size_t name_bytes,
                                 enum dtype dtype, const uint64_t *shape, unsigned rank, struct llavamed_error *error)
    LLAVAMED_CHECK;

void tensor_deinit(struct tensor *tensor);

/* "[32000, 4096]", "[]" for a scalar, into text; truncated to fit. Returns text. */
#define TENSOR_SHAPE_TEXT_BYTES 384
const char *tensor_shape_text(const struct tensor *tensor, char text[TENSOR_SHAPE_TEXT_BYTES]);

bool tensor_same_shape(const struct tensor *a, const struct tensor *b);

/*
 * A set of tensors in the order in which they were added (the checkpoint's own: pickle order, or offset order in
 * safetensors), with look-up by name. Build with _add, then _seal once; look up only after that.
 */
struct tensor_set {
    struct tensor *tensors; /* owned, n_tensors of them */
    size_t n_tensors;
    size_t capacity;
    size_t *by_name; /* owned; indices into tensors, sorted by the bytes of the name; NULL until sealed */
};

void tensor_set_init(struct tensor_set *set);
void tensor_set_deinit(struct tensor_set *set);

/* Makes room for n more. NO_MEMORY. */
enum llavamed_status tensor_set_reserve(struct tensor_set *set, size_t n, struct llavamed_error *error) LLAVAMED_CHECK;

/* Takes over *tensor's name on success (the caller's copy is zeroed). INPUT_LIMIT above TENSOR_COUNT_MAX. */
enum llavamed_status tensor_set_add(struct tensor_set *set, struct tensor *tensor, struct llavamed_error *error)
    LLAVAMED_CHECK;

/* Moves all tensors of `from` behind those of `set`; `from` is empty then. INPUT_LIMIT, NO_MEMORY: nothing is moved. */
enum llavamed_status tensor_set_append(struct tensor_set *set, struct tensor_set *from,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Sorts for look-up; TENSOR_DUPLICATE naming `path` and the tensor when a name is there twice. */
enum llavamed_status tensor_set_seal(struct tensor_set *set, const char *path, struct llavamed_error *error)
    LLAVAMED_CHECK;

#define TENSOR_NOT_FOUND SIZE_MAX

/* Index into set->tensors of the tensor with exactly this name, or TENSOR_NOT_FOUND. O(log n). */
size_t tensor_set_find(const struct tensor_set *set, const char *name);

/*
 * The same for all of another set at once: found[i] is the index into set->tensors of what is called as
 * wanted->tensors[i]. Both must be sealed. O(n).
 */
void tensor_set_find_all(const struct tensor_set *set, const struct tensor_set *wanted, size_t *found);

#endif
