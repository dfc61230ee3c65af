/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of llavamed_inspect(); for src/inspect alone. Each fills its part of the result from an open source. */
#ifndef INSPECT_INSPECT_PARTS_H
#define INSPECT_INSPECT_PARTS_H

#include "source/source.h"

/* Layout, shards, tensors, dtypes and what they add up to. NO_MEMORY. */
enum llavamed_status inspect_list(const struct source *source, struct llavamed_inspect_result *result,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * What recorded hashes say of the shards, which result->shards holds by then: sha256, recorded_in and release of each,
 * and the release of all. A hash that names a release is preferred where several are recorded.
 */
void inspect_identify(const struct source *source, struct llavamed_inspect_result *result);

/* The config, and all that is odd; the rest of the result is there by then. NO_MEMORY, and what reading gives. */
enum llavamed_status inspect_remark(const struct source *source, struct llavamed_inspect_result *result,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Digests and statistics of all tensors, which result->tensors holds by then, as the settings ask for them. Of these
 * n_threads is the number wanted, not 0. After a failure there are none. What tensor_pass_run() gives.
 */
enum llavamed_status inspect_elements(struct source *source, const struct llavamed_inspect_settings *settings,
                                      const struct llavamed_observer *observer, struct llavamed_inspect_result *result,
                                      struct llavamed_error *error) LLAVAMED_CHECK;

#endif
