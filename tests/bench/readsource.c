/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readsource [--no-crc] [--tile BYTES] SOURCE...
 * Reads every tensor of each SOURCE in tiles, as a merge does, on one thread and without writing. Prints a line per
 * SOURCE: bytes, seconds of CPU (user and system), GB per second of CPU. On files in the page cache that is what a
 * layout costs; a directory of safetensors is the plain copy to hold it against.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/checked.h"
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

static int measure(const char *spec, bool check_crc, void *tile, uint64_t tile_bytes)
{
    const struct source_options options = {.role = "base", .check_crc = check_crc};
    struct source *source = NULL;
    struct llavamed_error error = {0};
    enum llavamed_status status = source_open(spec, &options, &source, &error);
    double before = cpu_seconds();
    if (status == LLAVAMED_OK) {
        status = read_all(source, tile, tile_bytes, &error);
    }
    double seconds = cpu_seconds() - before;
    if (status != LLAVAMED_OK) {
        fprintf(stderr, "readsource: %s\n", error.message);
    } else {
        double bytes = (double)source_bytes_read(source);
        printf("%12.0f bytes %9.5f s %6.2f GB/s %s\n", bytes, seconds, bytes / seconds / 1e9, spec);
    }
    source_close(source);
    return status == LLAVAMED_OK ? 0 : 1;
}

int main(int argc, char *argv[])
{
    bool check_crc = true;
    uint64_t tile_bytes = 4194304;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--no-crc") == 0) {
            check_crc = false;
        } else if (strcmp(argv[at], "--tile") == 0 && at + 1 < argc) {
            tile_bytes = max_u64(8, strtoull(argv[++at], NULL, 10));
        } else {
            fprintf(stderr, "readsource: unknown option %s\n", argv[at]);
            return 2;
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
