/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/merge_choices.h"

const struct option_choice format_choices[] = {
    {"safetensors", LLAVAMED_FORMAT_SAFETENSORS},
    {"torch", LLAVAMED_FORMAT_TORCH},
    {NULL, 0},
};

const struct option_choice torch_profile_choices[] = {
    {"1.13", LLAVAMED_TORCH_PROFILE_1_13},
    {"2.13", LLAVAMED_TORCH_PROFILE_2_13},
    {NULL, 0},
};

const struct option_choice verify_choices[] = {
    {"auto", LLAVAMED_VERIFY_AUTO},
    {"full", LLAVAMED_VERIFY_FULL},
    {"none", LLAVAMED_VERIFY_NONE},
    {NULL, 0},
};
