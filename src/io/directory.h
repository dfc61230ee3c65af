/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: listing, making, making durable, removing, renaming; and what is known of a volume. */
#ifndef IO_DIRECTORY_H
#define IO_DIRECTORY_H

#include "core/error.h"

/* PATH/NAME, or a copy of PATH when name is NULL; malloc'ed. NULL when out of memory. */
char *path_join(const char *path, const char *name);

/* The part after the last '/', ignoring trailing slashes; a pointer into a malloc'ed copy owned by the caller. */
char *path_base_name(const char *path);

/* The directory that holds `path` ("." for a bare name), malloc'ed. */
char *path_parent(const char *path);

enum path_kind { PATH_MISSING, PATH_FILE, PATH_DIRECTORY, PATH_OTHER };

/* What `path` is after following symbolic links. INPUT_UNREADABLE when that cannot be known (EACCES, ELOOP...). */
enum llavamed_status path_kind_of(const char *path, enum path_kind *kind, struct llavamed_error *error) LLAVAMED_CHECK;

/* Device and inode after following links; identifies a file or directory whatever its name. */
struct path_identity {
    uint64_t device;
    uint64_t inode;
};

enum llavamed_status path_identity_of(const char *path, struct path_identity *identity, struct llavamed_error *error)
    LLAVAMED_CHECK;

struct directory_listing {
    char **names; /* owned, sorted by bytes, without "." and ".." */
    size_t n_names;
};

#define DIRECTORY_NAMES_MAX 100000

enum llavamed_status directory_list(const char *path, struct directory_listing *listing, struct llavamed_error *error)
    LLAVAMED_CHECK;
void directory_listing_deinit(struct directory_listing *listing);

/* mkdir, 0777 & ~umask. OUT_EXISTS, OUT_SPACE, OUT_UNWRITABLE. */
enum llavamed_status directory_create(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/* fsync of the directory; file systems that cannot (EINVAL, ENOTSUP) count as done. */
enum llavamed_status directory_sync(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/* Removes a directory and the plain files in it, not following links and not entering sub-directories, then itself. */
enum llavamed_status directory_remove_flat(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes that an unprivileged writer may still put on the volume holding `path` (statvfs f_bavail). */
enum llavamed_status volume_free_bytes(const char *path, uint64_t *bytes, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
