/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file written by torch.save in its zip form (torch 1.6 and later): zip + pickle = tensors with the place of their
 * bytes. Layout: FOLDER/data.pkl, FOLDER/data/KEY (one record per storage), FOLDER/version, and in newer versions
 * FOLDER/byteorder, FOLDER/.format_version, FOLDER/.storage_alignment, FOLDER/.data/serialization_id. Records that no
 * storage refers to are ignored, as torch does. The older form (torch_legacy.h) is described in the same structures.
 */
#ifndef FORMAT_TORCH_H
#define FORMAT_TORCH_H

#include "format/pickle.h"
#include "format/zip.h"

struct torch_record {
    uint64_t file_offset; /* of the storage's first byte */
    uint64_t n_bytes;
    uint32_t crc32;
    bool has_crc; /* false in legacy form, and when the stored CRC is 0 though the record is not empty: left out */
};

struct torch_file {
    struct pickle_state_dict dict;
    struct torch_record *records; /* owned, one per storage of dict */
};

void torch_file_deinit(struct torch_file *file);

/*
 * Reads directory and pickle, and checks that every storage has a record of exactly n_elems times its dtype's size,
 * that byte order is little, that the version is 1 to 10, that no constants.pkl makes it TorchScript, that all entries
 * are in one folder; the small records (data.pkl, version, byteorder) are checked against their CRC-32 here
 * (CRC_MISMATCH, unless check_crc is false or the CRC is absent); storages are not read. A file in
 * legacy form is read by torch_legacy_read(). INPUT_UNSUPPORTED for TorchScript. CRC_MISMATCH, TORCH_*, ZIP_*,
 * PICKLE_*, INPUT_*, and what pickle_read_state_dict() gives.
 */
enum llavamed_status torch_file_read(struct input_file *file, bool check_crc, struct torch_file *out,
                                     struct llavamed_error *error) LLAVAMED_CHECK;

#endif
