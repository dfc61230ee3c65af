/* SPDX-License-Identifier: Apache-2.0 */
#include "io/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/checked.h"
#include "core/stop_signal.h"

/* ---- Path texts ---- */

char *path_join(const char *path, const char *name)
{
    if (name == NULL) {
        return strdup(path);
    }
    size_t path_bytes = strlen(path);
    size_t name_bytes = strlen(name);
    const char *slash = path_bytes > 0 && path[path_bytes - 1] != '/' ? "/" : "";
    size_t slash_bytes = strlen(slash);
    char *joined = malloc(path_bytes + slash_bytes + name_bytes + 1);
    if (joined != NULL) {
        memcpy(joined, path, path_bytes);
        memcpy(joined + path_bytes, slash, slash_bytes);
        memcpy(joined + path_bytes + slash_bytes, name, name_bytes + 1);
    }
    return joined;
}

/* Where the last component stands in path: [*begin, *end). Both 0 when there is none ("", "/", "//"). */
static void find_last_component(const char *path, size_t *begin, size_t *end)
{
    size_t last = strlen(path);
    while (last > 0 && path[last - 1] == '/') {
        last--;
    }
    size_t first = last;
    while (first > 0 && path[first - 1] != '/') {
        first--;
    }
    *begin = first;
    *end = last;
}

char *path_base_name(const char *path)
{
    size_t begin;
    size_t end;
    find_last_component(path, &begin, &end);
    if (end == 0) {
        return strdup(path[0] == '/' ? "/" : ".");
    }
    return strndup(path + begin, end - begin);
}

char *path_parent(const char *path)
{
    size_t begin;
    size_t end;
    find_last_component(path, &begin, &end);
    if (begin == 0) {
        return strdup(path[0] == '/' ? "/" : ".");
    }
    while (begin > 1 && path[begin - 1] == '/') {
        begin--;
    }
    return strndup(path, begin);
}

/* ---- What a path names ---- */

enum llavamed_status path_fail_look(struct llavamed_error *error, int errno_value, const char *path)
{
    enum llavamed_status status = errno_value == ENOENT || errno_value == ENOTDIR ? LLAVAMED_STATUS_INPUT_MISSING
                                  : errno_value == ENOMEM                         ? LLAVAMED_STATUS_NO_MEMORY
                                                                                  : LLAVAMED_STATUS_INPUT_UNREADABLE;
    return llavamed_fail_errno(error, status, errno_value, "%s: cannot look at it", path);
}

enum llavamed_status path_kind_of(const char *path, enum path_kind *kind, struct llavamed_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            *kind = PATH_MISSING;
            return LLAVAMED_OK;
        }
        return path_fail_look(error, errno, path);
    }
    *kind = S_ISREG(info.st_mode) ? PATH_FILE : S_ISDIR(info.st_mode) ? PATH_DIRECTORY : PATH_OTHER;
    return LLAVAMED_OK;
}

bool path_is_taken(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

enum llavamed_status path_identity_of(const char *path, struct path_identity *identity, struct llavamed_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return path_fail_look(error, errno, path);
    }
    *identity = (struct path_identity){.device = (uint64_t)info.st_dev, .inode = (uint64_t)info.st_ino};
    return LLAVAMED_OK;
}

/* ---- Listing ---- */

static int compare_names(const void *a, const void *b)
{
    const char *const *name_a = a;
    const char *const *name_b = b;
    return strcmp(*name_a, *name_b);
}

static enum llavamed_status listing_add(struct directory_listing *listing, size_t *capacity, const char *path,
                                        const char *name, struct llavamed_error *error)
{
    if (listing->n_names == DIRECTORY_NAMES_MAX) {
        return llavamed_fail(error, LLAVAMED_STATUS_INPUT_LIMIT, "%s: too many files in the directory (at most %d)",
                             path, DIRECTORY_NAMES_MAX);
    }
    if (listing->n_names == *capacity) {
        size_t wider = *capacity == 0 ? 32 : *capacity * 2;
        char **names = realloc(listing->names, wider * sizeof *names);
        if (names == NULL) {
            return llavamed_fail_memory(error, wider * sizeof *names, "a list of files");
        }
        listing->names = names;
        *capacity = wider;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return llavamed_fail_memory(error, strlen(name) + 1, "a file name");
    }
    listing->names[listing->n_names++] = copy;
    return LLAVAMED_OK;
}

enum llavamed_status directory_list(const char *path, struct directory_listing *listing, struct llavamed_error *error)
{
    struct directory_listing made = {0};
    size_t capacity = 0;
    DIR *stream = opendir(path);
    if (stream == NULL) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        return llavamed_fail_errno(error,
                                   missing           ? LLAVAMED_STATUS_INPUT_MISSING
                                   : errno == ENOMEM ? LLAVAMED_STATUS_NO_MEMORY
                                                     : LLAVAMED_STATUS_INPUT_UNREADABLE,
                                   errno, "%s: cannot list the directory", path);
    }
    enum llavamed_status status = LLAVAMED_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL && errno != 0) {
            status = llavamed_fail_errno(error, LLAVAMED_STATUS_INPUT_UNREADABLE, errno,
                                         "%s: cannot list the directory", path);
        }
        if (entry == NULL || status != LLAVAMED_OK) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            status = listing_add(&made, &capacity, path, entry->d_name, error);
        }
    }
    (void)closedir(stream);
    if (status != LLAVAMED_OK) {
        directory_listing_deinit(&made);
        return status;
    }
    if (made.n_names > 0) {
        qsort(made.names, made.n_names, sizeof *made.names, compare_names);
    }
    *listing = made;
    return LLAVAMED_OK;
}

void directory_listing_deinit(struct directory_listing *listing)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        free(listing->names[i]);
    }
    free(listing->names);
    *listing = (struct directory_listing){0};
}

/* ---- Changing directories ---- */

enum llavamed_status directory_create(const char *path, struct llavamed_error *error)
{
    if (mkdir(path, 0777) == 0) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = errno == EEXIST                      ? LLAVAMED_STATUS_OUT_EXISTS
                                  : errno == ENOSPC || errno == EDQUOT ? LLAVAMED_STATUS_OUT_SPACE
                                                                       : LLAVAMED_STATUS_OUT_UNWRITABLE;
    return llavamed_fail_errno(error, status, errno, "%s: cannot create the directory", path);
}

enum llavamed_status directory_sync(const char *path, struct llavamed_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) {
        return LLAVAMED_OK;
    }
    if (fd < 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot open the directory", path);
    }
    int result;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    int errno_value = result == 0 ? 0 : errno;
    (void)close(fd);
    /* EBADF: where only what is open for writing can be synced. */
    if (errno_value == 0 || errno_value == EINVAL || errno_value == ENOTSUP || errno_value == ENOSYS ||
        errno_value == EBADF) {
        return LLAVAMED_OK;
    }
    bool full = errno_value == ENOSPC || errno_value == EDQUOT;
    return llavamed_fail_errno(error, full ? LLAVAMED_STATUS_OUT_SPACE : LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value,
                               "%s: cannot make the directory durable", path);
}

/* Nothing is removed unless all of it can be: a directory inside says that this is not ours. */
static enum llavamed_status check_flat(int fd, const char *path, const struct directory_listing *listing,
                                       struct llavamed_error *error)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        struct stat info;
        if (fstatat(fd, listing->names[i], &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
            return llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE,
                                 "%s: not removed, because it holds a directory (%s)", path, listing->names[i]);
        }
    }
    return LLAVAMED_OK;
}

/*
 * By its whole path and not relative to an open directory: should that get another name meanwhile, because somebody
 * else has taken over what is in it, nothing is found here.
 */
static enum llavamed_status remove_file(const char *directory, const char *name, const struct run_guard *guard,
                                        struct llavamed_error *error)
{
    size_t name_bytes = strlen(name);
    char *path = path_join(directory, name);
    enum llavamed_status status =
        path == NULL ? llavamed_fail_memory(error, name_bytes, "a path") : run_guard_confirm(guard, error);
    if (status == LLAVAMED_OK && unlink(path) != 0 && errno != ENOENT) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove the file", path);
    }
    free(path);
    return status;
}

enum llavamed_status directory_empty_flat(const char *path, const char *keep, const struct run_guard *guard,
                                          const volatile int *stop_signal, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot open the directory", path);
    }
    enum llavamed_status status = directory_list(path, &listing, error);
    if (status == LLAVAMED_OK) {
        status = check_flat(fd, path, &listing, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        if (keep != NULL && strcmp(listing.names[i], keep) == 0) {
            continue;
        }
        status = stop_signal_check(stop_signal, error);
        if (status == LLAVAMED_OK) {
            status = remove_file(path, listing.names[i], guard, error);
        }
    }
    directory_listing_deinit(&listing);
    (void)close(fd);
    return status;
}

enum llavamed_status directory_remove_flat(const char *path, struct llavamed_error *error)
{
    enum llavamed_status status = directory_empty_flat(path, NULL, NULL, NULL, error);
    if (status == LLAVAMED_OK && rmdir(path) != 0) {
        status =
            llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot remove the directory", path);
    }
    return status;
}

/* ---- Volumes ---- */

/* The kernel's number of the mount that an open file is on; -1 without /proc. Tells bind mounts apart, st_dev does not.
 */
static long mount_id_of(int fd)
{
    char path[64];
    char line[128];
    long id = -1;
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        return -1;
    }
    while (id < 0 && fgets(line, sizeof line, stream) != NULL) {
        if (strncmp(line, "mnt_id:", 7) == 0) {
            id = strtol(line + 7, NULL, 10);
        }
    }
    (void)fclose(stream);
    return id;
}

enum llavamed_status directory_is_mount_point(const char *path, bool *is_mount_point, struct llavamed_error *error)
{
    enum llavamed_status status = LLAVAMED_OK;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int parent = fd < 0 ? -1 : openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat here;
    struct stat above;
    if (parent < 0 || fstat(fd, &here) != 0 || fstat(parent, &above) != 0) {
        status =
            llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot open the directory", path);
        goto out;
    }
    bool is_root = here.st_dev == above.st_dev && here.st_ino == above.st_ino;
    long here_id = mount_id_of(fd);
    long above_id = mount_id_of(parent);
    bool is_bound = here_id >= 0 && above_id >= 0 && here_id != above_id;
    *is_mount_point = is_root || here.st_dev != above.st_dev || is_bound;
out:
    if (parent >= 0) {
        (void)close(parent);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

enum llavamed_status volume_free_bytes(const char *path, uint64_t *bytes, struct llavamed_error *error)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot ask for the free space",
                                   path);
    }
    uint64_t free_bytes = UINT64_MAX;
    (void)checked_mul_u64(info.f_bavail, info.f_frsize, &free_bytes);
    *bytes = free_bytes;
    return LLAVAMED_OK;
}
