/* SPDX-License-Identifier: Apache-2.0 */
/* The records at the end of a zip archive, which say where its directory is. Used by zip.c alone. */
#ifndef FORMAT_ZIP_END_H
#define FORMAT_ZIP_END_H

#include "core/error.h"
#include "format/zip.h"
#include "io/input_file.h"

#define ZIP_CENTRAL_BYTES_MIN 46 /* a central entry without name and extra fields */
#define ZIP_LOCAL_BYTES_MIN 30   /* a local header likewise */

struct zip_end {
    uint64_t n_entries; /* 1 to ZIP_ENTRIES_MAX, not more than fit the directory and the file before it */
    uint64_t directory_offset;
    uint64_t directory_bytes; /* 1 to ZIP_DIRECTORY_BYTES_MAX; the directory ends where the end records begin */
};

/*
 * Reads the end record, which must be the last 22 bytes of the file, or in ZIP_ARCHIVE be followed by just the comment
 * that it tells of, and the zip64 end record when its locator stands before it. Of several such records the last one
 * counts. ZIP_INVALID, ZIP_DISAGREES, INPUT_TRUNCATED, INPUT_TRAILING, INPUT_LIMIT, or what reading gives.
 */
enum llavamed_status zip_end_read(struct input_file *file, enum zip_form form, struct zip_end *out,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * For a file that does not begin like an archive: ZIP_INVALID with what it is when it ends like one (empty, a volume of
 * several, something put before it), else LLAVAMED_OK.
 */
enum llavamed_status zip_end_explain(struct input_file *file, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
