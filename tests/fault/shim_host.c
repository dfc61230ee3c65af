/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another host, played by this one: with $FAULT_HOST that is the host's name, and whoever waits has waited at once.
 * With $FAULT_UID a user's number whose files belong to somebody else, as on a server that trusts no root.
 * Names and times of files: classes "link" and "times".
 */
#include "shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct timespec;

static int shim_gethostname(char *name, size_t capacity)
{
    const char *played = getenv("FAULT_HOST");
    if (played == NULL) {
        return NEXT(int (*)(char *, size_t), gethostname)(name, capacity);
    }
    (void)snprintf(name, capacity, "%s", played);
    return 0;
}
EXPORT(gethostname, shim_gethostname);

static uid_t shim_geteuid(void)
{
    const char *played = getenv("FAULT_UID");
    return played == NULL ? NEXT(uid_t (*)(void), geteuid)() : (uid_t)strtoul(played, NULL, 10);
}
EXPORT(geteuid, shim_geteuid);

static int shim_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    return getenv("FAULT_HOST") != NULL
               ? 0
               : NEXT(int (*)(const struct timespec *, struct timespec *), nanosleep)(wanted, left);
}
EXPORT(nanosleep, shim_nanosleep);

static int shim_link(const char *from, const char *to)
{
    return fault_fails("link", "link", to, -1) ? -1 : NEXT(int (*)(const char *, const char *), link)(from, to);
}
EXPORT(link, shim_link);

static int shim_futimens(int fd, const struct timespec times[2])
{
    return fault_fails("times", "futimens", NULL, fd)
               ? -1
               : NEXT(int (*)(int, const struct timespec *), futimens)(fd, times);
}
EXPORT(futimens, shim_futimens);
