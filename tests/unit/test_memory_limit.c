/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of memory, in a /proc and a /sys/fs/cgroup that the test makes. */
#include "core/memory_limit.h"

#include <sys/resource.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define MIB UINT64_C(1048576)
#define OWN (16 * MIB)

static struct temp_dir dir;
static struct system_places places;

/* Writes DIR/PATH, with the folders that it needs. */
static void put(const char *path, const char *text)
{
    char *full = temp_path(&dir, "%s", path);
    for (char *slash = full + strlen(dir.path) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(full, 0777);
        *slash = '/';
    }
    temp_write_text(full, text);
}

/* A process of 1000 pages in the groups that are listed. */
static void start(const char *groups)
{
    static const char *const variables[] = {"SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE",
                                            "SLURM_STEP_TASKS_PER_NODE"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        (void)unsetenv(variables[i]);
    }
    temp_dir_make(&dir);
    static char proc[300];
    static char cgroup[300];
    (void)snprintf(proc, sizeof proc, "%s/proc", dir.path);
    (void)snprintf(cgroup, sizeof cgroup, "%s/cgroup", dir.path);
    places = (struct system_places){proc, cgroup};
    put("proc/self/cgroup", groups);
    put("proc/self/statm", "5000 1000 800 200 0 300 0\n");
    put("cgroup/cgroup.procs", "");
}

static struct memory_limit find(void)
{
    struct memory_limit limit;
    memory_limit_find(&places, &limit);
    return limit;
}

static void no_limit(void)
{
    start("0::/\n");
    put("cgroup/memory.max", "max\n");
    put("cgroup/memory.high", "max\n");
    struct memory_limit limit = find();
    EXPECT_U64(limit.total_bytes, UINT64_MAX);
    EXPECT_U64(memory_limit_left(&limit), UINT64_MAX);
    uint64_t granted = 0;
    struct llavamed_error error = {0};
    EXPECT(memory_limit_grant(&places, 0, 1, &granted, &limit, &error) == LLAVAMED_OK);
    EXPECT_U64(granted, 256 * MIB);
    EXPECT(memory_limit_grant(&places, 1000 * MIB, 1, &granted, &limit, &error) == LLAVAMED_OK);
    EXPECT_U64(granted, 1000 * MIB);
    temp_dir_remove(&dir);
    /* Where nothing can be read, nothing limits. */
    EXPECT_U64(find().total_bytes, UINT64_MAX);
}

static void of_ancestors(void)
{
    start("0::/user.slice/job_7/step_0\n");
    put("cgroup/user.slice/memory.max", "314572800\n");
    put("cgroup/user.slice/job_7/memory.max", "209715200\n");
    put("cgroup/user.slice/job_7/memory.stat", "anon 10485760\nfile 100000000\nkernel 1\n");
    put("cgroup/user.slice/job_7/step_0/memory.max", "max\n");
    struct memory_limit limit = find();
    EXPECT_TEXT(limit.name, "memory.max of the cgroup /user.slice/job_7");
    EXPECT_U64(limit.total_bytes, 200 * MIB);
    EXPECT_U64(limit.used_bytes, 10 * MIB); /* not the cached pages of files */
    EXPECT_U64(memory_limit_left(&limit), 190 * MIB - OWN);
    /* What an ancestor's other children have may leave less of a larger one. */
    put("cgroup/user.slice/memory.stat", "file 5\nanon 262144000\n");
    limit = find();
    EXPECT_TEXT(limit.name, "memory.max of the cgroup /user.slice");
    EXPECT_U64(memory_limit_left(&limit), 50 * MIB - OWN);
    put("cgroup/user.slice/job_7/step_0/memory.high", "33554432\n");
    limit = find();
    EXPECT_TEXT(limit.name, "memory.high of the cgroup /user.slice/job_7/step_0");
    EXPECT_U64(memory_limit_left(&limit), 32 * MIB - OWN);
    put("cgroup/memory.max", "17825792\n");
    limit = find();
    EXPECT_TEXT(limit.name, "memory.max of the cgroup /");
    EXPECT_U64(memory_limit_left(&limit), MIB);
    temp_dir_remove(&dir);
}

/* A container sees its own group as the root, whatever its host calls it. */
static void in_a_container(void)
{
    start("0::/../../docker/0123456789abcdef\n");
    put("cgroup/memory.max", "104857600\n");
    EXPECT_TEXT(find().name, "memory.max of the cgroup /");
    temp_dir_remove(&dir);
}

static void of_version_1(void)
{
    start("9:name=systemd:/memory\n8:cpu,cpuacct:/other\n4:memory:/slurm/uid_1000/job_7\n0::/\n");
    put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("cgroup/memory/slurm/uid_1000/memory.limit_in_bytes", "9223372036854771712\n");
    put("cgroup/memory/slurm/uid_1000/job_7/memory.limit_in_bytes", "134217728\n");
    put("cgroup/memory/slurm/uid_1000/job_7/memory.stat", "cache 9\nrss 77\ntotal_cache 1\ntotal_rss 8388608\n");
    put("cgroup/memory/other/memory.limit_in_bytes", "4096\n"); /* not this process's */
    struct memory_limit limit = find();
    EXPECT_TEXT(limit.name, "memory.limit_in_bytes of the cgroup /slurm/uid_1000/job_7");
    EXPECT_U64(limit.used_bytes, 8 * MIB);
    EXPECT_U64(memory_limit_left(&limit), 120 * MIB - OWN);
    temp_dir_remove(&dir);
}

static void bad_files(void)
{
    static const char *const values[] = {"", "\n", "-1\n", "max", "12x\n", " 5\n", "99999999999999999999999\n"};
    start("nonsense\n0\n:\n0::/a\n\n1:memory\n");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        put("cgroup/a/memory.max", values[i]);
        EXPECT_U64(find().total_bytes, UINT64_MAX);
    }
    put("cgroup/a/memory.max", "104857600");
    EXPECT_U64(find().total_bytes, 100 * MIB);
    put("proc/self/cgroup", "0::/a\033[31mb");
    put("cgroup/a\033[31mb/memory.max", "52428800");
    EXPECT_TEXT(find().name, "memory.max of the cgroup /a?[31mb");
    temp_dir_remove(&dir);
}

static void of_slurm(void)
{
    uint64_t resident = 1000 * (uint64_t)sysconf(_SC_PAGESIZE);
    start("0::/\n");
    (void)setenv("SLURM_MEM_PER_NODE", "2048", 1);
    struct memory_limit limit = find();
    EXPECT_TEXT(limit.name, "SLURM_MEM_PER_NODE");
    EXPECT_U64(limit.total_bytes, 2048 * MIB);
    EXPECT_U64(memory_limit_left(&limit), 2048 * MIB - resident - OWN);
    (void)setenv("SLURM_MEM_PER_NODE", "0", 1); /* all that the node has */
    EXPECT_U64(find().total_bytes, UINT64_MAX);
    (void)unsetenv("SLURM_MEM_PER_NODE");
    (void)setenv("SLURM_MEM_PER_CPU", "100", 1);
    EXPECT_U64(find().total_bytes, 100 * MIB);
    (void)setenv("SLURM_CPUS_ON_NODE", "8", 1);
    EXPECT_U64(find().total_bytes, 800 * MIB);
    (void)setenv("SLURM_STEP_TASKS_PER_NODE", "2(x3),4,1", 1);
    limit = find();
    EXPECT_TEXT(limit.name, "SLURM_MEM_PER_CPU, for 4 tasks,");
    EXPECT_U64(limit.total_bytes, 200 * MIB);
    (void)setenv("SLURM_STEP_TASKS_PER_NODE", "many", 1);
    EXPECT_U64(find().total_bytes, 800 * MIB);
    (void)setenv("SLURM_MEM_PER_CPU", "18446744073709551615", 1);
    EXPECT_U64(find().total_bytes, UINT64_MAX);
    temp_dir_remove(&dir);
}

/* Constants, as their type is not the same in every libc and compiler. */
static int get_limit(bool of_data, struct rlimit *limit)
{
    return of_data ? getrlimit(RLIMIT_DATA, limit) : getrlimit(RLIMIT_AS, limit);
}

static int set_limit(bool of_data, const struct rlimit *limit)
{
    return of_data ? setrlimit(RLIMIT_DATA, limit) : setrlimit(RLIMIT_AS, limit);
}

/* *is_kept: the limit was. An emulator (qemu-user) keeps none of these for the program that it runs. */
static struct memory_limit find_with(bool of_data, uint64_t n_bytes, bool *is_kept)
{
    struct rlimit before;
    struct rlimit now;
    temp_dir_require(get_limit(of_data, &before) == 0, "getrlimit");
    const struct rlimit small = {.rlim_cur = n_bytes, .rlim_max = before.rlim_max};
    temp_dir_require(set_limit(of_data, &small) == 0, "setrlimit");
    temp_dir_require(get_limit(of_data, &now) == 0, "getrlimit");
    *is_kept = now.rlim_cur == n_bytes;
    struct memory_limit limit = find();
    temp_dir_require(set_limit(of_data, &before) == 0, "setrlimit");
    return limit;
}

static void of_the_process(void)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    bool is_kept;
    start("0::/\n");
    struct memory_limit limit = find_with(false, 1000 * MIB, &is_kept);
    if (!is_kept) {
        EXPECT_TEXT(limit.name, "");
        temp_dir_remove(&dir);
        return;
    }
    EXPECT_TEXT(limit.name, "the limit of address space (ulimit -v)");
    EXPECT_U64(limit.total_bytes, 1000 * MIB);
    EXPECT_U64(limit.used_bytes, 5000 * page);
    EXPECT(memory_limit_left(&limit) < 900 * MIB && memory_limit_left(&limit) > 500 * MIB);
    limit = find_with(true, 500 * MIB, &is_kept);
    EXPECT_TEXT(limit.name, "the limit of data (ulimit -d)");
    EXPECT_U64(limit.used_bytes, 300 * page);
    temp_dir_remove(&dir);
}

static void what_is_granted(void)
{
    struct memory_limit limit;
    struct llavamed_error error = {0};
    uint64_t granted = 0;
    start("0::/job\n");
    put("cgroup/job/memory.max", "126353408\n"); /* 120.5 MiB */
    put("cgroup/job/memory.stat", "anon 4194304\n");
    EXPECT(memory_limit_grant(&places, 0, 1, &granted, &limit, &error) == LLAVAMED_OK);
    EXPECT_U64(granted, 100 * MIB); /* whole MiB of what 4 in use and 16 besides leave */
    EXPECT(memory_limit_grant(&places, 0, 2, &granted, &limit, &error) == LLAVAMED_OK);
    EXPECT_U64(granted, 50 * MIB);
    EXPECT(memory_limit_grant(&places, 100 * MIB, 1, &granted, &limit, &error) == LLAVAMED_OK);
    EXPECT_U64(granted, 100 * MIB);
    granted = 7;
    EXPECT(memory_limit_grant(&places, 256 * MIB, 1, &granted, &limit, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    EXPECT_U64(granted, 7);
    EXPECT_TEXT(error.message, "this run does not fit its memory: memory.max of the cgroup /job (got 120 MiB, want at "
                               "least 276: 256 of buffers, 16 besides, 4 in use)");
    EXPECT_TEXT(error.hint, "--max-memory 100MiB fits; or allow the job more memory");
    EXPECT(memory_limit_grant(&places, 51 * MIB, 2, &granted, &limit, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    put("cgroup/job/memory.max", "16777216\n");
    EXPECT(memory_limit_grant(&places, 0, 1, &granted, &limit, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    EXPECT_TEXT(error.message, "this run does not fit its memory: memory.max of the cgroup /job (got 16 MiB, want at "
                               "least 21: 1 of buffers, 16 besides, 4 in use)");
    EXPECT_TEXT(error.hint, "allow the job more memory");
    EXPECT(memory_limit_grant(&places, UINT64_MAX, 1, &granted, &limit, &error) == LLAVAMED_STATUS_MEMORY_TOO_SMALL);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(no_limit);
    CASE(of_ancestors);
    CASE(in_a_container);
    CASE(of_version_1);
    CASE(bad_files);
    CASE(of_slurm);
    CASE(of_the_process);
    CASE(what_is_granted);
    return harness_end();
}
