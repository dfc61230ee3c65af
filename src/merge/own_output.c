/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/own_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/json.h"
#include "integrity/oms_statement.h"
#include "integrity/sums.h"
#include "io/directory.h"
#include "io/input_file.h"
#include "merge/manifest.h"
#include "merge/output_dir.h"

/* Largest manifest that is read back. */
#define READ_BACK_BYTES_MAX ((size_t)256 << 20)

/* A file that the manifest names. */
struct own_file {
    const char *name; /* borrowed from the manifest, or static */
    uint64_t n_bytes;
    bool any_size;
    bool may_lack;
};

struct own_files {
    struct own_file *files; /* owned, sorted by name */
    size_t n_files;
};

static int compare_files(const void *a, const void *b)
{
    const struct own_file *file_a = a;
    const struct own_file *file_b = b;
    return strcmp(file_a->name, file_b->name);
}

/* Adds what an array of the manifest names; false for what no manifest of ours holds. */
static bool add_files(struct own_files *files, const struct json_value *array)
{
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        bool is_object = json_kind_of(item) == JSON_OBJECT;
        const struct json_value *name = is_object ? json_member(item, "name") : NULL;
        const struct json_value *n_bytes = is_object ? json_member(item, "bytes") : NULL;
        struct own_file *file = &files->files[files->n_files++];
        file->name = name == NULL ? NULL : json_string(name);
        if (file->name == NULL || n_bytes == NULL || !json_integer(n_bytes, &file->n_bytes)) {
            return false;
        }
    }
    return true;
}

static size_t count_items(const struct json_value *array)
{
    size_t n = 0;
    for (const struct json_value *item = json_first(array); item != NULL; item = json_next(item)) {
        n++;
    }
    return n;
}

static const struct json_value *array_member(const struct json_value *root, const char *key)
{
    const struct json_value *value = json_kind_of(root) == JSON_OBJECT ? json_member(root, key) : NULL;
    return value != NULL && json_kind_of(value) == JSON_ARRAY ? value : NULL;
}

/* The files of a manifest, each once; none, not even itself, when it is not one of ours. */
static enum llavamed_status list_files(const struct json_value *root, struct own_files *files,
                                       struct llavamed_error *error)
{
    const struct json_value *format = json_kind_of(root) == JSON_OBJECT ? json_member(root, "format") : NULL;
    const struct json_value *version = format == NULL ? NULL : json_member(root, "version");
    const struct json_value *shards = array_member(root, "shards");
    const struct json_value *documents = array_member(root, "documents");
    uint64_t number = 0;
    if (version == NULL || shards == NULL || documents == NULL || json_string(format) == NULL ||
        strcmp(json_string(format), MANIFEST_FORMAT) != 0 || !json_integer(version, &number) ||
        number != MANIFEST_VERSION) {
        return LLAVAMED_OK;
    }
    size_t n_items = count_items(shards) + count_items(documents) + 3;
    files->files = calloc(n_items, sizeof *files->files);
    if (files->files == NULL) {
        return llavamed_fail_memory(error, n_items * sizeof *files->files, "the list of files");
    }
    if (!add_files(files, shards) || !add_files(files, documents)) {
        files->n_files = 0;
        return LLAVAMED_OK;
    }
    files->files[files->n_files++] = (struct own_file){.name = MANIFEST_FILE_NAME, .any_size = true};
    files->files[files->n_files++] = (struct own_file){.name = SUMS_FILE_NAME, .any_size = true};
    files->files[files->n_files++] = (struct own_file){.name = OMS_FILE_NAME, .any_size = true, .may_lack = true};
    qsort(files->files, files->n_files, sizeof *files->files, compare_files);
    for (size_t i = 0; i < files->n_files; i++) {
        const char *name = files->files[i].name;
        bool is_twice = i > 0 && strcmp(files->files[i - 1].name, name) == 0;
        if (is_twice || name[0] == '\0' || strchr(name, '/') != NULL) {
            files->n_files = 0;
        }
    }
    return LLAVAMED_OK;
}

/* Fails only for what happened to this run: what cannot be read otherwise is no manifest. */
static enum llavamed_status read_manifest(const char *path, struct json **json, struct own_files *files,
                                          struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = input_file_read_whole(path, READ_BACK_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = json_parse(path, text, n_bytes, false, json, error);
    }
    if (status == LLAVAMED_OK) {
        status = list_files(json_root(*json), files, error);
    }
    free(text);
    return input_file_is_failure(status) ? status : LLAVAMED_OK;
}

/* `file` NULL: what is left of a claim. Other runs make drafts of claims, and remove what we look at, at any time. */
static enum llavamed_status is_as_written(const char *directory, const char *name, const struct own_file *file,
                                          bool *is_there, bool *fits, struct llavamed_error *error)
{
    struct stat info;
    char *path = path_join(directory, name);
    if (path == NULL) {
        return llavamed_fail_memory(error, strlen(name), "a path");
    }
    enum llavamed_status status = LLAVAMED_OK;
    *is_there = lstat(path, &info) == 0;
    *fits = *is_there && S_ISREG(info.st_mode) &&
            (file == NULL || file->any_size || (uint64_t)info.st_size == file->n_bytes);
    if (!*is_there && errno != ENOENT) {
        status = llavamed_fail_errno(error, LLAVAMED_STATUS_OUT_UNWRITABLE, errno, "%s: cannot look at it", path);
    }
    free(path);
    return status;
}

/* `tolerated`: how names begin that runs use while they work, beside those that the manifest has. */
static enum llavamed_status check_nothing_added(const char *shown, const char *path, const char *tolerated,
                                                const struct directory_listing *listing, const struct own_files *files,
                                                struct llavamed_error *error)
{
    for (size_t i = 0; i < listing->n_names; i++) {
        const char *name = listing->names[i];
        const struct own_file wanted = {.name = name};
        bool is_of_work = strncmp(name, tolerated, strlen(tolerated)) == 0;
        const struct own_file *file =
            files->n_files == 0
                ? NULL
                : bsearch(&wanted, files->files, files->n_files, sizeof *files->files, compare_files);
        if (file == NULL && !is_of_work) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS,
                                "%s: not replaced, because it holds '%s', which this program did not write", shown,
                                name);
            llavamed_hint(error, "move '%s' out of it, or choose another --out", name);
            return LLAVAMED_STATUS_OUT_EXISTS;
        }
        bool is_there;
        bool fits;
        enum llavamed_status status = is_as_written(path, name, file, &is_there, &fits, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (is_there && !fits) {
            (void)llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS,
                                "%s: not replaced, because '%s' in it is not what this program wrote, by its size or "
                                "kind",
                                shown, name);
            llavamed_hint(error, "move '%s' out of it, or choose another --out", name);
            return LLAVAMED_STATUS_OUT_EXISTS;
        }
    }
    return LLAVAMED_OK;
}

static enum llavamed_status check_nothing_missing(const char *shown, const char *path, const struct own_files *files,
                                                  struct llavamed_error *error)
{
    for (size_t i = 0; i < files->n_files; i++) {
        bool is_there;
        bool fits;
        if (files->files[i].may_lack) {
            continue; /* what is there was looked at before */
        }
        enum llavamed_status status = is_as_written(path, files->files[i].name, &files->files[i],
                                                    &is_there, &fits, error);
        if (status != LLAVAMED_OK) {
            return status;
        }
        if (!fits) {
            return llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: '%s' is missing", shown, files->files[i].name);
        }
    }
    return LLAVAMED_OK;
}

/* The names of a directory that `files` are the own files of. */
static enum llavamed_status check_names(const char *shown, const char *path, const char *tolerated,
                                        const struct own_files *files, struct llavamed_error *error)
{
    struct directory_listing listing = {0};
    enum llavamed_status status = directory_list(path, &listing, error);
    if (status == LLAVAMED_OK) {
        status = check_nothing_added(shown, path, tolerated, &listing, files, error);
    } else if (status != LLAVAMED_STATUS_NO_MEMORY) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_EXISTS, "%s: exists and cannot be looked into", shown);
    }
    directory_listing_deinit(&listing);
    return status;
}

/* What the manifest of a directory names; nothing when it has no valid one. Both are the caller's. */
static enum llavamed_status read_own_files(const char *path, struct json **json, struct own_files *files,
                                           struct llavamed_error *error)
{
    char *manifest = path_join(path, MANIFEST_FILE_NAME);
    enum llavamed_status status = manifest == NULL ? llavamed_fail_memory(error, strlen(path), "a path")
                                                   : read_manifest(manifest, json, files, error);
    free(manifest);
    return status;
}

enum llavamed_status own_output_check(const char *shown, const char *path, bool complete, struct llavamed_error *error)
{
    struct own_files files = {0};
    struct json *json = NULL;
    enum llavamed_status status = read_own_files(path, &json, &files, error);
    if (status == LLAVAMED_OK && files.n_files == 0) {
        status = llavamed_fail(
            error, LLAVAMED_STATUS_OUT_EXISTS,
            "%s: exists, and was not written by this program (it holds no valid " MANIFEST_FILE_NAME ")", shown);
        llavamed_hint(error, "choose another --out, or move the directory away");
    }
    if (status == LLAVAMED_OK) {
        status = check_names(shown, path, OUTPUT_DIR_CLAIM_PREFIX, &files, error);
    }
    if (status == LLAVAMED_OK && complete) {
        status = check_nothing_missing(shown, path, &files, error);
    }
    free(files.files);
    json_free(json);
    return status;
}

enum llavamed_status own_output_check_replaced(const char *path, const struct directory_listing *listing,
                                               struct llavamed_error *error)
{
    struct own_files files = {0};
    struct json *json = NULL;
    bool has_manifest = false;
    for (size_t i = 0; i < listing->n_names; i++) {
        has_manifest = has_manifest || strcmp(listing->names[i], MANIFEST_FILE_NAME) == 0;
    }
    enum llavamed_status status = read_own_files(path, &json, &files, error);
    if (status == LLAVAMED_OK && files.n_files == 0 && has_manifest) {
        status = llavamed_fail(error, LLAVAMED_STATUS_OUT_UNWRITABLE,
                               "%s: cannot be removed, as its " MANIFEST_FILE_NAME " cannot be read", path);
    }
    if (status == LLAVAMED_OK) {
        status = check_nothing_added(path, path, OUTPUT_DIR_CLAIM_PREFIX, listing, &files, error);
    }
    free(files.files);
    json_free(json);
    return status;
}

enum llavamed_status own_output_check_work(const char *path, struct llavamed_error *error)
{
    struct own_files files = {0};
    struct json *json = NULL;
    enum llavamed_status status = read_own_files(path, &json, &files, error);
    if (status == LLAVAMED_OK) {
        status = check_names(path, path, OUTPUT_DIR_WORK_PREFIX, &files, error);
    }
    free(files.files);
    json_free(json);
    return status;
}
