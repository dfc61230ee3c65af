/* SPDX-License-Identifier: Apache-2.0 */
/* The page of llavamed-verify: the verdict, what was found, and what is known of each tensor. */
#ifndef CLI_PAGE_VERIFY_H
#define CLI_PAGE_VERIFY_H

#include "llavamed.h"

/* Whether a run came to a verdict that a page can tell: intact, not intact, or what could not be read. */
bool page_verify_has_verdict(const struct llavamed_verify_result *result, const struct llavamed_error *error);

/*
 * Of such a run, with settings.tensor_reports. `error` is of the run. What page_file_begin() and page_file_finish()
 * give, in *failure; NO_MEMORY.
 */
enum llavamed_status page_verify_write(const char *path, const struct llavamed_verify_settings *settings,
                                       const struct llavamed_verify_result *result, const struct llavamed_error *error,
                                       struct llavamed_error *failure) __attribute__((warn_unused_result));

#endif
