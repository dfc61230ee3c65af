/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The elements of a result without the result: BASE + DELTA as llavamed_merge() computes them, or those of another
 * checkpoint, handed piece by piece to whoever wants to compare. Nothing is written.
 */
#ifndef MERGE_DERIVATION_H
#define MERGE_DERIVATION_H

#include "merge/pipeline.h"

struct derivation; /* opaque */

/*
 * BASE + DELTA: base, delta, dtype, inv_freq, verify, sums, cpu, max_memory_bytes, n_threads and stop_signal of the
 * settings are looked at. Opens both, plans, and checks what llavamed_merge() checks before it writes, with what it
 * gives; but not whether the contents say that base and delta belong together: what comes out says more. Settings and
 * observer (progress, warning, note; may be NULL) are borrowed until derivation_close(). *out is owned by the caller.
 */
enum llavamed_status derivation_open_merge(const struct llavamed_settings *settings,
                                           const struct llavamed_observer *observer, struct derivation **out,
                                           struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * The tensors of settings->delta as they are, but for those of a dtype that is not of whole bytes; `role` is what
 * messages call it. `other` is any source that is read in any order; borrowed, as are settings and observer.
 */
enum llavamed_status derivation_open_copy(const struct llavamed_settings *settings, const char *role,
                                          struct source *other, const struct llavamed_observer *observer,
                                          struct derivation **out, struct llavamed_error *error) LLAVAMED_CHECK;

void derivation_close(struct derivation *derivation); /* NULL is fine */

/* What comes out: its tensors are those that the sink gets. Borrowed. */
const struct plan *derivation_plan(const struct derivation *derivation);

/* All tensors that are copied, or that went into the plan: those of the delta. Borrowed. */
const struct tensor_set *derivation_tensors(const struct derivation *derivation);

/* Whether the tensors are those of a merge. */
bool derivation_is_merge(const struct derivation *derivation);

/*
 * Computes everything, once: CRC-32s and recorded hashes of the inputs are checked along the way, as in a merge. What
 * llavamed_merge() gives for its inputs, and what the sink gives.
 */
enum llavamed_status derivation_run(struct derivation *derivation, const struct pipeline_sink *sink,
                                    struct llavamed_error *error) LLAVAMED_CHECK;

/* Bytes of the inputs that were read so far, and of the buffers that the run has. */
uint64_t derivation_bytes_read(const struct derivation *derivation);
uint64_t derivation_buffer_bytes(const struct derivation *derivation);

#endif
