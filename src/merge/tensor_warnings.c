/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/tensor_warnings.h"

#include <stdio.h>

size_t tensor_warnings(const struct plan *plan, size_t index, const struct pipeline_tensor *outcome,
                       enum dtype converted_to, char texts[TENSOR_WARNINGS_MAX][TENSOR_WARNING_BYTES])
{
    const struct plan_tensor *tensor = &plan->tensors[index];
    bool makes_delta = plan->operation == PLAN_MAKE_DELTA;
    size_t n = 0;
    if (outcome->counts.n_nan + outcome->counts.n_infinite + outcome->n_overflow > 0) {
        (void)snprintf(texts[n++], TENSOR_WARNING_BYTES,
                       "%s: the %s holds %llu NaN and %llu infinite values (%llu values overflowed when converted "
                       "to %s)",
                       tensor->out.name, makes_delta ? "delta" : "result", (unsigned long long)outcome->counts.n_nan,
                       (unsigned long long)outcome->counts.n_infinite, (unsigned long long)outcome->n_overflow,
                       dtype_name(converted_to));
    }
    if (tensor->action == PLAN_INV_FREQ && outcome->counts.n_delta_zero < tensor->out.n_elems) {
        (void)snprintf(texts[n++], TENSOR_WARNING_BYTES,
                       "%s: the delta's rotary frequencies are not zero (%llu of %llu): %s; programs recompute them, "
                       "--inv-freq drop leaves them out",
                       tensor->out.name, (unsigned long long)(tensor->out.n_elems - outcome->counts.n_delta_zero),
                       (unsigned long long)tensor->out.n_elems,
                       makes_delta ? "base and target have others"
                                   : "not a plain delta, or one made with mixed versions");
    }
    for (size_t i = 0; i < n; i++) {
        llavamed_make_printable(texts[i]);
    }
    return n;
}

const char *unknown_base_warning(enum plan_operation operation)
{
    return operation == PLAN_MAKE_DELTA
               ? "the base is not identified as a published release: whoever applies the delta needs this very base"
               : "the base is not identified as a published release: make sure that it is the original LLaMA that the "
                 "delta was made from";
}
