/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles of every small size, over sources with and without a grain: they follow each other without a gap, begin at
 * whole grains where these fit, and make the bytes that tiles as large as the tensors make of a plain base.
 */
#include "merge/tile.h"

#include "core/checked.h"
#include "unit/harness.h"

#define META "tests/data/meta/"
#define FORMS "tests/data/cli_forms/"
#define RESULT_BYTES_MAX 262144
#define TILE_BYTES_LARGE 65536

struct pair {
    struct source *base;
    struct source *delta;
    struct plan plan;
    bool good;
};

static struct source *open_source(const char *path, const char *role)
{
    const struct source_options options = {.role = role};
    struct llavamed_error error;
    struct source *source = NULL;
    if (!EXPECT(source_open(path, &options, &source, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    return source;
}

static void pair_open(struct pair *pair, const char *base, const char *delta)
{
    const struct plan_options options = {.max_shard_bytes = UINT64_C(1) << 40};
    struct llavamed_error error;
    *pair = (struct pair){.base = open_source(base, "base"), .delta = open_source(delta, "delta")};
    if (pair->base == NULL || pair->delta == NULL) {
        return;
    }
    pair->good = EXPECT(plan_build(source_tensors(pair->base), base, source_tensors(pair->delta), delta, &options,
                                   &pair->plan, &error) == LLAVAMED_OK);
    if (!pair->good) {
        printf("    %s\n", error.message);
    }
}

static void pair_close(struct pair *pair)
{
    if (pair->good) {
        plan_deinit(&pair->plan);
    }
    source_close(pair->base);
    source_close(pair->delta);
}

/* The coarser of both grains, where the operands have one shape. */
static uint64_t grain_of(const struct pair *pair, const struct plan_tensor *tensor)
{
    uint64_t grain = source_grain(pair->delta, tensor->delta_index);
    return tensor->action != PLAN_ADD ? grain : max_u64(grain, source_grain(pair->base, tensor->base_index));
}

/* Computes all of the result's only shard, from the end of its header on; returns its bytes. */
static size_t compute(const struct pair *pair, size_t tile_bytes, uint8_t *result)
{
    static uint8_t scratch[2][TILE_BYTES_LARGE];
    const struct tile_scratch buffers = {scratch[0], scratch[1], NULL};
    const struct pipeline_job job = {
        .plan = &pair->plan,
        .base = pair->base,
        .delta = pair->delta,
        .kernels = kernel_get(KERNEL_ISA_REF),
        .geometry = {.tile_bytes = tile_bytes},
    };
    uint64_t head_bytes = pair->plan.shards[0].layout.as.safetensors.head_bytes;
    uint64_t next = head_bytes;
    EXPECT_U64(pair->plan.n_shards, 1);
    for (size_t i = 0; i < pair->plan.shards[0].n_tensors; i++) {
        const struct plan_shard *shard = &pair->plan.shards[0];
        const struct tile_place place = {&job, shard->tensors[shard->layout.order[i]], i};
        const struct plan_tensor *tensor = &pair->plan.tensors[place.tensor];
        struct tile tile = {0};
        for (uint64_t first = 0; first < tensor->out.n_elems; first += tile.n_elems) {
            struct pipeline_tensor tally = {0};
            tile_cut(&place, 1, first, &tile);
            EXPECT(tile.n_bytes > 0 && tile.n_bytes <= tile_bytes);
            EXPECT_U64(tile.file_offset, next);
            next += tile.n_bytes;
            uint64_t grain = grain_of(pair, tensor);
            uint64_t element_bytes = dtype_bytes(tensor->out.dtype);
            if (tensor->action == PLAN_ADD && grain * 4 <= tile_bytes && element_bytes <= 4) {
                EXPECT(tile.first_elem % grain == 0);
            }
            if (!EXPECT(next - head_bytes <= RESULT_BYTES_MAX) ||
                !EXPECT(tile_compute(&job, &tile, &buffers, result + (tile.file_offset - head_bytes), &tally, NULL) ==
                        LLAVAMED_OK)) {
                return 0;
            }
        }
    }
    EXPECT_U64(next - head_bytes, pair->plan.data_bytes);
    return (size_t)(next - head_bytes);
}

static void check_pair(const char *base, const char *plain_base, const char *delta, const char *plain_delta)
{
    static uint8_t want[RESULT_BYTES_MAX];
    static uint8_t got[RESULT_BYTES_MAX];
    struct pair plain;
    struct pair pair;
    pair_open(&plain, plain_base, plain_delta);
    pair_open(&pair, base, delta);
    size_t n_bytes = plain.good ? compute(&plain, TILE_BYTES_LARGE, want) : 0;
    EXPECT(n_bytes > 0);
    for (size_t tile_bytes = 64; n_bytes > 0 && pair.good && tile_bytes <= TILE_BYTES_LARGE;) {
        memset(got, 0x55, sizeof got);
        if (!EXPECT_U64(compute(&pair, tile_bytes, got), n_bytes) || !EXPECT(memcmp(got, want, n_bytes) == 0)) {
            printf("    %s + %s in tiles of %zu bytes\n", base, delta, tile_bytes);
            break;
        }
        tile_bytes += tile_bytes < 600 ? 1 : tile_bytes / 7;
    }
    pair_close(&pair);
    pair_close(&plain);
}

static void meta_base(void)
{
    check_pair(META "two", META "hf-base", META "delta", META "delta");
}

static void plain_base(void)
{
    check_pair(META "hf-base", META "hf-base", META "delta", META "delta");
}

static void transposed_base(void)
{
    check_pair(FORMS "base-transposed.bin", FORMS "base-parameters.bin", FORMS "delta-transposed.bin",
               FORMS "delta-transposed-legacy.bin");
}

/* Heads of 4 rows of 16 columns in F16; transposed matrices whole; nothing for plain files. */
static void wanted_tile_bytes(void)
{
    struct pair pair;
    pair_open(&pair, META "hf-base", META "delta");
    if (pair.good) {
        EXPECT_U64(tile_bytes_wanted(&pair.plan, pair.base, pair.delta), 0);
    }
    pair_close(&pair);
    pair_open(&pair, META "two", META "delta");
    if (pair.good) {
        uint64_t wanted = 0;
        for (size_t i = 0; i < pair.plan.n_tensors; i++) {
            uint64_t grain = pair.plan.tensors[i].action == PLAN_ADD ? grain_of(&pair, &pair.plan.tensors[i]) : 1;
            wanted = grain > 1 ? max_u64(wanted, 2 * grain) : wanted;
        }
        EXPECT(wanted > 128);
        EXPECT(tile_bytes_wanted(&pair.plan, pair.base, pair.delta) >= wanted);
    }
    pair_close(&pair);
}

int main(void)
{
    CASE(meta_base);
    CASE(plain_base);
    CASE(transposed_base);
    CASE(wanted_tile_bytes);
    return harness_end();
}
