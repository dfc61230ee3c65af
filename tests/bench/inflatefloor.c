/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflatefloor crc32|sha256 ZIP: what reading the deflated entries of an archive must cost at least: zlib's inflate()
 * in pieces of 4 MiB, and one hash of what it gives. Prints "N bytes S s" with the processor time. The entries' places
 * come from the directory reader, which is not timed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "format/zip.h"
#include "integrity/digest.h"

#define PIECE_BYTES ((size_t)4 << 20)
#define INPUT_BYTES ((size_t)262144)

static uint8_t *piece;
static uint8_t *input;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "inflatefloor: error: %s\n", what);
    exit(2);
}

static double processor_seconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The CRC-32 of the entry when `sha256` is NULL, else 0. */
static uLong inflate_entry(FILE *file, const struct zip_entry *entry, struct sha256_stream *sha256)
{
    struct llavamed_error error;
    z_stream stream = {0};
    uint64_t left = entry->stored_bytes;
    uLong crc = 0;
    int code = Z_OK;
    if (fseeko(file, (off_t)entry->data_offset, SEEK_SET) != 0 || inflateInit2(&stream, -15) != Z_OK) {
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
        size_t n = PIECE_BYTES - stream.avail_out;
        if (sha256 == NULL) {
            crc = crc32(crc, piece, (uInt)n);
        } else if (sha256_update(sha256, piece, n, &error) != LLAVAMED_OK) {
            die(error.message);
        }
    }
    (void)inflateEnd(&stream);
    return crc;
}

int main(int argc, char **argv)
{
    struct llavamed_error error;
    struct input_file *archive = NULL;
    struct zip_directory directory = {0};
    struct sha256_stream *sha256 = NULL;
    char hex[SHA256_HEX_BYTES];
    piece = malloc(PIECE_BYTES);
    input = malloc(INPUT_BYTES);
    if (argc != 3 || piece == NULL || input == NULL) {
        fputs("usage: inflatefloor crc32|sha256 ZIP\n", stderr);
        return 2;
    }
    bool wants_sha256 = strcmp(argv[1], "sha256") == 0;
    if (input_file_open(argv[2], &archive, &error) != LLAVAMED_OK ||
        zip_directory_read(archive, ZIP_ARCHIVE, &directory, &error) != LLAVAMED_OK ||
        (wants_sha256 && sha256_create(&sha256, &error) != LLAVAMED_OK)) {
        die(error.message);
    }
    FILE *file = fopen(argv[2], "rb");
    if (file == NULL || setvbuf(file, NULL, _IONBF, 0) != 0) {
        die("cannot open");
    }
    uint64_t n_bytes = 0;
    double began = processor_seconds();
    for (size_t i = 0; i < directory.n_entries; i++) {
        const struct zip_entry *entry = &directory.entries[i];
        if (!entry->deflated) {
            continue;
        }
        uLong crc = inflate_entry(file, entry, sha256);
        if (sha256 == NULL && crc != entry->crc32) {
            die("wrong CRC-32");
        }
        n_bytes += entry->n_bytes;
    }
    if (sha256 != NULL && sha256_finish(sha256, hex, &error) != LLAVAMED_OK) {
        die(error.message);
    }
    printf("%llu bytes %.4f s\n", (unsigned long long)n_bytes, processor_seconds() - began);
    sha256_free(sha256);
    zip_directory_deinit(&directory);
    input_file_close(archive);
    (void)fclose(file);
    free(piece);
    free(input);
    return 0;
}
