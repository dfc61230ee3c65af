/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a delta fit a base? What can be counted in a sample of one tensor, and what it says. Pure: no reading, no words.
 *
 * A delta was made by subtraction, so for each element |delta| <= |base| / 2 tells that base and target lie within a
 * factor of two of each other: then (Sterbenz) the subtraction was exact and base + delta is the target, a number of
 * the dtype. With the right base the sums of these "eligible" elements therefore never need rounding, whatever the
 * weights and the update look like. With a base that knows nothing of the delta they do as often as in the control,
 * where the same base's elements meet the delta out of place. The derivation, and what copies in another dtype do to
 * it, with error rates: docs/content-test.md.
 */
#ifndef MERGE_CONTENT_FIGURES_H
#define MERGE_CONTENT_FIGURES_H

#include "kernel/kernel.h"

/* Elements in one piece of a sample; larger pieces are not accepted. */
#define CONTENT_PIECE_ELEMS 8192

/* Fewer roundings than this in the control decide nothing: 400 make each rate good to 5 %. */
#define CONTENT_CONTROL_MIN 400
/* Roundings, per eligible element, above which a base is not the one in every bit. The right one has 0. */
#define CONTENT_NEAR_RATE 0.005
/* From here on a base is a stranger: roundings as a fraction of the control's. Copies of the right one stay below 0.5.
 */
#define CONTENT_BAD_RATIO 0.65
/* Last bits that are 1: about 0.5 in a delta that was rounded to its dtype after the subtraction; it decides nothing.
 */
#define CONTENT_ODD_MAX 0.4
/* At most this part of the values has one of its last three bits set: an F16 tensor that came through BF16. */
#define CONTENT_COARSE_MAX 0.01

struct content_figures {
    uint64_t n_elems;
    uint64_t n_nonzero;          /* deltas that are finite and not zero */
    uint64_t n_odd;              /* of these, with a last bit of 1 */
    uint64_t n_delta_fine;       /* of these, with one of the last three bits set */
    uint64_t n_base_fine;        /* elements of base with one of the last three bits set */
    uint64_t n_eligible;         /* 0 < |delta| <= |base| / 2, base finite */
    uint64_t n_rounded;          /* of these, sums that the dtype cannot hold */
    uint64_t n_control_eligible; /* the same two with base turned by half a piece */
    uint64_t n_control_rounded;
};

/* Four buffers of CONTENT_PIECE_ELEMS uint32_t each are what a scratch holds. */
#define CONTENT_SCRATCH_BYTES ((size_t)CONTENT_PIECE_ELEMS * 2 * sizeof(uint32_t))

/*
 * Adds a piece to *figures: n_elems (at most CONTENT_PIECE_ELEMS) elements of base and delta, both of `type`, which is
 * F16, BF16 or F32; aligned for their type. `scratch` has CONTENT_SCRATCH_BYTES.
 */
void content_figures_add(struct content_figures *figures, const struct kernel_set *kernels, enum kernel_type type,
                         const void *base, const void *delta, size_t n_elems, void *scratch);

enum content_fit {
    CONTENT_FIT_UNKNOWN, /* nothing to judge by */
    CONTENT_FIT_GOOD,
    CONTENT_FIT_NEAR, /* no stranger, and not the same bits */
    CONTENT_FIT_BAD,  /* no better than chance */
    CONTENT_FIT_COUNT
};

enum content_fit content_figures_judge(const struct content_figures *figures);

/* n_rounded / n_eligible and the control's; 0 when nothing is eligible. */
double content_rate(const struct content_figures *figures);
double content_control_rate(const struct content_figures *figures);

/* Whether base or delta hold values of a shorter type in F16: then a near fit has an innocent cause. */
bool content_is_coarse(const struct content_figures *figures);

#endif
