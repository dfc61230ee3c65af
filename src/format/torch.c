/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torch.load trusts a file in ways that this reader must not: a record smaller than its storage is read out of bounds,
 * a wrong CRC goes unnoticed, and entries are found whatever the case of their letters (zip.c refuses names that differ
 * in nothing else, so exact look-up finds what torch finds, or nothing).
 */
#include "format/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checked.h"
#include "format/torch_legacy.h"
#include "integrity/crc32.h"

#define VERSION_BYTES_MAX 16
#define BYTE_ORDER_BYTES_MAX 16
#define TORCH_VERSION_MAX 10
/* "data/" and a key of at most 20 digits are the longest names that are looked up. */
#define RECORD_NAME_BYTES_MAX 32
struct torch_reader {
    struct input_file *file;
    const char *path; /* borrowed from file */
    bool check_crc;
    struct zip_directory zip;
    size_t folder_bytes; /* the first folder_bytes bytes of every entry name are "FOLDER/" */
    struct torch_file made;
};

void torch_file_deinit(struct torch_file *file)
{
    pickle_state_dict_deinit(&file->dict);
    free(file->records);
    file->records = NULL;
}

/* ---- The archive ---- */

/* Tells the two forms apart by the first bytes. */
static enum llavamed_status check_magic(struct torch_reader *reader, bool *legacy, struct llavamed_error *error)
{
    uint8_t head[TORCH_LEGACY_MAGIC_BYTES] = {0};
    size_t n = (size_t)min_u64(input_file_bytes(reader->file), sizeof head);
    enum llavamed_status status = input_file_read(reader->file, 0, head, n, error);
    *legacy = torch_legacy_looks_like(head, n);
    if (status != LLAVAMED_OK || zip_looks_like(head, n) || *legacy) {
        return status;
    }
    if (n == 0) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_TRUNCATED, "%s: the file is empty", reader->path);
    }
    return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                         "%s: not a PyTorch checkpoint: it begins with neither a zip entry nor the magic number of "
                         "the legacy form",
                         reader->path);
}

static enum llavamed_status check_folder(struct torch_reader *reader, struct llavamed_error *error)
{
    const char *first = reader->zip.entries[0].name;
    const char *slash = strchr(first, '/');
    if (slash == NULL || slash == first) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                             "%s: not a PyTorch checkpoint: entry %s is not in a folder", reader->path, first);
    }
    reader->folder_bytes = (size_t)(slash - first) + 1;
    for (size_t i = 1; i < reader->zip.n_entries; i++) {
        if (strncmp(reader->zip.entries[i].name, first, reader->folder_bytes) != 0) {
            return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                                 "%s: not a PyTorch checkpoint: entries %s and %s are not in one folder", reader->path,
                                 first, reader->zip.entries[i].name);
        }
    }
    return LLAVAMED_OK;
}

/* ---- Small records ---- */

/* The entry FOLDER/name, or NULL. `name` has less than RECORD_NAME_BYTES_MAX bytes. */
static const struct zip_entry *find_record(const struct torch_reader *reader, const char *name)
{
    char full[ZIP_NAME_BYTES_MAX + RECORD_NAME_BYTES_MAX];
    (void)snprintf(full, sizeof full, "%.*s%s", (int)reader->folder_bytes, reader->zip.entries[0].name, name);
    size_t index = zip_find(&reader->zip, full);
    return index == ZIP_NOT_FOUND ? NULL : &reader->zip.entries[index];
}

static bool entry_has_crc(const struct zip_entry *entry)
{
    return entry->crc32 != 0 || entry->n_bytes == 0;
}

/* The whole of a small record, checked against its CRC. *bytes is owned by the caller and NUL-terminated. */
static enum llavamed_status read_record(struct torch_reader *reader, const struct zip_entry *entry, size_t max_bytes,
                                        char **bytes, struct llavamed_error *error)
{
    if (entry->n_bytes > max_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT,
                             "%s: record %s is too large (got %llu bytes, want at most %zu)", reader->path, entry->name,
                             (unsigned long long)entry->n_bytes, max_bytes);
    }
    size_t n = (size_t)entry->n_bytes;
    char *data = malloc(n + 1);
    if (data == NULL) {
        return llavamed_fail_memory(error, n + 1, "a record of a PyTorch checkpoint");
    }
    enum llavamed_status status = input_file_read(reader->file, entry->data_offset, data, n, error);
    if (status == LLAVAMED_OK && reader->check_crc && entry_has_crc(entry)) {
        uint32_t crc = crc32_update(0, data, n);
        if (crc != entry->crc32) {
            status = llavamed_fail(error, LLAVAMED_STATUS_CRC_MISMATCH,
                                   "%s: record %s is damaged (got CRC-32 %08x, want %08x)", reader->path, entry->name,
                                   crc, entry->crc32);
            llavamed_hint(error, "download or copy the file again");
        }
    }
    if (status == LLAVAMED_OK) {
        data[n] = '\0';
        *bytes = data;
        data = NULL;
    }
    free(data);
    return status;
}

/* Digits, then one newline or none. */
static bool version_is_known(const char *text, size_t n_bytes)
{
    unsigned version = 0;
    if (n_bytes > 0 && text[n_bytes - 1] == '\n') {
        n_bytes--;
    }
    if (n_bytes == 0 || n_bytes > 4) {
        return false;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        version = version * 10 + (unsigned)(text[i] - '0');
    }
    return version >= 1 && version <= TORCH_VERSION_MAX;
}

/* `version` is where torch.save puts it, `.data/version` where packages have it; torch reads either. */
static enum llavamed_status check_version(struct torch_reader *reader, struct llavamed_error *error)
{
    static const char *const names[] = {"version", ".data/version"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct zip_entry *entry = find_record(reader, names[i]);
        if (entry == NULL) {
            continue;
        }
        found = true;
        char *text = NULL;
        enum llavamed_status status = read_record(reader, entry, VERSION_BYTES_MAX, &text, error);
        if (status == LLAVAMED_OK && !version_is_known(text, (size_t)entry->n_bytes)) {
            status = llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                                   "%s: unknown version of the file format (got '%s', want 1 to %d)", reader->path,
                                   text, TORCH_VERSION_MAX);
        }
        free(text);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    if (!found) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                             "%s: not a PyTorch checkpoint: it has no version record", reader->path);
    }
    return LLAVAMED_OK;
}

/* torch before 2.1 wrote no byteorder, and always little-endian data. */
static enum llavamed_status check_byte_order(struct torch_reader *reader, struct llavamed_error *error)
{
    const struct zip_entry *entry = find_record(reader, "byteorder");
    if (entry == NULL) {
        return LLAVAMED_OK;
    }
    char *text = NULL;
    enum llavamed_status status = read_record(reader, entry, BYTE_ORDER_BYTES_MAX, &text, error);
    if (status == LLAVAMED_OK && (entry->n_bytes != strlen("little") || strcmp(text, "little") != 0)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_TORCH_BYTE_ORDER,
                               "%s: unsupported byte order (got '%s', want 'little')", reader->path, text);
    }
    free(text);
    return status;
}

static enum llavamed_status read_dict(struct torch_reader *reader, struct llavamed_error *error)
{
    const struct zip_entry *entry = find_record(reader, "data.pkl");
    if (entry == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_INVALID,
                             "%s: not a PyTorch checkpoint: it has no data.pkl record", reader->path);
    }
    char *bytes = NULL;
    enum llavamed_status status = read_record(reader, entry, PICKLE_BYTES_MAX, &bytes, error);
    if (status == LLAVAMED_OK) {
        status = pickle_read_state_dict(reader->path, (const uint8_t *)bytes, (size_t)entry->n_bytes,
                                        &reader->made.dict, error);
    }
    free(bytes);
    return status;
}

/* ---- Storages ---- */

static enum llavamed_status find_storage(const struct torch_reader *reader, const struct pickle_storage *storage,
                                         struct torch_record *record, struct llavamed_error *error)
{
    char name[RECORD_NAME_BYTES_MAX];
    (void)snprintf(name, sizeof name, "data/%s", storage->key);
    const struct zip_entry *entry = find_record(reader, name);
    if (entry == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_STORAGE, "%s: storage %s has no record %s", reader->path,
                             storage->key, name);
    }
    uint64_t n_bytes = 0;
    if (!checked_mul_u64(storage->n_elems, dtype_bytes(storage->dtype), &n_bytes) || n_bytes != entry->n_bytes) {
        return llavamed_fail(error, LLAVAMED_STATUS_TORCH_STORAGE,
                             "%s: record %s does not hold its storage (got %llu bytes, want %llu elements of %s)",
                             reader->path, entry->name, (unsigned long long)entry->n_bytes,
                             (unsigned long long)storage->n_elems, dtype_name(storage->dtype));
    }
    *record = (struct torch_record){
        .file_offset = entry->data_offset,
        .n_bytes = entry->n_bytes,
        .crc32 = entry->crc32,
        .has_crc = entry_has_crc(entry),
    };
    return LLAVAMED_OK;
}

static enum llavamed_status find_storages(struct torch_reader *reader, struct llavamed_error *error)
{
    size_t n = reader->made.dict.n_storages;
    reader->made.records = calloc(n + 1, sizeof *reader->made.records);
    if (reader->made.records == NULL) {
        return llavamed_fail_memory(error, (n + 1) * sizeof *reader->made.records,
                                    "the records of a PyTorch checkpoint");
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; i < n && status == LLAVAMED_OK; i++) {
        status = find_storage(reader, &reader->made.dict.storages[i], &reader->made.records[i], error);
    }
    return status;
}

static enum llavamed_status read_zip(struct torch_reader *reader, struct llavamed_error *error)
{
    enum llavamed_status status = zip_directory_read(reader->file, ZIP_TORCH, &reader->zip, error);
    if (status == LLAVAMED_OK) {
        status = check_folder(reader, error);
    }
    if (status == LLAVAMED_OK && find_record(reader, "constants.pkl") != NULL) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                               "%s: a TorchScript program (it has a constants.pkl), not a state dict", reader->path);
    }
    if (status == LLAVAMED_OK) {
        status = check_version(reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = check_byte_order(reader, error);
    }
    if (status == LLAVAMED_OK) {
        status = read_dict(reader, error);
    }
    return status == LLAVAMED_OK ? find_storages(reader, error) : status;
}

enum llavamed_status torch_file_read(struct input_file *file, bool check_crc, struct torch_file *out,
                                     struct llavamed_error *error)
{
    struct torch_reader reader = {.file = file, .path = input_file_path(file), .check_crc = check_crc};
    bool legacy = false;
    enum llavamed_status status = check_magic(&reader, &legacy, error);
    if (status == LLAVAMED_OK) {
        status = legacy ? torch_legacy_read(file, &reader.made, error) : read_zip(&reader, error);
    }
    if (status == LLAVAMED_OK) {
        *out = reader.made;
        memset(&reader.made, 0, sizeof reader.made);
    }
    torch_file_deinit(&reader.made);
    zip_directory_deinit(&reader.zip);
    return status;
}
