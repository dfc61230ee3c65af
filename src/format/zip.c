/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading goes from the end of the file to its start: end records (zip_end.c), central directory, then every local
 * header and descriptor in the order in which they lie in the file (zip_local.c). Every number is compared with the
 * room that is left by subtraction, and every count with the size of the file before it sizes an allocation. Format:
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/zip_end.h"
#include "format/zip_local.h"

#define CENTRAL_BYTES ZIP_CENTRAL_BYTES_MIN

#define CENTRAL_SIGNATURE 0x02014b50u

#define SATURATED32 0xffffffffu /* "look into the zip64 extra field" */

/* How hard deflate tried. Info-ZIP sets them on entries that it then stores, too. */
#define FLAGS_DEFLATE 0x0006u
#define FLAG_UTF8 0x0800u
/* Bit 0 encrypts the data, bit 6 says how, bit 13 hides the directory. */
#define FLAGS_ENCRYPTION 0x2041u

/* "version made by", second byte; the upper half of the external attributes is then st_mode. */
#define MADE_BY_UNIX 3
#define UNIX_TYPE_MASK 0xf000u
#define UNIX_TYPE_LINK 0xa000u

#define METHOD_STORED 0
#define METHOD_DEFLATE 8

/* A match of 258 bytes takes at least two bits. */
#define DEFLATE_RATIO_MAX 1032

#define EXTRA_ZIP64 0x0001u

/* Pieces in which the directory is read; holds the longest central entry that passes the checks. */
#define WINDOW_BYTES 1048576

struct zip_reader {
    struct input_file *file;
    const char *path; /* borrowed from file */
    enum zip_form form;
    struct zip_end end;
    struct zip_directory directory;
    struct zip_local *locals; /* owned, end.n_entries of them */
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
    return n_bytes >= 4 && load_le32(bytes) == ZIP_LOCAL_SIGNATURE;
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

/*
 * Walks the extra fields. false when they are malformed, or the zip64 field holds less than is asked of it, or more:
 * torch writes just that, but some writers always write all of it (`more_allowed`).
 */
static bool parse_extra(const uint8_t *extra, size_t n_bytes, bool more_allowed, struct extents *extents)
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
           take_zip64(&extents->header_offset, &zip64, &zip64_bytes) && (more_allowed || zip64_bytes == 0);
}

static enum llavamed_status check_method(const struct zip_reader *reader, const char *name, const uint8_t *header,
                                         struct llavamed_error *error)
{
    bool archive = reader->form == ZIP_ARCHIVE;
    unsigned method = load_le16(header + 10);
    if ((load_le16(header + 8) & FLAGS_ENCRYPTION) != 0) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_ZIP_ENCRYPTED, "%s: zip: entry %s is encrypted", reader->path, name);
        llavamed_hint(error, "unpack the archive with its password and give the directory");
        return LLAVAMED_STATUS_ZIP_ENCRYPTED;
    }
    if (method == METHOD_STORED || (archive && method == METHOD_DEFLATE)) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = llavamed_fail(error, LLAVAMED_STATUS_ZIP_COMPRESSED,
                                                "%s: zip: entry %s is compressed (got method %u, want 0, stored%s)",
                                                reader->path, name, method, archive ? ", or 8, deflated" : "");
    if (archive) {
        llavamed_hint(error, "unpack the archive and name the directory");
    }
    return status;
}

static enum llavamed_status check_flags(const struct zip_reader *reader, const char *name, const uint8_t *header,
                                        struct llavamed_error *error)
{
    bool archive = reader->form == ZIP_ARCHIVE;
    unsigned flags = load_le16(header + 8);
    unsigned known = ZIP_FLAG_DESCRIPTOR | FLAG_UTF8 | (archive ? FLAGS_DEFLATE : 0);
    enum llavamed_status status = check_method(reader, name, header, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if ((flags & ~known) != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID, "%s: zip: entry %s has unknown flags (got 0x%04x)",
                             reader->path, name, flags);
    }
    if ((load_le16(header + 32) != 0 && !archive) || load_le16(header + 34) != 0) {
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

/* Sets what the central header says of the content, when it makes sense. */
static enum llavamed_status take_sizes(const struct zip_reader *reader, const uint8_t *header,
                                       const struct extents *extents, struct zip_entry *entry,
                                       struct llavamed_error *error)
{
    uint64_t n_bytes = extents->n_bytes;
    uint64_t stored_bytes = extents->compressed_bytes;
    bool deflated = load_le16(header + 10) == METHOD_DEFLATE;
    if (deflated ? n_bytes / DEFLATE_RATIO_MAX > stored_bytes : n_bytes != stored_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             deflated
                                 ? "%s: zip: entry %s is deflated more than can be (got %llu, want %llu)"
                                 : "%s: zip: entry %s is stored in another size than its own (got %llu, want %llu)",
                             reader->path, entry->name, (unsigned long long)stored_bytes, (unsigned long long)n_bytes);
    }
    bool is_directory = entry->name[strlen(entry->name) - 1] == '/';
    if (reader->form == ZIP_ARCHIVE && is_directory && n_bytes > 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s is a directory and has content (got %llu bytes, want 0)", reader->path,
                             entry->name, (unsigned long long)n_bytes);
    }
    entry->n_bytes = n_bytes;
    entry->stored_bytes = stored_bytes;
    entry->deflated = deflated;
    entry->is_link = header[5] == MADE_BY_UNIX && (load_le16(header + 40) & UNIX_TYPE_MASK) == UNIX_TYPE_LINK;
    entry->crc32 = load_le32(header + 16);
    if (entry->n_bytes == 0 && entry->crc32 != 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s is empty and has a CRC-32 (got %08x, want 0)", reader->path,
                             entry->name, entry->crc32);
    }
    return LLAVAMED_OK;
}

/* Parses the next central entry into directory.entries[n_entries] and locals[n_entries]. */
static enum llavamed_status read_central_entry(struct zip_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = window_need(reader, CENTRAL_BYTES, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    const uint8_t *header = reader->window + reader->position;
    size_t name_bytes = load_le16(header + 28);
    size_t extra_bytes = load_le16(header + 30);
    size_t comment_bytes = reader->form == ZIP_ARCHIVE ? load_le16(header + 32) : 0; /* else refused by check_flags() */
    if (load_le32(header) != CENTRAL_SIGNATURE) {
        return fail_structure(reader, "an entry of the directory is not one", error);
    }
    if (name_bytes == 0 || name_bytes > ZIP_NAME_BYTES_MAX) {
        return llavamed_fail(error, name_bytes == 0 ? LLAVAMED_STATUS_ZIP_INVALID : LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: zip: an entry name has %zu bytes (want 1 to %d)", reader->path, name_bytes,
                             ZIP_NAME_BYTES_MAX);
    }
    status = window_need(reader, CENTRAL_BYTES + name_bytes + extra_bytes + comment_bytes, error);
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
    if (!parse_extra(header + CENTRAL_BYTES + name_bytes, extra_bytes, reader->form == ZIP_ARCHIVE, &extents)) {
        return llavamed_fail(error, LLAVAMED_STATUS_ZIP_INVALID,
                             "%s: zip: entry %s has malformed extra fields or a wrong zip64 field", reader->path,
                             entry->name);
    }
    status = take_sizes(reader, header, &extents, entry, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    reader->locals[index] = (struct zip_local){extents.header_offset, index, load_le16(header + 8)};
    reader->position += CENTRAL_BYTES + name_bytes + extra_bytes + comment_bytes;
    return LLAVAMED_OK;
}

static enum llavamed_status read_central(struct zip_reader *reader, struct llavamed_error *error)
{
    size_t n = (size_t)reader->end.n_entries;
    reader->directory.entries = calloc(n, sizeof *reader->directory.entries);
    reader->directory.by_name = calloc(n, sizeof *reader->directory.by_name);
    reader->locals = calloc(n, sizeof *reader->locals);
    reader->window_bytes = (size_t)min_u64(reader->end.directory_bytes, WINDOW_BYTES);
    reader->window = malloc(reader->window_bytes);
    if (reader->directory.entries == NULL || reader->directory.by_name == NULL || reader->locals == NULL ||
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
            if (reader->form == ZIP_ARCHIVE) {
                llavamed_hint(error, "unpack the archive and give the directory");
            }
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
    enum llavamed_status status = zip_end_read(file, form, &reader.end, error);
    if (status == LLAVAMED_OK) {
        status = read_central(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = sort_names(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        struct zip_locals locals = {file, form, reader.end.directory_offset, reader.locals, reader.directory.n_entries};
        status = zip_locals_read(&locals, reader.directory.entries, error);
    }
    if (status == LLAVAMED_OK) {
        *directory = reader.directory;
        memset(&reader.directory, 0, sizeof reader.directory);
    }
    zip_directory_deinit(&reader.directory);
    free(reader.locals);
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
