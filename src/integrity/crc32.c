/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/crc32.h"

#include <assert.h>
#include <zlib.h>

/* crc32_combine() takes a z_off_t, which must hold the length of any file. */
static_assert(sizeof(z_off_t) == 8, "build with -D_FILE_OFFSET_BITS=64");

uint32_t crc32_update(uint32_t crc, const void *bytes, size_t n_bytes)
{
    /* zlib takes a NULL pointer as a request for the initial value, whatever crc is. */
    return n_bytes == 0 ? crc : (uint32_t)crc32_z(crc, bytes, n_bytes);
}

uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes)
{
    assert(b_bytes <= INT64_MAX);
    return (uint32_t)crc32_combine(crc_a, crc_b, (z_off_t)b_bytes);
}

const char *crc32_library_version(void)
{
    return zlibVersion();
}
