/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/shard_view.h"

#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "format/torch.h"
#include "source/weights.h"

void shard_view_deinit(struct shard_view *view)
{
    tensor_set_deinit(&view->set);
    for (size_t i = 0; i < view->n_records; i++) {
        free(view->records[i].key);
    }
    free(view->places);
    free(view->digests);
    free(view->records);
    span_crc_deinit(&view->crc);
    *view = (struct shard_view){0};
}

static enum llavamed_status make_places(struct shard_view *view, size_t n, struct llavamed_error *error)
{
    view->places = calloc(n + 1, sizeof *view->places);
    return view->places != NULL ? LLAVAMED_OK
                                : llavamed_fail_memory(error, n * sizeof *view->places, "the places of tensors");
}

/* ---- safetensors ---- */

static enum llavamed_status take_header(struct safetensors_header *header, struct shard_view *view,
                                        struct llavamed_error *error)
{
    size_t n = header->set.n_tensors;
    enum llavamed_status status = make_places(view, n, error);
    if (status == LLAVAMED_OK) {
        status = tensor_set_append(&view->set, &header->set, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        view->places[i] =
            (struct shard_place){.offset = header->data_start + header->data_offsets[i], .is_contiguous = true};
    }
    return status;
}

static enum llavamed_status read_safetensors(struct input_file *file, const uint8_t *prefix, uint64_t recorded_bytes,
                                             struct shard_view *view, bool *is_cut, struct llavamed_error *error)
{
    const char *name = input_file_path(file);
    uint64_t file_bytes = input_file_bytes(file);
    uint64_t json_bytes = 0;
    struct safetensors_header header = {0};
    enum llavamed_status status = safetensors_header_bytes(name, prefix, file_bytes, &json_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    char *json = malloc((size_t)json_bytes + 1);
    if (json == NULL) {
        return llavamed_fail_memory(error, json_bytes + 1, "a safetensors header");
    }
    status = input_file_read_near(file, SAFETENSORS_PREFIX_BYTES, json, (size_t)json_bytes, error);
    if (status == LLAVAMED_OK) {
        struct llavamed_error ignored;
        status = safetensors_parse(name, json, (size_t)json_bytes, file_bytes, &header, error);
        bool by_length = status == LLAVAMED_STATUS_INPUT_TRUNCATED || status == LLAVAMED_STATUS_INPUT_TRAILING;
        *is_cut = by_length && recorded_bytes > SAFETENSORS_PREFIX_BYTES + json_bytes &&
                  safetensors_parse(name, json, (size_t)json_bytes, recorded_bytes, &header, &ignored) == LLAVAMED_OK;
    }
    if (status == LLAVAMED_OK || *is_cut) {
        struct llavamed_error taking;
        enum llavamed_status taken = take_header(&header, view, &taking);
        if (taken != LLAVAMED_OK) {
            *error = taking;
            *is_cut = false;
            status = taken;
        }
    }
    safetensors_header_deinit(&header);
    free(json);
    return status;
}

/* ---- torch ---- */

static enum llavamed_status take_records(struct torch_file *torch, struct shard_view *view,
                                         struct llavamed_error *error)
{
    view->records = calloc(torch->dict.n_storages + 1, sizeof *view->records);
    if (view->records == NULL) {
        return llavamed_fail_memory(error, torch->dict.n_storages * sizeof *view->records, "the list of records");
    }
    for (size_t i = 0; i < torch->dict.n_storages; i++) {
        const struct torch_record *record = &torch->records[i];
        if (record->has_crc) {
            struct shard_record made = {.key = torch->dict.storages[i].key,
                                        .offset = record->file_offset,
                                        .n_bytes = record->n_bytes,
                                        .want = record->crc32};
            torch->dict.storages[i].key = NULL;
            view->records[view->n_records++] = made;
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status take_dict(struct torch_file *torch, struct shard_view *view, struct llavamed_error *error)
{
    size_t n = torch->dict.n_tensors;
    enum llavamed_status status = make_places(view, n, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        struct pickle_tensor *tensor = &torch->dict.tensors[i];
        bool is_empty = tensor->tensor.n_bytes == 0;
        /* Inside of the storage, as the pickle's reader has checked, unless it is empty. */
        uint64_t offset = is_empty ? 0 : tensor->offset_elems * dtype_bytes(tensor->tensor.dtype);
        view->places[i] = (struct shard_place){.offset = torch->records[tensor->storage].file_offset + offset,
                                               .is_contiguous = tensor->contiguous || is_empty};
        status = tensor_set_add(&view->set, &tensor->tensor, error);
    }
    return status;
}

static enum llavamed_status read_torch(struct input_file *file, struct shard_view *view, struct llavamed_error *error)
{
    struct torch_file torch = {0};
    enum llavamed_status status = torch_file_read(file, true, &torch, error);
    if (status == LLAVAMED_OK) {
        status = take_dict(&torch, view, error);
    }
    if (status == LLAVAMED_OK) {
        status = take_records(&torch, view, error);
    }
    torch_file_deinit(&torch);
    return status;
}

/* ---- Both ---- */

enum llavamed_status shard_view_read(struct input_file *file, uint64_t recorded_bytes, struct shard_view *view,
                                     bool *is_cut, struct llavamed_error *error)
{
    enum weights_format format;
    uint8_t prefix[SAFETENSORS_PREFIX_BYTES];
    struct shard_view made = {0};
    *is_cut = false;
    tensor_set_init(&made.set);
    enum llavamed_status status = weights_probe(file, &format, prefix, error);
    if (status == LLAVAMED_OK && format == WEIGHTS_SAFETENSORS) {
        status = read_safetensors(file, prefix, recorded_bytes, &made, is_cut, error);
    } else if (status == LLAVAMED_OK) {
        status = read_torch(file, &made, error);
    }
    if (status == LLAVAMED_OK || *is_cut) {
        struct llavamed_error sealing;
        enum llavamed_status sealed = tensor_set_seal(&made.set, input_file_path(file), &sealing);
        if (sealed != LLAVAMED_OK) {
            *error = sealing;
            *is_cut = false;
            status = sealed;
        }
    }
    if (status == LLAVAMED_OK || *is_cut) {
        *view = made;
    } else {
        shard_view_deinit(&made);
    }
    return status;
}

/* The tensors of which the manifest has digests, and whose bytes are one run of the file. */
static enum llavamed_status place_digests(struct shard_view *view, const struct recorded_output *manifest,
                                          struct llavamed_error *error)
{
    size_t n_wanted = manifest->n_digests < view->set.n_tensors ? manifest->n_digests : view->set.n_tensors;
    if (n_wanted == 0) {
        return LLAVAMED_OK;
    }
    view->digests = calloc(n_wanted, sizeof *view->digests);
    if (view->digests == NULL) {
        return llavamed_fail_memory(error, n_wanted * sizeof *view->digests, "the digests of tensors");
    }
    size_t n = 0;
    for (size_t i = 0; i < view->set.n_tensors; i++) {
        const struct recorded_tensor *recorded = recorded_output_find(manifest, view->set.tensors[i].name);
        if (recorded != NULL && recorded->sha256 != NULL && view->places[i].is_contiguous) {
            view->places[i].sha256 = view->digests[n++];
        }
    }
    return LLAVAMED_OK;
}

/* Spans are numbered as the tensors, then the records. */
enum llavamed_status shard_view_start(struct shard_view *view, uint64_t file_bytes,
                                      const struct recorded_output *manifest, struct llavamed_error *error)
{
    enum llavamed_status status = place_digests(view, manifest, error);
    size_t n_tensors = view->set.n_tensors;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_tensors; i++) {
        const struct tensor *tensor = &view->set.tensors[i];
        if (view->places[i].is_contiguous) {
            status = span_crc_add(&view->crc, view->places[i].offset, tensor->n_bytes, i, error);
        }
        if (status == LLAVAMED_OK && view->places[i].sha256 != NULL) {
            span_crc_want_digest(&view->crc, tensor, view->places[i].sha256);
        }
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < view->n_records; i++) {
        status = span_crc_add(&view->crc, view->records[i].offset, view->records[i].n_bytes, n_tensors + i, error);
    }
    return status == LLAVAMED_OK ? span_crc_start(&view->crc, file_bytes, error) : status;
}

enum llavamed_status shard_view_finish(struct shard_view *view, struct llavamed_error *error)
{
    span_crc_finish(&view->crc);
    enum llavamed_status status = span_crc_status(&view->crc, error);
    for (size_t i = 0; i < view->crc.n_spans; i++) {
        const struct crc_span *span = &view->crc.spans[i];
        if (span->owner < view->set.n_tensors) {
            view->places[span->owner].crc32 = span->crc32;
            view->places[span->owner].is_read = span->is_done;
        } else {
            struct shard_record *record = &view->records[span->owner - view->set.n_tensors];
            record->got = span->crc32;
            record->is_read = span->is_done;
        }
    }
    span_crc_deinit(&view->crc);
    return status;
}
