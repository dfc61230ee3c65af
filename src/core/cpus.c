/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/cgroup.h"

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

static unsigned quota_to_cpus(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0) {
        return UINT_MAX;
    }
    long long cpus = (quota_us - 1) / period_us + 1;
    return cpus >= UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

/* Of version 2 cpu.max: "QUOTA PERIOD" or "max PERIOD". */
static void take_quota(void *context, const struct cgroup_folder *folder)
{
    unsigned *least = context;
    char quota[64];
    char period[64];
    long long quota_us = 0;
    long long period_us = 0;
    if (folder->is_v2 && cgroup_read(folder, "cpu.max", quota, sizeof quota)) {
        if (sscanf(quota, "%lld %lld", &quota_us, &period_us) != 2) {
            return;
        }
    } else if (!folder->is_v2 && cgroup_read(folder, "cpu.cfs_quota_us", quota, sizeof quota) &&
               cgroup_read(folder, "cpu.cfs_period_us", period, sizeof period)) {
        quota_us = strtoll(quota, NULL, 10);
        period_us = strtoll(period, NULL, 10);
    }
    unsigned here = quota_to_cpus(quota_us, period_us);
    *least = here < *least ? here : *least;
}

static unsigned cpus_of_cgroup(void)
{
    unsigned least = UINT_MAX;
    cgroup_visit(&system_places_usual, "cpu", take_quota, &least);
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
