/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exact delta says of the model that it was made of: the CRC-32 of each tensor whose bits it holds differences
 * of, in the llavamed-manifest.json beside it (docs/manifest.md, target_crc32). Bits added to any other base give
 * numbers too, and nothing else tells that they are without sense.
 */
#ifndef MERGE_TARGET_SUMS_H
#define MERGE_TARGET_SUMS_H

#include "merge/pipeline.h"
#include "merge/plan.h"
#include "source/source.h"

#define TARGET_SUMS_BYTES_MAX ((size_t)256 << 20)

struct target_sums {
    uint32_t *crc32; /* owned; of each tensor of the delta; NULL: nothing was read */
    bool *is_known;  /* owned; whether there is one */
    size_t n_wanted;  /* tensors of the plan that come about by adding bits */
    size_t n_known;   /* of these, those whose CRC-32 is known */
};

void target_sums_deinit(struct target_sums *sums);

/*
 * Reads the manifest among the delta's small files, if the plan is a merge that adds bits. One that is not there, or
 * cannot be read as one, tells nothing; `why` (LLAVAMED_MESSAGE_BYTES) then says so, and is empty otherwise.
 * NO_MEMORY, IO. O(manifest) memory and time.
 */
enum llavamed_status target_sums_read(const struct source *delta, const struct plan *plan, struct target_sums *sums,
                                      char *why, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Holds a result against it, all of the plan or of a part of it. PAIR_WRONG_BASE lists the tensors that are not what
 * they were; `base` and `delta` are what messages call them.
 */
enum llavamed_status target_sums_check(const struct target_sums *sums, const struct plan *plan,
                                       const struct pipeline_outcome *outcome, const char *base, const char *delta,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

#endif
