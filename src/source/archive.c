/* SPDX-License-Identifier: Apache-2.0 */
#include "source/archive.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checked.h"
#include "format/zip_end.h"

#define LOCAL_BYTES 30

struct archive {
    struct input_file *file;
    struct zip_directory zip;
    struct directory_listing listing; /* names borrow nothing: they are copies */
    size_t *entries;                  /* owned, as listing.names: indices into zip.entries */
    const char *folder;               /* "a/b/", or ""; folder_bytes of it; borrowed from an entry's name */
    size_t folder_bytes;
};

static bool has_suffix(const char *text, const char *suffix)
{
    size_t text_bytes = strlen(text);
    size_t suffix_bytes = strlen(suffix);
    return text_bytes >= suffix_bytes && strcmp(text + text_bytes - suffix_bytes, suffix) == 0;
}

enum llavamed_status archive_probe(const char *path, bool *is_archive, struct llavamed_error *error)
{
    struct input_file *file = NULL;
    uint8_t local[LOCAL_BYTES];
    char name[ZIP_NAME_BYTES_MAX + 1];
    *is_archive = false;
    enum llavamed_status status = input_file_open(path, &file, error);
    size_t n_bytes = status == LLAVAMED_OK ? (size_t)min_u64(input_file_bytes(file), LOCAL_BYTES) : 0;
    if (n_bytes > 0) {
        status = input_file_read(file, 0, local, n_bytes, error);
    }
    if (status != LLAVAMED_OK) {
        goto out;
    }
    if (!zip_looks_like(local, n_bytes)) {
        status = zip_end_explain(file, error);
        goto out;
    }
    if (n_bytes < LOCAL_BYTES) {
        goto out;
    }
    size_t name_bytes = load_le16(local + 26);
    name_bytes = (size_t)min_u64(min_u64(name_bytes, ZIP_NAME_BYTES_MAX), input_file_bytes(file) - LOCAL_BYTES);
    status = input_file_read(file, LOCAL_BYTES, name, name_bytes, error);
    if (status == LLAVAMED_OK) {
        /* torch writes FOLDER/data.pkl first; the few that others packed again are told by their directory. */
        name[name_bytes] = '\0';
        *is_archive = load_le16(local + 8) != 0 || !has_suffix(name, "/data.pkl");
    }
out:
    input_file_close(file);
    return status;
}

/* ---- Names ---- */

/* The part behind the last slash. */
static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash == NULL ? name : slash + 1;
}

/* Whether a part of the path is "..", or the path is absolute, or of another system's kind. */
static bool leads_out(const char *name)
{
    if (name[0] == '/' || strchr(name, '\\') != NULL) {
        return true;
    }
    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool is_visible_file(const char *name)
{
    const char *base = base_of(name);
    return *base != '\0' && strncmp(base, "._", 2) != 0 && strcmp(base, ".DS_Store") != 0 &&
           strncmp(name, "__MACOSX/", strlen("__MACOSX/")) != 0;
}

static bool is_weights_name(const char *name)
{
    static const char *const endings[] = {".safetensors", ".bin", ".pth", ".pt", ".index.json"};
    const char *base = base_of(name);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (has_suffix(base, endings[i]) && strcmp(base, "training_args.bin") != 0) {
            return true;
        }
    }
    return false;
}

static size_t depth_of(const char *name)
{
    size_t depth = 0;
    for (const char *p = name; *p != '\0'; p++) {
        depth += *p == '/';
    }
    return depth;
}

static bool same_folder(const char *a, const char *b)
{
    size_t n = (size_t)(base_of(a) - a);
    return (size_t)(base_of(b) - b) == n && memcmp(a, b, n) == 0;
}

/* ---- The folder ---- */

static enum llavamed_status fail_two_folders(const struct archive *archive, const char *a, const char *b,
                                             struct llavamed_error *error)
{
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                        "%s: several folders of the archive hold weights (%.*s and %.*s)",
                        input_file_path(archive->file), (int)(base_of(a) - a), a, (int)(base_of(b) - b), b);
    llavamed_hint(error, "unpack the archive and give the directory that is meant");
    return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
}

/* The folder of the weights nearest to the root; without any, of the file nearest to it. */
static enum llavamed_status choose_folder(struct archive *archive, struct llavamed_error *error)
{
    const char *chosen = NULL;
    const char *rival = NULL;
    const char *any = NULL;
    for (size_t i = 0; i < archive->zip.n_entries; i++) {
        const char *name = archive->zip.entries[i].name;
        if (leads_out(name)) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSAFE,
                                "%s: an entry's name leads out of the archive or is not a plain path (%.200s)",
                                input_file_path(archive->file), name);
            llavamed_hint(error, "unpack the archive with a tool that keeps names inside, and give the directory");
            return LLAVAMED_STATUS_INPUT_UNSAFE;
        }
        if (!is_visible_file(name)) {
            continue;
        }
        if (any == NULL || depth_of(name) < depth_of(any)) {
            any = name;
        }
        if (!is_weights_name(name)) {
            continue;
        }
        if (chosen == NULL || depth_of(name) < depth_of(chosen)) {
            chosen = name;
            rival = NULL;
        } else if (depth_of(name) == depth_of(chosen) && !same_folder(name, chosen)) {
            rival = name;
        }
    }
    if (rival != NULL) {
        return fail_two_folders(archive, chosen, rival, error);
    }
    if (any == NULL) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: the archive holds no files",
                             input_file_path(archive->file));
    }
    archive->folder = chosen != NULL ? chosen : any;
    archive->folder_bytes = (size_t)(base_of(archive->folder) - archive->folder);
    return LLAVAMED_OK;
}

struct listed {
    char *name;
    size_t entry;
};

static int compare_listed(const void *a, const void *b)
{
    return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

static bool is_listed(const struct archive *archive, const char *name)
{
    return is_visible_file(name) && same_folder(name, archive->folder);
}

static enum llavamed_status list_folder(struct archive *archive, struct llavamed_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < archive->zip.n_entries; i++) {
        n += is_listed(archive, archive->zip.entries[i].name);
    }
    if (n > DIRECTORY_NAMES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too many files (got %zu, want at most %d)",
                             input_file_path(archive->file), n, DIRECTORY_NAMES_MAX);
    }
    struct listed *rows = calloc(n + 1, sizeof *rows);
    archive->listing.names = calloc(n + 1, sizeof *archive->listing.names);
    archive->entries = calloc(n + 1, sizeof *archive->entries);
    bool ok = rows != NULL && archive->listing.names != NULL && archive->entries != NULL;
    size_t at = 0;
    for (size_t i = 0; ok && i < archive->zip.n_entries; i++) {
        if (is_listed(archive, archive->zip.entries[i].name)) {
            rows[at++] = (struct listed){strdup(base_of(archive->zip.entries[i].name)), i};
            ok = rows[at - 1].name != NULL;
        }
    }
    if (ok) {
        qsort(rows, n, sizeof *rows, compare_listed);
    }
    for (size_t i = 0; i < at; i++) {
        if (ok) {
            archive->listing.names[archive->listing.n_names++] = rows[i].name;
            archive->entries[i] = rows[i].entry;
        } else {
            free(rows[i].name);
        }
    }
    free(rows);
    return ok ? LLAVAMED_OK : llavamed_fail_memory(error, (n + 1) * sizeof *rows, "the names of an archive");
}

/* ---- Opening ---- */

enum llavamed_status archive_open(const char *path, const volatile int *stop_signal, struct archive **out,
                                  struct llavamed_error *error)
{
    struct archive *archive = calloc(1, sizeof *archive);
    if (archive == NULL) {
        return llavamed_fail_memory(error, sizeof *archive, "an archive");
    }
    enum llavamed_status status = input_file_open(path, &archive->file, error);
    if (status == LLAVAMED_OK) {
        input_file_heed(archive->file, stop_signal);
        status = zip_directory_read(archive->file, ZIP_ARCHIVE, &archive->zip, error);
        input_file_heed(archive->file, NULL); /* members that are read look for themselves */
    }
    if (status == LLAVAMED_OK) {
        status = choose_folder(archive, error);
    }
    if (status == LLAVAMED_OK) {
        status = list_folder(archive, error);
    }
    if (status == LLAVAMED_OK) {
        *out = archive;
    } else {
        archive_close(archive);
    }
    return status;
}

void archive_close(struct archive *archive)
{
    if (archive != NULL) {
        directory_listing_deinit(&archive->listing);
        zip_directory_deinit(&archive->zip);
        input_file_close(archive->file);
        free(archive->entries);
        free(archive);
    }
}

/* ---- What is in it ---- */

const struct directory_listing *archive_listing(const struct archive *archive)
{
    return &archive->listing;
}

struct input_file *archive_file(const struct archive *archive)
{
    return archive->file;
}

char *archive_member_path(const struct archive *archive, const char *name)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%.*s%s", input_file_path(archive->file), (int)archive->folder_bytes, archive->folder,
                     name);
    return n < 0 ? NULL : path;
}

static int compare_name(const void *key, const void *name)
{
    return strcmp(key, *(const char *const *)name);
}

const struct zip_entry *archive_entry(const struct archive *archive, const char *name)
{
    const struct directory_listing *listing = &archive->listing;
    char **found = bsearch(name, listing->names, listing->n_names, sizeof *listing->names, compare_name);
    return found == NULL ? NULL : &archive->zip.entries[archive->entries[found - listing->names]];
}

enum llavamed_status archive_check_file(const struct zip_entry *entry, const char *path, struct llavamed_error *error)
{
    assert(entry != NULL);
    if (!entry->is_link) {
        return LLAVAMED_OK;
    }
    (void)llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: a symbolic link, not the file itself", path);
    llavamed_hint(error, "unpack the archive where the links lead somewhere, or pack the files themselves (zip without "
                         "-y)");
    return LLAVAMED_STATUS_INPUT_UNSUPPORTED;
}

enum llavamed_status archive_open_stored(const struct archive *archive, const char *name, struct input_file **out,
                                         struct llavamed_error *error)
{
    const struct zip_entry *entry = archive_entry(archive, name);
    char *path = archive_member_path(archive, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = archive_check_file(entry, path, error);
    if (status == LLAVAMED_OK) {
        status =
            input_file_open_part(input_file_path(archive->file), path, entry->data_offset, entry->n_bytes, out, error);
    }
    free(path);
    return status;
}

enum llavamed_status archive_open_member(const struct archive *archive, const char *name, struct zip_member **out,
                                         struct llavamed_error *error)
{
    char *path = archive_member_path(archive, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = zip_member_open(archive->file, archive_entry(archive, name), path, out, error);
    free(path);
    return status;
}

enum llavamed_status archive_read_whole(const struct archive *archive, const char *name, size_t max_bytes,
                                        char **bytes, size_t *n_bytes, struct llavamed_error *error)
{
    const struct zip_entry *entry = archive_entry(archive, name);
    char *path = archive_member_path(archive, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = archive_check_file(entry, path, error);
    if (status == LLAVAMED_OK) {
        status = zip_member_read_whole(archive->file, entry, path, max_bytes, bytes, error);
    }
    if (status == LLAVAMED_OK) {
        *n_bytes = (size_t)entry->n_bytes;
    }
    free(path);
    return status;
}
