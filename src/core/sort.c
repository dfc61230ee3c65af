/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sort.h"

#include <stdlib.h>

void sort_array(void *array, size_t n, size_t n_bytes, int (*compare)(const void *a, const void *b))
{
    const char *at = array;
    for (size_t i = 1; i < n; i++, at += n_bytes) {
        if (compare(at, at + n_bytes) > 0) {
            qsort(array, n, n_bytes, compare);
            return;
        }
    }
}
