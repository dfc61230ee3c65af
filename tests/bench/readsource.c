/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readsource [--no-crc] [--tile BYTES | --memory BYTES --threads N] SOURCE...
 * Reads every tensor of each SOURCE in tiles, as a merge does, on one thread and without writing. Prints a line per
 * SOURCE: bytes, seconds of CPU (user and system), GB per second of CPU. On files in the page cache that is what a
 * layout costs; a directory of safetensors is the plain copy to hold it against. With --memory and --threads tiles are
 * as large as a merge would make them for the coarsest of the sources, so that all are read in tiles of one size.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/checked.h"
#include "merge/pipeline.h"
#include "source/source.h"

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static enum llavamed_status read_all(struct source *source, void *tile, uint64_t tile_bytes,
                                     struct llavamed_error *error)
{
    const struct tensor_set *set = source_tensors(source);
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *tensor = &set->tensors[i];
        uint64_t most = tile_bytes / dtype_bytes(tensor->dtype);
        uint64_t grain = source_grain(source, i);
        most -= grain <= most ? most % grain : 0;
        for (uint64_t first = 0; first < tensor->n_elems; first += most) {
            uint64_t n = min_u64(most, tensor->n_elems - first);
            enum llavamed_status status = source_read(source, i, first, n, tile, error);
            if (status != LLAVAMED_OK) {
                return status;
            }
        }
    }
    return LLAVAMED_OK;
}

/* A source that is read from front to back gives its tiles in its own order. */
static enum llavamed_status read_stream(struct source *source, size_t stream, void *tile, uint64_t tile_bytes,
                                        struct llavamed_error *error)
{
    for (;;) {
        struct source_run run;
        enum llavamed_status status = source_stream_next(source, stream, &run, error);
        if (status != LLAVAMED_OK || run.n_elems == 0) {
            return status;
        }
        uint64_t most = tile_bytes / dtype_bytes(source_tensors(source)->tensors[run.tensor].dtype);
        status = source_stream_read(source, stream, min_u64(most, run.n_elems), tile, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
}

static int measure(const char *spec, bool check_crc, void *tile, uint64_t tile_bytes)
{
    const struct source_options options = {.role = "base", .check_crc = check_crc};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    enum llavamed_status status = source_open(spec, &options, &source, &error);
    double before = cpu_seconds();
    size_t n_streams = status == LLAVAMED_OK ? source_streams(source) : 0;
    for (size_t i = 0; status == LLAVAMED_OK && i < n_streams; i++) {
        status = read_stream(source, i, tile, tile_bytes, &error);
    }
    if (status == LLAVAMED_OK && n_streams == 0) {
        status = read_all(source, tile, tile_bytes, &error);
    }
    double seconds = cpu_seconds() - before;
    if (status != LLAVAMED_OK) {
        fprintf(stderr, "readsource: %s\n", error.message);
    } else {
        double bytes = (double)source_bytes_read(source);
        printf("%12.0f bytes %9.5f s %6.2f GB/s, tiles of %" PRIu64 ": %s\n", bytes, seconds, bytes / seconds / 1e9,
               tile_bytes, spec);
    }
    source_close(source);
    return status == LLAVAMED_OK ? 0 : 1;
}

/* The bytes that the coarsest grain of the source's tensors takes. */
static enum llavamed_status find_grain(const char *spec, uint64_t *grain_bytes, struct llavamed_error *error)
{
    const struct source_options options = {.role = "base"};
    struct source *source = NULL;
    enum llavamed_status status = source_open(spec, &options, &source, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < source_tensors(source)->n_tensors; i++) {
        uint64_t grain = source_grain(source, i);
        uint64_t n_bytes = grain * dtype_bytes(source_tensors(source)->tensors[i].dtype);
        *grain_bytes = grain == 1 ? *grain_bytes : max_u64(*grain_bytes, n_bytes);
    }
    source_close(source);
    return status;
}

/* As a merge with so much memory; 0 after an error, which is told. */
static uint64_t tile_of_merge(uint64_t memory, unsigned threads, char *const *specs, int n_specs)
{
    struct pipeline_geometry geometry = {0};
    struct llavamed_error error = {0};
    uint64_t grain_bytes = 0;
    enum llavamed_status status = pipeline_geometry_choose(memory, threads, 1, &geometry, &error);
    for (int i = 0; status == LLAVAMED_OK && i < n_specs; i++) {
        status = find_grain(specs[i], &grain_bytes, &error);
    }
    if (status != LLAVAMED_OK) {
        fprintf(stderr, "readsource: %s\n", error.message);
        return 0;
    }
    pipeline_geometry_widen(memory, grain_bytes, &geometry);
    return geometry.tile_bytes;
}

int main(int argc, char *argv[])
{
    bool check_crc = true;
    uint64_t tile_bytes = 4194304;
    uint64_t memory = 0;
    unsigned threads = 1;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--no-crc") == 0) {
            check_crc = false;
        } else if (strcmp(argv[at], "--tile") == 0 && at + 1 < argc) {
            tile_bytes = max_u64(8, strtoull(argv[++at], NULL, 10));
        } else if (strcmp(argv[at], "--memory") == 0 && at + 1 < argc) {
            memory = strtoull(argv[++at], NULL, 10);
        } else if (strcmp(argv[at], "--threads") == 0 && at + 1 < argc) {
            threads = (unsigned)max_u64(1, strtoul(argv[++at], NULL, 10));
        } else {
            fprintf(stderr, "readsource: unknown option %s\n", argv[at]);
            return 2;
        }
    }
    if (memory > 0) {
        tile_bytes = tile_of_merge(memory, threads, argv + at, argc - at);
        if (tile_bytes == 0) {
            return 1;
        }
    }
    void *tile = malloc((size_t)tile_bytes);
    if (tile == NULL) {
        return 6;
    }
    memset(tile, 1, (size_t)tile_bytes);
    int result = 0;
    for (; at < argc; at++) {
        result |= measure(argv[at], check_crc, tile, tile_bytes);
    }
    free(tile);
    return result;
}
