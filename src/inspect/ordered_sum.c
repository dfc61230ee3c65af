/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/ordered_sum.h"

#include <math.h>
#include <string.h>

void ordered_sum_end_block(struct ordered_sum *sum)
{
    const double *s = sum->lanes;
    double block = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    double total = sum->total + block;
    double lost = fabs(sum->total) >= fabs(block) ? (sum->total - total) + block : (block - total) + sum->total;
    sum->total = total;
    sum->lost += lost;
    memset(sum->lanes, 0, sizeof sum->lanes);
}

double ordered_sum_end(struct ordered_sum *sum)
{
    ordered_sum_end_block(sum);
    return sum->total + sum->lost;
}
