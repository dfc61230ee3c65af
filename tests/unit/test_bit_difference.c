/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/bit_difference.h"
#include "merge/plan.h"
#include "unit/harness.h"
#include "unit/make_set.h"

static struct llavamed_error error;

static void dtypes_belong_together(void)
{
    enum dtype values = DTYPE_BOOL;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
        enum dtype difference = bit_difference_dtype((enum dtype)dtype);
        EXPECT((difference != (enum dtype)dtype) == dtype_is_addable((enum dtype)dtype));
        if (dtype_is_addable((enum dtype)dtype)) {
            EXPECT(dtype_is_integral(difference) && dtype_bits(difference) == dtype_bits((enum dtype)dtype));
            EXPECT(bit_difference_values(difference, &values) && values == (enum dtype)dtype);
        }
    }
    EXPECT(!bit_difference_values(DTYPE_I8, &values) && values == DTYPE_F64);
    EXPECT(!bit_difference_values(DTYPE_F16, &values) && !bit_difference_values(DTYPE_U32, &values));
}

/* Every pair of bytes patterns that carries, in each size, in place and at odd addresses. */
static void differences_add_up(void)
{
    static const uint64_t numbers[] = {0, 1, 0x7e00, 0x7fff, 0x8000, 0xffff, 0x80000000, UINT64_MAX, 0x123456789abcde};
    enum { N = sizeof numbers / sizeof numbers[0] };
    for (size_t size = 2; size <= 8; size *= 2) {
        uint8_t base[N * N * 8 + 1];
        uint8_t target[N * N * 8 + 1];
        uint8_t out[N * N * 8 + 2];
        for (size_t i = 0; i < (size_t)N * N; i++) {
            memcpy(base + 1 + i * size, &numbers[i / N], size);
            memcpy(target + i * size, &numbers[i % N], size);
        }
        memset(out, 0x5a, sizeof out);
        bit_difference_subtract(out + 1, base + 1, target, N * N, size);
        EXPECT(out[0] == 0x5a && out[1 + N * N * size] == 0x5a);
        for (size_t i = 0; i < (size_t)N * N; i++) {
            uint64_t got = 0;
            memcpy(&got, out + 1 + i * size, size);
            EXPECT_U64(got, (numbers[i % N] - numbers[i / N]) & (UINT64_MAX >> (64 - 8 * size)));
        }
        bit_difference_add(out + 1, base + 1, out + 1, N * N, size);
        EXPECT(memcmp(out + 1, target, N * N * size) == 0);
        bit_difference_subtract(base + 1, base + 1, target, 0, size);
        EXPECT(memcmp(base + 1, &numbers[0], size) == 0);
    }
}

static enum llavamed_status build(const struct tensor_set *base, const struct tensor_set *delta,
                                  enum llavamed_result_dtype dtype, struct plan *plan)
{
    const struct plan_options options = {.dtype = dtype, .max_shard_bytes = 1000000};
    memset(&error, 0, sizeof error);
    return plan_build(base, "BASE", delta, "DELTA", &options, plan, &error);
}

/* A delta of integers is one of bits where its file says so, and only there. */
static void merged_only_where_the_file_says_so(void)
{
    struct tensor_set base = {0};
    struct tensor_set delta = {0};
    struct plan plan;
    set_put(&base, "model.norm.weight", DTYPE_F32, 1, 4, 0);
    set_put(&base, "ids", DTYPE_I64, 1, 4, 0);
    set_put(&delta, "model.norm.weight", DTYPE_U16, 1, 4, 0);
    set_put(&delta, "model.mm_projector.bias", DTYPE_BF16, 1, 4, 0);
    set_put(&delta, "model.layers.0.self_attn.rotary_emb.inv_freq", DTYPE_F16, 1, 4, 0);
    set_put(&delta, "ids", DTYPE_I64, 1, 4, 0);
    set_seal(&base);
    set_seal(&delta);
    EXPECT(build(&base, &delta, LLAVAMED_RESULT_DTYPE_DELTA, &plan) == LLAVAMED_STATUS_PAIR_MISMATCH);
    EXPECT_TEXT(error.problems[0], "model.norm.weight: integers against floating point (base F32, delta U16)");
    for (size_t i = 0; i < delta.n_tensors; i++) {
        delta.tensors[i].in_exact_delta = true;
    }
    EXPECT(build(&base, &delta, LLAVAMED_RESULT_DTYPE_FLOAT16, &plan) == LLAVAMED_STATUS_USAGE);
    if (!EXPECT(build(&base, &delta, LLAVAMED_RESULT_DTYPE_DELTA, &plan) == LLAVAMED_OK)) {
        return;
    }
    EXPECT_U64(plan.n_tensors, 4);
    EXPECT(plan.model_dtype == DTYPE_BF16);
    for (size_t i = 0; i < plan.n_tensors; i++) {
        const struct plan_tensor *tensor = &plan.tensors[i];
        bool is_norm = strcmp(tensor->out.name, "model.norm.weight") == 0;
        bool is_inv_freq = strstr(tensor->out.name, "inv_freq") != NULL;
        bool is_ids = strcmp(tensor->out.name, "ids") == 0;
        EXPECT(tensor->action == (is_norm ? PLAN_ADD : PLAN_COPY_DELTA) && tensor->by_bits == is_norm);
        EXPECT(tensor->out.dtype == (is_ids ? DTYPE_I64 : is_inv_freq ? DTYPE_F16 : DTYPE_BF16));
        EXPECT(!tensor->out.in_exact_delta);
    }
    plan_deinit(&plan);
    tensor_set_deinit(&base);
    tensor_set_deinit(&delta);
}

int main(void)
{
    CASE(dtypes_belong_together);
    CASE(differences_add_up);
    CASE(merged_only_where_the_file_says_so);
    return harness_end();
}
