/* SPDX-License-Identifier: Apache-2.0 */
/* Goldens by Python: hashlib.sha256(f"{dtype} [{','.join(map(str, shape))}]\n".encode() + elements).hexdigest() */
#include "integrity/tensor_digest.h"

#include "unit/harness.h"

static const struct {
    const char *dtype;
    unsigned rank;
    uint64_t shape[TENSOR_DIGEST_RANK_MAX];
    size_t n_bytes;
    const char *elems;
    const char *hex;
} goldens[] = {
    /* The worked example of docs/digests.md. */
    {"F16", 2, {2, 2}, 8, "\x00\x3c\x00\x40\x00\x42\x00\x80",
     "8ac602448d0fc258cc50753f2b481f92b4b401cc6a5b41718ea81091a6a63795"},
    {"I64", 0, {0}, 8, "\x07\0\0\0\0\0\0\0", "a13fce4e12bf2ca5256b5972113d4a47dd53da66550694f4df3ad9c22e8decde"},
    {"F32", 0, {0}, 4, "\x00\x00\xc0\x3f", "a4be27c10d08f3b6de95c9f98e08b9f4d541952e199c70bc97d4c6a226fc6faa"},
    {"BF16", 2, {0, 3}, 0, "", "1c1270f6e6e639d532870d7817599902c2ccb63a48a68aed4f9d4f780f62fcc4"},
    {"U8", 16, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, "\xff",
     "c46f615de028bd69e56cc09a8ae6a1a6735c6df67433ed82089edc2ee98697c9"},
    {"F8_E4M3FNUZ", 2, {UINT64_MAX, 0}, 0, "", "2fd38a9d95d5f0093485e8b759b03f8733684fd1664d61b284e916c73eda7435"},
};

static void tensors(void)
{
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        struct sha256_stream *stream = NULL;
        char hex[SHA256_HEX_BYTES] = "";
        if (!EXPECT(tensor_digest_begin(goldens[i].dtype, goldens[i].shape, goldens[i].rank, &stream, NULL) ==
                    LLAVAMED_OK)) {
            continue;
        }
        for (size_t k = 0; k < goldens[i].n_bytes; k++) {
            EXPECT(sha256_update(stream, goldens[i].elems + k, 1, NULL) == LLAVAMED_OK);
        }
        EXPECT(sha256_finish(stream, hex, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(hex, goldens[i].hex);
        sha256_free(stream);
    }
}

/* The longest line there can be: hashed whole by the same library. */
static void the_longest_head(void)
{
    uint64_t shape[TENSOR_DIGEST_RANK_MAX];
    char line[512] = "F8_E4M3FNUZ [";
    for (size_t i = 0; i < TENSOR_DIGEST_RANK_MAX; i++) {
        shape[i] = UINT64_MAX;
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s18446744073709551615", i == 0 ? "" : ",");
    }
    (void)snprintf(line + strlen(line), sizeof line - strlen(line), "]\n");
    struct sha256_stream *stream = NULL;
    char got[SHA256_HEX_BYTES] = "";
    char want[SHA256_HEX_BYTES] = "";
    EXPECT(sha256_of(line, strlen(line), want, NULL) == LLAVAMED_OK);
    if (EXPECT(tensor_digest_begin("F8_E4M3FNUZ", shape, TENSOR_DIGEST_RANK_MAX, &stream, NULL) == LLAVAMED_OK)) {
        EXPECT(sha256_finish(stream, got, NULL) == LLAVAMED_OK);
        EXPECT_TEXT(got, want);
    }
    sha256_free(stream);
}

static void models(void)
{
    const struct tensor_digest rows[] = {{"a", goldens[0].hex}, {"b", goldens[1].hex}};
    char hex[SHA256_HEX_BYTES] = "";
    EXPECT(model_digest_of(rows, 2, hex, NULL) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "2d9405e68ec39a3609f8d58ed3911ecc10b4869c62f423f5e7e577834af223e8");
    EXPECT(model_digest_of(NULL, 0, hex, NULL) == LLAVAMED_OK);
    EXPECT_TEXT(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"); /* of nothing */
}

/* By bytes, not by letters: '.' < 'A' < 'a' < a byte above 0x7f; a name before one that goes on. */
static void order(void)
{
    static const char *const sorted[] = {"", "a", "a.b", "aA", "aa", "a\xc3\xa4", "b", "\xf0\x9f\x98\x80"};
    static const size_t shuffled[] = {6, 2, 7, 0, 5, 4, 1, 3};
    struct tensor_digest rows[8];
    for (size_t i = 0; i < 8; i++) {
        rows[i] = (struct tensor_digest){sorted[shuffled[i]], goldens[shuffled[i] % 6].hex};
    }
    tensor_digests_sort(rows, 8);
    for (size_t i = 0; i < 8; i++) {
        EXPECT_TEXT(rows[i].name, sorted[i]);
        EXPECT(rows[i].hex == goldens[i % 6].hex);
    }
    tensor_digests_sort(rows, 0);
}

int main(void)
{
    CASE(tensors);
    CASE(order);
    CASE(the_longest_head);
    CASE(models);
    return harness_end();
}
