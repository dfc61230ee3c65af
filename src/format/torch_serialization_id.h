/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record `.data/serialization_id` that torch 2.1 and later puts at the end of a file: 40 digits, two numbers of 64
 * bits in 20 digits each.
 *
 *   the first   the names of all records before it (without the folder), each hashed, combined in the order in which a
 *               std::unordered_set gives them out that they were put into one by one
 *   the second  their CRC-32s, combined in the order of the file; empty records have none
 *
 * Hash and order are those of GNU's C++ library, which torch's builds for Linux use on every machine of 64 bits: hash
 * by Murmur, buckets that grow along a list of primes. Sources: caffe2/serialize/inline_container.cc
 * (writeSerializationId), c10/util/hash.h, libstdc++'s hashtable.h and hash_bytes.cc. Checked against torch 2.13 by
 * tests/unit/test_torch_layout.c and tests/interop/torch_writer.py. Pure, no files here.
 */
#ifndef FORMAT_TORCH_SERIALIZATION_ID_H
#define FORMAT_TORCH_SERIALIZATION_ID_H

#include "core/error.h"

#define TORCH_SERIALIZATION_ID_BYTES 40
#define TORCH_SERIALIZATION_NAMES_MAX 1447153 /* the largest number of buckets known here */

/* One number more in a combination that starts with 0. */
uint64_t torch_serialization_combine(uint64_t combined, uint64_t value);

/* Of a record's name of n_bytes. */
uint64_t torch_serialization_hash(const char *name, size_t n_bytes);

/*
 * The first number: `hashes` are those of n names, no two of them the same, in the order of writing, at most
 * TORCH_SERIALIZATION_NAMES_MAX. NO_MEMORY.
 */
enum llavamed_status torch_serialization_names(const uint64_t *hashes, size_t n, uint64_t *out,
                                               struct llavamed_error *error) LLAVAMED_CHECK;

/* Writes the record's data: no NUL behind it. */
void torch_serialization_write(uint64_t names, uint64_t crc32s, char out[TORCH_SERIALIZATION_ID_BYTES]);

#endif
