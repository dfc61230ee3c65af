/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the base LLaMA-1, as far as its small files and shapes tell? Llama-2 7B, Vicuna and others have the same names and
 * shapes, so nothing else fails and the result is garbage. What the delta's own config.json says counts first: a value
 * that base and delta share is no sign against the base, and a delta for another kind of model is not judged at all.
 *
 * Values of LLaMA-1: rms_norm_eps 1e-06 (65B: 1e-05), 2048 positions, as many key and value heads as heads, 32000 rows.
 */
#ifndef MERGE_BASE_SIGNS_H
#define MERGE_BASE_SIGNS_H

#include "core/warnings.h"
#include "source/source.h"

struct base_signs_side {
    const char *spec; /* as the user gave it, for messages */
    const struct source_small_file *files; /* source_small_files() */
    size_t n_files;
    const struct tensor_set *set;
    const char *name; /* of the side beside the base: "delta" (NULL too), "target" */
};

/*
 * Certain signs: PAIR_BASE_OTHER, or PAIR_BASE_MERGED for the config of a LLaVA model, with all that was found; the
 * hint says which base is wanted. A base that holds an mm_projector is left to plan_build(), which says so better.
 * INPUT_UNSUPPORTED: the config.json of either side makes one matrix of embed_tokens and lm_head.
 * Doubtful signs are added to `warnings` (they hold no paths), what is odd and harmless to `notes`.
 */
enum llavamed_status base_signs_check(const struct base_signs_side *base, const struct base_signs_side *delta,
                                      struct warnings *warnings, struct warnings *notes,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

#endif
