/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restricted reader of the pickle that torch.save writes for a state dict. A stack machine over an allow-list of
 * opcodes and globals: values are tags, nothing is ever imported, called or executed. Everything else is an error that
 * names the opcode (with its offset) or the global.
 *
 * Read are dictionaries and OrderedDicts of name -> tensor or nn.Parameter, with or without the `_metadata` that
 * Module.state_dict() attaches (ignored, as are storage locations, requires_grad and plain attributes of parameters).
 * When the dictionary holds no tensor, the state dict may lie one level down, under `state_dict` or `model` (exactly
 * one of them); what lies beside it is skipped: None, bools, numbers, strings, tuples, lists, dictionaries, tensors.
 *
 * Opcodes: PROTO 2 or 3, MARK, STOP, NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, BINFLOAT, BINUNICODE,
 * EMPTY_TUPLE, TUPLE, TUPLE1 to 3, EMPTY_LIST, APPEND, APPENDS, EMPTY_DICT, SETITEM, SETITEMS, the four BINGET and
 * BINPUT, GLOBAL, REDUCE, BUILD, BINPERSID; in legacy form BINSTRING and SHORT_BINSTRING. Globals: see pickle_torch.c.
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

/* ---- The legacy form, before torch 1.6: several pickles in a row, then the storages (torch_legacy.h) ---- */

/* Bytes that begin with a pickle and go on behind it. */
struct pickle_span {
    const char *path; /* of the file, for errors */
    const uint8_t *bytes;
    size_t n_bytes;
};

/*
 * Each reads one pickle and tells in *used how many bytes it has. INPUT_TRUNCATED when its end is not among the bytes:
 * then reading may be tried again with more of them. Otherwise as pickle_read_state_dict().
 *
 * The description of the system that wrote the file: a dictionary. TORCH_BYTE_ORDER when it says that numbers are not
 * little-endian.
 */
enum llavamed_status pickle_read_legacy_system(const struct pickle_span *span, size_t *used,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

/* The state dict. A view of a part of a storage that was a storage of its own comes as a view of the whole. */
enum llavamed_status pickle_read_legacy_dict(const struct pickle_span *span, struct pickle_state_dict *dict,
                                             size_t *used, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The list of the keys of all storages: order[i] becomes the index in dict->storages of the one that comes i-th in the
 * file. `order` has room for dict->n_storages, all of which are filled. TORCH_STORAGE for a key that is missing,
 * unknown or there twice.
 */
enum llavamed_status pickle_read_legacy_keys(const struct pickle_span *span, const struct pickle_state_dict *dict,
                                             size_t *order, size_t *used, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
