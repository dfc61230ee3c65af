/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in files: the reading that integrity/ec_key.h leaves to others. */
#ifndef MERGE_KEY_FILE_H
#define MERGE_KEY_FILE_H

#include "integrity/ec_key.h"

/*
 * The key in the PEM file at `path`; *key is the caller's. What was read of a private one is overwritten before its
 * memory is given back. INPUT_MISSING, INPUT_UNREADABLE (also for what is no plain file), INPUT_LIMIT; KEY_INVALID as
 * ec_key_read_private() and ec_key_read_public().
 */
enum llavamed_status key_file_read_private(const char *path, struct ec_key **key,
                                           struct llavamed_error *error) LLAVAMED_CHECK;
enum llavamed_status key_file_read_public(const char *path, struct ec_key **key,
                                          struct llavamed_error *error) LLAVAMED_CHECK;

#endif
