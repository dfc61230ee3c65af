/* SPDX-License-Identifier: Apache-2.0 */
/* How many cores this process may use. */
#ifndef CORE_CPUS_H
#define CORE_CPUS_H

/*
 * The least of: the affinity mask (sched_getaffinity), the CPU quota of this process's cgroup (v1 and v2, rounded up),
 * SLURM_CPUS_PER_TASK when it is a positive number. At least 1. Never fails: what cannot be read does not limit.
 */
unsigned cpus_usable(void);

#endif
