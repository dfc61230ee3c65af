/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a claim and telling what has become of its owner. */
#include "merge/claim_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json.h"
#include "io/directory.h"

/* The least that FAT can store, in seconds; in local time, so up to a day more or less, in quarters of an hour. */
#define FAT_EPOCH_S 315532800
#define DAY_S 86400
#define ZONE_S 900
/* So often a claim is read again that changed while its drafts were looked at. */
#define READINGS_MAX 4

/* Whether a claim was let go: its time is the least that can be stored, which no clock shows but by accident. */
static bool is_released(const struct claim *claim)
{
    int64_t since_fat_ns = claim->beat_ns - INT64_C(1000000000) * FAT_EPOCH_S;
    bool is_fat_epoch = since_fat_ns % (INT64_C(1000000000) * ZONE_S) == 0 &&
                        since_fat_ns >= -INT64_C(1000000000) * DAY_S && since_fat_ns <= INT64_C(1000000000) * DAY_S;
    return claim->beat_ns == 0 || is_fat_epoch;
}

/* The start of a file of /proc, whose size is not known before it is read. 0, or an errno; then it is empty. */
static int read_start(const char *path, char *text, size_t capacity)
{
    text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    ssize_t n;
    do {
        n = read(fd, text, capacity - 1);
    } while (n < 0 && errno == EINTR);
    int errno_value = n < 0 ? errno : n == 0 ? ENOENT : 0;
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return errno_value;
}

/* The name of one of this process's namespaces; empty where the kernel has none of the kind. 0, or an errno. */
static int read_namespace(const char *path, char *text, size_t capacity)
{
    ssize_t n = readlink(path, text, capacity - 1);
    text[n > 0 ? n : 0] = '\0';
    return n < 0 ? errno : 0;
}

struct process {
    bool is_over; /* a zombie: all its threads have ended, nobody has asked for its exit status yet */
    uint64_t start_time;
};

/*
 * Fields 3 (state), 20 (threads) and 22 (start) of a process's stat, counted after the last ')' because the second
 * field, the name, may hold anything. The file is that of the main thread: under qemu-user a process reads a made-up
 * /proc/PID/stat of itself, another start time than all others see there. The main thread may have ended while another
 * one still is within a call that changes a file, so the threads are counted.
 */
static bool look_at_process(uint64_t pid, struct process *process)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof path, "/proc/%llu/task/%llu/stat", (unsigned long long)pid, (unsigned long long)pid);
    if (read_start(path, text, sizeof text) != 0) {
        return false;
    }
    char state = ' ';
    uint64_t n_threads = 0;
    const char *p = strrchr(text, ')');
    for (int field = 3; p != NULL && field <= 22; field++) {
        p = strchr(p + 1, ' ');
        if (p != NULL && field == 3) {
            state = p[1];
        } else if (p != NULL && field == 20) {
            n_threads = strtoull(p + 1, NULL, 10);
        }
    }
    if (p == NULL) {
        return false;
    }
    process->start_time = strtoull(p + 1, NULL, 10);
    process->is_over = (state == 'Z' || state == 'X') && n_threads <= 1;
    return true;
}

/*
 * Whether an errno says what lies at a name: nothing, or nothing for us; of claim_load(): what no claim of this program
 * can be. All others say that it cannot be read now, which tells nothing about what it is.
 */
static bool is_verdict(int errno_value)
{
    static const int verdicts[] = {ENOENT, ENOTDIR, EINVAL, ELOOP, EACCES, EPERM, EISDIR, ENXIO, ENODEV, ENAMETOOLONG};
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        if (errno_value == verdicts[i]) {
            return true;
        }
    }
    return false;
}

int claim_identify(struct claim_identity *me)
{
    memset(me, 0, sizeof *me);
    (void)gethostname(me->host, sizeof me->host - 1);
    llavamed_make_printable(me->host);
    const int errno_values[] = {
        read_start("/proc/sys/kernel/random/boot_id", me->boot_id, sizeof me->boot_id),
        read_namespace("/proc/self/ns/pid", me->pid_namespace, sizeof me->pid_namespace),
        read_namespace("/proc/self/ns/time", me->time_namespace, sizeof me->time_namespace),
    };
    me->boot_id[strcspn(me->boot_id, "\n")] = '\0';
    struct process process;
    me->start_time = look_at_process((uint64_t)getpid(), &process) ? process.start_time : 0;
    for (size_t i = 0; i < sizeof errno_values / sizeof *errno_values; i++) {
        if (errno_values[i] != 0 && !is_verdict(errno_values[i])) {
            return errno_values[i];
        }
    }
    return 0;
}

/* Of a process of this host. Where /proc hides the processes of others, a number may have been given out again. */
static enum claim_owner owner_by_process(uint64_t pid, uint64_t start_time)
{
    struct process process;
    if (pid == 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) {
        return CLAIM_DEAD;
    }
    if (start_time == 0 || !look_at_process(pid, &process)) {
        return kill((pid_t)pid, 0) != 0 && errno == ESRCH ? CLAIM_DEAD : CLAIM_REMOTE;
    }
    return process.start_time == start_time && !process.is_over ? CLAIM_ALIVE : CLAIM_DEAD;
}

static const char *text_member(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    const char *text = value == NULL ? NULL : json_string(value);
    return text == NULL ? "" : text;
}

/* ---- Reading ---- */

/* Claims of a time namespace that is not told are of this one. */
static bool is_same_time(const struct json_value *root, const struct claim_identity *me)
{
    return json_member(root, "time_namespace") == NULL ||
           strcmp(text_member(root, "time_namespace"), me->time_namespace) == 0;
}

/* 0, or the errno of what this process could not learn of itself just now. */
static int judge(const struct json_value *root, struct claim *claim)
{
    uint64_t pid = 0;
    uint64_t start_time = 0;
    const struct json_value *pid_value = json_member(root, "pid");
    const struct json_value *start_value = json_member(root, "start_time");
    if (strcmp(text_member(root, "format"), CLAIM_FORMAT) != 0 || pid_value == NULL || !json_integer(pid_value, &pid) ||
        start_value == NULL || !json_integer(start_value, &start_time)) {
        return 0;
    }
    struct claim_identity me;
    int errno_value = claim_identify(&me);
    if (errno_value != 0) {
        return errno_value;
    }
    (void)snprintf(claim->host, sizeof claim->host, "%s", text_member(root, "host"));
    llavamed_make_printable(claim->host);
    claim->pid = pid;
    claim->owner = CLAIM_REMOTE;
    if (is_released(claim)) {
        claim->owner = CLAIM_DEAD;
    } else if (strcmp(claim->host, me.host) != 0) {
        return 0;
    } else if (strcmp(text_member(root, "boot_id"), me.boot_id) != 0) {
        claim->owner = CLAIM_REBOOT;
    } else if (strcmp(text_member(root, "pid_namespace"), me.pid_namespace) == 0 && is_same_time(root, &me)) {
        claim->owner = owner_by_process(pid, start_time);
    }
    return 0;
}

int claim_load(const char *path, char *text, size_t *n_bytes, int64_t *time_ns)
{
    struct stat info;
    int errno_value = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    *n_bytes = 0;
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &info) != 0) {
        errno_value = errno;
    } else if (!S_ISREG(info.st_mode) || info.st_size >= CLAIM_BYTES_MAX) {
        errno_value = EINVAL;
    }
    while (errno_value == 0 && *n_bytes < CLAIM_BYTES_MAX - 1) {
        ssize_t n = read(fd, text + *n_bytes, CLAIM_BYTES_MAX - 1 - *n_bytes);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            errno_value = errno;
        } else if (n > 0) {
            *n_bytes += (size_t)n;
        }
    }
    (void)close(fd);
    if (errno_value == 0) {
        *time_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    }
    return errno_value;
}

static enum llavamed_status fail_unread(const char *path, int errno_value, struct llavamed_error *error)
{
    enum llavamed_status status = errno_value == ENOMEM ? LLAVAMED_STATUS_NO_MEMORY : LLAVAMED_STATUS_IO;
    return llavamed_fail_errno(error, status, errno_value, "%s: cannot read the claim", path);
}

/* The same once more where the file was replaced on another host. */
static int load_again(const char *path, char *text, size_t *n_bytes, int64_t *time_ns)
{
    int errno_value = claim_load(path, text, n_bytes, time_ns);
    return errno_value == ESTALE ? claim_load(path, text, n_bytes, time_ns) : errno_value;
}

bool claim_is_unwritten(const struct claim *claim)
{
    size_t n_bytes = claim->n_bytes;
    size_t n_common = n_bytes < sizeof CLAIM_START - 1 ? n_bytes : sizeof CLAIM_START - 1;
    bool is_blank = true;
    for (size_t i = 0; i < n_bytes; i++) {
        is_blank = is_blank && claim->text[i] == '\0';
    }
    return is_blank || (memcmp(claim->text, CLAIM_START, n_common) == 0 && claim->text[n_bytes - 1] != '}' &&
                        claim->text[n_bytes - 1] != '\n');
}

/* Owner, process and host of a claim that is loaded; CLAIM_FOREIGN for what is none. */
static enum llavamed_status judge_text(const char *path, struct claim *claim, struct llavamed_error *error)
{
    struct json *json = NULL;
    claim->owner = CLAIM_FOREIGN;
    enum llavamed_status status = json_parse(path, claim->text, claim->n_bytes, false, &json, error);
    int errno_value = 0;
    if (status == LLAVAMED_OK && json_kind_of(json_root(json)) == JSON_OBJECT) {
        errno_value = judge(json_root(json), claim);
    }
    json_free(json);
    if (errno_value != 0) {
        return fail_unread(path, errno_value, error);
    }
    return status == LLAVAMED_STATUS_NO_MEMORY ? status : LLAVAMED_OK;
}

/* How much stands in the way of taking over from such an owner. */
static int weight_of(enum claim_owner owner)
{
    switch (owner) {
    case CLAIM_DEAD:
        return 1;
    case CLAIM_REBOOT:
        return 2;
    case CLAIM_REMOTE:
        return 3;
    case CLAIM_ALIVE:
        return 4;
    case CLAIM_NONE:
    case CLAIM_FOREIGN:
        break;
    }
    return 0;
}

/* What is no draft, or none any more, stays CLAIM_NONE. */
static enum llavamed_status read_draft(const char *path, struct claim *draft, struct llavamed_error *error)
{
    int errno_value = load_again(path, draft->text, &draft->n_bytes, &draft->beat_ns);
    if (errno_value != 0) {
        return is_verdict(errno_value) ? LLAVAMED_OK : fail_unread(path, errno_value, error);
    }
    return judge_text(path, draft, error);
}

/*
 * Where there are no hard links a claim is created before it is written, and its draft lies beside it until it is
 * complete. So whoever has created it is one of those whose drafts are there: the one that is hardest to call dead.
 */
static enum llavamed_status judge_by_drafts(const char *path, struct claim *claim, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    char *parent = path_parent(path);
    char *base = path_base_name(path);
    enum llavamed_status status = LLAVAMED_OK;
    int weight = 0;
    claim->owner = CLAIM_REMOTE;
    if (parent == NULL || base == NULL) {
        status = llavamed_fail_memory(error, strlen(path), "a path");
        goto out;
    }
    size_t stem_bytes = strlen(base) > 5 ? strlen(base) - 5 : 0; /* without ".json" */
    status = directory_list(parent, &listing, NULL);
    if (status != LLAVAMED_OK) {
        status = status == LLAVAMED_STATUS_NO_MEMORY ? llavamed_fail_memory(error, 0, "a listing") : LLAVAMED_OK;
        goto out;
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < listing.n_names; i++) {
        const char *name = listing.names[i];
        struct claim draft = {.owner = CLAIM_NONE};
        if (strncmp(name, base, stem_bytes) != 0 || strncmp(name + stem_bytes, ".new-", 5) != 0) {
            continue;
        }
        char *draft_path = path_join(parent, name);
        if (draft_path == NULL) {
            status = llavamed_fail_memory(error, strlen(name), "a path");
        } else {
            status = read_draft(draft_path, &draft, error);
        }
        free(draft_path);
        if (weight_of(draft.owner) > weight) {
            weight = weight_of(draft.owner);
            claim->owner = draft.owner;
            claim->pid = draft.pid;
            memcpy(claim->host, draft.host, sizeof claim->host);
        }
    }
out:
    directory_listing_deinit(&listing);
    free(base);
    free(parent);
    return status;
}

enum llavamed_status claim_read_once(const char *path, struct claim *claim, struct llavamed_error *error)
{
    memset(claim, 0, sizeof *claim);
    int errno_value = load_again(path, claim->text, &claim->n_bytes, &claim->beat_ns);
    if (errno_value == ENOENT || errno_value == ENOTDIR) {
        return LLAVAMED_OK;
    }
    if (errno_value != 0) {
        memset(claim, 0, sizeof *claim);
        claim->owner = CLAIM_FOREIGN;
        return is_verdict(errno_value) ? LLAVAMED_OK : fail_unread(path, errno_value, error);
    }
    if (!claim_is_unwritten(claim)) {
        return judge_text(path, claim, error);
    }
    enum llavamed_status status = judge_by_drafts(path, claim, error);
    if (is_released(claim)) {
        claim->owner = CLAIM_DEAD;
    }
    return status;
}

enum llavamed_status claim_read(const char *path, struct claim *claim, struct llavamed_error *error)
{
    enum llavamed_status status = claim_read_once(path, claim, error);
    for (int i = 0; i < READINGS_MAX && status == LLAVAMED_OK && claim->owner != CLAIM_NONE &&
                    claim_is_unwritten(claim) && !claim_same(path, claim);
         i++) {
        status = claim_read_once(path, claim, error); /* it was written meanwhile */
    }
    return status;
}

bool claim_same(const char *path, const struct claim *claim)
{
    char now[CLAIM_BYTES_MAX];
    size_t n_bytes = 0;
    int64_t time_ns;
    return load_again(path, now, &n_bytes, &time_ns) == 0 && n_bytes == claim->n_bytes &&
           memcmp(now, claim->text, n_bytes) == 0;
}

enum llavamed_status claim_compare(const char *path, const char *text, bool *same, struct llavamed_error *error)
{
    char now[CLAIM_BYTES_MAX];
    size_t n_bytes = 0;
    int64_t time_ns;
    int errno_value = load_again(path, now, &n_bytes, &time_ns);
    *same = errno_value == 0 && n_bytes == strlen(text) && memcmp(now, text, n_bytes) == 0;
    return errno_value == 0 || is_verdict(errno_value) ? LLAVAMED_OK : fail_unread(path, errno_value, error);
}

bool claim_is(const char *path, const char *text)
{
    bool same = false;
    return claim_compare(path, text, &same, NULL) == LLAVAMED_OK && same;
}
