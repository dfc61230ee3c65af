/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte tells when a claim file was last touched (odd: it was let go), the rest is what it holds. Its
 * owner is what the fields say, read here once more; nothing but this very process on this very host is alive by a
 * claim of its pid; host names print; claim_is() knows the bytes again and none that differ.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "fuzz_memory.h"
#include "merge/claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];
static char path[96];
static char own[CLAIM_BYTES_MAX]; /* a claim of this process */

static void clean_up(void)
{
    (void)unlink(path);
    (void)rmdir(directory);
}

static void set_up(void)
{
    if (directory[0] != '\0') {
        return;
    }
    (void)snprintf(directory, sizeof directory, "%s/llavamed-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
    (void)snprintf(path, sizeof path, "%s/claim.json", directory);
    REQUIRE(claim_write(path, own, NULL) == LLAVAMED_OK);
}

static void write_claim(const uint8_t *bytes, size_t n_bytes, bool released)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = released ? 0 : 1700000000}};
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
    REQUIRE(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static const char *text_of(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_member(root, key);
    const char *text = value == NULL ? NULL : json_string(value);
    return text == NULL ? "" : text;
}

static bool integer_of(const struct json_value *root, const char *key, uint64_t *number)
{
    const struct json_value *value = json_member(root, key);
    return value != NULL && json_integer(value, number);
}

/* Whether two claims say the same of this key. */
static bool same(const struct json_value *a, const struct json_value *b, const char *key)
{
    return strcmp(text_of(a, key), text_of(b, key)) == 0;
}

static void check_fields(const struct json_value *root, const struct json_value *mine, bool released,
                         const struct claim *claim)
{
    uint64_t pid = 0;
    uint64_t start_time = 0;
    uint64_t my_pid = 0;
    uint64_t my_start_time = 0;
    REQUIRE(integer_of(mine, "pid", &my_pid) && integer_of(mine, "start_time", &my_start_time));
    if (strcmp(text_of(root, "format"), "llavamed-claim") != 0 || !integer_of(root, "pid", &pid) ||
        !integer_of(root, "start_time", &start_time)) {
        REQUIRE(claim->owner == CLAIM_FOREIGN && claim->pid == 0 && claim->host[0] == '\0');
        return;
    }
    REQUIRE(claim->pid == pid && strlen(claim->host) < sizeof claim->host);
    REQUIRE(strpbrk(claim->host, "\n\r\t\x1b\x7f") == NULL && text_is_utf8(claim->host, strlen(claim->host)));
    if (released) {
        REQUIRE(claim->owner == CLAIM_DEAD);
    } else if (!same(root, mine, "host")) {
        REQUIRE(claim->owner == CLAIM_REMOTE || strlen(text_of(root, "host")) >= sizeof claim->host ||
                strcmp(claim->host, text_of(mine, "host")) == 0);
    } else if (!same(root, mine, "boot_id")) {
        REQUIRE(claim->owner == CLAIM_REBOOT);
    } else if (!same(root, mine, "pid_namespace") ||
               (json_member(root, "time_namespace") != NULL && !same(root, mine, "time_namespace"))) {
        REQUIRE(claim->owner == CLAIM_REMOTE);
    } else {
        REQUIRE(claim->owner == CLAIM_ALIVE || claim->owner == CLAIM_DEAD || claim->owner == CLAIM_REMOTE);
        REQUIRE(pid != my_pid || (claim->owner == CLAIM_ALIVE) == (start_time != 0 && start_time == my_start_time));
        REQUIRE(pid != my_pid || (claim->owner == CLAIM_REMOTE) == (start_time == 0));
        REQUIRE(pid != 0 && pid <= INT32_MAX ? true : claim->owner == CLAIM_DEAD);
    }
}

/* Nothing, zeros, or what breaks off. */
static bool is_unwritten(const uint8_t *bytes, size_t n_bytes)
{
    static const char start[] = "{\"format\": \"llavamed-claim\", ";
    size_t n_common = n_bytes < strlen(start) ? n_bytes : strlen(start);
    if (n_bytes > 0 && memcmp(bytes, start, n_common) == 0) {
        return bytes[n_bytes - 1] != '}' && bytes[n_bytes - 1] != '\n';
    }
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static void check_bytes(const uint8_t *bytes, size_t n_bytes, const struct claim *claim)
{
    REQUIRE(claim->n_bytes == n_bytes && claim->text[n_bytes] == '\0');
    REQUIRE(n_bytes == 0 || memcmp(claim->text, bytes, n_bytes) == 0);
    REQUIRE(claim_is(path, claim->text) == (memchr(claim->text, '\0', n_bytes) == NULL));
    if (n_bytes > 0 && claim->text[0] != '\0') {
        char other[CLAIM_BYTES_MAX];
        memcpy(other, claim->text, sizeof other);
        other[0] ^= 1;
        REQUIRE(!claim_is(path, other));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct claim claim;
    struct llavamed_error error = {0};
    struct json *json = NULL;
    struct json *mine = NULL;
    bool released = size > 0 && (data[0] & 1) != 0;
    const uint8_t *bytes = size > 0 ? data + 1 : data;
    size_t n_bytes = size > 0 ? size - 1 : 0;
    set_up();
    write_claim(bytes, n_bytes, released);
    fuzz_memory_reset();
    REQUIRE(claim_read(path, &claim, &error) == LLAVAMED_OK);
    /* Drafts are looked for in the directory, which opendir() lists by 32 KiB. */
    REQUIRE(fuzz_memory_peak_bytes <= 65536 + 128 * (n_bytes < CLAIM_BYTES_MAX ? n_bytes : CLAIM_BYTES_MAX));
    if (n_bytes >= CLAIM_BYTES_MAX) {
        REQUIRE(claim.owner == CLAIM_FOREIGN && claim.text[0] == '\0' && claim.n_bytes == 0);
        return 0;
    }
    check_bytes(bytes, n_bytes, &claim);
    REQUIRE(json_parse("x", own, strlen(own), false, &mine, &error) == LLAVAMED_OK);
    if (is_unwritten(bytes, n_bytes)) {
        REQUIRE(claim.owner == (released ? CLAIM_DEAD : CLAIM_REMOTE) && claim.pid == 0);
    } else if (json_parse("x", (const char *)bytes, n_bytes, false, &json, &error) == LLAVAMED_OK &&
               json_kind_of(json_root(json)) == JSON_OBJECT) {
        check_fields(json_root(json), json_root(mine), released, &claim);
    } else {
        REQUIRE(claim.owner == CLAIM_FOREIGN && claim.pid == 0);
    }
    json_free(json);
    json_free(mine);
    return 0;
}
