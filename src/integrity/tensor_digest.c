/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/tensor_digest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/sort.h"

/* A dtype's name, and 20 digits and a comma for each dimension. */
#define HEAD_BYTES (64 + 21 * TENSOR_DIGEST_RANK_MAX)

enum llavamed_status tensor_digest_begin(const char *dtype, const uint64_t *shape, unsigned rank,
                                         struct sha256_stream **out, struct llavamed_error *error)
{
    char head[HEAD_BYTES];
    assert(rank <= TENSOR_DIGEST_RANK_MAX && strlen(dtype) < 32);
    int used = snprintf(head, sizeof head, "%s [", dtype);
    for (unsigned i = 0; i < rank; i++) {
        used += snprintf(head + used, sizeof head - (size_t)used, "%s%llu", i == 0 ? "" : ",",
                         (unsigned long long)shape[i]);
    }
    used += snprintf(head + used, sizeof head - (size_t)used, "]\n");
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = sha256_create(&stream, error);
    if (status == LLAVAMED_OK) {
        status = sha256_update(stream, head, (size_t)used, error);
    }
    if (status == LLAVAMED_OK) {
        *out = stream;
    } else {
        sha256_free(stream);
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    const struct tensor_digest *tensor_a = a;
    const struct tensor_digest *tensor_b = b;
    return strcmp(tensor_a->name, tensor_b->name);
}

void tensor_digests_sort(struct tensor_digest *tensors, size_t n)
{
    sort_array(tensors, n, sizeof *tensors, compare_names);
}

static enum llavamed_status add_tensors(struct sha256_stream *stream, const struct tensor_digest *tensors, size_t n,
                                        struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < n; i++) {
        assert(strlen(tensors[i].hex) == SHA256_HEX_BYTES - 1);
        assert(i == 0 || strcmp(tensors[i - 1].name, tensors[i].name) < 0);
        status = sha256_update(stream, tensors[i].hex, SHA256_HEX_BYTES - 1, error);
        if (status == LLAVAMED_OK) {
            status = sha256_update(stream, "  ", 2, error);
        }
        if (status == LLAVAMED_OK) {
            status = sha256_update(stream, tensors[i].name, strlen(tensors[i].name) + 1, error);
        }
    }
    return status;
}

enum llavamed_status model_digest_of(const struct tensor_digest *tensors, size_t n, char hex[SHA256_HEX_BYTES],
                                     struct llavamed_error *error)
{
    struct sha256_stream *stream = NULL;
    enum llavamed_status status = sha256_create(&stream, error);
    if (status == LLAVAMED_OK) {
        status = add_tensors(stream, tensors, n, error);
    }
    if (status == LLAVAMED_OK) {
        status = sha256_finish(stream, hex, error);
    }
    sha256_free(stream);
    return status;
}
