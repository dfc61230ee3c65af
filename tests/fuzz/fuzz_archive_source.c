/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a file that is opened as a source. What opens as streams gives every element of every tensor once, in
 * order, or ends with an error; turned back, even then, it gives the same again. Whatever fails, fails as an input
 * does.
 */
#include "fuzz_memory.h"
#include "integrity/crc32.h"
#include "source/source_parts.h"

/* A small archive can hold a thousand times its size: no more is read than this. */
#define CONTENT_BYTES_MAX ((uint64_t)1 << 22)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static uint64_t count_bytes(const struct tensor_set *set)
{
    uint64_t n = 0;
    for (size_t i = 0; i < set->n_tensors && n <= CONTENT_BYTES_MAX; i++) {
        n += set->tensors[i].n_bytes <= CONTENT_BYTES_MAX ? set->tensors[i].n_bytes : CONTENT_BYTES_MAX + 1;
    }
    return n;
}

/* Reads a stream to its end; *crc32 is that of all it gave, *n_elems how much that was. */
static enum llavamed_status read_stream(struct source *source, size_t stream, uint64_t most, uint32_t *crc32,
                                        uint64_t *n_elems, struct llavamed_error *error)
{
    static uint8_t piece[8 * 4096];
    struct source_run last = {SIZE_MAX, 0, 0};
    for (;;) {
        struct source_run run = {0};
        enum llavamed_status status = source_stream_next(source, stream, &run, error);
        if (status != LLAVAMED_OK || run.n_elems == 0) {
            REQUIRE(status != LLAVAMED_OK || last.n_elems == 0);
            return status;
        }
        const struct tensor *tensor = &source_tensors(source)->tensors[run.tensor];
        REQUIRE(run.tensor < source_tensors(source)->n_tensors && dtype_bytes(tensor->dtype) > 0);
        REQUIRE(run.first_elem + run.n_elems == tensor->n_elems);
        REQUIRE(last.n_elems == 0 ? run.first_elem == 0 : run.tensor == last.tensor && run.n_elems == last.n_elems);
        uint64_t n = run.n_elems < most ? run.n_elems : most;
        status = source_stream_read(source, stream, n, piece, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        *crc32 = crc32_update(*crc32, piece, (size_t)n * dtype_bytes(tensor->dtype));
        *n_elems += n;
        last = (struct source_run){run.tensor, run.first_elem + n, run.n_elems - n};
    }
}

static enum llavamed_status read_all(struct source *source, uint64_t most, uint32_t *crc32,
                                     struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(source);
    uint64_t n_elems = 0;
    uint64_t n_wanted = 0;
    for (size_t i = 0; i < set->n_tensors; i++) {
        n_wanted += dtype_bytes(set->tensors[i].dtype) > 0 ? set->tensors[i].n_elems : 0;
    }
    *crc32 = 0;
    for (size_t i = 0; i < source_streams(source); i++) {
        enum llavamed_status status = source->layout->stream_rewind(source->state, i, error);
        if (status == LLAVAMED_OK) {
            status = read_stream(source, i, most, crc32, &n_elems, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    REQUIRE(n_elems == n_wanted);
    return LLAVAMED_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const struct source_options options = {.role = "delta", .check_crc = true};
    struct llavamed_error error = {0};
    struct source *source = NULL;
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && (n_bytes == 0 || write(fd, bytes, n_bytes) == (ssize_t)n_bytes));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum llavamed_status status = source_open(path, &options, &source, &error);
    if (status == LLAVAMED_OK && source_streams(source) > 0 &&
        count_bytes(source_tensors(source)) <= CONTENT_BYTES_MAX) {
        uint32_t first = 0;
        uint32_t second = 0;
        status = read_all(source, 1 + n_bytes % 97, &first, &error);
        enum llavamed_status again = read_all(source, 4096, &second, &error);
        REQUIRE(again == status && (status != LLAVAMED_OK || first == second));
    }
    REQUIRE(status == LLAVAMED_OK ||
            llavamed_exit_status(&error) == (error.status == LLAVAMED_STATUS_CRC_MISMATCH ? 1 : 3));
    source_close(source);
    (void)close(fd);
    return 0;
}
