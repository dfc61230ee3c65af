/* SPDX-License-Identifier: Apache-2.0 */
#include "source/archive_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/safetensors.h"
#include "format/torch_stream.h"
#include "source/recognise.h"
#include "source/sample.h"
#include "source/weights.h"

/* What nobody wants is read over in pieces of this. */
#define SKIP_BYTES 65536

struct file_stream {
    const struct zip_entry *entry; /* borrowed from the archive */
    char *path;                    /* owned: for messages */
    enum weights_format format;
    struct zip_member *member;  /* owned; NULL while nothing is read */
    struct torch_stream *torch; /* owned; NULL for safetensors, and without `member` */
    size_t first_tensor;        /* of the set: the first of this file */
    size_t n_tensors;
    uint64_t data_start;     /* of a safetensors file */
    size_t n_storages;       /* of a torch file */
    uint64_t *storage_bytes; /* owned, one for each */
    size_t *storage_tensor;  /* owned: the tensor in each, or TENSOR_NOT_FOUND */
    uint64_t *offset_bytes;  /* owned, one for each tensor of a torch file: where it begins in its storage */
    uint64_t storage_left;   /* bytes of the current storage that come behind the current run */
    struct source_run run;   /* what comes next; n_elems 0: to be found */
    size_t next_tensor;      /* of a safetensors file */
    bool ended;              /* and checked; closed since */
    uint64_t read_before;    /* from storage, by members that are closed */
};

struct archive_stream {
    struct source *source;   /* borrowed */
    struct archive *archive; /* borrowed from the source */
    struct file_stream *files;
    size_t n_files;
};

/* ---- Opening a file ---- */

static enum llavamed_status fail_not_alone(const struct file_stream *file, const char *name, const char *what,
                                           struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                        "%s: tensor %s cannot be read from front to back inside an archive: %s", file->path, name,
                        what);
    llavamed_hint(error, "unpack the archive and give the directory");
    return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
}

/* UINT64_MAX for more than there can be, which reading refuses. */
static uint64_t bytes_of_storage(const struct pickle_storage *storage)
{
    uint64_t n_bytes = 0;
    return checked_mul_u64(storage->n_elems, dtype_bytes(storage->dtype), &n_bytes) ? n_bytes : UINT64_MAX;
}

/* Notes which tensor is in which storage, before the tensors move into the set. */
static enum llavamed_status map_torch(struct file_stream *file, const struct pickle_state_dict *dict,
                                      struct llavamed_error *error)
{
    file->n_storages = dict->n_storages;
    file->storage_bytes = calloc(dict->n_storages + 1, sizeof *file->storage_bytes);
    file->storage_tensor = calloc(dict->n_storages + 1, sizeof *file->storage_tensor);
    file->offset_bytes = calloc(dict->n_tensors + 1, sizeof *file->offset_bytes);
    if (file->storage_bytes == NULL || file->storage_tensor == NULL || file->offset_bytes == NULL) {
        return llavamed_fail_memory(error, (dict->n_storages + dict->n_tensors) * sizeof(uint64_t),
                                    "the places of tensors");
    }
    for (size_t i = 0; i < dict->n_storages; i++) {
        file->storage_bytes[i] = bytes_of_storage(&dict->storages[i]);
        file->storage_tensor[i] = TENSOR_NOT_FOUND;
    }
    for (size_t i = 0; i < dict->n_tensors; i++) {
        const struct pickle_tensor *view = &dict->tensors[i];
        if (view->tensor.n_elems == 0) {
            continue;
        }
        if (!view->contiguous) {
            return fail_not_alone(file, view->tensor.name, "it is a view with strides of its storage", error);
        }
        if (file->storage_tensor[view->storage] != TENSOR_NOT_FOUND) {
            return fail_not_alone(file, view->tensor.name, "it shares its storage with another tensor", error);
        }
        file->storage_tensor[view->storage] = file->first_tensor + i;
        file->offset_bytes[i] = view->offset_elems * dtype_bytes(view->tensor.dtype);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status open_member(const struct archive_stream *streams, struct file_stream *file,
                                        struct llavamed_error *error)
{
    enum llavamed_status status =
        zip_member_open(archive_file(streams->archive), file->entry, file->path, &file->member, error);
    if (status == LLAVAMED_OK) {
        zip_member_heed(file->member, streams->source->stop_signal);
    }
    return status;
}

static void close_file(struct file_stream *file)
{
    file->read_before += file->member == NULL ? 0 : zip_member_bytes_read(file->member);
    torch_stream_close(file->torch);
    zip_member_close(file->member);
    file->torch = NULL;
    file->member = NULL;
}

static enum llavamed_status begin_torch(const struct archive_stream *streams, struct file_stream *file,
                                        struct llavamed_error *error)
{
    enum llavamed_status status = open_member(streams, file, error);
    if (status == LLAVAMED_OK) {
        status = torch_stream_open(file->member, streams->source->check_crc, &file->torch, error);
    }
    return status;
}

static enum llavamed_status open_torch(struct archive_stream *streams, struct file_stream *file,
                                       struct llavamed_error *error)
{
    enum llavamed_status status = begin_torch(streams, file, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const struct pickle_state_dict *dict = torch_stream_dict(file->torch);
    file->n_tensors = dict->n_tensors;
    status = map_torch(file, dict, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < dict->n_tensors; i++) {
        const struct tensor *tensor = &dict->tensors[i].tensor;
        struct tensor copy = {0};
        status = tensor_init(&copy, file->path, tensor->name, strlen(tensor->name), tensor->dtype, tensor->shape,
                             tensor->rank, error);
        if (status == LLAVAMED_OK) {
            status = tensor_set_add(&streams->source->set, &copy, error);
        }
        tensor_deinit(&copy);
    }
    return status;
}

/* The header of a safetensors file, which is read again when the stream turns back. */
static enum llavamed_status read_header(struct file_stream *file, struct safetensors_header *header,
                                        struct llavamed_error *error)
{
    uint64_t file_bytes = zip_member_bytes(file->member);
    uint8_t prefix[SAFETENSORS_PREFIX_BYTES] = {0};
    uint64_t json_bytes = 0;
    enum llavamed_status status =
        zip_member_read(file->member, prefix, (size_t)min_u64(sizeof prefix, file_bytes), NULL, error);
    if (status == LLAVAMED_OK) {
        status = safetensors_header_bytes(file->path, prefix, file_bytes, &json_bytes, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (json_bytes > ZIP_MEMBER_KEPT_BYTES_MAX) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                               "%s: the header is too large for a compressed file (got %llu bytes, want at most %d)",
                               file->path, (unsigned long long)json_bytes, ZIP_MEMBER_KEPT_BYTES_MAX);
        llavamed_hint(error, "unpack the archive and give the directory");
        return status;
    }
    char *json = malloc((size_t)json_bytes + 1);
    if (json == NULL) {
        return llavamed_fail_memory(error, json_bytes + 1, "a safetensors header");
    }
    status = zip_member_read(file->member, json, (size_t)json_bytes, NULL, error);
    if (status == LLAVAMED_OK) {
        status = safetensors_parse(file->path, json, (size_t)json_bytes, file_bytes, header, error);
    }
    free(json);
    return status;
}

static enum llavamed_status open_safetensors(struct archive_stream *streams, struct file_stream *file,
                                             struct llavamed_error *error)
{
    struct safetensors_header header = {0};
    enum llavamed_status status = open_member(streams, file, error);
    if (status == LLAVAMED_OK) {
        status = read_header(file, &header, error);
    }
    file->n_tensors = header.set.n_tensors;
    file->data_start = header.data_start;
    for (size_t i = 0; status == LLAVAMED_OK && i < header.set.n_tensors; i++) {
        status = tensor_set_add(&streams->source->set, &header.set.tensors[i], error);
    }
    safetensors_header_deinit(&header);
    return status;
}

static enum llavamed_status probe(const struct archive_stream *streams, struct file_stream *file,
                                  struct llavamed_error *error)
{
    uint8_t bytes[RECOGNISE_BYTES];
    size_t n_bytes = (size_t)min_u64(sizeof bytes, file->entry->n_bytes);
    enum llavamed_status status = open_member(streams, file, error);
    if (status == LLAVAMED_OK && n_bytes > 0) {
        status = zip_member_read(file->member, bytes, n_bytes, NULL, error);
    }
    close_file(file);
    if (status == LLAVAMED_OK) {
        status = weights_probe_bytes(file->path, bytes, n_bytes, &file->format, error);
    }
    if (status == LLAVAMED_OK && file->format == WEIGHTS_TORCH && !zip_looks_like(bytes, n_bytes)) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                            "%s: a PyTorch file in its legacy form cannot be read from front to back inside an archive",
                            file->path);
        llavamed_hint(error, "unpack the archive and give the directory");
        status = LLAVAMED_STATUS_INPUT_UNSUPPORTED;
    }
    return status;
}

static enum llavamed_status open_file(struct archive_stream *streams, const char *name, struct llavamed_error *error)
{
    struct file_stream *file = &streams->files[streams->n_files++];
    *file = (struct file_stream){
        .entry = archive_entry(streams->archive, name),
        .path = archive_member_path(streams->archive, name),
        .first_tensor = streams->source->set.n_tensors,
        .next_tensor = streams->source->set.n_tensors,
    };
    if (file->path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = archive_check_file(file->entry, file->path, error);
    if (status == LLAVAMED_OK) {
        status = probe(streams, file, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = file->format == WEIGHTS_TORCH ? open_torch(streams, file, error) : open_safetensors(streams, file, error);
    close_file(file);
    return status;
}

/* ---- Reading ---- */

/* A fault of an archive that changed meanwhile is none of its contents. */
static enum llavamed_status blame_change(const struct archive_stream *streams, enum llavamed_status status,
                                         struct llavamed_error *error)
{
    struct llavamed_error change = {0};
    if (status != LLAVAMED_OK && status != LLAVAMED_STATUS_NO_MEMORY && status != LLAVAMED_STATUS_INTERRUPTED &&
        input_file_check_unchanged(archive_file(streams->archive), &change) == LLAVAMED_STATUS_INPUT_CHANGED) {
        if (error != NULL) {
            *error = change;
        }
        return LLAVAMED_STATUS_INPUT_CHANGED;
    }
    return status;
}

static enum llavamed_status read_bytes(struct file_stream *file, void *buffer, size_t n_bytes,
                                       struct llavamed_error *error)
{
    return file->torch != NULL ? torch_stream_read(file->torch, buffer, n_bytes, error)
                               : zip_member_read(file->member, buffer, n_bytes, NULL, error);
}

static enum llavamed_status skip(struct file_stream *file, uint64_t n_bytes, struct llavamed_error *error)
{
    uint8_t scratch[SKIP_BYTES];
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && n_bytes > 0) {
        size_t n = (size_t)min_u64(n_bytes, sizeof scratch);
        status = read_bytes(file, scratch, n, error);
        n_bytes -= n;
    }
    return status;
}

/* Whether the front of a torch file is what it was when the tensors were mapped. */
static bool is_as_mapped(const struct file_stream *file)
{
    const struct pickle_state_dict *dict = torch_stream_dict(file->torch);
    bool same = dict->n_storages == file->n_storages;
    for (size_t i = 0; same && i < dict->n_storages; i++) {
        same = bytes_of_storage(&dict->storages[i]) == file->storage_bytes[i];
    }
    return same;
}

/* Opens the file again, where its first storage or tensor begins. */
static enum llavamed_status begin_file(const struct archive_stream *streams, struct file_stream *file,
                                       struct llavamed_error *error)
{
    bool is_torch = file->format == WEIGHTS_TORCH;
    enum llavamed_status status = is_torch ? begin_torch(streams, file, error) : open_member(streams, file, error);
    if (status == LLAVAMED_OK && !is_torch) {
        status = skip(file, file->data_start, error);
    }
    if (status == LLAVAMED_OK && is_torch && !is_as_mapped(file)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED, "%s: the file changed while it was read",
                               input_file_path(archive_file(streams->archive)));
    }
    if (status != LLAVAMED_OK) {
        close_file(file);
    }
    return status;
}

/* Goes on to the next storage in which a tensor lies. */
static enum llavamed_status next_storage(struct file_stream *file, const struct tensor_set *set,
                                         struct llavamed_error *error)
{
    for (;;) {
        size_t storage;
        enum llavamed_status status = skip(file, file->storage_left, error);
        file->storage_left = 0;
        if (status == LLAVAMED_OK) {
            status = torch_stream_next(file->torch, &storage, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (storage == TORCH_STREAM_END) {
            file->ended = true;
            return LLAVAMED_OK;
        }
        file->storage_left = file->storage_bytes[storage];
        size_t tensor = file->storage_tensor[storage];
        if (tensor != TENSOR_NOT_FOUND) {
            uint64_t offset = file->offset_bytes[tensor - file->first_tensor];
            file->storage_left -= offset + set->tensors[tensor].n_bytes;
            file->run = (struct source_run){tensor, 0, set->tensors[tensor].n_elems};
            return skip(file, offset, error);
        }
    }
}

/*
 * Tensors lie in the order of the set, one behind the other. Those whose elements are not of whole bytes, which nobody
 * can use, are read over.
 */
static enum llavamed_status next_tensor(struct file_stream *file, const struct tensor_set *set, bool check_crc,
                                        struct llavamed_error *error)
{
    while (file->next_tensor < file->first_tensor + file->n_tensors) {
        size_t index = file->next_tensor++;
        const struct tensor *tensor = &set->tensors[index];
        if (tensor->n_elems > 0 && dtype_bytes(tensor->dtype) > 0) {
            file->run = (struct source_run){index, 0, tensor->n_elems};
            return LLAVAMED_OK;
        }
        enum llavamed_status status = skip(file, tensor->n_bytes, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    enum llavamed_status status = zip_member_finish(file->member, check_crc, error);
    file->ended = status == LLAVAMED_OK;
    return status;
}

static enum llavamed_status layout_stream_next(void *state, size_t stream, struct source_run *run,
                                               struct llavamed_error *error)
{
    struct archive_stream *streams = state;
    struct file_stream *file = &streams->files[stream];
    const struct source *source = streams->source;
    enum llavamed_status status = LLAVAMED_OK;
    if (file->run.n_elems == 0 && !file->ended) {
        status = file->member == NULL ? begin_file(streams, file, error) : LLAVAMED_OK;
        if (status == LLAVAMED_OK) {
            status = file->torch != NULL ? next_storage(file, &source->set, error)
                                         : next_tensor(file, &source->set, source->check_crc, error);
        }
        if (file->ended) {
            close_file(file);
        }
    }
    if (status == LLAVAMED_OK) {
        *run = file->run;
    }
    return blame_change(streams, status, error);
}

static enum llavamed_status layout_stream_read(void *state, size_t stream, uint64_t n_elems, void *buffer,
                                               struct llavamed_error *error)
{
    struct archive_stream *streams = state;
    struct file_stream *file = &streams->files[stream];
    const struct tensor *tensor = &streams->source->set.tensors[file->run.tensor];
    assert(n_elems <= file->run.n_elems);
    enum llavamed_status status = read_bytes(file, buffer, (size_t)n_elems * dtype_bytes(tensor->dtype), error);
    file->run.first_elem += n_elems;
    file->run.n_elems -= n_elems;
    return blame_change(streams, status, error);
}

static enum llavamed_status layout_stream_rewind(void *state, size_t stream, struct llavamed_error *error)
{
    struct archive_stream *streams = state;
    struct file_stream *file = &streams->files[stream];
    (void)error;
    close_file(file);
    file->run = (struct source_run){0};
    file->storage_left = 0;
    file->next_tensor = file->first_tensor;
    file->ended = false;
    return LLAVAMED_OK;
}

static uint64_t layout_stream_bytes(const void *state, size_t stream)
{
    const struct archive_stream *streams = state;
    return streams->files[stream].entry->n_bytes;
}

static size_t layout_streams(const void *state)
{
    const struct archive_stream *streams = state;
    return streams->n_files;
}

/* The streams checked themselves at their ends; what is left is whether the file stayed the same meanwhile. */
static enum llavamed_status layout_finish(void *state, void *scratch, size_t scratch_bytes,
                                          struct llavamed_error *error)
{
    const struct archive_stream *streams = state;
    (void)scratch;
    (void)scratch_bytes;
    return input_file_check_unchanged(archive_file(streams->archive), error);
}

static enum llavamed_status layout_sample(const void *state, size_t i, struct sha256_stream *sha256,
                                          struct llavamed_error *error)
{
    const struct archive_stream *streams = state;
    return sample_feed_crc32(sha256, streams->files[i].entry->crc32, error);
}

static uint64_t layout_bytes_read(const void *state)
{
    const struct archive_stream *streams = state;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < streams->n_files; i++) {
        const struct file_stream *file = &streams->files[i];
        n_bytes += file->read_before + (file->member == NULL ? 0 : zip_member_bytes_read(file->member));
    }
    return n_bytes;
}

static void layout_close(void *state)
{
    struct archive_stream *streams = state;
    for (size_t i = 0; i < streams->n_files; i++) {
        struct file_stream *file = &streams->files[i];
        close_file(file);
        free(file->path);
        free(file->storage_bytes);
        free(file->storage_tensor);
        free(file->offset_bytes);
    }
    free(streams->files);
    free(streams);
}

/* The last file that begins at this tensor or before it: those without tensors begin where the next one does. */
static size_t layout_file_of(const void *state, size_t tensor)
{
    const struct archive_stream *streams = state;
    size_t low = 0;
    size_t high = streams->n_files;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (streams->files[middle].first_tensor <= tensor) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct source_layout stream_layout = {
    .finish = layout_finish,
    .file_of = layout_file_of,
    .sample = layout_sample,
    .bytes_read = layout_bytes_read,
    .close = layout_close,
    .streams = layout_streams,
    .stream_next = layout_stream_next,
    .stream_read = layout_stream_read,
    .stream_bytes = layout_stream_bytes,
    .stream_rewind = layout_stream_rewind,
};

enum llavamed_status archive_stream_open(struct source *source, const char *const *names, size_t n,
                                         struct llavamed_error *error)
{
    assert(n > 0);
    struct archive_stream *streams = calloc(1, sizeof *streams);
    if (streams == NULL) {
        return llavamed_fail_memory(error, sizeof *streams, "a source");
    }
    streams->source = source;
    streams->archive = source->archive;
    streams->files = calloc(n, sizeof *streams->files);
    source->layout = &stream_layout;
    source->state = streams;
    if (streams->files == NULL) {
        return llavamed_fail_memory(error, n * sizeof *streams->files, "a source");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        status = open_file(streams, names[i], error);
    }
    if (status == LLAVAMED_OK) {
        source->format = weights_format_name(streams->files[0].format);
    }
    return status;
}
