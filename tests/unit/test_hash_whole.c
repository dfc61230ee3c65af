/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing whole files and reading back what was written. The hashes are those that sha256sum printed. */
#include "merge/hash_files.h"

#include <signal.h>

#include "unit/harness.h"
#include "unit/temp_dir.h"

/* `yes llavamed | tr -d '\n' | head -c N | sha256sum`; the sizes are those around a chunk of 1 MiB. */
static const struct {
    size_t n_bytes;
    const char *sha256;
} known[] = {
    {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {1, "acac86c0e609ca906f632b0e2dacccb2b77d22b0621f20ebece1a4835b93f6f0"},
    {55, "a14b4b2efbcfceb827f7944277d14c0d60e9d0a723bf8d0d3e94a17ca8b09ed2"},
    {64, "e552ee594585926b9e888324a39b56f6b6796478e7889aeaf8a1992ba791daea"},
    {1048575, "fb24b46333fabb852e125788658a71e916adf22ae73ad69610cb83f14a44c90d"},
    {1048576, "f86025cfd0949e8e1831f3c26ca67eb392f859d4149ba790d021ce71d0a5f64e"},
    {1048577, "173006a55a8b21600b27b83a335c69ccb92cceec4248a4891b716ce54d25a025"},
    {3145729, "13db05eedf2b0de71530543d5820fbcbf8c238cbefb14d7941dc463e5a8d6b80"},
};

#define KNOWN (sizeof known / sizeof known[0])

static struct temp_dir dir;
static char paths[KNOWN][512];

/* File i holds known[i].n_bytes bytes. */
static void make_files(void)
{
    static const char word[] = "llavamed";
    size_t longest = known[KNOWN - 1].n_bytes;
    char *bytes = malloc(longest);
    temp_dir_require(bytes != NULL, "malloc");
    for (size_t i = 0; i < longest; i++) {
        bytes[i] = word[i % (sizeof word - 1)];
    }
    for (size_t i = 0; i < KNOWN; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s", temp_path(&dir, "file-%zu", i));
        temp_write(paths[i], bytes, known[i].n_bytes);
    }
    free(bytes);
}

static enum llavamed_status hash(const char *const *names, size_t n, unsigned n_threads,
                                 const volatile int *stop_signal, char hexes[][SHA256_HEX_BYTES],
                                 struct llavamed_error *error)
{
    struct hash_files_task tasks[2 * KNOWN];
    const struct hash_files_options options = {.n_threads = n_threads, .stop_signal = stop_signal};
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(hexes[i], SHA256_HEX_BYTES, "untouched");
        tasks[i] = (struct hash_files_task){.path = names[i], .hex = hexes[i]};
    }
    memset(error, 0, sizeof *error);
    return hash_files(tasks, n, &options, error);
}

static void known_hashes(void)
{
    static const unsigned thread_counts[] = {0, 1, 2, 4, 100};
    char hexes[2 * KNOWN][SHA256_HEX_BYTES];
    const char *names[2 * KNOWN];
    struct llavamed_error error;
    for (size_t i = 0; i < 2 * KNOWN; i++) {
        names[i] = paths[(i * 3) % KNOWN]; /* each twice, out of order */
    }
    for (size_t t = 0; t < sizeof thread_counts / sizeof thread_counts[0]; t++) {
        EXPECT(hash(names, 2 * KNOWN, thread_counts[t], NULL, hexes, &error) == LLAVAMED_OK);
        for (size_t i = 0; i < 2 * KNOWN; i++) {
            EXPECT_TEXT(hexes[i], known[(i * 3) % KNOWN].sha256);
        }
    }
    EXPECT(hash(names, 0, 4, NULL, hexes, &error) == LLAVAMED_OK);
}

/* One worker takes them in order; with several the error is that of one of those that cannot be read. */
static void first_error_wins(void)
{
    char absent[512];
    char hexes[3][SHA256_HEX_BYTES];
    struct llavamed_error error;
    (void)snprintf(absent, sizeof absent, "%s", temp_path(&dir, "absent"));
    const char *names[] = {paths[1], absent, dir.path};
    EXPECT(hash(names, 3, 1, NULL, hexes, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(error.status == LLAVAMED_STATUS_INPUT_MISSING && strstr(error.message, absent) != NULL);
    EXPECT_TEXT(hexes[0], known[1].sha256);
    EXPECT_TEXT(hexes[1], "untouched");
    EXPECT_TEXT(hexes[2], "untouched");
    const char *unreadable[] = {dir.path, paths[1]};
    EXPECT(hash(unreadable, 2, 1, NULL, hexes, &error) == LLAVAMED_STATUS_INPUT_UNREADABLE);
    for (size_t i = 0; i < 20; i++) {
        EXPECT(hash(names, 3, 3, NULL, hexes, &error) != LLAVAMED_OK);
        EXPECT(error.status == LLAVAMED_STATUS_INPUT_MISSING || error.status == LLAVAMED_STATUS_INPUT_UNREADABLE);
        EXPECT(strstr(error.message, dir.path) != NULL);
    }
}

static void stops(void)
{
    volatile int stop_signal = SIGTERM;
    char hexes[2][SHA256_HEX_BYTES];
    struct llavamed_error error;
    const char *names[] = {paths[7], paths[4]};
    for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
        EXPECT(hash(names, 2, n_threads, &stop_signal, hexes, &error) == LLAVAMED_STATUS_INTERRUPTED);
        EXPECT_U64(error.signal_number, SIGTERM);
        EXPECT_TEXT(error.message, "interrupted by signal 15");
        EXPECT_TEXT(hexes[0], "untouched");
    }
    stop_signal = 0;
    EXPECT(hash(names, 2, 2, &stop_signal, hexes, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hexes[0], known[7].sha256);
}

/* ---- Reading back ---- */

static enum llavamed_status read_back(const volatile int *stop_signal, struct llavamed_error *error)
{
    const struct hash_files_options options = {.n_threads = 2, .stop_signal = stop_signal};
    memset(error, 0, sizeof *error);
    return hash_files_read_back(dir.path, NULL, &options, error);
}

/* A list of all files, as sha256sum prints it, and one whose name it escapes. */
static void write_sums(const char *behind)
{
    char text[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < KNOWN; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s  file-%zu\n", known[i].sha256, i);
    }
    temp_write(temp_path(&dir, "a\nb\\c"), "l", 1);
    (void)snprintf(text + used, sizeof text - used, "\\%s  a\\nb\\\\c\n%s", known[1].sha256, behind);
    temp_write_text(temp_path(&dir, "SHA256SUMS"), text);
}

static void reads_back(void)
{
    struct llavamed_error error;
    volatile int stop_signal = SIGINT;
    EXPECT(read_back(NULL, &error) == LLAVAMED_STATUS_INPUT_MISSING); /* no list yet */
    write_sums("");
    if (!EXPECT(read_back(NULL, &error) == LLAVAMED_OK)) {
        printf("    %s\n", error.message);
    }
    EXPECT(read_back(&stop_signal, &error) == LLAVAMED_STATUS_INTERRUPTED && error.signal_number == SIGINT);
    /* One bit of the last byte of one file. */
    FILE *stream = fopen(paths[6], "r+b");
    temp_dir_require(stream != NULL && fseek(stream, -1, SEEK_END) == 0, paths[6]);
    temp_dir_require(fputc('l' ^ 1, stream) != EOF && fclose(stream) == 0, paths[6]);
    EXPECT(read_back(NULL, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    char want[256];
    (void)snprintf(want, sizeof want, "want %s)", known[6].sha256);
    EXPECT(strstr(error.message, paths[6]) != NULL && strstr(error.message, want) != NULL);
    EXPECT(strstr(error.message, "what was read back is not what was written") != NULL);
    EXPECT(error.hint[0] != '\0');
    make_files();
    EXPECT(read_back(NULL, &error) == LLAVAMED_OK);
}

static void damaged_list(void)
{
    static const char *const wrong[] = {"\n", "# a comment\n", "0123  file-0\n",
                                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85g  file-0\n"};
    struct llavamed_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_sums(wrong[i]);
        EXPECT(read_back(NULL, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
        EXPECT(strstr(error.message, "SHA256SUMS: damaged when read back") != NULL);
    }
    write_sums("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  absent");
    EXPECT(read_back(NULL, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(strstr(error.message, "/absent") != NULL);
    temp_write_text(temp_path(&dir, "SHA256SUMS"), "");
    EXPECT(read_back(NULL, &error) == LLAVAMED_OK);
}

int main(void)
{
    temp_dir_make(&dir);
    make_files();
    CASE(known_hashes);
    CASE(first_error_wins);
    CASE(stops);
    CASE(reads_back);
    CASE(damaged_list);
    temp_dir_remove(&dir);
    return harness_end();
}
