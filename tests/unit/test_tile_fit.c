/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a journal that are larger than the tiles of this run: cut when they are right, else forgotten. */
#include "merge/tile_fit.h"

#include <stdlib.h>

#include "core/checked.h"
#include "integrity/crc32.h"
#include "merge/journal.h"
#include "merge/tile.h"
#include "merge/tile_keep.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define BASE "tests/data/cli/base"
#define DELTA "tests/data/cli/delta"
#define TILE_BYTES 96

static struct temp_dir dir;
static struct llavamed_error error;
static struct journal_key key;

/* A plan, a file as its only shard, and a job of small tiles. */
struct bench {
    struct source *base;
    struct source *delta;
    struct plan plan;
    struct pipeline_job job;
    uint8_t *shard;
    size_t tensor;   /* the largest one */
    uint64_t offset; /* of its bytes in the shard */
    uint8_t buffer[TILE_BYTES];
    bool good;
};

static void write_shard(struct bench *bench)
{
    const struct plan_shard *shard = &bench->plan.shards[0];
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir.path, shard->name);
    FILE *stream = fopen(path, "wb");
    EXPECT(stream != NULL && fwrite(bench->shard, 1, shard->layout.file_bytes, stream) == shard->layout.file_bytes);
    EXPECT(stream != NULL && fclose(stream) == 0);
}

static void bench_open(struct bench *bench)
{
    const struct source_options of_base = {.role = "base"};
    const struct source_options of_delta = {.role = "delta"};
    const struct plan_options options = {.max_shard_bytes = UINT64_C(1) << 40};
    memset(bench, 0, sizeof *bench);
    temp_dir_make(&dir);
    bench->good = EXPECT(source_open(BASE, &of_base, &bench->base, &error) == LLAVAMED_OK) &&
                  EXPECT(source_open(DELTA, &of_delta, &bench->delta, &error) == LLAVAMED_OK) &&
                  EXPECT(plan_build(source_tensors(bench->base), BASE, source_tensors(bench->delta), DELTA, &options,
                                    &bench->plan, &error) == LLAVAMED_OK);
    if (!bench->good) {
        return;
    }
    const struct plan_shard *shard = &bench->plan.shards[0];
    bench->shard = malloc(shard->layout.file_bytes);
    for (uint64_t i = 0; i < shard->layout.file_bytes; i++) {
        bench->shard[i] = (uint8_t)(i * 251 >> 3);
    }
    uint64_t most = 0;
    for (size_t k = 0; k < shard->n_tensors; k++) {
        size_t tensor = shard->tensors[shard->layout.order[k]];
        if (bench->plan.tensors[tensor].out.n_bytes > most) {
            most = bench->plan.tensors[tensor].out.n_bytes;
            bench->tensor = tensor;
            bench->offset = shard->layout.file_offsets[k];
        }
    }
    write_shard(bench);
    bench->job = (struct pipeline_job){.plan = &bench->plan,
                                       .base = bench->base,
                                       .delta = bench->delta,
                                       .directory = dir.path,
                                       .geometry = {.n_workers = 1, .tile_bytes = TILE_BYTES}};
}

static void bench_close(struct bench *bench)
{
    journal_close(bench->job.journal);
    free(bench->shard);
    plan_deinit(&bench->plan);
    source_close(bench->base);
    source_close(bench->delta);
    temp_dir_remove(&dir);
}

/* A journal that knows all of the largest tensor as one tile, as a run with more memory leaves it. */
static void load_journal(struct bench *bench, uint32_t crc32)
{
    const struct journal_note note = {1, 7, 0, 0, 4};
    const uint64_t n_elems = bench->plan.tensors[bench->tensor].out.n_elems;
    const struct journal_entry entry = {.tensor = bench->tensor,
                                        .n_elems = n_elems,
                                        .tally = {.crc32 = crc32, .counts = {.n_rounded = n_elems}, .n_added = 5},
                                        .n_notes = 1,
                                        .notes = &note};
    char path[4096];
    struct journal_found found = {0};
    uint64_t *all = calloc(bench->plan.n_tensors, sizeof *all);
    for (size_t i = 0; all != NULL && i < bench->plan.n_tensors; i++) {
        all[i] = bench->plan.tensors[i].out.n_elems;
    }
    const struct journal_bounds bounds = {all, bench->plan.n_tensors};
    (void)snprintf(path, sizeof path, "%s/journal", dir.path);
    struct journal *made = NULL;
    EXPECT(journal_create(path, &key, &made, &error) == LLAVAMED_OK);
    EXPECT(journal_append(made, &entry, &error) == LLAVAMED_OK);
    journal_close(made);
    EXPECT(journal_continue(path, &key, &bounds, &found, &error) == LLAVAMED_OK);
    EXPECT(found.state == JOURNAL_SAME);
    bench->job.journal = found.journal;
    free(all);
}

static uint32_t right_crc32(const struct bench *bench)
{
    return crc32_update(0, bench->shard + bench->offset, bench->plan.tensors[bench->tensor].out.n_bytes);
}

static void right_entries_are_cut(void)
{
    struct bench bench;
    bench_open(&bench);
    if (bench.good) {
        const struct journal_entry *pieces = NULL;
        const struct tensor *out = &bench.plan.tensors[bench.tensor].out;
        const size_t element_bytes = dtype_bytes(out->dtype);
        const uint64_t most = tile_elems_max(&bench.job, &bench.plan.tensors[bench.tensor]);
        load_journal(&bench, right_crc32(&bench));
        EXPECT(most < out->n_elems);
        EXPECT(tile_fit_kept(&bench.job, bench.buffer, &error) == LLAVAMED_OK);
        size_t n_pieces = journal_entries(bench.job.journal, &pieces);
        EXPECT_U64(n_pieces, (out->n_elems + most - 1) / most);
        uint64_t next = 0;
        for (size_t i = 0; i < n_pieces; i++) {
            const uint8_t *bytes = bench.shard + bench.offset + next * element_bytes;
            EXPECT(pieces[i].tensor == bench.tensor && pieces[i].first_elem == next && pieces[i].n_elems <= most);
            EXPECT(pieces[i].is_piece);
            EXPECT_U64(pieces[i].tally.crc32, crc32_update(0, bytes, (size_t)pieces[i].n_elems * element_bytes));
            EXPECT_U64(pieces[i].tally.counts.n_rounded, i == 0 ? out->n_elems : 0);
            EXPECT_U64(pieces[i].tally.n_added, i == 0 ? 5 : 0);
            EXPECT_U64(pieces[i].n_notes, i == 0);
            next += pieces[i].n_elems;
        }
        EXPECT_U64(next, out->n_elems);
    }
    bench_close(&bench);
}

static void wrong_ones_are_forgotten(void)
{
    for (int missing = 0; missing < 2; missing++) {
        struct bench bench;
        bench_open(&bench);
        if (bench.good) {
            const struct journal_entry *pieces = NULL;
            load_journal(&bench, right_crc32(&bench) ^ (missing == 0));
            if (missing) {
                char path[4096];
                (void)snprintf(path, sizeof path, "%s/%s", dir.path, bench.plan.shards[0].name);
                EXPECT(remove(path) == 0);
            }
            EXPECT(tile_fit_kept(&bench.job, bench.buffer, &error) == LLAVAMED_OK);
            EXPECT_U64(journal_entries(bench.job.journal, &pieces), 0);
        }
        bench_close(&bench);
    }
}

static void a_signal_ends_it(void)
{
    struct bench bench;
    bench_open(&bench);
    if (bench.good) {
        volatile int signal_number = 15;
        bench.job.stop_signal = &signal_number;
        load_journal(&bench, right_crc32(&bench));
        EXPECT(tile_fit_kept(&bench.job, bench.buffer, &error) == LLAVAMED_STATUS_INTERRUPTED);
        EXPECT_U64((uint64_t)error.signal_number, 15);
    }
    bench_close(&bench);
}

/* The counts of all are with the first piece: when one piece is not kept after all, they are not to be relied on. */
static void a_piece_that_changes_spoils_the_rest(void)
{
    struct bench bench;
    bench_open(&bench);
    if (bench.good) {
        struct output_file *file = NULL;
        struct pipeline_tensor tally = {0};
        const struct journal_entry *pieces = NULL;
        char path[4096];
        load_journal(&bench, right_crc32(&bench));
        EXPECT(tile_fit_kept(&bench.job, bench.buffer, &error) == LLAVAMED_OK);
        EXPECT(journal_entries(bench.job.journal, &pieces) > 1);
        const struct tile tile = {.tensor = bench.tensor,
                                  .n_elems = pieces[0].n_elems,
                                  .file_offset = bench.offset,
                                  .n_bytes = (size_t)pieces[0].n_elems *
                                             dtype_bytes(bench.plan.tensors[bench.tensor].out.dtype),
                                  .kept = &pieces[0]};
        (void)snprintf(path, sizeof path, "%s/%s", dir.path, bench.plan.shards[0].name);
        EXPECT(output_file_create(path, bench.plan.shards[0].layout.file_bytes, true, &file, &error) == LLAVAMED_OK);
        EXPECT(tile_reuse(&bench.job, &tile, file, bench.buffer, &tally));
        EXPECT(!journal_is_spoiled(bench.job.journal));
        EXPECT(output_file_write(file, bench.offset, "other", 5, &error) == LLAVAMED_OK);
        EXPECT(!tile_reuse(&bench.job, &tile, file, bench.buffer, &tally));
        EXPECT(journal_is_spoiled(bench.job.journal));
        output_file_close(file);
    }
    bench_close(&bench);
}

int main(void)
{
    CASE(right_entries_are_cut);
    CASE(wrong_ones_are_forgotten);
    CASE(a_signal_ends_it);
    CASE(a_piece_that_changes_spoils_the_rest);
    return harness_end();
}
