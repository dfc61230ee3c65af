/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a regular file at any position, from several threads. Only pread(2): no mmap, which network file systems
 * serve at a crawl and which turns a shrinking file into SIGBUS.
 */
#ifndef IO_INPUT_FILE_H
#define IO_INPUT_FILE_H

#include "core/error.h"

#include <sys/uio.h>

struct input_file; /* opaque */

/*
 * Opens `path` for reading; *out is owned by the caller. INPUT_MISSING, INPUT_UNREADABLE (also for a directory, a
 * device, a FIFO: opened O_NONBLOCK and refused unless regular), IO or NO_MEMORY.
 */
enum llavamed_status input_file_open(const char *path, struct input_file **out,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same, but a symbolic link is not followed (INPUT_UNREADABLE), and messages call the file `name`: for a directory
 * in which nothing but plain files belongs.
 */
enum llavamed_status input_file_open_plain(const char *path, const char *name, struct input_file **out,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/* The failure of opening `path`, or of looking at it, by its errno: one of those of input_file_open(). */
enum llavamed_status input_file_fail_open(struct llavamed_error *error, int errno_value, const char *path);

/*
 * Whether reading failed by what happened to this run (IO, NO_MEMORY, INPUT_CHANGED), not by what the file is. Whoever
 * does without a file that is missing or of no use must not do without one for that.
 */
bool input_file_is_failure(enum llavamed_status status);

/*
 * The bytes [offset, offset + n_bytes) of the file at `path`, seen as a file of their own that is called `name`: a
 * stored member of an archive. Positions count from `offset`. As input_file_open(); INPUT_TRUNCATED when the file is
 * shorter than that.
 */
enum llavamed_status input_file_open_part(const char *path, const char *name, uint64_t offset, uint64_t n_bytes,
                                          struct input_file **out, struct llavamed_error *error) LLAVAMED_CHECK;

/* Some bytes of a file that are kept in memory. */
struct input_run {
    uint64_t offset;
    const void *bytes;
    size_t n_bytes;
};

/*
 * A file of file_bytes bytes that is called `name` and of which only the runs are there, sorted by offset and without
 * overlap: what somebody kept of a file that is gone by, or all of a small one. The runs are copied, what they point at
 * is borrowed until the file is closed. Reading anything else is INPUT_TRUNCATED.
 */
enum llavamed_status input_file_open_memory(const char *name, uint64_t file_bytes, const struct input_run *runs,
                                            size_t n_runs, struct input_file **out,
                                            struct llavamed_error *error) LLAVAMED_CHECK;

void input_file_close(struct input_file *file); /* NULL is fine */

/*
 * Has reading end as INTERRUPTED as soon as *stop_signal (borrowed; NULL: not any more) is not 0: for as long as a
 * thread alone reads one small piece after the other, none of which is worth finishing.
 */
void input_file_heed(struct input_file *file, const volatile int *stop_signal);

const char *input_file_path(const struct input_file *file); /* or its name; lives as long as file */
uint64_t input_file_bytes(const struct input_file *file);   /* size when opened */
uint64_t input_file_device(const struct input_file *file);  /* of a part: those of the file it is in; */
uint64_t input_file_inode(const struct input_file *file);   /* in memory: 0 */
/* When it was last modified, at opening: ns since 1970 modulo 2^64. Of a part, in memory: as above. */
uint64_t input_file_modified_ns(const struct input_file *file);

/*
 * Reads exactly n_bytes at `offset`, retrying short reads and EINTR. Thread-safe. INPUT_TRUNCATED when the range
 * leaves the size at opening; INPUT_CHANGED when the file ends earlier than it did; IO for a failed read. The pages
 * read are given back to the system when the file was not in the page cache at opening: the cache is left as it was
 * found.
 */
enum llavamed_status input_file_read(struct input_file *file, uint64_t offset, void *buffer, size_t n_bytes,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The same, scattered: the bytes from `offset` on fill the pieces one after the other, with one system call per 1024
 * pieces. No piece may be empty.
 */
enum llavamed_status input_file_read_pieces(struct input_file *file, uint64_t offset, const struct iovec *pieces,
                                            size_t n_pieces, struct llavamed_error *error) LLAVAMED_CHECK;

/* As input_file_read(), but the pages stay in the cache: for small reads whose neighbours will be wanted soon. */
enum llavamed_status input_file_read_near(struct input_file *file, uint64_t offset, void *buffer, size_t n_bytes,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

/* Drops the file's cached pages, as far as the system does: what is read next comes from storage. */
void input_file_drop_cache(struct input_file *file);

/*
 * The same for the file at `path` when little of it is in the cache: then what is there are scattered pages of a look
 * that somebody took, at each of which Linux falls back to reading ahead in single pages instead of large folios. Never
 * fails: what cannot be opened is told by whoever needs it.
 */
void input_file_drop_sparse(const char *path);

/*
 * INPUT_CHANGED when size, modification time or inode differ from those at opening; for a part, those of the whole file
 * it is in. What is in memory does not change.
 */
enum llavamed_status input_file_check_unchanged(struct input_file *file, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * All of a small file into memory: *bytes is owned by the caller, NUL-terminated (the NUL not counted). INPUT_LIMIT
 * above max_bytes.
 */
enum llavamed_status input_file_read_all(struct input_file *file, size_t max_bytes, char **bytes, size_t *n_bytes,
                                         struct llavamed_error *error) LLAVAMED_CHECK;

/* The same of the file at `path`. */
enum llavamed_status input_file_read_whole(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

#endif
