/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/digest.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

static struct llavamed_error error;

/* FIPS 180-4 examples, and the million 'a's of its appendix. */
static void known_answers(void)
{
    char hex[SHA256_HEX_BYTES];
    EXPECT(sha256_of("", 0, hex, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT(sha256_of("abc", 3, hex, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    EXPECT(sha256_of(two_blocks, strlen(two_blocks), hex, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    struct sha256_stream *stream = NULL;
    EXPECT(sha256_create(&stream, &error) == LLAVAMED_OK);
    char block[1000];
    memset(block, 'a', sizeof block);
    for (int i = 0; i < 1000; i++) {
        EXPECT(sha256_update(stream, block, sizeof block, &error) == LLAVAMED_OK);
    }
    EXPECT(sha256_finish(stream, hex, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    sha256_free(stream);
    sha256_free(NULL);
}

static void pieces_equal_sha256sum(void)
{
    struct temp_dir dir;
    temp_dir_make(&dir);
    unsigned char bytes[100003];
    uint32_t state = 12345;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525U + 1013904223U;
        bytes[i] = (unsigned char)(state >> 24);
    }
    temp_write(temp_path(&dir, "data"), bytes, sizeof bytes);
    char command[512];
    (void)snprintf(command, sizeof command, "sha256sum %s", temp_path(&dir, "data"));
    FILE *pipe = popen(command, "r");
    char want[SHA256_HEX_BYTES] = "";
    EXPECT(pipe != NULL && fscanf(pipe, "%64s", want) == 1);
    EXPECT(pipe != NULL && pclose(pipe) == 0);
    struct sha256_stream *stream = NULL;
    EXPECT(sha256_create(&stream, &error) == LLAVAMED_OK);
    size_t pos = 0;
    for (size_t step = 0; pos < sizeof bytes; step = step * 3 + 1) {
        size_t n = step < sizeof bytes - pos ? step : sizeof bytes - pos;
        EXPECT(sha256_update(stream, bytes + pos, n, &error) == LLAVAMED_OK);
        pos += n;
    }
    char hex[SHA256_HEX_BYTES];
    EXPECT(sha256_finish(stream, hex, &error) == LLAVAMED_OK);
    EXPECT_TEXT(hex, want);
    sha256_free(stream);
    temp_dir_remove(&dir);
}

/* RFC 1321, A.5, in one piece and in two. */
static void md5_known_answers(void)
{
    static const char *const rows[][2] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct md5_stream *stream = NULL;
        char hex[MD5_HEX_BYTES];
        size_t n = strlen(rows[i][0]);
        EXPECT(md5_create(&stream, &error) == LLAVAMED_OK);
        EXPECT(md5_update(stream, rows[i][0], n / 2, &error) == LLAVAMED_OK);
        EXPECT(md5_update(stream, rows[i][0] + n / 2, n - n / 2, &error) == LLAVAMED_OK);
        EXPECT(md5_finish(stream, hex, &error) == LLAVAMED_OK);
        EXPECT_TEXT(hex, rows[i][1]);
        md5_free(stream);
    }
    md5_free(NULL);
}

/* What `git hash-object` says; the second is the example of huggingface_hub's own git_hash(). */
static void git_blob_known_answers(void)
{
    static const char *const rows[][2] = {
        {"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
        {"Hello, World!", "b45ef6fec89518d314f546fd6c3025367b721684"},
        {"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct git_blob_stream *stream = NULL;
        char hex[GIT_BLOB_HEX_BYTES];
        size_t n = strlen(rows[i][0]);
        EXPECT(git_blob_create(n, &stream, &error) == LLAVAMED_OK);
        EXPECT(git_blob_update(stream, rows[i][0], n / 2, &error) == LLAVAMED_OK);
        EXPECT(git_blob_update(stream, rows[i][0] + n / 2, n - n / 2, &error) == LLAVAMED_OK);
        EXPECT(git_blob_finish(stream, hex, &error) == LLAVAMED_OK);
        EXPECT_TEXT(hex, rows[i][1]);
        git_blob_free(stream);
    }
    git_blob_free(NULL);
}

static void version_is_a_number(void)
{
    const char *version = digest_library_version();
    EXPECT(version[0] >= '3' && version[0] <= '9' && version[1] == '.');
}

int main(void)
{
    CASE(known_answers);
    CASE(pieces_equal_sha256sum);
    CASE(md5_known_answers);
    CASE(git_blob_known_answers);
    CASE(version_is_a_number);
    return harness_end();
}
