/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pickle data.pkl of a file that torch.save writes for a plain dict of name -> contiguous CPU tensor without
 * requires_grad: what transformers 4.28's save_pretrained passes it for every shard, an only one too
 * (shard_checkpoint collects them in `{}`; Module.state_dict() has detached them from their Parameters). An OrderedDict
 * would be other bytes. torch 1.13 to 2.13 write the same. Sources: torch/serialization.py (_save), CPython's
 * _pickle.c. No files here.
 */
#ifndef FORMAT_TORCH_DICT_H
#define FORMAT_TORCH_DICT_H

#include "tensor/tensor.h"

/*
 * A dict to be saved; all borrowed. Names are unique and in the order of the dict. `owners` may be NULL: each tensor
 * has a storage of its own. Else owners[i] is i, or the index of an earlier tensor with a storage of its own, the whole
 * of which tensor i shares (tied weights): of the same dtype and n_bytes, while the shapes may differ.
 */
struct torch_dict {
    const struct tensor *const *tensors;
    const size_t *owners;
    size_t n_tensors;
};

struct torch_dict_pickle {
    char *bytes; /* owned */
    size_t n_bytes;
    size_t *stored; /* owned: stored[k] is the index of the tensor whose storage has the key k */
    size_t n_stored;
};

/*
 * INPUT_UNSUPPORTED: a dtype without a storage class of its own, which torch 1.13 does not have at all. SHAPE_INVALID:
 * shape or strides do not fit 63 bits. INPUT_LIMIT: a pickle above PICKLE_BYTES_MAX, which pickle.h would not read.
 * INTERNAL: `owners` is not as told. NO_MEMORY.
 */
enum llavamed_status torch_dict_write(const struct torch_dict *dict, struct torch_dict_pickle *pickle,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/* Also of one that is all zero. */
void torch_dict_pickle_deinit(struct torch_dict_pickle *pickle);

#endif
