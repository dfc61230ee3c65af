/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a zip archive, zip64 included: of one whose entries are all stored (what torch.save writes), or of
 * one as people pack directories, whose entries may be deflated. Central
 * directory, local headers and data descriptors are read and compared; data is only located, never touched here.
 * APPNOTE.TXT 6.3.x names the fields. Strict on purpose, so that every reader of the file sees the same entries:
 *
 *     file  = entry... | central directory | [zip64 end record (56), its locator (20)] | end record (22) [| comment]
 *     entry = local header | data | descriptor (16 or 24 bytes with its signature) when flag bit 3 is set
 *
 * The parts tile the file: nothing before the first entry, no hole or overlap between entries (padding is in the extra
 * field of a local header), nothing after the end record. No encryption, no name twice
 * (letter case aside: torch looks records up that way), no disagreement between a local header, its central entry and
 * its descriptor, nor between the two end records. Flags other than bit 3 and bit 11 (UTF-8) are refused, and in
 * ZIP_TORCH any compression, any comment of the archive or an entry, and a central zip64 field longer than it must be.
 * ZIP_ARCHIVE adds method 8 (deflate), flag bits 1 and 2, descriptors without their signature (12 or 20 bytes),
 * comments of the archive and of entries, longer zip64 fields; it refuses sizes that deflate cannot reach, and
 * directories ("NAME/") with content.
 * Deliberately not looked at, because torch or other real writers leave anything there: versions, times, attributes
 * other than those of a symbolic link, extra fields other than the central zip64 one.
 */
#ifndef FORMAT_ZIP_H
#define FORMAT_ZIP_H

#include "core/error.h"
#include "io/input_file.h"

#define ZIP_ENTRIES_MAX 1000000
#define ZIP_NAME_BYTES_MAX 1024
#define ZIP_DIRECTORY_BYTES_MAX 268435456

/* Which archives are read. */
enum zip_form { ZIP_TORCH, ZIP_ARCHIVE };

struct zip_entry {
    char *name;            /* owned; NUL-terminated, no NUL inside, 1 to ZIP_NAME_BYTES_MAX bytes, any encoding */
    uint64_t data_offset;  /* in the file */
    uint64_t n_bytes;      /* of the content */
    uint64_t stored_bytes; /* of the data in the file; n_bytes unless deflated */
    bool deflated;
    bool is_link;   /* by its Unix attributes; the content is the path that it leads to */
    uint32_t crc32; /* of the content; 0 may mean "absent": see torch.h */
};

struct zip_directory {
    struct zip_entry *entries; /* owned, in central-directory order; at least one */
    size_t n_entries;
    size_t *by_name; /* owned; indices into entries, sorted by name without regard to the case of ASCII letters */
};

void zip_directory_deinit(struct zip_directory *directory);

/* Whether the first four bytes are those of a local file header ("PK\3\4"). */
bool zip_looks_like(const uint8_t *bytes, size_t n_bytes);

/*
 * Memory O(entries), time O(entries log entries); the directory is read in large pieces, each local header and each
 * descriptor with one small read. No allocation before the counts fit the file. ZIP_*, INPUT_TRUNCATED (no end record),
 * INPUT_TRAILING, INPUT_LIMIT, NO_MEMORY, or what reading gives.
 */
enum llavamed_status zip_directory_read(struct input_file *file, enum zip_form form, struct zip_directory *directory,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

#define ZIP_NOT_FOUND SIZE_MAX

/* Index of the entry with exactly this name, case included, or ZIP_NOT_FOUND. O(log n). */
size_t zip_find(const struct zip_directory *directory, const char *name);

#endif
