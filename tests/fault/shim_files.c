/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls about files. Both names of a function that glibc has twice are taken; on all systems of the project off_t has
 * 64 bits, so that the next function is the same. The checked twins that FORTIFY calls are passed on as the plain ones.
 */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>

struct stat;
struct statvfs;
struct iovec;

/* ---- Opening: class "open"; directories: "readdir"; "close" ---- */

static unsigned mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 ? va_arg(args, unsigned) : 0;
}

/* Class "create", besides "open"; O_DIRECT is "direct". */
static bool open_fails(const char *function, const char *path, int flags)
{
    return ((flags & O_CREAT) != 0 && fault_fails("create", function, path, -1)) ||
           ((flags & O_DIRECT) != 0 && fault_fails("direct", function, path, -1)) ||
           fault_fails("open", function, path, -1);
}

static int shim_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = mode_of(flags, args);
    va_end(args);
    return open_fails("open", path, flags) ? -1 : NEXT(int (*)(const char *, int, ...), open)(path, flags, mode);
}
EXPORT(open, shim_open);
EXPORT(open64, shim_open);
EXPORT(__open_2, shim_open);
EXPORT(__open64_2, shim_open);

static int shim_openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = mode_of(flags, args);
    va_end(args);
    return open_fails("openat", path, flags)
               ? -1
               : NEXT(int (*)(int, const char *, int, ...), openat)(at, path, flags, mode);
}
EXPORT(openat, shim_openat);
EXPORT(openat64, shim_openat);
EXPORT(__openat_2, shim_openat);
EXPORT(__openat64_2, shim_openat);

static FILE *shim_fopen(const char *path, const char *mode)
{
    return fault_fails("open", "fopen", path, -1) ? NULL
                                                  : NEXT(FILE * (*)(const char *, const char *), fopen)(path, mode);
}
EXPORT(fopen, shim_fopen);
EXPORT(fopen64, shim_fopen);

static DIR *shim_opendir(const char *path)
{
    return fault_fails("open", "opendir", path, -1) ? NULL : NEXT(DIR * (*)(const char *), opendir)(path);
}
EXPORT(opendir, shim_opendir);

static void *shim_readdir(DIR *stream)
{
    return fault_fails("readdir", "readdir", NULL, dirfd(stream)) ? NULL : NEXT(void *(*)(DIR *), readdir)(stream);
}
EXPORT(readdir, shim_readdir);
EXPORT(readdir64, shim_readdir);

/* As Linux does: the descriptor is gone, whatever the result. */
static int shim_close(int fd)
{
    bool fails = fault_due("close", "close", NULL, fd);
    int result = NEXT(int (*)(int), close)(fd);
    if (fails) {
        errno = fault_kind;
        return -1;
    }
    return result;
}
EXPORT(close, shim_close);

/* ---- Looking: class "stat"; free space: "space" ---- */

static int shim_stat(const char *path, struct stat *info)
{
    return fault_fails("stat", "stat", path, -1) ? -1 : NEXT(int (*)(const char *, struct stat *), stat)(path, info);
}
EXPORT(stat, shim_stat);
EXPORT(stat64, shim_stat);

/* Of a path that ends with $FAULT_OTHERS the owner is another user. */
static int shim_lstat(const char *path, struct stat *info)
{
    if (fault_fails("stat", "lstat", path, -1)) {
        return -1;
    }
    int result = NEXT(int (*)(const char *, struct stat *), lstat)(path, info);
    const char *others = getenv("FAULT_OTHERS");
    size_t n = others == NULL ? 0 : strlen(others);
    if (result == 0 && n > 0 && strlen(path) >= n && strcmp(path + strlen(path) - n, others) == 0) {
        info->st_uid++;
    }
    return result;
}
EXPORT(lstat, shim_lstat);
EXPORT(lstat64, shim_lstat);

static int shim_fstat(int fd, struct stat *info)
{
    return fault_fails("stat", "fstat", NULL, fd) ? -1 : NEXT(int (*)(int, struct stat *), fstat)(fd, info);
}
EXPORT(fstat, shim_fstat);
EXPORT(fstat64, shim_fstat);

static int shim_fstatat(int at, const char *path, struct stat *info, int flags)
{
    return fault_fails("stat", "fstatat", NULL, at)
               ? -1
               : NEXT(int (*)(int, const char *, struct stat *, int), fstatat)(at, path, info, flags);
}
EXPORT(fstatat, shim_fstatat);
EXPORT(fstatat64, shim_fstatat);

static int shim_faccessat(int at, const char *path, int mode, int flags)
{
    return fault_fails("stat", "faccessat", path, -1)
               ? -1
               : NEXT(int (*)(int, const char *, int, int), faccessat)(at, path, mode, flags);
}
EXPORT(faccessat, shim_faccessat);

static ssize_t shim_readlink(const char *path, char *text, size_t capacity)
{
    return fault_fails("stat", "readlink", path, -1)
               ? -1
               : NEXT(ssize_t(*)(const char *, char *, size_t), readlink)(path, text, capacity);
}
EXPORT(readlink, shim_readlink);

static int shim_statvfs(const char *path, struct statvfs *info)
{
    return fault_fails("space", "statvfs", path, -1)
               ? -1
               : NEXT(int (*)(const char *, struct statvfs *), statvfs)(path, info);
}
EXPORT(statvfs, shim_statvfs);
EXPORT(statvfs64, shim_statvfs);

static int shim_fstatvfs(int fd, struct statvfs *info)
{
    return fault_fails("space", "fstatvfs", NULL, fd) ? -1 : NEXT(int (*)(int, struct statvfs *), fstatvfs)(fd, info);
}
EXPORT(fstatvfs, shim_fstatvfs);
EXPORT(fstatvfs64, shim_fstatvfs);

/* ---- Reading: class "read" ---- */

/* The result of a read that does not fail with an errno: at the end of the file, or one byte only. */
static ssize_t shortened(ssize_t result)
{
    return fault_kind == FAULT_END ? 0 : result < 1 ? result : 1;
}

static ssize_t failed(void)
{
    errno = fault_kind;
    return -1;
}

static ssize_t shim_read(int fd, void *buffer, size_t n_bytes)
{
    bool due = fault_due("read", "read", NULL, fd);
    if (due && fault_kind > 0) {
        return failed();
    }
    ssize_t result = NEXT(ssize_t(*)(int, void *, size_t), read)(fd, buffer, due && n_bytes > 1 ? 1 : n_bytes);
    return due ? shortened(result) : result;
}
EXPORT(read, shim_read);

static ssize_t shim_pread(int fd, void *buffer, size_t n_bytes, int64_t offset)
{
    bool due = fault_due("read", "pread", NULL, fd);
    if (due && fault_kind > 0) {
        return failed();
    }
    ssize_t result = NEXT(ssize_t(*)(int, void *, size_t, int64_t), pread)(fd, buffer, n_bytes, offset);
    return due ? shortened(result) : result;
}
EXPORT(pread, shim_pread);
EXPORT(pread64, shim_pread);

static ssize_t shim_preadv(int fd, const struct iovec *pieces, int n_pieces, int64_t offset)
{
    bool due = fault_due("read", "preadv", NULL, fd);
    if (due && fault_kind > 0) {
        return failed();
    }
    ssize_t result = NEXT(ssize_t(*)(int, const struct iovec *, int, int64_t), preadv)(fd, pieces, n_pieces, offset);
    return due ? shortened(result) : result;
}
EXPORT(preadv, shim_preadv);
EXPORT(preadv64, shim_preadv);

/* Only used to ask whether bytes are cached: a class of its own, "look". */
static ssize_t shim_preadv2(int fd, const struct iovec *pieces, int n_pieces, int64_t offset, int flags)
{
    bool due = fault_due("look", "preadv2", NULL, fd);
    return due && fault_kind > 0 ? failed()
                                 : NEXT(ssize_t(*)(int, const struct iovec *, int, int64_t, int),
                                        preadv2)(fd, pieces, n_pieces, offset, flags);
}
EXPORT(preadv2, shim_preadv2);
EXPORT(preadv64v2, shim_preadv2);

/* ---- Writing ---- */

static ssize_t shim_pwrite(int fd, const void *bytes, size_t n_bytes, int64_t offset)
{
    bool due = fault_due("write", "pwrite", NULL, fd);
    if (due && fault_kind > 0) {
        return failed();
    }
    return NEXT(ssize_t(*)(int, const void *, size_t, int64_t), pwrite)(fd, bytes, due ? 1 : n_bytes, offset);
}
EXPORT(pwrite, shim_pwrite);
EXPORT(pwrite64, shim_pwrite);

static int shim_fallocate(int fd, int mode, int64_t offset, int64_t n_bytes)
{
    return fault_fails("fallocate", "fallocate", NULL, fd)
               ? -1
               : NEXT(int (*)(int, int, int64_t, int64_t), fallocate)(fd, mode, offset, n_bytes);
}
EXPORT(fallocate, shim_fallocate);
EXPORT(fallocate64, shim_fallocate);

static int shim_sync_file_range(int fd, int64_t offset, int64_t n_bytes, unsigned flags)
{
    return fault_fails("sync_file_range", "sync_file_range", NULL, fd)
               ? -1
               : NEXT(int (*)(int, int64_t, int64_t, unsigned), sync_file_range)(fd, offset, n_bytes, flags);
}
EXPORT(sync_file_range, shim_sync_file_range);

static int shim_posix_fadvise(int fd, int64_t offset, int64_t n_bytes, int advice)
{
    return fault_due("fadvise", "posix_fadvise", NULL, fd)
               ? fault_kind
               : NEXT(int (*)(int, int64_t, int64_t, int), posix_fadvise)(fd, offset, n_bytes, advice);
}
EXPORT(posix_fadvise, shim_posix_fadvise);
EXPORT(posix_fadvise64, shim_posix_fadvise);

/* Directories are also of the class "syncdir". */
static int shim_fsync(int fd)
{
    int flags = NEXT(int (*)(int, int, ...), fcntl)(fd, F_GETFL);
    bool is_directory = flags >= 0 && (flags & O_DIRECTORY) != 0;
    return (is_directory && fault_fails("syncdir", "fsync", NULL, fd)) || fault_fails("fsync", "fsync", NULL, fd)
               ? -1
               : NEXT(int (*)(int), fsync)(fd);
}
EXPORT(fsync, shim_fsync);

static int shim_fdatasync(int fd)
{
    return fault_fails("fsync", "fdatasync", NULL, fd) ? -1 : NEXT(int (*)(int), fdatasync)(fd);
}
EXPORT(fdatasync, shim_fdatasync);

static int shim_ftruncate(int fd, int64_t n_bytes)
{
    return fault_fails("ftruncate", "ftruncate", NULL, fd) ? -1 : NEXT(int (*)(int, int64_t), ftruncate)(fd, n_bytes);
}
EXPORT(ftruncate, shim_ftruncate);
EXPORT(ftruncate64, shim_ftruncate);

/* ---- Names ---- */

static int shim_rename(const char *from, const char *to)
{
    return fault_fails("rename", "rename", from, -1) ? -1 : NEXT(int (*)(const char *, const char *), rename)(from, to);
}
EXPORT(rename, shim_rename);

/* renameat2() goes by number (class "exchange"); everything else passes. */
static long shim_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    return number == SYS_renameat2 && fault_fails("exchange", "renameat2", (const char *)b, -1)
               ? -1
               : NEXT(long (*)(long, ...), syscall)(number, a, b, c, d, e, f);
}
EXPORT(syscall, shim_syscall);

/* Times of claims: class "times". */
static int shim_utimensat(int at, const char *path, const void *times, int flags)
{
    return fault_fails("times", "utimensat", path, -1)
               ? -1
               : NEXT(int (*)(int, const char *, const void *, int), utimensat)(at, path, times, flags);
}
EXPORT(utimensat, shim_utimensat);

static int shim_mkdir(const char *path, unsigned mode)
{
    return fault_fails("mkdir", "mkdir", path, -1) ? -1 : NEXT(int (*)(const char *, unsigned), mkdir)(path, mode);
}
EXPORT(mkdir, shim_mkdir);

static int shim_chmod(const char *path, unsigned mode)
{
    return fault_fails("chmod", "chmod", path, -1) ? -1 : NEXT(int (*)(const char *, unsigned), chmod)(path, mode);
}
EXPORT(chmod, shim_chmod);

static int shim_unlink(const char *path)
{
    return fault_fails("unlink", "unlink", path, -1) ? -1 : NEXT(int (*)(const char *), unlink)(path);
}
EXPORT(unlink, shim_unlink);

static int shim_unlinkat(int at, const char *path, int flags)
{
    return fault_fails("unlink", "unlinkat", NULL, at)
               ? -1
               : NEXT(int (*)(int, const char *, int), unlinkat)(at, path, flags);
}
EXPORT(unlinkat, shim_unlinkat);

static int shim_rmdir(const char *path)
{
    return fault_fails("unlink", "rmdir", path, -1) ? -1 : NEXT(int (*)(const char *), rmdir)(path);
}
EXPORT(rmdir, shim_rmdir);
