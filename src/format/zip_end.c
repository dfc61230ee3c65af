/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     ... | central directory | [zip64 end record, 56 | locator, 20] | end record, 22 | comment, up to 65,535
 *
 * Counts and offsets that fit are in both end records and must be the same in both. torch always writes the zip64 pair.
 */
#include "format/zip_end.h"

#include <stdlib.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/zip.h"

#define END_BYTES 22
#define LOCATOR_BYTES 20
#define END64_BYTES 56
#define TAIL_BYTES (END_BYTES + LOCATOR_BYTES + END64_BYTES)
#define COMMENT_BYTES_MAX 65535

#define END_SIGNATURE 0x06054b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR_SIGNATURE 0x07064b50u

#define SATURATED32 0xffffffffu /* "look into the zip64 end record" */
#define SATURATED16 0xffffu

/* How far before the end of the file an end record is looked for, only to word the error. */
#define END_SEARCH_BYTES 131072

static enum llavamed_status fail_structure(const struct input_file *file, const char *what,
                                           struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %s", input_file_path(file), what);
}

static enum llavamed_status fail_volumes(const struct input_file *file, struct llavamed_error *error)
{
    (void)fail_structure(file, "the archive is one of several volumes", error);
    llavamed_hint(error, "join them with 'zip -s 0 NAME.zip --out joined.zip', or unpack them and give the directory");
    return LLAVAMED_STATUS_ZIP_INVALID;
}

/* The file does not end with an end record: is it cut short, or is there something behind the record? */
static enum llavamed_status explain_missing_end(struct input_file *file, enum zip_form form,
                                                struct llavamed_error *error)
{
    uint64_t file_bytes = input_file_bytes(file);
    size_t n = (size_t)min_u64(file_bytes, END_SEARCH_BYTES);
    uint8_t *tail = malloc(n);
    if (tail == NULL) {
        return llavamed_fail_memory(error, n, "the end of a zip archive");
    }
    enum llavamed_status status = input_file_read(file, file_bytes - n, tail, n, error);
    if (status != LLAVAMED_OK) {
        goto out;
    }
    for (size_t start = n - END_BYTES + 1; start > 0; start--) {
        if (load_le32(tail + start - 1) == END_SIGNATURE) {
            size_t extra = n - (start - 1) - END_BYTES;
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRAILING,
                                   form == ZIP_TORCH
                                       ? "%s: zip: %zu bytes after the end record (want 0)"
                                       : "%s: zip: %zu bytes after the end record, which are not its comment",
                                   input_file_path(file), extra);
            goto out;
        }
    }
    status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                           "%s: zip: no end record: the file is cut short (it has %llu bytes)", input_file_path(file),
                           (unsigned long long)file_bytes);
    llavamed_hint(error, "download or copy the file again");
out:
    free(tail);
    return status;
}

/* A field of the end record agrees with the zip64 one when it is the same, or says "look there". */
static bool end_field_agrees(uint64_t field, uint64_t value64, uint64_t saturated)
{
    return field == saturated || field == value64;
}

/* `tail` is the TAIL_BYTES bytes before end64_offset + TAIL_BYTES: all three records. */
static enum llavamed_status parse_end64(const struct input_file *file, const uint8_t tail[TAIL_BYTES],
                                        uint64_t end64_offset, struct zip_end *out, struct llavamed_error *error)
{
    const uint8_t *end64 = tail;
    const uint8_t *locator = end64 + END64_BYTES;
    const uint8_t *end = locator + LOCATOR_BYTES;
    if (load_le32(locator + 4) != 0 || load_le32(locator + 16) > 1 || load_le64(locator + 8) != end64_offset) {
        return fail_structure(file, "the zip64 locator does not point at the record before it", error);
    }
    if (load_le32(end64) != END64_SIGNATURE || load_le64(end64 + 4) != END64_BYTES - 12) {
        return fail_structure(file, "the zip64 end record is not one", error);
    }
    if (load_le32(end64 + 16) != 0 || load_le32(end64 + 20) != 0 || load_le64(end64 + 24) != load_le64(end64 + 32)) {
        return fail_volumes(file, error);
    }
    out->n_entries = load_le64(end64 + 32);
    out->directory_bytes = load_le64(end64 + 40);
    out->directory_offset = load_le64(end64 + 48);
    if (!end_field_agrees(load_le16(end + 10), out->n_entries, SATURATED16) ||
        !end_field_agrees(load_le32(end + 12), out->directory_bytes, SATURATED32) ||
        !end_field_agrees(load_le32(end + 16), out->directory_offset, SATURATED32)) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                             "%s: zip: the end record and the zip64 end record disagree", input_file_path(file));
    }
    return LLAVAMED_OK;
}

/* The directory must end where the end records begin, and its entries must fit before and in it. */
static enum llavamed_status check_end(const struct input_file *file, const struct zip_end *end, uint64_t records_offset,
                                      struct llavamed_error *error)
{
    if (end->directory_offset > records_offset || end->directory_bytes != records_offset - end->directory_offset) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: the directory (%llu bytes at %llu) does not end at the end record (at %llu)",
                             input_file_path(file), (unsigned long long)end->directory_bytes,
                             (unsigned long long)end->directory_offset, (unsigned long long)records_offset);
    }
    if (end->n_entries == 0) {
        return fail_structure(file, "the archive is empty", error);
    }
    if (end->n_entries > ZIP_ENTRIES_MAX || end->directory_bytes > ZIP_DIRECTORY_BYTES_MAX) {
        return llavamed_fail(
            error, LLAVAMED_STATUS_INPUT_LIMIT,
            "%s: zip: the directory is too large (got %llu entries in %llu bytes, want at most %d in %d)",
            input_file_path(file), (unsigned long long)end->n_entries, (unsigned long long)end->directory_bytes,
            ZIP_ENTRIES_MAX, ZIP_DIRECTORY_BYTES_MAX);
    }
    if (end->n_entries > end->directory_bytes / (ZIP_CENTRAL_BYTES_MIN + 1) ||
        end->n_entries > end->directory_offset / (ZIP_LOCAL_BYTES_MIN + 1)) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %llu entries do not fit the file",
                             input_file_path(file), (unsigned long long)end->n_entries);
    }
    return LLAVAMED_OK;
}

/* *found: there is an end record whose comment reaches just to the end of the file; the last such one is at *offset. */
static enum llavamed_status find_end_with_comment(struct input_file *file, bool *found, uint64_t *offset,
                                                  struct llavamed_error *error)
{
    uint64_t file_bytes = input_file_bytes(file);
    size_t n = (size_t)min_u64(file_bytes, END_BYTES + COMMENT_BYTES_MAX);
    *found = false;
    uint8_t *tail = malloc(n);
    if (tail == NULL) {
        return llavamed_fail_memory(error, n, "the end of a zip archive");
    }
    enum llavamed_status status = input_file_read(file, file_bytes - n, tail, n, error);
    for (size_t end = n; status == LLAVAMED_OK && !*found && end >= END_BYTES; end--) {
        const uint8_t *record = tail + end - END_BYTES;
        *found = load_le32(record) == END_SIGNATURE && load_le16(record + 20) == n - end;
        *offset = file_bytes - n + end - END_BYTES;
    }
    free(tail);
    return status;
}

/* Where the end record is that ends the file, and what stands there; *found is false when none does. */
static enum llavamed_status find_end(struct input_file *file, enum zip_form form, bool *found, uint64_t *offset,
                                     struct llavamed_error *error)
{
    uint8_t end[END_BYTES];
    *found = false;
    *offset = input_file_bytes(file) - END_BYTES;
    enum llavamed_status status = input_file_read(file, *offset, end, sizeof end, error);
    if (status == LLAVAMED_OK && load_le32(end) == END_SIGNATURE && load_le16(end + 20) == 0) {
        *found = true;
    } else if (status == LLAVAMED_OK && form == ZIP_ARCHIVE) {
        status = find_end_with_comment(file, found, offset, error);
    } else if (status == LLAVAMED_OK && load_le32(end) == END_SIGNATURE) {
        status = fail_structure(file, "the archive has a comment, or its comment is cut off", error);
    }
    return status;
}

enum llavamed_status zip_end_read(struct input_file *file, enum zip_form form, struct zip_end *out,
                                  struct llavamed_error *error)
{
    uint64_t file_bytes = input_file_bytes(file);
    if (file_bytes < END_BYTES) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED,
                             "%s: too short for a zip archive (got %llu bytes, want at least %d)",
                             input_file_path(file), (unsigned long long)file_bytes, END_BYTES);
    }
    bool is_there;
    uint64_t offset;
    enum llavamed_status status = find_end(file, form, &is_there, &offset, error);
    if (status == LLAVAMED_OK && !is_there) {
        status = explain_missing_end(file, form, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint8_t tail[TAIL_BYTES] = {0};
    size_t n = (size_t)min_u64(offset + END_BYTES, TAIL_BYTES);
    status = input_file_read(file, offset + END_BYTES - n, tail + TAIL_BYTES - n, n, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *end = tail + TAIL_BYTES - END_BYTES;
    if (load_le16(end + 4) != 0 || load_le16(end + 6) != 0 || load_le16(end + 8) != load_le16(end + 10)) {
        return fail_volumes(file, error);
    }
    struct zip_end made = {
        .n_entries = load_le16(end + 10),
        .directory_bytes = load_le32(end + 12),
        .directory_offset = load_le32(end + 16),
    };
    if (n == TAIL_BYTES && load_le32(tail + END64_BYTES) == LOCATOR_SIGNATURE) {
        offset -= TAIL_BYTES - END_BYTES;
        status = parse_end64(file, tail, offset, &made, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_end(file, &made, offset, error);
    }
    if (status == LLAVAMED_OK) {
        *out = made;
    }
    return status;
}

enum llavamed_status zip_end_explain(struct input_file *file, struct llavamed_error *error)
{
    bool is_there = false;
    uint64_t offset;
    uint8_t end[END_BYTES];
    enum llavamed_status status = LLAVAMED_OK;
    if (input_file_bytes(file) >= END_BYTES) {
        status = find_end(file, ZIP_ARCHIVE, &is_there, &offset, error);
    }
    if (status == LLAVAMED_OK && is_there) {
        status = input_file_read(file, offset, end, sizeof end, error);
    }
    if (status != LLAVAMED_OK || !is_there) {
        return status;
    }
    if (load_le16(end + 4) != 0 && load_le16(end + 4) != SATURATED16) {
        return fail_volumes(file, error);
    }
    if (load_le16(end + 10) == 0) {
        status = fail_structure(file, "the archive is empty", error);
        llavamed_hint(error, "download or copy the archive again");
    } else {
        status = fail_structure(file, "the archive begins with something else (one that unpacks itself?)", error);
        llavamed_hint(error, "unpack it and give the directory");
    }
    return status;
}
