/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/claim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "integrity/digest.h"
#include "io/directory.h"
#include "io/output_file.h"

#define CLAIM_FORMAT "llavamed-claim"
#define NONCE_BYTES 16
#define NONCE_HEX_BYTES (2 * NONCE_BYTES + 1)
/* A claim with a heartbeat before this was let go; the least that a file system can store may be 1980. */
#define RELEASED_BEFORE_NS (INT64_C(400000000) * 1000000000)
/* More successors than this died while they took over: then somebody should look at it. */
#define SUCCESSORS_MAX 64

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

/* ---- Reading ---- */

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
    claim->owner = CLAIM_REMOTE;
    if (claim->beat_ns < RELEASED_BEFORE_NS) {
        claim->owner = CLAIM_DEAD;
    } else if (strcmp(claim->host, me.host) != 0) {
        return;
    } else if (strcmp(text_member(root, "boot_id"), me.boot_id) != 0) {
        claim->owner = CLAIM_REBOOT;
    } else if (strcmp(text_member(root, "pid_namespace"), me.pid_namespace) == 0) {
        claim->owner = is_alive(pid, start_time) ? CLAIM_ALIVE : CLAIM_DEAD;
    }
}

/*
 * The bytes of a claim file and its time, both of one open file, since the name may get another one in between. Opening
 * also has network file systems ask the server instead of their memory. 0, or an errno.
 */
static int load(const char *path, char *text, size_t *n_bytes, int64_t *time_ns)
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

enum llavamed_status claim_read(const char *path, struct claim *claim, struct llavamed_error *error)
{
    size_t n_bytes = 0;
    struct json *json = NULL;
    memset(claim, 0, sizeof *claim);
    int errno_value = load(path, claim->text, &n_bytes, &claim->beat_ns);
    if (errno_value == ESTALE) { /* replaced on another host */
        errno_value = load(path, claim->text, &n_bytes, &claim->beat_ns);
    }
    if (errno_value == ENOENT || errno_value == ENOTDIR) {
        return LLAVAMED_OK;
    }
    claim->owner = CLAIM_FOREIGN;
    if (errno_value != 0) {
        memset(claim->text, 0, sizeof claim->text);
        return LLAVAMED_OK;
    }
    claim->n_bytes = n_bytes;
    bool is_blank = true;
    for (size_t i = 0; i < n_bytes; i++) {
        is_blank = is_blank && claim->text[i] == '\0';
    }
    if (is_blank) {
        claim->owner = CLAIM_REMOTE;
        return LLAVAMED_OK;
    }
    enum llavamed_status status = json_parse(path, claim->text, n_bytes, false, &json, error);
    if (status == LLAVAMED_OK && json_kind_of(json_root(json)) == JSON_OBJECT) {
        judge(json_root(json), claim);
    }
    json_free(json);
    return status == LLAVAMED_STATUS_NO_MEMORY ? status : LLAVAMED_OK;
}

bool claim_is(const char *path, const char *text)
{
    char now[CLAIM_BYTES_MAX];
    size_t n_bytes = 0;
    int64_t time_ns;
    int errno_value = load(path, now, &n_bytes, &time_ns);
    if (errno_value == ESTALE) {
        errno_value = load(path, now, &n_bytes, &time_ns);
    }
    return errno_value == 0 && n_bytes == strlen(text) && memcmp(now, text, n_bytes) == 0;
}

/* ---- Names beside a claim ---- */

/* The claim's path with ".json" replaced by ".KIND-KEY.json", malloc'ed; NULL when out of memory. */
static char *name_beside(const char *path, const char *kind, const char *key)
{
    assert(path != NULL);
    size_t stem_bytes = strlen(path);
    if (stem_bytes > 5 && strcmp(path + stem_bytes - 5, ".json") == 0) {
        stem_bytes -= 5;
    }
    size_t n_bytes = stem_bytes + strlen(kind) + strlen(key) + sizeof ".-.json";
    char *name = malloc(n_bytes);
    if (name != NULL) {
        (void)snprintf(name, n_bytes, "%.*s.%s-%s.json", (int)stem_bytes, path, kind, key);
    }
    return name;
}

/* Unlike any other of this file system's hosts: from the kernel, or else from what differs between processes. */
static void make_nonce(char hex[NONCE_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[NONCE_BYTES];
    if (syscall(SYS_getrandom, bytes, sizeof bytes, 0) != (long)sizeof bytes) {
        uint64_t parts[2] = {clock_monotonic_ns(), (uint64_t)getpid()};
        memcpy(bytes, parts, sizeof bytes);
    }
    for (size_t i = 0; i < NONCE_BYTES; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[NONCE_HEX_BYTES - 1] = '\0';
}

/* ---- Writing ---- */

static enum llavamed_status compose(const char *nonce, char *text, struct llavamed_error *error)
{
    struct identity me;
    struct buffer out;
    identify(&me);
    buffer_init(&out, CLAIM_BYTES_MAX - 1);
    buffer_append_text(&out, "{\"format\": \"" CLAIM_FORMAT "\", \"version\": 1, \"host\": ");
    json_append_ascii(&out, me.host);
    buffer_append_text(&out, ", \"boot_id\": ");
    json_append_ascii(&out, me.boot_id);
    buffer_append_text(&out, ", \"pid_namespace\": ");
    json_append_ascii(&out, me.pid_namespace);
    buffer_printf(&out, ", \"pid\": %llu, \"start_time\": %llu, \"nonce\": \"%s\"}\n", (unsigned long long)getpid(),
                  (unsigned long long)me.start_time, nonce);
    enum llavamed_status status = buffer_status(&out, "a claim file", error);
    if (status == LLAVAMED_OK) {
        memcpy(text, out.data, out.n_bytes);
        text[out.n_bytes] = '\0';
    }
    buffer_deinit(&out);
    return status;
}

enum llavamed_status claim_write(const char *path, char *text, struct llavamed_error *error)
{
    char nonce[NONCE_HEX_BYTES];
    make_nonce(nonce);
    char *draft = name_beside(path, "new", nonce);
    if (draft == NULL) {
        return llavamed_fail_memory(error, strlen(path), "a path");
    }
    enum llavamed_status status = compose(nonce, text, error);
    if (status == LLAVAMED_OK) {
        status = output_file_write_whole(draft, text, strlen(text), error);
    }
    if (status != LLAVAMED_OK) {
        free(draft);
        return status;
    }
    int errno_value = link(draft, path) == 0 ? 0 : errno;
    (void)unlink(draft);
    free(draft);
    if (errno_value != 0 && errno_value != EEXIST && errno_value != ENOENT) {
        /* No hard links here: between its creation and its last byte the claim is an empty file. */
        status = output_file_write_whole(path, text, strlen(text), error);
    } else if (errno_value != 0) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_EXISTS, errno_value, "%s: cannot create", path);
    }
    /* Over a network a request may be sent twice, and the answer be that of the second. */
    return status == LLAVAMED_STATUS_OUT_EXISTS && claim_is(path, text) ? LLAVAMED_OK : status;
}

/* ---- Taking over ---- */

static enum llavamed_status name_successor(const char *path, const char *dead_text, char **name,
                                           struct llavamed_error *error)
{
    char hex[SHA256_HEX_BYTES];
    enum llavamed_status status = sha256_of(dead_text, strlen(dead_text), hex, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    hex[NONCE_HEX_BYTES - 1] = '\0';
    *name = name_beside(path, "after", hex);
    return *name != NULL ? LLAVAMED_OK : llavamed_fail_memory(error, strlen(path), "a path");
}

/* Whether a successor that is in the way will go on, as far as a look can tell. A dead one has a successor. */
static bool is_dead_successor(const char *path, const struct claim *claim)
{
    double seconds;
    return claim->owner == CLAIM_DEAD || claim->owner == CLAIM_REBOOT ||
           (claim->owner == CLAIM_REMOTE && claim_age(path, claim, &seconds) && seconds >= CLAIM_PATIENCE_S);
}

/* Becomes the last successor of `dead`: *name (to be freed) is our file. OUT_BUSY when a live one is there. */
static enum llavamed_status succeed(const char *path, const struct claim *dead, char *text, char **name,
                                    struct claim *seen, struct llavamed_error *error)
{
    *seen = *dead;
    for (size_t i = 0; i < SUCCESSORS_MAX; i++) {
        char *next = NULL;
        enum llavamed_status status = name_successor(path, seen->text, &next, error);
        if (status == LLAVAMED_OK) {
            status = claim_write(next, text, error);
        }
        if (status == LLAVAMED_OK) {
            *name = next;
            return status;
        }
        if (status == LLAVAMED_STATUS_OUT_EXISTS) {
            status = claim_read(next, seen, error);
            if (status == LLAVAMED_OK && !is_dead_successor(next, seen)) {
                status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run takes over", path);
            }
        }
        free(next);
        if (status != LLAVAMED_OK) {
            return status;
        }
    }
    return llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: too many runs died while they took over", path);
}

enum llavamed_status claim_replace(const char *path, const struct claim *dead, char *text, struct claim *seen,
                                   struct llavamed_error *error)
{
    char *name = NULL;
    enum llavamed_status status = succeed(path, dead, text, &name, seen, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    /* Whoever was the last successor before has renamed by now, or else is not alive: look what it came to. */
    status = claim_read(path, seen, error);
    if (status == LLAVAMED_OK && (seen->owner == CLAIM_NONE || strcmp(seen->text, dead->text) != 0)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run has taken over", path);
    } else if (status == LLAVAMED_OK && rename(name, path) != 0 && !claim_is(path, text)) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot rename", name);
    }
    if (status == LLAVAMED_OK && !claim_is(path, text)) {
        status = claim_read(path, seen, error);
        if (status == LLAVAMED_OK) {
            status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run has taken over", path);
        }
    }
    if (status != LLAVAMED_OK) {
        (void)unlink(name);
    }
    free(name);
    return status;
}

/* ---- Heartbeat ---- */

bool claim_age(const char *path, const struct claim *claim, double *seconds)
{
    char nonce[NONCE_HEX_BYTES];
    struct stat info;
    make_nonce(nonce);
    char *probe = name_beside(path, "new", nonce);
    int fd = probe == NULL ? -1 : open(probe, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0666);
    bool known = false;
    if (fd >= 0) {
        /* Some servers keep something else in the times of a new file until they are told to set them. */
        (void)futimens(fd, NULL);
        known = fstat(fd, &info) == 0;
        (void)close(fd);
        (void)unlink(probe);
    }
    if (known) {
        int64_t now_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
        *seconds = (double)(now_ns - claim->beat_ns) / 1e9;
    }
    free(probe);
    return known;
}

bool claim_watch(const char *path, const struct claim *claim)
{
    const struct timespec pause = {.tv_nsec = 200000000};
    uint64_t until_ns = clock_monotonic_ns() + (uint64_t)(2 * CLAIM_HEARTBEAT_S) * 1000000000u;
    while (clock_monotonic_ns() < until_ns) {
        char text[CLAIM_BYTES_MAX];
        size_t n_bytes = 0;
        int64_t time_ns = 0;
        (void)nanosleep(&pause, NULL);
        int errno_value = load(path, text, &n_bytes, &time_ns);
        bool same = errno_value == 0 && time_ns == claim->beat_ns && n_bytes == claim->n_bytes &&
                    memcmp(text, claim->text, n_bytes) == 0;
        if (!same) {
            return true;
        }
    }
    return false;
}

void claim_beat(const char *path)
{
    if (utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT) {
        return;
    }
    /* Times cannot be set here; writing the byte that is there anyway sets them too. */
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!pwrite(fd, "{", 1, 0);
        (void)close(fd);
    }
}

void claim_release(const char *path)
{
    const struct timespec never[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 0}};
    (void)utimensat(AT_FDCWD, path, never, AT_SYMLINK_NOFOLLOW);
}
