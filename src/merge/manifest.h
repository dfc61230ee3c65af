/* SPDX-License-Identifier: Apache-2.0 */
/* llavamed-manifest.json: what went in, what was done to each tensor, what came out. Schema: docs/manifest.md. */
#ifndef MERGE_MANIFEST_H
#define MERGE_MANIFEST_H

#include "merge/document_file.h"
#include "merge/documents.h"

#define MANIFEST_FILE_NAME "llavamed-manifest.json"
#define MANIFEST_FORMAT "llavamed-manifest"
#define MANIFEST_VERSION 1

/* Sums over all tensors. */
struct manifest_totals {
    uint64_t n_nan;
    uint64_t n_infinite;
    uint64_t n_rounded;
    uint64_t n_overflow;
    uint64_t n_lossy;           /* of those of n_added */
    uint64_t n_added;           /* elements that are a sum of base and delta, or a difference of target and base */
    struct kernel_counts added; /* n_rounded and n_delta_zero of the tensors that have such */
};

struct manifest_totals manifest_totals_of(const struct plan *plan, const struct pipeline_outcome *outcome);

/* "delta" (or "target"), "float16"...: the values of --dtype; "keep", "drop": those of --inv-freq. Static. */
const char *manifest_dtype_option(enum plan_operation operation, enum llavamed_result_dtype dtype);
const char *manifest_inv_freq_option(enum llavamed_inv_freq inv_freq);

/* Writes the whole text into `document`. `list` holds the documents written before, sorted by name. */
enum llavamed_status manifest_write(struct document_file *document, const struct plan *plan,
                                    const struct documents_job *job, const struct document_list *list,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

#endif
