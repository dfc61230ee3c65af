/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of a shard's tensors, whatever the pieces in which their bytes come; and the model's. */
#include "merge/shard_digests.h"

#include "unit/harness.h"
#include "unit/make_set.h"

/*
 * Goldens by Python: for name, dtype, shape in (("c", "F16", [3, 2]), ("none", "F32", [0, 5]), ("b", "F32", [7]),
 * ("a", "I64", [])) hashlib.sha256(f"{dtype} [{','.join(map(str, shape))}]\n".encode() + bytes(range(n_bytes))), and
 * the SHA-256 of f"{digest}  {name}\0" for each, by name.
 */
static const char *const want_tensors[] = {
    "2a3011265faba417e06875c5019d1da7af6d8227b33572d58dc6e17b8f64f334",
    "8eccf96ca61efe42301eba7944992d33fe8c1fc78bc9d9c9b288e44067459403",
    "8e826dd8cb8d205c4bf0b371d51eb13bc3fba1c82509b84e1da952f390aee3f8",
    "9410256868bd7f1003a71d34f4b388a506a56f143a4663a9d9e18f2c11e86671",
};
static const char *const want_model = "2137e6667b4c2c66e6c190de1277570cb82298d8805d119a0f696d70f4e75583";

static const uint8_t bytes[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27};

static void make_plan(enum shard_format format, struct tensor_set *set, struct plan *plan)
{
    tensor_set_init(set);
    set_put(set, "c", DTYPE_F16, 2, 3, 2);
    set_put(set, "none", DTYPE_F32, 2, 0, 5);
    set_put(set, "b", DTYPE_F32, 1, 7, 0);
    set_put(set, "a", DTYPE_I64, 0, 0, 0);
    set_seal(set);
    const struct plan_options options = {.format = format, .max_shard_bytes = UINT64_C(1) << 40};
    make_set_require(plan_build(set, "b", set, "d", &options, plan, NULL) == LLAVAMED_OK);
    make_set_require(plan->n_shards == 1 && plan->n_tensors == 4);
}

static const char *want_of(const struct plan *plan, size_t tensor)
{
    static const char *const names[] = {"c", "none", "b", "a"};
    size_t i = 0;
    while (strcmp(names[i], plan->tensors[tensor].out.name) != 0) {
        i++;
    }
    return want_tensors[i];
}

static void pieces_do_not_matter(void)
{
    for (int format = SHARD_SAFETENSORS; format <= SHARD_TORCH_2_13; format++) {
        struct tensor_set set;
        struct plan plan = {0};
        make_plan((enum shard_format)format, &set, &plan);
        const struct plan_shard *shard = &plan.shards[0];
        for (size_t piece = 1; piece <= sizeof bytes; piece++) {
            struct shard_digests digests;
            char hex[4][SHA256_HEX_BYTES] = {""};
            char model[SHA256_HEX_BYTES] = "";
            EXPECT(shard_digests_init(&digests, &plan, 0, hex, NULL) == LLAVAMED_OK);
            for (size_t i = 0; i < shard->layout.n_data; i++) {
                size_t tensor = shard->tensors[shard->layout.order[i]];
                size_t n_bytes = (size_t)plan.tensors[tensor].out.n_bytes;
                for (size_t at = 0; at < n_bytes; at += piece) {
                    size_t n = n_bytes - at < piece ? n_bytes - at : piece;
                    EXPECT_TEXT(hex[tensor], "");
                    EXPECT(shard_digests_feed(&digests, tensor, bytes + at, n, NULL) == LLAVAMED_OK);
                    EXPECT(shard_digests_feed(&digests, tensor, bytes, 0, NULL) == LLAVAMED_OK);
                }
            }
            for (size_t i = 0; i < plan.n_tensors; i++) {
                EXPECT_TEXT(hex[i], want_of(&plan, i));
            }
            EXPECT(shard_digests_of_model(&plan, hex, model, NULL) == LLAVAMED_OK);
            EXPECT_TEXT(model, want_model);
            shard_digests_deinit(&digests);
        }
        plan_deinit(&plan);
        tensor_set_deinit(&set);
    }
}

/* Where none are wanted nothing is done; what is left in the middle of a tensor is freed. */
static void none_and_half(void)
{
    struct tensor_set set;
    struct plan plan = {0};
    struct shard_digests digests;
    char hex[4][SHA256_HEX_BYTES] = {""};
    make_plan(SHARD_SAFETENSORS, &set, &plan);
    EXPECT(shard_digests_init(&digests, &plan, 0, NULL, NULL) == LLAVAMED_OK);
    EXPECT(shard_digests_feed(&digests, 0, bytes, 2, NULL) == LLAVAMED_OK);
    EXPECT(digests.stream == NULL);
    shard_digests_deinit(&digests);
    EXPECT(shard_digests_init(&digests, &plan, 0, hex, NULL) == LLAVAMED_OK);
    EXPECT(shard_digests_feed(&digests, plan.shards[0].tensors[plan.shards[0].layout.order[0]], bytes, 2, NULL) ==
           LLAVAMED_OK);
    EXPECT(digests.stream != NULL);
    shard_digests_deinit(&digests);
    EXPECT(digests.stream == NULL);
    shard_digests_deinit(&digests);
    plan_deinit(&plan);
    tensor_set_deinit(&set);
}

int main(void)
{
    CASE(pieces_do_not_matter);
    CASE(none_and_half);
    return harness_end();
}
