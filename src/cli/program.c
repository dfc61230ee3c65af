/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/messages.h"

/* The signal that asked the run to stop, 0 until then. */
static volatile int stop_signal;

static void note_signal(int signal_number)
{
    __atomic_store_n(&stop_signal, signal_number, __ATOMIC_RELAXED); /* other threads read it */
}

/*
 * A signal that was ignored from the start (nohup, a background job) stays ignored. A closed pipe and a file size limit
 * are to come back as errors of the write.
 */
const volatile int *program_catch_signals(void)
{
    static const int stopping[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stopping / sizeof stopping[0]; i++) {
        struct sigaction before;
        if (sigaction(stopping[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(stopping[i], &action, NULL);
        }
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    return &stop_signal;
}

/*
 * Standard descriptors that came closed would be given to the next files opened, and messages would end up inside the
 * model. Each is occupied by /dev/null, opened so that using it fails as it would have.
 */
bool program_occupy_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        bool is_closed = fcntl(fd, F_GETFD) == -1 && errno == EBADF;
        if (is_closed && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) {
            return false;
        }
    }
    return true;
}

/*
 * The kernel's high-water mark of this program's memory. getrusage() is second choice: its figure survives exec, so
 * that it can be that of a large program which started this one.
 */
uint64_t program_peak_rss_bytes(void)
{
    uint64_t kibibytes = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file != NULL) {
        static const char field[] = "VmHWM:";
        char line[256];
        while (kibibytes == 0 && fgets(line, sizeof line, file) != NULL) {
            if (strncmp(line, field, sizeof field - 1) == 0) {
                kibibytes = strtoull(line + sizeof field - 1, NULL, 10);
            }
        }
        (void)fclose(file);
    }
    struct rusage usage;
    if (kibibytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
        kibibytes = (uint64_t)usage.ru_maxrss;
    }
    return kibibytes * 1024;
}

int program_finish_stdout(int exit_status)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) == 0 && !failed) {
        return exit_status;
    }
    const char *reason = errno == 0 ? "an earlier write failed" : strerror(errno);
    struct llavamed_error error;
    (void)cli_fail(&error, LLAVAMED_STATUS_OUT_UNWRITABLE, "standard output: cannot write: %s", reason);
    messages_error(stderr, &error);
    return exit_status == 0 ? llavamed_exit_status(&error) : exit_status;
}
