/* SPDX-License-Identifier: Apache-2.0 */
/* The local headers and data descriptors of a zip archive: that they say what its directory says. Used by zip.c alone.
 */
#ifndef FORMAT_ZIP_LOCAL_H
#define FORMAT_ZIP_LOCAL_H

#include "format/zip.h"

#define ZIP_LOCAL_SIGNATURE 0x04034b50u

#define ZIP_FLAG_DESCRIPTOR 0x0008u

/* What a central entry says of its local header. */
struct zip_local {
    uint64_t header_offset;
    size_t index; /* of its entry */
    uint16_t flags;
};

struct zip_locals {
    struct input_file *file;
    enum zip_form form;
    uint64_t directory_offset;
    struct zip_local *locals; /* borrowed; becomes sorted by header_offset */
    size_t n_locals;          /* at least one */
};

/*
 * Reads them all in the order in which they lie in the file, which also proves that the entries tile it up to the
 * directory, and sets each entry's data_offset. ZIP_INVALID, ZIP_DISAGREES, ZIP_OVERLAP, or what reading gives.
 */
enum llavamed_status zip_locals_read(const struct zip_locals *locals, struct zip_entry *entries,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
