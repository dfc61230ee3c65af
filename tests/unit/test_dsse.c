/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/base64.h"
#include "integrity/dsse.h"

#include "unit/harness.h"

/* RFC 4648, section 10. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void base64_known_answers(void)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        unsigned char bytes[16];
        size_t n_bytes = 99;
        struct buffer text;
        buffer_init(&text, 100);
        base64_append(&text, vectors[i][0], strlen(vectors[i][0]));
        EXPECT_TEXT(text.data == NULL ? "" : text.data, vectors[i][1]);
        buffer_deinit(&text);
        EXPECT(base64_decode(vectors[i][1], strlen(vectors[i][1]), bytes, &n_bytes));
        EXPECT(n_bytes == strlen(vectors[i][0]) && memcmp(bytes, vectors[i][0], n_bytes) == 0);
    }
}

static void base64_of_every_byte(void)
{
    unsigned char all[256];
    unsigned char again[256];
    size_t n_bytes = 0;
    struct buffer text;
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (unsigned char)(255 - i);
    }
    for (size_t n = 250; n <= sizeof all; n++) {
        buffer_init(&text, 1000);
        base64_append(&text, all, n);
        EXPECT(text.n_bytes == (n + 2) / 3 * 4 && base64_decode(text.data, text.n_bytes, again, &n_bytes));
        EXPECT(n_bytes == n && memcmp(all, again, n) == 0);
        buffer_deinit(&text);
    }
}

static void base64_refuses_what_no_encoder_writes(void)
{
    static const char *const bad[] = {"Zg",       "Zg=",      "Zg===", "Zh==",  "Zm9=", "Z===",    "====", "=Zg=",
                                      "Zg==Zg==", "Zm8=Zm8=", "Zm 8",  "Zm8\n", "Zm-_", "Zm8\xff", "Z=g=", "Zm9v="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned char bytes[16];
        size_t n_bytes = 0;
        if (!EXPECT(!base64_decode(bad[i], strlen(bad[i]), bytes, &n_bytes))) {
            printf("    of %s\n", bad[i]);
        }
    }
}

/* The example of dsse, protocol.md; and a body with a NUL, of no bytes. */
static void pae(void)
{
    struct buffer out;
    buffer_init(&out, 1000);
    dsse_append_pae(&out, "http://example.com/HelloWorld", "hello world", 11);
    EXPECT_TEXT(out.data, "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    buffer_deinit(&out);
    buffer_init(&out, 1000);
    dsse_append_pae(&out, "t", "a\0b", 3);
    EXPECT(out.n_bytes == 16 && memcmp(out.data, "DSSEv1 1 t 3 a\0b", 16) == 0);
    buffer_deinit(&out);
    buffer_init(&out, 1000);
    dsse_append_pae(&out, "", "", 0);
    EXPECT_TEXT(out.data, "DSSEv1 0  0 ");
    EXPECT(out.n_bytes <= DSSE_PAE_OVERHEAD_BYTES);
    buffer_deinit(&out);
}

int main(void)
{
    CASE(base64_known_answers);
    CASE(base64_of_every_byte);
    CASE(base64_refuses_what_no_encoder_writes);
    CASE(pae);
    return harness_end();
}
