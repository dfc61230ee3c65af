/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MemorySanitizer's run-time knows the calls of glibc before 2.33, where looking at a file had other names: what the
 * new ones fill in, it takes for not written. So they are wrapped (-Wl,--wrap) in builds with SANITIZE=memory.
 */
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>

int __real_stat64(const char *path, struct stat *info);
int __real_lstat64(const char *path, struct stat *info);
int __real_fstat64(int fd, struct stat *info);
int __real_fstatat64(int directory, const char *path, struct stat *info, int flags);
int __wrap_stat64(const char *path, struct stat *info);
int __wrap_lstat64(const char *path, struct stat *info);
int __wrap_fstat64(int fd, struct stat *info);
int __wrap_fstatat64(int directory, const char *path, struct stat *info, int flags);

static int filled(int result, struct stat *info)
{
    if (result == 0) {
        __msan_unpoison(info, sizeof *info);
    }
    return result;
}

int __wrap_stat64(const char *path, struct stat *info)
{
    return filled(__real_stat64(path, info), info);
}

int __wrap_lstat64(const char *path, struct stat *info)
{
    return filled(__real_lstat64(path, info), info);
}

int __wrap_fstat64(int fd, struct stat *info)
{
    return filled(__real_fstat64(fd, info), info);
}

int __wrap_fstatat64(int directory, const char *path, struct stat *info, int flags)
{
    return filled(__real_fstatat64(directory, path, info, flags), info);
}
