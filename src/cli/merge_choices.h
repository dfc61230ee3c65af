/* SPDX-License-Identifier: Apache-2.0 */
/* Words that the options of llavamed-apply and llavamed-make-delta take alike. */
#ifndef CLI_MERGE_CHOICES_H
#define CLI_MERGE_CHOICES_H

#include "cli/options.h"

extern const struct option_choice format_choices[];        /* enum llavamed_format */
extern const struct option_choice torch_profile_choices[]; /* enum llavamed_torch_profile */
extern const struct option_choice verify_choices[];        /* enum llavamed_verify */

#endif
