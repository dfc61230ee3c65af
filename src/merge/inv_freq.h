/* SPDX-License-Identifier: Apache-2.0 */
/* The rotary frequencies of LLaMA: inv_freq[j] = 1 / 10000^(2j / head_dim), float32 as torch computes them. */
#ifndef MERGE_INV_FREQ_H
#define MERGE_INV_FREQ_H

#include <stddef.h>
#include <stdint.h>

/* The longest rotary buffer that a plan accepts (head_dim 8192), so that one is always a single tile. */
#define INV_FREQ_ELEMS_MAX 4096

/*
 * n_elems = head_dim / 2 values, bits of float32: every step of torch's
 * 1.0 / (10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)) rounded correctly. torch gives exactly these bits
 * where its power is the scalar one; its vectorised power is off by an ulp in a few places, and not in the same ones
 * for AVX2 and AVX-512. No such place exists for the head_dim of the LLaMA family (128), nor for 4 to 80 and 160.
 */
void inv_freq_formula(uint32_t *values, size_t n_elems);

#endif
