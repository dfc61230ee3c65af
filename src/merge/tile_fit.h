/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of an interrupted run that are larger than this run's. */
#ifndef MERGE_TILE_FIT_H
#define MERGE_TILE_FIT_H

#include "merge/pipeline.h"

/*
 * Before any tile is made: entries of the journal with more elements than a tile of this run can have (it has less
 * memory, or more workers) are read back here, and those that are right are cut into such as it can have. The others
 * are forgotten: their tiles are computed again. `buffer` has tile_bytes of the job. Nothing is written. Without a
 * journal, or when all entries fit, nothing is read. INTERRUPTED, NO_MEMORY.
 */
enum llavamed_status tile_fit_kept(const struct pipeline_job *job, void *buffer,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

#endif
