/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of /proc/self/cgroup: version 1 has some dozen lines, each with a path. */
#define LIST_BYTES 16384

const struct system_places system_places_usual = {"/proc", "/sys/fs/cgroup"};

bool system_read(const char *path, char *value, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return false;
    }
    size_t n_bytes = 0;
    ssize_t n = 1;
    while (n > 0 && n_bytes < capacity - 1) {
        n = read(fd, value + n_bytes, capacity - 1 - n_bytes);
        n_bytes += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    if (n_bytes > 0 && value[n_bytes - 1] == '\n') {
        n_bytes--;
    }
    value[n_bytes] = '\0';
    return n >= 0 && n_bytes > 0;
}

bool cgroup_read(const struct cgroup_folder *folder, const char *file, char *value, size_t capacity)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s/%s", folder->mount, folder->name, file);
    return n > 0 && (size_t)n < sizeof path && system_read(path, value, capacity);
}

/* A limit may sit on any ancestor, so the name is shortened step by step; at last it is that of the root. */
static void visit_ancestors(const char *mount, char *name, bool is_v2,
                            void (*visit)(void *context, const struct cgroup_folder *folder), void *context)
{
    for (;;) {
        if (strcmp(name, "/") == 0) {
            name[0] = '\0';
        }
        visit(context, &(struct cgroup_folder){mount, name, is_v2});
        char *slash = strrchr(name, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

/* Whether a list such as "cpu,cpuacct" has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t n_word = strlen(word);
    for (;;) {
        size_t n = strcspn(list, ",");
        if (n == n_word && memcmp(list, word, n) == 0) {
            return true;
        }
        if (list[n] == '\0') {
            return false;
        }
        list += n + 1;
    }
}

/* "N:CONTROLLERS:NAME"; of version 2 the controllers are empty. */
static void visit_line(const struct system_places *places, char *line, const char *controller,
                       void (*visit)(void *context, const struct cgroup_folder *folder), void *context)
{
    char mount[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *name = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (name == NULL) {
        return;
    }
    *name++ = '\0';
    controllers++;
    bool is_v2 = *controllers == '\0';
    if (!is_v2 && !has_word(controllers, controller)) {
        return;
    }
    int n = snprintf(mount, sizeof mount, "%s%s%s", places->cgroup, is_v2 ? "" : "/", is_v2 ? "" : controller);
    if (n > 0 && (size_t)n < sizeof mount) {
        visit_ancestors(mount, name, is_v2, visit, context);
    }
}

void cgroup_visit(const struct system_places *places, const char *controller,
                  void (*visit)(void *context, const struct cgroup_folder *folder), void *context)
{
    char path[PATH_MAX];
    char list[LIST_BYTES];
    int n = snprintf(path, sizeof path, "%s/self/cgroup", places->proc);
    if (n < 0 || (size_t)n >= sizeof path || !system_read(path, list, sizeof list)) {
        return;
    }
    char *rest = list;
    while (*rest != '\0') {
        size_t n_line = strcspn(rest, "\n");
        char *line = rest;
        rest += n_line + (rest[n_line] != '\0');
        line[n_line] = '\0';
        visit_line(places, line, controller, visit, context);
    }
}
