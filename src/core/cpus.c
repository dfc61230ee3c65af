/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A machine may have more CPUs than cpu_set_t holds (1024); the kernel then refuses the small mask. */
#define CPUS_MAX 65536

static unsigned cpus_of_affinity(void)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    if (set == NULL) {
        return UINT_MAX;
    }
    size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    int n = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    return n > 0 ? (unsigned)n : UINT_MAX;
}

/* The first line of a small file of /proc or /sys; false when there is none. */
static bool read_line(const char *path, char *line, int capacity)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool got = fgets(line, capacity, file) != NULL;
    (void)fclose(file);
    return got;
}

static unsigned quota_to_cpus(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0) {
        return UINT_MAX;
    }
    long long cpus = (quota_us - 1) / period_us + 1;
    return cpus >= UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

/* cpu.max of cgroup v2: "QUOTA PERIOD" or "max PERIOD". */
static unsigned cpus_of_cgroup_v2(const char *folder)
{
    char path[PATH_MAX];
    char line[128];
    long long quota_us = 0;
    long long period_us = 0;
    int n = snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(path, line, sizeof line) ||
        sscanf(line, "%lld %lld", &quota_us, &period_us) != 2) {
        return UINT_MAX;
    }
    return quota_to_cpus(quota_us, period_us);
}

static unsigned cpus_of_cgroup_v1(const char *folder)
{
    char path[PATH_MAX];
    char quota[64];
    char period[64];
    int n = snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", folder);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(path, quota, sizeof quota)) {
        return UINT_MAX;
    }
    n = snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", folder);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(path, period, sizeof period)) {
        return UINT_MAX;
    }
    return quota_to_cpus(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* A limit may sit on any ancestor, so the folder is shortened step by step. */
static unsigned least_of_ancestors(char *folder, unsigned (*cpus_of)(const char *))
{
    unsigned least = cpus_of("");
    for (;;) {
        unsigned here = cpus_of(folder);
        least = here < least ? here : least;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash == folder) {
            return least;
        }
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/folder" (v2) or "N:cpu,cpuacct:/folder" (v1). */
static unsigned cpus_of_cgroup(void)
{
    unsigned least = UINT_MAX;
    char line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *folder = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (folder == NULL) {
            continue;
        }
        *folder++ = '\0';
        controllers++;
        unsigned here = UINT_MAX;
        if (*controllers == '\0') {
            here = least_of_ancestors(folder, cpus_of_cgroup_v2);
        } else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0) {
            here = least_of_ancestors(folder, cpus_of_cgroup_v1);
        }
        least = here < least ? here : least;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return least;
}

static unsigned cpus_of_slurm(void)
{
    const char *text = getenv("SLURM_CPUS_PER_TASK");
    if (text == NULL) {
        return UINT_MAX;
    }
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    bool good = end != text && *end == '\0' && text[0] != '-' && value > 0 && value < UINT_MAX;
    return good ? (unsigned)value : UINT_MAX;
}

unsigned cpus_usable(void)
{
    unsigned limits[] = {cpus_of_affinity(), cpus_of_cgroup(), cpus_of_slurm()};
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        least = limits[i] < least ? limits[i] : least;
    }
    return least == UINT_MAX ? 1 : least;
}
