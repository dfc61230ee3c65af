/* SPDX-License-Identifier: Apache-2.0 */
/* When a log that nobody watches gets its next line about how far the work is, and how fast it went since the last. */
#ifndef CLI_PACE_H
#define CLI_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_INTERVAL_NS UINT64_C(30000000000)

struct pace {
    uint64_t since_ns;
    uint64_t since_bytes;
};

/* Counts from here: the work begins, or the figures are of something else from now on. */
void pace_begin(struct pace *pace, uint64_t now_ns, uint64_t done_bytes);

/*
 * Whether PACE_INTERVAL_NS have passed since the beginning, or since it was last so. *bytes_per_second then is the rate
 * of that span, 0 when nothing came forward.
 */
bool pace_is_due(struct pace *pace, uint64_t now_ns, uint64_t done_bytes, uint64_t *bytes_per_second);

#endif
