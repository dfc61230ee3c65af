/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of tensors in a file that is read in pieces, against their line and bytes hashed at once. */
#include "unit/harness.h"
#include "unit/make_set.h"
#include "verify/span_crc.h"

#define FILE_BYTES 20000

static struct llavamed_error error;
static uint8_t file[FILE_BYTES];

/* A tensor and where it lies; `rows` by `columns`, or `rows` alone. */
struct held {
    enum dtype dtype;
    uint64_t rows;
    uint64_t columns;
    uint64_t begin;
    bool is_wanted; /* its digest */
};

/* As docs/digests.md has it. */
static void want_digest(const struct held *held, const struct tensor *tensor, char sha256[SHA256_HEX_BYTES])
{
    static char text[FILE_BYTES + 128];
    int n = snprintf(text, 128, held->columns == 0 ? "%s [%llu]\n" : "%s [%llu,%llu]\n", dtype_name(held->dtype),
                     (unsigned long long)held->rows, (unsigned long long)held->columns);
    memcpy(text + n, file + held->begin, (size_t)tensor->n_bytes);
    EXPECT(sha256_of(text, (size_t)n + (size_t)tensor->n_bytes, sha256, NULL) == LLAVAMED_OK);
}

static void put_all(const struct held *held, size_t n, struct tensor_set *set)
{
    tensor_set_init(set);
    for (size_t i = 0; i < n; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%02zu", i);
        set_put(set, name, held[i].dtype, held[i].columns == 0 ? 1 : 2, held[i].rows, held[i].columns);
    }
}

static void check_all(const struct held *held, size_t n, size_t n_file, size_t piece)
{
    struct tensor_set set;
    struct span_crc crc = {0};
    char got[16][SHA256_HEX_BYTES] = {""};
    make_set_require(n <= 16);
    put_all(held, n, &set);
    for (size_t i = 0; i < n; i++) {
        EXPECT_U64(span_crc_add(&crc, held[i].begin, set.tensors[i].n_bytes, i, &error), LLAVAMED_OK);
        if (held[i].is_wanted) {
            span_crc_want_digest(&crc, &set.tensors[i], got[i]);
        }
    }
    EXPECT_U64(span_crc_start(&crc, n_file, &error), LLAVAMED_OK);
    for (size_t at = 0; at < n_file; at += piece) {
        span_crc_feed(&crc, file + at, n_file - at < piece ? n_file - at : piece);
    }
    span_crc_finish(&crc);
    EXPECT_U64(span_crc_status(&crc, &error), LLAVAMED_OK);
    for (size_t i = 0; i < crc.n_spans; i++) {
        const struct crc_span *span = &crc.spans[i];
        const struct tensor *tensor = &set.tensors[span->owner];
        bool is_inside = tensor->n_bytes == 0 || span->begin + tensor->n_bytes <= n_file;
        char want[SHA256_HEX_BYTES] = "";
        EXPECT_U64(span->is_done, is_inside);
        if (held[span->owner].is_wanted && is_inside) {
            want_digest(&held[span->owner], tensor, want);
        }
        EXPECT_TEXT(got[span->owner], want);
        EXPECT((span->stream != NULL) == (span->tensor != NULL && !is_inside && span->begin < n_file));
    }
    span_crc_deinit(&crc);
    tensor_set_deinit(&set);
}

static const size_t pieces[] = {1, 7, 100, 4096, FILE_BYTES};

static void tensors_side_by_side(void)
{
    static const struct held held[] = {{DTYPE_F16, 50, 0, 5000, true},  {DTYPE_F32, 10, 25, 0, true},
                                       {DTYPE_U8, 4000, 0, 1000, false}, {DTYPE_I64, 1, 1, 5100, true},
                                       {DTYPE_F16, 0, 7, 6000, true},   {DTYPE_F32, 0, 0, 30000, true},
                                       {DTYPE_BF16, 0, 7, 6000, false}, {DTYPE_BOOL, 1, 0, FILE_BYTES - 1, true}};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        check_all(held, sizeof held / sizeof held[0], FILE_BYTES, pieces[i]);
    }
}

/* The same bytes as tensors of other forms, wanted and not; parts of one another. */
static void tensors_that_overlap(void)
{
    static const struct held held[] = {
        {DTYPE_F16, 1000, 0, 0, true},  {DTYPE_F16, 1000, 0, 0, true},   {DTYPE_BF16, 1000, 0, 0, true},
        {DTYPE_F16, 10, 100, 0, true},  {DTYPE_F16, 100, 10, 0, false},  {DTYPE_U8, 2000, 0, 0, false},
        {DTYPE_F32, 100, 0, 800, true}, {DTYPE_F32, 400, 0, 1600, true}, {DTYPE_U8, 1, 0, 1999, true},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        check_all(held, sizeof held / sizeof held[0], FILE_BYTES, pieces[i]);
    }
}

static void tensors_cut_off(void)
{
    static const struct held held[] = {{DTYPE_U8, 50, 0, 0, true},   {DTYPE_U8, 60, 0, 50, true},
                                       {DTYPE_U8, 60, 0, 99, true},  {DTYPE_U8, 60, 0, 100, true},
                                       {DTYPE_U8, 60, 0, 40, false}, {DTYPE_F16, 0, 0, 200, true}};
    check_all(held, sizeof held / sizeof held[0], 100, 30);
    check_all(held, sizeof held / sizeof held[0], 100, 100);
}

/* Alike runs cost once for a CRC-32, but each time for a digest: 16 times the file is the most. */
static void sums_are_bounded(void)
{
    const uint64_t n_bytes = 10000000;
    char got[SHA256_HEX_BYTES];
    struct tensor_set set;
    tensor_set_init(&set);
    set_put(&set, "t", DTYPE_U8, 1, n_bytes, 0);
    for (unsigned n_wanted = 16; n_wanted <= 17; n_wanted++) {
        struct span_crc crc = {0};
        for (size_t i = 0; i < 100; i++) {
            EXPECT_U64(span_crc_add(&crc, 0, n_bytes, i, &error), LLAVAMED_OK);
            if (i % 5 == 0 && i / 5 < n_wanted) {
                span_crc_want_digest(&crc, &set.tensors[0], got);
            }
        }
        EXPECT_U64(span_crc_start(&crc, n_bytes, &error),
                   n_wanted == 16 ? LLAVAMED_OK : LLAVAMED_STATUS_INPUT_LIMIT);
        span_crc_deinit(&crc);
    }
    tensor_set_deinit(&set);
}

int main(void)
{
    uint32_t state = 99;
    for (size_t i = 0; i < sizeof file; i++) {
        state = state * 1664525 + 1013904223;
        file[i] = (uint8_t)(state >> 24);
    }
    CASE(tensors_side_by_side);
    CASE(tensors_that_overlap);
    CASE(tensors_cut_off);
    CASE(sums_are_bounded);
    return harness_end();
}
