/* SPDX-License-Identifier: Apache-2.0 */
/* What lies beside OUT when a run died right after OUT had its name. */
#ifndef MERGE_OUTPUT_TIDY_H
#define MERGE_OUTPUT_TIDY_H

#include <stdbool.h>

/* OUT's path with `suffix` behind it, malloc'ed, made from that of OUT.partial. NULL when out of memory. */
char *output_beside(const char *partial, const char *suffix);

/* Whether OUT is a whole result, and no directory is beside it that a run may have left. */
bool output_is_published(const char *out);

/*
 * After OUT_EXISTS of output_dir_open(): when OUT is a whole result, removes the claim and the journal of its run,
 * or what parts left, from beside it. Does nothing when any directory is there that a run may have left.
 */
void output_tidy(const char *out);

/*
 * Before output_dir_open(): removes what parts left beside OUT when nobody can need it any more, because neither a
 * directory of a run nor a claim is there: whoever had published died before it was removed.
 */
void output_tidy_parts(const char *out);

#endif
