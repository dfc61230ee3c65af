/* SPDX-License-Identifier: Apache-2.0 */
/* Reading elements that lie together in a file and apart in memory. */
#include "integrity/crc32.h"
#include "source/weights.h"

static void note_crc(struct weights *weights, struct weights_record *record, uint64_t offset,
                     const struct iovec *pieces, size_t n_pieces)
{
    uint32_t crc32 = 0;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        crc32 = crc32_update(crc32, pieces[i].iov_base, pieces[i].iov_len);
        n_bytes += pieces[i].iov_len;
    }
    (void)pthread_mutex_lock(&weights->mutex);
    record_crc_note(&record->seen, offset, n_bytes, crc32);
    (void)pthread_mutex_unlock(&weights->mutex);
}

/* A view's elements are gathered anyway, so each piece is a read of its own. */
static enum llavamed_status read_view_pieces(struct weights *weights, size_t index, uint64_t first_elem,
                                             const struct iovec *pieces, size_t n_pieces, struct llavamed_error *error)
{
    size_t element_bytes = dtype_bytes(weights->set->tensors[index].dtype);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_pieces; i++) {
        uint64_t n_elems = pieces[i].iov_len / element_bytes;
        status = weights_read(weights, index, first_elem, n_elems, pieces[i].iov_base, error);
        first_elem += n_elems;
    }
    return status;
}

enum llavamed_status weights_read_pieces(struct weights *weights, size_t index, uint64_t first_elem,
                                         const struct iovec *pieces, size_t n_pieces, struct llavamed_error *error)
{
    const struct weights_span *span = &weights->spans[index];
    if (span->view != WEIGHTS_NO_VIEW) {
        return read_view_pieces(weights, index, first_elem, pieces, n_pieces, error);
    }
    uint64_t offset = span->offset + first_elem * dtype_bytes(weights->set->tensors[index].dtype);
    enum llavamed_status status =
        input_file_read_pieces(weights->files[span->file].file, offset, pieces, n_pieces, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        n_bytes += pieces[i].iov_len;
    }
    atomic_fetch_add_explicit(&weights->bytes_read, n_bytes, memory_order_relaxed);
    if (span->record != WEIGHTS_NO_RECORD && weights->check_crc && weights->records[span->record].has_crc) {
        struct weights_record *record = &weights->records[span->record];
        note_crc(weights, record, offset - record->offset, pieces, n_pieces);
    }
    return LLAVAMED_OK;
}
