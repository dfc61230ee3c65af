/* SPDX-License-Identifier: Apache-2.0 */
/* Making a claim, taking over from a dead one, showing that its owner lives. */
#include "merge/claim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/stop_signal.h"
#include "integrity/digest.h"
#include "io/output_file.h"
#include "merge/claim_parts.h"

#define NONCE_BYTES 16
#define NONCE_HEX_BYTES CLAIM_NONCE_BYTES
/* More successors than this died while they took over: then somebody should look at it. */
#define SUCCESSORS_MAX 64
#define PROBE_KEY_DIGITS 16 /* as many as output_dir.c reckons with for the longest name beside OUT */
#define WATCH_PAUSE_NS 200000000

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
void claim_make_nonce(char hex[CLAIM_NONCE_BYTES])
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
    struct claim_identity me;
    struct buffer out;
    int errno_value = claim_identify(&me);
    if (errno_value != 0) {
        return llavamed_fail_errno(error, LLAVAMED_STATUS_IO, errno_value, "/proc: cannot tell who this process is");
    }
    buffer_init(&out, CLAIM_BYTES_MAX - 1);
    buffer_append_text(&out, CLAIM_START "\"version\": 1, \"host\": ");
    json_append_ascii(&out, me.host);
    buffer_append_text(&out, ", \"boot_id\": ");
    json_append_ascii(&out, me.boot_id);
    buffer_append_text(&out, ", \"pid_namespace\": ");
    json_append_ascii(&out, me.pid_namespace);
    buffer_append_text(&out, ", \"time_namespace\": ");
    json_append_ascii(&out, me.time_namespace);
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

/*
 * Without hard links the claim is empty between its creation and its last byte. It is written through the descriptor
 * that created it: should another run have put its own in that place, this one goes nowhere.
 */
static enum llavamed_status create_unlinked(const char *path, const char *text, struct llavamed_error *error)
{
    struct output_file *file = NULL;
    struct claim claim;
    enum llavamed_status status = output_file_create(path, strlen(text), false, &file, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    status = output_file_write(file, 0, text, strlen(text), error);
    if (status == LLAVAMED_OK) {
        status = output_file_finish(file, error);
    } else {
        output_file_close(file);
    }
    if (status != LLAVAMED_OK && claim_read_once(path, &claim, NULL) == LLAVAMED_OK && claim.owner != CLAIM_NONE &&
        (claim_is_unwritten(&claim) || claim_is(path, text))) {
        (void)unlink(path);
    }
    return status;
}

enum llavamed_status claim_write(const char *path, char *text, struct llavamed_error *error)
{
    char nonce[NONCE_HEX_BYTES];
    claim_make_nonce(nonce);
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
    if (errno_value != 0 && errno_value != EEXIST && errno_value != ENOENT) {
        status = create_unlinked(path, text, error);
    } else if (errno_value != 0) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_EXISTS, errno_value, "%s: cannot create", path);
    }
    (void)unlink(draft);
    free(draft);
    /* Over a network a request may be sent twice, and the answer be that of the second. */
    if (status == LLAVAMED_STATUS_OUT_EXISTS && claim_is(path, text)) {
        return LLAVAMED_OK;
    }
    bool same = true;
    if (status == LLAVAMED_OK) {
        status = claim_compare(path, text, &same, error);
    }
    return status != LLAVAMED_OK || same
               ? status
               : llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: another run has taken over", path);
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

/*
 * Whether a successor that is in the way will not go on. A dead one has a successor, a live one is gone in no time. Of
 * no meaning once there is a signal.
 */
static bool is_dead_successor(const char *path, const struct claim *claim, const volatile int *stop_signal)
{
    double seconds;
    bool may_be_dead =
        claim->owner == CLAIM_REBOOT ||
        (claim->owner == CLAIM_REMOTE && claim_age(path, claim, &seconds) && seconds >= CLAIM_PATIENCE_S);
    return claim->owner == CLAIM_DEAD || (may_be_dead && !claim_watch(path, claim, stop_signal));
}

/* Becomes the last successor of `dead`: *name (to be freed) is our file. OUT_BUSY when a live one is there. */
static enum llavamed_status succeed(const char *path, const struct claim *dead, const volatile int *stop_signal,
                                    char *text, char **name, struct claim *seen, struct llavamed_error *error)
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
            bool is_dead = status == LLAVAMED_OK && is_dead_successor(next, seen, stop_signal);
            if (status == LLAVAMED_OK) {
                status = stop_signal_check(stop_signal, error);
            }
            if (status == LLAVAMED_OK && !is_dead) {
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

static bool is_another(const struct claim *seen, const struct claim *dead)
{
    return seen->owner == CLAIM_NONE || seen->n_bytes != dead->n_bytes ||
           memcmp(seen->text, dead->text, dead->n_bytes) != 0;
}

enum llavamed_status claim_replace(const char *path, const struct claim *dead, const volatile int *stop_signal,
                                   char *text, struct claim *seen, struct llavamed_error *error)
{
    char *name = NULL;
    enum llavamed_status status = succeed(path, dead, stop_signal, text, &name, seen, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    /* Whoever was the last successor before has renamed by now, or else is not alive: look what it came to. */
    status = claim_read(path, seen, error);
    int errno_value = 0;
    if (status == LLAVAMED_OK && is_another(seen, dead)) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run has taken over", path);
    } else if (status == LLAVAMED_OK) {
        errno_value = rename(name, path) == 0 ? 0 : errno;
    }
    bool same = true;
    if (status == LLAVAMED_OK) {
        status = claim_compare(path, text, &same, error);
    }
    if (status == LLAVAMED_OK && !same) {
        status = claim_read(path, seen, error);
        if (status == LLAVAMED_OK && (errno_value == 0 || is_another(seen, dead))) {
            status = llavamed_fail(error, LLAVAMED_STATUS_OUT_BUSY, "%s: another run has taken over", path);
        } else if (status == LLAVAMED_OK) {
            status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno_value, "%s: cannot rename", name);
        }
    }
    if (status != LLAVAMED_OK) {
        (void)unlink(name);
    }
    free(name);
    return status;
}

/* ---- Heartbeat ---- */

/* What a file has that this process makes beside `path`, which is gone again afterwards. */
static bool look_at_new_file(const char *path, struct stat *info)
{
    char nonce[NONCE_HEX_BYTES];
    claim_make_nonce(nonce);
    nonce[PROBE_KEY_DIGITS] = '\0';
    char *probe = name_beside(path, "age", nonce);
    int fd = probe == NULL ? -1 : open(probe, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0666);
    bool known = false;
    if (fd >= 0) {
        /* Some servers keep something else in the times of a new file until they are told to set them. */
        (void)futimens(fd, NULL);
        known = fstat(fd, info) == 0;
        (void)close(fd);
        (void)unlink(probe);
    }
    free(probe);
    return known;
}

bool claim_clock(const char *path, int64_t *now_ns)
{
    struct stat info;
    bool known = look_at_new_file(path, &info);
    if (known) {
        *now_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    }
    return known;
}

bool claim_age(const char *path, const struct claim *claim, double *seconds)
{
    int64_t now_ns = 0;
    bool known = claim_clock(path, &now_ns);
    if (known) {
        *seconds = (double)(now_ns - claim->beat_ns) / 1e9;
    }
    return known;
}

bool claim_owner_is_own(const char *path, uid_t owner)
{
    struct stat info;
    return owner == geteuid() || (look_at_new_file(path, &info) && info.st_uid == owner);
}

/* As long as asked for, whatever signals come but that which ends the run. */
static void pause_for(long ns, const volatile int *stop_signal)
{
    struct timespec left = {.tv_nsec = ns};
    while (nanosleep(&left, &left) != 0 && errno == EINTR && stop_signal_read(stop_signal) == 0) {
    }
}

bool claim_watch(const char *path, const struct claim *claim, const volatile int *stop_signal)
{
    int n_looks = (int)(INT64_C(2000000000) * CLAIM_HEARTBEAT_S / WATCH_PAUSE_NS);
    for (int i = 0; i < n_looks && stop_signal_read(stop_signal) == 0; i++) {
        char text[CLAIM_BYTES_MAX];
        size_t n_bytes = 0;
        int64_t time_ns = 0;
        pause_for(WATCH_PAUSE_NS, stop_signal);
        int errno_value = claim_load(path, text, &n_bytes, &time_ns);
        bool same = errno_value == 0 && time_ns == claim->beat_ns && n_bytes == claim->n_bytes &&
                    memcmp(text, claim->text, n_bytes) == 0;
        if (!same) {
            return true;
        }
    }
    return false;
}

enum llavamed_status claim_sight_take(const char *path, const struct claim *claim, struct claim_sight *sight,
                                      struct llavamed_error *error)
{
    *sight = (struct claim_sight){strdup(path), malloc(claim->n_bytes + 1), claim->n_bytes, claim->beat_ns};
    if (sight->path == NULL || sight->text == NULL) {
        return llavamed_fail_memory(error, claim->n_bytes, "a claim");
    }
    memcpy(sight->text, claim->text, claim->n_bytes);
    return LLAVAMED_OK;
}

void claim_sight_deinit(struct claim_sight *sight)
{
    free(sight->path);
    free(sight->text);
}

bool claim_sight_holds(const struct claim_sight *sight)
{
    char text[CLAIM_BYTES_MAX];
    size_t n_bytes = 0;
    int64_t time_ns = 0;
    return claim_load(sight->path, text, &n_bytes, &time_ns) == 0 && time_ns == sight->beat_ns &&
           n_bytes == sight->n_bytes && memcmp(text, sight->text, n_bytes) == 0;
}

void claim_wait_beat(const volatile int *stop_signal)
{
    int n_pauses = (int)(INT64_C(1000000000) * CLAIM_HEARTBEAT_S / WATCH_PAUSE_NS);
    for (int i = 0; i < n_pauses && stop_signal_read(stop_signal) == 0; i++) {
        pause_for(WATCH_PAUSE_NS, stop_signal);
    }
}

/* The claim at `path`, open for writing, if it is the one with these bytes; else -1. */
static int open_own(const char *path, const char *text)
{
    char now[CLAIM_BYTES_MAX];
    size_t n_bytes = strlen(text);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    size_t n_got = 0;
    for (ssize_t n = 1; fd >= 0 && n > 0 && n_got < sizeof now; n_got += n > 0 ? (size_t)n : 0) {
        n = pread(fd, now + n_got, sizeof now - n_got, (off_t)n_got);
    }
    if (fd >= 0 && (n_got != n_bytes || memcmp(now, text, n_bytes) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

bool claim_beat(const char *path, const char *text)
{
    int fd = open_own(path, text);
    if (fd < 0) {
        return claim_is(path, text);
    }
    if (futimens(fd, NULL) != 0) {
        /* Times cannot be set here; writing the byte that is there anyway sets them too. */
        (void)!pwrite(fd, text, 1, 0);
    }
    (void)close(fd);
    return true;
}

void claim_release(const char *path, const char *text)
{
    const struct timespec never[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 0}};
    int fd = open_own(path, text);
    if (fd >= 0) {
        (void)futimens(fd, never);
        (void)close(fd);
    }
}
