/* SPDX-License-Identifier: Apache-2.0 */
/* Filling struct llavamed_result from a plan and from what the pipeline found. */
#ifndef MERGE_RESULT_H
#define MERGE_RESULT_H

#include "merge/documents.h"
#include "merge/pipeline.h"
#include "merge/plan.h"

/* Shards, actions and byte counts of the plan; frees nothing on failure (llavamed_result_free() does). NO_MEMORY. */
enum llavamed_status result_note_plan(struct llavamed_result *result, const struct plan *plan,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Hashes of the shards, digests of tensors where there are any, and the sums of all counts. The result must hold this
 * plan already. NO_MEMORY.
 */
enum llavamed_status result_note_outcome(struct llavamed_result *result, const struct plan *plan,
                                         const struct pipeline_outcome *outcome,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* What settings.tensor_reports asks for. The result must hold this plan already. NO_MEMORY. */
enum llavamed_status result_note_tensors(struct llavamed_result *result, const struct plan *plan,
                                         const struct pipeline_outcome *outcome, const struct relative_sizes *sizes,
                                         struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status result_note_input(struct llavamed_result *result, const char *role,
                                       const struct documents_input *input,
                                       struct llavamed_error *error) LLAVAMED_CHECK;
void result_free_reports(struct llavamed_result *result); /* both lists */

/* The tensors of a delta that have lossy elements, in the plan's order. NO_MEMORY, as above. */
enum llavamed_status result_note_lossy(struct llavamed_result *result, const struct plan *plan,
                                       const struct pipeline_outcome *outcome,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

/* Adds a copy of `text` to the warnings. NO_MEMORY. */
enum llavamed_status result_add_warning(struct llavamed_result *result, const char *text, struct llavamed_error *error)
    LLAVAMED_CHECK;

#endif
