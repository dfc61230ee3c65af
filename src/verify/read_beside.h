/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_files() on a thread of its own, while the calling thread does something else with an observer of its own. Nobody
 * is told anything from that thread: how far it is, and which files it has read, is told from read_beside_wait().
 */
#ifndef VERIFY_READ_BESIDE_H
#define VERIFY_READ_BESIDE_H

#include "verify/read_files.h"

struct read_beside; /* opaque */

/*
 * Begins. The job is borrowed until read_beside_wait(), its observer is not called before. false, and nothing is begun:
 * there is no thread or no memory for it; read_files() will do.
 */
bool read_beside_start(struct read_files *job, struct read_beside **out);

/* Waits for the end, which it tells of, and frees `beside`. What read_files() gives. */
enum llavamed_status read_beside_wait(struct read_beside *beside, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
