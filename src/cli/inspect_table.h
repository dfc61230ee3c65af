/* SPDX-License-Identifier: Apache-2.0 */
/* The listing of llavamed-inspect, for people. */
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

#endif
