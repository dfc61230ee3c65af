/* SPDX-License-Identifier: Apache-2.0 */
/* What llavamed-make-delta found of the elements that base plus delta does not give back. */
#ifndef CLI_LOSSY_REPORT_H
#define CLI_LOSSY_REPORT_H

#include <stdio.h>

#include "cli/json_emit.h"
#include "llavamed.h"

/* A line, "exact: ..." or "lossy: ..."; with `verbose` before it one for each tensor that is lossy. */
void lossy_report_print(FILE *stream, const struct llavamed_result *result, bool verbose);

/* "lossy": {"subtracted", "elements", "tensors": [{"name", "dtype", "lossy", "elements"}]}. */
void lossy_report_emit(struct json_emit *emit, const struct llavamed_result *result);

#endif
