/* SPDX-License-Identifier: Apache-2.0 */
/* Claims under the worst of circumstances: many runs at once, owners elsewhere, file systems that lack something. */
#include "merge/claim.h"

#include <signal.h>
#include <time.h>

#include "core/clock.h"
#include "integrity/digest.h"
#include "merge/output_dir.h"
#include "unit/harness.h"
#include "unit/played_volume.h"
#include "unit/temp_dir.h"

static struct temp_dir dir;
static struct llavamed_error error;
static const volatile int stop_signal = 15;

/* open() of a path that ends so fails with this errno, as often as said. */
static struct {
    const char *end;
    int errno_value;
    int n_times;
} unreadable;

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    size_t n_bytes = strlen(path);
    size_t n_end = unreadable.n_times > 0 ? strlen(unreadable.end) : 0;
    if (n_end > 0 && n_bytes >= n_end && strcmp(path + n_bytes - n_end, unreadable.end) == 0) {
        unreadable.n_times--;
        errno = unreadable.errno_value;
        return -1;
    }
    return openat(AT_FDCWD, path, flags, mode);
}

/* ---- Helpers ---- */

static void set_mtime(const char *path, double seconds_from_now)
{
    struct timespec now;
    temp_dir_require(clock_gettime(CLOCK_REALTIME, &now) == 0, "clock");
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = now.tv_sec + (time_t)seconds_from_now, .tv_nsec = now.tv_nsec}};
    int fd = open(path, O_WRONLY);
    temp_dir_require(fd >= 0 && system_call(SYS_utimensat, (long)fd, NULL, times, 0L) == 0 && close(fd) == 0, path);
}

static void set_time(const char *path, time_t seconds, long ns)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = ns}};
    temp_dir_require(utimensat(AT_FDCWD, path, times, 0) == 0, path);
}

/* A claim of this process with what follows `key` (up to , or }) replaced. */
static void put_claim(const char *path, const char *key, const char *value)
{
    char text[CLAIM_BYTES_MAX];
    char mark[64];
    (void)unlinkat(AT_FDCWD, path, 0);
    temp_dir_require(claim_write(path, text, &error) == LLAVAMED_OK, path);
    if (key == NULL) {
        return;
    }
    (void)snprintf(mark, sizeof mark, "\"%s\": ", key);
    const char *at = strstr(text, mark);
    temp_dir_require(at != NULL, key);
    at += strlen(mark);
    char edited[2 * CLAIM_BYTES_MAX];
    (void)snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, value, at + strcspn(at, ",}"));
    temp_write_text(path, edited);
}

static struct output_dir *begin(const char *out, bool force, bool keep, bool *had_leftovers)
{
    struct output_dir *opened = NULL;
    if (output_dir_open(out, force, NULL, 0, &opened, &error) != LLAVAMED_OK) {
        return NULL;
    }
    if (output_dir_begin(opened, keep, had_leftovers, &error) != LLAVAMED_OK) {
        output_dir_free(opened);
        return NULL;
    }
    return opened;
}

static enum claim_owner owner_of(const char *path)
{
    struct claim claim;
    EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
    return claim.owner;
}

static void make_remote(const char *out, const char *key, const char *value, double age);

/* ---- Claims ---- */

static void claims_are_judged(void)
{
    temp_dir_make(&dir);
    char path[300];
    char text[CLAIM_BYTES_MAX];
    char other[CLAIM_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    EXPECT(owner_of(path) == CLAIM_NONE);
    EXPECT(claim_write(path, text, &error) == LLAVAMED_OK);
    EXPECT(owner_of(path) == CLAIM_ALIVE && claim_is(path, text) && temp_file_is(path, text));
    EXPECT(claim_write(path, other, &error) == LLAVAMED_STATUS_OUT_EXISTS);
    EXPECT(!claim_is(path, other) && strcmp(text, other) != 0);
    claim_release(path, other); /* not the one that is there */
    EXPECT(owner_of(path) == CLAIM_ALIVE);
    claim_release(path, text);
    EXPECT(owner_of(path) == CLAIM_DEAD);
    EXPECT(!claim_beat(path, other));
    EXPECT(owner_of(path) == CLAIM_DEAD);
    EXPECT(claim_beat(path, text));
    EXPECT(owner_of(path) == CLAIM_ALIVE);
    static const struct {
        const char *key;
        const char *value;
        enum claim_owner owner;
    } rows[] = {
        {"host", "\"elsewhere\"", CLAIM_REMOTE},
        {"pid_namespace", "\"pid:[1]\"", CLAIM_REMOTE},
        {"time_namespace", "\"time:[1]\"", CLAIM_REMOTE}, /* start times are others there */
        {"boot_id", "\"earlier\"", CLAIM_REBOOT},
        {"start_time", "1", CLAIM_DEAD},
        {"pid", "2147483646", CLAIM_DEAD},
        {"pid", "0", CLAIM_DEAD},
        {"pid", "-1", CLAIM_FOREIGN},
        {"format", "\"other\"", CLAIM_FOREIGN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put_claim(path, rows[i].key, rows[i].value);
        EXPECT_U64(owner_of(path), rows[i].owner);
    }
    put_claim(path, NULL, NULL);
    set_time(path, 86400, 5); /* a clock that begins in 1970 */
    EXPECT(owner_of(path) == CLAIM_ALIVE);
    set_time(path, 315532800, 0); /* the least that FAT can store */
    EXPECT(owner_of(path) == CLAIM_DEAD);
    temp_write_text(path, "");
    EXPECT(owner_of(path) == CLAIM_REMOTE);
    temp_write(path, "\0\0\0", 3);
    EXPECT(owner_of(path) == CLAIM_REMOTE);
    temp_write(path, "\0x\0", 3);
    EXPECT(owner_of(path) == CLAIM_FOREIGN);
    temp_write_text(path, "[]");
    EXPECT(owner_of(path) == CLAIM_FOREIGN);
    EXPECT(unlinkat(AT_FDCWD, path, 0) == 0 && symlink("/dev/zero", path) == 0);
    EXPECT(owner_of(path) == CLAIM_FOREIGN);
    EXPECT(unlinkat(AT_FDCWD, path, 0) == 0 && mkfifo(path, 0600) == 0);
    EXPECT(owner_of(path) == CLAIM_FOREIGN);
    temp_dir_remove(&dir);
}

/* Ended, but nobody has asked for its exit status: as under an init that does not wait, in a container. */
static void zombies_are_dead(void)
{
    temp_dir_make(&dir);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    pid_t child = fork();
    if (child == 0) {
        char text[CLAIM_BYTES_MAX];
        _exit(claim_write(path, text, &error) != LLAVAMED_OK);
    }
    siginfo_t info;
    EXPECT(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    EXPECT(kill(child, 0) == 0);
    EXPECT(owner_of(path) == CLAIM_DEAD);
    EXPECT(wait_for(child) == 0);
    EXPECT(owner_of(path) == CLAIM_DEAD);
    temp_dir_remove(&dir);
}

/* Where there are no hard links: a claim that is not written yet is told by the drafts beside it. */
static void drafts_tell_of_whom_a_claim_is(void)
{
    static const struct {
        const char *key;
        const char *value;
        enum claim_owner owner;
    } rows[] = {
        {"pid", "2147483646", CLAIM_DEAD},
        {"boot_id", "\"earlier\"", CLAIM_REBOOT},
        {"host", "\"elsewhere\"", CLAIM_REMOTE},
        {NULL, NULL, CLAIM_ALIVE},
    };
    static const char *const unwritten[] = {"", "{\"for",
                                            "{\"format\": \"llavamed-claim\", \"version\": 1, \"host\": \""};
    temp_dir_make(&dir);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    for (size_t k = 0; k < sizeof unwritten / sizeof unwritten[0]; k++) {
        temp_write_text(path, unwritten[k]);
        EXPECT(owner_of(path) == CLAIM_REMOTE);
        temp_write_text(temp_path(&dir, "another.new-0.json"), "{}");
        EXPECT(owner_of(path) == CLAIM_REMOTE);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            put_claim(temp_path(&dir, "claim.new-%zu.json", i), rows[i].key, rows[i].value);
            EXPECT_U64(owner_of(path), rows[i].owner); /* the one that is hardest to call dead */
        }
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            EXPECT(unlinkat(AT_FDCWD, temp_path(&dir, "claim.new-%zu.json", i), 0) == 0);
        }
    }
    temp_dir_remove(&dir);
}

/* A wait for a sign of life ends when the run is told to. */
static void signals_end_a_watch(void)
{
    temp_dir_make(&dir);
    char path[300];
    struct claim claim;
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    put_claim(path, "host", "\"elsewhere\"");
    EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
    uint64_t began_ns = clock_monotonic_ns();
    EXPECT(!claim_watch(path, &claim, &stop_signal));
    EXPECT(clock_monotonic_ns() - began_ns < 1000000000);
    char out[300];
    struct output_dir *opened = NULL;
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    make_remote(out, "host", "\"elsewhere\"", 130);
    EXPECT(output_dir_open(out, false, NULL, 0, &opened, &error) == LLAVAMED_OK);
    output_dir_heed(opened, &stop_signal);
    EXPECT(output_dir_begin(opened, true, NULL, &error) == LLAVAMED_STATUS_INTERRUPTED && error.signal_number == 15);
    EXPECT(temp_exists(temp_path(&dir, "out.partial/half")));
    output_dir_free(opened);
    temp_dir_remove(&dir);
}

/* One look of a sign of life is four seconds; each of those who died while they took over has its own. */
static void signals_end_a_take_over(void)
{
    temp_dir_make(&dir);
    char next[400];
    char text[CLAIM_BYTES_MAX];
    char hex[SHA256_HEX_BYTES];
    struct claim dead = {0};
    struct claim seen;
    (void)snprintf(next, sizeof next, "%s/claim.json", dir.path);
    for (int i = 0; i < 3; i++) {
        put_claim(next, "host", "\"elsewhere\"");
        set_mtime(next, -500);
        EXPECT(claim_read(next, &seen, &error) == LLAVAMED_OK);
        EXPECT(sha256_of(seen.text, seen.n_bytes, hex, &error) == LLAVAMED_OK);
        dead = i == 0 ? seen : dead;
        (void)snprintf(next, sizeof next, "%s/claim.after-%.*s.json", dir.path, CLAIM_NONCE_BYTES - 1, hex);
    }
    uint64_t began_ns = clock_monotonic_ns();
    enum llavamed_status status =
        claim_replace(temp_path(&dir, "claim.json"), &dead, &stop_signal, text, &seen, &error);
    EXPECT(status == LLAVAMED_STATUS_INTERRUPTED && error.signal_number == 15);
    EXPECT(clock_monotonic_ns() - began_ns < 1000000000);
    EXPECT(claim_same(temp_path(&dir, "claim.json"), &dead) && !temp_exists(next)); /* nothing was taken */
    temp_dir_remove(&dir);
}

static void age_is_by_the_volumes_clock(void)
{
    temp_dir_make(&dir);
    char path[300];
    struct claim claim;
    double seconds = -1;
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    put_claim(path, NULL, NULL);
    EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
    EXPECT(claim_age(path, &claim, &seconds) && seconds >= 0 && seconds < 60);
    set_mtime(path, -500);
    EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
    EXPECT(claim_age(path, &claim, &seconds) && seconds >= 499 && seconds < 560);
    for (int i = 0; i < 2; i++) {
        volume.no_times = i == 1;
        set_mtime(path, -500);
        EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
        EXPECT(claim_beat(path, claim.text));
        EXPECT(claim_watch(path, &claim, NULL));
        EXPECT(claim_is(path, claim.text)); /* touched, not changed */
        EXPECT(claim_read(path, &claim, &error) == LLAVAMED_OK);
        EXPECT(claim_age(path, &claim, &seconds) && seconds >= 0 && seconds < 60);
    }
    volume.no_times = false;
    EXPECT(!claim_age(temp_path(&dir, "missing/claim.json"), &claim, &seconds));
    EXPECT(unlinkat(AT_FDCWD, path, 0) == 0 && rmdir(dir.path) == 0); /* nothing else was left */
}

/* Both look, both take over; each tells how it went and stays alive. */
static char race(const char *path)
{
    struct claim claim;
    struct claim seen;
    char text[CLAIM_BYTES_MAX];
    if (claim_read(path, &claim, &error) != LLAVAMED_OK) {
        return '?';
    }
    if (claim.owner == CLAIM_ALIVE) {
        return 'l';
    }
    if (claim.owner != CLAIM_DEAD) {
        return '?';
    }
    enum llavamed_status status = claim_replace(path, &claim, NULL, text, &seen, &error);
    if (status == LLAVAMED_OK) {
        return claim_is(path, text) ? 'w' : '?';
    }
    return status == LLAVAMED_STATUS_OUT_BUSY ? 'l' : '?';
}

static void run_races(int n_rounds)
{
    enum { RACERS = 2 };
    temp_dir_make(&dir);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/claim.json", dir.path);
    int start[RACERS][2];
    int report[2];
    pid_t children[RACERS];
    temp_dir_require(pipe(report) == 0, "pipe");
    for (int i = 0; i < RACERS; i++) {
        temp_dir_require(pipe(start[i]) == 0, "pipe");
        children[i] = fork();
        if (children[i] == 0) {
            char go;
            while (read(start[i][0], &go, 1) == 1 && go == 'g') {
                char answer = race(path);
                (void)!write(report[1], &answer, 1);
            }
            _exit(0);
        }
    }
    int one_won = 0;
    int both_told = 0;
    for (int round = 0; round < n_rounds; round++) {
        put_claim(path, "pid", "2147483646");
        if (round % 3 == 0) {
            /* Somebody has died while taking over: after becoming the successor, before renaming. */
            pid_t child = fork();
            if (child == 0) {
                volume.n_changes = 0;
                volume.die_before = volume.no_links ? 2 : 3;
                (void)race(path);
                _exit(0);
            }
            temp_dir_require(wait_for(child) == DIED, "a dead successor");
        }
        for (int i = 0; i < RACERS; i++) {
            temp_dir_require(write(start[i][1], "g", 1) == 1, "write");
        }
        int winners = 0;
        int losers = 0;
        for (int i = 0; i < RACERS; i++) {
            char answer = '?';
            temp_dir_require(read(report[0], &answer, 1) == 1, "read");
            winners += answer == 'w';
            losers += answer == 'l';
        }
        one_won += winners == 1;
        both_told += winners + losers == RACERS;
    }
    EXPECT_U64(one_won, n_rounds);
    EXPECT_U64(both_told, n_rounds);
    for (int i = 0; i < RACERS; i++) {
        temp_dir_require(write(start[i][1], "q", 1) == 1, "write");
        EXPECT(wait_for(children[i]) == 0);
        (void)close(start[i][0]);
        (void)close(start[i][1]);
    }
    (void)close(report[0]);
    (void)close(report[1]);
    temp_dir_remove(&dir);
}

static void one_of_two_wins(void)
{
    run_races(3000);
    volume.no_links = true;
    run_races(1000);
    volume.no_links = false;
}

/* ---- Owners elsewhere ---- */

/* Leftovers of a run of another host, with a heartbeat of that age. */
static void make_remote(const char *out, const char *key, const char *value, double age)
{
    char file[4096];
    (void)snprintf(file, sizeof file, "%s.partial", out);
    temp_mkdir(file);
    (void)snprintf(file, sizeof file, "%s.partial/half", out);
    temp_write_text(file, "theirs");
    (void)snprintf(file, sizeof file, "%s.partial/" OUTPUT_DIR_CLAIM_NAME, out);
    put_claim(file, key, value);
    if (key == NULL) {
        temp_write_text(file, "");
    }
    set_mtime(file, -age);
}

static void a_young_heartbeat_is_waited_for(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    make_remote(out, "host", "\"elsewhere\"", 35);
    EXPECT(begin(out, false, true, NULL) == NULL);
    EXPECT_U64(error.status, LLAVAMED_STATUS_OUT_BUSY);
    EXPECT(strstr(error.message, "host 'elsewhere'") != NULL && strstr(error.message, "heartbeat is 3") != NULL);
    EXPECT(strstr(error.hint, "can be taken over in 8") != NULL);
    EXPECT(temp_exists(temp_path(&dir, "out.partial/half")));
    temp_dir_remove(&dir);
}

/* Each of these takes the time of a watch, so all are done at once. */
static void old_heartbeats_are_watched_first(void)
{
    static const struct {
        const char *name;
        const char *key;
        const char *value;
        double age;
        bool beats;
    } rows[] = {
        {"old", "host", "\"elsewhere\"", 130, false},     {"container", "pid_namespace", "\"pid:[1]\"", 130, false},
        {"future", "host", "\"elsewhere\"", -1e6, false}, {"blank", NULL, NULL, 130, false},
        {"reboot", "boot_id", "\"earlier\"", 1, false},   {"slow clock", "host", "\"elsewhere\"", 4000, true},
        {"namesake", "boot_id", "\"earlier\"", 1, true},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    temp_dir_make(&dir);
    pid_t children[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        char out[300];
        (void)snprintf(out, sizeof out, "%s/%s", dir.path, rows[i].name);
        make_remote(out, rows[i].key, rows[i].value, rows[i].age);
        children[i] = fork();
        if (children[i] == 0) {
            bool had_leftovers = false;
            struct output_dir *made = begin(out, false, true, &had_leftovers);
            _exit(made != NULL && had_leftovers ? 1 : made == NULL && error.status == LLAVAMED_STATUS_OUT_BUSY ? 2 : 3);
        }
    }
    for (int beat = 1; beat <= 3; beat++) {
        (void)usleep(1000000);
        for (size_t i = 0; i < ROWS; i++) {
            if (rows[i].beats) {
                set_mtime(temp_path(&dir, "%s.partial/" OUTPUT_DIR_CLAIM_NAME, rows[i].name), beat - rows[i].age);
            }
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        if (!EXPECT_U64(wait_for(children[i]), rows[i].beats ? 2 : 1)) {
            printf("    %s\n", rows[i].name);
        }
        EXPECT(temp_file_is(temp_path(&dir, "%s.partial/half", rows[i].name), "theirs"));
    }
    temp_dir_remove(&dir);
}

static void a_claim_that_is_lost_is_noticed(void)
{
    temp_dir_make(&dir);
    char out[300];
    char claim[400];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    (void)snprintf(claim, sizeof claim, "%s.partial/" OUTPUT_DIR_CLAIM_NAME, out);
    for (int i = 0; i < 2; i++) {
        struct output_dir *made = begin(out, false, false, NULL);
        if (!EXPECT(made != NULL)) {
            break;
        }
        set_mtime(claim, -500);
        EXPECT(output_dir_beat(made));
        struct stat info;
        EXPECT(stat(claim, &info) == 0 && time(NULL) - info.st_mtim.tv_sec < 60);
        set_mtime(claim, -500);
        EXPECT(output_dir_beat(made)); /* too soon */
        EXPECT(stat(claim, &info) == 0 && time(NULL) - info.st_mtim.tv_sec > 400);
        EXPECT(output_dir_check_claim(made, &error) == LLAVAMED_OK);
        temp_write_text(temp_path(&dir, "out.partial/a"), "theirs now");
        if (i == 0) {
            put_claim(claim, NULL, NULL);
        } else {
            EXPECT(unlinkat(AT_FDCWD, claim, 0) == 0);
        }
        EXPECT(output_dir_check_claim(made, &error) == LLAVAMED_STATUS_OUT_BUSY);
        EXPECT(output_dir_empty(made, &error) == LLAVAMED_STATUS_OUT_BUSY);
        EXPECT(output_dir_publish(made, NULL, &error) == LLAVAMED_STATUS_OUT_BUSY);
        (void)usleep(CLAIM_HEARTBEAT_S * 1000000 + 100000);
        EXPECT(!output_dir_beat(made));
        output_dir_leave(made);
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
        EXPECT(temp_exists(temp_path(&dir, "out.partial/a")) && !temp_exists(out));
        output_dir_free(made);
        (void)unlinkat(AT_FDCWD, temp_path(&dir, "out.partial/a"), 0);
        (void)unlinkat(AT_FDCWD, claim, 0);
    }
    temp_dir_remove(&dir);
}

/* What the system cannot read now may be ours still: nobody else's, and not gone. */
static void a_claim_that_cannot_be_read_is_not_lost(void)
{
    enum { ALWAYS = 1000000 };
    static const int errnos[] = {EMFILE, ENFILE, EIO, ESTALE, ENOMEM};
    temp_dir_make(&dir);
    char out[300];
    char beside[320];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    (void)snprintf(beside, sizeof beside, "%s.publishing.json", out);
    for (size_t i = 0; i < sizeof errnos / sizeof errnos[0]; i++) {
        enum llavamed_status want = errnos[i] == ENOMEM ? LLAVAMED_STATUS_NO_MEMORY : LLAVAMED_STATUS_IO;
        struct output_dir *made = begin(out, false, false, NULL);
        if (!EXPECT(made != NULL)) {
            break;
        }
        unreadable.end = OUTPUT_DIR_CLAIM_NAME;
        unreadable.errno_value = errnos[i];
        unreadable.n_times = ALWAYS;
        EXPECT(output_dir_check_claim(made, &error) == want);
        EXPECT(strstr(error.message, OUTPUT_DIR_CLAIM_NAME) != NULL &&
               strstr(error.message, strerror(errnos[i])) != NULL); /* NOLINT(concurrency-mt-unsafe) */
        EXPECT((strstr(error.hint, "ulimit -n") != NULL) == (errnos[i] == EMFILE));
        EXPECT(run_guard_confirm(output_dir_guard(made), &error) == want);
        EXPECT(output_dir_publish(made, NULL, &error) == want);
        EXPECT(begin(out, false, true, NULL) == NULL && error.status == want);
        unreadable.n_times = 3; /* two looks, of which ESTALE takes both openings of one */
        EXPECT(output_dir_check_claim(made, &error) == LLAVAMED_OK);
        EXPECT_U64(unreadable.n_times, 0);
        unreadable.end = ".publishing.json";
        unreadable.n_times = ALWAYS;
        EXPECT(begin(out, false, true, NULL) == NULL && error.status == want);
        unreadable.n_times = 0;
        EXPECT(output_dir_check_claim(made, &error) == LLAVAMED_OK); /* it never counted as lost */
        EXPECT(!temp_exists(beside) && !temp_exists(out));
        unreadable.end = "/random/boot_id"; /* without which no claim can be told from that of another boot */
        unreadable.n_times = ALWAYS;
        EXPECT(begin(out, false, true, NULL) == NULL && error.status == want);
        unreadable.n_times = 0;
        output_dir_leave(made);
        output_dir_free(made);
        made = begin(out, false, true, NULL); /* the next run goes on */
        EXPECT(made != NULL && output_dir_abandon(made, &error) == LLAVAMED_OK);
        output_dir_free(made);
    }
    EXPECT(rmdir(dir.path) == 0);
}

static void what_is_left_can_be_kept(void)
{
    temp_dir_make(&dir);
    char out[300];
    (void)snprintf(out, sizeof out, "%s/out", dir.path);
    bool had_leftovers = true;
    struct output_dir *made = begin(out, false, true, &had_leftovers);
    EXPECT(made != NULL && !had_leftovers);
    temp_write_text(temp_path(&dir, "out.partial/half"), "kept");
    if (made != NULL) {
        output_dir_leave(made);
    }
    output_dir_free(made);
    made = begin(out, false, true, &had_leftovers); /* although the same process lives */
    EXPECT(made != NULL && had_leftovers);
    EXPECT(temp_file_is(temp_path(&dir, "out.partial/half"), "kept"));
    EXPECT(begin(out, false, true, NULL) == NULL && error.status == LLAVAMED_STATUS_OUT_BUSY);
    if (made != NULL) {
        EXPECT(output_dir_empty(made, &error) == LLAVAMED_OK);
        EXPECT(!temp_exists(temp_path(&dir, "out.partial/half")));
        EXPECT(output_dir_check_claim(made, &error) == LLAVAMED_OK);
        EXPECT(output_dir_abandon(made, &error) == LLAVAMED_OK);
    }
    output_dir_free(made);
    EXPECT(rmdir(dir.path) == 0); /* nothing else was left */
}

int main(void)
{
    CASE(claims_are_judged);
    CASE(zombies_are_dead);
    CASE(drafts_tell_of_whom_a_claim_is);
    CASE(signals_end_a_watch);
    CASE(signals_end_a_take_over);
    CASE(age_is_by_the_volumes_clock);
    CASE(a_claim_that_is_lost_is_noticed);
    CASE(a_claim_that_cannot_be_read_is_not_lost);
    CASE(a_young_heartbeat_is_waited_for);
    CASE(old_heartbeats_are_watched_first);
    CASE(what_is_left_can_be_kept);
    use_memory_volume();
    CASE(what_is_left_can_be_kept);
    CASE(one_of_two_wins);
    return harness_end();
}
