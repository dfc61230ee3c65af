/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restricted reader of the pickle that torch.save writes for a state dict. A stack machine over an allow-list of
 * opcodes and globals: values are tags, nothing is ever imported, called or executed. Everything else is an error that
 * names the opcode (with its offset) or the global.
 *
 * Read are dictionaries and OrderedDicts of name -> tensor or nn.Parameter, with or without the `_metadata` that
 * Module.state_dict() attaches (ignored, as are storage locations and requires_grad).
 */
#ifndef FORMAT_PICKLE_H
#define FORMAT_PICKLE_H

#include "core/error.h"
#include "tensor/tensor.h"

#define PICKLE_BYTES_MAX 67108864
#define PICKLE_OPS_MAX 50000000
#define PICKLE_STACK_MAX 4194304
#define PICKLE_MEMO_MAX 16777216    /* and never more than the opcodes so far */
#define PICKLE_MEMORY_MAX 268435456 /* bytes of arenas while reading; a tensor takes about 700 */
#define PICKLE_DEPTH_MAX 64         /* of open marks, and of tuples in tuples */

struct pickle_storage {
    char *key; /* owned: 1 to 20 decimal digits */
    enum dtype dtype;
    uint64_t n_elems;
};

/* A tensor as the pickle describes it: a view of a storage, in elements. */
struct pickle_tensor {
    struct tensor tensor; /* owned name; its dtype is the storage's */
    size_t storage;       /* index into storages */
    uint64_t offset_elems;
    uint64_t strides[TENSOR_RANK_MAX];
    bool contiguous; /* row-major without gaps (strides of dimensions of size 1 do not matter; empty tensors always) */
};

struct pickle_state_dict {
    struct pickle_tensor *tensors; /* owned, in the pickle's order, no name twice */
    size_t n_tensors;
    struct pickle_storage *storages; /* owned, each key once, in the order of first mention */
    size_t n_storages;
};

void pickle_state_dict_deinit(struct pickle_state_dict *dict);

/*
 * Reads the whole pickle (zip form, protocol 2 or 3). Every view with elements is checked to stay inside its storage's
 * n_elems, in checked arithmetic; views may overlap, and a stride of 0 lets a tensor be larger than its storage. An
 * empty view may have any offset and strides. `path` names the file in errors. Costs O(n_bytes) memory and
 * O(n_bytes log n_bytes) time.
 *
 * PICKLE_OPCODE, PICKLE_GLOBAL, PICKLE_MALFORMED, TORCH_VIEW, TORCH_STORAGE (one key described in two ways),
 * INPUT_LIMIT, INPUT_UNSUPPORTED (not a dictionary of tensors), TENSOR_NAME, TENSOR_DUPLICATE, SHAPE_INVALID,
 * NO_MEMORY.
 */
enum llavamed_status pickle_read_state_dict(const char *path, const uint8_t *bytes, size_t n_bytes,
                                            struct pickle_state_dict *dict,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

#endif
