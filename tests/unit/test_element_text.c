/* SPDX-License-Identifier: Apache-2.0 */
/* Elements as people read them: the values are those that numpy, ml_dtypes and torch give for the same bits. */
#include "verify/element_text.h"

#include "unit/harness.h"

struct element {
    enum dtype dtype;
    uint8_t bytes[ELEMENT_BYTES_MAX];
    const char *text;
};

static void values_and_bits(void)
{
    static const struct element elements[] = {
        {DTYPE_F16, {0x00, 0x3c}, "1 0x3c00"},
        {DTYPE_F16, {0x66, 0xae}, "-0.099976 0xae66"},
        {DTYPE_F16, {0xff, 0x7b}, "65504 0x7bff"},
        {DTYPE_F16, {0x01, 0x00}, "5.9605e-08 0x0001"},
        {DTYPE_F16, {0xff, 0x03}, "6.0976e-05 0x03ff"},
        {DTYPE_F16, {0x00, 0x80}, "-0 0x8000"},
        {DTYPE_F16, {0x00, 0xfc}, "-inf 0xfc00"},
        {DTYPE_F16, {0x01, 0x7c}, "nan 0x7c01"},
        {DTYPE_BF16, {0xce, 0x3d}, "0.1006 0x3dce"},
        {DTYPE_BF16, {0x01, 0x00}, "9.184e-41 0x0001"},
        {DTYPE_BF16, {0x7f, 0xff}, "-3.39e+38 0xff7f"},
        {DTYPE_F32, {0xcd, 0xcc, 0xcc, 0x3d}, "0.100000001 0x3dcccccd"},
        {DTYPE_F32, {0x01, 0x00, 0x00, 0x80}, "-1.40129846e-45 0x80000001"},
        {DTYPE_F64, {0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f}, "0.10000000000000001 0x3fb999999999999a"},
        {DTYPE_I8, {0x80}, "-128 0x80"},
        {DTYPE_U8, {0x80}, "128 0x80"},
        {DTYPE_BOOL, {0x01}, "1 0x01"},
        {DTYPE_I16, {0xfe, 0xff}, "-2 0xfffe"},
        {DTYPE_I32, {0x00, 0x00, 0x00, 0x80}, "-2147483648 0x80000000"},
        {DTYPE_I64, {0, 0, 0, 0, 0, 0, 0, 0x80}, "-9223372036854775808 0x8000000000000000"},
        {DTYPE_I64, {7}, "7 0x0000000000000007"},
        {DTYPE_U64, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "18446744073709551615 0xffffffffffffffff"},
        {DTYPE_F8_E5M2, {0x7b}, "0x7b"},
        {DTYPE_C64, {1, 2, 3, 4, 5, 6, 7, 8}, "0x0807060504030201"},
    };
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        char text[ELEMENT_TEXT_BYTES];
        element_text(elements[i].dtype, elements[i].bytes, text);
        EXPECT_TEXT(text, elements[i].text);
    }
}

static void where(const uint64_t *shape, unsigned rank, uint64_t flat, const char *want)
{
    struct tensor tensor;
    struct llavamed_error error;
    char text[TENSOR_SHAPE_TEXT_BYTES];
    if (!EXPECT(tensor_init(&tensor, "path", "name", 4, DTYPE_U8, shape, rank, &error) == LLAVAMED_OK)) {
        return;
    }
    element_index_text(&tensor, flat, text);
    EXPECT_TEXT(text, want);
    tensor_deinit(&tensor);
}

static void places(void)
{
    static const uint64_t shape[] = {3, 4, 5};
    static const uint64_t ones[TENSOR_RANK_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint64_t vast[TENSOR_RANK_MAX] = {UINT64_C(1) << 59, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2};
    where(shape, 0, 0, "[]");
    where(shape, 1, 2, "[2]");
    where(shape, 2, 11, "[2, 3]");
    where(shape, 3, 0, "[0, 0, 0]");
    where(shape, 3, 59, "[2, 3, 4]");
    where(shape, 3, 27, "[1, 1, 2]");
    where(ones, TENSOR_RANK_MAX, 0, "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]");
    where(vast, TENSOR_RANK_MAX, (UINT64_C(1) << 60) - 1,
          "[576460752303423487, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]");
}

int main(void)
{
    CASE(values_and_bits);
    CASE(places);
    return harness_end();
}
