/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed DIR COMMAND...: runs the command, then syncs the file system of DIR, and writes one line to standard output:
 * "seconds=S peak_kib=N user=S system=S exit=N", where seconds include the sync. The command's own standard output
 * goes to standard error. Exit status: the command's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static int fail(const char *what)
{
    fprintf(stderr, "timed: error: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: timed DIR COMMAND...\n", stderr);
        return 2;
    }
    int directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return fail(argv[1]);
    }
    double began = now();
    pid_t child = fork();
    if (child < 0) {
        return fail("fork");
    }
    if (child == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execvp(argv[2], argv + 2);
        (void)fail(argv[2]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) != child) {
        return fail("wait4");
    }
    if (syncfs(directory) != 0) {
        return fail("syncfs");
    }
    double seconds = now() - began;
    int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    printf("seconds=%.3f peak_kib=%ld user=%.2f system=%.2f exit=%d\n", seconds, usage.ru_maxrss,
           seconds_of(usage.ru_utime), seconds_of(usage.ru_stime), exit_status);
    return exit_status;
}
