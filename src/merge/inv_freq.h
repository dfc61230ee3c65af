/* SPDX-License-Identifier: Apache-2.0 */
/* The rotary frequencies of LLaMA: inv_freq[j] = 1 / 10000^(2j / head_dim), float32 as torch computes them. */
#ifndef MERGE_INV_FREQ_H
#define MERGE_INV_FREQ_H

#include <stddef.h>
#include <stdint.h>

/* n_elems = head_dim / 2 values, bits of float32. */
void inv_freq_formula(uint32_t *values, size_t n_elems);

#endif
