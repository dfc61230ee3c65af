/* SPDX-License-Identifier: Apache-2.0 */
#include "core/memory_limit.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/checked.h"

#define MIB UINT64_C(1048576)

/* Version 1 says "no limit" with the largest whole number of pages. */
#define CGROUP_BYTES_MAX (UINT64_C(1) << 62)

/*
 * What a run takes besides its buffers from the moment on that its sources are open: stacks, libcrypto's tables,
 * hashes, documents. 5 MiB of it were measured for a merge of 0.3 GB, with 16 workers too.
 */
#define OWN_BYTES (16 * MIB)

/* The same in address space, most of which is never touched: stacks of 8 MiB, arenas of malloc() of 64 MiB. */
#define OWN_ADDRESS_BYTES (96 * MIB)

/* ---- What this process has ---------------------------------------------------------------------------------- */

struct own_size {
    uint64_t address_bytes;
    uint64_t resident_bytes;
    uint64_t data_bytes;
};

/* /proc/self/statm: pages of address space, resident, shared, text, 0, data and stack. */
static void measure_self(const struct system_places *places, struct own_size *size)
{
    char path[PATH_MAX];
    char text[256];
    uint64_t pages[6] = {0};
    long page_bytes = sysconf(_SC_PAGESIZE);
    int n = snprintf(path, sizeof path, "%s/self/statm", places->proc);
    if (n > 0 && (size_t)n < sizeof path && page_bytes > 0 && system_read(path, text, sizeof text)) {
        (void)sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &pages[0], &pages[1],
                     &pages[2], &pages[3], &pages[4], &pages[5]);
    }
    *size = (struct own_size){
        .address_bytes = pages[0] * (uint64_t)page_bytes,
        .resident_bytes = pages[1] * (uint64_t)page_bytes,
        .data_bytes = pages[5] * (uint64_t)page_bytes,
    };
}

/* ---- Limits ------------------------------------------------------------------------------------------------- */

uint64_t memory_limit_left(const struct memory_limit *limit)
{
    uint64_t taken;
    if (limit->total_bytes == UINT64_MAX) {
        return UINT64_MAX;
    }
    bool fits = checked_add_u64(limit->used_bytes, limit->own_bytes, &taken) && taken < limit->total_bytes;
    return fits ? limit->total_bytes - taken : 0;
}

static void take_least(struct memory_limit *least, const struct memory_limit *limit)
{
    if (memory_limit_left(limit) < memory_limit_left(least)) {
        *least = *limit;
        llavamed_make_printable(least->name);
    }
}

/* A whole number that is all of the text; false for "max" and the like. */
static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    bool good = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    *number = good ? value : 0;
    return good;
}

/* A line "NAME NUMBER" of memory.stat; 0 when there is none. */
static uint64_t stat_value(const char *text, const char *name)
{
    size_t n_name = strlen(name);
    while (text != NULL) {
        if (strncmp(text, name, n_name) == 0 && text[n_name] == ' ') {
            return strtoull(text + n_name + 1, NULL, 10);
        }
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    return 0;
}

static void take_file(struct memory_limit *least, const struct cgroup_folder *folder, const char *file,
                      const char *anonymous)
{
    char text[CGROUP_VALUE_BYTES];
    struct memory_limit limit = {.own_bytes = OWN_BYTES};
    if (!cgroup_read(folder, file, text, sizeof text) || !read_number(text, &limit.total_bytes) ||
        limit.total_bytes >= CGROUP_BYTES_MAX) {
        return;
    }
    (void)snprintf(limit.name, sizeof limit.name, "%s of the cgroup %.400s", file,
                   folder->name[0] == '\0' ? "/" : folder->name);
    if (cgroup_read(folder, "memory.stat", text, sizeof text)) {
        limit.used_bytes = stat_value(text, anonymous);
    }
    take_least(least, &limit);
}

static void take_folder(void *context, const struct cgroup_folder *folder)
{
    if (folder->is_v2) {
        take_file(context, folder, "memory.max", "anon");
        take_file(context, folder, "memory.high", "anon");
    } else {
        take_file(context, folder, "memory.limit_in_bytes", "total_rss");
    }
}

/* `limit` lacks its total alone. */
static void take_rlimit(struct memory_limit *least, struct memory_limit limit, const struct rlimit *value)
{
    if (value->rlim_cur != RLIM_INFINITY) {
        limit.total_bytes = value->rlim_cur;
        take_least(least, &limit);
    }
}

static void take_rlimits(struct memory_limit *least, const struct own_size *self)
{
    struct rlimit value;
    if (getrlimit(RLIMIT_AS, &value) == 0) {
        const struct memory_limit limit = {.name = "the limit of address space (ulimit -v)",
                                           .used_bytes = self->address_bytes,
                                           .own_bytes = OWN_ADDRESS_BYTES};
        take_rlimit(least, limit, &value);
    }
    if (getrlimit(RLIMIT_DATA, &value) == 0) {
        const struct memory_limit limit = {
            .name = "the limit of data (ulimit -d)", .used_bytes = self->data_bytes, .own_bytes = OWN_ADDRESS_BYTES};
        take_rlimit(least, limit, &value);
    }
}

/* A positive number of the environment. */
static bool read_variable(const char *name, uint64_t *number)
{
    const char *text = getenv(name);
    return text != NULL && read_number(text, number) && *number > 0;
}

/* The most tasks that the step has on one node, of a list such as "4(x2),3". */
static uint64_t tasks_on_node(void)
{
    const char *text = getenv("SLURM_STEP_TASKS_PER_NODE");
    uint64_t most = 1;
    while (text != NULL && *text >= '0' && *text <= '9') {
        most = max_u64(most, strtoull(text, NULL, 10));
        text = strchr(text, ',');
        text = text == NULL ? NULL : text + 1;
    }
    return most;
}

static void take_slurm(struct memory_limit *least, const struct own_size *self)
{
    struct memory_limit limit = {.used_bytes = self->resident_bytes, .own_bytes = OWN_BYTES};
    uint64_t mebibytes;
    uint64_t n_cpus = 1;
    const char *name = "SLURM_MEM_PER_NODE";
    if (!read_variable(name, &mebibytes)) {
        name = "SLURM_MEM_PER_CPU";
        if (!read_variable(name, &mebibytes)) {
            return;
        }
        if (!read_variable("SLURM_CPUS_ON_NODE", &n_cpus)) {
            n_cpus = 1;
        }
    }
    uint64_t n_tasks = tasks_on_node();
    if (!checked_mul_u64(mebibytes, n_cpus, &mebibytes) || !checked_mul_u64(mebibytes, MIB, &limit.total_bytes)) {
        return;
    }
    limit.total_bytes /= n_tasks;
    if (n_tasks > 1) {
        (void)snprintf(limit.name, sizeof limit.name, "%s, for %" PRIu64 " tasks,", name, n_tasks);
    } else {
        (void)snprintf(limit.name, sizeof limit.name, "%s", name);
    }
    take_least(least, &limit);
}

void memory_limit_find(const struct system_places *places, struct memory_limit *limit)
{
    struct own_size self;
    *limit = (struct memory_limit){.total_bytes = UINT64_MAX};
    measure_self(places, &self);
    cgroup_visit(places, "memory", take_folder, limit);
    take_rlimits(limit, &self);
    take_slurm(limit, &self);
}

/* ---- What a run gets ---------------------------------------------------------------------------------------- */

static uint64_t mebibytes_up(uint64_t n_bytes)
{
    return n_bytes / MIB + (n_bytes % MIB != 0);
}

static enum llavamed_status fail_too_small(const struct memory_limit *limit, uint64_t wanted, unsigned n_sets,
                                           struct llavamed_error *error)
{
    uint64_t left = memory_limit_left(limit) / n_sets;
    uint64_t total = 0;
    bool fits = checked_mul_u64(wanted, n_sets, &wanted) &&
                checked_add_u64(limit->used_bytes, limit->own_bytes, &total) && checked_add_u64(total, wanted, &total);
    total = fits ? mebibytes_up(total) : UINT64_MAX;
    (void)llavamed_fail(error, LLAVAMED_STATUS_MEMORY_TOO_SMALL,
                        "this run does not fit its memory: %s (got %" PRIu64 " MiB, want at least %" PRIu64
                        ": %" PRIu64 " of buffers, %" PRIu64 " besides, %" PRIu64 " in use)",
                        limit->name, limit->total_bytes / MIB, total, mebibytes_up(wanted),
                        mebibytes_up(limit->own_bytes), mebibytes_up(limit->used_bytes));
    if (left >= MEMORY_BUFFERS_LEAST) {
        llavamed_hint(error, "--max-memory %" PRIu64 "MiB fits; or allow the job more memory", left / MIB);
    } else {
        llavamed_hint(error, "allow the job more memory");
    }
    return LLAVAMED_STATUS_MEMORY_TOO_SMALL;
}

enum llavamed_status memory_limit_grant(const struct system_places *places, uint64_t asked, unsigned n_sets,
                                        uint64_t *granted, struct memory_limit *limit, struct llavamed_error *error)
{
    memory_limit_find(places, limit);
    uint64_t left = memory_limit_left(limit) / n_sets;
    uint64_t wanted = asked != 0 ? asked : MEMORY_BUFFERS_LEAST;
    if (left < wanted) {
        return fail_too_small(limit, wanted, n_sets, error);
    }
    *granted = asked != 0 ? asked : min_u64(MEMORY_BUFFERS_USUAL, left - left % MIB);
    return LLAVAMED_OK;
}
