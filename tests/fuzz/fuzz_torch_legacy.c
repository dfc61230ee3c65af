/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What torch_legacy_read() accepts is tiled exactly by its storages: from the first number of elements to the end of
 * the file there is nothing but numbers and storages, each number as its pickle says, and every view lies in its
 * storage. One byte more or less is refused, torch_file_read() gives the same, memory is linear in the file's
 * size.
 */
#include "core/bytes.h"
#include "format/torch_legacy.h"
#include "fuzz_pickle_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static int compare_records(const void *a, const void *b)
{
    const struct torch_record *record_a = a;
    const struct torch_record *record_b = b;
    if (record_a->file_offset != record_b->file_offset) {
        return record_a->file_offset < record_b->file_offset ? -1 : 1;
    }
    return 0;
}

static void check_records(const struct torch_file *read, const uint8_t *bytes, size_t n_bytes)
{
    size_t n = read->dict.n_storages;
    uint64_t end = n_bytes;
    struct torch_record *sorted = calloc(n + 1, sizeof *sorted);
    REQUIRE(sorted != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct torch_record *record = &read->records[i];
        REQUIRE(record->file_offset >= 8 && record->file_offset <= n_bytes);
        REQUIRE(load_le64(bytes + record->file_offset - 8) == read->dict.storages[i].n_elems);
        REQUIRE(record->n_bytes == read->dict.storages[i].n_elems * dtype_bytes(read->dict.storages[i].dtype));
        REQUIRE(!record->has_crc && record->crc32 == 0);
        sorted[i] = *record;
    }
    qsort(sorted, n, sizeof *sorted, compare_records);
    for (size_t i = n; i > 0; i--) {
        REQUIRE(sorted[i - 1].file_offset + sorted[i - 1].n_bytes == end);
        end = sorted[i - 1].file_offset - 8;
    }
    /* Before the storages stands the STOP of the list of their keys. */
    REQUIRE(end > TORCH_LEGACY_MAGIC_BYTES && bytes[end - 1] == '.');
    free(sorted);
}

static void refuse(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = fuzz_memory_file(bytes, n_bytes);
    struct torch_file read = {0};
    REQUIRE(torch_legacy_read(file, &read, NULL) != LLAVAMED_OK);
    input_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = fuzz_memory_file(bytes, n_bytes);
    struct torch_file read = {0};
    struct torch_file again = {0};
    struct llavamed_error error = {0};
    fuzz_memory_reset();
    enum llavamed_status status = torch_legacy_read(file, &read, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 131072 + 320 * n_bytes);
    REQUIRE(status == LLAVAMED_OK || (error.status == status && llavamed_exit_status(&error) == 3));
    if (status == LLAVAMED_OK) {
        fuzz_check_dict(&read.dict);
        check_records(&read, bytes, n_bytes);
        REQUIRE(torch_file_read(file, true, &again, &error) == LLAVAMED_OK);
        fuzz_check_same_dict(&read.dict, &again.dict);
        uint8_t *longer = malloc(n_bytes + 1);
        REQUIRE(longer != NULL);
        memcpy(longer, bytes, n_bytes);
        longer[n_bytes] = 0;
        refuse(longer, n_bytes + 1);
        refuse(longer, n_bytes - 1);
        free(longer);
    } else {
        REQUIRE(read.dict.tensors == NULL && read.records == NULL);
    }
    torch_file_deinit(&read);
    torch_file_deinit(&again);
    input_file_close(file);
    return 0;
}
