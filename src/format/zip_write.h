/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a zip archive as torch 1.13 to 2.13 writes it: caffe2/serialize/inline_container.cc over miniz 2.x.
 * Pure; nothing is allocated. Every record is stored, its data begins at a multiple of 64 and is followed by a
 * descriptor:
 *
 *     file   = record... | central directory | zip64 end record (56), its locator (20) | end record (22)
 *     record = local header (30), name, extra | data | descriptor (16 or 24; none behind a record of 0 bytes)
 *     extra  = [zip64 field] | "FB", u16 n, n times 'Z': the padding
 *
 * Quirks that readers do not mind and that are part of the bytes: versions, times and attributes are 0; CRC-32 and both
 * sizes in the local header are 0 at any size; its zip64 field holds a compressed size of 0 and, from 4 GiB on, the
 * header's own offset; the zip64 forms begin at 0xffffffff, not above it; all three end records are always there; a
 * record of 0 bytes lacks flag bit 3. Checked byte for byte against torch 1.13 and 2.13 by
 * tests/interop/torch_writer.py.
 */
#ifndef FORMAT_ZIP_WRITE_H
#define FORMAT_ZIP_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a record's full name; twice what a file system has for a file name. */
#define ZIP_WRITE_NAME_BYTES_MAX 512

/* The most that one local header with its name and padding, one descriptor, one central entry, and the end take. */
#define ZIP_WRITE_LOCAL_BYTES_MAX (30 + ZIP_WRITE_NAME_BYTES_MAX + 28 + 4 + 63)
#define ZIP_WRITE_DESCRIPTOR_BYTES_MAX 24
#define ZIP_WRITE_CENTRAL_BYTES_MAX (46 + ZIP_WRITE_NAME_BYTES_MAX + 28)
#define ZIP_WRITE_END_BYTES 98

#define ZIP_WRITE_DESCRIPTOR_SIGNATURE 0x08074b50u /* what a descriptor begins with, little-endian */

/* Where a record lies: all in bytes, offsets from the start of the file. */
struct zip_record {
    uint64_t header_offset; /* of its local header */
    uint64_t data_offset;
    uint64_t n_bytes;    /* of its data */
    uint64_t end_offset; /* behind its descriptor: where the next local header, or the directory, begins */
    size_t name_bytes;
};

/*
 * Places a record of n_bytes under a name of name_bytes (1 to ZIP_WRITE_NAME_BYTES_MAX) at header_offset. false, and
 * *record left alone, when its end does not fit 2^63 - 1 bytes.
 */
bool zip_record_place(uint64_t header_offset, size_t name_bytes, uint64_t n_bytes, struct zip_record *record);

/* Bytes of the record's entry in the central directory. */
size_t zip_central_bytes(const struct zip_record *record);

/*
 * Each writes one part at `out`, which must have room for it, and returns its end. `name` is the record's full name
 * (record->name_bytes of it). The local header ends where the data begins: data_offset - header_offset bytes. The
 * descriptor is end_offset - data_offset - n_bytes bytes, perhaps none.
 */
uint8_t *zip_write_local(const struct zip_record *record, const char *name, uint8_t *out);
uint8_t *zip_write_descriptor(const struct zip_record *record, uint32_t crc32, uint8_t *out);
uint8_t *zip_write_central(const struct zip_record *record, const char *name, uint32_t crc32, uint8_t *out);

/* The three end records, ZIP_WRITE_END_BYTES, of a directory of n_records that lies at directory_offset. */
uint8_t *zip_write_end(uint64_t n_records, uint64_t directory_offset, uint64_t directory_bytes, uint8_t *out);

#endif
