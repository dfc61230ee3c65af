/* SPDX-License-Identifier: Apache-2.0 */
/* Which call fails, and the report. What this file itself needs of the system goes by number, past all wrappers. */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STOP_PROCESS (-2)
#define PATH_BYTES 400
#define DESCRIPTORS_LOOKED_AT 1024

_Thread_local int fault_kind;

static char chosen_class[32];
static unsigned long chosen_nth;
static int chosen_kind;
static const char *lacks; /* "CLASS:ERRNO CLASS:ERRNO...": calls of these classes always fail; NULL: none */
static int is_lasting;
static long delay_ms; /* of each call after the chosen one */
static bool is_armed;
static atomic_ulong n_calls;
static atomic_ulong n_fired;
static char where[512];
static const char *path_part; /* only calls about such a path count; NULL: all */
static char report_path[4096];

typedef long syscall_function(long number, ...);

static long call_system(long number, long a, long b, long c, long d)
{
    static syscall_function *next;
    if (next == NULL) {
        next = NEXT(syscall_function *, syscall);
    }
    return next(number, a, b, c, d);
}

void *fault_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* `path`, else that of `fd`, else "". */
static void path_of(const char *path, int fd, char text[PATH_BYTES])
{
    char link[32];
    text[0] = '\0';
    if (path != NULL) {
        (void)snprintf(text, PATH_BYTES, "%s", path);
    } else if (fd >= 0) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        long n = call_system(SYS_readlinkat, AT_FDCWD, (long)link, (long)text, PATH_BYTES - 1);
        text[n > 0 ? n : 0] = '\0';
    }
}

static bool is_about(const char *part, const char *path, int fd)
{
    char text[PATH_BYTES];
    path_of(path, fd, text);
    return strstr(text, part) != NULL;
}

static void note_where(const char *function, const char *path, int fd)
{
    char text[PATH_BYTES];
    path_of(path, fd, text);
    (void)snprintf(where, sizeof where, "%s %s", function, text);
}

/* The errno with which all calls of the class fail; 0: they do not. */
static int errno_of_lacking(const char *class_name)
{
    size_t n_bytes = strlen(class_name);
    const char *at = lacks;
    while (at != NULL && *at != '\0') {
        if (strncmp(at, class_name, n_bytes) == 0 && at[n_bytes] == ':') {
            return (int)strtol(at + n_bytes + 1, NULL, 10);
        }
        at = strchr(at, ' ');
        at = at == NULL ? NULL : at + 1;
    }
    return 0;
}

/* Whether a class is the chosen one: "change" stands for all that change a file or a directory. */
static bool is_chosen(const char *class_name)
{
    static const char *const changes[] = {"create", "write", "fallocate", "ftruncate", "rename", "exchange",
                                          "link",   "times", "mkdir",     "chmod",     "unlink"};
    if (strcmp(chosen_class, "change") != 0) {
        return strcmp(class_name, chosen_class) == 0;
    }
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (strcmp(class_name, changes[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Whatever signals come meanwhile: a disk does not hear them. */
static void take_time(void)
{
    struct timespec left = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000};
    while (call_system(SYS_nanosleep, (long)&left, (long)&left, 0, 0) != 0 && errno == EINTR) {
    }
}

bool fault_due(const char *class_name, const char *function, const char *path, int fd)
{
    int lacking = lacks == NULL ? 0 : errno_of_lacking(class_name);
    if (lacking != 0) {
        fault_kind = lacking;
        return true;
    }
    if (!is_armed || !is_chosen(class_name)) {
        return false;
    }
    int errno_before = errno;
    if (path_part != NULL && !is_about(path_part, path, fd)) {
        errno = errno_before;
        return false;
    }
    unsigned long n = atomic_fetch_add(&n_calls, 1) + 1;
    if (delay_ms > 0 && n > chosen_nth) {
        take_time();
        errno = errno_before;
    }
    if (n != chosen_nth && !(is_lasting && chosen_nth > 0 && n > chosen_nth)) {
        return false;
    }
    if (atomic_fetch_add(&n_fired, 1) == 0) {
        note_where(function, path, fd);
    }
    fault_kind = chosen_kind;
    if (fault_kind == STOP_PROCESS) {
        /* To this thread: another one that took the signal would let this one go on for a moment. */
        (void)call_system(SYS_tgkill, call_system(SYS_getpid, 0, 0, 0, 0), call_system(SYS_gettid, 0, 0, 0, 0), SIGSTOP,
                          0);
    }
    errno = errno_before;
    return fault_kind != STOP_PROCESS;
}

bool fault_fails(const char *class_name, const char *function, const char *path, int fd)
{
    if (!fault_due(class_name, function, path, fd)) {
        return false;
    }
    errno = fault_kind;
    return true;
}

static void __attribute__((constructor)) arm(void)
{
    const char *text = getenv("FAULT");
    const char *path = getenv("FAULT_REPORT");
    path_part = getenv("FAULT_PATH");
    lacks = getenv("FAULT_LACKS");
    const char *delay = getenv("FAULT_DELAY_MS");
    delay_ms = delay == NULL ? 0 : strtol(delay, NULL, 10);
    watch_init();
    if (text == NULL || path == NULL || strlen(path) >= sizeof report_path) {
        return;
    }
    memcpy(report_path, path, strlen(path) + 1);
    is_armed = sscanf(text, "%31s %lu %d %d", chosen_class, &chosen_nth, &chosen_kind, &is_lasting) == 4;
}

/* How many descriptors beyond the standard ones are open. */
static unsigned descriptors_left(void)
{
    unsigned n = 0;
    for (long fd = 3; fd < DESCRIPTORS_LOOKED_AT; fd++) {
        n += call_system(SYS_fcntl, fd, F_GETFD, 0, 0) >= 0;
    }
    return n;
}

static void __attribute__((destructor)) tell(void)
{
    char text[1024];
    is_armed = false;
    if (report_path[0] == '\0') {
        return;
    }
    int n = snprintf(text, sizeof text, "calls %lu\nfired %lu\nleaks %zu\ndescriptors %u\nwhere %s\n",
                     atomic_load(&n_calls), atomic_load(&n_fired), watched_left(), descriptors_left(), where);
    long fd = call_system(SYS_openat, AT_FDCWD, (long)report_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) {
        (void)call_system(SYS_write, fd, (long)text, n, 0);
    }
}
