/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads every wanted file of the table once, from front to back: SHA-256 of the file, CRC-32 of the tensors in it, and
 * the digests of those that the manifest has a digest of. A file is read by one worker, several files at a time, the
 * largest first, so that the last ones to end are small.
 */
#ifndef VERIFY_READ_FILES_H
#define VERIFY_READ_FILES_H

#include "verify/file_table.h"

struct read_files {
    const char *dir;
    struct file_table *table;
    const struct recorded_output *manifest; /* empty when there is none */
    unsigned n_threads;        /* 0: one per usable core; never more than files */
    uint64_t max_memory_bytes; /* of all chunks */
    bool keep_cached;          /* pages stay in the cache: the files will be read again at once */
    const volatile int *stop_signal;
    const struct llavamed_observer *observer; /* may be NULL */
    uint64_t read_bytes;                      /* in and out: grows */
    uint64_t buffer_bytes;                    /* out */
    unsigned n_workers;                       /* out */
};

/*
 * What cannot be read is noted in the file's row, and the others are read on. MEMORY_TOO_SMALL before anything is read;
 * NO_MEMORY, INTERRUPTED, INTERNAL.
 */
enum llavamed_status read_files(struct read_files *job, struct llavamed_error *error) LLAVAMED_CHECK;

/* Tells an observer (may be NULL) of all weights files that were read, as read_files() does when each is. */
void read_files_tell(const struct file_table *table, const struct llavamed_observer *observer);

#endif
