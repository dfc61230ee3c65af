/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: listing, making, making durable, removing, renaming; and what is known of a volume. */
#ifndef IO_DIRECTORY_H
#define IO_DIRECTORY_H

#include "core/run_guard.h"

/* PATH/NAME, or a copy of PATH when name is NULL; malloc'ed. NULL when out of memory. */
char *path_join(const char *path, const char *name);

/* The part after the last '/', ignoring trailing slashes; a pointer into a malloc'ed copy owned by the caller. */
char *path_base_name(const char *path);

/* The directory that holds `path` ("." for a bare name), malloc'ed. */
char *path_parent(const char *path);

enum path_kind { PATH_MISSING, PATH_FILE, PATH_DIRECTORY, PATH_OTHER };

/* The failure of looking at `path`, by its errno: INPUT_MISSING, NO_MEMORY or INPUT_UNREADABLE. */
enum llavamed_status path_fail_look(struct llavamed_error *error, int errno_value, const char *path);

/*
 * What `path` is after following symbolic links. INPUT_UNREADABLE or NO_MEMORY when that cannot be known (EACCES,
 * ELOOP...).
 */
enum llavamed_status path_kind_of(const char *path, enum path_kind *kind, struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether something has this name, be it a link to nothing. Not, for one that cannot be looked at. */
bool path_is_taken(const char *path);

/* Device and inode after following links; identifies a file or directory whatever its name. */
struct path_identity {
    uint64_t device;
    uint64_t inode;
};

enum llavamed_status path_identity_of(const char *path, struct path_identity *identity,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

struct directory_listing {
    char **names; /* owned, sorted by bytes, without "." and ".." */
    size_t n_names;
};

#define DIRECTORY_NAMES_MAX 100000

enum llavamed_status directory_list(const char *path, struct directory_listing *listing,
                                    struct llavamed_error *error) LLAVAMED_CHECK;
void directory_listing_deinit(struct directory_listing *listing);

/* mkdir, 0777 & ~umask. OUT_EXISTS, OUT_SPACE, OUT_UNWRITABLE. */
enum llavamed_status directory_create(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * fsync of the directory. File systems that cannot (EINVAL, ENOTSUP, ENOSYS, EBADF) count as done, and so does a
 * directory that may be written but not opened for reading (EACCES): nothing more can be had there. OUT_SPACE,
 * OUT_UNWRITABLE.
 */
enum llavamed_status directory_sync(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Removes the plain files and links in a directory except the one named `keep` (NULL: all), each after a look whether
 * `guard` (may be NULL) allows it. Does not follow links, the path itself included, and does not enter sub-directories:
 * when there is one nothing is removed. OUT_UNWRITABLE. INTERRUPTED between two files, with the rest still there, as
 * soon as *stop_signal is not 0; NULL where all has to go.
 */
enum llavamed_status directory_empty_flat(const char *path, const char *keep, const struct run_guard *guard,
                                          const volatile int *stop_signal, struct llavamed_error *error) LLAVAMED_CHECK;

/* directory_empty_flat() of all, then removes the directory. OUT_UNWRITABLE. */
enum llavamed_status directory_remove_flat(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

/* Whether the directory is the root of a mounted volume, bind mounts included where /proc tells. OUT_UNWRITABLE. */
enum llavamed_status directory_is_mount_point(const char *path, bool *is_mount_point,
                                              struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes that an unprivileged writer may still put on the volume holding `path` (statvfs f_bavail). */
enum llavamed_status volume_free_bytes(const char *path, uint64_t *bytes, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
