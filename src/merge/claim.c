/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "io/input_file.h"
#include "io/output_file.h"

#define CLAIM_FORMAT "llavamed-claim"

/* Who this process is. What /proc does not tell is empty or 0, and equal for all processes of such a host. */
struct identity {
    char host[256];
    char boot_id[64];
    char pid_namespace[64];
    uint64_t start_time; /* clock ticks after boot */
};

/* The start of a file of /proc, whose size is not known before it is read. */
static bool read_start(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n;
    do {
        n = read(fd, text, capacity - 1);
    } while (n < 0 && errno == EINTR);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/*
 * Field 22 of a process's stat, counted after the last ')' because the second field, the name, may hold anything. The
 * file is that of the main thread: under qemu-user a process reads a made-up /proc/PID/stat of itself, another start
 * time than all others see there.
 */
static bool process_start_time(uint64_t pid, uint64_t *start_time)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof path, "/proc/%llu/task/%llu/stat", (unsigned long long)pid, (unsigned long long)pid);
    if (!read_start(path, text, sizeof text)) {
        return false;
    }
    const char *p = strrchr(text, ')');
    for (int field = 3; p != NULL && field <= 22; field++) {
        p = strchr(p + 1, ' ');
    }
    if (p == NULL) {
        return false;
    }
    *start_time = strtoull(p + 1, NULL, 10);
    return true;
}

static void identify(struct identity *me)
{
    memset(me, 0, sizeof *me);
    (void)gethostname(me->host, sizeof me->host - 1);
    text_make_printable(me->host);
    if (read_start("/proc/sys/kernel/random/boot_id", me->boot_id, sizeof me->boot_id)) {
        me->boot_id[strcspn(me->boot_id, "\n")] = '\0';
    }
    ssize_t n = readlink("/proc/self/ns/pid", me->pid_namespace, sizeof me->pid_namespace - 1);
    me->pid_namespace[n > 0 ? n : 0] = '\0';
    (void)process_start_time((uint64_t)getpid(), &me->start_time);
}

static bool is_alive(uint64_t pid, uint64_t start_time)
{
    if (pid == 0 || pid > INT32_MAX) {
        return false;
    }
    /* /proc may hide the processes of others; kill() tells them all. */
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    uint64_t now;
    return start_time == 0 || !process_start_time(pid, &now) || now == start_time;
}

static const char *text_member(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    const char *text = value == NULL ? NULL : json_string(value);
    return text == NULL ? "" : text;
}

static void judge(const struct json_value *root, struct claim *claim)
{
    uint64_t pid = 0;
    uint64_t start_time = 0;
    const struct json_value *pid_value = json_member(root, "pid");
    const struct json_value *start_value = json_member(root, "start_time");
    if (strcmp(text_member(root, "format"), CLAIM_FORMAT) != 0 || pid_value == NULL || !json_integer(pid_value, &pid) ||
        start_value == NULL || !json_integer(start_value, &start_time)) {
        return;
    }
    struct identity me;
    identify(&me);
    (void)snprintf(claim->host, sizeof claim->host, "%s", text_member(root, "host"));
    text_make_printable(claim->host);
    claim->pid = pid;
    if (strcmp(claim->host, me.host) != 0) {
        return;
    }
    if (strcmp(text_member(root, "boot_id"), me.boot_id) != 0) {
        claim->owner = CLAIM_DEAD;
    } else if (strcmp(text_member(root, "pid_namespace"), me.pid_namespace) == 0) {
        claim->owner = is_alive(pid, start_time) ? CLAIM_ALIVE : CLAIM_DEAD;
    }
}

enum llavamed_status claim_read(const char *path, struct claim *claim, struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    struct json *json = NULL;
    memset(claim, 0, sizeof *claim);
    enum llavamed_status status = input_file_read_whole(path, CLAIM_BYTES_MAX - 1, &text, &n_bytes, error);
    if (status == LLAVAMED_STATUS_INPUT_MISSING) {
        return LLAVAMED_OK;
    }
    claim->owner = CLAIM_UNKNOWN;
    if (status == LLAVAMED_OK && memchr(text, '\0', n_bytes) == NULL) {
        memcpy(claim->text, text, n_bytes + 1);
        status = json_parse(path, text, n_bytes, false, &json, error);
        if (status == LLAVAMED_OK && json_kind_of(json_root(json)) == JSON_OBJECT) {
            judge(json_root(json), claim);
        }
    }
    json_free(json);
    free(text);
    return status == LLAVAMED_STATUS_NO_MEMORY ? status : LLAVAMED_OK;
}

enum llavamed_status claim_write(const char *path, struct llavamed_error *error)
{
    struct identity me;
    struct buffer text;
    identify(&me);
    buffer_init(&text, CLAIM_BYTES_MAX - 1);
    buffer_append_text(&text, "{\"format\": \"" CLAIM_FORMAT "\", \"version\": 1, \"host\": ");
    json_append_ascii(&text, me.host);
    buffer_append_text(&text, ", \"boot_id\": ");
    json_append_ascii(&text, me.boot_id);
    buffer_append_text(&text, ", \"pid_namespace\": ");
    json_append_ascii(&text, me.pid_namespace);
    buffer_printf(&text, ", \"pid\": %llu, \"start_time\": %llu}\n", (unsigned long long)getpid(),
                  (unsigned long long)me.start_time);
    enum llavamed_status status = buffer_status(&text, "a claim file", error);
    if (status == LLAVAMED_OK) {
        status = output_file_write_whole(path, text.data, text.n_bytes, error);
    }
    buffer_deinit(&text);
    return status;
}
