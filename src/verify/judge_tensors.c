/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "core/stop_signal.h"
#include "merge/manifest.h"
#include "verify/judge.h"

/* A tensor in the file that holds it. */
struct held_tensor {
    const struct table_file *file;
    const struct tensor *tensor;
    const struct shard_place *place;
};

static struct held_tensor held_at(const struct table_file *file, size_t i)
{
    return (struct held_tensor){file, &file->view->set.tensors[i], &file->view->places[i]};
}

/* Of the file, or of the record where the file is as it was recorded by its SHA-256. */
static struct finding_place blame(const struct table_file *file, const char *record, const char *tensor,
                                  uint64_t offset)
{
    if (table_file_is_as_claimed(file)) {
        return (struct finding_place){.file = record, .tensor = tensor};
    }
    return (struct finding_place){.file = file->name, .tensor = tensor, .offset = offset};
}

static bool has_same_form(const struct tensor *a, const struct tensor *b)
{
    return a->dtype == b->dtype && tensor_same_shape(a, b);
}

/* Its bytes were summed. */
static bool is_summed(const struct held_tensor *held)
{
    return held->file->is_summed && held->place->is_contiguous && held->place->is_read;
}

/* Both of them: of its bytes, and recorded. */
static bool has_digests(const struct held_tensor *held, const struct recorded_tensor *recorded)
{
    bool is_known = is_summed(held) && held->place->sha256 != NULL && held->place->sha256[0] != '\0';
    return is_known && recorded->sha256 != NULL;
}

static bool is_digest_right(const struct held_tensor *held, const struct recorded_tensor *recorded)
{
    return strcmp(held->place->sha256, recorded->sha256) == 0;
}

static bool is_judged(const struct judge *judge, const struct table_file *file)
{
    return judge->records->is_there[CLAIMANT_MANIFEST] && file->view != NULL && file->recorded != NULL &&
           file->recorded->is_shard;
}

static bool is_in_place(const struct judge *judge, const struct recorded_tensor *recorded,
                        const struct table_file *file)
{
    return &judge->records->manifest.files[recorded->file] == file->recorded;
}

/* ---- Against the manifest ---- */

/* First all are marked, so that a tensor with another's bytes can be told from one that has just the same. */
static void mark_tensors(const struct judge *judge, const struct table_file *file)
{
    for (size_t i = 0; i < file->view->set.n_tensors; i++) {
        const struct held_tensor held = held_at(file, i);
        struct recorded_tensor *recorded = recorded_output_find(&judge->records->manifest, held.tensor->name);
        if (recorded != NULL && is_in_place(judge, recorded, file)) {
            recorded->is_seen = true;
            recorded->is_wrong = !has_same_form(held.tensor, &recorded->tensor) ||
                                 (is_summed(&held) && held.place->crc32 != recorded->crc32) ||
                                 (has_digests(&held, recorded) && !is_digest_right(&held, recorded));
            recorded->got_sha256 = has_digests(&held, recorded) ? held.place->sha256 : NULL;
        }
    }
}

/* "; they are those of NAME", when its bytes are those recorded for another tensor. */
static const char *whose_bytes(const struct judge *judge, const struct held_tensor *held,
                               const struct recorded_tensor *than, char *text, size_t capacity)
{
    const struct recorded_tensor *other = NULL;
    text[0] = '\0';
    if (is_summed(held) && held->tensor->n_bytes > 0) {
        other = recorded_output_find_bytes(&judge->records->manifest, held->place->crc32, held->tensor->n_bytes, than);
    }
    if (other != NULL && other->is_wrong) {
        (void)snprintf(text, capacity, "; its bytes are those of %.300s", other->tensor.name);
    }
    return text;
}

static void judge_digest(struct judge *judge, const struct held_tensor *held, const struct recorded_tensor *recorded)
{
    if (!has_digests(held, recorded)) {
        return;
    }
    judge->n_digests_checked++;
    if (is_digest_right(held, recorded)) {
        return;
    }
    const struct finding_place place = blame(held->file, MANIFEST_FILE_NAME, held->tensor->name, held->place->offset);
    const struct recorded_tensor *other =
        recorded_output_find_digest(&judge->records->manifest, held->place->sha256, recorded);
    char where[300] = "its digest is not the recorded one";
    if (place.file != held->file->name) {
        (void)snprintf(where, sizeof where,
                       "the recorded digest is not that of its bytes in %.200s, which is as recorded",
                       held->file->name);
    }
    bool is_lost = other != NULL && other->is_wrong;
    findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_DIGEST, &place, "%s (got %s, want %s)%s%.300s", where,
                 held->place->sha256, recorded->sha256, is_lost ? "; it is recorded for " : "",
                 is_lost ? other->tensor.name : "");
}

static void judge_bytes(struct judge *judge, const struct held_tensor *held, const struct recorded_tensor *recorded)
{
    const char *name = held->tensor->name;
    char other[400];
    const struct finding_place place = blame(held->file, MANIFEST_FILE_NAME, name, held->place->offset);
    if (!held->place->is_contiguous) {
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_UNCHECKED, &place,
                     "lies in %.255s as a view with strides, so that its CRC-32 %s not known", held->file->name,
                     recorded->sha256 == NULL ? "is" : "and its digest are");
        return;
    }
    if (held->file->is_summed && !held->place->is_read) {
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_CUT, &place,
                     "is cut off (got %llu of %llu bytes before the end of the file)",
                     (unsigned long long)(held->file->n_bytes <= held->place->offset
                                              ? 0
                                              : held->file->n_bytes - held->place->offset),
                     (unsigned long long)held->tensor->n_bytes);
        return;
    }
    judge->n_tensors_checked += is_summed(held);
    if (is_summed(held) && held->place->crc32 != recorded->crc32) {
        bool is_record = place.file != held->file->name;
        char where[300] = "its CRC-32 is not the recorded one";
        if (is_record) {
            (void)snprintf(where, sizeof where,
                           "the recorded CRC-32 is not that of its bytes in %.200s, which is as recorded",
                           held->file->name);
        }
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_CRC, &place, "%s (got %08x, want %08x)%s", where,
                     (unsigned)held->place->crc32, (unsigned)recorded->crc32,
                     whose_bytes(judge, held, recorded, other, sizeof other));
    }
    judge_digest(judge, held, recorded);
}

static void judge_tensor(struct judge *judge, const struct held_tensor *held)
{
    const struct recorded_output *manifest = &judge->records->manifest;
    const char *name = held->tensor->name;
    const struct recorded_tensor *recorded = recorded_output_find(manifest, name);
    const struct finding_place place = blame(held->file, MANIFEST_FILE_NAME, name, held->place->offset);
    char other[400];
    if (recorded == NULL) {
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_EXTRA, &place,
                     "is in %.255s, and " MANIFEST_FILE_NAME " does not record it%s", held->file->name,
                     whose_bytes(judge, held, NULL, other, sizeof other));
        return;
    }
    if (!is_in_place(judge, recorded, held->file)) {
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_PLACE, &place,
                     "is in another file than " MANIFEST_FILE_NAME " records (got %.255s, want %.255s)",
                     held->file->name, manifest->files[recorded->file].name);
        return;
    }
    if (!has_same_form(held->tensor, &recorded->tensor)) {
        char got[TENSOR_SHAPE_TEXT_BYTES];
        char want[TENSOR_SHAPE_TEXT_BYTES];
        findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_FORM, &place,
                     "has another dtype or shape than " MANIFEST_FILE_NAME " records (got %s %s, want %s %s)",
                     dtype_name(held->tensor->dtype), tensor_shape_text(held->tensor, got),
                     dtype_name(recorded->tensor.dtype), tensor_shape_text(&recorded->tensor, want));
    }
    judge_bytes(judge, held, recorded);
}

static enum llavamed_status judge_missing(struct judge *judge, struct llavamed_error *error)
{
    const struct recorded_output *manifest = &judge->records->manifest;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < manifest->n_tensors; i++) {
        status = stop_signal_check(judge->stop_signal, error);
        const struct recorded_tensor *recorded = &manifest->tensors[i];
        const char *shard = manifest->files[recorded->file].name;
        const struct table_file *file = recorded->is_seen ? NULL : file_table_find(judge->table, shard);
        if (file != NULL && file->view != NULL) {
            const struct finding_place place = blame(file, MANIFEST_FILE_NAME, recorded->tensor.name, 0);
            findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_MISSING, &place,
                         "is not in %.255s, where " MANIFEST_FILE_NAME " records it", shard);
        }
    }
    return status;
}

/* ---- Against the index ---- */

static const struct shard_index_entry *find_entry(const struct shard_index *index, const char *tensor)
{
    size_t low = 0;
    size_t high = index->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(index->entries[middle].tensor, tensor);
        if (order == 0) {
            return &index->entries[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

/* A shard that is not as recorded was held against the manifest already, tensor by tensor. */
static bool is_held_against_index(const struct judge *judge, const struct table_file *file, int kind)
{
    return file != NULL && file->view != NULL && file->is_indexed[kind] &&
           !(is_judged(judge, file) && !table_file_is_as_claimed(file));
}

static enum llavamed_status judge_indexed(struct judge *judge, const struct table_file *file, int kind,
                                          struct llavamed_error *error)
{
    const struct shard_index *index = &judge->records->indices[kind];
    const char *index_name = records_index_names[kind];
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < file->view->set.n_tensors; i++) {
        status = stop_signal_check(judge->stop_signal, error);
        const struct held_tensor held = held_at(file, i);
        const struct shard_index_entry *entry = find_entry(index, held.tensor->name);
        const struct finding_place place = blame(file, index_name, held.tensor->name, held.place->offset);
        if (entry == NULL) {
            findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_EXTRA, &place,
                         "is in %.255s, and %s does not name it", file->name, index_name);
        } else if (strcmp(index->files[entry->file], file->name) != 0) {
            findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_PLACE, &place,
                         "is in another file than %s says (got %.255s, want %.255s)", index_name, file->name,
                         index->files[entry->file]);
        }
    }
    return status;
}

static enum llavamed_status judge_entries(struct judge *judge, int kind, struct llavamed_error *error)
{
    const struct shard_index *index = &judge->records->indices[kind];
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < index->n_entries; i++) {
        status = stop_signal_check(judge->stop_signal, error);
        const struct shard_index_entry *entry = &index->entries[i];
        const struct table_file *file = file_table_find(judge->table, index->files[entry->file]);
        if (is_held_against_index(judge, file, kind) &&
            tensor_set_find(&file->view->set, entry->tensor) == TENSOR_NOT_FOUND) {
            const struct finding_place place = blame(file, records_index_names[kind], entry->tensor, 0);
            findings_add(judge->findings, LLAVAMED_FINDING_TENSOR_MISSING, &place, "is not in %.255s, where %s has it",
                         file->name, records_index_names[kind]);
        }
    }
    return status;
}

/* Against one index, if there is one. */
static enum llavamed_status judge_index(struct judge *judge, int kind, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < judge->table->n_files; i++) {
        if (is_held_against_index(judge, &judge->table->files[i], kind)) {
            status = judge_indexed(judge, &judge->table->files[i], kind, error);
        }
    }
    return status == LLAVAMED_OK ? judge_entries(judge, kind, error) : status;
}

enum llavamed_status judge_tensors(struct judge *judge, struct llavamed_error *error)
{
    const struct file_table *table = judge->table;
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < judge->records->manifest.n_tensors; i++) {
        judge->records->manifest.tensors[i].is_wrong = true; /* unless it is found to be right */
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < table->n_files; i++) {
        status = stop_signal_check(judge->stop_signal, error);
        if (is_judged(judge, &table->files[i])) {
            mark_tensors(judge, &table->files[i]);
        }
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < table->n_files; i++) {
        const struct table_file *file = &table->files[i];
        size_t n = is_judged(judge, file) ? file->view->set.n_tensors : 0;
        for (size_t k = 0; status == LLAVAMED_OK && k < n; k++) {
            const struct held_tensor held = held_at(file, k);
            judge_tensor(judge, &held);
            status = stop_signal_check(judge->stop_signal, error);
        }
    }
    if (status == LLAVAMED_OK) {
        status = judge_missing(judge, error);
    }
    for (int kind = 0; status == LLAVAMED_OK && kind < INDEX_KINDS; kind++) {
        status = judge_index(judge, kind, error);
    }
    return status;
}
