/* SPDX-License-Identifier: Apache-2.0 */
/* One file of the result that is no shard: written in pieces, hashed on the way, and entered in a list. */
#ifndef MERGE_DOCUMENT_FILE_H
#define MERGE_DOCUMENT_FILE_H

#include "core/buffer.h"
#include "core/run_guard.h"
#include "integrity/digest.h"

/* Where a document's bytes come from, as the manifest tells it. */
enum document_origin {
    DOCUMENT_MADE,   /* by this program */
    DOCUMENT_COPIED, /* from the delta, or target, byte for byte */
    DOCUMENT_EDITED, /* from there, with a textual edit */
};

struct document_entry {
    char *name; /* owned */
    uint64_t n_bytes;
    char sha256[SHA256_HEX_BYTES];
    enum document_origin origin;
};

struct document_list {
    struct document_entry *entries; /* owned */
    size_t n_entries;
    size_t capacity;
};

void document_list_deinit(struct document_list *list);

struct document_file; /* opaque */

/* Where documents are made. */
struct document_place {
    const char *directory;
    const struct run_guard *guard; /* may be NULL: asked before a file is created */
    const volatile int *stop_signal; /* may be NULL: looked at before a file is created, and while one is copied */
};

/*
 * Creates DIRECTORY/NAME. *out is owned by the caller until _finish or _close. INTERRUPTED, and errors as
 * output_file_create().
 */
enum llavamed_status document_create(const struct document_place *place, const char *name, struct document_file **out,
                                     struct llavamed_error *error) LLAVAMED_CHECK;
void document_close(struct document_file *document); /* gives up; NULL is fine */

/* Text to append to; document_flush() writes what has come together, so that a long text takes little memory. */
struct buffer *document_text(struct document_file *document);
enum llavamed_status document_flush(struct document_file *document, struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes that are in memory elsewhere. Flushes first. */
enum llavamed_status document_write(struct document_file *document, const void *bytes, size_t n_bytes,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Flushes, fsyncs, closes and adds the file to the list. The document is gone afterwards, on failure too. */
enum llavamed_status document_finish(struct document_file *document, enum document_origin origin,
                                     struct document_list *list, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
