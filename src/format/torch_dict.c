/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pickle of {name: tensor, ...} in the spelling of Lib/pickletools.py; "again" marks what only the first time is
 * written out and then is a BINGET of its memo index (identity in Python, so equal text may well be written twice):
 *
 *   PROTO 2, EMPTY_DICT, then per tensor, 1000 of them between MARK and SETITEMS:
 *   BINUNICODE name, GLOBAL torch._utils _rebuild_tensor_v2 (again),
 *   MARK, MARK, "storage" (again), GLOBAL torch HalfStorage (again), key, "cpu" (again), elements of the storage,
 * TUPLE, BINPERSID, storage offset 0, shape, strides, NEWFALSE, GLOBAL collections OrderedDict (again), EMPTY_TUPLE,
 * REDUCE, TUPLE, REDUCE STOP
 */
#include "format/torch_dict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/pickle.h"
#include "format/pickle_write.h"

#define KEY_BYTES_MAX 24
#define BATCH_TENSORS 1000 /* _pickle.c: BATCHSIZE */

/* More than one entry of the dict beside its name: its integers take at most 11 bytes each, all else 200. */
#define ENTRY_BYTES_MAX (TENSOR_NAME_BYTES_MAX + 2 * TENSOR_RANK_MAX * 11 + 512)

/* The class of a storage, NULL for a dtype that torch 1.13 does not have. */
static const char *storage_class(enum dtype dtype)
{
    static const char *const classes[DTYPE_COUNT] = {
        [DTYPE_BOOL] = "BoolStorage",  [DTYPE_U8] = "ByteStorage",   [DTYPE_I8] = "CharStorage",
        [DTYPE_I16] = "ShortStorage",  [DTYPE_F16] = "HalfStorage",  [DTYPE_BF16] = "BFloat16Storage",
        [DTYPE_I32] = "IntStorage",    [DTYPE_F32] = "FloatStorage", [DTYPE_C64] = "ComplexFloatStorage",
        [DTYPE_F64] = "DoubleStorage", [DTYPE_I64] = "LongStorage",
    };
    return classes[dtype];
}

/* A state dict being pickled, with the memo indices of what comes more than once. */
struct dict_writer {
    struct pickle_writer pickle;
    const struct torch_dict *dict;
    size_t *stored;      /* owned: tensors that have a storage of their own, by key */
    uint32_t *key_memos; /* owned: of each tensor written that has one */
    size_t n_stored;
    uint32_t rebuild_memo;
    uint32_t storage_memo;
    uint32_t cpu_memo;
    uint32_t ordered_dict_memo;
    uint32_t class_memos[DTYPE_COUNT];
};

static size_t owner_of(const struct torch_dict *dict, size_t i)
{
    return dict->owners == NULL ? i : dict->owners[i];
}

/* ('storage', class, key, 'cpu', elements), taken as a persistent id. */
static void write_storage(struct dict_writer *writer, const struct tensor *tensor, size_t i)
{
    struct pickle_writer *pickle = &writer->pickle;
    size_t owner = owner_of(writer->dict, i);
    pickle_write_op(pickle, PICKLE_OP_MARK);
    pickle_write_shared_text(pickle, "storage", &writer->storage_memo);
    pickle_write_shared_global(pickle, "torch", storage_class(tensor->dtype), &writer->class_memos[tensor->dtype]);
    if (owner == i) {
        char key[KEY_BYTES_MAX];
        int n_bytes = snprintf(key, sizeof key, "%zu", writer->n_stored);
        writer->stored[writer->n_stored++] = i;
        writer->key_memos[i] = pickle_write_text(pickle, key, (size_t)n_bytes);
    } else {
        pickle_write_get(pickle, writer->key_memos[owner]);
    }
    pickle_write_shared_text(pickle, "cpu", &writer->cpu_memo);
    pickle_write_integer(pickle, tensor->n_elems);
    pickle_write_op(pickle, PICKLE_OP_TUPLE);
    (void)pickle_write_put(pickle);
    pickle_write_op(pickle, PICKLE_OP_BINPERSID);
}

static void write_tensor(struct dict_writer *writer, const struct tensor *tensor, const uint64_t *strides, size_t i)
{
    struct pickle_writer *pickle = &writer->pickle;
    pickle_write_shared_global(pickle, "torch._utils", "_rebuild_tensor_v2", &writer->rebuild_memo);
    pickle_write_op(pickle, PICKLE_OP_MARK);
    write_storage(writer, tensor, i);
    pickle_write_integer(pickle, 0);
    pickle_write_integers(pickle, tensor->shape, tensor->rank);
    pickle_write_integers(pickle, strides, tensor->rank);
    pickle_write_op(pickle, PICKLE_OP_NEWFALSE);
    /* backward_hooks: a new OrderedDict for each tensor. */
    pickle_write_shared_global(pickle, "collections", "OrderedDict", &writer->ordered_dict_memo);
    pickle_write_op(pickle, PICKLE_OP_EMPTY_TUPLE);
    pickle_write_op(pickle, PICKLE_OP_REDUCE);
    (void)pickle_write_put(pickle);
    pickle_write_op(pickle, PICKLE_OP_TUPLE);
    (void)pickle_write_put(pickle);
    pickle_write_op(pickle, PICKLE_OP_REDUCE);
    (void)pickle_write_put(pickle);
}

/* Row-major strides as torch has them: a dimension of 0 counts as 1. false when shape or strides leave 63 bits. */
static bool row_major_strides(const struct tensor *tensor, uint64_t strides[TENSOR_RANK_MAX])
{
    uint64_t stride = 1;
    bool fits = true;
    for (unsigned i = tensor->rank; fits && i-- > 0;) {
        strides[i] = stride;
        fits = tensor->shape[i] <= INT64_MAX && stride <= INT64_MAX &&
               (i == 0 || checked_mul_u64(stride, max_u64(tensor->shape[i], 1), &stride));
    }
    return fits && tensor->n_bytes <= INT64_MAX;
}

static enum llavamed_status check_owner(const struct torch_dict *dict, size_t i, struct llavamed_error *error)
{
    const struct tensor *const *tensors = dict->tensors;
    size_t owner = owner_of(dict, i);
    if (owner > i || (owner < i && (dict->owners[owner] != owner || tensors[owner]->dtype != tensors[i]->dtype ||
                                    tensors[owner]->n_bytes != tensors[i]->n_bytes))) {
        return llavamed_fail(error, LLAVAMED_STATUS_INTERNAL,
                             "%s: planned to share a storage that is not one of its own kind before it",
                             tensors[i]->name);
    }
    return LLAVAMED_OK;
}

/* Checks a tensor and writes its entry of the dict. */
static enum llavamed_status write_entry(struct dict_writer *writer, size_t i, struct llavamed_error *error)
{
    const struct tensor *tensor = writer->dict->tensors[i];
    enum llavamed_status status = check_owner(writer->dict, i, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (storage_class(tensor->dtype) == NULL) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: a PyTorch file as of torch 1.13 cannot hold %s", tensor->name,
                               dtype_torch_name(tensor->dtype));
        llavamed_hint(error, "write safetensors instead");
        return status;
    }
    uint64_t strides[TENSOR_RANK_MAX];
    if (!row_major_strides(tensor, strides)) {
        char shape[TENSOR_SHAPE_TEXT_BYTES];
        return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID, "%s: torch has no tensor of shape %s: too large",
                             tensor->name, tensor_shape_text(tensor, shape));
    }
    (void)pickle_write_text(&writer->pickle, tensor->name, strlen(tensor->name));
    write_tensor(writer, tensor, strides, i);
    return LLAVAMED_OK;
}

static enum llavamed_status too_large(struct llavamed_error *error)
{
    enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                                                "too many tensors for one PyTorch file (want a pickle of at most %d "
                                                "bytes)",
                                                PICKLE_BYTES_MAX);
    llavamed_hint(error, "make the shards smaller with --max-shard-size");
    return status;
}

/* The dict's entries. A batch that comes out full is followed by another one, be it empty. */
static enum llavamed_status write_entries(struct dict_writer *writer, struct llavamed_error *error)
{
    struct pickle_writer *pickle = &writer->pickle;
    size_t n_tensors = writer->dict->n_tensors;
    enum llavamed_status status = LLAVAMED_OK;
    if (n_tensors > 1) {
        pickle_write_op(pickle, PICKLE_OP_MARK);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < n_tensors; i++) {
        status = write_entry(writer, i, error);
        if ((i + 1) % BATCH_TENSORS == 0) {
            pickle_write_op(pickle, PICKLE_OP_SETITEMS);
            pickle_write_op(pickle, PICKLE_OP_MARK);
        }
        if (status == LLAVAMED_OK && pickle->bytes.n_bytes > PICKLE_BYTES_MAX) {
            status = too_large(error);
        }
    }
    if (n_tensors > 0) {
        pickle_write_op(pickle, n_tensors == 1 ? PICKLE_OP_SETITEM : PICKLE_OP_SETITEMS);
    }
    return status;
}

static enum llavamed_status write_dict(struct dict_writer *writer, struct llavamed_error *error)
{
    struct pickle_writer *pickle = &writer->pickle;
    writer->rebuild_memo = PICKLE_NO_MEMO;
    writer->storage_memo = PICKLE_NO_MEMO;
    writer->cpu_memo = PICKLE_NO_MEMO;
    writer->ordered_dict_memo = PICKLE_NO_MEMO;
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        writer->class_memos[i] = PICKLE_NO_MEMO;
    }
    pickle_write_op(pickle, PICKLE_OP_EMPTY_DICT);
    (void)pickle_write_put(pickle);
    enum llavamed_status status = write_entries(writer, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    pickle_write_op(pickle, PICKLE_OP_STOP);
    return buffer_status(&pickle->bytes, "the pickle of a PyTorch file", error);
}

enum llavamed_status torch_dict_write(const struct torch_dict *dict, struct torch_dict_pickle *pickle,
                                      struct llavamed_error *error)
{
    size_t n = dict->n_tensors + 1;
    struct dict_writer writer = {.dict = dict};
    pickle_writer_init(&writer.pickle, PICKLE_BYTES_MAX + ENTRY_BYTES_MAX);
    writer.stored = calloc(n, sizeof *writer.stored);
    writer.key_memos = calloc(n, sizeof *writer.key_memos);
    enum llavamed_status status = writer.stored == NULL || writer.key_memos == NULL
                                      ? llavamed_fail_memory(error, n * sizeof *writer.stored, "the layout of a shard")
                                      : write_dict(&writer, error);
    if (status == LLAVAMED_OK) {
        pickle->n_bytes = writer.pickle.bytes.n_bytes;
        pickle->bytes = buffer_take(&writer.pickle.bytes);
        pickle->n_stored = writer.n_stored;
        pickle->stored = writer.stored;
        writer.stored = NULL;
    }
    pickle_writer_deinit(&writer.pickle);
    free(writer.stored);
    free(writer.key_memos);
    return status;
}

void torch_dict_pickle_deinit(struct torch_dict_pickle *pickle)
{
    free(pickle->bytes);
    free(pickle->stored);
    memset(pickle, 0, sizeof *pickle);
}
