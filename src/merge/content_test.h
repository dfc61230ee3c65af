/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging by content, before anything is written, whether a delta was made from a base: a sample of every matrix is
 * read, the kernels add it in scratch, and the figures are judged (merge/content_figures.h, merge/content_verdict.h).
 *
 * What is read follows from the plan alone, so the verdict depends neither on threads nor on memory: two pieces of
 * CONTENT_PIECE_ELEMS elements of each matrix (four of embeddings and head, where many rows may be untouched), and the
 * norm vectors; at most CONTENT_MATRICES_MAX matrices and as many vectors. That is 15 MB of a 7B model's files.
 */
#ifndef MERGE_CONTENT_TEST_H
#define MERGE_CONTENT_TEST_H

#include "merge/content_verdict.h"
#include "merge/plan.h"
#include "source/source.h"

#define CONTENT_MATRICES_MAX 1024

/*
 * A source that is read from front to back cannot be sampled before it is read: content_announce() has the pieces kept
 * when they come by (source_keep()), content_test() then judges what source_has() by then.
 */
struct content_job {
    const struct plan *plan;
    struct source *base;
    struct source *delta;
    const struct kernel_set *kernels;
    bool allow_unknown_base;
    bool early; /* a look at what is there so far: another test follows */
    const volatile int *stop_signal; /* may be NULL; polled between two pieces */
};

/*
 * An early test that has every piece is final. Otherwise (verdict->is_part) it judges the matrices of which every piece
 * is there. It refuses when these are at least so many, and not for a base that is near: more of it may change that
 * verdict. It is LLAVAMED_OK then, and has a text all the same unless nothing could be judged.
 */
#define CONTENT_EARLY_MATRICES_MIN 4

/* NO_MEMORY. Nothing to do when both sources are read in any order. */
enum llavamed_status content_announce(const struct content_job *job, struct llavamed_error *error) LLAVAMED_CHECK;

/*
 * Reads with source_peek(), on this thread, in less than 1 MiB of memory. PAIR_WRONG_BASE and PAIR_FULL_DELTA, with the
 * figures and the tensors listed in error->problems; with allow_unknown_base these are LLAVAMED_OK and
 * *verdict says what would have been refused; INTERRUPTED. verdict->text, when not empty on success, is a warning.
 */
enum llavamed_status content_test(const struct content_job *job, struct content_verdict *verdict,
                                  struct llavamed_error *error) LLAVAMED_CHECK;

#endif
