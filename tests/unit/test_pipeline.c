/* SPDX-License-Identifier: Apache-2.0 */
/* The cut of the memory, and the count of cores. Whole runs are tested through the program (tests/cli, interop). */
#include "core/cpus.h"
#include "merge/pipeline.h"
#include "unit/harness.h"

static void test_geometry_defaults(void)
{
    struct pipeline_geometry geometry;
    struct llavamed_error error;
    EXPECT(pipeline_geometry_choose(268435456, 2, 1, &geometry, &error) == LLAVAMED_OK);
    EXPECT_U64(geometry.n_workers, 2);
    EXPECT(geometry.n_buffers >= geometry.n_workers);
    EXPECT(geometry.pool_bytes <= 268435456);
}

static void test_geometry_always_fits(void)
{
    for (uint64_t memory = 327680; memory <= 1073741824; memory = memory * 3 / 2) {
        for (unsigned threads = 1; threads <= 4096; threads = threads * 2 + 1) {
            struct pipeline_geometry geometry;
            struct llavamed_error error;
            EXPECT(pipeline_geometry_choose(memory, threads, 1, &geometry, &error) == LLAVAMED_OK);
            EXPECT(geometry.n_workers >= 1 && geometry.n_workers <= threads);
            EXPECT(geometry.tile_bytes >= 65536);
            EXPECT(geometry.pool_bytes + 65536 * (uint64_t)geometry.n_workers <= memory);
            EXPECT_U64(geometry.pool_bytes, (geometry.n_buffers + 2 * geometry.n_workers) * geometry.tile_bytes);
        }
    }
}

static void test_geometry_32_mib_works_with_64_threads(void)
{
    struct pipeline_geometry geometry;
    struct llavamed_error error;
    EXPECT(pipeline_geometry_choose(33554432, 64, 1, &geometry, &error) == LLAVAMED_OK);
    EXPECT_U64(geometry.n_workers, 64);
}

static void test_geometry_too_small_names_the_least(void)
{
    struct pipeline_geometry geometry;
    struct llavamed_error error;
    EXPECT(pipeline_geometry_choose(327679, 8, 1, &geometry, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    EXPECT(strstr(error.message, "327680") != NULL);
    EXPECT(pipeline_geometry_choose(327680, 8, 1, &geometry, &error) == LLAVAMED_OK);
}

/* Larger tiles for fewer workers, never more memory, never less than was there. */
static void test_geometry_widens(void)
{
    for (uint64_t memory = 327680; memory <= 1073741824; memory = memory * 3 / 2) {
        for (unsigned threads = 1; threads <= 4096; threads = threads * 2 + 1) {
            for (uint64_t wanted = 0; wanted <= 16777216; wanted = wanted * 3 + 1000) {
                struct pipeline_geometry before;
                EXPECT(pipeline_geometry_choose(memory, threads, 1, &before, NULL) == LLAVAMED_OK);
                struct pipeline_geometry after = before;
                pipeline_geometry_widen(memory, wanted, &after);
                EXPECT(after.n_workers >= 1 && after.n_workers <= before.n_workers);
                EXPECT(after.n_workers >= 2 || before.n_workers == 1);
                EXPECT(after.tile_bytes >= before.tile_bytes && after.tile_bytes <= 2097152);
                EXPECT(after.pool_bytes + 65536 * (uint64_t)after.n_workers <= memory);
                EXPECT_U64(after.pool_bytes, (after.n_buffers + 2 * after.n_workers) * after.tile_bytes);
                bool large = after.tile_bytes >= wanted || after.tile_bytes >= 2097152;
                EXPECT(large || after.n_workers <= 2);
                EXPECT(after.n_workers == before.n_workers || before.tile_bytes < wanted);
            }
        }
    }
}

static void test_geometry_widens_to_whole_heads(void)
{
    struct pipeline_geometry geometry;
    EXPECT(pipeline_geometry_choose(33554432, 64, 1, &geometry, NULL) == LLAVAMED_OK);
    EXPECT_U64(geometry.n_workers, 64);
    pipeline_geometry_widen(33554432, 1048576, &geometry); /* 7B */
    EXPECT_U64(geometry.n_workers, 7);
    EXPECT(geometry.tile_bytes >= 1048576);
    pipeline_geometry_widen(33554432, UINT64_MAX, &geometry);
    EXPECT_U64(geometry.n_workers, 3);
    EXPECT(geometry.tile_bytes >= 2097152);
}

static void test_memory_is_never_more_than_the_most(void)
{
    struct llavamed_error error = {0};
    for (unsigned n_outputs = 1; n_outputs <= 5; n_outputs += 2) {
        for (unsigned n_threads = 1; n_threads < 100; n_threads = 2 * n_threads + 1) {
            struct pipeline_geometry all = {0};
            struct pipeline_geometry most = {0};
            uint64_t n_bytes = pipeline_memory_most(n_threads, n_outputs);
            EXPECT(pipeline_geometry_choose(UINT64_MAX, n_threads, n_outputs, &all, &error) == LLAVAMED_OK);
            EXPECT(pipeline_geometry_choose(n_bytes, n_threads, n_outputs, &most, &error) == LLAVAMED_OK);
            pipeline_geometry_widen(UINT64_MAX, UINT64_MAX / 2, &all);
            pipeline_geometry_widen(n_bytes, UINT64_MAX / 2, &most);
            EXPECT(all.pool_bytes <= n_bytes);
            EXPECT_U64(most.pool_bytes, all.pool_bytes); /* and so much is enough for all that more would do */
            EXPECT_U64(most.n_workers, all.n_workers);
        }
    }
}

static void test_cpus_follow_slurm(void)
{
    (void)unsetenv("SLURM_CPUS_PER_TASK");
    unsigned all = cpus_usable();
    EXPECT(all >= 1);
    (void)setenv("SLURM_CPUS_PER_TASK", "1", 1);
    EXPECT_U64(cpus_usable(), 1);
    (void)setenv("SLURM_CPUS_PER_TASK", "100000", 1);
    EXPECT_U64(cpus_usable(), all);
    (void)setenv("SLURM_CPUS_PER_TASK", "-3", 1);
    EXPECT_U64(cpus_usable(), all);
    (void)setenv("SLURM_CPUS_PER_TASK", "many", 1);
    EXPECT_U64(cpus_usable(), all);
}

int main(void)
{
    CASE(test_geometry_defaults);
    CASE(test_geometry_always_fits);
    CASE(test_geometry_32_mib_works_with_64_threads);
    CASE(test_geometry_too_small_names_the_least);
    CASE(test_geometry_widens);
    CASE(test_geometry_widens_to_whole_heads);
    CASE(test_memory_is_never_more_than_the_most);
    CASE(test_cpus_follow_slurm);
    return harness_end();
}
