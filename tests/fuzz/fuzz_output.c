/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that may be an earlier result: the input holds a byte that tells which files lie there and which of these
 * are links, then the text of llavamed-manifest.json up to a NUL, then that of SHA256SUMS. The directory counts as ours
 * only when the manifest, read here once more, says so and every file is a plain one that the list names; with the list
 * sorted also whenever; as complete exactly when every line names a file that is there.
 */
#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "fuzz_memory.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "merge/manifest.h"
#include "merge/output_place.h"

#define N_FILES 4
#define LINKED 16 /* the first of them is a link */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const file_names[N_FILES] = {"a", "config.json", "model.safetensors", ".llavamed-claim-1.json"};
static char directory[64];

static void path_of(char path[160], const char *name)
{
    (void)snprintf(path, 160, "%s/%s", directory, name);
}

static void remove_files(void)
{
    char path[160];
    for (int i = 0; i < N_FILES; i++) {
        path_of(path, file_names[i]);
        (void)unlink(path);
    }
    path_of(path, MANIFEST_FILE_NAME);
    (void)unlink(path);
    path_of(path, SUMS_FILE_NAME);
    (void)unlink(path);
}

static void clean_up(void)
{
    remove_files();
    (void)rmdir(directory);
}

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    char path[160];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL && fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
}

static void make_files(uint8_t which, const char *manifest, size_t manifest_bytes, const char *sums, size_t sums_bytes)
{
    char path[160];
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof directory, "%s/llavamed-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        REQUIRE(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
    }
    remove_files();
    write_file(MANIFEST_FILE_NAME, manifest, manifest_bytes);
    write_file(SUMS_FILE_NAME, sums, sums_bytes);
    for (int i = 0; i < N_FILES; i++) {
        if ((which >> i & 1) != 0 && i == 0 && (which & LINKED) != 0) {
            path_of(path, file_names[i]);
            REQUIRE(symlink(MANIFEST_FILE_NAME, path) == 0);
        } else if ((which >> i & 1) != 0) {
            write_file(file_names[i], "", 0);
        }
    }
}

static bool says_ours(const char *manifest, size_t n_bytes)
{
    struct json *json = NULL;
    struct llavamed_error error;
    const char *format = NULL;
    if (json_parse("x", manifest, n_bytes, false, &json, &error) == LLAVAMED_OK &&
        json_kind_of(json_root(json)) == JSON_OBJECT && json_member(json_root(json), "format") != NULL) {
        format = json_string(json_member(json_root(json), "format"));
    }
    bool ours = format != NULL && strcmp(format, "llavamed-manifest") == 0;
    json_free(json);
    return ours;
}

/* What the list says, looked up without regard to its order. */
struct listed {
    bool files[N_FILES];
    bool manifest;
    bool sorted;
    bool whole;     /* nothing but lines of sums */
    bool all_there; /* every line names a plain file of the directory */
};

static struct listed read_list(const char *sums, size_t sums_bytes)
{
    struct listed listed = {.sorted = true, .all_there = sums_bytes > 0};
    char hex[SHA256_HEX_BYTES];
    char *name = malloc(2 * (sums_bytes + 1));
    REQUIRE(name != NULL);
    char *before = name + sums_bytes + 1;
    before[0] = '\0';
    while (sums_next(&sums, &sums_bytes, hex, name)) {
        struct stat info;
        char *path = path_join(directory, name);
        REQUIRE(path != NULL);
        listed.all_there = listed.all_there && lstat(path, &info) == 0 && S_ISREG(info.st_mode);
        free(path);
        listed.sorted = listed.sorted && strcmp(before, name) < 0;
        listed.manifest = listed.manifest || strcmp(name, MANIFEST_FILE_NAME) == 0;
        for (int i = 0; i < N_FILES; i++) {
            listed.files[i] = listed.files[i] || strcmp(name, file_names[i]) == 0;
        }
        memcpy(before, name, strlen(name) + 1);
    }
    listed.whole = sums_bytes == 0;
    free(name);
    return listed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t which = size > 0 ? data[0] : 0;
    const char *manifest = (const char *)data + (size > 0 ? 1 : 0);
    size_t n_left = size > 0 ? size - 1 : 0;
    const char *end = n_left == 0 ? NULL : memchr(manifest, '\0', n_left);
    size_t manifest_bytes = end == NULL ? n_left : (size_t)(end - manifest);
    const char *sums = end == NULL ? manifest + n_left : end + 1;
    size_t sums_bytes = end == NULL ? 0 : n_left - manifest_bytes - 1;
    make_files(which, manifest, manifest_bytes, sums, sums_bytes);
    struct listed listed = read_list(sums, sums_bytes);
    bool all_listed = listed.manifest;
    for (int i = 0; i < N_FILES; i++) {
        if ((which >> i & 1) != 0) {
            all_listed = all_listed && (listed.files[i] || i == N_FILES - 1) && (i > 0 || (which & LINKED) == 0);
        }
    }
    fuzz_memory_reset();
    bool ours = output_place_is_result(directory, false);
    bool complete = output_place_is_result(directory, true);
    REQUIRE(fuzz_memory_peak_bytes <= 65536 + 128 * size);
    REQUIRE(!ours || (says_ours(manifest, manifest_bytes) && all_listed));
    REQUIRE(ours || !listed.sorted || !says_ours(manifest, manifest_bytes) || !all_listed);
    REQUIRE(complete == (ours && listed.whole && listed.all_there));
    return 0;
}
