/* SPDX-License-Identifier: Apache-2.0 */
/* What --dry-run prints: the plan of a run, as tables for people. */
#ifndef CLI_PLAN_TABLE_H
#define CLI_PLAN_TABLE_H

#include <stdio.h>

#include "llavamed.h"

/* The same for each of several outputs, then what all of them take together. */
void plan_table_print_all(FILE *stream, const struct llavamed_settings *settings,
                          const struct llavamed_output *outputs, size_t n_outputs);

/* Shards, operations and totals. Write errors are left on the stream. */
void plan_table_print(FILE *stream, const struct llavamed_settings *settings, const struct llavamed_result *result);

#endif
