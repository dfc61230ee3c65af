/* SPDX-License-Identifier: Apache-2.0 */
/* From the figures of all sampled tensors to one verdict about base and delta, in words. Pure. */
#ifndef MERGE_CONTENT_VERDICT_H
#define MERGE_CONTENT_VERDICT_H

#include "core/error.h"
#include "merge/content_figures.h"

enum content_kind {
    CONTENT_Q,
    CONTENT_K,
    CONTENT_V,
    CONTENT_O,
    CONTENT_GATE,
    CONTENT_UP,
    CONTENT_DOWN,
    CONTENT_EMBED,
    CONTENT_HEAD,
    CONTENT_OTHER,
    CONTENT_NORM, /* vectors: sampled for their size alone */
    CONTENT_KIND_COUNT
};

#define CONTENT_NO_LAYER UINT64_MAX
#define CONTENT_LAYERS_MAX 1024 /* layers beyond are taken as none */

/* Role and layer of a tensor by its Hugging Face name. */
enum content_kind content_kind_of(const char *name, unsigned rank);
uint64_t content_layer_of(const char *name);

/* One matrix. */
struct content_sample {
    const char *name; /* borrowed */
    enum content_kind kind;
    uint64_t layer; /* or CONTENT_NO_LAYER */
    enum content_fit fit;
    bool is_f16; /* the figures were made in F16 */
    struct content_figures figures;
};

/* Sums of squares of finite elements, for the root mean square of a kind. */
struct content_squares {
    uint64_t n_elems;
    double base;
    double delta;
};

struct content_report {
    struct content_sample *samples; /* owned, in model order */
    size_t n_samples;
    struct content_squares squares[CONTENT_KIND_COUNT];
    bool is_part; /* some pieces were not there yet */
};

void content_report_deinit(struct content_report *report);

/* Magnitudes are compared only above these many elements of norms and of matrices. */
#define CONTENT_NORM_ELEMS_MIN 256
#define CONTENT_MATRIX_ELEMS_MIN 4096
/* RMS of delta over RMS of base, in norms and in matrices alike, that no update has; and that only an exchange has. */
#define CONTENT_FULL_RATIO 0.5
#define CONTENT_EXCHANGED_RATIO 4.0
/* Mean roundings over all near tensors, in F16 with nothing coarse, from which another fine-tune is refused. */
#define CONTENT_FINE_TUNE_RATE 0.01

enum content_cause {
    CONTENT_CAUSE_FITS,
    CONTENT_CAUSE_UNDECIDED, /* nothing could be judged: a warning */
    CONTENT_CAUSE_INEXACT,   /* the right base or something near it, not in every bit: a warning */
    CONTENT_CAUSE_FULL_DELTA,
    CONTENT_CAUSE_EXCHANGED,
    CONTENT_CAUSE_UNRELATED,
    CONTENT_CAUSE_ROTARY, /* q and k alone */
    CONTENT_CAUSE_LAYERS, /* whole layers, and others fit */
    CONTENT_CAUSE_SOME,   /* tensors without such a pattern */
    CONTENT_CAUSE_FINE_TUNE,
};

/* `text` and `hint` have no path, so that a manifest can repeat them; empty when everything fits. */
struct content_verdict {
    enum content_cause cause;
    enum llavamed_status status; /* LLAVAMED_OK, PAIR_WRONG_BASE or PAIR_FULL_DELTA */
    char text[LLAVAMED_PROBLEM_BYTES];
    char hint[LLAVAMED_PROBLEM_BYTES];
    size_t n_judged; /* matrices whose fit is known */
    size_t n_bad;
    size_t n_near;
    bool is_part;                 /* by an early test that did not have all pieces: more may change it */
    struct content_figures total; /* of the matrices that the verdict is about; of all judged when everything fits */
};

void content_decide(const struct content_report *report, struct content_verdict *verdict);

#endif
