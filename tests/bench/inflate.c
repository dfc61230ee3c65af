/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflate ZIP [ENTRY]: processor time of reading an entry of an archive (the largest) through zip_member_read() in
 * pieces of 4 MiB, against a plain loop of zlib's inflate() and crc32() over the same file with the same pieces. One
 * line a round, then "ratio=R", the least time of the one over the least of the other. Exit status 1 when it is above
 * 1.1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "format/zip_member.h"

#define PIECE_BYTES ((size_t)4 << 20)
#define INPUT_BYTES ((size_t)262144)
#define ROUNDS 5

static uint8_t *piece;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "inflate: error: %s\n", what);
    exit(2);
}

static double processor_seconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double time_reader(struct input_file *file, const struct zip_entry *entry)
{
    struct llavamed_error error;
    struct zip_member *member = NULL;
    double began = processor_seconds();
    enum llavamed_status status = zip_member_open(file, entry, entry->name, &member, &error);
    while (status == LLAVAMED_OK && zip_member_position(member) < entry->n_bytes) {
        uint64_t left = entry->n_bytes - zip_member_position(member);
        uint32_t crc;
        status = zip_member_read(member, piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES, &crc, &error);
    }
    if (status == LLAVAMED_OK) {
        status = zip_member_finish(member, true, &error);
    }
    if (status != LLAVAMED_OK) {
        die(error.message);
    }
    zip_member_close(member);
    return processor_seconds() - began;
}

static double time_zlib(const char *path, const struct zip_entry *entry)
{
    static uint8_t input[INPUT_BYTES];
    z_stream stream = {0};
    uLong crc = 0;
    uint64_t left = entry->stored_bytes;
    int code = Z_OK;
    double began = processor_seconds();
    FILE *file = fopen(path, "rb");
    if (file == NULL || setvbuf(file, NULL, _IONBF, 0) != 0 || fseeko(file, (off_t)entry->data_offset, SEEK_SET) != 0 ||
        inflateInit2(&stream, -15) != Z_OK) {
        die("cannot begin");
    }
    while (code != Z_STREAM_END) {
        stream.next_out = piece;
        stream.avail_out = PIECE_BYTES;
        while (code == Z_OK && stream.avail_out > 0) {
            if (stream.avail_in == 0) {
                stream.next_in = input;
                stream.avail_in = (uInt)fread(input, 1, left < INPUT_BYTES ? (size_t)left : INPUT_BYTES, file);
                left -= stream.avail_in;
            }
            code = inflate(&stream, Z_NO_FLUSH);
        }
        if (code != Z_OK && code != Z_STREAM_END) {
            die("damaged data");
        }
        crc = crc32(crc, piece, (uInt)(PIECE_BYTES - stream.avail_out));
    }
    if (crc != entry->crc32) {
        die("wrong CRC-32");
    }
    (void)inflateEnd(&stream);
    (void)fclose(file);
    return processor_seconds() - began;
}

int main(int argc, char **argv)
{
    struct llavamed_error error;
    struct input_file *file = NULL;
    struct zip_directory directory = {0};
    piece = malloc(PIECE_BYTES);
    if (argc < 2 || argc > 3 || piece == NULL) {
        fputs("usage: inflate ZIP [ENTRY]\n", stderr);
        return 2;
    }
    if (input_file_open(argv[1], &file, &error) != LLAVAMED_OK ||
        zip_directory_read(file, ZIP_ARCHIVE, &directory, &error) != LLAVAMED_OK) {
        die(error.message);
    }
    const struct zip_entry *entry = &directory.entries[0];
    for (size_t i = 0; i < directory.n_entries; i++) {
        const struct zip_entry *other = &directory.entries[i];
        bool better = argc == 3 ? strcmp(other->name, argv[2]) == 0 : other->n_bytes > entry->n_bytes;
        entry = better ? other : entry;
    }
    if (!entry->deflated) {
        die("the entry is not deflated");
    }
    double least[2] = {1e9, 1e9};
    memset(piece, 1, PIECE_BYTES);
    for (int round = 0; round < ROUNDS; round++) {
        double seconds[2] = {time_reader(file, entry), time_zlib(argv[1], entry)};
        printf("%s: %llu bytes: reader %.3f s, zlib %.3f s\n", entry->name, (unsigned long long)entry->n_bytes,
               seconds[0], seconds[1]);
        for (int i = 0; i < 2; i++) {
            least[i] = seconds[i] < least[i] ? seconds[i] : least[i];
        }
    }
    printf("ratio=%.3f\n", least[0] / least[1]);
    zip_directory_deinit(&directory);
    input_file_close(file);
    free(piece);
    return least[0] / least[1] <= 1.1 ? 0 : 1;
}
