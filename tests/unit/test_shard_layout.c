/* SPDX-License-Identifier: Apache-2.0 */
/* Both formats as one: what the layouts of each say, segment by segment, without gap or overlap. */
#include "format/shard_layout.h"

#include "unit/harness.h"
#include "unit/make_set.h"

#define TENSORS_MAX 16

static void pointers_of(const struct tensor_set *set, const struct tensor **pointers)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        pointers[i] = &set->tensors[i];
    }
}

/* Twelve tensors, so that torch's order of storages (0, 1, 10, 11, 2) is not theirs; two without elements. */
static void put_some(struct tensor_set *set)
{
    tensor_set_init(set);
    for (unsigned i = 0; i < 12; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%u", 11 - i);
        set_put(set, name, i % 3 == 0 ? DTYPE_F32 : DTYPE_F16, 2, i == 4 || i == 11 ? 0 : i + 1, 5);
    }
    set_seal(set);
}

/* Segment 0, data 0, segment 1, data 1 ... fill the file. */
static void expect_filled(const struct shard_layout *layout, const struct tensor_set *set)
{
    uint64_t offset = 0;
    bool seen[TENSORS_MAX] = {false};
    EXPECT_U64(layout->n_data, set->n_tensors);
    for (size_t i = 0; i <= layout->n_data; i++) {
        size_t n_bytes = shard_layout_segment_bytes(layout, i);
        EXPECT(n_bytes <= layout->segment_bytes_max);
        EXPECT_U64(shard_layout_segment_offset(layout, i), offset);
        offset += n_bytes;
        if (i < layout->n_data && EXPECT(layout->order[i] < set->n_tensors && !seen[layout->order[i]])) {
            seen[layout->order[i]] = true;
            EXPECT_U64(layout->file_offsets[i], offset);
            offset += set->tensors[layout->order[i]].n_bytes;
        }
    }
    EXPECT_U64(layout->file_bytes, offset);
}

/* A segment depends on the sums before it alone, and no more than its own bytes are written. */
static void expect_rendered(const struct shard_layout *layout)
{
    struct torch_layout_sum sums[2][TENSORS_MAX];
    uint8_t *bytes[2];
    for (size_t k = 0; k < 2; k++) {
        bytes[k] = malloc(layout->segment_bytes_max + 1);
        make_set_require(bytes[k] != NULL);
    }
    for (size_t i = 0; i <= layout->n_data; i++) {
        size_t n_bytes = shard_layout_segment_bytes(layout, i);
        for (size_t k = 0; k < TENSORS_MAX; k++) {
            sums[0][k] = (struct torch_layout_sum){(uint32_t)(k + 1) * 0x01234567U, k};
            sums[1][k] = k < i ? sums[0][k] : (struct torch_layout_sum){0xdeadbeefU, 0x1122334408074b50U};
        }
        memset(bytes[0], 0x5a, layout->segment_bytes_max + 1);
        memset(bytes[1], 0xa5, layout->segment_bytes_max + 1);
        shard_layout_render(layout, i, sums[0], bytes[0]);
        shard_layout_render(layout, i, sums[1], bytes[1]);
        EXPECT(memcmp(bytes[0], bytes[1], n_bytes) == 0);
        EXPECT(bytes[0][n_bytes] == 0x5a && bytes[1][n_bytes] == 0xa5);
    }
    free(bytes[0]);
    free(bytes[1]);
}

static void safetensors_has_one_segment(void)
{
    struct tensor_set set;
    const struct tensor *pointers[TENSORS_MAX];
    struct shard_layout layout;
    struct safetensors_layout want;
    put_some(&set);
    pointers_of(&set, pointers);
    EXPECT(shard_layout_build(SHARD_SAFETENSORS, "any", pointers, set.n_tensors, &layout, NULL) == LLAVAMED_OK);
    EXPECT(safetensors_layout_build(pointers, set.n_tensors, &want, NULL) == LLAVAMED_OK);
    expect_filled(&layout, &set);
    expect_rendered(&layout);
    EXPECT_U64(shard_layout_segment_bytes(&layout, 0), want.head_bytes);
    EXPECT(memcmp(layout.as.safetensors.head, want.head, want.head_bytes) == 0);
    for (size_t i = 1; i <= layout.n_data; i++) {
        EXPECT_U64(shard_layout_segment_bytes(&layout, i), 0);
    }
    safetensors_layout_deinit(&want);
    shard_layout_deinit(&layout);
    tensor_set_deinit(&set);
}

static void torch_is_that_of_its_layout(void)
{
    static const size_t order[] = {0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9};
    struct tensor_set set;
    const struct tensor *pointers[TENSORS_MAX];
    struct shard_layout layout;
    struct torch_layout want;
    put_some(&set);
    pointers_of(&set, pointers);
    EXPECT(shard_layout_build(SHARD_TORCH_1_13, "x.bin", pointers, set.n_tensors, &layout, NULL) == LLAVAMED_OK);
    const struct torch_dict dict = {.tensors = pointers, .n_tensors = set.n_tensors};
    EXPECT(torch_layout_build(TORCH_1_13, "x.bin", &dict, &want, NULL) == LLAVAMED_OK);
    expect_filled(&layout, &set);
    expect_rendered(&layout);
    EXPECT_U64(layout.file_bytes, want.file_bytes);
    EXPECT_U64(layout.segment_bytes_max, want.segment_bytes_max);
    for (size_t i = 0; i < set.n_tensors; i++) {
        EXPECT_U64(layout.order[i], order[i]);
    }
    torch_layout_deinit(&want);
    shard_layout_deinit(&layout);
    tensor_set_deinit(&set);
}

static void without_tensors(void)
{
    static const enum shard_format formats[] = {SHARD_SAFETENSORS, SHARD_TORCH_1_13, SHARD_TORCH_2_13};
    struct tensor_set set;
    tensor_set_init(&set);
    for (size_t i = 0; i < 3; i++) {
        struct shard_layout layout;
        if (EXPECT(shard_layout_build(formats[i], "x.bin", NULL, 0, &layout, NULL) == LLAVAMED_OK)) {
            expect_filled(&layout, &set);
            expect_rendered(&layout);
            shard_layout_deinit(&layout);
        }
    }
    tensor_set_deinit(&set);
}

static void refusals(void)
{
    struct tensor_set set;
    const struct tensor *pointers[TENSORS_MAX];
    struct shard_layout layout;
    struct llavamed_error error = {0};
    put_some(&set);
    pointers_of(&set, pointers);
    EXPECT(shard_layout_build(SHARD_TORCH_1_13, ".bin", pointers, set.n_tensors, &layout, &error) ==
           LLAVAMED_STATUS_USAGE);
    tensor_set_deinit(&set);
    tensor_set_init(&set);
    set_put(&set, "u", DTYPE_U16, 1, 3, 0);
    set_seal(&set);
    pointers_of(&set, pointers);
    EXPECT(shard_layout_build(SHARD_TORCH_1_13, "x.bin", pointers, 1, &layout, &error) ==
           LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    EXPECT(shard_layout_build(SHARD_SAFETENSORS, "x", pointers, 1, &layout, &error) == LLAVAMED_OK);
    shard_layout_deinit(&layout);
    shard_layout_deinit(&layout); /* zeroed by now: nothing to do */
    EXPECT(layout.n_data == 0);
    tensor_set_deinit(&set);
}

int main(void)
{
    CASE(safetensors_has_one_segment);
    CASE(torch_is_that_of_its_layout);
    CASE(without_tensors);
    CASE(refusals);
    return harness_end();
}
