/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that torch.save(dict, path) of torch 1.13 to 2.0 writes for a plain dict of name -> contiguous CPU tensor
 * without requires_grad: what transformers 4.28's save_pretrained passes it for every shard, an only one too
 * (shard_checkpoint collects them in `{}`; Module.state_dict() has detached them from their Parameters). No files here.
 *
 *   file = FOLDER/data.pkl | FOLDER/data/KEY, one record per storage | FOLDER/version | directory     (zip_write.h)
 *
 * KEY counts the storages in the order of the tensors; the records follow sorted by KEY as text: 0, 1, 10, 11, 2.
 * FOLDER is the file's own name without its suffix, so that the name is part of the bytes: lay out for the final name,
 * never for a temporary one. Sources: torch/serialization.py (_save), caffe2/serialize/inline_container.cc. Checked
 * byte for byte against torch 1.13 by tests/unit/test_torch_layout.c and tests/interop/torch_writer.py, and once by the
 * latter against torch 2.0.1. What later torch does is not written: 2.1 adds byteorder and .data/serialization_id,
 * newer ones .format_version and .storage_alignment, with the storages in the order of their numbers.
 *
 * Only the bytes that depend on CRC-32s are known late, and each of them lies behind the data it sums up:
 *
 *   file = segment 0 | data 0 | segment 1 | data 1 | ... | data n-1 | segment n        n = n_stored
 *
 * Data may be written in any order; segment i is rendered once the CRC-32s of data 0 .. i-1 are known, so that a hash
 * that eats the file in order never waits for later data.
 */
#ifndef FORMAT_TORCH_LAYOUT_H
#define FORMAT_TORCH_LAYOUT_H

#include "tensor/tensor.h"

struct torch_layout_record; /* private */

/* One shard as it will be written. Memory is O(n_tensors). Read-only once built: any thread may render. */
struct torch_layout {
    size_t *order;          /* owned, n_stored of them: the index of the tensor whose data is the i-th in file order */
    uint64_t *file_offsets; /* owned: file offset of the i-th data in file order, a multiple of 64 */
    size_t n_stored;        /* tensors with a storage of their own, empty ones included; the others lie in theirs */
    uint64_t file_bytes;
    size_t segment_bytes_max;

    /* Private: what segments are rendered from. */
    struct torch_layout_record *records; /* owned: data.pkl, the n_stored, version */
    char *folder;                        /* owned */
    size_t folder_bytes;
    char *pickle; /* owned */
    size_t pickle_bytes;
    uint64_t directory_offset;
};

/*
 * Lays a shard out. file_name is the name it will have in the end (a path is fine); `tensors` are borrowed for the
 * call, names unique, in the order of the dict. `owners` may be NULL: each tensor has a storage of its own. Else
 * owners[i] is i, or the index of an earlier tensor with a storage of its own, the whole of which tensor i shares
 * (tied weights): of the same dtype and n_bytes, while the shapes may differ.
 *
 * USAGE: no folder can be made from file_name. INPUT_UNSUPPORTED: a dtype that torch 1.13 does not have.
 * SHAPE_INVALID: strides or the file's size do not fit 63 bits. INPUT_LIMIT: a pickle above PICKLE_BYTES_MAX, which
 * pickle.h would not read. INTERNAL: `owners` is not as told. NO_MEMORY.
 */
enum llavamed_status torch_layout_build(const char *file_name, const struct tensor *const *tensors,
                                        const size_t *owners, size_t n_tensors, struct torch_layout *layout,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

void torch_layout_deinit(struct torch_layout *layout);

/* Where segment i, of 0 to n_stored, begins in the file, and its bytes. */
uint64_t torch_layout_segment_offset(const struct torch_layout *layout, size_t i);
size_t torch_layout_segment_bytes(const struct torch_layout *layout, size_t i);

/*
 * Writes segment i into `out`, which has room for its bytes. crc32s[k] is the CRC-32 of the k-th data in file order;
 * only those before i are looked at (segment 0: none, NULL is fine). Cannot fail, allocates nothing.
 */
void torch_layout_render(const struct torch_layout *layout, size_t i, const uint32_t *crc32s, uint8_t *out);

/*
 * The folder that torch 1.13 names after a path: what stands behind the last '/' or '\', up to the last '.'. Points
 * into path; *n_bytes may become 0, which torch refuses.
 */
const char *torch_layout_folder(const char *path, size_t *n_bytes);

#endif
