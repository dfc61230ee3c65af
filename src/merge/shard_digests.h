/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests of the tensors of a shard (integrity/tensor_digest.h), and of the model. A shard's bytes go by in file
 * order for its own hash; those of its tensors are eaten here in the same order, one tensor after the other.
 */
#ifndef MERGE_SHARD_DIGESTS_H
#define MERGE_SHARD_DIGESTS_H

#include "integrity/digest.h"
#include "merge/plan.h"

/* Of one shard; one thread at a time. All zero: nothing is wanted, and nothing is done. */
struct shard_digests {
    const struct plan *plan;
    char (*hex)[SHA256_HEX_BYTES]; /* borrowed: gets that of each tensor of the plan */
    struct sha256_stream *stream;  /* owned: of the tensor at which it is; NULL: between two */
    uint64_t left_bytes;           /* of that tensor */
};

/*
 * `hex` NULL: no digests are wanted. Those of tensors without bytes are there at once. The rest is zero on failure.
 * What sha256_create() gives.
 */
enum llavamed_status shard_digests_init(struct shard_digests *digests, const struct plan *plan, size_t shard,
                                        char (*hex)[SHA256_HEX_BYTES], struct llavamed_error *error) LLAVAMED_CHECK;
void shard_digests_deinit(struct shard_digests *digests);

/* The next bytes of the shard's data, which are the tensor's; its digest is there after the last. */
enum llavamed_status shard_digests_feed(struct shard_digests *digests, size_t tensor, const void *bytes, size_t n_bytes,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

/* The digest of the model, from those of all tensors of the plan. */
enum llavamed_status shard_digests_of_model(const struct plan *plan, char (*hex)[SHA256_HEX_BYTES],
                                            char model_hex[SHA256_HEX_BYTES],
                                            struct llavamed_error *error) LLAVAMED_CHECK;

#endif
