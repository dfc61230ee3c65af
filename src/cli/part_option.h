/* SPDX-License-Identifier: Apache-2.0 */
/* --part, --finish, --no-finish: their values, and what they go with. */
#ifndef CLI_PART_OPTION_H
#define CLI_PART_OPTION_H

#include "cli/apply_args.h"
#include "cli/apply_options.h"

/*
 * "K/N", or "auto": the task's place in a Slurm job array (SLURM_ARRAY_TASK_ID, _MIN, _STEP if there is one, and
 * _COUNT), else its rank in a step of several tasks (SLURM_PROCID, SLURM_NTASKS). USAGE says what is wrong, or what was
 * looked for.
 */
enum llavamed_status part_option_take(const struct option_given *given, struct llavamed_settings *settings,
                                      struct llavamed_error *error) __attribute__((warn_unused_result));

/* Whether an option goes with --finish. */
bool part_option_for_finish(enum apply_option id);

/* USAGE for what contradicts --part or --finish; n_pair_parts is how many --delta and --out there are. */
enum llavamed_status part_option_check(const struct apply_args *args, size_t n_pair_parts,
                                       struct llavamed_error *error) __attribute__((warn_unused_result));

#endif
