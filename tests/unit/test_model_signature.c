/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures that the package model_signing made (tests/data/signature), read; what is written, held against what that
 * package wrote; and both after every change that could be made to them.
 */
#include "integrity/model_signature.h"

#include "integrity/base64.h"
#include "integrity/dsse.h"
#include "unit/harness.h"
#include "unit/read_file.h"

#define DATA "tests/data/signature/"

static struct llavamed_error error;

static struct ec_key *read_key(const char *path, bool is_private)
{
    size_t n_bytes = 0;
    char *pem = read_file(path, &n_bytes);
    struct ec_key *key = NULL;
    enum llavamed_status status = is_private ? ec_key_read_private(path, pem, n_bytes, &key, &error)
                                             : ec_key_read_public(path, pem, n_bytes, &key, &error);
    EXPECT(status == LLAVAMED_OK);
    free(pem);
    return key;
}

static enum llavamed_status open_file(const char *path, const char *key_path, struct oms_statement *statement)
{
    size_t n_bytes = 0;
    char *text = read_file(path, &n_bytes);
    struct ec_key *key = read_key(key_path, false);
    enum llavamed_status status = model_signature_open("model.sig", text, n_bytes, key, statement, &error);
    ec_key_free(key);
    free(text);
    return status;
}

/* ---- Reading ---- */

static void packages_signatures_are_read(void)
{
    static const char *const sigs[] = {DATA "p256.sig", DATA "p384.sig", DATA "p521.sig"};
    static const char *const keys[] = {DATA "p256.pub", DATA "p384.pub", DATA "p521.pub"};
    static const char *const names[] = {
        "README.md", "Zebra.json",     "a.txt", "empty", "na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac.txt",
        "sub-text",  "sub/weights.bin"};
    for (size_t i = 0; i < 3; i++) {
        struct oms_statement statement = {0};
        EXPECT(open_file(sigs[i], keys[i], &statement) == LLAVAMED_OK);
        EXPECT_TEXT(statement.model_name, "model");
        EXPECT_U64(statement.n_files, 7);
        for (size_t k = 0; k < 7 && statement.n_files == 7; k++) {
            EXPECT_TEXT(statement.files[k].name, names[k]);
        }
        const struct oms_file *file = oms_statement_find(&statement, "a.txt");
        EXPECT_TEXT(file == NULL ? "" : file->sha256,
                    "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        EXPECT(oms_statement_find(&statement, "a.tx") == NULL && oms_statement_find(&statement, "") == NULL);
        EXPECT_U64(statement.n_ignored, 5);
        EXPECT(oms_statement_ignores(&statement, "model.sig") && oms_statement_ignores(&statement, ".git"));
        EXPECT(oms_statement_ignores(&statement, ".git/config") && !oms_statement_ignores(&statement, ".gitmodules"));
        EXPECT(!oms_statement_ignores(&statement, "model.sig2") && !oms_statement_ignores(&statement, "a.txt"));
        oms_statement_deinit(&statement);
    }
}

static void wrong_signatures_are_named(void)
{
    static const struct wrong {
        const char *sig;
        const char *key;
        enum llavamed_status status;
        const char *text;
    } wrong[] = {
        {DATA "p256.sig", DATA "p384.pub", LLAVAMED_STATUS_SIGNATURE_MISMATCH, "signed with another key (got the one"},
        {DATA "shards.sig", DATA "p256.pub", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "(got shards, want files)"},
        {DATA "blake2.sig", DATA "p256.pub", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "(got blake2b, want sha256)"},
        {DATA "old.sig", DATA "p256.pub", LLAVAMED_STATUS_INPUT_UNSUPPORTED, "made by a model_signing before 1.0"},
        {DATA "flat/a.txt", DATA "p256.pub", LLAVAMED_STATUS_JSON_INVALID, "model.sig"},
        {DATA "flat/Zebra.json", DATA "p256.pub", LLAVAMED_STATUS_JSON_INVALID, "no 'mediaType'"},
        {DATA "flat/empty", DATA "p256.pub", LLAVAMED_STATUS_JSON_INVALID, "model.sig"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct oms_statement statement = {0};
        if (!EXPECT(open_file(wrong[i].sig, wrong[i].key, &statement) == wrong[i].status &&
                    strstr(error.message, wrong[i].text) != NULL)) {
            printf("    %s: %s\n", wrong[i].sig, error.message);
        }
        EXPECT(strncmp(error.message, "model.sig: ", 11) == 0 && statement.files == NULL);
    }
}

/* Whether a text says what the statement does. */
static bool says_the_same(const struct oms_statement *a, const struct oms_statement *b)
{
    bool same = a->n_files == b->n_files && a->n_ignored == b->n_ignored && strcmp(a->model_name, b->model_name) == 0;
    for (size_t i = 0; same && i < a->n_files; i++) {
        same = strcmp(a->files[i].name, b->files[i].name) == 0 && strcmp(a->files[i].sha256, b->files[i].sha256) == 0;
    }
    for (size_t i = 0; same && i < a->n_ignored; i++) {
        same = strcmp(a->ignored[i], b->ignored[i]) == 0;
    }
    return same;
}

/* Of every byte of a bundle, two bits: what is still accepted says what was signed. */
static void no_flipped_bit_passes(void)
{
    size_t n_bytes = 0;
    char *text = read_file(DATA "flat.sig", &n_bytes);
    struct ec_key *key = read_key(DATA "p256.pub", false);
    struct oms_statement whole = {0};
    size_t n_accepted = 0;
    EXPECT(model_signature_open("model.sig", text, n_bytes, key, &whole, &error) == LLAVAMED_OK);
    for (size_t i = 0; i < n_bytes; i++) {
        for (int bit = 0; bit < 8; bit += 5) {
            struct oms_statement statement = {0};
            text[i] = (char)(text[i] ^ (1 << bit));
            if (model_signature_open("model.sig", text, n_bytes, key, &statement, &error) == LLAVAMED_OK) {
                EXPECT(says_the_same(&whole, &statement));
                n_accepted++;
            }
            oms_statement_deinit(&statement);
            text[i] = (char)(text[i] ^ (1 << bit));
        }
    }
    /* The names of "hint", "tlogEntries" and "keyid", which say nothing of the model. */
    EXPECT(n_accepted > 0 && n_accepted < 60);
    oms_statement_deinit(&whole);
    ec_key_free(key);
    free(text);
}

/* ---- Payloads that were never signed: what a signer could get wrong ---- */

#define BEGIN "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"name\":\"m\",\"digest\":{\"sha256\":\""
#define MIDDLE                                                                                                         \
    "\"}}],\"predicateType\":\"https://model_signing/signature/v1.0\",\"predicate\":{\"serialization\":"               \
    "{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false}"
#define NOTHING_HASHED "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* Python: hashlib.sha256(bytes(32)).hexdigest(), and of bytes(64). */
#define ONE_ROOT "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
#define TWO_ROOT "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define FILE_OF(name) "{\"name\":\"" name "\",\"algorithm\":\"sha256\",\"digest\":\"" ZEROS "\"}"

static enum llavamed_status read_text(const char *text, struct oms_statement *statement)
{
    return oms_statement_read("model.sig", text, strlen(text), statement, &error);
}

static void payloads_are_read_strictly(void)
{
    static const struct payload {
        const char *text;
        enum llavamed_status status;
        const char *message;
    } payloads[] = {
        {BEGIN NOTHING_HASHED MIDDLE ",\"resources\":[]}}", LLAVAMED_OK, ""},
        {BEGIN ONE_ROOT MIDDLE ",\"resources\":[" FILE_OF("a") "]}}", LLAVAMED_OK, ""},
        {BEGIN TWO_ROOT MIDDLE ",\"resources\":[" FILE_OF("b") "," FILE_OF("a") "]}}", LLAVAMED_OK, ""},
        {BEGIN TWO_ROOT MIDDLE ",\"resources\":[" FILE_OF("a") "," FILE_OF("a") "]}}", LLAVAMED_STATUS_JSON_INVALID,
         "it names 'a' twice"},
        {BEGIN ONE_ROOT MIDDLE ",\"resources\":[]}}", LLAVAMED_STATUS_HASH_MISMATCH, "its payload contradicts itself"},
        {BEGIN ONE_ROOT MIDDLE ",\"resources\":[" FILE_OF("") "]}}", LLAVAMED_STATUS_JSON_INVALID, "without its name"},
        {BEGIN ONE_ROOT MIDDLE ",\"resources\":[7]}}", LLAVAMED_STATUS_JSON_INVALID, "without its name"},
        {BEGIN ONE_ROOT MIDDLE "}}", LLAVAMED_STATUS_JSON_INVALID, "no 'resources'"},
        {BEGIN "00" MIDDLE ",\"resources\":[]}}", LLAVAMED_STATUS_JSON_INVALID, "want one subject"},
        {BEGIN ONE_ROOT "\"}},{}],\"predicateType\":\"https://model_signing/signature/v1.0\"}",
         LLAVAMED_STATUS_JSON_INVALID, "want one subject"},
        {"{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\"x\"}", LLAVAMED_STATUS_INPUT_UNSUPPORTED,
         "another kind of statement"},
        {"[]", LLAVAMED_STATUS_JSON_INVALID, "no '_type'"},
        {"7", LLAVAMED_STATUS_JSON_INVALID, "no '_type'"},
        {"{\"a\":1,\"a\":1}", LLAVAMED_STATUS_JSON_DUPLICATE_KEY, "'a'"},
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct oms_statement statement = {0};
        error.message[0] = '\0';
        if (!EXPECT(read_text(payloads[i].text, &statement) == payloads[i].status &&
                    strstr(error.message, payloads[i].message) != NULL)) {
            printf("    %zu: %s\n", i, error.message);
        }
        oms_statement_deinit(&statement);
    }
}

/* ---- Writing ---- */

/* What the package said of the same files, byte for byte; and the package's own fixture is signed and read again. */
static void statement_is_the_packages(void)
{
    size_t n_want = 0;
    char *want = read_file(DATA "statement.json", &n_want);
    struct oms_statement statement = {0};
    struct oms_statement again = {0};
    struct buffer text;
    EXPECT(open_file(DATA "flat.sig", DATA "p256.pub", &statement) == LLAVAMED_OK);
    /* The package's order of what is ignored is a set's. */
    EXPECT_U64(statement.n_ignored, 5);
    for (size_t i = 0; i < statement.n_ignored && i < 5; i++) {
        statement.ignored[i] = oms_ignored_usually[i];
    }
    buffer_init(&text, 100000);
    EXPECT(oms_statement_append(&text, &statement, &error) == LLAVAMED_OK);
    EXPECT(text.n_bytes == n_want && memcmp(text.data, want, n_want) == 0);
    EXPECT(oms_statement_read("x", text.data, text.n_bytes, &again, &error) == LLAVAMED_OK);
    EXPECT(says_the_same(&statement, &again));
    buffer_deinit(&text);
    oms_statement_deinit(&again);
    oms_statement_deinit(&statement);
    free(want);
}

static void what_is_made_is_opened(void)
{
    static const char *const keys[][2] = {
        {DATA "p256.pem", DATA "p256.pub"}, {DATA "p384.pem", DATA "p384.pub"}, {DATA "p521.pem", DATA "p521.pub"}};
    struct oms_file files[] = {{"a \"b\"\\\x01", ZEROS}, {"\xc3\xbc", ONE_ROOT}};
    const char *ignored[] = {"model.sig"};
    for (size_t i = 0; i < 3; i++) {
        struct ec_key *secret = read_key(keys[i][0], true);
        struct ec_key *open = read_key(keys[i][1], false);
        struct ec_key *other = read_key(keys[(i + 1) % 3][1], false);
        struct oms_statement made = {
            .model_name = "name", .files = files, .n_files = 2, .ignored = ignored, .n_ignored = i == 0 ? 0 : 1};
        struct oms_statement got = {0};
        struct buffer text;
        buffer_init(&text, 100000);
        EXPECT(model_signature_make(secret, &made, &text, &error) == LLAVAMED_OK);
        EXPECT(model_signature_open("x", text.data, text.n_bytes, open, &got, &error) == LLAVAMED_OK);
        EXPECT(says_the_same(&made, &got));
        EXPECT_TEXT(got.root_sha256, made.root_sha256);
        oms_statement_deinit(&got);
        EXPECT(model_signature_open("x", text.data, text.n_bytes, other, &got, &error) ==
               LLAVAMED_STATUS_SIGNATURE_MISMATCH);
        buffer_deinit(&text);
        ec_key_free(secret);
        ec_key_free(open);
        ec_key_free(other);
    }
}

static void too_much_is_refused(void)
{
    char *large = calloc(SIGSTORE_BUNDLE_BYTES_MAX + 1, 1);
    struct sigstore_bundle bundle = {0};
    memset(large, ' ', SIGSTORE_BUNDLE_BYTES_MAX + 1);
    EXPECT(sigstore_bundle_read("x", large, SIGSTORE_BUNDLE_BYTES_MAX + 1, &bundle, &error) ==
           LLAVAMED_STATUS_INPUT_LIMIT);
    EXPECT(sigstore_bundle_read("x", large, SIGSTORE_BUNDLE_BYTES_MAX, &bundle, &error) ==
           LLAVAMED_STATUS_JSON_INVALID);
    free(large);
}

int main(void)
{
    CASE(packages_signatures_are_read);
    CASE(wrong_signatures_are_named);
    CASE(no_flipped_bit_passes);
    CASE(payloads_are_read_strictly);
    CASE(statement_is_the_packages);
    CASE(what_is_made_is_opened);
    CASE(too_much_is_refused);
    return harness_end();
}
