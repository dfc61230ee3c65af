/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What torch_file_read() accepts has a record for every storage, inside the file, of exactly the storage's size, no two
 * of them overlapping, and every view inside its record; checking CRCs only ever refuses more; memory is linear in the
 * file's size.
 */
#include "format/torch.h"
#include "fuzz_pickle_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static int compare_records(const void *a, const void *b)
{
    const struct torch_record *record_a = a;
    const struct torch_record *record_b = b;
    return (record_a->file_offset > record_b->file_offset) - (record_a->file_offset < record_b->file_offset);
}

/* gap_bytes: what lies at least between two storages. */
static void check_records(const struct torch_file *read, size_t n_bytes, size_t gap_bytes)
{
    size_t n = read->dict.n_storages;
    struct torch_record *sorted = calloc(n + 1, sizeof *sorted);
    REQUIRE(sorted != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct torch_record *record = &read->records[i];
        unsigned __int128 want = (unsigned __int128)read->dict.storages[i].n_elems;
        want *= dtype_bytes(read->dict.storages[i].dtype);
        REQUIRE(record->n_bytes == want);
        REQUIRE(record->file_offset <= n_bytes && record->n_bytes <= n_bytes - record->file_offset);
        REQUIRE(record->has_crc || record->crc32 == 0);
        sorted[i] = *record;
    }
    qsort(sorted, n, sizeof *sorted, compare_records);
    for (size_t i = 1; i < n; i++) {
        REQUIRE(sorted[i].file_offset >= sorted[i - 1].file_offset + sorted[i - 1].n_bytes + gap_bytes);
    }
    free(sorted);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = fuzz_memory_file(bytes, n_bytes);
    struct torch_file read = {0};
    struct torch_file checked = {0};
    struct llavamed_error error = {0};
    fuzz_memory_reset();
    enum llavamed_status status = torch_file_read(file, false, &read, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 32768 + 256 * n_bytes);
    REQUIRE(status == LLAVAMED_OK || (error.status == status && llavamed_exit_status(&error) == 3));
    enum llavamed_status with_crc = torch_file_read(file, true, &checked, &error);
    if (status == LLAVAMED_OK) {
        fuzz_check_dict(&read.dict);
        /* A local header, or the number of elements in legacy form. */
        check_records(&read, n_bytes, zip_looks_like(bytes, n_bytes) ? 30 : 8);
        REQUIRE(with_crc == LLAVAMED_OK || with_crc == LLAVAMED_STATUS_CRC_MISMATCH);
    } else {
        REQUIRE(with_crc == status || with_crc == LLAVAMED_STATUS_CRC_MISMATCH);
        REQUIRE(read.dict.tensors == NULL && read.records == NULL);
    }
    if (with_crc == LLAVAMED_OK) {
        fuzz_check_same_dict(&read.dict, &checked.dict);
    }
    torch_file_deinit(&read);
    torch_file_deinit(&checked);
    input_file_close(file);
    return 0;
}
