/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared object that crash.py preloads, in place of shim.so: it writes down every call that changes a file or a
 * directory, or kills the program before the n-th of them.
 *
 *     $CRASH_DIRECTORY  only what lies in it counts; absolute, without links
 *     $CRASH_LOG        a file, outside of it: one record for each call, in the order in which they took effect
 *     $CRASH_AT         N: SIGKILL before the N-th change
 *     $CRASH_LACKS      what this file system is to lack: "link", "exchange", "fallocate", in one string
 *
 * A record is a line of fields, each ended by a tab: number of the change (0: none), call, result, arguments (a
 * descriptor where the call has one, then numbers, then paths), bytes that follow; then these bytes. One change at a
 * time: what several threads do is put in a row.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct timespec;

#define DESCRIPTORS 4096
#define LINE_BYTES 8192

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_ours[DESCRIPTORS]; /* of a file in the directory */
static const char *directory;
static const char *lacks = "";
static long log_fd = -1;
static long kill_at;
static long n_changes;

typedef long syscall_function(long number, ...);

void *fault_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static long call_system(long number, long a, long b, long c, long d)
{
    static syscall_function *next;
    if (next == NULL) {
        next = NEXT(syscall_function *, syscall);
    }
    return next(number, a, b, c, d);
}

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("CRASH_LOG");
    const char *at = getenv("CRASH_AT");
    directory = getenv("CRASH_DIRECTORY");
    lacks = getenv("CRASH_LACKS") == NULL ? "" : getenv("CRASH_LACKS");
    kill_at = at == NULL ? 0 : strtol(at, NULL, 10);
    if (path != NULL) {
        log_fd = call_system(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
}

static bool is_inside(const char *path)
{
    return directory != NULL && (path[0] != '/' || strncmp(path, directory, strlen(directory)) == 0);
}

static bool is_open_inside(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && is_ours[fd];
}

/* Before a change: takes the lock. */
static void enter(void)
{
    (void)pthread_mutex_lock(&mutex);
    if (++n_changes == kill_at) {
        (void)call_system(SYS_kill, call_system(SYS_getpid, 0, 0, 0, 0), SIGKILL, 0, 0);
    }
}

static void put(const void *bytes, size_t n_bytes)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        long n = call_system(SYS_write, log_fd, (long)from, (long)n_bytes, 0);
        if (n <= 0) {
            abort();
        }
        from += n;
        n_bytes -= (size_t)n;
    }
}

/* The line of a record, without what follows it. */
static void __attribute__((format(printf, 3, 4))) note(long number, size_t n_bytes, const char *format, ...)
{
    char line[LINE_BYTES];
    if (log_fd < 0) {
        return;
    }
    va_list args;
    int n = snprintf(line, sizeof line, "%ld\t", number);
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    n += snprintf(line + n, sizeof line - (size_t)n, "\t%zu\t\n", n_bytes);
    put(line, (size_t)n);
}

/* After a change: gives the lock back. */
static void leave(void)
{
    int errno_now = errno;
    (void)pthread_mutex_unlock(&mutex);
    errno = errno_now;
}

/* ---- Opening and closing. Creating is a change; so that a file is known again, every opening is written down. ---- */

static int open_and_note(int at, const char *path, int flags, unsigned mode)
{
    if (!is_inside(path) || at != AT_FDCWD) {
        return NEXT(int (*)(int, const char *, int, ...), openat)(at, path, flags, mode);
    }
    bool creates = (flags & (O_CREAT | O_TRUNC)) != 0;
    if (creates) {
        enter();
    } else {
        (void)pthread_mutex_lock(&mutex);
    }
    int fd = NEXT(int (*)(int, const char *, int, ...), openat)(at, path, flags, mode);
    int errno_now = errno;
    if (fd >= 0 && fd < DESCRIPTORS) {
        is_ours[fd] = true;
    }
    note(creates ? n_changes : 0, 0, "open\t%d\t%d\t%s", fd, creates, path);
    errno = errno_now;
    leave();
    return fd;
}

static int shim_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(args, unsigned) : 0;
    va_end(args);
    return open_and_note(AT_FDCWD, path, flags, mode);
}
EXPORT(open, shim_open);
EXPORT(open64, shim_open);
EXPORT(__open_2, shim_open);
EXPORT(__open64_2, shim_open);

static int shim_openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(args, unsigned) : 0;
    va_end(args);
    return open_and_note(at, path, flags, mode);
}
EXPORT(openat, shim_openat);
EXPORT(openat64, shim_openat);
EXPORT(__openat_2, shim_openat);
EXPORT(__openat64_2, shim_openat);

static int shim_close(int fd)
{
    if (!is_open_inside(fd)) {
        return NEXT(int (*)(int), close)(fd);
    }
    enter();
    is_ours[fd] = false;
    int result = NEXT(int (*)(int), close)(fd);
    note(n_changes, 0, "close\t%d\t%d", result, fd);
    leave();
    return result;
}
EXPORT(close, shim_close);

/* ---- What a file holds ---- */

static ssize_t shim_pwrite(int fd, const void *bytes, size_t n_bytes, int64_t offset)
{
    if (!is_open_inside(fd)) {
        return NEXT(ssize_t(*)(int, const void *, size_t, int64_t), pwrite)(fd, bytes, n_bytes, offset);
    }
    enter();
    ssize_t result = NEXT(ssize_t(*)(int, const void *, size_t, int64_t), pwrite)(fd, bytes, n_bytes, offset);
    int errno_now = errno;
    size_t n_noted = result > 0 ? (size_t)result : 0;
    note(n_changes, n_noted, "pwrite\t%zd\t%d\t%lld", result, fd, (long long)offset);
    if (log_fd >= 0) {
        put(bytes, n_noted);
    }
    errno = errno_now;
    leave();
    return result;
}
EXPORT(pwrite, shim_pwrite);
EXPORT(pwrite64, shim_pwrite);

static int shim_ftruncate(int fd, int64_t n_bytes)
{
    enter();
    int result = NEXT(int (*)(int, int64_t), ftruncate)(fd, n_bytes);
    int errno_now = errno;
    note(n_changes, 0, "ftruncate\t%d\t%d\t%lld", result, fd, (long long)n_bytes);
    errno = errno_now;
    leave();
    return result;
}
EXPORT(ftruncate, shim_ftruncate);
EXPORT(ftruncate64, shim_ftruncate);

static int shim_fallocate(int fd, int mode, int64_t offset, int64_t n_bytes)
{
    if (strstr(lacks, "fallocate") != NULL) {
        errno = EOPNOTSUPP;
        return -1;
    }
    enter();
    int result = NEXT(int (*)(int, int, int64_t, int64_t), fallocate)(fd, mode, offset, n_bytes);
    int errno_now = errno;
    note(n_changes, 0, "fallocate\t%d\t%d\t%lld", result, fd, (long long)(offset + n_bytes));
    errno = errno_now;
    leave();
    return result;
}
EXPORT(fallocate, shim_fallocate);
EXPORT(fallocate64, shim_fallocate);

static int shim_fsync(int fd)
{
    enter();
    int result = NEXT(int (*)(int), fsync)(fd);
    int errno_now = errno;
    note(n_changes, 0, "fsync\t%d\t%d", result, fd);
    errno = errno_now;
    leave();
    return result;
}
EXPORT(fsync, shim_fsync);

/* No promise of anything: it does not write what is needed to find the bytes again. */
static int shim_sync_file_range(int fd, int64_t offset, int64_t n_bytes, unsigned flags)
{
    enter();
    int result = NEXT(int (*)(int, int64_t, int64_t, unsigned), sync_file_range)(fd, offset, n_bytes, flags);
    int errno_now = errno;
    note(n_changes, 0, "sync_file_range\t%d\t%d", result, fd);
    errno = errno_now;
    leave();
    return result;
}
EXPORT(sync_file_range, shim_sync_file_range);

/* ---- Names ---- */

/* One name in, or two; the call is written down after it was made. */
#define NOTE_NAMES(call, result, a, b)                                                                                 \
    do {                                                                                                               \
        int errno_now = errno;                                                                                         \
        note(n_changes, 0, call "\t%d\t%s\t%s", (int)(result), a, b);                                                  \
        errno = errno_now;                                                                                             \
        leave();                                                                                                       \
    } while (0)

static int shim_rename(const char *from, const char *to)
{
    enter();
    int result = NEXT(int (*)(const char *, const char *), rename)(from, to);
    NOTE_NAMES("rename", result, from, to);
    return result;
}
EXPORT(rename, shim_rename);

static int shim_link(const char *from, const char *to)
{
    if (strstr(lacks, "link") != NULL) {
        errno = EPERM;
        return -1;
    }
    enter();
    int result = NEXT(int (*)(const char *, const char *), link)(from, to);
    NOTE_NAMES("link", result, from, to);
    return result;
}
EXPORT(link, shim_link);

/* renameat2() goes by number, and is only asked to exchange; everything else passes. */
static long shim_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number != SYS_renameat2) {
        return NEXT(long (*)(long, ...), syscall)(number, a, b, c, d, e, f);
    }
    if (strstr(lacks, "exchange") != NULL) {
        errno = ENOSYS;
        return -1;
    }
    enter();
    long result = NEXT(long (*)(long, ...), syscall)(number, a, b, c, d, e, f);
    NOTE_NAMES("exchange", result, (const char *)b, (const char *)d);
    return result;
}
EXPORT(syscall, shim_syscall);

static int shim_mkdir(const char *path, unsigned mode)
{
    enter();
    int result = NEXT(int (*)(const char *, unsigned), mkdir)(path, mode);
    NOTE_NAMES("mkdir", result, path, "");
    return result;
}
EXPORT(mkdir, shim_mkdir);

static int shim_rmdir(const char *path)
{
    enter();
    int result = NEXT(int (*)(const char *), rmdir)(path);
    NOTE_NAMES("rmdir", result, path, "");
    return result;
}
EXPORT(rmdir, shim_rmdir);

static int shim_unlink(const char *path)
{
    enter();
    int result = NEXT(int (*)(const char *), unlink)(path);
    NOTE_NAMES("unlink", result, path, "");
    return result;
}
EXPORT(unlink, shim_unlink);

static int shim_unlinkat(int at, const char *name, int flags)
{
    char link[64];
    char path[LINE_BYTES / 2];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    enter();
    long n = call_system(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, sizeof path / 2);
    n = n < 0 ? 0 : n;
    (void)snprintf(path + n, sizeof path - (size_t)n, "/%s", name);
    int result = NEXT(int (*)(int, const char *, int), unlinkat)(at, name, flags);
    NOTE_NAMES("unlink", result, path, "");
    return result;
}
EXPORT(unlinkat, shim_unlinkat);

static int shim_chmod(const char *path, unsigned mode)
{
    enter();
    int result = NEXT(int (*)(const char *, unsigned), chmod)(path, mode);
    NOTE_NAMES("chmod", result, path, "");
    return result;
}
EXPORT(chmod, shim_chmod);

static int shim_utimensat(int at, const char *path, const struct timespec *times, int flags)
{
    enter();
    int result = NEXT(int (*)(int, const char *, const struct timespec *, int), utimensat)(at, path, times, flags);
    NOTE_NAMES("utimensat", result, path, "");
    return result;
}
EXPORT(utimensat, shim_utimensat);
