/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/option_choices.h"

#include "cli/display.h"

const struct option_choice option_dtype_choices[] = {
    {"delta", LLAVAMED_RESULT_DTYPE_DELTA},
    {"float16", LLAVAMED_RESULT_DTYPE_FLOAT16},
    {"bfloat16", LLAVAMED_RESULT_DTYPE_BFLOAT16},
    {"float32", LLAVAMED_RESULT_DTYPE_FLOAT32},
    {NULL, 0},
};

const struct option_choice option_inv_freq_choices[] = {
    {"keep", LLAVAMED_INV_FREQ_KEEP},
    {"drop", LLAVAMED_INV_FREQ_DROP},
    {NULL, 0},
};

const struct option_choice option_cpu_choices[] = {
    {"ref", LLAVAMED_CPU_REF},
    {"avx2", LLAVAMED_CPU_AVX2},
    {"avx512", LLAVAMED_CPU_AVX512},
    {"neon", LLAVAMED_CPU_NEON},
    {NULL, 0},
};

const struct option_choice option_progress_choices[] = {
    {"auto", DISPLAY_PROGRESS_AUTO},
    {"always", DISPLAY_PROGRESS_ALWAYS},
    {"never", DISPLAY_PROGRESS_NEVER},
    {NULL, 0},
};
