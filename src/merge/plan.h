/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a merge, or of the making of a delta: pure, from tensor descriptors alone. Pairs names, checks shapes and
 * dtypes with the semantics of the reference (LLaVA's apply_delta and make_delta on transformers 4.28), finds every
 * problem before a byte is written, puts the result in model order and cuts it into shards.
 *
 * Both have a base and another source that decides what the result holds: the delta of a merge, the target of which a
 * delta is made. Names here say "delta" for either, as the two operations differ in the arithmetic and in words alone.
 */
#ifndef MERGE_PLAN_H
#define MERGE_PLAN_H

#include "format/reference_size.h"
#include "format/shard_layout.h"
#include "tensor/tensor.h"

enum plan_operation {
    PLAN_MERGE,      /* result = base + delta */
    PLAN_MAKE_DELTA, /* result = target - base: what is said to be added below is subtracted */
};

enum plan_action {
    PLAN_ADD,          /* same shape: convert both to the result's dtype, add */
    PLAN_ADD_TOP_LEFT, /* embeddings that grew: base added to [0:rows, 0:cols) of it, the rest is the delta's */
    PLAN_COPY_DELTA,   /* integers, bools, and mm_projector.* that the base lacks: the delta's, converted to dtype */
    PLAN_INV_FREQ,     /* rotary buffer: always F32, see plan_build() */
    PLAN_ACTION_COUNT
};

/* "add", "add-top-left", "copy-delta", "inv-freq"; "subtract", "subtract-top-left", "copy-target", "inv-freq". */
const char *plan_action_name(enum plan_operation operation, enum plan_action action);

const char *plan_other_name(enum plan_operation operation); /* what messages call the other source: "delta", "target" */

struct plan_tensor {
    struct tensor out; /* the result: name (owned), dtype, shape */
    enum plan_action action;
    bool by_bits;       /* of an exact delta: what is added or subtracted are bits, see plan_build() */
    size_t delta_index; /* into the delta's set */
    size_t base_index;  /* into the base's set, or TENSOR_NOT_FOUND */
    size_t shard;       /* index into shards */
};

struct plan_shard {
    char *name;      /* owned: "model-00001-of-00003.safetensors", "pytorch_model-00001-of-00002.bin" */
    size_t *tensors; /* owned: indices into plan.tensors, in model order but for tensors without bytes (below) */
    size_t n_tensors;
    struct shard_layout layout; /* layout.order[i] indexes this shard's `tensors` */
};

struct plan {
    struct plan_tensor *tensors; /* owned, in model order */
    size_t n_tensors;
    struct plan_shard *shards; /* owned */
    size_t n_shards;
    enum plan_operation operation;
    enum shard_format format;
    char *index_name; /* owned: "model.safetensors.index.json", "pytorch_model.bin.index.json"; NULL: a single shard */
    enum dtype model_dtype; /* T of the model: inv_freq is rounded through it */
    uint64_t data_bytes;    /* of all result tensors: the total_size of a safetensors index */
    struct reference_size reference_total; /* of a torch index; 0 for safetensors */
    uint64_t file_bytes;    /* of all shards, headers included */
    uint64_t base_read_bytes;
    uint64_t delta_read_bytes;
    size_t n_dropped; /* inv_freq left out by choice */
    char **warnings;  /* owned */
    size_t n_warnings;
};

/* The reference's --max-shard-size, and huggingface_hub's. */
#define PLAN_SHARD_BYTES_TORCH UINT64_C(10000000000)
#define PLAN_SHARD_BYTES_SAFETENSORS UINT64_C(5000000000)

struct plan_options {
    enum plan_operation operation;
    bool exact; /* makes an exact delta */
    enum shard_format format;
    enum llavamed_result_dtype dtype;
    enum llavamed_inv_freq inv_freq;
    uint64_t max_shard_bytes;
};

/*
 * Builds the plan. `base_spec` and `delta_spec` name the sources in messages.
 *
 * PAIR_MISMATCH with every problem listed in error->problems, in model order: a name in one but not in the other
 * (except mm_projector.* in the delta alone and inv_freq), shapes that differ (except embed_tokens and lm_head larger
 * in the delta), a vocabulary smaller in the delta, a dtype that cannot be added, integers whose dtypes differ, an
 * inv_freq longer than INV_FREQ_ELEMS_MAX, nothing to merge at all. PAIR_BASE_MERGED: the base holds mm_projector.
 * USAGE: max_shard_bytes so small that the result would have more than SHARD_COUNT_MAX shards. SHAPE_INVALID and
 * INPUT_LIMIT: sizes that do not fit 64 bits. PAIR_SAME is not decided here.
 *
 * Shards are cut as the writer of their format does: huggingface_hub's for safetensors; for torch shard_checkpoint() of
 * transformers 4.28, whose first shard is empty when the very first tensor is above the limit, and which counts an
 * element of a bool as an eighth of a byte (reference_size.h).
 *
 * Index rows in the order that huggingface_hub gives them are those of shards[0].tensors, shards[1].tensors and so on;
 * that is not plan.tensors' order where a tensor larger than max_shard_bytes went ahead of the shard being filled, and
 * where there are several tensors without bytes: huggingface_hub keeps them together, at the end of a shard.
 *
 * Exact deltas (merge/bit_difference.h): where one is made, what would be subtracted is so by bits, each tensor in the
 * target's own dtype; everything else, inv_freq too, is the target's. A tensor says that it is of one
 * (in_exact_delta), and a merge takes it as such: the result is the target's dtype. USAGE where another is asked for.
 *
 * inv_freq: none in the delta, none in the result; else F32, base's values (or the formula's) and the delta's, each
 * rounded through model_dtype, added in F32.
 */
enum llavamed_status plan_build(const struct tensor_set *base, const char *base_spec, const struct tensor_set *delta,
                                const char *delta_spec, const struct plan_options *options, struct plan *plan,
                                struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether a tensor becomes a difference of bits (plan_build()): of the plan of an exact delta. */
bool plan_makes_bits(const struct plan *plan, size_t tensor);

void plan_deinit(struct plan *plan);

#endif
