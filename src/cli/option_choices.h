/* SPDX-License-Identifier: Apache-2.0 */
/* The words of options that several programs take, each list ended by NULL. */
#ifndef CLI_OPTION_CHOICES_H
#define CLI_OPTION_CHOICES_H

#include "cli/options.h"

extern const struct option_choice option_dtype_choices[];    /* enum llavamed_result_dtype */
extern const struct option_choice option_inv_freq_choices[]; /* enum llavamed_inv_freq */
extern const struct option_choice option_cpu_choices[];      /* enum llavamed_cpu */
extern const struct option_choice option_progress_choices[]; /* enum display_progress */

#endif
