/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of each tensor once all is judged, for who wants a list of them. */
#ifndef VERIFY_TENSOR_VERDICTS_H
#define VERIFY_TENSOR_VERDICTS_H

#include "verify/judge.h"

/*
 * Fills result->tensors: of every weights file whose header was read, and what the manifest records and no file has in
 * its place. After judge_tensors(). NO_MEMORY, INTERRUPTED. O(n log n).
 */
enum llavamed_status tensor_verdicts_fill(const struct judge *judge, struct llavamed_verify_result *result,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

void tensor_verdicts_free(struct llavamed_verify_result *result);

#endif
