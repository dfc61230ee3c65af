/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pace.h"

#include "cli/text.h"

void pace_begin(struct pace *pace, uint64_t now_ns, uint64_t done_bytes)
{
    *pace = (struct pace){now_ns, done_bytes};
}

bool pace_is_due(struct pace *pace, uint64_t now_ns, uint64_t done_bytes, uint64_t *bytes_per_second)
{
    if (now_ns - pace->since_ns < PACE_INTERVAL_NS) {
        return false;
    }
    uint64_t n_bytes = done_bytes > pace->since_bytes ? done_bytes - pace->since_bytes : 0;
    *bytes_per_second = cli_bytes_per_second(n_bytes, now_ns - pace->since_ns);
    pace_begin(pace, now_ns, done_bytes);
    return true;
}
