/* SPDX-License-Identifier: Apache-2.0 */
/* Reading elements that lie together in a file and apart in memory. */
#include "core/phase.h"
#include "integrity/crc32.h"
#include "source/weights.h"

/* A view's elements are gathered anyway, so each piece is a read of its own. */
static enum llavamed_status read_view_pieces(struct weights *weights, const struct weights_pieces *wanted,
                                             struct llavamed_error *error)
{
    size_t element_bytes = dtype_bytes(weights->set->tensors[wanted->tensor].dtype);
    struct source_run run = {.tensor = wanted->tensor, .first_elem = wanted->first_elem};
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < wanted->n_pieces; i++) {
        run.n_elems = wanted->pieces[i].iov_len / element_bytes;
        status = weights_read(weights, &run, wanted->pieces[i].iov_base, NULL, error);
        run.first_elem += run.n_elems;
    }
    return status;
}

static void append_note(struct source_notes *notes, const struct source_note *where,
                        const struct weights_pieces *wanted)
{
    struct source_note *note = &notes->notes[notes->n_notes++];
    *note = *where;
    enum llavamed_phase before = phase_change(LLAVAMED_PHASE_CRC32); /* once for all pieces, which may be small */
    for (size_t i = 0; i < wanted->n_pieces; i++) {
        note->crc32 = crc32_update(note->crc32, wanted->pieces[i].iov_base, wanted->pieces[i].iov_len);
    }
    (void)phase_change(before);
}

enum llavamed_status weights_read_pieces(struct weights *weights, const struct weights_pieces *wanted,
                                         struct source_notes *notes, struct llavamed_error *error)
{
    const struct weights_span *span = &weights->spans[wanted->tensor];
    if (span->view != WEIGHTS_NO_VIEW) {
        return read_view_pieces(weights, wanted, error);
    }
    uint64_t offset = span->offset + wanted->first_elem * dtype_bytes(weights->set->tensors[wanted->tensor].dtype);
    enum llavamed_status status = input_file_read_pieces(weights->files[span->file].file, offset, wanted->pieces,
                                                         wanted->n_pieces, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < wanted->n_pieces; i++) {
        n_bytes += wanted->pieces[i].iov_len;
    }
    atomic_fetch_add_explicit(&weights->bytes_read, n_bytes, memory_order_relaxed);
    if (notes != NULL && notes->n_notes < SOURCE_NOTES_MAX && span->record != WEIGHTS_NO_RECORD &&
        weights->check_crc && weights->records[span->record].has_crc) {
        const struct source_note where = {
            .record = span->record,
            .offset = offset - weights->records[span->record].offset,
            .n_bytes = n_bytes,
        };
        append_note(notes, &where, wanted);
    }
    return LLAVAMED_OK;
}

/* ---- Shares ---- */

void weights_take_files(struct weights *weights, const bool *files)
{
    for (size_t i = 0; i < weights->n_records; i++) {
        weights->records[i].is_others = !files[weights->records[i].file];
    }
}

void weights_take_record(struct weights *weights, size_t tensor, bool takes)
{
    size_t record = weights->spans[tensor].record;
    if (record != WEIGHTS_NO_RECORD && weights->records[record].key != NULL) {
        weights->records[record].is_others = !takes;
    }
}
