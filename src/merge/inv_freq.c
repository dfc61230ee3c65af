/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/inv_freq.h"

#include <math.h>
#include <string.h>

void inv_freq_formula(uint32_t *values, size_t n_elems)
{
    float head_dim = (float)(2 * n_elems);
    for (size_t j = 0; j < n_elems; j++) {
        float exponent = (float)(2 * j) / head_dim;
        /* pow() in double and one rounding gives the correctly rounded float; powf() of some libraries does not. */
        float power = (float)pow(10000.0, (double)exponent);
        float value = 1.0f / power;
        memcpy(&values[j], &value, sizeof value);
    }
}
