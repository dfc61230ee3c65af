/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claim file of a directory in which a run works: who it is, so that a later run can tell a dead one from a live
 * one. No lock, which network file systems do not all know and which says nothing after a crash.
 *
 * A claim is a small JSON object: host, boot id, pid namespace, pid and start time of the process, and a random nonce
 * that makes every claim unlike any other. Its modification time is the owner's heartbeat.
 *
 * Who may go on is decided by creating a file that must not exist yet, which every file system does for one alone: the
 * claim itself, or, where a dead claim lies, its successor, whose name is made from the dead claim's bytes. A successor
 * that died in its turn has successors too. The live one at the end of that chain is renamed over the dead claim.
 *
 * What changes a claim goes by the descriptor of a file whose bytes were compared, so that a run that was stopped for
 * long and taken over never touches the claim of another one.
 */
#ifndef MERGE_CLAIM_H
#define MERGE_CLAIM_H

#include <sys/types.h>

#include "core/error.h"

#define CLAIM_BYTES_MAX 4096
#define CLAIM_HEARTBEAT_S 2  /* a claim is touched this often at most... */
#define CLAIM_PATIENCE_S 120 /* ...and one of which nothing else can be known counts as dead after this */

/* Hex digits unlike any others, for the names of drafts. */
#define CLAIM_NONCE_BYTES 33
void claim_make_nonce(char hex[CLAIM_NONCE_BYTES]);

enum claim_owner {
    CLAIM_NONE,    /* no claim file */
    CLAIM_ALIVE,   /* the process runs on this host */
    CLAIM_DEAD,    /* it ran on this host and is gone (no such process, another one with its number, a zombie), or it
                      let go */
    CLAIM_REBOOT,  /* it ran on a host of this name before another boot; dead, unless two hosts have one name */
    CLAIM_REMOTE,  /* another host, another pid namespace, a process that /proc hides: only its heartbeat tells */
    CLAIM_FOREIGN, /* not a claim of this program */
};

struct claim {
    enum claim_owner owner;
    uint64_t pid;    /* 0 when unknown */
    char host[256];  /* printable; empty when unknown */
    int64_t beat_ns; /* modification time, by the file system's clock */
    size_t n_bytes;
    char text[CLAIM_BYTES_MAX]; /* the file's bytes, NUL-terminated; empty when unreadable */
};

/*
 * Reads and judges the claim file at `path`. What is no whole claim yet (nothing, zeros, the beginning of one) is
 * judged by the drafts beside it, one of which is its owner's; without any, as a power failure leaves it, it is
 * CLAIM_REMOTE. Anything else that is not a claim is CLAIM_FOREIGN; neither is an error. IO, NO_MEMORY: it cannot be
 * read now, and whose it is cannot be told.
 */
enum llavamed_status claim_read(const char *path, struct claim *claim, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Creates the claim file of this process, complete from the first instant where the file system knows hard links; where
 * it does not, with a complete draft beside it until it is.
 * text[CLAIM_BYTES_MAX] becomes its bytes, by which claim_is() knows it again. OUT_EXISTS when somebody else's is
 * there; OUT_SPACE, OUT_UNWRITABLE; IO, NO_MEMORY when it cannot be read again. Uses names that begin with `path`
 * without its ".json".
 */
enum llavamed_status claim_write(const char *path, char *text, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Puts a claim of this process in the place of a dead one. Of all that find the same dead claim one alone succeeds; the
 * others get OUT_BUSY and in *seen the claim that is in their way (CLAIM_NONE: it is gone again). Successors of other
 * hosts are watched, one after the other: INTERRUPTED, and nothing changed, as soon as *stop_signal (may be NULL) is
 * not 0.
 */
enum llavamed_status claim_replace(const char *path, const struct claim *dead, const volatile int *stop_signal,
                                   char *text, struct claim *seen, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * What time it is by the clock of the file system: that of a file made for it beside the claim, which is gone again
 * afterwards. false when no file can be made there.
 */
bool claim_clock(const char *path, int64_t *now_ns);

/* The age of a claim's heartbeat in seconds, by that clock. Negative for a time to come. */
bool claim_age(const char *path, const struct claim *claim, double *seconds);

/*
 * Whether what belongs to `owner` is this process's, as a file is that it makes beside `path`: servers give what root
 * makes to nobody, and some mounts give everything to one user. false when no file can be made there.
 */
bool claim_owner_is_own(const char *path, uid_t owner);

/*
 * Waits for a sign of life: true as soon as the claim changes or vanishes, false after somewhat more than a beat, or as
 * soon as *stop_signal (may be NULL) is not 0.
 */
bool claim_watch(const char *path, const struct claim *claim, const volatile int *stop_signal);

/* What a claim looked like, to see later whether its owner lives. */
struct claim_sight {
    char *path; /* both owned */
    char *text;
    size_t n_bytes;
    int64_t beat_ns;
};

/* NO_MEMORY; *sight is the caller's to claim_sight_deinit() in any case. */
enum llavamed_status claim_sight_take(const char *path, const struct claim *claim, struct claim_sight *sight,
                                      struct llavamed_error *error) LLAVAMED_CHECK;
void claim_sight_deinit(struct claim_sight *sight);

/* Whether a claim still is as it was seen. */
bool claim_sight_holds(const struct claim_sight *sight);

/* Lets as long go by as a heartbeat takes, unless *stop_signal (may be NULL) becomes other than 0. */
void claim_wait_beat(const volatile int *stop_signal);

/* Touches the claim with these bytes, which are of this process; false when it is not there any more. */
bool claim_beat(const char *path, const char *text);

/* Lets go of the claim with these bytes, which stays: whoever comes next need not wait for its heartbeat to grow old.
 */
void claim_release(const char *path, const char *text);

/*
 * Whether the file at `path` is the claim with these bytes. IO, NO_MEMORY: as for claim_read(), and *same is false; the
 * short form takes that for "no", which does for what is left undone then.
 */
enum llavamed_status claim_compare(const char *path, const char *text, bool *same,
                                   struct llavamed_error *error) LLAVAMED_CHECK;
bool claim_is(const char *path, const char *text);

/* The same for a claim as it was read, be it a whole one or not. */
bool claim_same(const char *path, const struct claim *claim);

#endif
