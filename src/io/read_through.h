/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading whole files from front to back, several at a time, each by one reader: for hashes that eat a file in order.
 * The calling thread waits and tells an observer how far they are. Memory is fixed: a chunk for each reader.
 */
#ifndef IO_READ_THROUGH_H
#define IO_READ_THROUGH_H

#include "io/input_file.h"

#define READ_THROUGH_READERS_MAX 8

struct read_through {
    void *state; /* of the caller, given to every call; readers are numbered from 0 */
    size_t n_files;
    unsigned n_readers;              /* 1 to READ_THROUGH_READERS_MAX; fewer when the system grants no more threads */
    size_t chunk_bytes;              /* for each reader */
    const volatile int *stop_signal; /* may be NULL; polled */
    bool from_storage;               /* cached pages are dropped first */
    bool keep_cached;                /* pages stay in the cache: the same files will be read again at once */
    const struct llavamed_observer *observer; /* may be NULL: told at the start, some five times a second, at the end */
    const char *check;                        /* as in struct llavamed_progress; static */
    uint64_t total_bytes;                     /* of all files, for the observer */

    /* NULL: this file is not to be read. */
    const char *(*path)(void *state, size_t file);
    /* On the reader's thread, in this order for each file. end() comes after all bytes; the file did not change. */
    enum llavamed_status (*begin)(void *state, unsigned reader, size_t file, uint64_t n_bytes,
                                  struct llavamed_error *error);
    enum llavamed_status (*feed)(void *state, unsigned reader, const void *bytes, size_t n_bytes,
                                 struct llavamed_error *error);
    enum llavamed_status (*end)(void *state, unsigned reader, size_t file, struct llavamed_error *error);
};

/* Blocks. The first error of any: of opening and reading, INPUT_CHANGED, of the calls, INTERRUPTED, NO_MEMORY. */
enum llavamed_status read_through(const struct read_through *job, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
