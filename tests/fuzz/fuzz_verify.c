/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory to be verified: five bytes, then its files, each a byte for its name, two for its length (little-endian)
 * and its bytes. The first byte tells whether a list of their true sums is added. The verdict is intact exactly when
 * nothing was found; findings are in order, of files, printable; twice the same. And where it is intact, one bit of
 * one of its files, which the other four bytes choose, turned over is found: nothing there is without a record.
 */
#include <string.h>

#include "fuzz_memory.h"
#include "integrity/sums.h"
#include "io/directory.h"

#define N_FILES 8
#define WITH_SUMS 1
#define HEAD_BYTES 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const file_names[N_FILES] = {
    "SHA256SUMS",        "llavamed-manifest.json",       "model.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "README.md",         "b.safetensors"};

struct content {
    const uint8_t *bytes; /* NULL: there is no such file */
    size_t n_bytes;
};

static char directory[64];

static void path_of(char path[160], const char *name)
{
    (void)snprintf(path, 160, "%s/%s", directory, name);
}

static void clean_up(void)
{
    char path[160];
    for (int i = 0; i < N_FILES; i++) {
        path_of(path, file_names[i]);
        (void)unlink(path);
    }
    (void)rmdir(directory);
}

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    char path[160];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
}

static void read_files(const uint8_t *data, size_t size, struct content contents[N_FILES])
{
    while (size >= 3) {
        size_t n_bytes = data[1] | (size_t)data[2] << 8;
        n_bytes = n_bytes < size - 3 ? n_bytes : size - 3;
        contents[data[0] % N_FILES] = (struct content){data + 3, n_bytes};
        data += 3 + n_bytes;
        size -= 3 + n_bytes;
    }
}

static void make_sums(struct content contents[N_FILES], struct buffer *sums)
{
    for (int i = 1; i < N_FILES; i++) {
        char hex[SHA256_HEX_BYTES];
        if (contents[i].bytes != NULL) {
            REQUIRE(sha256_of(contents[i].bytes, contents[i].n_bytes, hex, NULL) == LLAVAMED_OK);
            sums_append(sums, hex, file_names[i]);
        }
    }
    contents[0] = (struct content){(const uint8_t *)(sums->data == NULL ? "" : sums->data), sums->n_bytes};
}

static void make_files(const struct content contents[N_FILES])
{
    char path[160];
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof directory, "%s/llavamed-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        REQUIRE(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
    }
    for (int i = 0; i < N_FILES; i++) {
        path_of(path, file_names[i]);
        (void)unlink(path);
        if (contents[i].bytes != NULL) {
            write_file(file_names[i], contents[i].bytes, contents[i].n_bytes);
        }
    }
}

static bool is_printable(const char *text)
{
    char copy[LLAVAMED_MESSAGE_BYTES];
    (void)snprintf(copy, sizeof copy, "%s", text);
    llavamed_make_printable(copy);
    return strcmp(copy, text) == 0;
}

static void require_sound(const struct llavamed_verify_result *result)
{
    REQUIRE(result->n_findings == (result->n_found < LLAVAMED_FINDINGS_MAX ? result->n_found : LLAVAMED_FINDINGS_MAX));
    for (size_t i = 0; i < result->n_findings; i++) {
        const struct llavamed_finding *finding = &result->findings[i];
        const struct llavamed_finding *before = i == 0 ? finding : &result->findings[i - 1];
        int order = strcmp(before->file, finding->file);
        REQUIRE(order < 0 || (order == 0 && before->offset <= finding->offset));
        REQUIRE(finding->file[0] != '\0' && finding->what[0] != '\0' && is_printable(finding->what));
    }
}

/* Whether it is intact; *n_found is set. */
static bool verify(uint64_t *n_found)
{
    struct llavamed_verify_settings settings;
    struct llavamed_verify_result result;
    struct llavamed_error error = {0};
    llavamed_verify_settings_init(&settings);
    settings.dir = directory;
    settings.n_threads = 1;
    enum llavamed_status status = llavamed_verify(&settings, NULL, &result, &error);
    REQUIRE(status == LLAVAMED_OK || status == LLAVAMED_STATUS_NOT_INTACT);
    REQUIRE((status == LLAVAMED_OK) == (result.n_found == 0));
    require_sound(&result);
    *n_found = result.n_found;
    llavamed_verify_result_free(&result);
    return status == LLAVAMED_OK;
}

static void require_flip_is_found(const struct content contents[N_FILES], const uint8_t *choice)
{
    int first = choice[0] % N_FILES;
    for (int k = 0; k < N_FILES; k++) {
        const struct content *content = &contents[(first + k) % N_FILES];
        if (content->bytes == NULL || content->n_bytes == 0) {
            continue;
        }
        uint64_t n_found;
        uint8_t *flipped = malloc(content->n_bytes);
        REQUIRE(flipped != NULL);
        memcpy(flipped, content->bytes, content->n_bytes);
        flipped[(choice[1] | (size_t)choice[2] << 8) % content->n_bytes] ^= (uint8_t)(1 << choice[3] % 8);
        write_file(file_names[(first + k) % N_FILES], flipped, content->n_bytes);
        REQUIRE(!verify(&n_found));
        free(flipped);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct content contents[N_FILES] = {{0}};
    struct buffer sums;
    if (size < HEAD_BYTES) {
        return 0;
    }
    buffer_init(&sums, 1 << 20);
    read_files(data + HEAD_BYTES, size - HEAD_BYTES, contents);
    if ((data[0] & WITH_SUMS) != 0) {
        make_sums(contents, &sums);
    }
    make_files(contents);
    fuzz_memory_reset();
    uint64_t n_found;
    uint64_t n_again;
    bool is_intact = verify(&n_found);
    REQUIRE(fuzz_memory_peak_bytes <= (1 << 20) + 400 * size);
    REQUIRE(verify(&n_again) == is_intact && n_again == n_found);
    if (is_intact) {
        require_flip_is_found(contents, data + 1);
    }
    buffer_deinit(&sums);
    return 0;
}
