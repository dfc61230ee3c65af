/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a shard index. What is accepted is sorted, names plain files only, and written again must parse to the
 * same index. Memory is linear in the text's size.
 */
#include <string.h>

#include "format/shard_index.h"
#include "fuzz_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_sound(const struct shard_index *index)
{
    REQUIRE(index->n_files > 0 && index->n_files <= index->n_entries);
    for (size_t i = 0; i < index->n_files; i++) {
        const char *file = index->files[i];
        REQUIRE(file[0] != '\0' && file[0] != '.' && strpbrk(file, "/\\") == NULL);
        REQUIRE(text_is_utf8(file, strlen(file)));
        REQUIRE(i == 0 || strcmp(index->files[i - 1], file) < 0);
    }
    for (size_t i = 0; i < index->n_entries; i++) {
        REQUIRE(index->entries[i].file < index->n_files);
        REQUIRE(i == 0 || strcmp(index->entries[i - 1].tensor, index->entries[i].tensor) < 0);
    }
}

static void require_round_trip(const struct shard_index *index, size_t max_bytes)
{
    struct llavamed_error error;
    struct shard_index again = {0};
    struct buffer text;
    struct shard_index_row *rows = calloc(index->n_entries, sizeof *rows);
    REQUIRE(rows != NULL);
    for (size_t i = 0; i < index->n_entries; i++) {
        size_t from_the_end = index->n_entries - 1 - i;
        const struct shard_index_entry *entry = &index->entries[from_the_end];
        rows[i] = (struct shard_index_row){entry->tensor, index->files[entry->file]};
    }
    buffer_init(&text, max_bytes);
    shard_index_write_hub(&text, UINT64_MAX, rows, index->n_entries);
    REQUIRE(buffer_status(&text, "x", &error) == LLAVAMED_OK);
    REQUIRE(shard_index_parse("x", text.data, text.n_bytes, &again, &error) == LLAVAMED_OK);
    REQUIRE(again.n_files == index->n_files && again.n_entries == index->n_entries);
    for (size_t i = 0; i < index->n_files; i++) {
        REQUIRE(strcmp(again.files[i], index->files[i]) == 0);
    }
    for (size_t i = 0; i < index->n_entries; i++) {
        REQUIRE(strcmp(again.entries[i].tensor, index->entries[i].tensor) == 0);
        REQUIRE(again.entries[i].file == index->entries[i].file);
    }
    shard_index_deinit(&again);
    buffer_deinit(&text);
    free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llavamed_error error = {0};
    struct shard_index index = {0};
    fuzz_memory_reset();
    enum llavamed_status status = shard_index_parse("x", (const char *)data, size, &index, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 4096 + 64 * size);
    if (status == LLAVAMED_OK) {
        require_sound(&index);
        require_round_trip(&index, 16 * size + 256);
    } else {
        REQUIRE(index.files == NULL && index.entries == NULL);
        REQUIRE(error.status == status && strncmp(error.message, "x: ", 3) == 0);
        REQUIRE(status != LLAVAMED_STATUS_NO_MEMORY);
    }
    shard_index_deinit(&index);
    return 0;
}
