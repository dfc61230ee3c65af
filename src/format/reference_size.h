/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes as shard_checkpoint() of transformers 4.28 adds them up. dtype_byte_size() there says that a bool takes 1/8:
 * numel * 1/8 is a float of Python's, and from the first bool on a sum is one too, a double that is rounded at each
 * addition. Until then it is an exact integer. A limit, always an integer, is compared exactly with either. No LLaMA
 * has bools; where there are some, these numbers decide where shards are cut and what "total_size" says.
 */
#ifndef FORMAT_REFERENCE_SIZE_H
#define FORMAT_REFERENCE_SIZE_H

#include "core/buffer.h"
#include "tensor/tensor.h"

/* A sum of sizes; zeroed it is the integer 0. */
struct reference_size {
    bool is_float;
    uint64_t integer; /* while it is one; UINT64_MAX for anything above */
    double real;      /* once is_float */
};

/* `sum` with the size of one more tensor, of a dtype of whole bytes. */
struct reference_size reference_size_plus(struct reference_size sum, const struct tensor *tensor);

bool reference_size_above(const struct reference_size *size, uint64_t limit);

/* As Python's json writes it: "13476839424", "13476839424.125", "3.0", "1e+16". */
void reference_size_write(struct buffer *out, const struct reference_size *size);

#endif
