/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list given by --sums. It may have as many lines as fit 16 MiB and there may be as many inputs as an index names:
 * a line finds what it is of by halving, each input is looked at once, and what a line of a file gives to its names is
 * written to them once, in the end.
 */
#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/input_hashes_parts.h"

#define SUMS_BYTES_MAX (16 << 20)

/* An item by the last part of its path. */
struct named_item {
    const char *base; /* borrowed from the path */
    struct input_item *item;
    size_t line; /* the last that gave it a hash by its name; 0: none */
};

/* An item that is a file of its own; of several that are the same file, the first stands for all. */
struct filed_item {
    struct path_identity identity;
    size_t named; /* index into by_name */
    size_t first; /* index into by_file */
    /* Of the first: */
    size_t n_same;
    bool fits[INPUT_ROLES];
    size_t line; /* as above, by being that file */
    char hex[SHA256_HEX_BYTES];
};

struct sums_reading {
    struct input_hashes *hashes;
    const char *path;
    const volatile int *stop_signal;
    char *directory;            /* owned */
    char *name;                 /* owned */
    struct named_item *by_name; /* owned: all items, sorted */
    struct filed_item *by_file; /* owned: sorted; NULL until a line names a file that is there */
    size_t n_files;
    size_t n_lines;
    size_t n_fitting;
};

static void free_reading(struct sums_reading *reading)
{
    free(reading->directory);
    free(reading->name);
    free(reading->by_name);
    free(reading->by_file);
}

/* ---- Looking up ---- */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named_item *)a)->base, ((const struct named_item *)b)->base);
}

static int compare_identities(const struct path_identity *a, const struct path_identity *b)
{
    if (a->device != b->device) {
        return a->device < b->device ? -1 : 1;
    }
    return a->inode < b->inode ? -1 : a->inode > b->inode;
}

static int compare_files(const void *a, const void *b)
{
    return compare_identities(&((const struct filed_item *)a)->identity, &((const struct filed_item *)b)->identity);
}

static int compare_identity(const void *identity, const void *file)
{
    return compare_identities(identity, &((const struct filed_item *)file)->identity);
}

static enum llavamed_status list_names(struct sums_reading *reading, struct llavamed_error *error)
{
    size_t n = reading->hashes->n_items;
    reading->by_name = calloc(n + 1, sizeof *reading->by_name);
    if (reading->by_name == NULL) {
        return llavamed_fail_memory(error, n * sizeof *reading->by_name, "the names of the inputs");
    }
    for (size_t i = 0; i < n; i++) {
        struct input_item *item = &reading->hashes->items[i];
        reading->by_name[i] = (struct named_item){.base = base_of(item->path), .item = item};
    }
    qsort(reading->by_name, n, sizeof *reading->by_name, compare_names);
    return LLAVAMED_OK;
}

/* Sorts the files and has the first of the same ones stand for them. */
static void group_files(struct sums_reading *reading)
{
    struct filed_item *files = reading->by_file;
    size_t first = 0;
    qsort(files, reading->n_files, sizeof *files, compare_files);
    for (size_t i = 0; i < reading->n_files; i++) {
        first = compare_files(&files[first], &files[i]) == 0 ? first : i;
        files[i].first = first;
        files[first].n_same++;
        files[first].fits[reading->by_name[files[i].named].item->role] = true;
    }
}

static enum llavamed_status list_files(struct sums_reading *reading, struct llavamed_error *error)
{
    size_t n = reading->hashes->n_items;
    reading->by_file = calloc(n + 1, sizeof *reading->by_file);
    if (reading->by_file == NULL) {
        return llavamed_fail_memory(error, n * sizeof *reading->by_file, "the files of the inputs");
    }
    for (size_t i = 0; i < n; i++) {
        const struct input_item *item = reading->by_name[i].item;
        struct filed_item *file = &reading->by_file[reading->n_files];
        enum llavamed_status status = stop_signal_check(reading->stop_signal, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (item->archive == NULL && path_identity_of(item->path, &file->identity, NULL) == LLAVAMED_OK) {
            file->named = i;
            reading->n_files++;
        }
    }
    group_files(reading);
    return LLAVAMED_OK;
}

/* ---- Lines ---- */

/* Whether `name` is the whole path or its last parts. */
static bool is_tail(const char *path, const char *name)
{
    size_t path_bytes = strlen(path);
    size_t name_bytes = strlen(name);
    return path_bytes >= name_bytes && strcmp(path + path_bytes - name_bytes, name) == 0 &&
           (path_bytes == name_bytes || path[path_bytes - name_bytes - 1] == '/');
}

/* The items of this name, in archives or not: of one last part there are no more than the inputs have folders. */
static size_t take_by_name(struct sums_reading *reading, const char *name, bool in_archive, const char *hex,
                           bool fits[INPUT_ROLES])
{
    const struct named_item key = {.base = base_of(name)};
    size_t n_fitting = 0;
    size_t low = 0;
    for (size_t high = reading->hashes->n_items; low < high;) {
        size_t middle = low + (high - low) / 2;
        bool is_before = compare_names(&reading->by_name[middle], &key) < 0;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    for (; low < reading->hashes->n_items && compare_names(&reading->by_name[low], &key) == 0; low++) {
        struct named_item *named = &reading->by_name[low];
        if ((named->item->archive != NULL) == in_archive && is_tail(named->item->path, name)) {
            memcpy(named->item->recorded.sha256[RECORDED_GIVEN], hex, SHA256_HEX_BYTES);
            named->line = reading->n_lines;
            fits[named->item->role] = true;
            n_fitting++;
        }
    }
    return n_fitting;
}

/* The items that are this file: end_lines() writes the hash to them. */
static size_t take_by_file(struct sums_reading *reading, const struct path_identity *identity, const char *hex,
                           bool fits[INPUT_ROLES])
{
    struct filed_item *found =
        bsearch(identity, reading->by_file, reading->n_files, sizeof *reading->by_file, compare_identity);
    if (found == NULL) {
        return 0;
    }
    struct filed_item *first = &reading->by_file[found->first];
    memcpy(first->hex, hex, SHA256_HEX_BYTES);
    first->line = reading->n_lines;
    for (int role = 0; role < INPUT_ROLES; role++) {
        fits[role] = fits[role] || first->fits[role];
    }
    return first->n_same;
}

/* The last line that fits an item counts, be it by its name or by the file that it is. */
static void end_lines(struct sums_reading *reading)
{
    for (size_t i = 0; i < reading->n_files; i++) {
        const struct filed_item *first = &reading->by_file[reading->by_file[i].first];
        const struct named_item *named = &reading->by_name[reading->by_file[i].named];
        if (first->line > named->line) {
            memcpy(named->item->recorded.sha256[RECORDED_GIVEN], first->hex, SHA256_HEX_BYTES);
        }
    }
}

/* What one line fits, by role: files of their own (as `identity`, or else by name), then those in archives. */
static size_t take_sum(struct sums_reading *reading, const char *name, const struct path_identity *identity,
                       const char *hex, bool fits[INPUT_ROLES])
{
    size_t n_fitting = identity != NULL ? take_by_file(reading, identity, hex, fits)
                                        : take_by_name(reading, name, false, hex, fits);
    /* Else it is the sum of that file, whatever names there are in an archive. */
    if (identity == NULL || n_fitting == 0) {
        n_fitting += take_by_name(reading, name, true, hex, fits);
    }
    return n_fitting;
}

static enum llavamed_status take_line(struct sums_reading *reading, const char *hex, struct llavamed_error *error)
{
    const char *name = reading->name;
    const char *bare = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    char *path = name[0] == '/' ? path_join(name, NULL) : path_join(reading->directory, bare);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    struct path_identity identity;
    bool is_there = path_identity_of(path, &identity, NULL) == LLAVAMED_OK;
    bool fits[INPUT_ROLES] = {false};
    free(path);
    enum llavamed_status status = stop_signal_check(reading->stop_signal, error);
    if (status == LLAVAMED_OK && is_there && reading->by_file == NULL) {
        status = list_files(reading, error);
    }
    if (status != LLAVAMED_OK) {
        return status;
    }
    reading->n_fitting += take_sum(reading, bare, is_there ? &identity : NULL, hex, fits);
    if (fits[INPUT_BASE] && fits[INPUT_DELTA]) {
        (void)llavamed_fail(error, LLAVAMED_STATUS_USAGE, "%s: %.200s fits a file of the base and one of the %s",
                            reading->path, name, input_role_name(reading->hashes, INPUT_DELTA));
        llavamed_hint(error,
                      "write the names as paths from the directory of that file; in archives ARCHIVE/FOLDER/NAME");
        return LLAVAMED_STATUS_USAGE;
    }
    return LLAVAMED_OK;
}

static bool is_blank_line(const char *line, size_t n_bytes)
{
    return n_bytes == 0 || line[0] == '#' || line[0] == '\n' || (line[0] == '\r' && n_bytes > 1 && line[1] == '\n');
}

static enum llavamed_status take_lines(struct sums_reading *reading, const char *text, size_t n_bytes,
                                       struct llavamed_error *error)
{
    reading->name = malloc(n_bytes + 1);
    reading->directory = path_parent(reading->path);
    enum llavamed_status status = reading->name == NULL || reading->directory == NULL
                                      ? llavamed_fail_memory(error, n_bytes, "a name")
                                      : list_names(reading, error);
    const char *cursor = text;
    size_t n_left = n_bytes;
    while (status == LLAVAMED_OK && n_left > 0) {
        char hex[SHA256_HEX_BYTES];
        reading->n_lines++;
        if (is_blank_line(cursor, n_left)) {
            const char *newline = memchr(cursor, '\n', n_left);
            size_t step = newline == NULL ? n_left : (size_t)(newline - cursor) + 1;
            cursor += step;
            n_left -= step;
        } else if (sums_next(&cursor, &n_left, hex, reading->name)) {
            status = take_line(reading, hex, error);
        } else {
            status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED,
                                   "%s: line %zu is not one of sha256sum (want 64 hex digits, two blanks, a name)",
                                   reading->path, reading->n_lines);
        }
    }
    if (status == LLAVAMED_OK && reading->n_fitting == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: no name in it fits an input file",
                               reading->path);
        llavamed_hint(error, "names are paths from the directory of that file, or names of the weights files");
    }
    end_lines(reading);
    return status;
}

/* Either an archive is to be named or each of its members. */
static void warn_of_unnamed(const struct input_hashes *hashes, struct warnings *warnings)
{
    bool archive_named[INPUT_ROLES] = {false};
    bool member_named[INPUT_ROLES] = {false};
    for (size_t i = 0; i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        bool is_named = item->is_weights && item->recorded.sha256[RECORDED_GIVEN][0] != '\0';
        archive_named[item->role] |= is_named && item->is_archive;
        member_named[item->role] |= is_named && item->archive != NULL;
    }
    for (size_t i = 0; i < hashes->n_items; i++) {
        const struct input_item *item = &hashes->items[i];
        bool is_told = item->is_archive        ? member_named[item->role]
                       : item->archive != NULL ? archive_named[item->role] || !member_named[item->role]
                                               : false;
        if (item->is_weights && !is_told && item->recorded.sha256[RECORDED_GIVEN][0] == '\0') {
            warnings_add(warnings, "%s: %s is not named in the file given by --sums",
                         input_role_name(hashes, item->role), item->name);
        }
    }
}

enum llavamed_status input_hashes_add_sums(struct input_hashes *hashes, const char *sums_path,
                                           const volatile int *stop_signal, struct warnings *warnings,
                                           struct llavamed_error *error)
{
    struct sums_reading reading = {.hashes = hashes, .path = sums_path, .stop_signal = stop_signal};
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_whole(sums_path, SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = take_lines(&reading, text, n_bytes, error);
    }
    free_reading(&reading);
    free(text);
    if (status == LLAVAMED_OK) {
        warn_of_unnamed(hashes, warnings);
    }
    return status == LLAVAMED_OK ? warnings_status(warnings, error) : status;
}
