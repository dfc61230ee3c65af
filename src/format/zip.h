/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a zip archive whose entries are all stored (what torch.save writes), zip64 included. Central
 * directory and local headers are read and compared; data is only located, never touched here. Strict on purpose:
 * nothing before the first entry, nothing after the end record, no overlap, no encryption, no compression, no
 * duplicate name, no disagreement between a local header and its central entry. APPNOTE.TXT 6.3.x names the fields.
 */
#ifndef FORMAT_ZIP_H
#define FORMAT_ZIP_H

#include "core/error.h"
#include "io/input_file.h"

#define ZIP_ENTRIES_MAX 1000000
#define ZIP_NAME_BYTES_MAX 1024
#define ZIP_DIRECTORY_BYTES_MAX 268435456

struct zip_entry {
    char *name;         /* owned; NUL-terminated, no NUL inside */
    uint64_t data_offset; /* in the file */
    uint64_t n_bytes;
    uint32_t crc32;     /* of the data; 0 may mean "absent": see torch.h */
};

struct zip_directory {
    struct zip_entry *entries; /* owned, in central-directory order */
    size_t n_entries;
    size_t *by_name; /* owned, sorted by name */
};

void zip_directory_deinit(struct zip_directory *directory);

/* Whether the first four bytes are those of a local file header ("PK\3\4"). */
bool zip_looks_like(const uint8_t *bytes, size_t n_bytes);

/* ZIP_*, INPUT_TRUNCATED, INPUT_TRAILING, INPUT_LIMIT, or what reading gives. */
enum llavamed_status zip_directory_read(struct input_file *file, struct zip_directory *directory,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

#define ZIP_NOT_FOUND SIZE_MAX

/* Exact name, case matters. O(log n). */
size_t zip_find(const struct zip_directory *directory, const char *name);

#endif
