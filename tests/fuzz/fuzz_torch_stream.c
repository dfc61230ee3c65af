/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is the content of the only member, stored, of an archive. What torch_stream accepts to its end is what
 * torch_file_read() accepts, with the same dict; each storage comes once, with the bytes that lie at its record's
 * place, in whatever pieces; a second reading is the same. What torch_file_read() accepts with the pickle first is
 * streamed, but for the limits that torch_stream.h tells. Memory is linear in the input's size.
 */
#include "format/torch.h"
#include "format/torch_stream.h"
#include "fuzz_pickle_check.h"
#include "integrity/crc32.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define PICKLE_NAME "/data.pkl"
#define LOCAL_BYTES 30

/* Reads all that comes; `whole` is NULL when the reader of whole files refused it. */
static enum llavamed_status read_stream(struct torch_stream *stream, const uint8_t *bytes,
                                        const struct torch_file *whole, uint32_t seed, struct llavamed_error *error)
{
    const struct pickle_state_dict *dict = torch_stream_dict(stream);
    uint8_t piece[1000];
    bool *seen = calloc(dict->n_storages + 1, sizeof *seen);
    REQUIRE(seen != NULL);
    size_t n_seen = 0;
    size_t storage = 0;
    enum llavamed_status status = torch_stream_next(stream, &storage, error);
    while (status == LLAVAMED_OK && storage != TORCH_STREAM_END) {
        REQUIRE(storage < dict->n_storages && !seen[storage]);
        seen[storage] = true;
        n_seen++;
        uint64_t left = dict->storages[storage].n_elems * dtype_bytes(dict->storages[storage].dtype);
        const uint8_t *want = whole == NULL ? NULL : bytes + whole->records[storage].file_offset;
        while (status == LLAVAMED_OK && left > 0) {
            seed = seed * 1664525u + 1013904223u;
            size_t n = (seed >> 16) % 3 == 0 ? 1 : 1 + (seed >> 8) % sizeof piece;
            n = n < left ? n : (size_t)left;
            status = torch_stream_read(stream, piece, n, error);
            REQUIRE(status != LLAVAMED_OK || want == NULL || memcmp(piece, want, n) == 0);
            want = want == NULL ? NULL : want + n;
            left -= n;
        }
        if (status == LLAVAMED_OK) {
            status = torch_stream_next(stream, &storage, error);
        }
    }
    REQUIRE(status != LLAVAMED_OK || n_seen == dict->n_storages);
    free(seen);
    return status;
}

struct reading {
    struct input_file *file;
    const struct zip_entry *entry;
    const uint8_t *bytes;
    const struct torch_file *whole; /* may be NULL */
};

/* Opens the stream and reads it to its end. */
static enum llavamed_status stream_once(const struct reading *reading, bool check_crc, uint32_t seed,
                                        struct llavamed_error *error)
{
    struct zip_member *member = NULL;
    struct torch_stream *stream = NULL;
    REQUIRE(zip_member_open(reading->file, reading->entry, "m.bin", &member, error) == LLAVAMED_OK);
    enum llavamed_status status = torch_stream_open(member, check_crc, &stream, error);
    REQUIRE((status == LLAVAMED_OK) == (stream != NULL));
    if (status == LLAVAMED_OK) {
        fuzz_check_dict(torch_stream_dict(stream));
        if (reading->whole != NULL) {
            fuzz_check_same_dict(torch_stream_dict(stream), &reading->whole->dict);
        }
        status = read_stream(stream, reading->bytes, reading->whole, seed, error);
    }
    torch_stream_close(stream);
    zip_member_close(member);
    REQUIRE(status == LLAVAMED_OK || error->status == status);
    REQUIRE(status == LLAVAMED_OK || llavamed_exit_status(error) == (status == LLAVAMED_STATUS_CRC_MISMATCH ? 1 : 3));
    return status;
}

/* What torch_file_read() accepts has a local header at its start. */
static bool begins_with_pickle(const uint8_t *bytes)
{
    size_t name_bytes = bytes[26] + 256u * bytes[27];
    size_t n = strlen(PICKLE_NAME);
    const char *name = (const char *)bytes + LOCAL_BYTES;
    const char *slash = memchr(name, '/', name_bytes);
    return name_bytes > n && slash != NULL && (size_t)(slash - name) == name_bytes - n &&
           memcmp(slash, PICKLE_NAME, n) == 0;
}

/* Whether something else in the file looks like a descriptor, or a local header leaves its size to the directory. */
static bool is_beyond_streaming(struct input_file *file, const uint8_t *bytes, size_t n_bytes)
{
    struct zip_directory directory = {0};
    size_t n_signatures = 0;
    size_t n_descriptors = 0;
    bool hidden = false;
    REQUIRE(zip_directory_read(file, ZIP_TORCH, &directory, NULL) == LLAVAMED_OK);
    for (size_t at = 0; at + 4 <= n_bytes; at++) {
        n_signatures += memcmp(bytes + at, "PK\7\10", 4) == 0;
        hidden |= memcmp(bytes + at, "PK\3\4", 4) == 0 && at + 26 <= n_bytes &&
                  memcmp(bytes + at + 22, "\xff\xff\xff\xff", 4) == 0;
    }
    for (size_t i = 0; i < directory.n_entries; i++) {
        uint64_t end = directory.entries[i].data_offset + directory.entries[i].n_bytes;
        n_descriptors += end + 4 <= n_bytes && memcmp(bytes + end, "PK\7\10", 4) == 0;
    }
    zip_directory_deinit(&directory);
    return hidden || n_signatures != n_descriptors;
}

static void check(struct input_file *archive, const struct zip_entry *entry, struct input_file *plain,
                  const uint8_t *bytes)
{
    size_t n_bytes = (size_t)entry->n_bytes;
    struct llavamed_error error = {0};
    for (int check_crc = 0; check_crc < 2; check_crc++) {
        struct torch_file whole = {0};
        enum llavamed_status wanted = torch_file_read(plain, check_crc, &whole, &error);
        struct reading reading = {archive, entry, bytes, wanted == LLAVAMED_OK ? &whole : NULL};
        fuzz_memory_reset();
        enum llavamed_status status = stream_once(&reading, check_crc, (uint32_t)n_bytes, &error);
        REQUIRE(fuzz_memory_peak_bytes <= 131072 + 512 * n_bytes);
        REQUIRE(status != LLAVAMED_OK || wanted == LLAVAMED_OK);
        REQUIRE(stream_once(&reading, check_crc, ~(uint32_t)n_bytes, &error) == status);
        if (wanted == LLAVAMED_OK && status != LLAVAMED_OK && zip_looks_like(bytes, n_bytes)) {
            bool damaged = check_crc && status == LLAVAMED_STATUS_CRC_MISMATCH;
            REQUIRE(damaged || !begins_with_pickle(bytes) || is_beyond_streaming(plain, bytes, n_bytes));
        }
        torch_file_deinit(&whole);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input_file *archive = NULL;
    struct input_file *plain = NULL;
    struct input_run run = {0, bytes, n_bytes};
    struct zip_entry entry = {.n_bytes = n_bytes, .stored_bytes = n_bytes, .crc32 = crc32_update(0, bytes, n_bytes)};
    REQUIRE(input_file_open_memory("m.zip", n_bytes, &run, 1, &archive, NULL) == LLAVAMED_OK);
    REQUIRE(input_file_open_memory("m.bin", n_bytes, &run, 1, &plain, NULL) == LLAVAMED_OK);
    check(archive, &entry, plain, bytes);
    input_file_close(archive);
    input_file_close(plain);
    return 0;
}
