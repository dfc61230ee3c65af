/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of one tensor say that its user should know. */
#ifndef MERGE_TENSOR_WARNINGS_H
#define MERGE_TENSOR_WARNINGS_H

#include "merge/pipeline.h"
#include "merge/plan.h"

#define TENSOR_WARNINGS_MAX 2
#define TENSOR_WARNING_BYTES (512 + TENSOR_NAME_BYTES_MAX)

/*
 * Writes the texts, printable, and returns how many there are. `converted_to` is the dtype in which values can have
 * overflowed.
 */
size_t tensor_warnings(const struct plan *plan, size_t index, const struct pipeline_tensor *outcome,
                       enum dtype converted_to, char texts[TENSOR_WARNINGS_MAX][TENSOR_WARNING_BYTES]);

/* What is to be told of a base that no hash has named. Static storage. */
const char *unknown_base_warning(enum plan_operation operation);

#endif
