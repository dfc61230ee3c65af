/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An archive in memory, around bytes that a test wants to be read out of it: stored, or deflated by zlib itself. A
 * set-up that fails aborts.
 */
#ifndef UNIT_MAKE_ZIP_H
#define UNIT_MAKE_ZIP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct make_zip {
    uint8_t *bytes; /* owned: free() them */
    size_t n_bytes;
    uint8_t *central; /* owned until make_zip_end() */
    size_t central_bytes;
    size_t n_entries;
};

static inline void make_zip_put(uint8_t **bytes, size_t *n_bytes, const void *more, size_t n_more)
{
    uint8_t *grown = realloc(*bytes, *n_bytes + n_more + 1);
    if (grown == NULL) {
        abort();
    }
    if (n_more > 0) {
        memcpy(grown + *n_bytes, more, n_more);
    }
    *bytes = grown;
    *n_bytes += n_more;
}

/* Little-endian fields: `widths` has their sizes, one digit each. */
static inline void make_zip_fields(uint8_t **bytes, size_t *n_bytes, const char *widths, const uint64_t *values)
{
    for (size_t i = 0; widths[i] != '\0'; i++) {
        uint8_t field[8];
        for (int k = 0; k < 8; k++) {
            field[k] = (uint8_t)(values[i] >> (8 * k));
        }
        make_zip_put(bytes, n_bytes, field, (size_t)(widths[i] - '0'));
    }
}

/* The deflate data of the content; *n_bytes becomes its size. free() it. */
static inline uint8_t *make_zip_deflate(const void *content, size_t *n_bytes, int level)
{
    z_stream stream = {0};
    size_t room = *n_bytes + *n_bytes / 1000 + 64;
    uint8_t *data = malloc(room);
    if (data == NULL || deflateInit2(&stream, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    stream.next_in = (Bytef *)(uintptr_t)content;
    stream.avail_in = (uInt)*n_bytes;
    stream.next_out = data;
    stream.avail_out = (uInt)room;
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        abort();
    }
    *n_bytes = stream.total_out;
    (void)deflateEnd(&stream);
    return data;
}

/* level 0: stored; 1 to 9: deflated. */
static inline void make_zip_add(struct make_zip *zip, const char *name, const void *content, size_t n_bytes, int level)
{
    size_t stored_bytes = n_bytes;
    uint8_t *deflated = level > 0 ? make_zip_deflate(content, &stored_bytes, level) : NULL;
    uint64_t crc = crc32(0, content, (uInt)n_bytes);
    uint64_t method = level > 0 ? 8 : 0;
    uint64_t at = zip->n_bytes;
    make_zip_fields(&zip->bytes, &zip->n_bytes, "42222244422",
                    (uint64_t[]){0x04034b50, 20, 0, method, 0, 0, crc, stored_bytes, n_bytes, strlen(name), 0});
    make_zip_put(&zip->bytes, &zip->n_bytes, name, strlen(name));
    make_zip_put(&zip->bytes, &zip->n_bytes, deflated != NULL ? deflated : content, stored_bytes);
    make_zip_fields(
        &zip->central, &zip->central_bytes, "42222224442222244",
        (uint64_t[]){0x02014b50, 20, 20, 0, method, 0, 0, crc, stored_bytes, n_bytes, strlen(name), 0, 0, 0, 0, 0, at});
    make_zip_put(&zip->central, &zip->central_bytes, name, strlen(name));
    zip->n_entries++;
    free(deflated);
}

/* A stored entry whose sizes and CRC-32 are in a descriptor behind it, as those who write to a pipe leave it. */
static inline void make_zip_add_described(struct make_zip *zip, const char *name, const void *content, size_t n_bytes)
{
    uint64_t crc = crc32(0, content, (uInt)n_bytes);
    uint64_t at = zip->n_bytes;
    make_zip_fields(&zip->bytes, &zip->n_bytes, "42222244422",
                    (uint64_t[]){0x04034b50, 20, 8, 0, 0, 0, 0, 0, 0, strlen(name), 0});
    make_zip_put(&zip->bytes, &zip->n_bytes, name, strlen(name));
    make_zip_put(&zip->bytes, &zip->n_bytes, content, n_bytes);
    make_zip_fields(&zip->bytes, &zip->n_bytes, "4444", (uint64_t[]){0x08074b50, crc, n_bytes, n_bytes});
    make_zip_fields(
        &zip->central, &zip->central_bytes, "42222224442222244",
        (uint64_t[]){0x02014b50, 20, 20, 8, 0, 0, 0, crc, n_bytes, n_bytes, strlen(name), 0, 0, 0, 0, 0, at});
    make_zip_put(&zip->central, &zip->central_bytes, name, strlen(name));
    zip->n_entries++;
}

static inline void make_zip_end(struct make_zip *zip)
{
    uint64_t at = zip->n_bytes;
    make_zip_put(&zip->bytes, &zip->n_bytes, zip->central, zip->central_bytes);
    make_zip_fields(&zip->bytes, &zip->n_bytes, "42222442",
                    (uint64_t[]){0x06054b50, 0, 0, zip->n_entries, zip->n_entries, zip->central_bytes, at, 0});
    free(zip->central);
    zip->central = NULL;
}

#endif
