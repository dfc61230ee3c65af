/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 as in zip (polynomial 0xEDB88320), from zlib, and faster than that where the machine multiplies without
 * carries. No state, any thread.
 */
#ifndef INTEGRITY_CRC32_H
#define INTEGRITY_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to start) over n_bytes; `bytes` may be NULL when n_bytes is 0. */
uint32_t crc32_update(uint32_t crc, const void *bytes, size_t n_bytes);

/* CRC of A followed by B, from the CRC of each and the length of B (at most INT64_MAX). O(log b_bytes). */
uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes);

/* Version of the zlib in use ("1.2.13"); static storage. */
const char *crc32_library_version(void);

#endif
