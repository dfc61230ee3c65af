/* SPDX-License-Identifier: Apache-2.0 */
#include "format/zip_local.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/zip_end.h"

#define LOCAL_BYTES ZIP_LOCAL_BYTES_MIN
#define DESCRIPTOR_BYTES_MAX 24

#define DESCRIPTOR_SIGNATURE 0x08074b50u

#define SATURATED32 0xffffffffu /* "look into the zip64 extra field" */

static int compare_header_offsets(const void *a, const void *b)
{
    const struct zip_local *local_a = a;
    const struct zip_local *local_b = b;
    return (local_a->header_offset > local_b->header_offset) - (local_a->header_offset < local_b->header_offset);
}

static enum llavamed_status fail_disagrees(const struct zip_locals *locals, const char *name, const char *what,
                                           struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                         "%s: zip: entry %s: local header and directory disagree on the %s",
                         input_file_path(locals->file), name, what);
}

/*
 * CRC and sizes may be 0 in the local header when a descriptor follows, each for itself: Info-ZIP and libarchive know
 * the size of the content beforehand. Saturated sizes stand for the local zip64 field, which is not read: torch writes
 * a compressed size of 0 there, and who streams writes zeros.
 */
static enum llavamed_status check_header(const struct zip_locals *locals, const struct zip_local *local,
                                         const struct zip_entry *entry, const uint8_t *header,
                                         struct llavamed_error *error)
{
    bool zero_allowed = (local->flags & ZIP_FLAG_DESCRIPTOR) != 0;
    uint32_t crc = load_le32(header + 14);
    if (load_le16(header + 6) != local->flags) {
        return fail_disagrees(locals, entry->name, "flags", error);
    }
    if (load_le16(header + 8) != (entry->deflated ? 8 : 0)) {
        return fail_disagrees(locals, entry->name, "compression method", error);
    }
    if (crc != entry->crc32 && !(zero_allowed && crc == 0)) {
        return fail_disagrees(locals, entry->name, "CRC-32", error);
    }
    const uint64_t sizes[] = {entry->stored_bytes, entry->n_bytes};
    for (size_t i = 0; i < 2; i++) {
        uint32_t local_size = load_le32(header + 18 + 4 * i);
        if (local_size != (uint32_t)min_u64(sizes[i], SATURATED32) && local_size != SATURATED32 &&
            !(zero_allowed && local_size == 0)) {
            return fail_disagrees(locals, entry->name, "size", error);
        }
    }
    return LLAVAMED_OK;
}

/* Reads the local header of an entry that must begin at header_offset, and sets entry->data_offset. */
static enum llavamed_status read_header(const struct zip_locals *locals, const struct zip_local *local,
                                        struct zip_entry *entry, struct llavamed_error *error)
{
    const char *path = input_file_path(locals->file);
    size_t name_bytes = strlen(entry->name);
    uint64_t room = locals->directory_offset - local->header_offset;
    uint8_t header[LOCAL_BYTES + ZIP_NAME_BYTES_MAX];
    if (room < LOCAL_BYTES + name_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: the local header of entry %s runs into the directory", path, entry->name);
    }
    enum llavamed_status status =
        input_file_read(locals->file, local->header_offset, header, LOCAL_BYTES + name_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (load_le32(header) != ZIP_LOCAL_SIGNATURE) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: no local header for entry %s at %llu", path,
                             entry->name, (unsigned long long)local->header_offset);
    }
    if (load_le16(header + 26) != name_bytes || memcmp(header + LOCAL_BYTES, entry->name, name_bytes) != 0) {
        return fail_disagrees(locals, entry->name, "name", error);
    }
    status = check_header(locals, local, entry, header, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t header_bytes = LOCAL_BYTES + name_bytes + load_le16(header + 28);
    if (header_bytes > room || entry->stored_bytes > room - header_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_OVERLAP, "%s: zip: entry %s runs into the directory", path,
                             entry->name);
    }
    entry->data_offset = local->header_offset + header_bytes;
    return LLAVAMED_OK;
}

/*
 * A descriptor is CRC-32, size of the data, size of the content: the sizes of 4 or of 8 bytes, after a signature or,
 * as APPNOTE 4.3.9.3 allows, without. Its length tells these four apart.
 */
static enum llavamed_status check_descriptor(const struct zip_locals *locals, const struct zip_entry *entry,
                                             size_t n_bytes, struct llavamed_error *error)
{
    uint8_t descriptor[DESCRIPTOR_BYTES_MAX];
    uint64_t offset = entry->data_offset + entry->stored_bytes;
    enum llavamed_status status = input_file_read(locals->file, offset, descriptor, n_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool is_signed = n_bytes % 8 == 0;
    bool is_wide = n_bytes >= 20;
    const uint8_t *crc = descriptor + (is_signed ? 4 : 0);
    uint64_t stored_bytes = is_wide ? load_le64(crc + 4) : load_le32(crc + 4);
    uint64_t content_bytes = is_wide ? load_le64(crc + 12) : load_le32(crc + 8);
    if ((is_signed && load_le32(descriptor) != DESCRIPTOR_SIGNATURE) || load_le32(crc) != entry->crc32 ||
        stored_bytes != entry->stored_bytes || content_bytes != entry->n_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                             "%s: zip: entry %s: the descriptor after the data and the directory disagree",
                             input_file_path(locals->file), entry->name);
    }
    return LLAVAMED_OK;
}

static bool is_descriptor_size(enum zip_form form, uint64_t n_bytes)
{
    bool with_signature = n_bytes == 16 || n_bytes == 24;
    return with_signature || (form == ZIP_ARCHIVE && (n_bytes == 12 || n_bytes == 20));
}

/* Checks the bytes between the end of an entry's data and `next`, where the next entry or the directory begins. */
static enum llavamed_status check_gap(const struct zip_locals *locals, const struct zip_local *local,
                                      const struct zip_entry *entry, uint64_t next, struct llavamed_error *error)
{
    const char *path = input_file_path(locals->file);
    uint64_t data_end = entry->data_offset + entry->stored_bytes;
    if (data_end > next) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_OVERLAP,
                             "%s: zip: entry %s overlaps what follows it (ends at %llu, next at %llu)", path,
                             entry->name, (unsigned long long)data_end, (unsigned long long)next);
    }
    uint64_t gap = next - data_end;
    bool has_descriptor = (local->flags & ZIP_FLAG_DESCRIPTOR) != 0;
    if (has_descriptor ? !is_descriptor_size(locals->form, gap) : gap != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %llu bytes follow the data of entry %s (%s)",
                             path, (unsigned long long)gap, entry->name,
                             has_descriptor ? "want a descriptor of 16 or 24" : "want 0");
    }
    return has_descriptor ? check_descriptor(locals, entry, (size_t)gap, error) : LLAVAMED_OK;
}

enum llavamed_status zip_locals_read(const struct zip_locals *locals, struct zip_entry *entries,
                                     struct llavamed_error *error)
{
    struct zip_local *local = locals->locals;
    size_t n = locals->n_locals;
    qsort(local, n, sizeof *local, compare_header_offsets);
    if (local[0].header_offset != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %llu bytes before the first entry (want 0)",
                             input_file_path(locals->file), (unsigned long long)local[0].header_offset);
    }
    if (local[n - 1].header_offset > locals->directory_offset) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: an entry begins behind the start of the directory",
                             input_file_path(locals->file));
    }
    for (size_t i = 0; i < n; i++) {
        struct zip_entry *entry = &entries[local[i].index];
        enum llavamed_status status = read_header(locals, &local[i], entry, error);
        if (status == LLAVAMED_OK) {
            uint64_t next = i + 1 < n ? local[i + 1].header_offset : locals->directory_offset;
            status = check_gap(locals, &local[i], entry, next, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}
