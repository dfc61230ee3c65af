/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the start of a file that is no weights file, and, cut at zeros, as the names in a directory without
 * weights. Both are only looked at: the refusals are those of inputs, print, and depend on the bytes alone; a name or a
 * start that refuses goes on refusing whatever else is there; a Git LFS pointer is one for both that know it.
 */
#include <string.h>

#include "fuzz_memory.h"
#include "source/lfs_pointer.h"
#include "source/recognise.h"

#define NAMES_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_clean(enum llavamed_status status, const struct llavamed_error *error, const char *path)
{
    REQUIRE(error->status == status && llavamed_exit_status(error) == 3);
    REQUIRE(strncmp(error->message, path, strlen(path)) == 0 && strlen(error->message) > strlen(path) + 2);
    for (const char *text = error->message; text != NULL; text = text == error->message ? error->hint : NULL) {
        REQUIRE(text_is_utf8(text, strlen(text)));
        for (const char *c = text; *c != '\0'; c++) {
            REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
        }
    }
    REQUIRE(error->hint[0] != '\0');
}

static void check_bytes(const uint8_t *data, size_t size)
{
    struct llavamed_error error = {0};
    struct llavamed_error again = {0};
    size_t n = size < RECOGNISE_BYTES ? size : RECOGNISE_BYTES;
    enum llavamed_status status = recognise_bytes("x", data, n, &error);
    require_clean(status, &error, "x: ");
    REQUIRE(status == LLAVAMED_STATUS_INPUT_UNSUPPORTED);
    REQUIRE(recognise_bytes("x", data, n, &again) == status && strcmp(again.message, error.message) == 0);
    bool says_pointer = strstr(error.message, "Git LFS pointer") != NULL;
    REQUIRE(says_pointer == lfs_pointer_begins((const char *)data, n) || strstr(error.message, "begins '") != NULL);
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    REQUIRE(!lfs_pointer_is(path) || says_pointer);
    (void)close(fd);
}

static void check_names(char *text, size_t n_bytes)
{
    char *names[NAMES_MAX];
    struct directory_listing listing = {names, 0};
    for (size_t at = 0; at < n_bytes && listing.n_names < NAMES_MAX; at += strlen(text + at) + 1) {
        if (text[at] != '\0') {
            names[listing.n_names++] = text + at;
        }
    }
    struct llavamed_error error = {0};
    struct llavamed_error fewer_error = {0};
    enum llavamed_status status = recognise_listing("x", "delta", false, &listing, &error);
    enum llavamed_status in_archive = recognise_listing("x", "delta", true, &listing, NULL);
    REQUIRE(in_archive == status);
    if (status != LLAVAMED_OK) {
        require_clean(status, &error, "x: ");
        REQUIRE(status == LLAVAMED_STATUS_INPUT_UNSUPPORTED || status == LLAVAMED_STATUS_INPUT_MISSING);
    }
    /* Names say what they say also without the last of them, or the last says it. */
    struct directory_listing last = {names + listing.n_names - (listing.n_names > 0), listing.n_names > 0};
    struct directory_listing others = {names, listing.n_names - last.n_names};
    bool others_refuse = recognise_listing("x", "delta", false, &others, &fewer_error) != LLAVAMED_OK;
    bool last_refuses = recognise_listing("x", "delta", false, &last, NULL) != LLAVAMED_OK;
    REQUIRE((status != LLAVAMED_OK) == (others_refuse || last_refuses));
    for (size_t i = 0; i < listing.n_names; i++) {
        struct llavamed_error partial = {0};
        enum llavamed_status by_name = recognise_partial_name(names[i], &partial);
        REQUIRE(by_name == LLAVAMED_OK || by_name == LLAVAMED_STATUS_INPUT_TRUNCATED);
        /* A name with a slash is not one of a listing. */
        REQUIRE(by_name == LLAVAMED_OK || status != LLAVAMED_OK || strchr(names[i], '/') != NULL);
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
    check_bytes(data, size);
    check_names(text, size);
    free(text);
    return 0;
}
