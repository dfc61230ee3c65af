/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/inv_freq.h"

#include "unit/harness.h"

#define DATA "tests/data/plan/inv_freq.txt"

/* torch's own bits (scalar power; 1.13 and 2.13 agree), for every head_dim of the table. */
static void equals_torch_bit_for_bit(void)
{
    FILE *file = fopen(DATA, "r");
    if (!EXPECT(file != NULL)) {
        return;
    }
    unsigned head_dim;
    size_t n_lines = 0;
    bool has_128 = false;
    while (fscanf(file, "%u", &head_dim) == 1 && head_dim / 2 <= INV_FREQ_ELEMS_MAX) {
        uint32_t values[INV_FREQ_ELEMS_MAX];
        size_t n = head_dim / 2;
        inv_freq_formula(values, n);
        for (size_t j = 0; j < n; j++) {
            unsigned want = 0;
            EXPECT(fscanf(file, "%x", &want) == 1);
            EXPECT_U64(values[j], want);
        }
        has_128 = has_128 || head_dim == 128;
        n_lines++;
    }
    (void)fclose(file);
    EXPECT_U64(n_lines, 16);
    EXPECT(has_128);
}

/* From the reference's own description of LLaMA: 1, 0.8659643..., down to 10000^(-63/64). */
static void ends_of_llama(void)
{
    uint32_t bits[64];
    float values[64];
    inv_freq_formula(bits, 64);
    memcpy(values, bits, sizeof values);
    EXPECT(values[0] == 1.0f);
    EXPECT(values[1] > 0.865964f && values[1] < 0.865965f);
    EXPECT(values[32] > 0.0099999f && values[32] < 0.0100001f);
    EXPECT(values[63] > 0.00011547f && values[63] < 0.00011549f);
}

static void no_elements(void)
{
    uint32_t value = 0xdeadbeef;
    inv_freq_formula(&value, 0);
    EXPECT_U64(value, 0xdeadbeef);
}

int main(void)
{
    CASE(equals_torch_bit_for_bit);
    CASE(ends_of_llama);
    CASE(no_elements);
    return harness_end();
}
