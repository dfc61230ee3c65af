/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that torch.save(dict, path) writes for the dict of torch_dict.h. No files here.
 *
 *   file = record... | directory     (zip_write.h)
 *   1.13 FOLDER/data.pkl | FOLDER/data/KEY, one record per storage | FOLDER/version
 *   2.13 FOLDER/data.pkl | FOLDER/.format_version | FOLDER/.storage_alignment | FOLDER/byteorder | FOLDER/data/KEY ...
 *        | FOLDER/version | FOLDER/.data/serialization_id
 *
 * KEY counts the storages in the order of the tensors. torch 1.13 to 2.0 sorts the records by KEY as text, 0, 1, 10,
 * 11, 2; torch 2.13 by number. What came between is not written: 2.1 to 2.6 have byteorder and serialization_id, but
 * sort as text. FOLDER is the file's own name without its suffix, so that the name is part of the bytes: lay out for
 * the final name, never for a temporary one. (torch 2.13 takes "archive" when the name is not all ASCII.) Sources:
 * torch/serialization.py (_save), caffe2/serialize/inline_container.cc. Checked byte for byte against torch 1.13 and
 * 2.13 by tests/unit/test_torch_layout.c and tests/interop/torch_writer.py, and once by the latter against torch 2.0.1.
 *
 * Only the bytes that depend on CRC-32s are known late, and each of them lies behind the data it sums up:
 *
 *   file = segment 0 | data 0 | segment 1 | data 1 | ... | data n-1 | segment n        n = n_stored
 *
 * Data may be written in any order; segment i is rendered once the sums of data 0 .. i-1 are known, so that a hash
 * that eats the file in order never waits for later data.
 */
#ifndef FORMAT_TORCH_LAYOUT_H
#define FORMAT_TORCH_LAYOUT_H

#include "format/torch_dict.h"

enum torch_profile { TORCH_1_13, TORCH_2_13 };

/* What is known of a storage once all of its data is. */
struct torch_layout_sum {
    uint32_t crc32;
    uint64_t front; /* its first 8 bytes as a little-endian number, 0 in place of bytes that are not there */
};

struct torch_layout_record; /* private */

/* One shard as it will be written. Memory is O(n_tensors). Read-only once built: any thread may render. */
struct torch_layout {
    size_t *order;          /* owned, n_stored of them: the index of the tensor whose data is the i-th in file order */
    uint64_t *file_offsets; /* owned: file offset of the i-th data in file order, a multiple of 64 */
    size_t n_stored;        /* tensors with a storage of their own, empty ones included; the others lie in theirs */
    uint64_t file_bytes;
    size_t segment_bytes_max;

    /* Private: what segments are rendered from. */
    struct torch_layout_record *records; /* owned: n_before, the n_stored, those behind */
    size_t n_records;
    size_t n_before;
    char *folder; /* owned */
    size_t folder_bytes;
    struct torch_dict_pickle pickle; /* owned */
    uint64_t names;                  /* 2.13: the first number of the serialization_id */
    uint64_t directory_offset;
};

/*
 * Lays a shard out. file_name is the name it will have in the end (a path is fine); `dict` is borrowed for the call.
 *
 * USAGE: no folder can be made from file_name. SHAPE_INVALID: the file's size does not fit 63 bits. Else what
 * torch_dict_write() gives.
 */
enum llavamed_status torch_layout_build(enum torch_profile profile, const char *file_name,
                                        const struct torch_dict *dict, struct torch_layout *layout,
                                        struct llavamed_error *error) LLAVAMED_CHECK;

void torch_layout_deinit(struct torch_layout *layout);

/* Where segment i, of 0 to n_stored, begins in the file, and its bytes. */
uint64_t torch_layout_segment_offset(const struct torch_layout *layout, size_t i);
size_t torch_layout_segment_bytes(const struct torch_layout *layout, size_t i);

/*
 * Writes segment i into `out`, which has room for its bytes. sums[k] is that of the k-th data in file order; only those
 * before i are looked at (segment 0: none, NULL is fine). Cannot fail, allocates nothing.
 */
void torch_layout_render(const struct torch_layout *layout, size_t i, const struct torch_layout_sum *sums,
                         uint8_t *out);

/*
 * The folder that torch names after a path: what stands behind the last '/' or '\', up to the last '.'. Points
 * into path; *n_bytes may become 0, which torch refuses.
 */
const char *torch_layout_folder(const char *path, size_t *n_bytes);

#endif
