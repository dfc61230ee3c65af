/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/document_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "io/directory.h"
#include "io/output_file.h"

/* Most text between two flushes: a line of a manifest or a whole shard index. */
#define TEXT_BYTES_MAX ((size_t)1 << 30)

struct document_file {
    struct output_file *file;
    struct sha256_stream *sha256;
    char *name;
    struct buffer text;
    uint64_t n_bytes;
};

void document_list_deinit(struct document_list *list)
{
    for (size_t i = 0; i < list->n_entries; i++) {
        free(list->entries[i].name);
    }
    free(list->entries);
    *list = (struct document_list){0};
}

/* Takes over the name on success. */
static enum llavamed_status list_add(struct document_list *list, const struct document_entry *entry,
                                     struct llavamed_error *error)
{
    if (list->n_entries == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct document_entry *entries = realloc(list->entries, capacity * sizeof *entries);
        if (entries == NULL) {
            return llavamed_fail_memory(error, capacity * sizeof *entries, "the list of documents");
        }
        list->entries = entries;
        list->capacity = capacity;
    }
    list->entries[list->n_entries++] = *entry;
    return LLAVAMED_OK;
}

enum llavamed_status document_create(const struct document_place *place, const char *name, struct document_file **out,
                                     struct llavamed_error *error)
{
    enum llavamed_status status;
    char *path = path_join(place->directory, name);
    struct document_file *made = calloc(1, sizeof *made);
    if (made != NULL) {
        buffer_init(&made->text, TEXT_BYTES_MAX);
        made->name = strdup(name);
    }
    if (path == NULL || made == NULL || made->name == NULL) {
        status = llavamed_fail_memory(error, strlen(place->directory) + strlen(name), "a document");
        goto out;
    }
    status = stop_signal_check(place->stop_signal, error); /* syncing the one before may have taken long */
    if (status == LLAVAMED_OK) {
        status = sha256_create(&made->sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = run_guard_confirm(place->guard, error);
    }
    if (status == LLAVAMED_OK) {
        status = output_file_create(path, 0, false, &made->file, error);
    }
    if (status == LLAVAMED_OK) {
        *out = made;
        made = NULL;
    }
out:
    document_close(made);
    free(path);
    return status;
}

void document_close(struct document_file *document)
{
    if (document != NULL) {
        output_file_close(document->file);
        sha256_free(document->sha256);
        buffer_deinit(&document->text);
        free(document->name);
        free(document);
    }
}

struct buffer *document_text(struct document_file *document)
{
    return &document->text;
}

static enum llavamed_status put(struct document_file *document, const void *bytes, size_t n_bytes,
                                struct llavamed_error *error)
{
    enum llavamed_status status = sha256_update(document->sha256, bytes, n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = output_file_write(document->file, document->n_bytes, bytes, n_bytes, error);
    }
    if (status == LLAVAMED_OK) {
        document->n_bytes += n_bytes;
    }
    return status;
}

enum llavamed_status document_flush(struct document_file *document, struct llavamed_error *error)
{
    struct buffer *text = &document->text;
    if (text->n_bytes == 0 && !text->failed) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = buffer_status(text, document->name, error);
    if (status == LLAVAMED_OK) {
        status = put(document, text->data, text->n_bytes, error);
    }
    buffer_deinit(text);
    return status;
}

enum llavamed_status document_write(struct document_file *document, const void *bytes, size_t n_bytes,
                                    struct llavamed_error *error)
{
    enum llavamed_status status = document_flush(document, error);
    return status == LLAVAMED_OK ? put(document, bytes, n_bytes, error) : status;
}

enum llavamed_status document_finish(struct document_file *document, enum document_origin origin,
                                     struct document_list *list, struct llavamed_error *error)
{
    struct document_entry entry = {.origin = origin};
    enum llavamed_status status = document_flush(document, error);
    if (status == LLAVAMED_OK) {
        status = sha256_finish(document->sha256, entry.sha256, error);
    }
    if (status == LLAVAMED_OK) {
        status = output_file_finish(document->file, error);
        document->file = NULL;
    }
    if (status == LLAVAMED_OK) {
        entry.name = document->name;
        entry.n_bytes = document->n_bytes;
        status = list_add(list, &entry, error);
    }
    if (status == LLAVAMED_OK) {
        document->name = NULL;
    }
    document_close(document);
    return status;
}
