/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/element_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t load(const uint8_t *bytes, size_t n_bytes)
{
    uint64_t bits = 0;
    for (size_t i = n_bytes; i > 0; i--) {
        bits = bits << 8 | bytes[i - 1];
    }
    return bits;
}

/* IEEE binary16: every value is one of double's. */
static double half_value(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023);
    double value = exponent == 31  ? (fraction > 0 ? (double)NAN : (double)INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 != 0 ? -value : value;
}

static double single_value(uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static double double_value(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t signed_value(uint64_t bits, unsigned n_bits)
{
    uint64_t sign = UINT64_C(1) << (n_bits - 1);
    uint64_t wide = (bits ^ sign) - sign;
    int64_t value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

void element_text(enum dtype dtype, const uint8_t *bytes, char text[ELEMENT_TEXT_BYTES])
{
    size_t n_bytes = dtype_bytes(dtype);
    uint64_t bits = load(bytes, n_bytes);
    char value[48] = "";
    if (dtype == DTYPE_F16) {
        (void)snprintf(value, sizeof value, "%.5g ", half_value(bits));
    } else if (dtype == DTYPE_BF16) {
        (void)snprintf(value, sizeof value, "%.4g ", single_value(bits << 16));
    } else if (dtype == DTYPE_F32) {
        (void)snprintf(value, sizeof value, "%.9g ", single_value(bits));
    } else if (dtype == DTYPE_F64) {
        (void)snprintf(value, sizeof value, "%.17g ", double_value(bits));
    } else if (dtype == DTYPE_I8 || dtype == DTYPE_I16 || dtype == DTYPE_I32 || dtype == DTYPE_I64) {
        (void)snprintf(value, sizeof value, "%" PRId64 " ", signed_value(bits, dtype_bits(dtype)));
    } else if (dtype_is_integral(dtype)) {
        (void)snprintf(value, sizeof value, "%" PRIu64 " ", bits);
    }
    (void)snprintf(text, ELEMENT_TEXT_BYTES, "%s0x%0*" PRIx64, value, (int)(2 * n_bytes), bits);
}

void element_index_text(const struct tensor *tensor, uint64_t flat, char text[TENSOR_SHAPE_TEXT_BYTES])
{
    uint64_t index[TENSOR_RANK_MAX] = {0};
    for (unsigned i = tensor->rank; i > 0; i--) {
        index[i - 1] = flat % tensor->shape[i - 1];
        flat /= tensor->shape[i - 1];
    }
    size_t end = 1;
    (void)snprintf(text, TENSOR_SHAPE_TEXT_BYTES, "[");
    for (unsigned i = 0; i < tensor->rank; i++) {
        end += (size_t)snprintf(text + end, TENSOR_SHAPE_TEXT_BYTES - end, "%s%" PRIu64, i == 0 ? "" : ", ", index[i]);
    }
    (void)snprintf(text + end, TENSOR_SHAPE_TEXT_BYTES - end, "]");
}
