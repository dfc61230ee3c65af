/* SPDX-License-Identifier: Apache-2.0 */
#include "format/reference_size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"

#define TWO_TO_64 18446744073709551616.0
#define DIGITS_MAX 17     /* that many tell any double from its neighbours */
#define FIXED_EXPONENT 16 /* from 10^16 on Python writes an exponent */

struct reference_size reference_size_plus(struct reference_size sum, const struct tensor *tensor)
{
    if (tensor->dtype != DTYPE_BOOL && !sum.is_float) {
        if (!checked_add_u64(sum.integer, tensor->n_bytes, &sum.integer)) {
            sum.integer = UINT64_MAX;
        }
        return sum;
    }
    double size = tensor->dtype == DTYPE_BOOL ? (double)tensor->n_elems / 8 : (double)tensor->n_bytes;
    double before = sum.is_float ? sum.real : (double)sum.integer;
    return (struct reference_size){.is_float = true, .real = before + size};
}

bool reference_size_above(const struct reference_size *size, uint64_t limit)
{
    if (!size->is_float) {
        return size->integer > limit;
    }
    if (size->real >= TWO_TO_64) {
        return true;
    }
    uint64_t whole = (uint64_t)size->real;
    /* Above 2^53 a double has no fraction, below it `whole` is one itself. */
    return whole > limit || (whole == limit && (double)whole < size->real);
}

/* The shortest decimal that reads back as the same double is the one that Python prints. */
static void write_real(struct buffer *out, double real)
{
    char text[40]; /* "d.dddde+XX" */
    int n_digits = 1;
    for (; n_digits <= DIGITS_MAX; n_digits++) {
        (void)snprintf(text, sizeof text, "%.*e", n_digits - 1, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    char *mantissa_end = strchr(text, 'e');
    int exponent = (int)strtol(mantissa_end + 1, NULL, 10);
    if (exponent >= FIXED_EXPONENT) {
        buffer_append_text(out, text);
        return;
    }
    /* Multiples of 1/8 need no more than three decimals, and any at all only where the digits reach so far. */
    int n_decimals = n_digits - 1 > exponent ? n_digits - 1 - exponent : 1;
    buffer_printf(out, "%.*f", n_decimals, real);
}

void reference_size_write(struct buffer *out, const struct reference_size *size)
{
    if (size->is_float) {
        write_real(out, size->real);
    } else {
        buffer_printf(out, "%llu", (unsigned long long)size->integer);
    }
}
