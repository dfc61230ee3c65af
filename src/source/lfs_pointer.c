/* SPDX-License-Identifier: Apache-2.0 */
#include "source/lfs_pointer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "io/input_file.h"

/* A pointer has less, by the specification. */
#define POINTER_BYTES_MAX 1024

bool lfs_pointer_begins(const char *bytes, size_t n_bytes)
{
    /* The second is what the program was called before its first release. */
    static const char *const beginnings[] = {"version https://git-lfs", "version https://hawser"};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        size_t n = strlen(beginnings[i]);
        if (n_bytes >= n && strncasecmp(bytes, beginnings[i], n) == 0) {
            return true;
        }
    }
    return false;
}

bool lfs_pointer_is(const char *path)
{
    struct stat info;
    char *text = NULL;
    size_t n_bytes = 0;
    if (stat(path, &info) != 0 || info.st_size >= POINTER_BYTES_MAX ||
        input_file_read_whole(path, POINTER_BYTES_MAX, &text, &n_bytes, NULL) != LLAVAMED_OK) {
        return false;
    }
    bool is_pointer = lfs_pointer_begins(text, n_bytes);
    free(text);
    return is_pointer;
}
