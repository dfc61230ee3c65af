/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a model.sig, and as the payload in it, which nobody but the key's owner chooses but who knows who that
 * is. A bundle that is accepted, written again, is read as the same; so is a statement. A real key never accepts a
 * bundle of the fuzzer's. Memory is within a multiple of the input.
 */
#include <string.h>

#include "fuzz/fuzz_memory.h"
#include "fuzz/require.h"
#include "integrity/model_signature.h"

/* A node of cJSON for every two bytes, and the tables made of them. */
#define MEMORY_PER_BYTE 300
#define MEMORY_FIXED_BYTES 100000

/* Nobody has the private key of this one any more. */
static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvSzufFd2DPpBqtRabgr/y4eLPeA0\n"
                                 "qz2GOw2Pu0pNHJ1/FlCo7ZCK6Pv1pN80AyzaIXLZ+uwgiGtTiFkL0FtYLA==\n"
                                 "-----END PUBLIC KEY-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_bundle(const char *text, size_t size)
{
    struct sigstore_bundle bundle = {0};
    struct sigstore_bundle again = {0};
    struct llavamed_error error = {0};
    if (sigstore_bundle_read("x", text, size, &bundle, &error) != LLAVAMED_OK) {
        REQUIRE(error.message[0] != '\0' && bundle.payload == NULL);
        return;
    }
    struct buffer out;
    buffer_init(&out, 2 * SIGSTORE_BUNDLE_BYTES_MAX);
    char none[] = "";
    bool has_hint = bundle.hint != NULL;
    struct sigstore_bundle written = bundle;
    written.hint = has_hint ? bundle.hint : none;
    sigstore_bundle_append(&out, &written);
    REQUIRE(buffer_status(&out, "x", &error) == LLAVAMED_OK);
    REQUIRE(sigstore_bundle_read("x", out.data, out.n_bytes, &again, &error) == LLAVAMED_OK);
    REQUIRE(again.payload_bytes == bundle.payload_bytes && again.signature_bytes == bundle.signature_bytes);
    REQUIRE(memcmp(again.payload, bundle.payload, bundle.payload_bytes) == 0);
    REQUIRE(memcmp(again.signature, bundle.signature, bundle.signature_bytes) == 0);
    REQUIRE(strcmp(again.payload_type, bundle.payload_type) == 0);
    REQUIRE(has_hint ? again.hint != NULL && strcmp(again.hint, bundle.hint) == 0 : again.hint == NULL);
    buffer_deinit(&out);
    sigstore_bundle_deinit(&again);
    sigstore_bundle_deinit(&bundle);
}

static void require_statement(const char *text, size_t size)
{
    struct oms_statement statement = {0};
    struct oms_statement again = {0};
    struct llavamed_error error = {0};
    if (oms_statement_read("x", text, size, &statement, &error) != LLAVAMED_OK) {
        REQUIRE(error.message[0] != '\0' && statement.files == NULL);
        return;
    }
    struct buffer out;
    buffer_init(&out, 32 * size + 10000);
    REQUIRE(oms_statement_append(&out, &statement, &error) == LLAVAMED_OK);
    REQUIRE(oms_statement_read("x", out.data, out.n_bytes, &again, &error) == LLAVAMED_OK);
    REQUIRE(again.n_files == statement.n_files && again.n_ignored == statement.n_ignored);
    REQUIRE(strcmp(again.model_name, statement.model_name) == 0);
    for (size_t i = 0; i < statement.n_files; i++) {
        const struct oms_file *file = &statement.files[i];
        REQUIRE(i == 0 || strcmp(file[-1].name, file->name) < 0);
        REQUIRE(strcmp(file->name, again.files[i].name) == 0 && strcmp(file->sha256, again.files[i].sha256) == 0);
        REQUIRE(oms_statement_find(&statement, file->name) == file);
        (void)oms_statement_ignores(&statement, file->name);
    }
    buffer_deinit(&out);
    oms_statement_deinit(&again);
    oms_statement_deinit(&statement);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ec_key *key;
    struct llavamed_error error = {0};
    struct oms_statement statement = {0};
    struct sigstore_bundle bundle = {0};
    const char *text = (const char *)data;
    REQUIRE(key != NULL || ec_key_read_public("key", public_pem, sizeof public_pem - 1, &key, &error) == LLAVAMED_OK);
    require_bundle(text, size);
    require_statement(text, size);
    if (sigstore_bundle_read("x", text, size, &bundle, &error) == LLAVAMED_OK) {
        require_statement(bundle.payload, bundle.payload_bytes);
    }
    sigstore_bundle_deinit(&bundle);
    fuzz_memory_reset();
    REQUIRE(model_signature_open("x", text, size, key, &statement, &error) != LLAVAMED_OK);
    REQUIRE(fuzz_memory_peak_bytes <= MEMORY_FIXED_BYTES + MEMORY_PER_BYTE * size);
    return 0;
}
