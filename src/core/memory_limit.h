/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory this process may still take before something stops it, and how much of that a run's buffers may have.
 *
 * Limits that count: memory.max and memory.high of the control groups (version 2), memory.limit_in_bytes (version 1),
 * of this process and of all their ancestors; RLIMIT_AS and RLIMIT_DATA; SLURM_MEM_PER_NODE, or SLURM_MEM_PER_CPU
 * times SLURM_CPUS_ON_NODE, shared by the tasks of the step on a node. Cached pages of files are no matter: a group
 * gives them up when it comes near its limit.
 */
#ifndef CORE_MEMORY_LIMIT_H
#define CORE_MEMORY_LIMIT_H

#include "core/cgroup.h"
#include "core/error.h"

/* The buffers of a run that is told nothing, and what a small limit may make of them at worst. */
#define MEMORY_BUFFERS_USUAL UINT64_C(268435456)
#define MEMORY_BUFFERS_LEAST UINT64_C(1048576)

struct memory_limit {
    char name[512];       /* printable: "memory.max of the cgroup /job_7" */
    uint64_t total_bytes; /* UINT64_MAX: nothing limits */
    uint64_t used_bytes;  /* of it, by this process and others that it holds for */
    uint64_t own_bytes;   /* that this process may come to take besides buffers */
};

/* What a limit leaves for buffers. */
uint64_t memory_limit_left(const struct memory_limit *limit);

/* The limit that leaves least, as things are now. */
void memory_limit_find(const struct system_places *places, struct memory_limit *limit);

/*
 * How large each of n_sets (at least 1) of buffers may be: `asked`, where 0 means MEMORY_BUFFERS_USUAL or, in whole
 * MiB, what is left. MEMORY_TOO_SMALL names the limit, what it is and what is needed. On success *limit is the one
 * found.
 */
enum llavamed_status memory_limit_grant(const struct system_places *places, uint64_t asked, unsigned n_sets,
                                        uint64_t *granted, struct memory_limit *limit,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

#endif
