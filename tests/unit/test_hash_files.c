/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/hash_files.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_BLOB "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"

static struct llavamed_error error;

static void note_bytes(void *context, const struct llavamed_progress *progress)
{
    uint64_t *last = context;
    last[0] = progress->done_bytes;
    last[1] = progress->total_bytes;
}

/* Each file gets the hashes it asks for, and only these. */
static void hashes_as_asked(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    char path[2][1000];
    (void)snprintf(path[0], sizeof path[0], "%s", temp_path(&dir, "abc"));
    (void)snprintf(path[1], sizeof path[1], "%s", temp_path(&dir, "empty"));
    temp_write_text(path[0], "abc");
    temp_write_text(path[1], "");
    char sha256[2][SHA256_HEX_BYTES];
    char git_blob[GIT_BLOB_HEX_BYTES];
    char git_alone[GIT_BLOB_HEX_BYTES];
    const struct hash_files_task tasks[] = {
        {.path = path[0], .hex = sha256[0], .git_hex = git_blob},
        {.path = path[1], .hex = sha256[1]},
        {.path = path[0], .git_hex = git_alone},
    };
    uint64_t told[2] = {99, 99};
    const struct llavamed_observer observer = {.context = told, .progress = note_bytes};
    for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
        const struct hash_files_options options = {
            .n_threads = n_threads, .observer = &observer, .check = "files", .n_bytes = 6};
        memset(sha256, 0, sizeof sha256);
        memset(git_blob, 0, sizeof git_blob);
        memset(git_alone, 0, sizeof git_alone);
        EXPECT(hash_files(tasks, 3, &options, &error) == LLAVAMED_OK);
        EXPECT_TEXT(sha256[0], ABC);
        EXPECT_TEXT(sha256[1], EMPTY);
        EXPECT_TEXT(git_blob, ABC_BLOB);
        EXPECT_TEXT(git_alone, ABC_BLOB);
        EXPECT_U64(told[0], 6);
        EXPECT_U64(told[1], 6);
    }
    temp_dir_remove(&dir);
}

static void failures(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    char path[2][1000];
    (void)snprintf(path[0], sizeof path[0], "%s", temp_path(&dir, "one"));
    (void)snprintf(path[1], sizeof path[1], "%s", temp_path(&dir, "missing"));
    temp_write_text(path[0], "abc");
    char sha256[2][SHA256_HEX_BYTES];
    const struct hash_files_task tasks[] = {{.path = path[0], .hex = sha256[0]}, {.path = path[1], .hex = sha256[1]}};
    static volatile int stop = 0;
    const struct hash_files_options options = {.n_threads = 1, .stop_signal = &stop};
    EXPECT(hash_files(tasks, 2, &options, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    EXPECT(strstr(error.message, "missing") != NULL);
    stop = 2;
    EXPECT(hash_files(tasks, 1, &options, &error) == LLAVAMED_STATUS_INTERRUPTED);
    EXPECT(error.signal_number == 2);
    stop = 0;
    EXPECT(hash_files(tasks, 0, &options, &error) == LLAVAMED_OK);
    temp_dir_remove(&dir);
}

/* What --verify full is for: a byte that is not on the disk as it was written. */
static void read_back_finds_a_difference(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    uint64_t told[2] = {99, 99};
    const struct llavamed_observer observer = {.context = told, .progress = note_bytes};
    const struct hash_files_options options = {.n_threads = 2, .observer = &observer, .check = "output"};
    temp_write_text(temp_path(&dir, "a"), "abc");
    temp_write_text(temp_path(&dir, "b"), "");
    temp_write_text(temp_path(&dir, "SHA256SUMS"), ABC "  a\n" EMPTY "  b\n");
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_OK);
    EXPECT_U64(told[0], 3);
    EXPECT_U64(told[1], 3);
    temp_write_text(temp_path(&dir, "a"), "abd");
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message, "/a: what was read back is not what was written") != NULL);
    EXPECT(strstr(error.message, "want " ABC) != NULL);
    EXPECT(error.hint[0] != '\0');
    const struct hash_files_names skipped = {(const char *const[]){"a"}, 1};
    EXPECT(hash_files_read_back(dir.path, &skipped, &options, &error) == LLAVAMED_OK);
    EXPECT_U64(told[1], 0);
    temp_write_text(temp_path(&dir, "a"), "ab");
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    temp_write_text(temp_path(&dir, "a"), "abc");
    temp_write_text(temp_path(&dir, "b"), "x");
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message, "/b: what was read back") != NULL);
    EXPECT(remove(temp_path(&dir, "b")) == 0);
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_STATUS_INPUT_MISSING);
    temp_write_text(temp_path(&dir, "SHA256SUMS"), ABC "  a\n" "damaged\n");
    EXPECT(hash_files_read_back(dir.path, NULL, &options, &error) == LLAVAMED_STATUS_HASH_MISMATCH);
    EXPECT(strstr(error.message, "SHA256SUMS: damaged when read back") != NULL);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(hashes_as_asked);
    CASE(failures);
    CASE(read_back_finds_a_difference);
    return harness_end();
}
