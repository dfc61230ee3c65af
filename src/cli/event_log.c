/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the log and its lines; what they say is in event_log_events.c. */
#include "cli/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/messages.h"
#include "cli/text.h"

/* Every line begins so, which tells a log from a file that was named by mistake. */
static const char line_start[] = "{\"time\": \"";

/* ---- Opening ------------------------------------------------------------------------------------------------ */

static uint64_t system_now_ns(void *context)
{
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct timespec system_time(void *context)
{
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

/* The descriptor that a path under /dev names, or -1. Opened anew, a file behind it would have two ends to write at. */
static int descriptor_of(const char *path)
{
    static const char prefix[] = "/dev/fd/";
    if (strcmp(path, "/dev/stdout") == 0) {
        return STDOUT_FILENO;
    }
    if (strcmp(path, "/dev/stderr") == 0) {
        return STDERR_FILENO;
    }
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) {
        return -1;
    }
    char *end;
    const char *digits = path + sizeof prefix - 1;
    long number = strtol(digits, &end, 10);
    bool good = *digits >= '0' && *digits <= '9' && *end == '\0' && number <= 65535;
    return good && fcntl((int)number, F_GETFD) != -1 ? (int)number : -1;
}

/* Whether a file that has something in it is a log: a wrong path must not spoil a model. */
static bool may_append(const char *path)
{
    struct stat info;
    char start[sizeof line_start - 1];
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
        return true; /* what else is wrong with it shows when it is opened */
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return errno == EACCES; /* a log may be for writing alone */
    }
    bool is_log = read(fd, start, sizeof start) == (ssize_t)sizeof start &&
                  memcmp(start, line_start, sizeof start) == 0;
    (void)close(fd);
    return is_log;
}

/* One warning for all that goes wrong. */
static void warn(struct event_log *log, const char *what, const char *reason)
{
    if (!log->is_warned && log->next.warning != NULL) {
        char text[LLAVAMED_MESSAGE_BYTES];
        cli_format(text, sizeof text, "%.600s: %s: %s; the run goes on", log->path, what, reason);
        log->next.warning(log->next.context, text);
    }
    log->is_warned = true;
}

static void open_file(struct event_log *log)
{
    static const char what[] = "the log cannot be written";
    log->fd = descriptor_of(log->path);
    if (log->fd >= 0) {
        return;
    }
    if (!may_append(log->path)) {
        warn(log, what, "there is a file that is not such a log");
        return;
    }
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    log->owns_fd = log->fd >= 0;
    if (log->fd < 0) {
        warn(log, what, errno == ENXIO ? "nobody reads it" : strerror(errno));
    }
}

void event_log_open(struct event_log *log, const char *path, const struct event_log_clock *clock,
                    const volatile int *stop_signal, const struct llavamed_observer *next)
{
    memset(log, 0, sizeof *log);
    log->path = path;
    log->fd = -1;
    log->clock = clock != NULL ? *clock : (struct event_log_clock){system_now_ns, system_time, NULL};
    log->stop_signal = stop_signal;
    log->next = *next;
    if (path == NULL) {
        return;
    }
    log->started_ns = log->clock.now_ns(log->clock.context);
    if (gethostname(log->host, sizeof log->host - 1) != 0) {
        log->host[0] = '\0';
    }
    open_file(log);
}

void event_log_close(struct event_log *log)
{
    if (log->owns_fd && close(log->fd) != 0) {
        warn(log, "the log may lack its end", strerror(errno));
    }
    log->fd = -1;
    log->owns_fd = false;
}

/* ---- Lines -------------------------------------------------------------------------------------------------- */

/* "2026-11-30T11:23:31.250Z" */
static void put_time(struct event_log *log)
{
    struct timespec now = log->clock.time(log->clock.context);
    struct tm day = {0};
    char seconds[40] = "";
    char text[64];
    (void)gmtime_r(&now.tv_sec, &day);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &day);
    cli_format(text, sizeof text, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
    json_emit_text(&log->emit, "time", text);
}

bool event_log_begin(struct event_log *log, const char *event)
{
    if (log->fd < 0) {
        return false;
    }
    log->stream = open_memstream(&log->line, &log->n_line);
    if (log->stream == NULL) {
        warn(log, "the log lacks an event", strerror(errno));
        return false;
    }
    if (log->is_torn) {
        (void)fputc('\n', log->stream);
    }
    json_emit_init_line(&log->emit, log->stream);
    json_emit_begin(&log->emit, NULL, '{');
    put_time(log);
    json_emit_text(&log->emit, "event", event);
    json_emit_text(&log->emit, "program", program_name);
    json_emit_text(&log->emit, "host", log->host);
    json_emit_number(&log->emit, "pid", (uint64_t)getpid());
    json_emit_number(&log->emit, "seq", log->n_events++);
    return true;
}

void event_log_write(struct event_log *log)
{
    json_emit_end(&log->emit, '}');
    bool is_made = ferror(log->stream) == 0;
    is_made = fclose(log->stream) == 0 && is_made;
    errno = is_made ? 0 : ENOMEM;
    ssize_t n = is_made ? write(log->fd, log->line, log->n_line) : -1;
    if (n != (ssize_t)log->n_line) {
        bool is_behind = errno == EAGAIN || errno == EWOULDBLOCK;
        log->is_torn = log->is_torn || n > 0;
        warn(log, "the log lacks an event",
             n >= 0 ? "there is no room for all of it" : is_behind ? "its reader is too slow" : strerror(errno));
    } else {
        log->is_torn = false;
    }
    free(log->line);
    log->line = NULL;
    log->stream = NULL;
}
