/* SPDX-License-Identifier: Apache-2.0 */
/* The small text that a clone without Git LFS holds in place of a large file (git-lfs, docs/spec.md). */
#ifndef SOURCE_LFS_POINTER_H
#define SOURCE_LFS_POINTER_H

#include <stdbool.h>
#include <stddef.h>

/* Whether these are the first bytes of one. */
bool lfs_pointer_begins(const char *bytes, size_t n_bytes);

/* Whether the file at `path` is one; a file that cannot be read is none: whoever needs it says what is wrong. */
bool lfs_pointer_is(const char *path);

#endif
