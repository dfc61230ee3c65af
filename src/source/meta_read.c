/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of a whole tensor, out of its shards and straight into the caller's buffer. A range is cut into pieces that
 * lie together both in a shard and in memory; pieces that follow each other in the shard make one scattered read:
 *
 *     rows        a run of the range is a run of a shard
 *     columns     for each shard, the columns it holds of each row of the range: one run of the shard
 *     rotary      for each head, its rows in the shard's order: one run as long as the range holds the whole head.
 *                 With c = 0, 1 and j below half a head, row c * half + j of a head here is its row 2 * j + c there
 *                 (transformers' convert_llama_weights_to_hf.py, permute())
 */
#include <assert.h>

#include "core/checked.h"
#include "source/meta_parts.h"

/* As many as one system call takes. */
#define PIECES_MAX 1024

/* What a system call costs is lost in a copy of this length. */
#define RUN_BYTES_GOOD 65536

/* Pieces that wait to be read; together they are elements [first_elem, first_elem + n_elems) of a part. */
struct gather {
    struct weights *weights;
    size_t element_bytes;
    size_t part;
    uint64_t first_elem;
    uint64_t n_elems;
    struct source_notes *notes; /* may be NULL */
    size_t n_pieces;
    struct iovec pieces[PIECES_MAX];
};

/* The range that is wanted, of a matrix with this many columns. */
struct range {
    uint64_t first;
    uint64_t end;
    uint64_t n_columns;
    uint8_t *buffer; /* of element `first` */
};

static enum llavamed_status gather_flush(struct gather *gather, struct llavamed_error *error)
{
    if (gather->n_pieces == 0) {
        return LLAVAMED_OK;
    }
    const struct weights_pieces wanted = {gather->part, gather->first_elem, gather->pieces, gather->n_pieces};
    gather->n_pieces = 0;
    return weights_read_pieces(gather->weights, &wanted, gather->notes, error);
}

static enum llavamed_status gather_add(struct gather *gather, size_t part, uint64_t first_elem, uint64_t n_elems,
                                       uint8_t *to, struct llavamed_error *error)
{
    size_t n_bytes = (size_t)n_elems * gather->element_bytes;
    bool follows = gather->n_pieces > 0 && part == gather->part && first_elem == gather->first_elem + gather->n_elems;
    if (follows) {
        struct iovec *last = &gather->pieces[gather->n_pieces - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == to) {
            last->iov_len += n_bytes;
            gather->n_elems += n_elems;
            return LLAVAMED_OK;
        }
    }
    enum llavamed_status status = LLAVAMED_OK;
    if (!follows || gather->n_pieces == PIECES_MAX) {
        status = gather_flush(gather, error);
        gather->part = part;
        gather->first_elem = first_elem;
        gather->n_elems = 0;
    }
    gather->pieces[gather->n_pieces++] = (struct iovec){.iov_base = to, .iov_len = n_bytes};
    gather->n_elems += n_elems;
    return status;
}

static enum llavamed_status read_rows(struct gather *gather, const struct meta_tensor *tensor,
                                      const struct range *range, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    uint64_t part_elems = gather->weights->set->tensors[tensor->parts[0]].n_elems;
    uint64_t at = range->first;
    while (status == LLAVAMED_OK && at < range->end) {
        uint64_t in_part = at % part_elems;
        uint64_t n = min_u64(range->end - at, part_elems - in_part);
        status = gather_add(gather, tensor->parts[at / part_elems], in_part, n,
                            range->buffer + (at - range->first) * gather->element_bytes, error);
        at += n;
    }
    return status;
}

static enum llavamed_status read_columns(struct gather *gather, const struct meta_tensor *tensor, size_t n_shards,
                                         const struct range *range, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    uint64_t width = range->n_columns / n_shards;
    for (size_t shard = 0; shard < n_shards; shard++) {
        for (uint64_t row = range->first / range->n_columns; row * range->n_columns < range->end; row++) {
            uint64_t begin = row * range->n_columns + shard * width;
            uint64_t low = max_u64(begin, range->first);
            uint64_t high = min_u64(begin + width, range->end);
            if (status == LLAVAMED_OK && low < high) {
                status = gather_add(gather, tensor->parts[shard], row * width + (low - begin), high - low,
                                    range->buffer + (low - range->first) * gather->element_bytes, error);
            }
        }
    }
    return status;
}

static enum llavamed_status read_rotary(struct gather *gather, const struct meta_tensor *tensor, uint64_t head_dim,
                                        const struct range *range, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    uint64_t part_rows = gather->weights->set->tensors[tensor->parts[0]].shape[0];
    uint64_t head_elems = head_dim * range->n_columns;
    for (uint64_t head = range->first / head_elems; head * head_elems < range->end; head++) {
        for (uint64_t i = 0; i < head_dim; i++) {
            uint64_t there = head * head_dim + i;
            uint64_t here = head * head_dim + i % 2 * (head_dim / 2) + i / 2;
            uint64_t begin = here * range->n_columns;
            uint64_t low = max_u64(begin, range->first);
            uint64_t high = min_u64(begin + range->n_columns, range->end);
            if (status == LLAVAMED_OK && low < high) {
                status = gather_add(gather, tensor->parts[there / part_rows],
                                    there % part_rows * range->n_columns + (low - begin), high - low,
                                    range->buffer + (low - range->first) * gather->element_bytes, error);
            }
        }
    }
    return status;
}

enum llavamed_status meta_read(void *state, const struct source_run *run, void *buffer, struct source_notes *notes,
                               struct llavamed_error *error)
{
    struct meta *meta = state;
    const struct meta_tensor *tensor = &meta->tensors[run->tensor];
    const struct range range = {run->first_elem, run->first_elem + run->n_elems, tensor->shape.n_columns, buffer};
    struct gather gather; /* the pieces are written before they are read: clearing them would cost 16 KiB a call */
    gather.notes = notes;
    gather.weights = &meta->weights;
    gather.element_bytes = dtype_bytes(meta->pieces.tensors[tensor->parts[0]].dtype);
    gather.n_pieces = 0;
    assert(gather.element_bytes > 0);
    enum llavamed_status status;
    if (tensor->shape.is_rotary) {
        status = read_rotary(&gather, tensor, meta->params.head_dim, &range, error);
    } else if (tensor->shape.join == META_JOIN_COLUMNS) {
        status = read_columns(&gather, tensor, meta->n_shards, &range, error);
    } else {
        status = read_rows(&gather, tensor, &range, error);
    }
    return status == LLAVAMED_OK ? gather_flush(&gather, error) : status;
}

void meta_note(void *state, const struct source_notes *notes)
{
    struct meta *meta = state;
    weights_note(&meta->weights, notes);
}

/*
 * Half a head would be every second row of the shard, each a call of its own. Of columns, every shard has its share in
 * a run of rows, one call each.
 */
uint64_t meta_grain(const void *state, size_t index)
{
    const struct meta *meta = state;
    const struct meta_tensor *tensor = &meta->tensors[index];
    const struct tensor *part = &meta->pieces.tensors[tensor->parts[0]];
    uint64_t n_columns = tensor->shape.n_columns;
    if (weights_grain(&meta->weights, tensor->parts[0]) > 1) {
        return UINT64_MAX;
    }
    if (tensor->shape.is_rotary) {
        return meta->params.head_dim * n_columns;
    }
    if (tensor->shape.join == META_JOIN_COLUMNS && meta->n_shards > 1) {
        return (RUN_BYTES_GOOD / (n_columns / meta->n_shards * dtype_bytes(part->dtype)) + 1) * n_columns;
    }
    return 1;
}
