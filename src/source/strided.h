/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of a view whose strides are not those of its shape (a transposed, sliced or expanded tensor that torch saved
 * with the whole storage), in row-major order. Each read goes through a bounce buffer of STRIDED_BOUNCE_BYTES on the
 * stack: small enough for any thread's, and a larger one is not faster (docs/benchmark.md).
 */
#ifndef SOURCE_STRIDED_H
#define SOURCE_STRIDED_H

#include "io/input_file.h"
#include "tensor/tensor.h"

#define STRIDED_BOUNCE_BYTES 32768

/* Bytes between two wanted runs that are rather read over than skipped by a second system call: a page. */
#define STRIDED_GAP_BYTES 4096

/*
 * How large views may make a file. A stride of 0 lets a few bytes be a tensor of any size, and any number of views may
 * share a storage; both are bombs once they are written out. Real checkpoints repeat a storage once or twice.
 */
#define STRIDED_RATIO_MAX 16
#define STRIDED_FREE_BYTES 1048576 /* small tensors may be repeated more often than that */

struct strided_view {
    unsigned rank;
    uint64_t shape[TENSOR_RANK_MAX];   /* elements, none of them 0 or 1; neighbours that are one run are joined */
    uint64_t strides[TENSOR_RANK_MAX]; /* elements of the storage */
    uint64_t offset;                   /* of the view's first element, bytes in the file */
    size_t elem_bytes;
};

/* Whether a view of n_bytes is no more than a storage (or file) of stored_bytes may be repeated to. */
bool strided_size_is_sane(uint64_t n_bytes, uint64_t stored_bytes);

/*
 * Fills *view from a tensor with elements, of whole bytes. strides are in elements, as many as the tensor has
 * dimensions; all its elements must lie in the file.
 */
void strided_view_init(struct strided_view *view, const struct tensor *tensor, const uint64_t *strides,
                       uint64_t offset);

/*
 * How many elements are best read at once (source_grain()): 1, or one index of the dimensions before the outermost one
 * that lies closer together in the file than one inside it. A range of whole rows of a transposed matrix is one run of
 * the file for each column, as long as the range has rows.
 */
uint64_t strided_grain(const struct strided_view *view);

/*
 * A read of elements [first_elem, first_elem + n_elems) of the view, which must lie inside it. Thread-safe on one file
 * and view. What input_file_read() gives.
 */
struct strided_read {
    struct input_file *file; /* borrowed */
    const struct strided_view *view;
    uint64_t first_elem;
    uint64_t n_elems;
    void *buffer;        /* n_elems elements */
    uint64_t bytes_read; /* out: from the file, gaps and repetitions included; also after an error */
};
enum llavamed_status strided_read(struct strided_read *read, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
