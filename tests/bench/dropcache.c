/* SPDX-License-Identifier: Apache-2.0 */
/* dropcache FILE...: makes the files cold: written to storage, their pages let go from the page cache. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        /* Dirty pages cannot be dropped, so they are written first. */
        if (fd < 0 || fdatasync(fd) != 0) {
            fprintf(stderr, "dropcache: error: %s: %s\n", argv[i], strerror(errno));
            return 1;
        }
        int failed = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
        if (failed != 0) {
            fprintf(stderr, "dropcache: error: %s: %s\n", argv[i], strerror(failed));
            return 1;
        }
    }
    return 0;
}
