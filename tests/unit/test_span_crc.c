/* SPDX-License-Identifier: Apache-2.0 */
/* The CRC-32s of runs of a file, against those of zlib's algorithm over each run by itself, bit by bit. */
#include "verify/span_crc.h"

#include "core/clock.h"
#include "unit/harness.h"

static struct llavamed_error error;
static uint8_t file[200000];

static void fill_file(void)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < sizeof file; i++) {
        state = state * 1664525 + 1013904223;
        file[i] = (uint8_t)(state >> 24);
    }
}

/* By the definition of the polynomial; nothing of the library. */
static uint32_t slow_crc(const uint8_t *bytes, size_t n_bytes)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n_bytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

struct run {
    uint64_t begin;
    uint64_t n_bytes;
};

/* All runs, the file being fed in pieces of so many bytes; sums are compared when they are within n_file. */
static void check_runs(const struct run *runs, size_t n_runs, size_t n_file, size_t piece)
{
    struct span_crc crc = {0};
    for (size_t i = 0; i < n_runs; i++) {
        EXPECT_U64(span_crc_add(&crc, runs[i].begin, runs[i].n_bytes, i, &error), LLAVAMED_OK);
    }
    EXPECT_U64(span_crc_start(&crc, n_file, &error), LLAVAMED_OK);
    for (size_t at = 0; at < n_file; at += piece) {
        span_crc_feed(&crc, file + at, n_file - at < piece ? n_file - at : piece);
    }
    span_crc_finish(&crc);
    EXPECT_U64(crc.n_spans, n_runs);
    EXPECT_U64(crc.n_active == 0 || n_file < sizeof file, true);
    for (size_t i = 0; i < crc.n_spans; i++) {
        const struct crc_span *span = &crc.spans[i];
        const struct run *run = &runs[span->owner];
        EXPECT_U64(span->begin, run->begin);
        EXPECT_U64(span->n_bytes, run->n_bytes);
        bool is_inside = run->n_bytes == 0 || run->begin + run->n_bytes <= n_file;
        EXPECT_U64(span->is_done, is_inside);
        if (is_inside) {
            EXPECT_U64(span->crc32, slow_crc(file + run->begin, (size_t)run->n_bytes));
        }
    }
    span_crc_deinit(&crc);
}

static void runs_in_pieces(void)
{
    static const struct run apart[] = {{5000, 100}, {0, 10}, {10, 4990}, {5100, 0}, {5200, 1}, {9999, 1}};
    static const size_t pieces[] = {1, 7, 64, 4096, 100000};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        check_runs(apart, sizeof apart / sizeof apart[0], 10000, pieces[i]);
    }
    check_runs(apart, 0, 10000, 512);
}

/* Tensors that share a storage: alike, inside of one another, across each other's ends. */
static void runs_that_overlap(void)
{
    static const struct run runs[] = {{0, 10000}, {0, 10000}, {0, 10},     {3, 9000},   {3, 9000},  {3, 9000},
                                      {9, 1},     {9, 1},     {4000, 900}, {4500, 900}, {9990, 10}, {0, 10000}};
    static const size_t pieces[] = {1, 100, 4500, 10000};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        check_runs(runs, sizeof runs / sizeof runs[0], 10000, pieces[i]);
    }
}

static void runs_beyond_the_end(void)
{
    static const struct run runs[] = {{0, 10}, {90, 10}, {95, 100}, {100, 5}, {1000, 5}, {100, 0}, {5000, 0}, {95, 5}};
    check_runs(runs, sizeof runs / sizeof runs[0], 100, 32);
    check_runs(runs, sizeof runs / sizeof runs[0], 100, 1000);
}

static void sums_are_bounded(void)
{
    struct span_crc crc = {0};
    EXPECT_U64(span_crc_add(&crc, UINT64_MAX - 5, 6, 0, &error), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT_U64(span_crc_add(&crc, UINT64_MAX - 5, 5, 0, &error), LLAVAMED_OK);
    EXPECT_U64(span_crc_add(&crc, 1, UINT64_MAX - 5, 1, &error), LLAVAMED_OK);
    EXPECT_U64(span_crc_add(&crc, 2, UINT64_MAX - 5, 2, &error), LLAVAMED_OK);
    EXPECT_U64(span_crc_start(&crc, 1 << 20, &error), LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(strstr(error.message, "its tensors repeat its bytes too often") == error.message);
    span_crc_deinit(&crc);
    /* 16 times the file, which alike runs do not add to; one more is too many. */
    for (unsigned extra = 0; extra < 2; extra++) {
        crc = (struct span_crc){0};
        for (size_t i = 0; i < 1000; i++) {
            EXPECT_U64(span_crc_add(&crc, 0, 10000000, i, &error), LLAVAMED_OK);
        }
        for (size_t i = 1; i < 16 + 2 * extra; i++) {
            EXPECT_U64(span_crc_add(&crc, i, 10000000 - i, i, &error), LLAVAMED_OK);
        }
        EXPECT_U64(span_crc_start(&crc, 10000000, &error), extra == 0 ? LLAVAMED_OK : LLAVAMED_STATUS_INPUT_LIMIT);
        span_crc_deinit(&crc);
    }
}

/* One long run over many short ones: each costs as much as its bytes, whatever lies over it. */
static void long_over_many(void)
{
    struct span_crc crc = {0};
    size_t n = sizeof file / 2;
    EXPECT_U64(span_crc_add(&crc, 0, sizeof file, 0, &error), LLAVAMED_OK);
    for (size_t i = 0; i < n; i++) {
        EXPECT_U64(span_crc_add(&crc, 2 * i, 2, i + 1, &error), LLAVAMED_OK);
    }
    EXPECT_U64(span_crc_start(&crc, sizeof file, &error), LLAVAMED_OK);
    uint64_t before = clock_monotonic_ns();
    for (size_t at = 0; at < sizeof file; at += 500) {
        span_crc_feed(&crc, file + at, 500);
    }
    span_crc_finish(&crc);
    EXPECT(clock_monotonic_ns() - before < UINT64_C(2000000000)); /* n steps; n * n would be 10^10 */
    for (size_t i = 0; i < crc.n_spans; i += 997) {
        const struct crc_span *span = &crc.spans[i];
        EXPECT_U64(span->crc32, slow_crc(file + span->begin, (size_t)span->n_bytes));
    }
    span_crc_deinit(&crc);
}

int main(void)
{
    fill_file();
    CASE(runs_in_pieces);
    CASE(runs_that_overlap);
    CASE(runs_beyond_the_end);
    CASE(sums_are_bounded);
    CASE(long_over_many);
    return harness_end();
}
