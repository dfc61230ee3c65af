/* SPDX-License-Identifier: Apache-2.0 */
#include "source/recorded.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/checked.h"
#include "core/stop_signal.h"
#include "integrity/sums.h"
#include "io/input_file.h"
#include "source/archive.h"
#include "source/hub_cache.h"
#include "source/source_parts.h"

#define METADATA_BYTES_MAX 4096
#define SUMS_BYTES_MAX (16 << 20)

const char *recorded_in_text(enum recorded_in in)
{
    static const char *const texts[] = {
        [RECORDED_BLOB_NAME] = "the name of its blob in the Hugging Face cache",
        [RECORDED_METADATA] = "the record of its download",
        [RECORDED_LFS] = "its Git LFS pointer",
        [RECORDED_SUMS] = "the SHA256SUMS beside it",
        [RECORDED_GIVEN] = "the file given by --sums",
    };
    return in < RECORDED_COUNT ? texts[in] : "";
}

const char *recorded_first(const struct recorded_hashes *recorded, enum recorded_in *in)
{
    for (int i = 0; i < RECORDED_COUNT; i++) {
        if (recorded->sha256[i][0] != '\0') {
            *in = (enum recorded_in)i;
            return recorded->sha256[i];
        }
    }
    return NULL;
}

bool recorded_has_git_blob(const struct recorded_hashes *recorded)
{
    for (int i = 0; i < RECORDED_COUNT; i++) {
        if (recorded->git_blob[i][0] != '\0') {
            return true;
        }
    }
    return false;
}

/* Takes the hex digits at `text` when they end there and are as many as those of a SHA-256 or of a git blob. */
static void take_hash(const char *text, enum recorded_in in, struct recorded_hashes *recorded)
{
    size_t n = strspn(text, "0123456789abcdef");
    bool is_git_blob = n == GIT_BLOB_HEX_BYTES - 1 && in != RECORDED_LFS;
    char *hex = n == SHA256_HEX_BYTES - 1 ? recorded->sha256[in] : is_git_blob ? recorded->git_blob[in] : NULL;
    if (hex != NULL && (text[n] == '\0' || strchr("\r\n\"", text[n]) != NULL)) {
        memcpy(hex, text, n);
        hex[n] = '\0';
    }
}

/* Three lines: commit, etag, time of the download. The hub does not trust it for a file that was changed later. */
void recorded_parse_metadata(const char *text, double changed_seconds, struct recorded_hashes *recorded)
{
    const char *etag = strchr(text, '\n');
    const char *time = etag == NULL ? NULL : strchr(etag + 1, '\n');
    if (time != NULL && changed_seconds - 1 <= strtod(time + 1, NULL)) {
        take_hash(etag + 1, RECORDED_METADATA, recorded);
    }
}

void recorded_parse_pointer(const char *text, struct recorded_hashes *recorded)
{
    static const char begin[] = "version https://";
    static const char key[] = "\noid sha256:";
    const char *at = strncmp(text, begin, sizeof begin - 1) == 0 ? strstr(text, key) : NULL;
    if (at != NULL) {
        take_hash(at + sizeof key - 1, RECORDED_LFS, recorded);
    }
}

/*
 * A file that nobody gave: *text is NULL when there is none. One that is there and cannot be read (too large, a FIFO, a
 * link to nothing...) may record anything: where hashes are to be checked, a file must not pass for lack of one.
 */
static enum llavamed_status read_record(struct source *source, const char *path, size_t max_bytes, char **text,
                                        size_t *n_bytes, struct llavamed_error *error)
{
    struct llavamed_error failure = {0};
    enum llavamed_status status = LLAVAMED_OK;
    *text = NULL;
    *n_bytes = 0;
    if (source->repository != NULL) {
        status = hub_cache_check_inside(source->repository, NULL, path, &failure);
    }
    bool is_inside = status == LLAVAMED_OK;
    if (is_inside) {
        status = input_file_read_whole(path, max_bytes, text, n_bytes, &failure);
    }
    if (status == LLAVAMED_OK || (status == LLAVAMED_STATUS_INPUT_MISSING && !path_is_taken(path))) {
        return LLAVAMED_OK;
    }
    if (is_inside && !input_file_is_failure(status)) {
        if (!source->check_md5) {
            return source_remark(source, true, error, "%s; what it records is not known", failure.message);
        }
        llavamed_hint(&failure, "mend or remove that file, or give --verify none to check no recorded hash");
    }
    if (error != NULL) {
        *error = failure;
    }
    return status;
}

static enum llavamed_status look_at_metadata(struct source *source, const char *directory, const char *name,
                                             const char *path, struct recorded_hashes *recorded,
                                             struct llavamed_error *error)
{
    char *file = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    struct stat info;
    if (asprintf(&file, "%s/.cache/huggingface/download/%s.metadata", directory, name) < 0) {
        return llavamed_fail_memory(error, strlen(directory) + strlen(name), "a path");
    }
    enum llavamed_status status = read_record(source, file, METADATA_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK && text != NULL) {
        if (stat(path, &info) == 0) {
            recorded_parse_metadata(text, (double)info.st_mtime, recorded);
        } else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) { /* a link to nothing has no time */
            status = input_file_fail_open(error, errno, path);
        }
    }
    free(text);
    free(file);
    return status;
}

/* A line of a SHA256SUMS: where its name is in `names`. */
struct sums_row {
    size_t name;
    char hex[SHA256_HEX_BYTES];
};

/*
 * The lines of a SHA256SUMS, sorted by name and then by place: a long list is looked into for each of many files. With
 * them, what else lies in that directory.
 */
struct sums_rows {
    char *directory;
    struct directory_listing beside;
    bool is_listed;
    char *names; /* as many bytes as the text at most */
    struct sums_row *rows;
    size_t n_rows;
};

/* One listing instead of a look for each record that a file may have: most have none. */
static bool may_hold(const struct sums_rows *sums, const char *name)
{
    return !sums->is_listed || directory_listing_holds(&sums->beside, name);
}

static void sums_rows_deinit(struct sums_rows *sums)
{
    free(sums->directory);
    directory_listing_deinit(&sums->beside);
    free(sums->names);
    free(sums->rows);
    *sums = (struct sums_rows){0};
}

static enum llavamed_status look_at_pointer(struct source *source, const struct sums_rows *beside, const char *path,
                                            struct recorded_hashes *recorded, struct llavamed_error *error)
{
    char *file = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    enum llavamed_status status = LLAVAMED_OK;
    if (asprintf(&file, "%s.lfs", path) < 0) {
        return llavamed_fail_memory(error, strlen(path), "a path");
    }
    const char *slash = strrchr(file, '/');
    if (may_hold(beside, slash == NULL ? file : slash + 1)) {
        status = read_record(source, file, METADATA_BYTES_MAX, &text, &n_bytes, error);
    }
    if (status == LLAVAMED_OK && text != NULL) {
        recorded_parse_pointer(text, recorded);
    }
    free(text);
    free(file);
    return status;
}

static const char *name_of(const char *names, const struct sums_row *row)
{
    return strncmp(names + row->name, "./", 2) == 0 ? names + row->name + 2 : names + row->name;
}

static int compare_rows(const void *a, const void *b, void *names)
{
    const struct sums_row *row_a = a;
    const struct sums_row *row_b = b;
    int order = strcmp(name_of(names, row_a), name_of(names, row_b));
    return order != 0 ? order : (row_a->name > row_b->name) - (row_a->name < row_b->name);
}

/* Lines of other kinds (comments, other sums) are passed over: this file was not given, it only lies there. */
static enum llavamed_status parse_sums(struct sums_rows *sums, const char *text, size_t n_bytes,
                                       struct llavamed_error *error)
{
    size_t n_lines = 1;
    for (size_t i = 0; i < n_bytes; i++) {
        n_lines += text[i] == '\n';
    }
    /* A line of a sum has more bytes than its hash, so of what is no more than line feeds there are fewer rows. */
    size_t n_most = min_u64(n_lines, n_bytes / (SHA256_HEX_BYTES - 1) + 1);
    sums->names = malloc(n_bytes + 1);
    sums->rows = malloc(n_most * sizeof *sums->rows);
    if (sums->names == NULL || sums->rows == NULL) {
        return llavamed_fail_memory(error, n_bytes + n_most * sizeof *sums->rows, "a list of sums");
    }
    size_t used = 0;
    while (n_bytes > 0) {
        struct sums_row *row = &sums->rows[sums->n_rows];
        if (sums->n_rows < n_most && sums_next(&text, &n_bytes, row->hex, sums->names + used)) {
            row->name = used;
            used += strlen(sums->names + used) + 1;
            sums->n_rows++;
            continue;
        }
        const char *newline = memchr(text, '\n', n_bytes);
        size_t step = newline == NULL ? n_bytes : (size_t)(newline - text) + 1;
        text += step;
        n_bytes -= step;
    }
    qsort_r(sums->rows, sums->n_rows, sizeof *sums->rows, compare_rows, sums->names);
    return LLAVAMED_OK;
}

/* Loads that of `directory` unless it is there already; without one there are no rows. */
static enum llavamed_status load_sums(struct source *source, struct sums_rows *sums, const char *directory,
                                      struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    if (sums->directory != NULL && strcmp(sums->directory, directory) == 0) {
        return LLAVAMED_OK;
    }
    sums_rows_deinit(sums);
    sums->directory = strdup(directory);
    char *path = path_join(directory, SUMS_FILE_NAME);
    enum llavamed_status status = LLAVAMED_OK;
    if (path == NULL || sums->directory == NULL) {
        status = llavamed_fail_memory(error, strlen(directory), "a path");
    } else {
        /* A directory that cannot be listed may hold files that can be read. */
        sums->is_listed = directory_list(directory, &sums->beside, NULL) == LLAVAMED_OK;
    }
    if (status == LLAVAMED_OK && may_hold(sums, SUMS_FILE_NAME)) {
        status = read_record(source, path, SUMS_BYTES_MAX, &text, &n_bytes, error);
    }
    if (status == LLAVAMED_OK && text != NULL) {
        status = parse_sums(sums, text, n_bytes, error);
    }
    free(text);
    free(path);
    return status;
}

/* The last line of a name counts. */
static void look_at_sums(const struct sums_rows *sums, const char *name, char hex[SHA256_HEX_BYTES])
{
    size_t low = 0;
    size_t high = sums->n_rows;
    while (low < high) { /* rows before `low` have no later name, rows from `high` on have one */
        size_t middle = low + (high - low) / 2;
        if (strcmp(name_of(sums->names, &sums->rows[middle]), name) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low > 0 && strcmp(name_of(sums->names, &sums->rows[low - 1]), name) == 0) {
        memcpy(hex, sums->rows[low - 1].hex, SHA256_HEX_BYTES);
    }
}

/* Of the files of an archive's folder only SHA256SUMS is looked at; a damaged one is a damaged archive. */
static enum llavamed_status load_archive_sums(struct sums_rows *sums, const struct archive *archive,
                                              struct llavamed_error *error)
{
    char *text = NULL;
    size_t n_bytes = 0;
    if (archive == NULL || archive_entry(archive, SUMS_FILE_NAME) == NULL) {
        return LLAVAMED_OK;
    }
    enum llavamed_status status = archive_read_whole(archive, SUMS_FILE_NAME, SUMS_BYTES_MAX, &text, &n_bytes, error);
    if (status == LLAVAMED_OK) {
        status = parse_sums(sums, text, n_bytes, error);
    }
    free(text);
    return status;
}

static enum llavamed_status look_up(struct source *source, const char *path, const char *name,
                                    struct sums_rows *sums, struct recorded_hashes *recorded,
                                    struct llavamed_error *error)
{
    enum llavamed_status status = stop_signal_check(source->stop_signal, error);
    if (status != LLAVAMED_OK) {
        return status;
    }
    char *directory = path_parent(path);
    if (directory == NULL) {
        return llavamed_fail_memory(error, strlen(path), "a path");
    }
    char blob[SHA256_HEX_BYTES];
    const char *snapshot = strcmp(directory, source->spec) == 0 ? source->snapshot : NULL;
    if (source->repository != NULL && hub_cache_blob_hash(source->repository, snapshot, path, blob)) {
        take_hash(blob, RECORDED_BLOB_NAME, recorded);
    }
    status = load_sums(source, sums, directory, error);
    if (status == LLAVAMED_OK && may_hold(sums, ".cache")) {
        status = look_at_metadata(source, directory, name, path, recorded, error);
    }
    if (status == LLAVAMED_OK) {
        status = look_at_pointer(source, sums, path, recorded, error);
    }
    if (status == LLAVAMED_OK) {
        look_at_sums(sums, name, recorded->sha256[RECORDED_SUMS]);
    }
    free(directory);
    return status;
}

enum llavamed_status source_find_recorded(struct source *source, struct llavamed_error *error)
{
    struct sums_rows sums = {0};
    struct sums_rows archive_sums = {0};
    enum llavamed_status status = load_archive_sums(&archive_sums, source->archive, error);
    for (size_t i = 0; status == LLAVAMED_OK && i < source->n_files; i++) {
        struct source_file *file = &source->files[i];
        if (file->archive != NULL) {
            look_at_sums(&archive_sums, file->name, file->recorded.sha256[RECORDED_SUMS]);
            continue;
        }
        status = look_up(source, source->file_paths[i], file->name, &sums, &file->recorded, error);
    }
    for (size_t i = 0; status == LLAVAMED_OK && i < source->n_small_files; i++) {
        struct source_small_file *file = &source->small_files[i];
        if (file->archive != NULL) {
            look_at_sums(&archive_sums, file->name, file->recorded.sha256[RECORDED_SUMS]);
            continue;
        }
        status = look_up(source, file->path, file->name, &sums, &file->recorded, error);
    }
    sums_rows_deinit(&archive_sums);
    sums_rows_deinit(&sums);
    return status;
}
