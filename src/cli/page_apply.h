/* SPDX-License-Identifier: Apache-2.0 */
/* The page of llavamed-apply: how large the delta is, tensor by tensor, and what was made of what. */
#ifndef CLI_PAGE_APPLY_H
#define CLI_PAGE_APPLY_H

#include "llavamed.h"

/*
 * Of a run that succeeded, with settings.tensor_reports; several outputs are told one after the other. What
 * page_file_begin() and page_file_finish() give; NO_MEMORY.
 */
enum llavamed_status page_apply_write(const char *path, const struct llavamed_settings *settings,
                                      const struct llavamed_output *outputs, size_t n_outputs,
                                      struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
