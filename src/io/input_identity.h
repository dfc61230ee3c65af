/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file an input was when it was first seen, and in what state: a name that is opened again later may lead to
 * another file by then.
 */
#ifndef IO_INPUT_IDENTITY_H
#define IO_INPUT_IDENTITY_H

#include "io/input_file.h"

#include <sys/stat.h>

struct input_identity {
    bool is_known; /* else any file will do: nothing was there, or it lies in an archive */
    uint64_t device;
    uint64_t inode;
    uint64_t n_bytes;
    uint64_t modified_ns; /* since 1970, modulo 2^64 */
};

/* Of a regular file; of anything else it is not known. */
struct input_identity input_identity_of(const struct stat *info);

/* Of a whole file, as it was when it was opened. */
struct input_identity input_identity_of_file(const struct input_file *file);

/* INPUT_CHANGED unless the file that was opened is the one that was seen, as it was then. */
enum llavamed_status input_identity_check_file(const struct input_identity *seen, const struct input_file *file,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

/* The same for what is at `path` now; what cannot be looked at: the failures of input_file_open(). */
enum llavamed_status input_identity_check(const struct input_identity *seen, const char *path,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

#endif
