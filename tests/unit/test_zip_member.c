/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives as people pack directories, read back: those of tests/data/archive/good against the files that the tools
 * were given, those of bad/ against what is wrong with them; then every byte changed and every length cut.
 */
#include "unit/harness.h"

#include <dirent.h>

#include "format/zip_member.h"
#include "integrity/crc32.h"
#include "unit/read_file.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/archive/"

static struct llavamed_error error;

static struct input_file *memory_file(const char *bytes, size_t n_bytes)
{
    struct input_file *file = NULL;
    struct input_run run = {0, bytes, n_bytes};
    temp_dir_require(input_file_open_memory("m.zip", n_bytes, &run, 1, &file, NULL) == LLAVAMED_OK, "memory");
    return file;
}

/* What the tools were given: NULL for what is not of the tree (what jar adds). zip calls its standard input "-". */
static char *known_content(const char *name, size_t *n_bytes)
{
    char path[256];
    (void)snprintf(path, sizeof path, DATA "content/%s", strcmp(name, "-") == 0 ? "llava/model.bin" : name);
    bool known = strncmp(name, "llava/", 6) == 0 || strcmp(name, "-") == 0;
    *n_bytes = 0;
    return !known ? NULL : name[strlen(name) - 1] == '/' ? calloc(1, 1) : read_file(path, n_bytes);
}

/* In pieces of 1, 2, 3... bytes. */
static bool pieces_are(struct input_file *file, const struct zip_entry *entry, const char *want)
{
    struct zip_member *member = NULL;
    char piece[4096];
    uint64_t position = 0;
    bool same = zip_member_open(file, entry, "an entry", &member, &error) == LLAVAMED_OK;
    for (size_t n = 1; same && position < entry->n_bytes; n = n % sizeof piece + 1) {
        uint32_t crc = 1;
        n = n < entry->n_bytes - position ? n : (size_t)(entry->n_bytes - position);
        same = zip_member_position(member) == position &&
               zip_member_read(member, piece, n, n % 2 == 0 ? &crc : NULL, &error) == LLAVAMED_OK &&
               memcmp(piece, want + position, n) == 0 && (n % 2 != 0 || crc == crc32_update(0, piece, n));
        position += n;
    }
    same = same && zip_member_read(member, piece, 1, NULL, &error) == LLAVAMED_STATUS_INPUT_TRUNCATED &&
           zip_member_finish(member, true, &error) == LLAVAMED_OK &&
           zip_member_bytes_read(member) == entry->stored_bytes && zip_member_bytes(member) == entry->n_bytes &&
           strcmp(zip_member_name(member), "an entry") == 0;
    zip_member_close(member);
    return same;
}

static size_t check_entry(struct input_file *file, const struct zip_entry *entry)
{
    size_t want_bytes = 0;
    char *want = known_content(entry->name, &want_bytes);
    char *got = NULL;
    if (want == NULL) {
        return 0;
    }
    if (!EXPECT(zip_member_read_whole(file, entry, "x", want_bytes, &got, &error) == LLAVAMED_OK)) {
        printf("    %s: %s\n", entry->name, error.message);
    } else {
        EXPECT_U64(entry->n_bytes, want_bytes);
        EXPECT(memcmp(got, want, want_bytes) == 0 && got[want_bytes] == '\0');
        EXPECT(pieces_are(file, entry, want));
    }
    if (want_bytes > 0) {
        char *untouched = NULL;
        EXPECT(zip_member_read_whole(file, entry, "x", want_bytes - 1, &untouched, &error) ==
               LLAVAMED_STATUS_INPUT_LIMIT);
        EXPECT(untouched == NULL);
    }
    free(got);
    free(want);
    return want_bytes > 0;
}

static void reads_what_tools_write(void)
{
    size_t n_archives = 0;
    DIR *folder = opendir(DATA "good");
    if (!EXPECT(folder != NULL)) {
        return;
    }
    for (struct dirent *item = readdir(folder); item != NULL; item = readdir(folder)) {
        char path[512];
        struct input_file *file = NULL;
        struct zip_directory directory = {0};
        (void)snprintf(path, sizeof path, DATA "good/%s", item->d_name);
        if (item->d_name[0] == '.') {
            continue;
        }
        n_archives++;
        EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
        if (!EXPECT(zip_directory_read(file, ZIP_ARCHIVE, &directory, &error) == LLAVAMED_OK)) {
            printf("    %s\n", error.message);
            input_file_close(file);
            continue;
        }
        size_t n_known = 0;
        bool deflated = false;
        for (size_t i = 0; i < directory.n_entries; i++) {
            n_known += check_entry(file, &directory.entries[i]);
            deflated |= directory.entries[i].deflated;
        }
        /* The whole tree has three files that are not empty. */
        bool whole = zip_find(&directory, "llava/noise.bin") != ZIP_NOT_FOUND;
        EXPECT(n_known >= (whole ? 3 : 1));
        zip_directory_deinit(&directory);
        /* torch's rules stay what they are. */
        EXPECT(!deflated || zip_directory_read(file, ZIP_TORCH, &directory, &error) != LLAVAMED_OK);
        input_file_close(file);
    }
    (void)closedir(folder);
    EXPECT(n_archives >= 28);
}

/* Directory, then every entry: the first error. */
static enum llavamed_status read_all(struct input_file *file, enum zip_form form)
{
    struct zip_directory directory = {0};
    enum llavamed_status status = zip_directory_read(file, form, &directory, &error);
    for (size_t i = 0; status == LLAVAMED_OK && i < directory.n_entries; i++) {
        char *bytes = NULL;
        status = zip_member_read_whole(file, &directory.entries[i], directory.entries[i].name, 1000000, &bytes, &error);
        free(bytes);
    }
    zip_directory_deinit(&directory);
    return status;
}

static void says_what_is_wrong(void)
{
    static const struct {
        const char *name;
        enum llavamed_status status;
        const char *text;
    } rows[] = {
        {"content_longer", LLAVAMED_STATUS_ZIP_INVALID, "longer than the directory says (after 263 of 263 bytes)"},
        {"content_shorter", LLAVAMED_STATUS_ZIP_INVALID, "shorter than the directory says (after 264 of 265 bytes)"},
        {"content_empty", LLAVAMED_STATUS_ZIP_INVALID, "longer than the directory says (after 0 of 0 bytes)"},
        {"data_behind", LLAVAMED_STATUS_ZIP_INVALID, "something follows the deflate data"},
        {"data_cut", LLAVAMED_STATUS_ZIP_INVALID, "ends too early"},
        {"data_none", LLAVAMED_STATUS_ZIP_INVALID, "ends too early (after 0 of 264 bytes)"},
        {"data_none_empty", LLAVAMED_STATUS_ZIP_INVALID, "ends too early (after 0 of 0 bytes)"},
        {"damaged_at_once", LLAVAMED_STATUS_ZIP_INVALID, "llava/a.txt: zip: damaged deflate data (after 0 of 264"},
        {"damaged_distance", LLAVAMED_STATUS_ZIP_INVALID, "damaged deflate data"},
        {"crc", LLAVAMED_STATUS_CRC_MISMATCH, "llava/a.txt: CRC-32 differs"},
        {"crc_stored", LLAVAMED_STATUS_CRC_MISMATCH, "CRC-32 differs"},
        {"bomb", LLAVAMED_STATUS_ZIP_INVALID, "deflated more than can be (got 10, want 1000000000000)"},
        {"bomb_all", LLAVAMED_STATUS_ZIP_INVALID, "deflated more than can be"},
        {"data_too_long", LLAVAMED_STATUS_ZIP_OVERLAP, "runs into the directory"},
        {"data_too_short", LLAVAMED_STATUS_ZIP_INVALID, "1 bytes follow the data"},
        {"stored_size", LLAVAMED_STATUS_ZIP_INVALID, "another size than its own (got 264, want 263)"},
        {"method_lzma", LLAVAMED_STATUS_ZIP_COMPRESSED, "method 14, want 0, stored, or 8, deflated"},
        {"encrypted", LLAVAMED_STATUS_ZIP_ENCRYPTED, "is encrypted"},
        {"flags_unknown", LLAVAMED_STATUS_ZIP_INVALID, "unknown flags (got 0x0010)"},
        {"comment_longer", LLAVAMED_STATUS_INPUT_TRAILING, "2 bytes after the end record, which are not its comment"},
        {"directory_content", LLAVAMED_STATUS_ZIP_INVALID, "llava/ is a directory and has content"},
        {"twice", LLAVAMED_STATUS_ZIP_DUPLICATE, "different letter case"},
        {"local_method", LLAVAMED_STATUS_ZIP_DISAGREES, "compression method"},
        {"local_flags", LLAVAMED_STATUS_ZIP_DISAGREES, "flags"},
        {"local_name", LLAVAMED_STATUS_ZIP_DISAGREES, "name"},
        {"local_size", LLAVAMED_STATUS_ZIP_DISAGREES, "size"},
        {"local_stored", LLAVAMED_STATUS_ZIP_DISAGREES, "size"},
        {"local_crc", LLAVAMED_STATUS_ZIP_DISAGREES, "CRC-32"},
        {"descriptor_swapped", LLAVAMED_STATUS_ZIP_DISAGREES, "descriptor"},
        {"descriptor_size", LLAVAMED_STATUS_ZIP_DISAGREES, "descriptor"},
        {"descriptor_none", LLAVAMED_STATUS_ZIP_INVALID, "0 bytes follow the data"},
        {"descriptor_unsigned", LLAVAMED_STATUS_ZIP_DISAGREES, "descriptor"},
        {"descriptor_unasked", LLAVAMED_STATUS_ZIP_INVALID, "16 bytes follow the data"},
        {"zip64_short", LLAVAMED_STATUS_ZIP_INVALID, "wrong zip64 field"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[256];
        struct input_file *file = NULL;
        (void)snprintf(path, sizeof path, DATA "bad/%s.zip", rows[i].name);
        EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
        bool right = EXPECT(read_all(file, ZIP_ARCHIVE) == rows[i].status);
        if (!EXPECT(strstr(error.message, rows[i].text) != NULL) || !right) {
            printf("    %s: %s\n", rows[i].name, error.message);
        }
        input_file_close(file);
    }
}

/* What is read of an archive of n_entries that was changed: an error, or what was packed. */
static bool content_is_known(struct input_file *file, size_t n_entries)
{
    struct zip_directory directory = {0};
    if (zip_directory_read(file, ZIP_ARCHIVE, &directory, &error) != LLAVAMED_OK) {
        return true;
    }
    bool known = directory.n_entries == n_entries;
    for (size_t i = 0; i < directory.n_entries; i++) {
        const struct zip_entry *entry = &directory.entries[i];
        size_t want_bytes = 0;
        char *got = NULL;
        if (zip_member_read_whole(file, entry, "x", 100000, &got, &error) == LLAVAMED_OK) {
            char *want = known_content(entry->name, &want_bytes);
            known = known && want != NULL && entry->n_bytes == want_bytes && memcmp(got, want, want_bytes) == 0;
            free(want);
        }
        free(got);
    }
    zip_directory_deinit(&directory);
    return known;
}

static void a_changed_byte_never_makes_other_content(void)
{
    static const struct {
        const char *name;
        size_t n_entries;
    } rows[] = {{"hand_comments", 2}, {"hand_unsigned_descriptor", 1}, {"hand_zip64_unasked", 1}};
    static const unsigned char masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        size_t n_bytes = 0;
        size_t n_refused = 0;
        (void)snprintf(path, sizeof path, DATA "good/%s.zip", rows[i].name);
        char *bytes = read_file(path, &n_bytes);
        struct input_file *file = memory_file(bytes, n_bytes);
        EXPECT(read_all(file, ZIP_ARCHIVE) == LLAVAMED_OK);
        for (size_t at = 0; at < n_bytes; at++) {
            for (size_t j = 0; j < sizeof masks; j++) {
                bytes[at] = (char)(bytes[at] ^ masks[j]);
                n_refused += read_all(file, ZIP_ARCHIVE) != LLAVAMED_OK;
                EXPECT(content_is_known(file, rows[i].n_entries));
                bytes[at] = (char)(bytes[at] ^ masks[j]);
            }
        }
        /* Versions, times, attributes and comments may be anything. */
        EXPECT(n_refused > n_bytes * 9 / 2);
        input_file_close(file);
        free(bytes);
    }
}

/* With a comment of any length, and with or without the zip64 records before it; torch's rules have none. */
static void a_comment_reaches_just_to_the_end(void)
{
    static const char *const names[] = {"good/python.zip", "good/zip_stdin.zip", "good/bsdtar_zip64.zip"};
    static const size_t lengths[] = {1, 21, 22, 1000, 65535};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        size_t n_bytes = 0;
        (void)snprintf(path, sizeof path, DATA "%s", names[i]);
        char *bytes = read_file(path, &n_bytes);
        char *longer = calloc(1, n_bytes + 65536);
        memcpy(longer, bytes, n_bytes);
        for (size_t j = 0; j < sizeof lengths / sizeof lengths[0]; j++) {
            longer[n_bytes - 2] = (char)(lengths[j] & 0xff);
            longer[n_bytes - 1] = (char)(lengths[j] >> 8);
            for (size_t extra = lengths[j] - 1; extra <= lengths[j] + 1; extra++) {
                struct input_file *file = memory_file(longer, n_bytes + extra);
                EXPECT((read_all(file, ZIP_ARCHIVE) == LLAVAMED_OK) == (extra == lengths[j]));
                EXPECT(read_all(file, ZIP_TORCH) != LLAVAMED_OK);
                input_file_close(file);
            }
        }
        free(longer);
        free(bytes);
    }
}

static void a_cut_archive_is_refused_at_any_length(void)
{
    static const char *const names[] = {"good/python.zip", "good/bsdtar_zip64.zip", "good/hand_comments.zip"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        size_t n_bytes = 0;
        (void)snprintf(path, sizeof path, DATA "%s", names[i]);
        char *bytes = read_file(path, &n_bytes);
        for (size_t n = 0; n < n_bytes; n++) {
            struct input_file *file = memory_file(bytes, n);
            EXPECT(read_all(file, ZIP_ARCHIVE) != LLAVAMED_OK);
            input_file_close(file);
        }
        free(bytes);
    }
}

/* Cut inside its data, an entry that the directory still describes ends in an error, whatever the size of the cut. */
static void a_file_that_shrinks_is_noticed(void)
{
    struct temp_dir dir;
    struct input_file *file = NULL;
    struct zip_directory directory = {0};
    size_t n_bytes = 0;
    char *bytes = read_file(DATA "good/zip_stdin.zip", &n_bytes);
    temp_dir_make(&dir);
    char *path = temp_path(&dir, "a.zip");
    temp_write(path, bytes, n_bytes);
    EXPECT(input_file_open(path, &file, &error) == LLAVAMED_OK);
    EXPECT(zip_directory_read(file, ZIP_ARCHIVE, &directory, &error) == LLAVAMED_OK);
    EXPECT(truncate(path, 100) == 0);
    char *got = NULL;
    EXPECT(zip_member_read_whole(file, directory.entries, "x", 100000, &got, &error) == LLAVAMED_STATUS_INPUT_CHANGED);
    EXPECT(got == NULL);
    zip_directory_deinit(&directory);
    input_file_close(file);
    free(bytes);
    temp_dir_remove(&dir);
}

/* More content than one step and one input: 3 MB of noise and zeros in turn. */
static void reads_a_member_of_many_steps(void)
{
    enum { N_BYTES = 3000000, BLOCK = 65535 };
    static uint8_t content[N_BYTES];
    static uint8_t got[N_BYTES];
    static uint8_t data[N_BYTES + 5 * (N_BYTES / BLOCK + 1)];
    size_t stored = 0;
    uint32_t state = 1;
    for (size_t i = 0; i < N_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        content[i] = (uint8_t)(i / 100000 % 2 == 0 ? 0 : state >> 24);
    }
    /* Stored blocks, RFC 1951 3.2.4. */
    for (size_t at = 0; at < N_BYTES; at += BLOCK) {
        unsigned n = N_BYTES - at < BLOCK ? (unsigned)(N_BYTES - at) : BLOCK;
        const uint8_t header[] = {at + n == N_BYTES, n & 255, (uint8_t)(n >> 8), ~n & 255, (uint8_t)(~n >> 8)};
        memcpy(data + stored, header, 5);
        memcpy(data + stored + 5, content + at, n);
        stored += 5 + n;
    }
    struct zip_entry entry = {.n_bytes = N_BYTES,
                              .stored_bytes = stored,
                              .deflated = true,
                              .crc32 = crc32_update(0, content, N_BYTES)};
    struct input_file *file = memory_file((const char *)data, stored);
    for (size_t piece = 1000; piece <= 4 * (size_t)N_BYTES; piece *= 7) {
        struct zip_member *member = NULL;
        memset(got, 1, N_BYTES);
        EXPECT(zip_member_open(file, &entry, "x", &member, &error) == LLAVAMED_OK);
        for (size_t at = 0; at < N_BYTES; at += piece) {
            size_t n = N_BYTES - at < piece ? N_BYTES - at : piece;
            uint32_t crc = 0;
            EXPECT(zip_member_read(member, got + at, n, &crc, &error) == LLAVAMED_OK);
            EXPECT_U64(crc, crc32_update(0, content + at, n));
            EXPECT(zip_member_bytes_read(member) <= stored);
        }
        EXPECT(zip_member_finish(member, true, &error) == LLAVAMED_OK);
        EXPECT(memcmp(got, content, N_BYTES) == 0);
        zip_member_close(member);
    }
    entry.crc32 ^= 1;
    struct zip_member *member = NULL;
    EXPECT(zip_member_open(file, &entry, "x", &member, &error) == LLAVAMED_OK);
    EXPECT(zip_member_read(member, got, N_BYTES, NULL, &error) == LLAVAMED_OK);
    EXPECT(zip_member_finish(member, true, &error) == LLAVAMED_STATUS_CRC_MISMATCH);
    EXPECT(zip_member_finish(member, false, &error) == LLAVAMED_OK);
    zip_member_close(member);
    zip_member_close(NULL);
    input_file_close(file);
}

int main(void)
{
    CASE(reads_what_tools_write);
    CASE(says_what_is_wrong);
    CASE(a_changed_byte_never_makes_other_content);
    CASE(a_comment_reaches_just_to_the_end);
    CASE(a_cut_archive_is_refused_at_any_length);
    CASE(a_file_that_shrinks_is_noticed);
    CASE(reads_a_member_of_many_steps);
    return harness_end();
}
