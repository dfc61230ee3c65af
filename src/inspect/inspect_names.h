/* SPDX-License-Identifier: Apache-2.0 */
/* What is odd about the names and shapes of a model's tensors: layers that are missing, tensors nobody knows... */
#ifndef INSPECT_INSPECT_NAMES_H
#define INSPECT_INSPECT_NAMES_H

#include "core/warnings.h"
#include "tensor/tensor.h"

/* Adds notes; NO_MEMORY is for the list of layers, that of a note is sticky in `notes`. O(n log n). */
enum llavamed_status inspect_names(const struct tensor_set *set, struct warnings *notes,
                                   struct llavamed_error *error) LLAVAMED_CHECK;

#endif
