/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First the pickle, whose size all offsets depend on; then the place of every record; then segments on demand. The
 * pickle of {name: tensor, ...} in the spelling of Lib/pickletools.py; "again" marks what only the first time is
 * written out and then is a BINGET of its memo index (identity in Python, so equal text may well be written twice):
 *
 *   PROTO 2, EMPTY_DICT, then per tensor, 1000 of them between MARK and SETITEMS:
 *   BINUNICODE name, GLOBAL torch._utils _rebuild_tensor_v2 (again),
 *   MARK, MARK, "storage" (again), GLOBAL torch HalfStorage (again), key, "cpu" (again), elements of the storage,
 * TUPLE, BINPERSID, storage offset 0, shape, strides, NEWFALSE, GLOBAL collections OrderedDict (again), EMPTY_TUPLE,
 * REDUCE, TUPLE, REDUCE STOP
 */
#include "format/torch_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/pickle.h"
#include "format/pickle_write.h"
#include "format/zip.h"
#include "format/zip_write.h"
#include "integrity/crc32.h"

#define PICKLE_NAME "data.pkl"
#define VERSION_NAME "version"
#define VERSION_TEXT "3\n"
#define VERSION_BYTES (sizeof VERSION_TEXT - 1)

#define KEY_BYTES_MAX 24
#define FOLDER_BYTES_MAX 255 /* no file system has longer names */
#define BATCH_TENSORS 1000   /* _pickle.c: BATCHSIZE */

/* More than one entry of the dict beside its name: its integers take at most 11 bytes each, all else 200. */
#define ENTRY_BYTES_MAX (TENSOR_NAME_BYTES_MAX + 2 * TENSOR_RANK_MAX * 11 + 512)

/* An entry takes more than 70 bytes: the pickle's limit keeps the number of records below that of the reader. */
_Static_assert(PICKLE_BYTES_MAX / 70 < ZIP_ENTRIES_MAX - 2, "records of an archive");
_Static_assert(FOLDER_BYTES_MAX + sizeof "/data/" + KEY_BYTES_MAX <= ZIP_WRITE_NAME_BYTES_MAX, "names of records");

struct torch_layout_record {
    struct zip_record zip;
    size_t key;     /* of a storage */
    uint32_t crc32; /* of data.pkl and version */
};

const char *torch_layout_folder(const char *path, size_t *n_bytes)
{
    const char *name = path;
    for (const char *p = path; *p != '\0'; p++) {
        if (*p == '/' || *p == '\\') {
            name = p + 1;
        }
    }
    const char *dot = strrchr(name, '.');
    *n_bytes = dot == NULL ? strlen(name) : (size_t)(dot - name);
    return name;
}

/* ---- The pickle ---- */

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
    const size_t *owners; /* borrowed; NULL as in the header */
    size_t *keys;         /* owned: of each tensor written that has a storage of its own */
    uint32_t *key_memos;  /* owned, the same way */
    size_t n_keys;
    uint32_t rebuild_memo;
    uint32_t storage_memo;
    uint32_t cpu_memo;
    uint32_t ordered_dict_memo;
    uint32_t class_memos[DTYPE_COUNT];
};

/* ('storage', class, key, 'cpu', elements), taken as a persistent id. */
static void write_storage(struct dict_writer *writer, const struct tensor *tensor, size_t i)
{
    struct pickle_writer *pickle = &writer->pickle;
    size_t owner = writer->owners == NULL ? i : writer->owners[i];
    pickle_write_op(pickle, PICKLE_OP_MARK);
    pickle_write_shared_text(pickle, "storage", &writer->storage_memo);
    pickle_write_shared_global(pickle, "torch", storage_class(tensor->dtype), &writer->class_memos[tensor->dtype]);
    if (owner == i) {
        char key[KEY_BYTES_MAX];
        writer->keys[i] = writer->n_keys++;
        int n_bytes = snprintf(key, sizeof key, "%zu", writer->keys[i]);
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

static enum llavamed_status check_owner(const struct tensor *const *tensors, const size_t *owners, size_t i,
                                        struct llavamed_error *error)
{
    size_t owner = owners == NULL ? i : owners[i];
    if (owner > i || (owner < i && (owners[owner] != owner || tensors[owner]->dtype != tensors[i]->dtype ||
                                    tensors[owner]->n_bytes != tensors[i]->n_bytes))) {
        return llavamed_fail(error, LLAVAMED_STATUS_INTERNAL,
                             "%s: planned to share a storage that is not one of its own kind before it",
                             tensors[i]->name);
    }
    return LLAVAMED_OK;
}

/* Checks a tensor and writes its entry of the dict. */
static enum llavamed_status write_entry(struct dict_writer *writer, const struct tensor *const *tensors, size_t i,
                                        struct llavamed_error *error)
{
    const struct tensor *tensor = tensors[i];
    enum llavamed_status status = check_owner(tensors, writer->owners, i, error);
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
static enum llavamed_status write_entries(struct dict_writer *writer, const struct tensor *const *tensors,
                                          size_t n_tensors, struct llavamed_error *error)
{
    struct pickle_writer *pickle = &writer->pickle;
    enum llavamed_status status = LLAVAMED_OK;
    if (n_tensors > 1) {
        pickle_write_op(pickle, PICKLE_OP_MARK);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < n_tensors; i++) {
        status = write_entry(writer, tensors, i, error);
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

/* Fills layout->pickle, ->n_stored, and the writer's keys. */
static enum llavamed_status write_dict(struct dict_writer *writer, const struct tensor *const *tensors,
                                       size_t n_tensors, struct torch_layout *layout, struct llavamed_error *error)
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
    enum llavamed_status status = write_entries(writer, tensors, n_tensors, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    pickle_write_op(pickle, PICKLE_OP_STOP);
    status = buffer_status(&pickle->bytes, "the pickle of a PyTorch file", error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    layout->n_stored = writer->n_keys;
    layout->pickle_bytes = pickle->bytes.n_bytes;
    layout->pickle = buffer_take(&pickle->bytes);
    return LLAVAMED_OK;
}

/* ---- The records ---- */

/* The next of 0 .. n-1 sorted as decimal text: 0, 1, 10, 100, 101, .. 11, .. 2. */
static size_t next_key(size_t key, size_t n)
{
    if (key > 0 && key <= (n - 1) / 10) {
        return key * 10;
    }
    if (key + 1 >= n) {
        key /= 10;
    }
    key++;
    while (key % 10 == 0 && key > 0) {
        key /= 10;
    }
    return key;
}

/* The full name of record i; returns its length. */
static size_t record_name(const struct torch_layout *layout, size_t i, char name[ZIP_WRITE_NAME_BYTES_MAX])
{
    char own[KEY_BYTES_MAX + sizeof "data/"];
    const char *text = i == 0 ? PICKLE_NAME : VERSION_NAME;
    if (i > 0 && i <= layout->n_stored) {
        (void)snprintf(own, sizeof own, "data/%zu", layout->records[i].key);
        text = own;
    }
    size_t n_bytes = strlen(text);
    memcpy(name, layout->folder, layout->folder_bytes);
    name[layout->folder_bytes] = '/';
    memcpy(name + layout->folder_bytes + 1, text, n_bytes);
    return layout->folder_bytes + 1 + n_bytes;
}

static uint64_t record_bytes(const struct torch_layout *layout, const struct tensor *const *tensors, size_t i)
{
    if (i == 0) {
        return layout->pickle_bytes;
    }
    return i > layout->n_stored ? VERSION_BYTES : tensors[layout->order[i - 1]]->n_bytes;
}

/* Places all records, layout->order and their keys being known, and the directory. */
static bool place_records(const struct tensor *const *tensors, struct torch_layout *layout)
{
    uint64_t end = 0;
    uint64_t directory_bytes = 0;
    size_t n_records = layout->n_stored + 2;
    for (size_t i = 0; i < n_records; i++) {
        struct zip_record *zip = &layout->records[i].zip;
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        size_t name_bytes = record_name(layout, i, name);
        if (!zip_record_place(end, name_bytes, record_bytes(layout, tensors, i), zip)) {
            return false;
        }
        end = zip->end_offset;
        directory_bytes += zip_central_bytes(zip);
        if (i > 0 && i <= layout->n_stored) {
            layout->file_offsets[i - 1] = zip->data_offset;
        }
    }
    layout->records[0].crc32 = crc32_update(0, layout->pickle, layout->pickle_bytes);
    layout->records[n_records - 1].crc32 = crc32_update(0, VERSION_TEXT, VERSION_BYTES);
    layout->directory_offset = end;
    return checked_add_u64(end, directory_bytes + ZIP_WRITE_END_BYTES, &layout->file_bytes) &&
           layout->file_bytes <= INT64_MAX;
}

/* keys[i] is the key of tensor i where that has a storage of its own. */
static enum llavamed_status lay_out_records(const struct tensor *const *tensors, size_t n_tensors,
                                            const struct dict_writer *writer, struct torch_layout *layout,
                                            struct llavamed_error *error)
{
    size_t n = layout->n_stored;
    size_t *tensor_of_key = calloc(n + 1, sizeof *tensor_of_key);
    layout->order = calloc(n + 1, sizeof *layout->order);
    layout->file_offsets = calloc(n + 1, sizeof *layout->file_offsets);
    layout->records = calloc(n + 2, sizeof *layout->records);
    if (tensor_of_key == NULL || layout->order == NULL || layout->file_offsets == NULL || layout->records == NULL) {
        free(tensor_of_key);
        return llavamed_fail_memory(error, (n + 2) * sizeof *layout->records, "the layout of a shard");
    }
    for (size_t i = 0; i < n_tensors; i++) {
        if (writer->owners == NULL || writer->owners[i] == i) {
            tensor_of_key[writer->keys[i]] = i;
        }
    }
    size_t key = 0;
    for (size_t i = 0; i < n; i++) {
        layout->records[i + 1].key = key;
        layout->order[i] = tensor_of_key[key];
        key = next_key(key, n);
    }
    free(tensor_of_key);
    if (!place_records(tensors, layout)) {
        return llavamed_fail(error, LLAVAMED_STATUS_SHAPE_INVALID,
                             "the tensors of one PyTorch file do not fit 2^63 bytes");
    }
    for (size_t i = 0; i <= n; i++) {
        size_t n_bytes = torch_layout_segment_bytes(layout, i);
        layout->segment_bytes_max = n_bytes > layout->segment_bytes_max ? n_bytes : layout->segment_bytes_max;
    }
    return LLAVAMED_OK;
}

static enum llavamed_status take_folder(const char *file_name, struct torch_layout *layout,
                                        struct llavamed_error *error)
{
    const char *folder = torch_layout_folder(file_name, &layout->folder_bytes);
    if (layout->folder_bytes == 0 || layout->folder_bytes > FOLDER_BYTES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_USAGE,
                             "%s: torch.save could not write under this name (got %zu bytes before the suffix, want 1 "
                             "to %d)",
                             file_name, layout->folder_bytes, FOLDER_BYTES_MAX);
    }
    layout->folder = malloc(layout->folder_bytes);
    if (layout->folder == NULL) {
        return llavamed_fail_memory(error, layout->folder_bytes, "the name of a shard");
    }
    memcpy(layout->folder, folder, layout->folder_bytes);
    return LLAVAMED_OK;
}

enum llavamed_status torch_layout_build(const char *file_name, const struct tensor *const *tensors,
                                        const size_t *owners, size_t n_tensors, struct torch_layout *layout,
                                        struct llavamed_error *error)
{
    struct torch_layout made = {0};
    struct dict_writer writer = {.owners = owners};
    pickle_writer_init(&writer.pickle, PICKLE_BYTES_MAX + ENTRY_BYTES_MAX);
    writer.keys = calloc(n_tensors + 1, sizeof *writer.keys);
    writer.key_memos = calloc(n_tensors + 1, sizeof *writer.key_memos);
    enum llavamed_status status = LLAVAMED_OK;
    if (writer.keys == NULL || writer.key_memos == NULL) {
        status = llavamed_fail_memory(error, (n_tensors + 1) * sizeof *writer.keys, "the layout of a shard");
        goto out;
    }
    status = take_folder(file_name, &made, error);
    if (status == LLAVAMED_OK) {
        status = write_dict(&writer, tensors, n_tensors, &made, error);
    }
    if (status == LLAVAMED_OK) {
        status = lay_out_records(tensors, n_tensors, &writer, &made, error);
    }
    if (status == LLAVAMED_OK) {
        *layout = made;
        memset(&made, 0, sizeof made);
    }
out:
    pickle_writer_deinit(&writer.pickle);
    free(writer.keys);
    free(writer.key_memos);
    torch_layout_deinit(&made);
    return status;
}

void torch_layout_deinit(struct torch_layout *layout)
{
    free(layout->order);
    free(layout->file_offsets);
    free(layout->records);
    free(layout->folder);
    free(layout->pickle);
    memset(layout, 0, sizeof *layout);
}

/* ---- The segments ---- */

uint64_t torch_layout_segment_offset(const struct torch_layout *layout, size_t i)
{
    /* Record i is the one whose data lies before segment i: record 0 is data.pkl, itself part of segment 0. */
    const struct zip_record *before = &layout->records[i].zip;
    return i == 0 ? 0 : before->data_offset + before->n_bytes;
}

size_t torch_layout_segment_bytes(const struct torch_layout *layout, size_t i)
{
    uint64_t end = i == layout->n_stored ? layout->file_bytes : layout->file_offsets[i];
    /* Pickle, directory and padding: far below 4 GiB by the limits on both. */
    return (size_t)(end - torch_layout_segment_offset(layout, i));
}

/* A record that is all there from the start. */
static uint8_t *render_small(const struct torch_layout *layout, size_t i, const char *data, uint8_t *out)
{
    const struct torch_layout_record *record = &layout->records[i];
    char name[ZIP_WRITE_NAME_BYTES_MAX];
    (void)record_name(layout, i, name);
    out = zip_write_local(&record->zip, name, out);
    memcpy(out, data, (size_t)record->zip.n_bytes);
    return zip_write_descriptor(&record->zip, record->crc32, out + record->zip.n_bytes);
}

/* Directory and end records. */
static void render_directory(const struct torch_layout *layout, const uint32_t *crc32s, uint8_t *out)
{
    size_t n_records = layout->n_stored + 2;
    for (size_t i = 0; i < n_records; i++) {
        const struct torch_layout_record *record = &layout->records[i];
        bool is_storage = i > 0 && i <= layout->n_stored;
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        (void)record_name(layout, i, name);
        out = zip_write_central(&record->zip, name, is_storage ? crc32s[i - 1] : record->crc32, out);
    }
    uint64_t directory_bytes = layout->file_bytes - ZIP_WRITE_END_BYTES - layout->directory_offset;
    (void)zip_write_end(n_records, layout->directory_offset, directory_bytes, out);
}

void torch_layout_render(const struct torch_layout *layout, size_t i, const uint32_t *crc32s, uint8_t *out)
{
    if (i == 0) {
        out = render_small(layout, 0, layout->pickle, out);
    } else {
        out = zip_write_descriptor(&layout->records[i].zip, crc32s[i - 1], out);
    }
    if (i < layout->n_stored) {
        char name[ZIP_WRITE_NAME_BYTES_MAX];
        (void)record_name(layout, i + 1, name);
        (void)zip_write_local(&layout->records[i + 1].zip, name, out);
    } else {
        out = render_small(layout, layout->n_stored + 1, VERSION_TEXT, out);
        render_directory(layout, crc32s, out);
    }
}
