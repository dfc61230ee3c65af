/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts [TILE_BYTES]: processor time of what a merge computes, each by itself, in seconds for a GB of output: the
 * addition of two F16 tiles into a third, SHA-256 and CRC-32 of a tile. One line: "add=S sha256=S crc32=S", the least
 * of five rounds over a quarter of a GB in tiles of this size (1 MiB), which are as warm as in a merge from the page
 * cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "integrity/crc32.h"
#include "integrity/digest.h"
#include "kernel/kernel.h"

#define ROUNDS 5
#define ROUND_BYTES 250000000

enum part { ADD, SHA256, CRC32, PART_COUNT };

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double measure(enum part part, uint16_t *tiles[3], size_t tile_bytes)
{
    struct kernel_counts counts = {0};
    struct sha256_stream *stream = NULL;
    struct llavamed_error error;
    uint32_t crc = 0;
    if (sha256_create(&stream, &error) != LLAVAMED_OK) {
        exit(1);
    }
    double began = now();
    for (size_t done = 0; done < ROUND_BYTES; done += tile_bytes) {
        if (part == ADD) {
            kernel_best()->add[KERNEL_F16](tiles[2], tiles[0], tiles[1], tile_bytes / sizeof(uint16_t), &counts);
        } else if (part == CRC32) {
            crc = crc32_update(crc, tiles[2], tile_bytes);
        } else if (sha256_update(stream, tiles[2], tile_bytes, &error) != LLAVAMED_OK) {
            exit(1);
        }
    }
    double seconds = now() - began;
    sha256_free(stream);
    tiles[2][0] = (uint16_t)(crc + counts.n_rounded);
    return seconds;
}

int main(int argc, char **argv)
{
    size_t tile_bytes = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 1048576;
    uint16_t *tiles[3];
    double best[PART_COUNT];
    if (tile_bytes < 4096 || tile_bytes > ROUND_BYTES || tile_bytes % sizeof(uint16_t) != 0) {
        fputs("usage: parts [TILE_BYTES]\n", stderr);
        return 2;
    }
    uint32_t state = 1;
    for (int i = 0; i < 3; i++) {
        tiles[i] = malloc(tile_bytes);
        if (tiles[i] == NULL) {
            return 1;
        }
        for (size_t k = 0; k < tile_bytes / sizeof(uint16_t); k++) {
            state = state * 1664525u + 1013904223u;
            tiles[i][k] = (uint16_t)(state >> 16 & 0xbfffu); /* no NaN and no infinity */
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (enum part part = 0; part < PART_COUNT; part++) {
            double seconds = measure(part, tiles, tile_bytes);
            best[part] = round == 0 || seconds < best[part] ? seconds : best[part];
        }
    }
    double giga = ROUND_BYTES / 1e9;
    printf("add=%.4f sha256=%.4f crc32=%.4f\n", best[ADD] / giga, best[SHA256] / giga, best[CRC32] / giga);
    for (int i = 0; i < 3; i++) {
        free(tiles[i]);
    }
    return 0;
}
