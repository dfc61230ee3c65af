/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over all elements of a source: every tensor is brought to one worker, from its first element to its last,
 * and several tensors at a time to several workers. What is done with the elements is the caller's.
 */
#ifndef INSPECT_TENSOR_PASS_H
#define INSPECT_TENSOR_PASS_H

#include "source/source.h"

/* The least memory that a pass takes, for one worker. */
#define TENSOR_PASS_BYTES_MIN 65536

struct tensor_pass {
    struct source *source;
    unsigned n_threads;              /* workers wanted, at least one; numbered from 0 */
    uint64_t max_memory_bytes;       /* of all buffers together */
    const volatile int *stop_signal; /* may be NULL */
    const struct llavamed_observer *observer; /* may be NULL */
    const char *check;                        /* as in struct llavamed_progress; static */

    void *state; /* given to every call */
    /* May be NULL: source_grain() of the tensor. Else what is to be read at once, as that has it. On any thread. */
    uint64_t (*grain)(void *state, size_t tensor);
    /*
     * On the worker's thread. For each tensor begin() once, feed() for all its elements in order, some at a time and
     * none for a tensor that has none, and end(). A worker has one tensor at a time. After a failure there is no end().
     */
    enum llavamed_status (*begin)(void *state, unsigned worker, size_t tensor, struct llavamed_error *error);
    enum llavamed_status (*feed)(void *state, unsigned worker, const void *elems, size_t n_bytes,
                                 struct llavamed_error *error);
    enum llavamed_status (*end)(void *state, unsigned worker, size_t tensor, struct llavamed_error *error);
};

/*
 * How many workers the pass will have: fewer than wanted where memory, tensors or streams are too few.
 * MEMORY_TOO_SMALL below TENSOR_PASS_BYTES_MIN.
 */
enum llavamed_status tensor_pass_workers(const struct tensor_pass *pass, unsigned *n_workers,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The pass, with at most n_workers of tensor_pass_workers(), and source_finish() behind it. INPUT_UNSUPPORTED for a
 * tensor whose dtype is not of whole bytes; what reading gives; INTERRUPTED.
 */
enum llavamed_status tensor_pass_run(const struct tensor_pass *pass, unsigned n_workers,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
