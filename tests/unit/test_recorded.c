/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes recorded beside files. The .metadata texts are as huggingface_hub's write_download_metadata() writes them, and
 * what is trusted is what its read_download_metadata() returns; the pointer is the example of git-lfs' docs/spec.md.
 */
#include "source/recorded.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "source/source.h"
#include "unit/harness.h"
#include "unit/temp_dir.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define HASH_A "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HASH_B "acac86c0e609ca906f632b0e2dacccb2b77d22b0621f20ebece1a4835b93f6f0"
#define HASH_C "a14b4b2efbcfceb827f7944277d14c0d60e9d0a723bf8d0d3e94a17ca8b09ed2"
#define POINTER "version https://git-lfs.github.com/spec/v1\n"
#define HASH_LFS "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define DOWNLOADED 1700000000

static void metadata(void)
{
    static const struct {
        const char *text;
        double changed_seconds;
        const char *want; /* NULL: none */
    } cases[] = {
        {COMMIT "\n" HASH_A "\n1700000000.25\n", DOWNLOADED, HASH_A},
        {COMMIT "\n" HASH_A "\n1700000000.25\n", DOWNLOADED + 1.25, HASH_A}, /* a second is allowed */
        {COMMIT "\n" HASH_A "\n1700000000.25\n", DOWNLOADED + 1.5, NULL},
        {COMMIT "\n" HASH_A "\n1700000000.25\n", 0, HASH_A},
        {COMMIT "\r\n" HASH_A "\r\n1700000000\r\n", DOWNLOADED, HASH_A},
        {COMMIT "\n" COMMIT "\n1700000000\n", DOWNLOADED, NULL}, /* the hash of a git blob */
        {COMMIT "\n" HASH_A "0\n1700000000\n", DOWNLOADED, NULL},
        {COMMIT "\n" HASH_A "-gzip\n1700000000\n", DOWNLOADED, NULL},
        {COMMIT "\n" HASH_A "\n", DOWNLOADED, NULL}, /* no time: not written to the end */
        {COMMIT "\n" HASH_A, DOWNLOADED, NULL},
        {COMMIT, 0, NULL},
        {"", 0, NULL},
        {COMMIT "\n" HASH_A "\nnan\n", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct recorded_hashes found = {0};
        recorded_parse_metadata(cases[i].text, cases[i].changed_seconds, &found);
        EXPECT_TEXT(found.sha256[RECORDED_METADATA], cases[i].want == NULL ? "" : cases[i].want);
    }
}

static void pointers(void)
{
    static const char *const good[] = {
        POINTER "oid sha256:" HASH_LFS "\nsize 12345\n",
        "version https://hawser.github.com/spec/v1\r\noid sha256:" HASH_LFS "\r\nsize 12345\r\n",
        POINTER "ext-0-case sha256:" HASH_A "\noid sha256:" HASH_LFS "\nsize 1\n",
        (POINTER "oid sha256:" HASH_LFS),
    };
    static const char *const bad[] = {
        "",
        "oid sha256:" HASH_LFS "\n",
        "\nversion https://git-lfs.github.com/spec/v1\noid sha256:" HASH_LFS "\n",
        POINTER "oid md5:" HASH_LFS "\n",
        POINTER "oid sha256:" HASH_LFS "00\n",
        POINTER "oid sha256:4D7A214614AB2935C943F9E0FF69D22E\n",
        POINTER "size 12345\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct recorded_hashes found = {0};
        recorded_parse_pointer(good[i], &found);
        EXPECT_TEXT(found.sha256[RECORDED_LFS], HASH_LFS);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct recorded_hashes found = {0};
        recorded_parse_pointer(bad[i], &found);
        EXPECT_TEXT(found.sha256[RECORDED_LFS], "");
    }
}

/* The records of model.safetensors in `directory`, the file itself last changed when it was downloaded. */
static struct recorded_hashes records_of(const char *directory)
{
    const struct source_options options = {.role = "base"};
    struct source *source = NULL;
    struct llavamed_error error;
    struct recorded_hashes found = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", directory);
    const struct timespec times[2] = {{.tv_sec = DOWNLOADED}, {.tv_sec = DOWNLOADED}};
    temp_dir_require(utimensat(AT_FDCWD, path, times, 0) == 0, path);
    if (EXPECT(source_open(directory, &options, &source, &error) == LLAVAMED_OK)) {
        const struct source_file *files;
        EXPECT_U64(source_files(source, &files), 1);
        found = files[0].recorded;
        source_close(source);
    } else {
        printf("    %s\n", error.message);
    }
    return found;
}

static void copy_weights(const char *path)
{
    size_t n_bytes = 0;
    char *bytes = temp_read("tests/data/cli/base/model.safetensors", &n_bytes);
    temp_dir_require(bytes != NULL, "tests/data/cli/base/model.safetensors");
    temp_write(path, bytes, n_bytes);
    free(bytes);
}

/* Every record that lies beside a file is found, and none that is of another file. */
static void beside_a_file(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    copy_weights(temp_path(&dir, "model.safetensors"));
    struct recorded_hashes found = records_of(dir.path);
    enum recorded_in in;
    EXPECT(recorded_first(&found, &in) == NULL);
    static const char *const folders[] = {".cache", ".cache/huggingface", ".cache/huggingface/download"};
    for (size_t i = 0; i < 3; i++) {
        temp_mkdir(temp_path(&dir, "%s", folders[i]));
    }
    temp_write_text(temp_path(&dir, "%s/model.safetensors.metadata", folders[2]),
                    COMMIT "\n" HASH_A "\n1700000000.25\n");
    temp_write_text(temp_path(&dir, "model.safetensors.lfs"), POINTER "oid sha256:" HASH_LFS "\nsize 12345\n");
    temp_write_text(temp_path(&dir, "SHA256SUMS"), "# made elsewhere\nMD5 (x) = 0\n" HASH_B "  other\n" HASH_C
                                                   " *./model.safetensors\r\n" HASH_B "  sub/model.safetensors\n");
    found = records_of(dir.path);
    EXPECT_TEXT(found.sha256[RECORDED_METADATA], HASH_A);
    EXPECT_TEXT(found.sha256[RECORDED_LFS], HASH_LFS);
    EXPECT_TEXT(found.sha256[RECORDED_SUMS], HASH_C);
    EXPECT_TEXT(found.sha256[RECORDED_BLOB_NAME], "");
    EXPECT_TEXT(found.sha256[RECORDED_GIVEN], "");
    EXPECT_TEXT(recorded_first(&found, &in), HASH_A);
    EXPECT_U64(in, RECORDED_METADATA);
    temp_dir_remove(&dir);
}

/* A blob of a cache tells its hash by its name when that is a SHA-256, whatever the link to it is called. */
static void name_of_a_blob(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    static const char snapshot[] = "models--o--n/snapshots/" COMMIT;
    static const char *const folders[] = {"models--o--n", "models--o--n/blobs", "models--o--n/snapshots", snapshot};
    for (size_t i = 0; i < 4; i++) {
        temp_mkdir(temp_path(&dir, "%s", folders[i]));
    }
    static const char *const blobs[] = {HASH_A, COMMIT};
    for (size_t i = 0; i < 2; i++) {
        char target[100];
        const char *link_path = temp_path(&dir, "%s/model.safetensors", snapshot);
        copy_weights(temp_path(&dir, "models--o--n/blobs/%s", blobs[i]));
        (void)snprintf(target, sizeof target, "../../blobs/%s", blobs[i]);
        temp_dir_require(symlink(target, link_path) == 0, "symlink");
        struct recorded_hashes found = records_of(temp_path(&dir, "%s", snapshot));
        EXPECT_TEXT(found.sha256[RECORDED_BLOB_NAME], i == 0 ? HASH_A : "");
        temp_dir_require(unlink(link_path) == 0, "unlink");
    }
    temp_dir_remove(&dir);
}

static void order_and_texts(void)
{
    struct recorded_hashes recorded = {0};
    enum recorded_in in = RECORDED_COUNT;
    for (int i = RECORDED_COUNT - 1; i >= 0; i--) {
        (void)snprintf(recorded.sha256[i], SHA256_HEX_BYTES, "%d", i);
        char want[16];
        (void)snprintf(want, sizeof want, "%d", i);
        EXPECT_TEXT(recorded_first(&recorded, &in), want);
        EXPECT_U64(in, i);
        EXPECT(recorded_in_text((enum recorded_in)i)[0] != '\0');
    }
    EXPECT_TEXT(recorded_in_text(RECORDED_COUNT), "");
}

int main(void)
{
    CASE(metadata);
    CASE(pointers);
    CASE(beside_a_file);
    CASE(name_of_a_blob);
    CASE(order_and_texts);
    return harness_end();
}
