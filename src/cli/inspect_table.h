/* SPDX-License-Identifier: Apache-2.0 */
/* The listing of llavamed-inspect, for people, and its lines of digests. */
#ifndef CLI_INSPECT_TABLE_H
#define CLI_INSPECT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "llavamed.h"

/*
 * At most 100 columns wide: long names are shortened in the middle. `source` is as the user gave it. Write errors are
 * left on the stream.
 */
void inspect_table_print(FILE *stream, const char *source, const struct llavamed_inspect_result *result, bool tensors);

/*
 * A line "sha256  HEX  NAME" for each tensor, by the bytes of the names, then "sha256  HEX  (model)". Names are made
 * printable. False, and nothing printed, without memory.
 */
bool inspect_digests_print(FILE *stream, const struct llavamed_inspect_result *result);

/* A line of statistics for each tensor, in the checkpoint's own order, at most 100 columns wide. */
void inspect_stats_print(FILE *stream, const struct llavamed_inspect_result *result);

#endif
