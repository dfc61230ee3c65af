/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of elements in row-major order is cut into boxes (at most two for each dimension): fixed indices in the outer
 * dimensions, a range in one, all of the inner ones. A box is read in the order in which it lies in the file: its
 * dimensions by ascending stride, as many of them per read as fit the bounce buffer, from which the elements are
 * gathered into the result.
 *
 * Runs that lie close together are read in one call, gaps included. Others are read one by one: reading gaps larger
 * than a page would multiply what comes from the disk, and a run of a transposed matrix is as long as the range has
 * rows, so that the number of calls stays in proportion to the bytes.
 */
#include "source/strided.h"

#include <assert.h>
#include <string.h>

#include "core/checked.h"

/* From this length on a run is read to its place instead of being copied there. */
#define DIRECT_BYTES_MIN 4096

/* Dimensions with their strides in the file and in the result, in elements. */
struct dims {
    unsigned rank;
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t from[TENSOR_RANK_MAX];
    uint64_t to[TENSOR_RANK_MAX];
};

struct box {
    struct dims dims;
    uint64_t offset; /* of its first element, bytes in the file */
    uint8_t *to;     /* where that goes */
};

/* What one filling of the bounce buffer covers: dims 0 to `split`, of the last one `chunk` indices. */
struct block {
    unsigned split;
    uint64_t chunk;
    uint64_t run_elems; /* from the first to the last element of dims 0 to split - 1, in the file */
    bool bridged;       /* all in one run, instead of one run for each index of `split` */
    struct dims dims;   /* `from` is in the bounce buffer */
};

struct reader {
    struct strided_read *read;
    uint8_t *bounce;
    struct llavamed_error *error;
};

bool strided_size_is_sane(uint64_t n_bytes, uint64_t stored_bytes)
{
    return n_bytes <= STRIDED_FREE_BYTES || n_bytes / STRIDED_RATIO_MAX <= stored_bytes;
}

void strided_view_init(struct strided_view *view, const struct tensor *tensor, const uint64_t *strides, uint64_t offset)
{
    memset(view, 0, sizeof *view);
    view->offset = offset;
    view->elem_bytes = dtype_bytes(tensor->dtype);
    for (unsigned i = 0; i < tensor->rank; i++) {
        uint64_t size = tensor->shape[i];
        unsigned last = view->rank - 1;
        if (size == 1) {
            continue;
        }
        /* Inside a storage, so the product cannot overflow unless the stride is meaningless. */
        uint64_t outer = 0;
        if (view->rank > 0 && checked_mul_u64(size, strides[i], &outer) && view->strides[last] == outer) {
            view->shape[last] *= size;
            view->strides[last] = strides[i];
            continue;
        }
        view->shape[view->rank] = size;
        view->strides[view->rank++] = strides[i];
    }
}

uint64_t strided_grain(const struct strided_view *view)
{
    uint64_t n_elems = 1; /* of the dimensions from i on */
    uint64_t grain = 1;
    uint64_t widest = 0;
    for (unsigned i = view->rank; i > 0; i--) {
        n_elems *= view->shape[i - 1];
        if (view->strides[i - 1] < widest) {
            grain = n_elems;
        }
        widest = max_u64(widest, view->strides[i - 1]);
    }
    return grain;
}

/* The next index of dimensions `first` and up, the first of them fastest; false after the last. */
static bool advance(const struct dims *dims, unsigned first, uint64_t index[TENSOR_RANK_MAX])
{
    for (unsigned i = first; i < dims->rank; i++) {
        if (++index[i] < dims->shape[i]) {
            return true;
        }
        index[i] = 0;
    }
    return false;
}

static uint64_t place(const uint64_t *strides, const uint64_t *index, unsigned first, unsigned rank)
{
    uint64_t sum = 0;
    for (unsigned i = first; i < rank; i++) {
        sum += index[i] * strides[i];
    }
    return sum;
}

/* Sorts by ascending `key`, which is dims->from or dims->to. */
static void sort_dims(struct dims *dims, const uint64_t *key)
{
    for (unsigned i = 1; i < dims->rank; i++) {
        for (unsigned j = i; j > 0 && key[j] < key[j - 1]; j--) {
            uint64_t *const arrays[] = {dims->shape, dims->from, dims->to};
            for (size_t k = 0; k < sizeof arrays / sizeof arrays[0]; k++) {
                uint64_t swapped = arrays[k][j];
                arrays[k][j] = arrays[k][j - 1];
                arrays[k][j - 1] = swapped;
            }
        }
    }
}

static enum llavamed_status fetch(struct reader *reader, uint64_t offset, void *buffer, uint64_t n_elems)
{
    size_t n_bytes = (size_t)n_elems * reader->read->view->elem_bytes;
    reader->read->bytes_read += n_bytes;
    return input_file_read_near(reader->read->file, offset, buffer, n_bytes, reader->error);
}

/* ---- Gathering ---- */

static void copy_elems(uint8_t *to, size_t to_step, const uint8_t *from, size_t from_step, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i * to_step] = from[i * from_step];
    }
}

/* n elements, steps in bytes. Each size has its own loop: memcpy of a constant size is a load and a store. */
static void copy_run(uint8_t *to, size_t to_step, const uint8_t *from, size_t from_step, size_t n, size_t elem_bytes)
{
    if (to_step == elem_bytes && from_step == elem_bytes) {
        memcpy(to, from, n * elem_bytes);
        return;
    }
    switch (elem_bytes) {
    case 1:
        copy_elems(to, to_step, from, from_step, n);
        break;
    case 2:
        for (size_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, 2);
        }
        break;
    case 4:
        for (size_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, 4);
        }
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, elem_bytes);
        }
        break;
    }
}

/* From the bounce buffer to the result, in the order of the result. */
static void gather(const struct dims *block, const uint8_t *bounce, uint8_t *to, size_t elem_bytes)
{
    struct dims dims = *block;
    uint64_t index[TENSOR_RANK_MAX] = {0};
    sort_dims(&dims, dims.to);
    do {
        uint64_t from = place(dims.from, index, 1, dims.rank);
        uint64_t at = place(dims.to, index, 1, dims.rank);
        copy_run(to + (size_t)at * elem_bytes, (size_t)dims.to[0] * elem_bytes, bounce + (size_t)from * elem_bytes,
                 (size_t)dims.from[0] * elem_bytes, (size_t)dims.shape[0], elem_bytes);
    } while (advance(&dims, 1, index));
}

/* ---- Boxes ---- */

/* Whether the box is runs that are as contiguous in the result as they are in the file, and worth a call each. */
static bool is_direct(const struct dims *dims, size_t elem_bytes)
{
    assert(dims->rank > 0);
    if (dims->from[0] != 1 || dims->to[0] != 1) {
        return false;
    }
    uint64_t gap_elems = STRIDED_GAP_BYTES / elem_bytes;
    return dims->rank == 1 ||
           (dims->from[1] > dims->shape[0] + gap_elems && dims->shape[0] >= DIRECT_BYTES_MIN / elem_bytes);
}

static enum llavamed_status read_direct(struct reader *reader, const struct box *box)
{
    const struct dims *dims = &box->dims;
    size_t elem_bytes = reader->read->view->elem_bytes;
    uint64_t index[TENSOR_RANK_MAX] = {0};
    enum llavamed_status status;
    do {
        uint64_t from = place(dims->from, index, 1, dims->rank);
        uint64_t to = place(dims->to, index, 1, dims->rank);
        status = fetch(reader, box->offset + from * elem_bytes, box->to + (size_t)to * elem_bytes, dims->shape[0]);
    } while (status == LLAVAMED_OK && advance(dims, 1, index));
    return status;
}

/* Plans how much of a box, whose dimensions are sorted by their strides in the file, fits one filling. */
static void plan_block(const struct dims *dims, size_t elem_bytes, struct block *block)
{
    uint64_t room_elems = STRIDED_BOUNCE_BYTES / elem_bytes;
    uint64_t gap_elems = STRIDED_GAP_BYTES / elem_bytes;
    *block = (struct block){.run_elems = 1};
    for (unsigned i = 0; i < dims->rank; i++) {
        uint64_t stride = dims->from[i];
        block->split = i;
        block->bridged = stride <= block->run_elems + gap_elems;
        block->dims.shape[i] = dims->shape[i];
        block->dims.to[i] = dims->to[i];
        block->dims.from[i] = block->bridged ? stride : block->run_elems;
        block->dims.rank = i + 1;
        if (!block->bridged) {
            assert(block->run_elems > 0);
            block->chunk = min_u64(dims->shape[i], room_elems / block->run_elems);
            return;
        }
        block->chunk = stride == 0 ? dims->shape[i]
                                   : min_u64(dims->shape[i], (room_elems - block->run_elems) / stride + 1);
        if (block->chunk < dims->shape[i] || i + 1 == dims->rank) {
            return;
        }
        block->run_elems += (dims->shape[i] - 1) * stride;
    }
}

/* Fills the bounce buffer with n indices of the split dimension from `offset` on. */
static enum llavamed_status fill(struct reader *reader, const struct block *block, uint64_t offset, uint64_t stride,
                                 uint64_t n)
{
    if (block->bridged) {
        return fetch(reader, offset, reader->bounce, block->run_elems + (n - 1) * stride);
    }
    size_t elem_bytes = reader->read->view->elem_bytes;
    enum llavamed_status status = LLAVAMED_OK;
    for (uint64_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        status = fetch(reader, offset + i * stride * elem_bytes,
                       reader->bounce + (size_t)(i * block->run_elems) * elem_bytes, block->run_elems);
    }
    return status;
}

static enum llavamed_status read_box(struct reader *reader, struct box *box)
{
    struct dims *dims = &box->dims;
    size_t elem_bytes = reader->read->view->elem_bytes;
    struct block block;
    uint64_t index[TENSOR_RANK_MAX] = {0};
    sort_dims(dims, dims->from);
    if (is_direct(dims, elem_bytes)) {
        return read_direct(reader, box);
    }
    plan_block(dims, elem_bytes, &block);
    unsigned split = block.split;
    do {
        uint64_t from = place(dims->from, index, split + 1, dims->rank);
        uint64_t to = place(dims->to, index, split + 1, dims->rank);
        for (uint64_t at = 0; at < dims->shape[split]; at += block.chunk) {
            uint64_t n = min_u64(block.chunk, dims->shape[split] - at);
            uint64_t offset = box->offset + (from + at * dims->from[split]) * elem_bytes;
            enum llavamed_status status = fill(reader, &block, offset, dims->from[split], n);
            if (status != LLAVAMED_OK) {
                return status;
            }
            block.dims.shape[split] = n;
            gather(&block.dims, reader->bounce, box->to + (size_t)(to + at * dims->to[split]) * elem_bytes,
                   elem_bytes);
        }
    } while (advance(dims, split + 1, index));
    return LLAVAMED_OK;
}

/* The largest box that begins at element `first` and has no more than n elements; returns how many it has. */
static uint64_t next_box(const struct strided_view *view, uint64_t first, uint64_t n, struct box *box)
{
    uint64_t inner = 1; /* elements of one index of dimension i */
    uint64_t sizes[TENSOR_RANK_MAX] = {0};
    for (unsigned i = view->rank; i > 0; i--) {
        sizes[i - 1] = inner;
        inner *= view->shape[i - 1];
    }
    box->dims.rank = 0;
    box->offset = view->offset;
    uint64_t n_elems = 1;
    for (unsigned i = 0; i < view->rank; i++) {
        uint64_t index = first / sizes[i];
        bool whole = box->dims.rank > 0;
        box->offset += index * view->strides[i] * view->elem_bytes;
        if (!whole && (first % sizes[i] != 0 || n < sizes[i])) {
            first -= index * sizes[i];
            continue;
        }
        unsigned at = box->dims.rank++;
        box->dims.shape[at] = whole ? view->shape[i] : min_u64(view->shape[i] - index, n / sizes[i]);
        box->dims.from[at] = view->strides[i];
        box->dims.to[at] = sizes[i];
        n_elems *= box->dims.shape[at];
        first = 0;
    }
    return n_elems;
}

enum llavamed_status strided_read(struct strided_read *read, struct llavamed_error *error)
{
    const struct strided_view *view = read->view;
    uint8_t bounce[STRIDED_BOUNCE_BYTES];
    struct reader reader = {.read = read, .bounce = bounce, .error = error};
    read->bytes_read = 0;
    if (view->rank == 0 || read->n_elems == 0) {
        return fetch(&reader, view->offset, read->buffer, read->n_elems);
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (uint64_t done = 0; status == LLAVAMED_OK && done < read->n_elems;) {
        struct box box;
        uint64_t n = next_box(view, read->first_elem + done, read->n_elems - done, &box);
        box.to = (uint8_t *)read->buffer + (size_t)done * view->elem_bytes;
        status = read_box(&reader, &box);
        done += n;
    }
    return status;
}
