/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that may be an earlier result: the input holds a byte that tells which files lie there, all of them
 * empty, and which of these are links, then the text of llavamed-manifest.json. The directory counts as ours exactly
 * when the manifest, read here once more, is one and names every file that is there, with its size; as complete when
 * all that it names is there, and SHA256SUMS too.
 */
#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "fuzz_memory.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "merge/manifest.h"
#include "merge/own_output.h"

#define N_FILES 4
#define LINKED 16    /* the first of them is a link */
#define WITH_SUMS 32 /* there is a SHA256SUMS */

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

static void make_files(uint8_t which, const char *manifest, size_t manifest_bytes)
{
    char path[160];
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof directory, "%s/llavamed-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        REQUIRE(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
    }
    remove_files();
    write_file(MANIFEST_FILE_NAME, manifest, manifest_bytes);
    if ((which & WITH_SUMS) != 0) {
        write_file(SUMS_FILE_NAME, "", 0);
    }
    for (int i = 0; i < N_FILES; i++) {
        if ((which >> i & 1) != 0 && i == 0 && (which & LINKED) != 0) {
            path_of(path, file_names[i]);
            REQUIRE(symlink(MANIFEST_FILE_NAME, path) == 0);
        } else if ((which >> i & 1) != 0) {
            write_file(file_names[i], "", 0);
        }
    }
}

/* What the manifest says, looked up name by name. */
struct listed {
    bool valid;
    bool files[N_FILES];  /* listed, with the size that they have */
    bool others[N_FILES]; /* listed, with another size */
    bool all_there;       /* every name is that of a plain file of the directory, with its size */
};

/* Whether the array names `name` once more than it was named; another array may not name it either. */
static size_t count_name(const struct json_value *array, const char *name)
{
    size_t n = 0;
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        const struct json_value *value = json_kind_of(item) == JSON_OBJECT ? json_member(item, "name") : NULL;
        n += value != NULL && json_string(value) != NULL && strcmp(json_string(value), name) == 0;
    }
    return n;
}

static void read_array(const struct json_value *array, const struct json_value *other, struct listed *listed)
{
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        bool is_object = json_kind_of(item) == JSON_OBJECT;
        const struct json_value *value = is_object ? json_member(item, "name") : NULL;
        const char *name = value == NULL ? NULL : json_string(value);
        uint64_t n_bytes = 0;
        struct stat info;
        if (name == NULL || json_member(item, "bytes") == NULL || !json_integer(json_member(item, "bytes"), &n_bytes) ||
            name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, MANIFEST_FILE_NAME) == 0 ||
            strcmp(name, SUMS_FILE_NAME) == 0 || count_name(array, name) + count_name(other, name) != 1) {
            listed->valid = false;
            return;
        }
        char *path = path_join(directory, name);
        REQUIRE(path != NULL);
        listed->all_there = listed->all_there && lstat(path, &info) == 0 && S_ISREG(info.st_mode) && n_bytes == 0;
        free(path);
        for (int i = 0; i < N_FILES; i++) {
            if (strcmp(name, file_names[i]) == 0) {
                listed->files[i] = n_bytes == 0;
                listed->others[i] = n_bytes != 0;
            }
        }
    }
}

static struct listed read_manifest(const char *manifest, size_t n_bytes)
{
    struct listed listed = {.all_there = true};
    struct json *json = NULL;
    struct llavamed_error error;
    uint64_t version = 0;
    if (json_parse("x", manifest, n_bytes, false, &json, &error) == LLAVAMED_OK &&
        json_kind_of(json_root(json)) == JSON_OBJECT) {
        const struct json_value *root = json_root(json);
        const struct json_value *format = json_member(root, "format");
        const struct json_value *shards = json_member(root, "shards");
        const struct json_value *documents = json_member(root, "documents");
        listed.valid = format != NULL && json_string(format) != NULL &&
                       strcmp(json_string(format), "llavamed-manifest") == 0 && json_member(root, "version") != NULL &&
                       json_integer(json_member(root, "version"), &version) && version == 1 && shards != NULL &&
                       json_kind_of(shards) == JSON_ARRAY && documents != NULL && json_kind_of(documents) == JSON_ARRAY;
        if (listed.valid) {
            read_array(shards, documents, &listed);
        }
        if (listed.valid) {
            read_array(documents, shards, &listed);
        }
    }
    json_free(json);
    return listed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t which = size > 0 ? data[0] : 0;
    const char *manifest = (const char *)data + (size > 0 ? 1 : 0);
    size_t manifest_bytes = size > 0 ? size - 1 : 0;
    bool has_sums = (which & WITH_SUMS) != 0;
    make_files(which, manifest, manifest_bytes);
    struct listed listed = read_manifest(manifest, manifest_bytes);
    bool all_listed = listed.valid;
    for (int i = 0; i < N_FILES; i++) {
        if ((which >> i & 1) != 0) {
            all_listed = all_listed && (listed.files[i] || (i == N_FILES - 1 && !listed.others[i])) &&
                         (i > 0 || (which & LINKED) == 0);
        }
    }
    fuzz_memory_reset();
    bool ours = own_output_check("x", directory, false, NULL) == LLAVAMED_OK;
    bool complete = own_output_check("x", directory, true, NULL) == LLAVAMED_OK;
    REQUIRE(fuzz_memory_peak_bytes <= 65536 + 160 * size);
    REQUIRE(ours == all_listed);
    REQUIRE(complete == (ours && has_sums && listed.all_there));
    return 0;
}
