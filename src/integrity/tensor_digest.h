/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of tensors and of whole models, which do not depend on the files that the tensors are in: docs/digests.md is
 * their definition, and it does not change.
 *
 *     tensor = SHA-256("DTYPE [D0,D1,...]\n", then the elements, row-major and little-endian)
 *     model  = SHA-256(for each tensor, sorted by the bytes of its name: its digest in lower-case hex, two blanks, its
 *                      name, a byte of 0)
 */
#ifndef INTEGRITY_TENSOR_DIGEST_H
#define INTEGRITY_TENSOR_DIGEST_H

#include "integrity/digest.h"

/*
 * A stream that has taken what comes before the elements; they are for the caller to give it, in order, and
 * sha256_finish() gives the digest. `dtype` is the name as safetensors spells it, rank at most TENSOR_DIGEST_RANK_MAX.
 * What sha256_create() gives.
 */
#define TENSOR_DIGEST_RANK_MAX 16
enum llavamed_status tensor_digest_begin(const char *dtype, const uint64_t *shape, unsigned rank,
                                         struct sha256_stream **out, struct llavamed_error *error) LLAVAMED_CHECK;

struct tensor_digest {
    const char *name;
    const char *hex; /* lower case */
};

/* In ascending order of the bytes of the names. */
void tensor_digests_sort(struct tensor_digest *tensors, size_t n);

/* Of tensors in ascending order of the bytes of their names (strcmp()), none twice. */
enum llavamed_status model_digest_of(const struct tensor_digest *tensors, size_t n, char hex[SHA256_HEX_BYTES],
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
