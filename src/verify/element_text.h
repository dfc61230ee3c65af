/* SPDX-License-Identifier: Apache-2.0 */
/* One element of a tensor, and where it is, for people. */
#ifndef VERIFY_ELEMENT_TEXT_H
#define VERIFY_ELEMENT_TEXT_H

#include "tensor/tensor.h"

#define ELEMENT_BYTES_MAX 8 /* of any dtype */
#define ELEMENT_TEXT_BYTES 96

/*
 * Value and bits, "0.0999755859 0x2e66": of floating-point numbers as many digits as tell them apart, of integers all.
 * Of complex numbers and of types of a byte the bits alone. `bytes` are little-endian, of a dtype of whole bytes.
 */
void element_text(enum dtype dtype, const uint8_t *bytes, char text[ELEMENT_TEXT_BYTES]);

/* "[1, 2]" of element `flat`, counted row by row; "[]" of a scalar. */
void element_index_text(const struct tensor *tensor, uint64_t flat, char text[TENSOR_SHAPE_TEXT_BYTES]);

#endif
