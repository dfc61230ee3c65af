/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as each small file of the hub's cache and downloads: refs/REVISION, NAME.metadata, a Git LFS
 * pointer. What is read from one stands in it where the format has it, and a file written anew around it reads the
 * same.
 */
#include <string.h>

#include "fuzz/require.h"
#include "source/hub_cache.h"
#include "source/recorded.h"

#define HEX "0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ref(const char *text, size_t size)
{
    char commit[HUB_COMMIT_BYTES] = "untouched";
    bool got = hub_cache_parse_ref(text, size, commit);
    size_t n_digits = strspn(text, HEX);
    size_t end = n_digits;
    while (end < size && strchr(" \t\n\v\f\r", text[end]) != NULL && text[end] != '\0') {
        end++;
    }
    REQUIRE(got == (n_digits == HUB_COMMIT_BYTES - 1 && end == size));
    if (got) {
        REQUIRE(strlen(commit) == HUB_COMMIT_BYTES - 1 && strspn(commit, HEX) == HUB_COMMIT_BYTES - 1);
        REQUIRE(strncmp(text, commit, HUB_COMMIT_BYTES - 1) == 0);
        char again[HUB_COMMIT_BYTES];
        REQUIRE(hub_cache_parse_ref(commit, HUB_COMMIT_BYTES - 1, again) && strcmp(again, commit) == 0);
    } else {
        REQUIRE(strcmp(commit, "untouched") == 0);
    }
}

/* `at`: the hash, in the text. */
static void require_hash(const char *hex, const char *at)
{
    REQUIRE(strlen(hex) == SHA256_HEX_BYTES - 1 && strspn(hex, HEX) == SHA256_HEX_BYTES - 1);
    REQUIRE(strncmp(at, hex, SHA256_HEX_BYTES - 1) == 0 && strspn(at, HEX) == SHA256_HEX_BYTES - 1);
}

static void check_metadata(const char *text)
{
    static const double times[] = {0, 1.5, 1700000000, 4e9};
    bool earlier = true;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct recorded_hashes found = {0};
        struct recorded_hashes again = {0};
        struct recorded_hashes later = {0};
        const char *hex = found.sha256[RECORDED_METADATA];
        recorded_parse_metadata(text, times[i], &found);
        REQUIRE(hex[0] == '\0' || earlier); /* a file changed later is trusted no more */
        earlier = hex[0] != '\0';
        if (earlier) {
            char written[256];
            require_hash(hex, strchr(text, '\n') + 1);
            (void)snprintf(written, sizeof written, "commit\n%s\n%.3f\n", hex, times[i]);
            recorded_parse_metadata(written, times[i], &again);
            REQUIRE(strcmp(again.sha256[RECORDED_METADATA], hex) == 0);
            recorded_parse_metadata(written, times[i] + 2, &later);
            REQUIRE(later.sha256[RECORDED_METADATA][0] == '\0');
        }
    }
}

static void check_pointer(const char *text)
{
    static const char key[] = "\noid sha256:";
    struct recorded_hashes found = {0};
    struct recorded_hashes again = {0};
    const char *hex = found.sha256[RECORDED_LFS];
    recorded_parse_pointer(text, &found);
    if (hex[0] != '\0') {
        char written[256];
        REQUIRE(strncmp(text, "version https://", strlen("version https://")) == 0);
        require_hash(hex, strstr(text, key) + sizeof key - 1);
        (void)snprintf(written, sizeof written, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 1\n",
                       hex);
        recorded_parse_pointer(written, &again);
        REQUIRE(strcmp(again.sha256[RECORDED_LFS], hex) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    check_ref(text, size);
    check_metadata(text);
    check_pointer(text);
    free(text);
    return 0;
}
