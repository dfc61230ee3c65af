/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a plan when one of the sources is read from front to back (source/source.h). That source sets the order: its
 * elements are computed as they come, and written where they belong in shards that are all there from the start. So
 * no shard is made in file order; its SHA-256 comes from reading it back, where the CRC-32 of every tensor is
 * compared with that of the bytes computed. What the streams do not bring is made of ordinary tiles, from the other
 * source.
 */
#ifndef MERGE_PIPELINE_STREAM_H
#define MERGE_PIPELINE_STREAM_H

#include "merge/plan.h"
#include "source/source.h"

struct pipeline_frame; /* merge/pipeline_parts.h */

/*
 * Whether a plan can be run from these sources: LLAVAMED_OK when both are read in any order. INPUT_UNSUPPORTED: both
 * are read from front to back, or the base is and an embedding grew in width. USAGE: more shards than files may be open
 * at a time.
 */
enum llavamed_status pipeline_stream_check(const struct plan *plan, const struct source *base,
                                           const struct source *delta, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * For pipeline_run() alone, after pipeline_stream_check(). Reads every stream to its end, in the memory of the pool.
 * HASH_MISMATCH: what was read back is not what was written.
 */
enum llavamed_status pipeline_run_streams(struct pipeline_frame *frame, struct llavamed_error *error) LLAVAMED_CHECK;

#endif
