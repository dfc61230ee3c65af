/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of a source held against those that come out of a derivation, bit for bit, as a sink of its pipeline:
 * pieces may come in any order and on several threads; what is found does not depend on it.
 */
#ifndef VERIFY_COMPARE_TENSORS_H
#define VERIFY_COMPARE_TENSORS_H

#include <pthread.h>

#include "merge/pipeline.h"
#include "verify/element_text.h"

/* A tensor of the plan. */
struct compared_tensor {
    size_t held;          /* index into the source's tensors; TENSOR_NOT_FOUND: there is none of this name */
    bool is_compared;     /* it has the same dtype and shape */
    uint64_t n_different; /* elements */
    uint64_t first;       /* of them */
    uint8_t got[ELEMENT_BYTES_MAX];
    uint8_t want[ELEMENT_BYTES_MAX];
};

struct tensor_comparison {
    const struct plan *plan; /* borrowed */
    struct source *held;     /* borrowed; read in any order */
    struct compared_tensor *rows; /* owned; as plan->tensors */
    bool *is_wanted;              /* owned; of each tensor of the source: the plan has one of its name */
    pthread_mutex_t mutex;
    bool has_mutex;
};

/* NO_MEMORY: nothing is to be released. */
enum llavamed_status tensor_comparison_init(struct tensor_comparison *comparison, const struct plan *plan,
                                            struct source *held, struct llavamed_error *error) LLAVAMED_CHECK;
void tensor_comparison_deinit(struct tensor_comparison *comparison); /* all zero is fine */

/* Takes the elements of all tensors of the plan. Fails as reading the source does. Borrows the comparison. */
struct pipeline_sink tensor_comparison_sink(struct tensor_comparison *comparison);

#endif
