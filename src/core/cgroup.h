/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups of this process, of either version, and the values that they and their ancestors have. */
#ifndef CORE_CGROUP_H
#define CORE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_VALUE_BYTES 4096

/* Where the system shows itself; tests have places of their own. */
struct system_places {
    const char *proc;   /* "/proc" */
    const char *cgroup; /* "/sys/fs/cgroup" */
};

extern const struct system_places system_places_usual;

struct cgroup_folder {
    const char *mount; /* path of the tree that it is in */
    const char *name;  /* "/system.slice/job_7"; "" is the root */
    bool is_v2;
};

/*
 * Calls `visit` for the root, the group of this process and every one between that holds `controller` ("cpu",
 * "memory"), in each tree: of version 1 where this controller is mounted, and of version 2. In a container the group
 * may be named as the host sees it, and only the root is there. What cannot be read is passed over.
 */
void cgroup_visit(const struct system_places *places, const char *controller,
                  void (*visit)(void *context, const struct cgroup_folder *folder), void *context);

/* What a file of a folder says, without the last newline, cut to fit; false when there is none. */
bool cgroup_read(const struct cgroup_folder *folder, const char *file, char *value, size_t capacity);

/* The same of any small file of the system. */
bool system_read(const char *path, char *value, size_t capacity);

#endif
