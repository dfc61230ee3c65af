/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claim file of a directory in which a run works: who it is, so that a later run can tell a dead one from a live
 * one. No lock, which network file systems do not all know and which says nothing after a crash.
 */
#ifndef MERGE_CLAIM_H
#define MERGE_CLAIM_H

#include "core/error.h"

#define CLAIM_BYTES_MAX 4096

enum claim_owner {
    CLAIM_NONE,    /* no claim file */
    CLAIM_ALIVE,   /* the process runs on this host */
    CLAIM_DEAD,    /* it ran on this host and is gone: no such process, another one with its number, another boot */
    CLAIM_UNKNOWN, /* another host, another pid namespace, or a claim that cannot be read */
};

struct claim {
    enum claim_owner owner;
    uint64_t pid;               /* 0 when unknown */
    char host[256];             /* printable; empty when unknown */
    char text[CLAIM_BYTES_MAX]; /* the file's bytes, NUL-terminated; empty when unreadable */
};

/* Reads and judges the claim file at `path`. An unreadable one is CLAIM_UNKNOWN, not an error. NO_MEMORY. */
enum llavamed_status claim_read(const char *path, struct claim *claim, struct llavamed_error *error) LLAVAMED_CHECK;

/* Creates the claim file of this process. OUT_EXISTS when somebody else's is there; OUT_SPACE, OUT_UNWRITABLE. */
enum llavamed_status claim_write(const char *path, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
