/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and signatures of tests/data/signature; what the openssl command says of ours is in tests/cli/cases/signing.sh.
 */
#include "integrity/ec_key.h"
#include "merge/key_file.h"

#include "unit/harness.h"
#include "unit/temp_dir.h"

#define DATA "tests/data/signature/"

static struct llavamed_error error;

static const struct pair {
    const char *pem;
    const char *pub;
    const char *curve;
} pairs[] = {
    {DATA "p256.pem", DATA "p256.pub", "P-256"},
    {DATA "p384.pem", DATA "p384.pub", "P-384"},
    {DATA "p521.pem", DATA "p521.pub", "P-521"},
    {DATA "pkcs8.pem", DATA "compressed.pub", "P-256"}, /* the first in other spellings */
};
#define PAIRS (sizeof pairs / sizeof pairs[0])

static bool sign(const struct ec_key *key, const char *text, unsigned char signature[EC_SIGNATURE_BYTES_MAX], size_t *n)
{
    return ec_key_sign(key, text, strlen(text), signature, n, &error) == LLAVAMED_OK;
}

static bool fits(const struct ec_key *key, const char *text, const unsigned char *signature, size_t n)
{
    bool holds = true;
    EXPECT(ec_key_verify(key, text, strlen(text), signature, n, &holds, &error) == LLAVAMED_OK);
    return holds;
}

static void pairs_sign_and_verify(void)
{
    for (size_t i = 0; i < PAIRS; i++) {
        struct ec_key *secret = NULL;
        struct ec_key *open = NULL;
        unsigned char signature[EC_SIGNATURE_BYTES_MAX];
        size_t n = 0;
        EXPECT(key_file_read_private(pairs[i].pem, &secret, &error) == LLAVAMED_OK);
        EXPECT(key_file_read_public(pairs[i].pub, &open, &error) == LLAVAMED_OK);
        EXPECT_TEXT(ec_key_curve(secret), pairs[i].curve);
        EXPECT_TEXT(ec_key_curve(open), pairs[i].curve);
        EXPECT_TEXT(ec_key_hint(secret), ec_key_hint(open));
        EXPECT(sign(secret, "text", signature, &n) && n <= EC_SIGNATURE_BYTES_MAX);
        EXPECT(fits(open, "text", signature, n) && fits(secret, "text", signature, n));
        EXPECT(!fits(open, "texT", signature, n) && !fits(open, "", signature, n));
        EXPECT(!fits(open, "text", signature, n - 1) && !fits(open, "text", signature, 0));
        for (size_t k = 0; k < n; k++) {
            signature[k] ^= 1;
            EXPECT(!fits(open, "text", signature, n));
            signature[k] ^= 1;
        }
        ec_key_free(secret);
        ec_key_free(open);
    }
}

/* By sha256sum: the hint is the hash of the PEM file that the package wrote. */
static void hint_is_the_hash_of_the_public_key(void)
{
    for (size_t i = 0; i < 3; i++) {
        char command[256];
        char want[SHA256_HEX_BYTES] = "";
        struct ec_key *key = NULL;
        (void)snprintf(command, sizeof command, "sha256sum %s", pairs[i].pub);
        FILE *pipe = popen(command, "r");
        EXPECT(pipe != NULL && fscanf(pipe, "%64s", want) == 1);
        EXPECT(pipe != NULL && pclose(pipe) == 0);
        EXPECT(key_file_read_private(pairs[i].pem, &key, &error) == LLAVAMED_OK);
        EXPECT_TEXT(ec_key_hint(key), want);
        ec_key_free(key);
    }
}

static void another_key_does_not_fit(void)
{
    struct ec_key *key = NULL;
    struct ec_key *other = NULL;
    unsigned char signature[EC_SIGNATURE_BYTES_MAX];
    size_t n = 0;
    EXPECT(key_file_read_private(DATA "p256.pem", &key, &error) == LLAVAMED_OK);
    EXPECT(sign(key, "text", signature, &n));
    for (size_t i = 1; i < 3; i++) {
        EXPECT(key_file_read_public(pairs[i].pub, &other, &error) == LLAVAMED_OK);
        EXPECT(!fits(other, "text", signature, n));
        ec_key_free(other);
    }
    ec_key_free(key);
}

/* RFC 6979 where libcrypto has it (3.2 and later), a new nonce each time elsewhere. */
static void nonces_are_as_told(void)
{
    struct ec_key *key = NULL;
    unsigned char one[EC_SIGNATURE_BYTES_MAX];
    unsigned char two[EC_SIGNATURE_BYTES_MAX];
    size_t n_one = 0;
    size_t n_two = 0;
    EXPECT(key_file_read_private(DATA "p256.pem", &key, &error) == LLAVAMED_OK);
    EXPECT(sign(key, "text", one, &n_one) && sign(key, "text", two, &n_two));
    bool same = n_one == n_two && memcmp(one, two, n_one) == 0;
    EXPECT(same == ec_key_signs_deterministically(key));
    EXPECT(ec_key_signs_deterministically(key) == (strcmp(digest_library_version(), "3.2") >= 0));
    ec_key_free(key);
}

static void wrong_keys_are_named(void)
{
    static const struct wrong {
        const char *path;
        bool is_public; /* read as */
        enum llavamed_status status;
        const char *text;
    } wrong[] = {
        {DATA "encrypted.pem", false, LLAVAMED_STATUS_KEY_INVALID, "the key is encrypted"},
        {DATA "encrypted-old.pem", false, LLAVAMED_STATUS_KEY_INVALID, "the key is encrypted"},
        {DATA "encrypted.pem", true, LLAVAMED_STATUS_KEY_INVALID, "a private key (want the public one)"},
        {DATA "rsa.pem", false, LLAVAMED_STATUS_KEY_INVALID, "(got RSA, want EC on P-256, P-384 or P-521)"},
        {DATA "ed25519.pem", false, LLAVAMED_STATUS_KEY_INVALID, "(got ED25519, want"},
        {DATA "secp256k1.pem", false, LLAVAMED_STATUS_KEY_INVALID, "(got EC on secp256k1, want"},
        {DATA "two-halves.pem", false, LLAVAMED_STATUS_KEY_INVALID, "its private and its public half are of two keys"},
        {DATA "p256.der", false, LLAVAMED_STATUS_KEY_INVALID, "no private key in PEM"},
        {DATA "flat/empty", false, LLAVAMED_STATUS_KEY_INVALID, "no private key in PEM"},
        {DATA "flat/a.txt", true, LLAVAMED_STATUS_KEY_INVALID, "no public key in PEM"},
        {DATA "p256.pub", false, LLAVAMED_STATUS_KEY_INVALID, "a public key (want the private one)"},
        {DATA "p256.pem", true, LLAVAMED_STATUS_KEY_INVALID, "a private key (want the public one)"},
        {DATA "none.pem", false, LLAVAMED_STATUS_INPUT_MISSING, "No such file"},
        {DATA "flat", false, LLAVAMED_STATUS_INPUT_UNREADABLE, "not a regular file"},
        {"/dev/zero", true, LLAVAMED_STATUS_INPUT_UNREADABLE, "not a regular file"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ec_key *key = NULL;
        enum llavamed_status status = wrong[i].is_public ? key_file_read_public(wrong[i].path, &key, &error)
                                                         : key_file_read_private(wrong[i].path, &key, &error);
        if (!EXPECT(status == wrong[i].status && strstr(error.message, wrong[i].text) != NULL && key == NULL)) {
            printf("    %s: %s\n", wrong[i].path, error.message);
        }
        EXPECT(strncmp(error.message, wrong[i].path, strlen(wrong[i].path)) == 0);
    }
}

static void a_large_file_is_no_key(void)
{
    struct temp_dir dir;
    struct ec_key *key = NULL;
    static char large[EC_KEY_FILE_BYTES_MAX + 1];
    temp_dir_make(&dir);
    memset(large, '\n', sizeof large);
    temp_write(temp_path(&dir, "large.pem"), large, sizeof large);
    EXPECT(key_file_read_private(temp_path(&dir, "large.pem"), &key, &error) == LLAVAMED_STATUS_INPUT_LIMIT);
    temp_dir_remove(&dir);
}

int main(void)
{
    CASE(pairs_sign_and_verify);
    CASE(hint_is_the_hash_of_the_public_key);
    CASE(another_key_does_not_fit);
    CASE(nonces_are_as_told);
    CASE(wrong_keys_are_named);
    CASE(a_large_file_is_no_key);
    return harness_end();
}
