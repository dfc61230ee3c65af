/* SPDX-License-Identifier: Apache-2.0 */
/* Fields in the order of APPNOTE.TXT 4.3.7 (local), 4.3.9 (descriptor), 4.3.12 (central), 4.3.14 to 4.3.16 (end). */
#include "format/zip_write.h"

#include <string.h>

#include "core/checked.h"

#define ALIGNMENT 64
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define PADDING_HEADER_BYTES 4 /* "FB" and its length */

#define LOCAL_SIGNATURE 0x04034b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR64_SIGNATURE 0x07064b50u
#define END_SIGNATURE 0x06054b50u

#define SATURATED16 UINT16_MAX
#define SATURATED32 UINT32_MAX

#define FLAG_DESCRIPTOR 0x0008u
#define FLAG_UTF8 0x0800u
#define EXTRA_ZIP64 0x0001u
#define END64_REST_BYTES 44   /* of the zip64 end record, behind this field */
#define END64_MADE_BY 0x031eu /* miniz: Unix, version 3.0 */
#define END64_NEEDED 0x002du  /* 4.5: zip64 */

static uint8_t *put(uint8_t *out, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        *out++ = (uint8_t)(value >> (8 * i));
    }
    return out;
}

static uint8_t *put_bytes(uint8_t *out, const char *bytes, size_t n_bytes)
{
    memcpy(out, bytes, n_bytes);
    return out + n_bytes;
}

static bool size_is_large(const struct zip_record *record)
{
    return record->n_bytes >= SATURATED32;
}

static bool offset_is_large(const struct zip_record *record)
{
    return record->header_offset >= SATURATED32;
}

/* Bytes of the zip64 field: two sizes, an offset, or all three behind its header; 0 when it is not there. */
static unsigned zip64_bytes(const struct zip_record *record)
{
    unsigned n_bytes = (size_is_large(record) ? 16u : 0u) + (offset_is_large(record) ? 8u : 0u);
    return n_bytes == 0 ? 0 : 4 + n_bytes;
}

/* The local header says 0 where the central entry says compressed_bytes. */
static uint8_t *put_zip64(uint8_t *out, const struct zip_record *record, uint64_t compressed_bytes)
{
    unsigned n_bytes = zip64_bytes(record);
    if (n_bytes == 0) {
        return out;
    }
    out = put(out, EXTRA_ZIP64, 2);
    out = put(out, n_bytes - 4, 2);
    if (size_is_large(record)) {
        out = put(out, record->n_bytes, 8);
        out = put(out, compressed_bytes, 8);
    }
    return offset_is_large(record) ? put(out, record->header_offset, 8) : out;
}

static unsigned flags(const struct zip_record *record)
{
    return FLAG_UTF8 | (record->n_bytes > 0 ? FLAG_DESCRIPTOR : 0);
}

static size_t descriptor_bytes(const struct zip_record *record)
{
    if (record->n_bytes == 0) {
        return 0;
    }
    return zip64_bytes(record) == 0 ? 16 : 24;
}

bool zip_record_place(uint64_t header_offset, size_t name_bytes, uint64_t n_bytes, struct zip_record *record)
{
    struct zip_record made = {.header_offset = header_offset, .n_bytes = n_bytes, .name_bytes = name_bytes};
    uint64_t start;
    if (!checked_add_u64(header_offset, LOCAL_BYTES + name_bytes + zip64_bytes(&made) + PADDING_HEADER_BYTES, &start) ||
        !checked_add_u64(start, (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT, &made.data_offset) ||
        !checked_add_u64(made.data_offset, n_bytes, &made.end_offset) ||
        !checked_add_u64(made.end_offset, descriptor_bytes(&made), &made.end_offset) || made.end_offset > INT64_MAX) {
        return false;
    }
    *record = made;
    return true;
}

size_t zip_central_bytes(const struct zip_record *record)
{
    return CENTRAL_BYTES + record->name_bytes + zip64_bytes(record);
}

uint8_t *zip_write_local(const struct zip_record *record, const char *name, uint8_t *out)
{
    uint64_t extra_bytes = record->data_offset - record->header_offset - LOCAL_BYTES - record->name_bytes;
    uint64_t padding = extra_bytes - zip64_bytes(record) - PADDING_HEADER_BYTES;
    out = put(out, LOCAL_SIGNATURE, 4);
    out = put(out, 0, 2); /* version needed */
    out = put(out, flags(record), 2);
    out = put(out, 0, 2);     /* stored */
    out = put(out, 0, 4 + 4); /* time, date, CRC-32 */
    out = put(out, 0, 4 + 4); /* both sizes */
    out = put(out, record->name_bytes, 2);
    out = put(out, extra_bytes, 2);
    out = put_bytes(out, name, record->name_bytes);
    out = put_zip64(out, record, 0);
    out = put_bytes(out, "FB", 2);
    out = put(out, padding, 2);
    memset(out, 'Z', (size_t)padding);
    return out + padding;
}

uint8_t *zip_write_descriptor(const struct zip_record *record, uint32_t crc32, uint8_t *out)
{
    if (record->n_bytes == 0) {
        return out;
    }
    int size_bytes = zip64_bytes(record) == 0 ? 4 : 8;
    out = put(out, ZIP_WRITE_DESCRIPTOR_SIGNATURE, 4);
    out = put(out, crc32, 4);
    out = put(out, record->n_bytes, size_bytes);
    return put(out, record->n_bytes, size_bytes);
}

uint8_t *zip_write_central(const struct zip_record *record, const char *name, uint32_t crc32, uint8_t *out)
{
    uint64_t n_bytes = min_u64(record->n_bytes, SATURATED32);
    out = put(out, CENTRAL_SIGNATURE, 4);
    out = put(out, 0, 2 + 2); /* versions made by and needed */
    out = put(out, flags(record), 2);
    out = put(out, 0, 2 + 4); /* stored; time, date */
    out = put(out, crc32, 4);
    out = put(out, n_bytes, 4);
    out = put(out, n_bytes, 4);
    out = put(out, record->name_bytes, 2);
    out = put(out, zip64_bytes(record), 2);
    out = put(out, 0, 2 + 2 + 2); /* comment, disk, internal attributes */
    out = put(out, 0, 4);         /* external attributes */
    out = put(out, min_u64(record->header_offset, SATURATED32), 4);
    out = put_bytes(out, name, record->name_bytes);
    return put_zip64(out, record, record->n_bytes);
}

uint8_t *zip_write_end(uint64_t n_records, uint64_t directory_offset, uint64_t directory_bytes, uint8_t *out)
{
    out = put(out, END64_SIGNATURE, 4);
    out = put(out, END64_REST_BYTES, 8);
    out = put(out, END64_MADE_BY, 2);
    out = put(out, END64_NEEDED, 2);
    out = put(out, 0, 4 + 4); /* disks */
    out = put(out, n_records, 8);
    out = put(out, n_records, 8);
    out = put(out, directory_bytes, 8);
    out = put(out, directory_offset, 8);

    out = put(out, LOCATOR64_SIGNATURE, 4);
    out = put(out, 0, 4); /* disk */
    out = put(out, directory_offset + directory_bytes, 8);
    out = put(out, 1, 4); /* disks in all */

    out = put(out, END_SIGNATURE, 4);
    out = put(out, 0, 2 + 2); /* disks */
    out = put(out, min_u64(n_records, SATURATED16), 2);
    out = put(out, min_u64(n_records, SATURATED16), 2);
    out = put(out, min_u64(directory_bytes, SATURATED32), 4);
    out = put(out, min_u64(directory_offset, SATURATED32), 4);
    return put(out, 0, 2); /* comment */
}
