/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_listing.h"

#include <stdlib.h>
#include <string.h>

#include "core/stop_signal.h"
#include "io/input_file.h"
#include "source/hub_cache.h"

void source_listing_close(struct source_listing *listing)
{
    for (size_t i = 0; i < listing->n_files; i++) {
        free(listing->files[i].name);
        free(listing->files[i].path);
        free(listing->files[i].member);
    }
    free(listing->files);
    archive_close(listing->archive);
    *listing = (struct source_listing){0};
}

/* A row with a copy of the name, and `path`, which it owns from now on; NULL: no memory, for either. */
static struct source_listing_file *add_row(struct source_listing *listing, char *name, char *path,
                                           struct llavamed_error *error)
{
    if (name != NULL && path != NULL && listing->n_files == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 16 : 2 * listing->capacity;
        struct source_listing_file *grown = reallocarray(listing->files, capacity, sizeof *grown);
        if (grown != NULL) {
            listing->files = grown;
            listing->capacity = capacity;
        }
    }
    if (name == NULL || path == NULL || listing->n_files == listing->capacity) {
        (void)llavamed_fail_memory(error, sizeof *listing->files, "the list of files");
        free(name);
        free(path);
        return NULL;
    }
    struct source_listing_file *row = &listing->files[listing->n_files++];
    *row = (struct source_listing_file){.name = name, .path = path};
    return row;
}

/* Where a directory lies in a hub cache. */
struct cache_place {
    char *repository; /* owned; NULL: in none */
    char *snapshot;   /* owned */
};

static void cache_place_deinit(struct cache_place *cache)
{
    free(cache->repository);
    free(cache->snapshot);
}

/* A plain file; takes over name and path. */
static enum llavamed_status add_plain(struct source_listing *listing, char *name, char *path,
                                      struct llavamed_error *error)
{
    struct source_listing_file *row = add_row(listing, name, path, error);
    struct input_file *file = NULL;
    if (row == NULL) {
        return LLAVAMED_STATUS_NO_MEMORY;
    }
    enum llavamed_status status = input_file_open(row->path, &file, error);
    if (status == LLAVAMED_OK) {
        row->n_bytes = input_file_bytes(file);
        row->n_stored = row->n_bytes;
    }
    input_file_close(file);
    return status;
}

/* ---- Archives and single files ---- */

static enum llavamed_status add_members(struct source_listing *listing, const char *archive_name,
                                        struct llavamed_error *error)
{
    const struct directory_listing *names = archive_listing(listing->archive);
    enum llavamed_status status = LLAVAMED_OK;
    for (size_t i = 0; status == LLAVAMED_OK && i < names->n_names; i++) {
        const char *name = names->names[i];
        const struct zip_entry *entry = archive_entry(listing->archive, name);
        struct source_listing_file *row = add_row(listing, path_join(archive_name, name),
                                                  archive_member_path(listing->archive, name), error);
        if (row == NULL) {
            return LLAVAMED_STATUS_NO_MEMORY;
        }
        status = archive_check_file(entry, row->path, error);
        row->archive = listing->archive;
        row->member = strdup(name);
        row->n_bytes = entry->n_bytes;
        row->n_stored = entry->stored_bytes;
        if (row->member == NULL) {
            return llavamed_fail_memory(error, strlen(name), "the list of files");
        }
    }
    return status;
}

/* A file that is given may be one of a hub cache, too. */
static enum llavamed_status check_link(const char *spec, struct llavamed_error *error)
{
    struct cache_place cache = {0};
    char *parent = path_parent(spec);
    if (parent == NULL) {
        return llavamed_fail_memory(error, strlen(spec), "a path");
    }
    enum llavamed_status status = hub_cache_repository_of(parent, &cache.repository, &cache.snapshot, error);
    if (status == LLAVAMED_OK && cache.repository != NULL) {
        status = hub_cache_check_inside(cache.repository, cache.snapshot, spec, error);
    }
    cache_place_deinit(&cache);
    free(parent);
    return status;
}

static enum llavamed_status add_file(struct source_listing *listing, const char *spec, struct llavamed_error *error)
{
    bool is_archive = false;
    struct llavamed_error failure = {0};
    enum llavamed_status status = check_link(spec, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    char *name = path_base_name(spec);
    status = add_plain(listing, name, path_join(spec, NULL), error);
    listing->is_single = true;
    if (status != LLAVAMED_OK || archive_probe(spec, &is_archive, &failure) != LLAVAMED_OK || !is_archive) {
        return status;
    }
    if (archive_open(spec, listing->stop_signal, &listing->archive, &failure) != LLAVAMED_OK) {
        if (llavamed_exit_status(&failure) <= 3) {
            return LLAVAMED_OK; /* what is damaged is a file all the same */
        }
        *error = failure;
        return failure.status;
    }
    listing->is_single = false;
    return status == LLAVAMED_OK ? add_members(listing, listing->files[0].name, error) : status;
}

/* ---- Directories ---- */

static enum llavamed_status kind_in(const char *directory, const char *name, enum path_kind *kind,
                                    struct llavamed_error *error)
{
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = path_kind_of(path, kind, error);
    free(path);
    return status;
}

static enum llavamed_status add_if_file(struct source_listing *listing, const struct cache_place *cache,
                                        const char *directory, const char *below, const char *name,
                                        struct llavamed_error *error)
{
    enum path_kind kind;
    enum llavamed_status status = kind_in(directory, name, &kind, error);
    if (status != LLAVAMED_OK || kind != PATH_FILE || name[0] == '.') {
        return status;
    }
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    if (cache->repository != NULL) {
        /* Of a folder in the snapshot, which may be a link, it is not known where "../.." leads. */
        status = hub_cache_check_inside(cache->repository, below == NULL ? cache->snapshot : NULL, path, error);
    }
    if (status != LLAVAMED_OK) {
        free(path);
        return status;
    }
    return add_plain(listing, below == NULL ? strdup(name) : path_join(below, name), path, error);
}

static enum llavamed_status add_plain_files(struct source_listing *listing, const struct cache_place *cache,
                                            const char *directory, const char *below, struct llavamed_error *error)
{
    struct directory_listing names = {0};
    enum llavamed_status status = directory_list(directory, &names, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < names.n_names; i++) {
        status = stop_signal_check(listing->stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = add_if_file(listing, cache, directory, below, names.names[i], error);
        }
    }
    directory_listing_deinit(&names);
    return status;
}

/* A folder of Meta's release, in that of its tokenizer. */
static enum llavamed_status add_sizes(struct source_listing *listing, const struct cache_place *cache,
                                      const char *directory, struct llavamed_error *error)
{
    struct directory_listing names = {0};
    enum llavamed_status status = directory_list(directory, &names, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < names.n_names; i++) {
        enum path_kind kind = PATH_MISSING;
        enum path_kind params = PATH_MISSING;
        status = stop_signal_check(listing->stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = kind_in(directory, names.names[i], &kind, error);
        }
        if (status != LLAVAMED_OK || kind != PATH_DIRECTORY || names.names[i][0] == '.') {
            continue;
        }
        char *below = path_join(directory, names.names[i]);
        status = below == NULL ? llavamed_fail_memory(error, strlen(names.names[i]), "a path")
                               : kind_in(below, "params.json", &params, error);
        if (status == LLAVAMED_OK && params == PATH_FILE) {
            status = add_plain_files(listing, cache, below, names.names[i], error);
        }
        free(below);
    }
    directory_listing_deinit(&names);
    return status;
}

static enum llavamed_status add_directory(struct source_listing *listing, const char *directory,
                                          struct llavamed_error *error)
{
    struct cache_place cache = {0};
    enum llavamed_status status = hub_cache_repository_of(directory, &cache.repository, &cache.snapshot, error);
    if (status == LLAVAMED_OK) {
        status = add_plain_files(listing, &cache, directory, NULL, error);
    }
    if (status == LLAVAMED_OK) {
        status = add_sizes(listing, &cache, directory, error);
    }
    if (status == LLAVAMED_OK && listing->n_files == 0) {
        status = llavamed_fail(error, LLAVAMED_STATUS_INPUT_UNSUPPORTED, "%s: there are no files in it", directory);
    }
    cache_place_deinit(&cache);
    return status;
}

/* ---- All ---- */

static enum llavamed_status add_spec(struct source_listing *listing, const char *spec, const char *role,
                                     struct llavamed_error *error)
{
    enum path_kind kind;
    enum llavamed_status status = path_kind_of(spec, &kind, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    if (kind != PATH_MISSING) {
        return kind == PATH_DIRECTORY ? add_directory(listing, spec, error) : add_file(listing, spec, error);
    }
    if (!hub_cache_is_name(spec)) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_MISSING, "%s: no such file or directory", spec);
    }
    char *snapshot = NULL;
    status = hub_cache_find(spec, role, &snapshot, error);
    if (status == LLAVAMED_OK) {
        status = add_directory(listing, snapshot, error);
    }
    free(snapshot);
    return status;
}

enum llavamed_status source_listing_open(const char *spec, const char *role, const volatile int *stop_signal,
                                         struct source_listing *listing, struct llavamed_error *error)
{
    struct source_listing made = {.stop_signal = stop_signal};
    enum llavamed_status status = add_spec(&made, spec, role, error);
    if (status == LLAVAMED_OK) {
        *listing = made;
    } else {
        source_listing_close(&made);
    }
    return status;
}
