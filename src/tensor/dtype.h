/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types. The order of the enumerators is the rank that the safetensors library sorts by (it writes tensors by
 * descending rank, then by name): do not rearrange.
 */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(enumerator, safetensors name, torch name, bits) */
#define DTYPE_LIST(X)                                                                                                  \
    X(BOOL, "BOOL", "bool", 8)                                                                                         \
    X(F4, "F4", "float4_e2m1fn_x2", 4)                                                                                 \
    X(F6_E2M3, "F6_E2M3", "float6_e2m3", 6)                                                                            \
    X(F6_E3M2, "F6_E3M2", "float6_e3m2", 6)                                                                            \
    X(U8, "U8", "uint8", 8)                                                                                            \
    X(I8, "I8", "int8", 8)                                                                                             \
    X(F8_E5M2, "F8_E5M2", "float8_e5m2", 8)                                                                            \
    X(F8_E4M3, "F8_E4M3", "float8_e4m3fn", 8)                                                                          \
    X(F8_E8M0, "F8_E8M0", "float8_e8m0fnu", 8)                                                                         \
    X(F8_E4M3FNUZ, "F8_E4M3FNUZ", "float8_e4m3fnuz", 8)                                                                \
    X(F8_E5M2FNUZ, "F8_E5M2FNUZ", "float8_e5m2fnuz", 8)                                                                \
    X(I16, "I16", "int16", 16)                                                                                         \
    X(U16, "U16", "uint16", 16)                                                                                        \
    X(F16, "F16", "float16", 16)                                                                                       \
    X(BF16, "BF16", "bfloat16", 16)                                                                                    \
    X(I32, "I32", "int32", 32)                                                                                         \
    X(U32, "U32", "uint32", 32)                                                                                        \
    X(F32, "F32", "float32", 32)                                                                                       \
    X(C64, "C64", "complex64", 64)                                                                                     \
    X(F64, "F64", "float64", 64)                                                                                       \
    X(I64, "I64", "int64", 64)                                                                                         \
    X(U64, "U64", "uint64", 64)

enum dtype {
#define DTYPE_ENUM(id, st_name, torch_name, bits) DTYPE_##id,
    DTYPE_LIST(DTYPE_ENUM)
#undef DTYPE_ENUM
        DTYPE_COUNT
};

/* Name as in a safetensors header ("F16"); static storage. */
const char *dtype_name(enum dtype dtype);

/* Name as torch prints it without its module ("float16"); static storage. */
const char *dtype_torch_name(enum dtype dtype);

unsigned dtype_bits(enum dtype dtype);

/* Bytes of one element; 0 for the types smaller than a byte. */
size_t dtype_bytes(enum dtype dtype);

/* F16, BF16, F32, F64: what a merge adds. */
bool dtype_is_addable(enum dtype dtype);

/* BOOL and all signed and unsigned integers: what a merge takes from the delta. */
bool dtype_is_integral(enum dtype dtype);

/* Exact match of the safetensors name of n_bytes bytes; false when nobody has defined it. */
bool dtype_from_name(const char *name, size_t n_bytes, enum dtype *out);

#endif
