/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading whole files from front to back, several at a time, each by one reader: for hashes that eat a file in order.
 * The calling thread waits and tells an observer how far they are. Memory is fixed: a chunk for each reader.
 */
#ifndef IO_READ_THROUGH_H
#define IO_READ_THROUGH_H

#include "io/input_file.h"

#define READ_THROUGH_READERS_MAX 8

/*
 * How a file is read whose bytes are not those of a file on disk, such as one that lies in an archive. One reader at a
 * time; close() is called once, after whatever happened.
 */
struct read_through_content {
    void *state;      /* given to every call; not NULL */
    uint64_t n_bytes; /* of the content */
    /* The next n_bytes. *n_taken becomes the bytes read from storage meanwhile, as in finish(): for the observer. */
    enum llavamed_status (*read)(void *state, void *buffer, size_t n_bytes, uint64_t *n_taken,
                                 struct llavamed_error *error);
    /* After all of them: that they are sound, and that what they came from did not change. */
    enum llavamed_status (*finish)(void *state, uint64_t *n_taken, struct llavamed_error *error);
    void (*close)(void *state);
};

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
    /*
     * May be NULL: every file is opened by its path. Else it opens a file that is read in another way, and leaves
     * content->state NULL for those that are not. On the reader's thread.
     */
    enum llavamed_status (*open)(void *state, size_t file, struct read_through_content *content,
                                 struct llavamed_error *error);
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
