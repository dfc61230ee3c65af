/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before a program: its pwrite() takes as long as at THROTTLE_BYTES_PER_SECOND, all threads together. It
 * makes a merge of some MB last as long as a test needs.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SMALL_BYTES 4096 /* heartbeats and the like wait for nobody */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t free_at_ns; /* when what was written so far would be through */

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void take_time(size_t n_bytes)
{
    const char *text = getenv("THROTTLE_BYTES_PER_SECOND");
    uint64_t rate = text == NULL ? 0 : strtoull(text, NULL, 10);
    if (rate == 0 || n_bytes < SMALL_BYTES) {
        return;
    }
    (void)pthread_mutex_lock(&mutex);
    uint64_t now = now_ns();
    free_at_ns = (free_at_ns < now ? now : free_at_ns) + (uint64_t)((double)n_bytes / (double)rate * 1e9);
    uint64_t until = free_at_ns;
    (void)pthread_mutex_unlock(&mutex);
    /* In steps, so that a handler of a signal never waits for long. */
    while (now_ns() < until) {
        const struct timespec step = {.tv_nsec = 10000000};
        (void)nanosleep(&step, NULL);
    }
}

static ssize_t write_slowly(const char *name, int fd, const void *bytes, size_t n_bytes, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    take_time(n_bytes);
    return real(fd, bytes, n_bytes, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n_bytes, off_t offset)
{
    return write_slowly("pwrite", fd, bytes, n_bytes, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n_bytes, off_t offset)
{
    return write_slowly("pwrite64", fd, bytes, n_bytes, offset);
}
