/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/dtype.h"

#include <string.h>

struct dtype_row {
    const char *name;
    const char *torch_name;
    unsigned bits;
};

static const struct dtype_row dtype_rows[DTYPE_COUNT] = {
#define DTYPE_ROW(id, st_name, torch_name, bits) [DTYPE_##id] = {st_name, torch_name, bits},
    DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *dtype_name(enum dtype dtype)
{
    return dtype_rows[dtype].name;
}

const char *dtype_torch_name(enum dtype dtype)
{
    return dtype_rows[dtype].torch_name;
}

unsigned dtype_bits(enum dtype dtype)
{
    return dtype_rows[dtype].bits;
}

size_t dtype_bytes(enum dtype dtype)
{
    return dtype_rows[dtype].bits / 8;
}

bool dtype_is_addable(enum dtype dtype)
{
    return dtype == DTYPE_F16 || dtype == DTYPE_BF16 || dtype == DTYPE_F32 || dtype == DTYPE_F64;
}

bool dtype_is_integral(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_BOOL:
    case DTYPE_U8:
    case DTYPE_I8:
    case DTYPE_I16:
    case DTYPE_U16:
    case DTYPE_I32:
    case DTYPE_U32:
    case DTYPE_I64:
    case DTYPE_U64:
        return true;
    case DTYPE_F4:
    case DTYPE_F6_E2M3:
    case DTYPE_F6_E3M2:
    case DTYPE_F8_E5M2:
    case DTYPE_F8_E4M3:
    case DTYPE_F8_E8M0:
    case DTYPE_F8_E4M3FNUZ:
    case DTYPE_F8_E5M2FNUZ:
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_F32:
    case DTYPE_C64:
    case DTYPE_F64:
    case DTYPE_COUNT:
        break;
    }
    return false;
}

bool dtype_from_name(const char *name, size_t n_bytes, enum dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        const char *known = dtype_rows[i].name;
        if (strlen(known) == n_bytes && memcmp(known, name, n_bytes) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}
