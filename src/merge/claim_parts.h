/* SPDX-License-Identifier: Apache-2.0 */
/* What claim.c and claim_read.c share. */
#ifndef MERGE_CLAIM_PARTS_H
#define MERGE_CLAIM_PARTS_H

#include "merge/claim.h"

#define CLAIM_FORMAT "llavamed-claim"
#define CLAIM_START "{\"format\": \"" CLAIM_FORMAT "\", " /* of every claim */

/* Who this process is. What /proc does not tell is empty or 0, and equal for all processes of such a host. */
struct claim_identity {
    char host[256];
    char boot_id[64];
    char pid_namespace[64];
    char time_namespace[64]; /* start times are told in that of who reads them */
    uint64_t start_time; /* clock ticks after boot */
};

/* 0, or the errno of what /proc has and could not tell just now: a claim without it would stand in this host's way. */
int claim_identify(struct claim_identity *me);

/*
 * The bytes of a claim file and its time, both of one open file, since the name may get another one in between. Opening
 * also has network file systems ask the server instead of their memory. text[CLAIM_BYTES_MAX]. 0, or an errno.
 */
int claim_load(const char *path, char *text, size_t *n_bytes, int64_t *time_ns);

/* claim_read() without a second look. */
enum llavamed_status claim_read_once(const char *path, struct claim *claim,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/* Nothing, zeros, or a claim that breaks off: what a run leaves that ends between creating a claim and writing it. */
bool claim_is_unwritten(const struct claim *claim);

#endif
