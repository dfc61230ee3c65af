/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that change a directory, played by the test binary that includes this: they can be missing as on some file
 * systems, or be the last thing that a process did.
 */
#ifndef UNIT_PLAYED_VOLUME_H
#define UNIT_PLAYED_VOLUME_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/temp_dir.h"

static struct {
    bool no_links;    /* link() is not implemented */
    bool no_exchange; /* renameat2() is not */
    bool no_times;    /* futimens() is not */
    int die_before;   /* the process ends before the change with this number, from 1; 0: never */
    int n_changes;
} volume;

#define DIED 77

static inline void change(void)
{
    if (++volume.n_changes == volume.die_before) {
        _exit(DIED);
    }
}

int link(const char *from, const char *to)
{
    if (volume.no_links) {
        errno = EPERM;
        return -1;
    }
    change();
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rename(const char *from, const char *to)
{
    change();
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path)
{
    change();
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    change();
    return mkdirat(AT_FDCWD, path, mode);
}

int rmdir(const char *path)
{
    change();
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

static long system_call(long number, ...);

int futimens(int fd, const struct timespec times[2])
{
    if (volume.no_times) {
        errno = ENOSYS;
        return -1;
    }
    return (int)system_call(SYS_utimensat, (long)fd, NULL, times, 0L);
}

static long system_call(long number, ...)
{
    static long (*real)(long, ...);
    long values[6];
    va_list args;
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    }
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        values[i] = va_arg(args, long);
    }
    va_end(args);
    return real(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

long syscall(long number, ...)
{
    long values[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        values[i] = va_arg(args, long);
    }
    va_end(args);
    if (number == SYS_renameat2 && volume.no_exchange) {
        errno = EINVAL;
        return -1;
    }
    if (number == SYS_renameat2) {
        change();
    }
    return system_call(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

static inline int wait_for(pid_t child)
{
    int status = 0;
    temp_dir_require(waitpid(child, &status, 0) == child, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* tmpfs, where there is one, for what is done thousands of times. */
static inline void use_memory_volume(void)
{
    if (access("/dev/shm", W_OK | X_OK) == 0) {
        temp_dir_require(setenv("TMPDIR", "/dev/shm", 1) == 0, "setenv");
    }
}

#endif
