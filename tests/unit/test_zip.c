/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory reader alone. What is wrong with an archive is tested file by file in test_torch.c; here are a layout
 * known byte for byte, archives too large to commit (100,000 entries; beyond 4 GiB, as a sparse file) and look-up.
 */
#include "harness.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "format/zip.h"
#include "integrity/crc32.h"

#define GOOD "tests/data/torch/good/"
#define MAX32 0xffffffffu

static enum llavamed_status read_form(const char *path, enum zip_form form, struct zip_directory *directory,
                                      struct llavamed_error *error)
{
    struct input_file *file = NULL;
    enum llavamed_status status = input_file_open(path, &file, error);
    if (status == LLAVAMED_OK) {
        status = zip_directory_read(file, form, directory, error);
    }
    input_file_close(file);
    return status;
}

static enum llavamed_status read_path(const char *path, struct zip_directory *directory, struct llavamed_error *error)
{
    return read_form(path, ZIP_TORCH, directory, error);
}

/* ---- A writer of archives like torch's ---- */

struct writer {
    char path[64];
    FILE *file;      /* the archive */
    FILE *directory; /* its central directory until the end */
    uint64_t n_entries;
};

/* Little-endian; more than 8 bytes end in zeros. */
static void put(FILE *file, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        (void)fputc((int)(value & 0xff), file);
        value >>= 8;
    }
}

static bool writer_open(struct writer *writer)
{
    *writer = (struct writer){.path = "/tmp/llavamed-test-XXXXXX"};
    int fd = mkstemp(writer->path);
    writer->file = fd < 0 ? NULL : fdopen(fd, "wb");
    writer->directory = tmpfile();
    return EXPECT(writer->file != NULL && writer->directory != NULL);
}

/* A record of n_bytes bytes of holes, with the zip64 fields that torch writes (none of whose local ones is read). */
static void writer_add(struct writer *writer, const char *name, uint64_t n_bytes, uint32_t crc)
{
    uint64_t at = (uint64_t)ftello(writer->file);
    bool size64 = n_bytes >= MAX32;
    bool at64 = at >= MAX32;
    unsigned extra = (size64 || at64 ? 4u : 0u) + (size64 ? 16u : 0u) + (at64 ? 8u : 0u);
    unsigned flags = n_bytes > 0 ? 0x0808 : 0x0800;
    put(writer->file, 0x04034b50, 4);
    put(writer->file, 0, 2);
    put(writer->file, flags, 2);
    put(writer->file, 0, 18);
    put(writer->file, strlen(name), 2);
    put(writer->file, extra, 2);
    (void)fputs(name, writer->file);
    for (unsigned i = 0; i < extra; i++) {
        (void)fputc('?', writer->file);
    }
    (void)fseeko(writer->file, (off_t)n_bytes, SEEK_CUR);
    if (n_bytes > 0) {
        int width = size64 || at64 ? 8 : 4;
        put(writer->file, 0x08074b50, 4);
        put(writer->file, crc, 4);
        put(writer->file, n_bytes, width);
        put(writer->file, n_bytes, width);
    }
    put(writer->directory, 0x02014b50, 4);
    put(writer->directory, 0, 4);
    put(writer->directory, flags, 2);
    put(writer->directory, 0, 6);
    put(writer->directory, crc, 4);
    put(writer->directory, size64 ? MAX32 : n_bytes, 4);
    put(writer->directory, size64 ? MAX32 : n_bytes, 4);
    put(writer->directory, strlen(name), 2);
    put(writer->directory, extra, 2);
    put(writer->directory, 0, 10);
    put(writer->directory, at64 ? MAX32 : at, 4);
    (void)fputs(name, writer->directory);
    if (extra > 0) {
        put(writer->directory, 1, 2);
        put(writer->directory, extra - 4, 2);
        put(writer->directory, n_bytes, size64 ? 8 : 0);
        put(writer->directory, n_bytes, size64 ? 8 : 0);
        put(writer->directory, at, at64 ? 8 : 0);
    }
    writer->n_entries++;
}

static void writer_close(struct writer *writer)
{
    uint64_t start = (uint64_t)ftello(writer->file);
    uint64_t size = (uint64_t)ftello(writer->directory);
    rewind(writer->directory);
    for (int c = fgetc(writer->directory); c != EOF; c = fgetc(writer->directory)) {
        (void)fputc(c, writer->file);
    }
    put(writer->file, 0x06064b50, 4);
    put(writer->file, 44, 8);
    put(writer->file, 0, 12);
    put(writer->file, writer->n_entries, 8);
    put(writer->file, writer->n_entries, 8);
    put(writer->file, size, 8);
    put(writer->file, start, 8);
    put(writer->file, 0x07064b50, 4);
    put(writer->file, 0, 4);
    put(writer->file, start + size, 8);
    put(writer->file, 1, 4);
    put(writer->file, 0x06054b50, 4);
    put(writer->file, 0, 4);
    put(writer->file, writer->n_entries < 0xffff ? writer->n_entries : 0xffff, 2);
    put(writer->file, writer->n_entries < 0xffff ? writer->n_entries : 0xffff, 2);
    put(writer->file, size, 4);
    put(writer->file, start < MAX32 ? start : MAX32, 4);
    put(writer->file, 0, 2);
    EXPECT(fclose(writer->file) == 0);
    EXPECT(fclose(writer->directory) == 0);
}

/* ---- Cases ---- */

static void knows_a_local_header(void)
{
    EXPECT(zip_looks_like((const uint8_t *)"PK\3\4", 4));
    EXPECT(!zip_looks_like((const uint8_t *)"PK\3", 3));
    EXPECT(!zip_looks_like((const uint8_t *)"PK\5\6", 4));
}

/* torch.save({}, "emptydict.pt"): 435 bytes whose places were read off a hex dump. */
static void reads_a_known_layout(void)
{
    struct zip_directory directory = {0};
    struct llavamed_error error = {0};
    if (!EXPECT(read_path(GOOD "1.13/emptydict.pt", &directory, &error) == LLAVAMED_OK)) {
        return;
    }
    EXPECT_U64(directory.n_entries, 2);
    EXPECT_TEXT(directory.entries[0].name, "emptydict/data.pkl");
    EXPECT_U64(directory.entries[0].data_offset, 0x40);
    EXPECT_U64(directory.entries[0].n_bytes, 6);
    EXPECT_U64(directory.entries[0].crc32, crc32_update(0, "\x80\x02}q\0.", 6));
    EXPECT_TEXT(directory.entries[1].name, "emptydict/version");
    EXPECT_U64(directory.entries[1].data_offset, 0xc0);
    EXPECT_U64(directory.entries[1].n_bytes, 2);
    EXPECT_U64(directory.entries[1].crc32, crc32_update(0, "3\n", 2));
    EXPECT_U64(zip_find(&directory, "emptydict/version"), 1);
    EXPECT_U64(zip_find(&directory, "emptydict/data.pkl"), 0);
    EXPECT_U64(zip_find(&directory, "emptydict/VERSION"), ZIP_NOT_FOUND);
    EXPECT_U64(zip_find(&directory, "emptydict/"), ZIP_NOT_FOUND);
    EXPECT_U64(zip_find(&directory, ""), ZIP_NOT_FOUND);
    EXPECT_U64(zip_find(&directory, "version"), ZIP_NOT_FOUND);
    zip_directory_deinit(&directory);
    EXPECT(directory.entries == NULL && directory.by_name == NULL);
}

#define MANY 100000

static void reads_many_entries_in_a_second(void)
{
    struct writer writer;
    char name[32];
    if (!writer_open(&writer)) {
        return;
    }
    for (unsigned i = 0; i < MANY; i++) {
        /* A stride that is coprime to MANY: names come in no sorted order. */
        (void)snprintf(name, sizeof name, "archive/data/%u", (i * 7919u) % MANY);
        writer_add(&writer, name, 4, i);
    }
    writer_close(&writer);
    struct zip_directory directory = {0};
    struct llavamed_error error = {0};
    clock_t start = clock();
    bool read_it = EXPECT(read_path(writer.path, &directory, &error) == LLAVAMED_OK);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("%d entries in %.3f s of processor time\n", MANY, seconds);
    (void)remove(writer.path);
    if (!read_it) {
        printf("    %s\n", error.message);
        return;
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT(seconds < 1.0);
#endif
    EXPECT_U64(directory.n_entries, MANY);
    for (unsigned i = 0; i < MANY; i += 997) {
        (void)snprintf(name, sizeof name, "archive/data/%u", (i * 7919u) % MANY);
        EXPECT_U64(zip_find(&directory, name), i);
        EXPECT_U64(directory.entries[i].crc32, i);
        EXPECT_U64(directory.entries[i].n_bytes, 4);
    }
    EXPECT_U64(zip_find(&directory, "archive/data/100000"), ZIP_NOT_FOUND);
    zip_directory_deinit(&directory);
}

/* All four forms of zip64 fields: size below and above 4 GiB, offset below and above. */
static void reads_beyond_four_gib(void)
{
    static const uint64_t sizes[] = {5, 0xfffffffeu, 7, 0x100001234u, 0, MAX32, 9};
    struct writer writer;
    char name[32];
    if (!writer_open(&writer)) {
        return;
    }
    for (unsigned i = 0; i < 7; i++) {
        (void)snprintf(name, sizeof name, "big/data/%u", i);
        writer_add(&writer, name, sizes[i], sizes[i] == 0 ? 0 : i);
    }
    writer_close(&writer);
    static const enum zip_form forms[] = {ZIP_TORCH, ZIP_ARCHIVE};
    for (int form = 0; form < 2; form++) {
        struct zip_directory directory = {0};
        struct llavamed_error error = {0};
        if (!EXPECT(read_form(writer.path, forms[form], &directory, &error) == LLAVAMED_OK)) {
            printf("    %s\n", error.message);
            continue;
        }
        uint64_t end = 0;
        for (unsigned i = 0; i < 7; i++) {
            EXPECT_U64(directory.entries[i].n_bytes, sizes[i]);
            EXPECT_U64(directory.entries[i].stored_bytes, sizes[i]);
            EXPECT(!directory.entries[i].deflated);
            EXPECT(directory.entries[i].data_offset > end);
            end = directory.entries[i].data_offset + sizes[i];
        }
        EXPECT(end > 3 * (uint64_t)MAX32);
        zip_directory_deinit(&directory);
    }
    (void)remove(writer.path);
}

/* 70,000 bytes are more than a comment can have. */
static void finds_trailing_bytes_at_any_distance(void)
{
    struct writer writer;
    static const uint8_t zeros[70000];
    if (!writer_open(&writer)) {
        return;
    }
    writer_add(&writer, "a/b", 3, 1);
    writer_close(&writer);
    FILE *file = fopen(writer.path, "ab");
    EXPECT(file != NULL && fwrite(zeros, 1, sizeof zeros, file) == sizeof zeros && fclose(file) == 0);
    struct zip_directory directory = {0};
    struct llavamed_error error = {0};
    EXPECT(read_path(writer.path, &directory, &error) == LLAVAMED_STATUS_INPUT_TRAILING);
    EXPECT(strstr(error.message, "70000 bytes after the end record") != NULL);
    EXPECT(directory.entries == NULL);
    (void)remove(writer.path);
}

int main(void)
{
    CASE(knows_a_local_header);
    CASE(reads_a_known_layout);
    CASE(reads_many_entries_in_a_second);
    CASE(reads_beyond_four_gib);
    CASE(finds_trailing_bytes_at_any_distance);
    return harness_end();
}
