/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What zip_directory_read() accepts as an archive has entries that lie in the file without touching, whose sizes
 * deflate can reach. What zip_member_read_whole() gives has the size and the CRC-32 of its entry; reading in pieces
 * gives the same bytes, or the same error. What is a torch archive is an archive too, and the same one. Memory is
 * linear in the file's size plus the content that was asked for.
 */
#include <string.h>

#include "format/zip_member.h"
#include "fuzz_memory.h"
#include "integrity/crc32.h"

/* Entries with more content, and more content in all, are not read: a small file can hold a thousand times its size. */
#define CONTENT_BYTES_MAX ((size_t)1 << 20)

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
        REQUIRE(sorted[i].data_offset >= end + 30 + strlen(sorted[i].name));
        REQUIRE(sorted[i].data_offset <= n_bytes && sorted[i].stored_bytes <= n_bytes - sorted[i].data_offset);
        REQUIRE(sorted[i].deflated || sorted[i].n_bytes == sorted[i].stored_bytes);
        REQUIRE(sorted[i].n_bytes / 1032 <= sorted[i].stored_bytes);
        end = sorted[i].data_offset + sorted[i].stored_bytes;
    }
    REQUIRE(end + 22 <= n_bytes);
    free(sorted);
}

/* Reads in pieces whose sizes come from `seed`; `content` is what reading whole gave, NULL when it failed so. */
static void check_pieces(struct input_file *file, const struct zip_entry *entry, const uint8_t *content,
                         const struct llavamed_error *whole_error, uint32_t seed)
{
    struct llavamed_error error = {0};
    struct zip_member *member = NULL;
    uint8_t piece[1000];
    uint32_t all_crc = 0;
    REQUIRE(zip_member_open(file, entry, "entry", &member, &error) == LLAVAMED_OK);
    enum llavamed_status status = LLAVAMED_OK;
    while (status == LLAVAMED_OK && zip_member_position(member) < entry->n_bytes) {
        uint64_t position = zip_member_position(member);
        uint32_t crc = 0;
        seed = seed * 1664525u + 1013904223u;
        size_t n = (seed >> 16) % 3 == 0 ? 1 : 1 + (seed >> 8) % sizeof piece;
        n = n < entry->n_bytes - position ? n : (size_t)(entry->n_bytes - position);
        status = zip_member_read(member, piece, n, &crc, &error);
        if (status == LLAVAMED_OK) {
            REQUIRE(zip_member_position(member) == position + n);
            REQUIRE(crc == crc32_update(0, piece, n));
            REQUIRE(content == NULL || memcmp(piece, content + position, n) == 0);
            all_crc = crc32_join(all_crc, crc, n);
        }
    }
    if (status == LLAVAMED_OK) {
        status = zip_member_finish(member, true, &error);
    }
    REQUIRE(zip_member_bytes_read(member) <= entry->stored_bytes);
    REQUIRE(status == whole_error->status);
    REQUIRE(status != LLAVAMED_OK || all_crc == entry->crc32);
    REQUIRE(status != LLAVAMED_OK || zip_member_bytes_read(member) == entry->stored_bytes);
    REQUIRE(status == LLAVAMED_OK || strcmp(error.message, whole_error->message) == 0);
    zip_member_close(member);
}

/* Returns how much content the entry has, when it was read. */
static size_t check_content(struct input_file *file, const struct zip_entry *entry, size_t max_bytes)
{
    struct llavamed_error error = {0};
    char *content = NULL;
    fuzz_memory_reset();
    enum llavamed_status status = zip_member_read_whole(file, entry, "entry", max_bytes, &content, &error);
    if (entry->n_bytes > max_bytes) {
        REQUIRE(status == LLAVAMED_STATUS_INPUT_LIMIT && fuzz_memory_peak_bytes == 0);
        return 0;
    }
    REQUIRE(fuzz_memory_peak_bytes <= ZIP_MEMBER_INPUT_BYTES + 65536 + entry->n_bytes);
    REQUIRE((status == LLAVAMED_OK) == (content != NULL));
    REQUIRE(status == LLAVAMED_OK || status == LLAVAMED_STATUS_ZIP_INVALID || status == LLAVAMED_STATUS_CRC_MISMATCH);
    REQUIRE(status == error.status);
    if (status == LLAVAMED_OK) {
        REQUIRE(crc32_update(0, content, (size_t)entry->n_bytes) == entry->crc32);
        REQUIRE(content[entry->n_bytes] == '\0');
    }
    check_pieces(file, entry, (const uint8_t *)content, &error, entry->crc32 ^ (uint32_t)entry->data_offset);
    free(content);
    return (size_t)entry->n_bytes;
}

static void check_torch(struct input_file *file, const struct zip_directory *directory, enum llavamed_status status)
{
    struct llavamed_error error = {0};
    struct zip_directory torch = {0};
    if (zip_directory_read(file, ZIP_TORCH, &torch, &error) == LLAVAMED_OK) {
        /* Except for what torch's names may be. */
        REQUIRE(status == LLAVAMED_OK || status == LLAVAMED_STATUS_ZIP_INVALID);
        for (size_t i = 0; status == LLAVAMED_OK && i < torch.n_entries; i++) {
            REQUIRE(torch.n_entries == directory->n_entries);
            REQUIRE(!directory->entries[i].deflated && !torch.entries[i].deflated);
            REQUIRE(torch.entries[i].data_offset == directory->entries[i].data_offset);
            REQUIRE(torch.entries[i].stored_bytes == torch.entries[i].n_bytes);
            REQUIRE(torch.entries[i].n_bytes == directory->entries[i].n_bytes);
        }
    }
    zip_directory_deinit(&torch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *file = NULL;
    struct input_run run = {0, bytes, n_bytes};
    struct zip_directory directory = {0};
    struct llavamed_error error = {0};
    REQUIRE(input_file_open_memory("archive", n_bytes, &run, 1, &file, NULL) == LLAVAMED_OK);
    fuzz_memory_reset();
    enum llavamed_status status = zip_directory_read(file, ZIP_ARCHIVE, &directory, &error);
    REQUIRE(fuzz_memory_peak_bytes <= 16384 + 8 * n_bytes);
    REQUIRE(status == LLAVAMED_OK || (error.status == status && llavamed_exit_status(&error) == 3));
    if (status == LLAVAMED_OK) {
        size_t left = CONTENT_BYTES_MAX;
        check_tiling(&directory, n_bytes);
        for (size_t i = 0; i < directory.n_entries; i++) {
            REQUIRE(zip_find(&directory, directory.entries[i].name) == i);
            left -= check_content(file, &directory.entries[i], left);
        }
    }
    check_torch(file, &directory, status);
    zip_directory_deinit(&directory);
    input_file_close(file);
    return 0;
}
