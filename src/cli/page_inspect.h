/* SPDX-License-Identifier: Apache-2.0 */
/* The page of llavamed-inspect --stats: how large the elements of each tensor are. */
#ifndef CLI_PAGE_INSPECT_H
#define CLI_PAGE_INSPECT_H

#include "llavamed.h"

/* Of a run with settings.stats that succeeded. What page_file_begin() and page_file_finish() give; NO_MEMORY. */
enum llavamed_status page_inspect_write(const char *path, const struct llavamed_inspect_settings *settings,
                                        const struct llavamed_inspect_result *result,
                                        struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
