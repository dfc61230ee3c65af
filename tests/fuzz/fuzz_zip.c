/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What zip_directory_read() accepts has entries that lie in the file, in order of offset without touching, under names
 * that are unique even in another letter case and can all be found; reading twice gives the same; memory is linear in
 * the file's size.
 */
#include <string.h>
#include <strings.h>

#include "format/zip.h"
#include "fuzz_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static int compare_offsets(const void *a, const void *b)
{
    const struct zip_entry *entry_a = a;
    const struct zip_entry *entry_b = b;
    return (entry_a->data_offset > entry_b->data_offset) - (entry_a->data_offset < entry_b->data_offset);
}

static void check_tiling(const struct zip_directory *directory, size_t n_bytes)
{
    struct zip_entry *sorted = malloc(directory->n_entries * sizeof *sorted);
    REQUIRE(sorted != NULL);
    memcpy(sorted, directory->entries, directory->n_entries * sizeof *sorted);
    qsort(sorted, directory->n_entries, sizeof *sorted, compare_offsets);
    uint64_t end = 0;
    for (size_t i = 0; i < directory->n_entries; i++) {
        /* A local header with its name stands before the data. */
        REQUIRE(sorted[i].data_offset >= end + 30 + strlen(sorted[i].name));
        REQUIRE(sorted[i].data_offset <= n_bytes && sorted[i].n_bytes <= n_bytes - sorted[i].data_offset);
        REQUIRE(!sorted[i].deflated && sorted[i].stored_bytes == sorted[i].n_bytes);
        end = sorted[i].data_offset + sorted[i].n_bytes;
    }
    REQUIRE(end + 22 <= n_bytes);
    free(sorted);
}

static void check_names(const struct zip_directory *directory)
{
    for (size_t i = 0; i < directory->n_entries; i++) {
        const char *name = directory->entries[i].name;
        REQUIRE(name[0] != '\0' && strlen(name) <= ZIP_NAME_BYTES_MAX);
        REQUIRE(zip_find(directory, name) == i);
        if (i > 0) {
            const char *before = directory->entries[directory->by_name[i - 1]].name;
            REQUIRE(strcasecmp(before, directory->entries[directory->by_name[i]].name) != 0);
        }
    }
}

static void check_same(const struct zip_directory *a, const struct zip_directory *b)
{
    REQUIRE(a->n_entries == b->n_entries);
    for (size_t i = 0; i < a->n_entries; i++) {
        const struct zip_entry *x = &a->entries[i];
        const struct zip_entry *y = &b->entries[i];
        REQUIRE(strcmp(x->name, y->name) == 0 && x->data_offset == y->data_offset && x->n_bytes == y->n_bytes);
        REQUIRE(x->crc32 == y->crc32 && a->by_name[i] == b->by_name[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = fuzz_memory_file(bytes, n_bytes);
    struct zip_directory directory = {0};
    struct zip_directory again = {0};
    struct llavamed_error error = {0};
    fuzz_memory_reset();
    enum llavamed_status status = zip_directory_read(file, ZIP_TORCH, &directory, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 16384 + 8 * n_bytes);
    REQUIRE(status == LLAVAMED_OK || (error.status == status && error.message[0] != '\0'));
    REQUIRE(status == LLAVAMED_OK || llavamed_exit_status(&error) == 3);
    if (status == LLAVAMED_OK) {
        check_tiling(&directory, n_bytes);
        check_names(&directory);
        REQUIRE(zip_directory_read(file, ZIP_TORCH, &again, &error) == LLAVAMED_OK);
        check_same(&directory, &again);
    } else {
        REQUIRE(directory.entries == NULL && directory.n_entries == 0);
    }
    zip_directory_deinit(&directory);
    zip_directory_deinit(&again);
    input_file_close(file);
    return 0;
}
