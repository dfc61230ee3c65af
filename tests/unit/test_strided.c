/* SPDX-License-Identifier: Apache-2.0 */
/* Views with any strides, element by element against the definition: offset + sum(index * stride). */
#include "source/strided.h"

#include <time.h>
#include <unistd.h>

#include "core/checked.h"
#include "unit/harness.h"

#define SMALL_BYTES 4096
#define LARGE_BYTES 16777216

static uint8_t *content;

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

static struct input_file *make_file(size_t n_bytes)
{
    static char path[] = "/tmp/llavamed-strided-XXXXXX";
    char name[sizeof path];
    struct input_file *file = NULL;
    memcpy(name, path, sizeof name);
    int fd = mkstemp(name);
    content = malloc(n_bytes);
    if (!EXPECT(fd >= 0) || !EXPECT(content != NULL)) {
        return NULL;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        content[i] = (uint8_t)(random_below(256));
    }
    EXPECT(write(fd, content, n_bytes) == (ssize_t)n_bytes);
    (void)close(fd);
    EXPECT(input_file_open(name, &file, NULL) == LLAVAMED_OK);
    (void)unlink(name);
    return file;
}

static void close_file(struct input_file *file)
{
    input_file_close(file);
    free(content);
    content = NULL;
}

struct case_view {
    enum dtype dtype;
    unsigned rank;
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t strides[TENSOR_RANK_MAX];
    uint64_t offset; /* bytes */
};

static void make_tensor(const struct case_view *view, struct tensor *tensor)
{
    EXPECT(tensor_init(tensor, "test", "w", 1, view->dtype, view->shape, view->rank, NULL) == LLAVAMED_OK);
}

/* The definition, one element. */
static const uint8_t *element(const struct case_view *view, uint64_t index)
{
    uint64_t at = 0;
    for (unsigned i = view->rank; i > 0; i--) {
        at += index % view->shape[i - 1] * view->strides[i - 1];
        index /= view->shape[i - 1];
    }
    return content + view->offset + at * dtype_bytes(view->dtype);
}

/* Reads [first, first + n) between two guards; returns the bytes that came from the file. */
static uint64_t expect_range(struct input_file *file, const struct case_view *view, uint64_t first, uint64_t n)
{
    struct tensor tensor;
    struct strided_view strided;
    size_t elem_bytes = dtype_bytes(view->dtype);
    size_t n_bytes = (size_t)n * elem_bytes;
    uint8_t *got = malloc(n_bytes + 32);
    make_tensor(view, &tensor);
    strided_view_init(&strided, &tensor, view->strides, view->offset);
    memset(got, 0x5a, n_bytes + 32);
    struct strided_read read = {
        .file = file, .view = &strided, .first_elem = first, .n_elems = n, .buffer = got + 16};
    bool same = EXPECT(strided_read(&read, NULL) == LLAVAMED_OK);
    for (uint64_t i = 0; i < n && same; i++) {
        same = EXPECT(memcmp(got + 16 + i * elem_bytes, element(view, first + i), elem_bytes) == 0);
    }
    for (size_t i = 0; i < 16; i++) {
        same = EXPECT(got[i] == 0x5a && got[16 + n_bytes + i] == 0x5a) && same;
    }
    if (!same) {
        printf("    rank %u, elements %llu + %llu of %llu\n", view->rank, (unsigned long long)first,
               (unsigned long long)n, (unsigned long long)tensor.n_elems);
    }
    tensor_deinit(&tensor);
    free(got);
    return read.bytes_read;
}

static const struct case_view small_views[] = {
    {DTYPE_F16, 0, {0}, {0}, 10},
    {DTYPE_F16, 1, {7}, {3}, 2},
    {DTYPE_U8, 1, {9}, {0}, 5},
    {DTYPE_F16, 2, {5, 3}, {1, 5}, 0},
    {DTYPE_F32, 2, {4, 6}, {1, 4}, 4},
    {DTYPE_I64, 2, {3, 4}, {1, 3}, 8},
    {DTYPE_F16, 2, {4, 3}, {0, 1}, 6},
    {DTYPE_F16, 2, {4, 3}, {1, 0}, 6},
    {DTYPE_F16, 2, {2, 3}, {1, 1}, 0},
    {DTYPE_F16, 2, {3, 4}, {9, 2}, 0},
    {DTYPE_BF16, 3, {4, 2, 3}, {1, 12, 4}, 0},
    {DTYPE_BF16, 3, {2, 3, 4}, {4, 8, 1}, 2},
    {DTYPE_F32, 3, {2, 1, 4}, {99, 12345, 2}, 0},
    {DTYPE_F16, 4, {2, 3, 2, 2}, {1, 2, 6, 12}, 0},
    {DTYPE_F16, 4, {2, 3, 2, 2}, {12, 0, 2, 1}, 0},
    {DTYPE_F16, 5, {2, 2, 2, 2, 2}, {1, 4, 2, 16, 8}, 0},
};

static uint64_t count_elems(const struct case_view *view)
{
    uint64_t n = 1;
    for (unsigned i = 0; i < view->rank; i++) {
        n *= view->shape[i];
    }
    return n;
}

static void every_range_of_small_views(void)
{
    struct input_file *file = make_file(SMALL_BYTES);
    for (size_t i = 0; i < sizeof small_views / sizeof small_views[0]; i++) {
        uint64_t n_elems = count_elems(&small_views[i]);
        for (uint64_t first = 0; first <= n_elems; first++) {
            for (uint64_t n = 0; first + n <= n_elems; n++) {
                (void)expect_range(file, &small_views[i], first, n);
            }
        }
    }
    close_file(file);
}

/* Strides with gaps below and above a page, in ascending, descending and mixed order. */
static void random_views(void)
{
    static const enum dtype dtypes[] = {DTYPE_U8, DTYPE_F16, DTYPE_F32, DTYPE_F64};
    struct input_file *file = make_file(LARGE_BYTES);
    for (int round = 0; round < 3000; round++) {
        struct case_view view = {.dtype = dtypes[random_below(4)], .rank = random_below(5)};
        uint64_t room = LARGE_BYTES / dtype_bytes(view.dtype) - 1;
        for (unsigned i = 0; i < view.rank; i++) {
            view.shape[i] = 1 + random_below(random_below(4) == 0 ? 40 : 5);
            uint64_t most = room / view.shape[i];
            most = random_below(2) == 0 ? min_u64(most, 20) : min_u64(most, random_below(2) == 0 ? 3000 : 200000);
            view.strides[i] = random_below((uint32_t)most + 1);
            room -= (view.shape[i] - 1) * view.strides[i];
        }
        view.offset = random_below((uint32_t)room + 1) * dtype_bytes(view.dtype);
        uint64_t n_elems = count_elems(&view);
        uint64_t first = random_below((uint32_t)n_elems);
        (void)expect_range(file, &view, first, random_below((uint32_t)(n_elems - first) + 1));
        (void)expect_range(file, &view, 0, n_elems);
    }
    close_file(file);
}

/* More than the bounce buffer holds in every way, and no more of the file than a box needs. */
static void large_views(void)
{
    static const struct {
        struct case_view view;
        uint64_t bytes; /* most that reading all of it may take from the file */
    } rows[] = {
        {{DTYPE_F16, 2, {2048, 1024}, {1, 2048}, 64}, 4194304},
        {{DTYPE_F16, 2, {300, 7000}, {1, 300}, 0}, 4200000},
        {{DTYPE_F32, 2, {1500, 1000}, {2500, 1}, 0}, 6000000},
        {{DTYPE_U8, 2, {1000, 400000}, {0, 1}, 9}, 400000},
        {{DTYPE_F16, 2, {300000, 2}, {1, 0}, 0}, 600000},
        {{DTYPE_F16, 1, {200000}, {40}, 0}, 16000000},
        {{DTYPE_F16, 3, {64, 128, 512}, {512, 32768, 1}, 0}, 8388608},
        {{DTYPE_F32, 3, {100, 100, 100}, {1, 100, 10000}, 0}, 4000000},
        {{DTYPE_F64, 2, {400, 400}, {5000, 2}, 8}, 16000000},
    };
    struct input_file *file = make_file(LARGE_BYTES);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t n_elems = count_elems(&rows[i].view);
        uint64_t n = n_elems > 30000000 ? 30000000 : n_elems;
        uint64_t bytes = expect_range(file, &rows[i].view, 0, n);
        if (n == n_elems && !EXPECT(bytes <= rows[i].bytes)) {
            printf("    view %zu: %llu bytes\n", i, (unsigned long long)bytes);
        }
        (void)expect_range(file, &rows[i].view, 1, 77777);
        (void)expect_range(file, &rows[i].view, n_elems - 77777, 77777);
        (void)expect_range(file, &rows[i].view, n_elems / 3 + 1, n_elems / 200);
    }
    close_file(file);
}

static void errors_are_passed_on(void)
{
    struct input_file *file = make_file(SMALL_BYTES);
    const struct case_view view = {DTYPE_F16, 2, {1000, 3}, {1, 1000}, 0};
    struct tensor tensor;
    struct strided_view strided;
    struct llavamed_error error = {0};
    uint8_t got[6000];
    make_tensor(&view, &tensor);
    strided_view_init(&strided, &tensor, view.strides, view.offset);
    struct strided_read read = {.file = file, .view = &strided, .first_elem = 0, .n_elems = 3000, .buffer = got};
    EXPECT(strided_read(&read, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED);
    tensor_deinit(&tensor);
    close_file(file);
}

/* A 7B layer's matrix, transposed, in the tiles that a merge asks for. */
static void speed_is_told(void)
{
    struct input_file *file = make_file(LARGE_BYTES);
    const struct case_view view = {DTYPE_F16, 2, {2048, 4096}, {1, 2048}, 0};
    struct tensor tensor;
    struct strided_view strided;
    uint8_t *got = malloc(1048576);
    clock_t start = clock();
    make_tensor(&view, &tensor);
    strided_view_init(&strided, &tensor, view.strides, view.offset);
    for (uint64_t first = 0; first < tensor.n_elems; first += 524288) {
        struct strided_read read = {
            .file = file, .view = &strided, .first_elem = first, .n_elems = 524288, .buffer = got};
        EXPECT(strided_read(&read, NULL) == LLAVAMED_OK);
    }
    printf("transposed, tiles of 1 MiB: %.0f MB/s\n",
           LARGE_BYTES / 1e6 / ((double)(clock() - start) / CLOCKS_PER_SEC));
    tensor_deinit(&tensor);
    free(got);
    close_file(file);
}

/* A range of rows that do not follow each other in the file is best a large one. */
static void grains(void)
{
    static const struct {
        struct case_view view;
        uint64_t grain;
    } cases[] = {
        {{DTYPE_F16, 0, {0}, {0}, 0}, 1},
        {{DTYPE_F16, 1, {7}, {3}, 0}, 1},
        {{DTYPE_F16, 2, {5, 3}, {1, 5}, 0}, 15},
        {{DTYPE_F16, 2, {5, 3}, {4, 1}, 0}, 1},
        {{DTYPE_F16, 2, {4, 3}, {0, 1}, 0}, 12},
        {{DTYPE_F16, 2, {4, 3}, {1, 0}, 0}, 1},
        {{DTYPE_F16, 3, {4, 2, 3}, {6, 1, 2}, 0}, 6},
        {{DTYPE_F16, 3, {4, 2, 3}, {1, 12, 4}, 0}, 24},
        {{DTYPE_F16, 3, {4, 2, 3}, {2, 8, 1}, 0}, 24},
        {{DTYPE_F16, 4, {2, 3, 2, 2}, {12, 4, 1, 2}, 0}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tensor tensor;
        struct strided_view view;
        make_tensor(&cases[i].view, &tensor);
        strided_view_init(&view, &tensor, cases[i].view.strides, 0);
        EXPECT_U64(strided_grain(&view), cases[i].grain);
        tensor_deinit(&tensor);
    }
}

static void sizes_are_capped(void)
{
    EXPECT(strided_size_is_sane(STRIDED_FREE_BYTES, 0));
    EXPECT(!strided_size_is_sane(STRIDED_FREE_BYTES + 16, 1));
    EXPECT(strided_size_is_sane(16000000, 1000000));
    EXPECT(!strided_size_is_sane(16000016, 1000000));
    EXPECT(!strided_size_is_sane(UINT64_MAX, (uint64_t)1 << 59));
    EXPECT(strided_size_is_sane(UINT64_MAX, (uint64_t)1 << 60));
}

int main(void)
{
    CASE(every_range_of_small_views);
    CASE(random_views);
    CASE(large_views);
    CASE(errors_are_passed_on);
    CASE(speed_is_told);
    CASE(grains);
    CASE(sizes_are_capped);
    return harness_end();
}
