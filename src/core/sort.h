/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting what mostly is in order already, because programs write names and offsets so. */
#ifndef CORE_SORT_H
#define CORE_SORT_H

#include <stddef.h>

/* qsort(), but for an array in order, which is only looked through: O(n). */
void sort_array(void *array, size_t n, size_t n_bytes, int (*compare)(const void *a, const void *b));

#endif
