/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of whole files, a few at once, with fixed memory (256 KiB a thread, for a file in an archive 600). */
#ifndef MERGE_HASH_FILES_H
#define MERGE_HASH_FILES_H

#include "integrity/digest.h"
#include "source/archive.h"

#define HASH_FILES_THREADS_MAX 4

struct hash_files_task {
    const char *path;
    const struct archive *archive; /* NULL: the file at `path`; else the member of it that is called `member` */
    const char *member;
    char *hex;     /* NULL, or SHA256_HEX_BYTES, written on success */
    char *git_hex; /* NULL, or GIT_BLOB_HEX_BYTES, written on success */
};

struct hash_files_options {
    unsigned n_threads; /* at most this many files at once, and HASH_FILES_THREADS_MAX */
    const volatile int *stop_signal; /* may be NULL; polled */
    bool from_storage; /* cached pages are dropped first */
    bool keep_cached;  /* pages stay in the cache: the same files will be read again at once */
    const struct llavamed_observer *observer; /* may be NULL; told about `check` */
    const char *check; /* as in struct llavamed_progress; static */
    uint64_t n_bytes;  /* of all files, for the observer; of a member what is stored in the archive */
};

/* Blocks until all are hashed, or one failed: the first error. What read_through() and zip_member.h give. */
enum llavamed_status hash_files(const struct hash_files_task *tasks, size_t n_tasks,
                                const struct hash_files_options *options, struct llavamed_error *error) LLAVAMED_CHECK;

/* Names of files in a directory; all borrowed. */
struct hash_files_names {
    const char *const *names;
    size_t n_names;
};

/*
 * Reads the files that DIRECTORY/SHA256SUMS names, but for `skipped` (NULL: none), back from storage and compares;
 * options->n_bytes is found out here. HASH_MISMATCH.
 */
enum llavamed_status hash_files_read_back(const char *directory, const struct hash_files_names *skipped,
                                          const struct hash_files_options *options,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

#endif
