/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LLaMA-1 as Meta released it (github.com/meta-llama/llama, March 2023): a folder per size ("7B", "13B", "30B", "65B")
 * with params.json, consolidated.00.pth to consolidated.(N-1).pth for N model-parallel shards, and checklist.chk with
 * their MD5; beside the folders tokenizer.model. Seen as the tensors that transformers' conversion makes of them, with
 * its names, whole matrices and its order of the rows of q_proj and k_proj. Nothing is converted ahead: each read
 * gathers its elements from the shards. rope.freqs are left out, as they are there; inv_freq is not provided.
 */
#ifndef SOURCE_META_H
#define SOURCE_META_H

#include "source/source_parts.h"

/*
 * Opens source->spec, whose listing holds consolidated.*.pth or, else, the folder of exactly one size. Fills layout,
 * state, set, format, files and small files of `source`; source_close() frees what a failure leaves. Small files with a
 * recorded MD5 are checked here, shards in source_finish(). INPUT_MISSING (a shard, params.json, which size),
 * META_INVALID, INPUT_UNSUPPORTED (not LLaMA-1), HASH_MISMATCH, and what weights_add_file() gives.
 */
enum llavamed_status meta_open(struct source *source, const struct directory_listing *listing,
                               struct llavamed_error *error) LLAVAMED_CHECK;

#endif
