/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard as it will be written, in either format: data of tensors with something before, between and behind them.
 *
 *   file = segment 0 | data 0 | segment 1 | data 1 | ... | data n-1 | segment n        n = n_data
 *
 * Data may be written in any order; segment i is rendered once the sums of data 0 to i-1 are known, so that a hash
 * that eats the file in order never waits for later data. A safetensors file has segment 0 alone (safetensors.h); a
 * torch file has all of them (torch_layout.h).
 */
#ifndef FORMAT_SHARD_LAYOUT_H
#define FORMAT_SHARD_LAYOUT_H

#include "format/safetensors.h"
#include "format/torch_layout.h"

enum shard_format { SHARD_SAFETENSORS, SHARD_TORCH_1_13, SHARD_TORCH_2_13 };

struct shard_layout {
    enum shard_format format;
    const size_t *order;          /* borrowed: the index of the tensor whose data is the i-th in file order */
    const uint64_t *file_offsets; /* borrowed: file offset of the i-th data */
    size_t n_data;
    uint64_t file_bytes;
    size_t segment_bytes_max;
    union {
        struct safetensors_layout safetensors;
        struct torch_layout torch;
    } as;
};

bool shard_format_is_torch(enum shard_format format);

/*
 * Lays a shard out that will be called file_name in the end. `tensors` are borrowed for the call, names unique, in the
 * order of the state dict. What safetensors_layout_build() and torch_layout_build() give.
 */
enum llavamed_status shard_layout_build(enum shard_format format, const char *file_name,
                                        const struct tensor *const *tensors, size_t n_tensors,
                                        struct shard_layout *layout, struct llavamed_error *error) LLAVAMED_CHECK;

/* Also of one that was zeroed and never built. */
void shard_layout_deinit(struct shard_layout *layout);

/* Where segment i, of 0 to n_data, begins in the file, and its bytes. */
uint64_t shard_layout_segment_offset(const struct shard_layout *layout, size_t i);
size_t shard_layout_segment_bytes(const struct shard_layout *layout, size_t i);

/*
 * Writes segment i into `out`, which has room for its bytes. sums[k] is that of the k-th data in file order; only those
 * before i are looked at. Cannot fail, allocates nothing; thread-safe.
 */
void shard_layout_render(const struct shard_layout *layout, size_t i, const struct torch_layout_sum *sums,
                         uint8_t *out);

#endif
