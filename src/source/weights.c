/* SPDX-License-Identifier: Apache-2.0 */
#include "source/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "core/stop_signal.h"
#include "format/safetensors.h"
#include "format/torch.h"
#include "integrity/crc32.h"

const char *weights_format_name(enum weights_format format)
{
    return format == WEIGHTS_TORCH ? "torch" : "safetensors";
}

enum llavamed_status weights_init(struct weights *weights, struct tensor_set *set, bool check_crc,
                                  struct llavamed_error *error)
{
    memset(weights, 0, sizeof *weights);
    weights->set = set;
    weights->check_crc = check_crc;
    atomic_init(&weights->bytes_read, 0);
    if (pthread_mutex_init(&weights->mutex, NULL) != 0) {
        return llavamed_fail_memory(error, sizeof weights->mutex, "a lock");
    }
    return LLAVAMED_OK;
}

void weights_deinit(struct weights *weights)
{
    for (size_t i = 0; i < weights->n_files; i++) {
        input_file_close(weights->files[i].file);
    }
    for (size_t i = 0; i < weights->n_records; i++) {
        free(weights->records[i].key);
        record_crc_deinit(&weights->records[i].seen);
    }
    free(weights->files);
    free(weights->spans);
    free(weights->views);
    free(weights->records);
    (void)pthread_mutex_destroy(&weights->mutex);
}

/* Makes room for n more elements of n_bytes each behind the `used` ones; returns the array, or NULL. */
static void *reserve(void *array, size_t used, size_t n, size_t n_bytes, size_t *capacity)
{
    if (array != NULL && n <= *capacity - used) {
        return array;
    }
    size_t want = used + n > *capacity * 2 ? used + n : *capacity * 2;
    void *larger = reallocarray(array, want + 1, n_bytes);
    if (larger != NULL) {
        *capacity = want;
    }
    return larger;
}

static enum llavamed_status reserve_spans(struct weights *weights, size_t n, struct llavamed_error *error)
{
    size_t used = weights->set->n_tensors;
    void *spans = reserve(weights->spans, used, n, sizeof *weights->spans, &weights->spans_capacity);
    if (spans == NULL) {
        return llavamed_fail_memory(error, (used + n) * sizeof *weights->spans, "the places of tensors");
    }
    weights->spans = spans;
    return LLAVAMED_OK;
}

/* The place of a tensor of the file that was added last. */
static struct weights_span span_of(const struct weights *weights, size_t record, uint64_t offset)
{
    return (struct weights_span){
        .file = weights->n_files - 1,
        .record = record,
        .view = WEIGHTS_NO_VIEW,
        .offset = offset,
        .row_major = true,
    };
}

/* Moves the descriptor into the set; its span must be reserved. */
static enum llavamed_status add_tensor(struct weights *weights, struct tensor *tensor, size_t record, uint64_t offset,
                                       struct llavamed_error *error)
{
    size_t index = weights->set->n_tensors;
    enum llavamed_status status = tensor_set_add(weights->set, tensor, error);
    if (status == LLAVAMED_OK) {
        weights->spans[index] = span_of(weights, record, offset);
    }
    return status;
}

/* All tensors of a safetensors file; their spans must be reserved. */
static enum llavamed_status add_tensors(struct weights *weights, struct safetensors_header *header, size_t record,
                                        struct llavamed_error *error)
{
    size_t first = weights->set->n_tensors;
    size_t n = header->set.n_tensors;
    enum llavamed_status status = tensor_set_append(weights->set, &header->set, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        weights->spans[first + i] = span_of(weights, record, header->data_start + header->data_offsets[i]);
    }
    return status;
}

/* A record that is the whole file. */
static enum llavamed_status add_member_record(struct weights *weights, uint64_t n_bytes, uint32_t crc32,
                                              struct llavamed_error *error)
{
    void *records =
        reserve(weights->records, weights->n_records, 1, sizeof *weights->records, &weights->records_capacity);
    if (records == NULL) {
        return llavamed_fail_memory(error, (weights->n_records + 1) * sizeof *weights->records, "the list of records");
    }
    weights->records = records;
    weights->records[weights->n_records++] = (struct weights_record){
        .file = weights->n_files - 1,
        .n_bytes = n_bytes,
        .crc32 = crc32,
        .has_crc = true,
        .tensor = weights->set->n_tensors, /* the first that is about to be added */
    };
    return LLAVAMED_OK;
}

/* `prefix`: the first bytes of the file, SAFETENSORS_PREFIX_BYTES of them, zeros where it is shorter. */
static enum llavamed_status add_safetensors(struct weights *weights, struct input_file *file, const uint8_t *prefix,
                                            const uint32_t *member_crc32, struct llavamed_error *error)
{
    const char *path = input_file_path(file);
    uint64_t file_bytes = input_file_bytes(file);
    uint64_t json_bytes = 0;
    struct safetensors_header header = {0};
    char *json = NULL;
    enum llavamed_status status = safetensors_header_bytes(path, prefix, file_bytes, &json_bytes, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    json = malloc((size_t)json_bytes + 1);
    if (json == NULL) {
        status = llavamed_fail_memory(error, json_bytes + 1, "a safetensors header");
        goto out;
    }
    status = input_file_read(file, SAFETENSORS_PREFIX_BYTES, json, (size_t)json_bytes, error);
    if (status == LLAVAMED_OK) {
        status = safetensors_parse(path, json, (size_t)json_bytes, file_bytes, &header, error);
    }
    if (status == LLAVAMED_OK) {
        status = reserve_spans(weights, header.set.n_tensors, error);
    }
    bool recorded = member_crc32 != NULL && header.set.n_tensors > 0;
    if (status == LLAVAMED_OK && recorded) {
        status = add_member_record(weights, file_bytes, *member_crc32, error);
    }
    size_t record = recorded ? weights->n_records - 1 : WEIGHTS_NO_RECORD;
    if (status == LLAVAMED_OK) {
        status = add_tensors(weights, &header, record, error);
    }
out:
    safetensors_header_deinit(&header);
    free(json);
    return status;
}

/* Notes the records of a torch file. Those without CRC-32 are kept too, so that indices are those of its storages. */
static enum llavamed_status add_records(struct weights *weights, struct torch_file *torch, struct weights_file *owner,
                                        struct llavamed_error *error)
{
    size_t n = torch->dict.n_storages;
    void *records =
        reserve(weights->records, weights->n_records, n, sizeof *weights->records, &weights->records_capacity);
    if (records == NULL) {
        return llavamed_fail_memory(error, (weights->n_records + n) * sizeof *weights->records, "the list of records");
    }
    weights->records = records;
    owner->n_records = n;
    for (size_t i = 0; i < n; i++) {
        const struct torch_record *record = &torch->records[i];
        struct weights_record made = {
            .file = weights->n_files - 1,
            .offset = record->file_offset,
            .n_bytes = record->n_bytes,
            .crc32 = record->crc32,
            .tensor = TENSOR_NOT_FOUND,
            .has_crc = record->has_crc,
            .key = torch->dict.storages[i].key,
        };
        torch->dict.storages[i].key = NULL;
        weights->records[weights->n_records++] = made;
        owner->n_without_crc += !record->has_crc;
    }
    return LLAVAMED_OK;
}

/* A few bytes must not become a tensor of any size. */
static enum llavamed_status check_view_size(const char *path, const struct torch_file *torch,
                                            const struct pickle_tensor *view, struct llavamed_error *error)
{
    uint64_t stored_bytes = torch->records[view->storage].n_bytes;
    if (strided_size_is_sane(view->tensor.n_bytes, stored_bytes)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = llavamed_fail(
        error, LLAVAMED_STATUS_INPUT_LIMIT,
        "%s: tensor %s repeats its storage too often (got %llu bytes of a storage of %llu, want at most %d times)",
        path, view->tensor.name, (unsigned long long)view->tensor.n_bytes, (unsigned long long)stored_bytes,
        STRIDED_RATIO_MAX);
    llavamed_hint(error, "if that is meant, load it in Python and save what tensor.contiguous() gives");
    return status;
}

/* Notes how the tensor that is about to be added is strided. */
static enum llavamed_status note_strides(struct weights *weights, const struct pickle_tensor *view, uint64_t offset,
                                         struct llavamed_error *error)
{
    void *views = reserve(weights->views, weights->n_views, 1, sizeof *weights->views, &weights->views_capacity);
    if (views == NULL) {
        return llavamed_fail_memory(error, (weights->n_views + 1) * sizeof *weights->views, "the views of tensors");
    }
    weights->views = views;
    strided_view_init(&weights->views[weights->n_views++], &view->tensor, view->strides, offset);
    return LLAVAMED_OK;
}

/* Whether torch would give a new tensor of the shape these strides, which are saved with it. */
static bool is_row_major(const struct pickle_tensor *view)
{
    uint64_t expected = 1;
    for (unsigned i = view->tensor.rank; i > 0; i--) {
        if (view->strides[i - 1] != expected) {
            return false;
        }
        expected *= max_u64(view->tensor.shape[i - 1], 1); /* wraps where no stride of a file could follow */
    }
    return view->tensor.n_elems > 0 || view->offset_elems == 0;
}

static enum llavamed_status add_view(struct weights *weights, const char *path, const struct torch_file *torch,
                                     struct pickle_tensor *view, size_t first_record, struct llavamed_error *error)
{
    const struct torch_record *record = &torch->records[view->storage];
    struct weights_record *mine = &weights->records[first_record + view->storage];
    size_t index = weights->set->n_tensors;
    bool strided = !view->contiguous && view->tensor.n_elems > 0;
    bool row_major = is_row_major(view);
    if (mine->tensor == TENSOR_NOT_FOUND) {
        mine->tensor = index;
    }
    enum llavamed_status status = check_view_size(path, torch, view, error);
    /* torch_file_read() has checked that a view with elements lies inside its record; others are not read. */
    uint64_t offset = record->file_offset;
    if (view->tensor.n_elems > 0) {
        offset += view->offset_elems * dtype_bytes(view->tensor.dtype);
    }
    if (status == LLAVAMED_OK && strided) {
        status = note_strides(weights, view, offset, error);
    }
    if (status == LLAVAMED_OK) {
        status = add_tensor(weights, &view->tensor, first_record + view->storage, offset, error);
    }
    if (status == LLAVAMED_OK) {
        weights->spans[index].row_major = row_major;
        weights->spans[index].view = strided ? weights->n_views - 1 : WEIGHTS_NO_VIEW;
    }
    return status;
}

/* All tensors together against the file: a storage of any size may be named by many tensors. */
static enum llavamed_status check_total_size(const struct torch_file *torch, const struct weights *weights,
                                             struct llavamed_error *error)
{
    const struct input_file *file = weights->files[weights->n_files - 1].file;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < torch->dict.n_tensors; i++) {
        const struct tensor *tensor = &weights->set->tensors[weights->set->n_tensors - 1 - i];
        if (!checked_add_u64(n_bytes, tensor->n_bytes, &n_bytes)) {
            n_bytes = UINT64_MAX;
            break;
        }
    }
    if (strided_size_is_sane(n_bytes, input_file_bytes(file))) {
        return LLAVAMED_OK;
    }
    return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                         "%s: its tensors repeat their storages too often (got %llu bytes of a file of %llu, want at "
                         "most %d times)",
                         input_file_path(file), (unsigned long long)n_bytes, (unsigned long long)input_file_bytes(file),
                         STRIDED_RATIO_MAX);
}

static enum llavamed_status add_torch(struct weights *weights, struct weights_file *owner, struct llavamed_error *error)
{
    struct torch_file torch = {0};
    size_t first_record = weights->n_records;
    enum llavamed_status status = torch_file_read(owner->file, weights->check_crc, &torch, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = add_records(weights, &torch, owner, error);
    if (status == LLAVAMED_OK) {
        status = reserve_spans(weights, torch.dict.n_tensors, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < torch.dict.n_tensors; i++) {
        status = add_view(weights, input_file_path(owner->file), &torch, &torch.dict.tensors[i], first_record, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_total_size(&torch, weights, error);
    }
    torch_file_deinit(&torch);
    return status;
}

/*
 * One file under many names would be read and kept as often. Size and time are compared as well, for file systems whose
 * numbers are not unique.
 */
static enum llavamed_status check_is_another(const struct weights *weights, const struct input_file *file,
                                             struct llavamed_error *error)
{
    uint64_t device = input_file_device(file);
    uint64_t inode = input_file_inode(file);
    for (size_t i = 0; i < weights->n_files; i++) {
        const struct weights_file *other = &weights->files[i];
        if (other->inode == inode && other->device == device &&
            input_file_bytes(other->file) == input_file_bytes(file) &&
            input_file_modified_ns(other->file) == input_file_modified_ns(file)) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSAFE, "%s: is the same file as %s",
                                input_file_path(file), input_file_path(other->file));
            llavamed_hint(error, "one of them is a link to the other: put the shards there that belong there");
            return LLAVAMED_STATUS_INPUT_UNSAFE;
        }
    }
    return LLAVAMED_OK;
}

enum llavamed_status weights_add_file(struct weights *weights, const char *path, struct llavamed_error *error)
{
    struct input_file *file = NULL;
    enum llavamed_status status = input_file_open(path, &file, error);
    if (status == LLAVAMED_OK) {
        status = check_is_another(weights, file, error);
    }
    if (status != LLAVAMED_OK) {
        input_file_close(file);
        return status;
    }
    return weights_add_open(weights, file, NULL, error);
}

enum llavamed_status weights_add_open(struct weights *weights, struct input_file *file, const uint32_t *member_crc32,
                                      struct llavamed_error *error)
{
    void *files = reserve(weights->files, weights->n_files, 1, sizeof *weights->files, &weights->files_capacity);
    if (files == NULL) {
        input_file_close(file);
        return llavamed_fail_memory(error, (weights->n_files + 1) * sizeof *weights->files, "the list of files");
    }
    weights->files = files;
    struct weights_file *owner = &weights->files[weights->n_files++];
    *owner = (struct weights_file){
        .file = file, .device = input_file_device(file), .inode = input_file_inode(file)};
    uint8_t prefix[SAFETENSORS_PREFIX_BYTES];
    /* A torch file has a header for each of its records, and each costs a read. */
    input_file_heed(file, weights->stop_signal);
    enum llavamed_status status = weights_probe(file, &owner->format, prefix, error);
    if (status == LLAVAMED_OK) {
        status = owner->format == WEIGHTS_TORCH ? add_torch(weights, owner, error)
                                                : add_safetensors(weights, file, prefix, member_crc32, error);
    }
    input_file_heed(file, NULL); /* tiles at work are finished */
    if (status == LLAVAMED_STATUS_INPUT_TRUNCATED && error != NULL && error->hint[0] == '\0') {
        llavamed_hint(error, "download or copy the file again");
    }
    return status;
}

size_t weights_file_of(const void *weights, size_t tensor)
{
    return ((const struct weights *)weights)->spans[tensor].file;
}

bool weights_place(const struct weights *weights, size_t index, struct source_place *place)
{
    const struct weights_span *span = &weights->spans[index];
    const struct tensor *tensor = &weights->set->tensors[index];
    if (span->record == WEIGHTS_NO_RECORD || weights->files[span->file].format != WEIGHTS_TORCH) {
        return false;
    }
    const struct weights_record *record = &weights->records[span->record];
    struct source_place made = {
        .storage = span->record,
        .storage_bytes = record->n_bytes,
        .row_major = span->row_major,
    };
    if (span->view != WEIGHTS_NO_VIEW) {
        made.view = weights->views[span->view];
    } else {
        made.view = (struct strided_view){.rank = 1, .shape = {tensor->n_elems}, .strides = {1}};
        made.view.elem_bytes = dtype_bytes(tensor->dtype);
        made.view.offset = span->offset;
    }
    made.view.offset -= record->offset;
    *place = made;
    return true;
}

static uint64_t bytes_of_elems(const struct tensor *tensor, uint64_t n_elems)
{
    return n_elems * dtype_bytes(tensor->dtype);
}

static enum llavamed_status read_view(struct weights *weights, const struct weights_span *span,
                                      const struct source_run *run, void *buffer, struct llavamed_error *error)
{
    struct strided_read read = {
        .file = weights->files[span->file].file,
        .view = &weights->views[span->view],
        .first_elem = run->first_elem,
        .n_elems = run->n_elems,
        .buffer = buffer,
    };
    enum llavamed_status status = strided_read(&read, error);
    atomic_fetch_add_explicit(&weights->bytes_read, read.bytes_read, memory_order_relaxed);
    return status;
}

enum llavamed_status weights_read(struct weights *weights, const struct source_run *run, void *buffer,
                                  struct source_notes *notes, struct llavamed_error *error)
{
    const struct weights_span *span = &weights->spans[run->tensor];
    size_t n_bytes = (size_t)bytes_of_elems(&weights->set->tensors[run->tensor], run->n_elems);
    if (span->view != WEIGHTS_NO_VIEW) {
        return read_view(weights, span, run, buffer, error);
    }
    if (n_bytes == 0) {
        return LLAVAMED_OK;
    }
    const struct iovec piece = {.iov_base = buffer, .iov_len = n_bytes};
    const struct weights_pieces wanted = {run->tensor, run->first_elem, &piece, 1};
    return weights_read_pieces(weights, &wanted, notes, error);
}

uint64_t weights_grain(const struct weights *weights, size_t index)
{
    size_t view = weights->spans[index].view;
    return view == WEIGHTS_NO_VIEW ? 1 : strided_grain(&weights->views[view]);
}

void weights_note(struct weights *weights, const struct source_notes *notes)
{
    (void)pthread_mutex_lock(&weights->mutex);
    for (size_t i = 0; i < notes->n_notes; i++) {
        const struct source_note *note = &notes->notes[i];
        bool fits = note->record < weights->n_records && weights->records[note->record].has_crc &&
                    note->offset <= weights->records[note->record].n_bytes &&
                    note->n_bytes <= weights->records[note->record].n_bytes - note->offset;
        if (fits) {
            record_crc_note(&weights->records[note->record].seen, note->offset, note->n_bytes, note->crc32);
        }
    }
    (void)pthread_mutex_unlock(&weights->mutex);
}

/* Reads what was not read yet, or all of a record that was read in overlapping pieces, or in very many. */
static enum llavamed_status complete_record(struct weights *weights, struct weights_record *record, uint8_t *scratch,
                                            size_t scratch_bytes, struct llavamed_error *error)
{
    if (record->seen.unusable || record->seen.n_runs == RECORD_CRC_RUNS_MAX) {
        record_crc_deinit(&record->seen);
    }
    uint64_t offset;
    uint64_t gap_bytes;
    while (record_crc_gap(&record->seen, record->n_bytes, &offset, &gap_bytes)) {
        size_t n_bytes = (size_t)min_u64(gap_bytes, scratch_bytes);
        enum llavamed_status status = stop_signal_check(weights->stop_signal, error);
        if (status == LLAVAMED_OK) {
            status =
                input_file_read(weights->files[record->file].file, record->offset + offset, scratch, n_bytes, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
        atomic_fetch_add_explicit(&weights->bytes_read, n_bytes, memory_order_relaxed);
        record_crc_note(&record->seen, offset, n_bytes, crc32_update(0, scratch, n_bytes));
        if (record->seen.unusable) {
            return llavamed_fail_memory(error, sizeof *record->seen.runs, "the checksum of a record");
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status check_record(struct weights *weights, struct weights_record *record, uint8_t *scratch,
                                         size_t scratch_bytes, struct llavamed_error *error)
{
    enum llavamed_status status = complete_record(weights, record, scratch, scratch_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint32_t got = record->seen.n_runs == 0 ? 0 : record->seen.runs[0].crc32;
    if (got == record->crc32) {
        return LLAVAMED_OK;
    }
    if (record->key == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                             "%s: the file is damaged: its CRC-32 differs from the archive's (got %08x, want %08x)",
                             input_file_path(weights->files[record->file].file), (unsigned)got,
                             (unsigned)record->crc32);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                         "%s: record data/%s is damaged: its CRC-32 differs (got %08x, want %08x; tensor %s)",
                         input_file_path(weights->files[record->file].file), record->key, (unsigned)got,
                         (unsigned)record->crc32, weights->set->tensors[record->tensor].name);
}

enum llavamed_status weights_check_unchanged(const struct weights *weights, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < weights->n_files; i++) {
        status = input_file_check_unchanged(weights->files[i].file, error);
    }
    return status;
}

enum llavamed_status weights_finish(struct weights *weights, void *scratch, size_t scratch_bytes,
                                    struct llavamed_error *error)
{
    assert(scratch_bytes > 0);
    /* First whether a file was changed: that explains a wrong CRC-32, and not the other way round. */
    enum llavamed_status status = weights_check_unchanged(weights, error);
    for (size_t i = 0; status == LLAVAMED_OK && weights->check_crc && i < weights->n_records; i++) {
        struct weights_record *record = &weights->records[i];
        if (record->has_crc && !record->is_others && record->tensor != TENSOR_NOT_FOUND) {
            status = check_record(weights, record, scratch, scratch_bytes, error);
        }
    }
    return status;
}
