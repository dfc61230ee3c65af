/* SPDX-License-Identifier: Apache-2.0 */
/* Words that part_plan.c writes and part_plan_read.c reads. */
#ifndef MERGE_PART_PLAN_PARTS_H
#define MERGE_PART_PLAN_PARTS_H

#define PART_PLAN_N_FORMATS 3
#define PART_PLAN_N_VERIFIES 3

extern const char *const part_plan_formats[];  /* by enum shard_format */
extern const char *const part_plan_verifies[]; /* by enum llavamed_verify */

#endif
