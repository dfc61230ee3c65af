/* SPDX-License-Identifier: Apache-2.0 */
#include "io/input_identity.h"

#include <errno.h>

struct input_identity input_identity_of(const struct stat *info)
{
    return (struct input_identity){
        .is_known = S_ISREG(info->st_mode),
        .device = (uint64_t)info->st_dev,
        .inode = (uint64_t)info->st_ino,
        .n_bytes = (uint64_t)info->st_size,
        .modified_ns = (uint64_t)info->st_mtim.tv_sec * 1000000000u + (uint64_t)info->st_mtim.tv_nsec,
    };
}

struct input_identity input_identity_of_file(const struct input_file *file)
{
    return (struct input_identity){
        .is_known = true,
        .device = input_file_device(file),
        .inode = input_file_inode(file),
        .n_bytes = input_file_bytes(file),
        .modified_ns = input_file_modified_ns(file),
    };
}

static bool is_same(const struct input_identity *a, const struct input_identity *b)
{
    return b->is_known && a->device == b->device && a->inode == b->inode && a->n_bytes == b->n_bytes &&
           a->modified_ns == b->modified_ns;
}

static enum llavamed_status compare(const struct input_identity *seen, const struct input_identity *now,
                                    const char *path, struct llavamed_error *error)
{
    return !seen->is_known || is_same(seen, now)
               ? LLAVAMED_OK
               : llavamed_fail(error, LLAVAMED_STATUS_INPUT_CHANGED, "%s: the file changed during the run", path);
}

enum llavamed_status input_identity_check_file(const struct input_identity *seen, const struct input_file *file,
                                               struct llavamed_error *error)
{
    const struct input_identity now = input_identity_of_file(file);
    return compare(seen, &now, input_file_path(file), error);
}

enum llavamed_status input_identity_check(const struct input_identity *seen, const char *path,
                                          struct llavamed_error *error)
{
    struct stat info = {0};
    if (!seen->is_known) {
        return LLAVAMED_OK;
    }
    if (stat(path, &info) != 0 && errno != ENOENT && errno != ENOTDIR) {
        return input_file_fail_open(error, errno, path);
    }
    const struct input_identity now = input_identity_of(&info);
    return compare(seen, &now, path, error);
}
