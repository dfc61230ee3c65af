/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/shard_digests.h"

#include <assert.h>
#include <stdlib.h>

#include "integrity/tensor_digest.h"

static enum llavamed_status begin(struct shard_digests *digests, size_t tensor, struct llavamed_error *error)
{
    const struct tensor *out = &digests->plan->tensors[tensor].out;
    digests->left_bytes = out->n_bytes;
    return tensor_digest_begin(dtype_name(out->dtype), out->shape, out->rank, &digests->stream, error);
}

static enum llavamed_status end(struct shard_digests *digests, size_t tensor, struct llavamed_error *error)
{
    enum llavamed_status status = sha256_finish(digests->stream, digests->hex[tensor], error);
    sha256_free(digests->stream);
    digests->stream = NULL;
    return status;
}

enum llavamed_status shard_digests_init(struct shard_digests *digests, const struct plan *plan, size_t shard,
                                        char (*hex)[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    const struct plan_shard *planned = &plan->shards[shard];
    enum llavamed_status status = LLAVAMED_OK;
    *digests = (struct shard_digests){.plan = plan, .hex = hex};
    for (size_t i = 0; hex != NULL && status == LLAVAMED_OK && i < planned->n_tensors; i++) {
        if (plan->tensors[planned->tensors[i]].out.n_bytes == 0) {
            status = begin(digests, planned->tensors[i], error);
            if (status == LLAVAMED_OK) {
                status = end(digests, planned->tensors[i], error);
            }
        }
    }
    if (status != LLAVAMED_OK) {
        shard_digests_deinit(digests);
    }
    return status;
}

void shard_digests_deinit(struct shard_digests *digests)
{
    sha256_free(digests->stream);
    *digests = (struct shard_digests){0};
}

enum llavamed_status shard_digests_feed(struct shard_digests *digests, size_t tensor, const void *bytes, size_t n_bytes,
                                        struct llavamed_error *error)
{
    if (digests->hex == NULL || n_bytes == 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = digests->stream == NULL ? begin(digests, tensor, error) : LLAVAMED_OK;
    if (status == LLAVAMED_OK) {
        assert(n_bytes <= digests->left_bytes);
        status = sha256_update(digests->stream, bytes, n_bytes, error);
        digests->left_bytes -= n_bytes;
    }
    return status == LLAVAMED_OK && digests->left_bytes == 0 ? end(digests, tensor, error) : status;
}

enum llavamed_status shard_digests_of_model(const struct plan *plan, char (*hex)[SHA256_HEX_BYTES],
                                            char model_hex[SHA256_HEX_BYTES], struct llavamed_error *error)
{
    struct tensor_digest *rows = calloc(plan->n_tensors + 1, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, (plan->n_tensors + 1) * sizeof *rows, "the list of digests");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        rows[i] = (struct tensor_digest){plan->tensors[i].out.name, hex[i]};
    }
    tensor_digests_sort(rows, plan->n_tensors);
    enum llavamed_status status = model_digest_of(rows, plan->n_tensors, model_hex, error);
    free(rows);
    return status;
}
