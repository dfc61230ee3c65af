/* SPDX-License-Identifier: Apache-2.0 */
#include "core/reserved.h"

enum llavamed_status reserved_check(const uint64_t reserved[LLAVAMED_RESERVED], struct llavamed_error *error)
{
    for (size_t i = 0; i < LLAVAMED_RESERVED; i++) {
        if (reserved[i] != 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_USAGE,
                                 "settings hold what libllavamed %s does not know: they were not initialised, or the "
                                 "program was built for a later version",
                                 LLAVAMED_VERSION);
        }
    }
    return LLAVAMED_OK;
}
