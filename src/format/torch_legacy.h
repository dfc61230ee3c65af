/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The legacy form of torch.save: the default before torch 1.6, today with _use_new_zipfile_serialization=False. Layout,
 * without any padding:
 *
 *     pickle    the magic number 0x1950a86a20f9469cfc6c, always the same 15 bytes
 *     pickle    the protocol version 1001, always the same 6 bytes
 *     pickle    a dictionary about the system that wrote it
 *     pickle    the state dict; persistent ids have six members (pickle_torch.c)
 *     pickle    the list of the keys of all storages
 *     for each key of that list: i64 number of elements, then the elements, little-endian
 *
 * There is no checksum, and nothing follows. Source: torch/serialization.py, _legacy_save() and _legacy_load().
 */
#ifndef FORMAT_TORCH_LEGACY_H
#define FORMAT_TORCH_LEGACY_H

#include "format/torch.h"

#define TORCH_LEGACY_MAGIC_BYTES 15

/* Whether a file that begins with these bytes is of the legacy form. */
bool torch_legacy_looks_like(const uint8_t *bytes, size_t n_bytes);

/*
 * Reads the pickles, from as little of the file's front as they need (at most PICKLE_BYTES_MAX in memory), and the
 * number before each storage. The file must be exactly as long as its storages say. No record has a CRC-32.
 * TORCH_INVALID (magic or version), TORCH_STORAGE, INPUT_TRUNCATED, INPUT_TRAILING, INPUT_LIMIT, INPUT_*, and what
 * the readers of pickle.h give.
 */
enum llavamed_status torch_legacy_read(struct input_file *file, struct torch_file *out,
                                       struct llavamed_error *error) LLAVAMED_CHECK;

#endif
