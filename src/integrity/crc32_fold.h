/* SPDX-License-Identifier: Apache-2.0 */
/* The long part of a CRC-32 by carry-less multiplication, where the machine has it; for zlib.c alone. */
#ifndef INTEGRITY_CRC32_FOLD_H
#define INTEGRITY_CRC32_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRC32_FOLD_BYTES 64 /* what is folded is a multiple of this, and at least as much */
#define CRC32_FOLDED_BYTES 16

/* Whether this build and this machine have it. */
bool crc32_fold_usable(void);

/*
 * Folds n_bytes that follow a CRC-32 of `crc` into a few that leave a register which began as 0 in the same state: the
 * CRC-32 up to their end is that of `folded`, continued from ~0.
 */
void crc32_fold(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES]);

/* The same with AVX-512, faster for what is long: n_bytes is a multiple of CRC32_FOLD_WIDE_BYTES, and not 0. */
#define CRC32_FOLD_WIDE_BYTES 256
bool crc32_fold_wide_usable(void);
void crc32_fold_wide(uint32_t crc, const void *bytes, size_t n_bytes, uint8_t folded[CRC32_FOLDED_BYTES]);

#endif
