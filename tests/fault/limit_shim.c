/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared object that makes a program as slow as storage of a given bandwidth: preloaded before it, reading and
 * writing of plain files together take no less time than $LIMIT_BYTES bytes a second allow. Each process has a limit of
 * its own, as each node of a cluster has its own link. tests/bench/scaling.py uses it.
 *
 * Calls book their bytes one after the other and sleep until the end of what they have booked.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static double bytes_per_ns;
static uint64_t booked_ns; /* until when, by the monotonic clock */

void *fault_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void __attribute__((constructor)) begin(void)
{
    const char *text = getenv("LIMIT_BYTES");
    bytes_per_ns = text == NULL ? 0 : strtod(text, NULL) / 1e9;
}

static void book(int fd, ssize_t n_bytes)
{
    struct stat info;
    struct timespec time;
    int errno_now = errno;
    if (n_bytes > 0 && bytes_per_ns > 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        (void)clock_gettime(CLOCK_MONOTONIC, &time);
        uint64_t now_ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
        (void)pthread_mutex_lock(&mutex);
        booked_ns = booked_ns > now_ns ? booked_ns : now_ns;
        booked_ns += (uint64_t)((double)n_bytes / bytes_per_ns);
        uint64_t until_ns = booked_ns;
        (void)pthread_mutex_unlock(&mutex);
        time.tv_sec = (time_t)(until_ns / 1000000000u);
        time.tv_nsec = (long)(until_ns % 1000000000u);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
        }
    }
    errno = errno_now;
}

static ssize_t limited_pread(int fd, void *bytes, size_t n_bytes, int64_t offset)
{
    ssize_t n = NEXT(ssize_t(*)(int, void *, size_t, int64_t), pread64)(fd, bytes, n_bytes, offset);
    book(fd, n);
    return n;
}
EXPORT(pread, limited_pread);
EXPORT(pread64, limited_pread);

static ssize_t limited_preadv(int fd, const struct iovec *pieces, int n_pieces, int64_t offset)
{
    ssize_t n = NEXT(ssize_t(*)(int, const struct iovec *, int, int64_t), preadv64)(fd, pieces, n_pieces, offset);
    book(fd, n);
    return n;
}
EXPORT(preadv, limited_preadv);
EXPORT(preadv64, limited_preadv);

static ssize_t limited_pwrite(int fd, const void *bytes, size_t n_bytes, int64_t offset)
{
    ssize_t n = NEXT(ssize_t(*)(int, const void *, size_t, int64_t), pwrite64)(fd, bytes, n_bytes, offset);
    book(fd, n);
    return n;
}
EXPORT(pwrite, limited_pwrite);
EXPORT(pwrite64, limited_pwrite);
