/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading goes from the end of the file to its start: end records, central directory, then every local header and
 * descriptor in the order in which they lie in the file, which also proves that the entries tile it. Every number is
 * compared with the room that is left by subtraction, and every count with the size of the file before it sizes an
 * allocation. Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/zip_end.h"

#define CENTRAL_BYTES ZIP_CENTRAL_BYTES_MIN
#define LOCAL_BYTES ZIP_LOCAL_BYTES_MIN
#define DESCRIPTOR_BYTES 16
#define DESCRIPTOR64_BYTES 24

#define LOCAL_SIGNATURE 0x04034b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define DESCRIPTOR_SIGNATURE 0x08074b50u

#define SATURATED32 0xffffffffu /* "look into the zip64 extra field" */

#define FLAG_DESCRIPTOR 0x0008u
#define FLAG_UTF8 0x0800u
/* Bit 0 encrypts the data, bit 6 says how, bit 13 hides the directory. */
#define FLAGS_ENCRYPTION 0x2041u

#define EXTRA_ZIP64 0x0001u

/* Pieces in which the directory is read; holds the longest central entry that passes the checks. */
#define WINDOW_BYTES 1048576

/* What is needed of a central entry until its local header is checked. */
struct central_entry {
    uint64_t header_offset;
    size_t index; /* in zip_directory.entries */
    uint16_t flags;
};

struct zip_reader {
    struct input_file *file;
    const char *path; /* borrowed from file */
    enum zip_form form;
    struct zip_end end;
    struct zip_directory directory;
    struct central_entry *central; /* owned, end.n_entries of them */
    /* A window on the directory: bytes [position, filled) of it are those not yet parsed. */
    uint8_t *window; /* owned */
    size_t window_bytes;
    size_t position;
    size_t filled;
    uint64_t unread_offset; /* file offset of the first directory byte not yet read */
    uint64_t unread_bytes;
};

void zip_directory_deinit(struct zip_directory *directory)
{
    for (size_t i = 0; i < directory->n_entries; i++) {
        free(directory->entries[i].name);
    }
    free(directory->entries);
    free(directory->by_name);
    memset(directory, 0, sizeof *directory);
}

bool zip_looks_like(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= 4 && load_le32(bytes) == LOCAL_SIGNATURE;
}

static enum llavamed_status fail_structure(const struct zip_reader *reader, const char *what,
                                           struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %s", reader->path, what);
}

/* ---- Central directory ---- */

/* Makes the next n_bytes of the directory stand at window + position. */
static enum llavamed_status window_need(struct zip_reader *reader, size_t n_bytes, struct llavamed_error *error)
{
    size_t have = reader->filled - reader->position;
    if (n_bytes <= have) {
        return LLAVAMED_OK;
    }
    if (n_bytes - have > reader->unread_bytes) {
        return fail_structure(reader, "the directory ends inside an entry", error);
    }
    memmove(reader->window, reader->window + reader->position, have);
    reader->position = 0;
    reader->filled = have;
    size_t take = (size_t)min_u64(reader->window_bytes - have, reader->unread_bytes);
    enum llavamed_status status =
        input_file_read(reader->file, reader->unread_offset, reader->window + have, take, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    reader->filled += take;
    reader->unread_offset += take;
    reader->unread_bytes -= take;
    return LLAVAMED_OK;
}

/* Sizes and offset of an entry, with the saturated ones taken from its zip64 extra field. */
struct extents {
    uint64_t n_bytes;
    uint64_t compressed_bytes;
    uint64_t header_offset;
};

/* Replaces *value by the next 8 bytes of the zip64 field when it is saturated. false when the field is too short. */
static bool take_zip64(uint64_t *value, const uint8_t **field, size_t *field_bytes)
{
    if (*value != SATURATED32) {
        return true;
    }
    if (*field_bytes < 8) {
        return false;
    }
    *value = load_le64(*field);
    *field += 8;
    *field_bytes -= 8;
    return true;
}

/* Walks the extra fields. false when they are malformed, or the zip64 field holds more or less than is asked of it. */
static bool parse_extra(const uint8_t *extra, size_t n_bytes, struct extents *extents)
{
    const uint8_t *zip64 = extra;
    size_t zip64_bytes = 0;
    bool seen = false;
    while (n_bytes > 0) {
        if (n_bytes < 4 || load_le16(extra + 2) > n_bytes - 4) {
            return false;
        }
        size_t field_bytes = load_le16(extra + 2);
        if (load_le16(extra) == EXTRA_ZIP64) {
            if (seen) {
                return false;
            }
            seen = true;
            zip64 = extra + 4;
            zip64_bytes = field_bytes;
        }
        extra += 4 + field_bytes;
        n_bytes -= 4 + field_bytes;
    }
    return take_zip64(&extents->n_bytes, &zip64, &zip64_bytes) &&
           take_zip64(&extents->compressed_bytes, &zip64, &zip64_bytes) &&
           take_zip64(&extents->header_offset, &zip64, &zip64_bytes) && zip64_bytes == 0;
}

static enum llavamed_status check_flags(const struct zip_reader *reader, const char *name, const uint8_t *header,
                                        struct llavamed_error *error)
{
    unsigned flags = load_le16(header + 8);
    unsigned method = load_le16(header + 10);
    if ((flags & FLAGS_ENCRYPTION) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_ENCRYPTED, "%s: zip: entry %s is encrypted", reader->path,
                             name);
    }
    if (method != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_COMPRESSED,
                             "%s: zip: entry %s is compressed (got method %u, want 0, stored)", reader->path, name,
                             method);
    }
    if ((flags & ~(FLAG_DESCRIPTOR | FLAG_UTF8)) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: entry %s has unknown flags (got 0x%04x)",
                             reader->path, name, flags);
    }
    if (load_le16(header + 32) != 0 || load_le16(header + 34) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s has a comment or is on another volume", reader->path, name);
    }
    return LLAVAMED_OK;
}

/* Copies the name of a central entry. */
static enum llavamed_status take_name(const struct zip_reader *reader, const uint8_t *bytes, size_t n_bytes, char **out,
                                      struct llavamed_error *error)
{
    if (memchr(bytes, '\0', n_bytes) != NULL) {
        return fail_structure(reader, "an entry name holds a NUL", error);
    }
    char *name = malloc(n_bytes + 1);
    if (name == NULL) {
        return llavamed_fail_memory(error, n_bytes + 1, "the name of a zip entry");
    }
    memcpy(name, bytes, n_bytes);
    name[n_bytes] = '\0';
    *out = name;
    return LLAVAMED_OK;
}

/* Parses the next central entry into directory.entries[n_entries] and central[n_entries]. */
static enum llavamed_status read_central_entry(struct zip_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = window_need(reader, CENTRAL_BYTES, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *header = reader->window + reader->position;
    size_t name_bytes = load_le16(header + 28);
    size_t extra_bytes = load_le16(header + 30);
    if (load_le32(header) != CENTRAL_SIGNATURE) {
        return fail_structure(reader, "an entry of the directory is not one", error);
    }
    if (name_bytes == 0 || name_bytes > ZIP_NAME_BYTES_MAX) {
        return llavamed_fail(error, name_bytes == 0 ? LLAVAMED_STATUS_ZIP_INVALID : LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: zip: an entry name has %zu bytes (want 1 to %d)", reader->path, name_bytes,
                             ZIP_NAME_BYTES_MAX);
    }
    status = window_need(reader, CENTRAL_BYTES + name_bytes + extra_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    header = reader->window + reader->position;
    size_t index = reader->directory.n_entries;
    struct zip_entry *entry = &reader->directory.entries[index];
    status = take_name(reader, header + CENTRAL_BYTES, name_bytes, &entry->name, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    reader->directory.n_entries++;
    status = check_flags(reader, entry->name, header, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    struct extents extents = {
        .n_bytes = load_le32(header + 24),
        .compressed_bytes = load_le32(header + 20),
        .header_offset = load_le32(header + 42),
    };
    if (!parse_extra(header + CENTRAL_BYTES + name_bytes, extra_bytes, &extents)) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s has malformed extra fields or a wrong zip64 field", reader->path,
                             entry->name);
    }
    if (extents.n_bytes != extents.compressed_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s is stored in another size than its own (got %llu, want %llu)",
                             reader->path, entry->name, (unsigned long long)extents.compressed_bytes,
                             (unsigned long long)extents.n_bytes);
    }
    entry->n_bytes = extents.n_bytes;
    entry->crc32 = load_le32(header + 16);
    if (entry->n_bytes == 0 && entry->crc32 != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s is empty and has a CRC-32 (got %08x, want 0)", reader->path,
                             entry->name, entry->crc32);
    }
    reader->central[index] = (struct central_entry){extents.header_offset, index, load_le16(header + 8)};
    reader->position += CENTRAL_BYTES + name_bytes + extra_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status read_central(struct zip_reader *reader, struct llavamed_error *error)
{
    size_t n = (size_t)reader->end.n_entries;
    reader->directory.entries = calloc(n, sizeof *reader->directory.entries);
    reader->directory.by_name = calloc(n, sizeof *reader->directory.by_name);
    reader->central = calloc(n, sizeof *reader->central);
    reader->window_bytes = (size_t)min_u64(reader->end.directory_bytes, WINDOW_BYTES);
    reader->window = malloc(reader->window_bytes);
    if (reader->directory.entries == NULL || reader->directory.by_name == NULL || reader->central == NULL ||
        reader->window == NULL) {
        return llavamed_fail_memory(error, n * sizeof *reader->directory.entries + reader->window_bytes,
                                    "a zip directory");
    }
    reader->unread_offset = reader->end.directory_offset;
    reader->unread_bytes = reader->end.directory_bytes;
    for (size_t i = 0; i < n; i++) {
        enum llavamed_status status = read_central_entry(reader, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    if (reader->unread_bytes > 0 || reader->position < reader->filled) {
        return fail_structure(reader, "the directory holds more than its entries", error);
    }
    return LLAVAMED_OK;
}

/* ---- Local headers ---- */

static int compare_header_offsets(const void *a, const void *b)
{
    const struct central_entry *entry_a = a;
    const struct central_entry *entry_b = b;
    return (entry_a->header_offset > entry_b->header_offset) - (entry_a->header_offset < entry_b->header_offset);
}

static enum llavamed_status fail_disagrees(const struct zip_reader *reader, const char *name, const char *what,
                                           struct llavamed_error *error)
{
    return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                         "%s: zip: entry %s: local header and directory disagree on the %s", reader->path, name, what);
}

/*
 * torch leaves CRC and sizes 0 in the local header when a descriptor follows. Saturated sizes stand for the local
 * zip64 field, which is not read: torch writes a compressed size of 0 there.
 */
static enum llavamed_status check_local(const struct zip_reader *reader, const struct central_entry *central,
                                        const uint8_t *local, struct llavamed_error *error)
{
    const struct zip_entry *entry = &reader->directory.entries[central->index];
    bool zero_allowed = (central->flags & FLAG_DESCRIPTOR) != 0;
    uint32_t crc = load_le32(local + 14);
    uint32_t size = (uint32_t)min_u64(entry->n_bytes, SATURATED32);
    if (load_le16(local + 6) != central->flags) {
        return fail_disagrees(reader, entry->name, "flags", error);
    }
    if (load_le16(local + 8) != 0) {
        return fail_disagrees(reader, entry->name, "compression method", error);
    }
    if (crc != entry->crc32 && !(zero_allowed && crc == 0)) {
        return fail_disagrees(reader, entry->name, "CRC-32", error);
    }
    for (int at = 18; at <= 22; at += 4) {
        uint32_t local_size = load_le32(local + at);
        if (local_size != size && local_size != SATURATED32 && !(zero_allowed && local_size == 0)) {
            return fail_disagrees(reader, entry->name, "size", error);
        }
    }
    return LLAVAMED_OK;
}

/* Reads the local header of an entry that must begin at header_offset, and sets entry->data_offset. */
static enum llavamed_status read_local(struct zip_reader *reader, const struct central_entry *central,
                                       struct llavamed_error *error)
{
    struct zip_entry *entry = &reader->directory.entries[central->index];
    size_t name_bytes = strlen(entry->name);
    uint64_t room = reader->end.directory_offset - central->header_offset;
    uint8_t local[LOCAL_BYTES + ZIP_NAME_BYTES_MAX];
    if (room < LOCAL_BYTES + name_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: the local header of entry %s runs into the directory", reader->path,
                             entry->name);
    }
    enum llavamed_status status =
        input_file_read(reader->file, central->header_offset, local, LOCAL_BYTES + name_bytes, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (load_le32(local) != LOCAL_SIGNATURE) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: no local header for entry %s at %llu",
                             reader->path, entry->name, (unsigned long long)central->header_offset);
    }
    if (load_le16(local + 26) != name_bytes || memcmp(local + LOCAL_BYTES, entry->name, name_bytes) != 0) {
        return fail_disagrees(reader, entry->name, "name", error);
    }
    status = check_local(reader, central, local, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    uint64_t header_bytes = LOCAL_BYTES + name_bytes + load_le16(local + 28);
    if (header_bytes > room || entry->n_bytes > room - header_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_OVERLAP, "%s: zip: entry %s runs into the directory",
                             reader->path, entry->name);
    }
    entry->data_offset = central->header_offset + header_bytes;
    return LLAVAMED_OK;
}

/* Checks the bytes between the end of an entry's data and `next`, where the next entry or the directory begins. */
static enum llavamed_status check_gap(struct zip_reader *reader, const struct central_entry *central, uint64_t next,
                                      struct llavamed_error *error)
{
    const struct zip_entry *entry = &reader->directory.entries[central->index];
    uint64_t data_end = entry->data_offset + entry->n_bytes;
    if (data_end > next) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_OVERLAP,
                             "%s: zip: entry %s overlaps what follows it (ends at %llu, next at %llu)", reader->path,
                             entry->name, (unsigned long long)data_end, (unsigned long long)next);
    }
    uint64_t gap = next - data_end;
    bool has_descriptor = (central->flags & FLAG_DESCRIPTOR) != 0;
    if (has_descriptor ? gap != DESCRIPTOR_BYTES && gap != DESCRIPTOR64_BYTES : gap != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %llu bytes follow the data of entry %s (%s)",
                             reader->path, (unsigned long long)gap, entry->name,
                             has_descriptor ? "want a descriptor of 16 or 24" : "want 0");
    }
    if (!has_descriptor) {
        return LLAVAMED_OK;
    }
    uint8_t descriptor[DESCRIPTOR64_BYTES];
    enum llavamed_status status = input_file_read(reader->file, data_end, descriptor, (size_t)gap, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    bool wide = gap == DESCRIPTOR64_BYTES;
    uint64_t stored_bytes = wide ? load_le64(descriptor + 8) : load_le32(descriptor + 8);
    uint64_t n_bytes = wide ? load_le64(descriptor + 16) : load_le32(descriptor + 12);
    if (load_le32(descriptor) != DESCRIPTOR_SIGNATURE || load_le32(descriptor + 4) != entry->crc32 ||
        stored_bytes != entry->n_bytes || n_bytes != entry->n_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_DISAGREES,
                             "%s: zip: entry %s: the descriptor after the data and the directory disagree",
                             reader->path, entry->name);
    }
    return LLAVAMED_OK;
}

static enum llavamed_status read_locals(struct zip_reader *reader, struct llavamed_error *error)
{
    size_t n = reader->directory.n_entries;
    qsort(reader->central, n, sizeof *reader->central, compare_header_offsets);
    if (reader->central[0].header_offset != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: %llu bytes before the first entry (want 0)",
                             reader->path, (unsigned long long)reader->central[0].header_offset);
    }
    if (reader->central[n - 1].header_offset > reader->end.directory_offset) {
        return fail_structure(reader, "an entry begins behind the start of the directory", error);
    }
    for (size_t i = 0; i < n; i++) {
        enum llavamed_status status = read_local(reader, &reader->central[i], error);
        if (status == LLAVAMED_OK) {
            uint64_t next = i + 1 < n ? reader->central[i + 1].header_offset : reader->end.directory_offset;
            status = check_gap(reader, &reader->central[i], next, error);
        }
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return LLAVAMED_OK;
}

/* ---- Names ---- */

/* ASCII only and without the locale: 'A' to 'Z' alone are folded. */
static int compare_folded(const char *a, const char *b)
{
    for (;; a++, b++) {
        unsigned char x = (unsigned char)*a;
        unsigned char y = (unsigned char)*b;
        x = (unsigned char)(x >= 'A' && x <= 'Z' ? x + ('a' - 'A') : x);
        y = (unsigned char)(y >= 'A' && y <= 'Z' ? y + ('a' - 'A') : y);
        if (x != y || x == '\0') {
            return (x > y) - (x < y);
        }
    }
}

struct name_row {
    const char *name;
    size_t index;
};

static int compare_name_rows(const void *a, const void *b)
{
    const struct name_row *row_a = a;
    const struct name_row *row_b = b;
    return compare_folded(row_a->name, row_b->name);
}

static enum llavamed_status sort_names(struct zip_reader *reader, struct llavamed_error *error)
{
    size_t n = reader->directory.n_entries;
    struct name_row *rows = calloc(n, sizeof *rows);
    if (rows == NULL) {
        return llavamed_fail_memory(error, n * sizeof *rows, "the names of a zip directory");
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct name_row){reader->directory.entries[i].name, i};
    }
    qsort(rows, n, sizeof *rows, compare_name_rows);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_folded(rows[i - 1].name, rows[i].name) == 0) {
            bool same = strcmp(rows[i - 1].name, rows[i].name) == 0;
            status = llavamed_fail(error, LLAVAMED_STATUS_ZIP_DUPLICATE, "%s: zip: entry %s is there twice%s",
                                   reader->path, rows[i].name, same ? "" : ", in different letter case");
            break;
        }
        reader->directory.by_name[i] = rows[i].index;
    }
    free(rows);
    return status;
}

enum llavamed_status zip_directory_read(struct input_file *file, enum zip_form form, struct zip_directory *directory,
                                        struct llavamed_error *error)
{
    struct zip_reader reader = {.file = file, .path = input_file_path(file), .form = form};
    enum llavamed_status status = zip_end_read(file, &reader.end, error);
    if (status == LLAVAMED_OK) {
        status = read_central(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = sort_names(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_locals(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        *directory = reader.directory;
        memset(&reader.directory, 0, sizeof reader.directory);
    }
    zip_directory_deinit(&reader.directory);
    free(reader.central);
    free(reader.window);
    return status;
}

size_t zip_find(const struct zip_directory *directory, const char *name)
{
    size_t low = 0;
    size_t high = directory->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t index = directory->by_name[middle];
        int order = compare_folded(name, directory->entries[index].name);
        if (order == 0) {
            return strcmp(name, directory->entries[index].name) == 0 ? index : ZIP_NOT_FOUND;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return ZIP_NOT_FOUND;
}
